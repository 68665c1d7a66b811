"""One server, from its opening to its end: what it is made of, in which order that starts, and in which it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from app.api.context import Context
from app.core.errors import ForebayError, ShuttingDown
from app.core.settings import Settings
from app.core.settings_errors import SettingsError
from app.destinations.port import Destination, KeepsInformed
from app.observability.loop_lag import LoopLag
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.posix.exclusive import exclusive
from app.posix.process import tell_service_manager
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.events import EventHub
from app.services.housekeeping import Housekeeping
from app.services.identity import is_loopback
from app.services.incidents import Incidents, Kind
from app.services.memory_monitor import MemoryMonitor
from app.services.ops_history import Sampler
from app.services.prefix_reader import PrefixReader
from app.services.recovery import Recovery
from app.services.transfer import TransferEngine
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.staging.memory import MemoryStaging
from app.staging.spool import SpoolStaging

__all__ = ["Server"]

log = structlog.get_logger(__name__)

_PAUSE_AFTER_BREAKING_S = 1.0


@dataclass(slots=True)
class Server:
    """What one server is made of; described, not opened."""

    settings: Settings
    metrics: Metrics
    lag: LoopLag
    memory: MemoryMonitor
    pool: ChunkBufferPool
    repository: Repository
    staging: SpoolStaging | MemoryStaging
    destinations: dict[str, Destination]
    slots: UploadConcurrencyManager
    hub: EventHub
    incidents: Incidents
    sampler: Sampler
    reader: PrefixReader
    transfer_threads: ThreadPoolExecutor
    transfers: TransferEngine
    context: Context
    housekeeping: Housekeeping
    stopping: bool = False

    async def before_drain(self) -> None:
        """The server is told to stop: end event streams, admit nobody; requests in flight go on."""
        self.stopping = True
        tell_service_manager("STOPPING=1")
        self.slots.stop_admission()
        self.incidents.note(Kind.STOP, ShuttingDown().detail)
        self.context.ops.close()
        self.hub.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open, recover, run; at the end stop the work and close, in the opposite order.

        Raises:
            SettingsError: it would be open to others without anybody having a token.
            StagingUnavailable, DatabaseUnavailable: it can't start.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(_own_data_dir(self.settings))
            self.pool.open()
            stack.callback(self.pool.close)
            await self.repository.open()
            stack.push_async_callback(self.repository.close)
            await self._refuse_to_be_open_to_all()
            await self.staging.open()
            stack.push_async_callback(self.staging.aclose)
            for destination in self.destinations.values():
                stack.push_async_callback(destination.aclose)
            stack.callback(self.transfer_threads.shutdown)
            await self.context.clock.load()
            stack.push_async_callback(self._save_clock)
            await self.memory.refresh()
            recovery = Recovery(
                uploads=self.context.uploads, repository=self.repository, staging=self.staging, reader=self.reader
            )
            await recovery.take_up()
            await self.housekeeping.sweep()
            uploads = len(self.context.uploads.live)
            going_on = f" {uploads} uploads of an earlier life go on." if uploads else ""
            self.incidents.note(Kind.START, f"Forebay {self.context.version} has started.{going_on}")
            async with asyncio.TaskGroup() as background:
                loops = [
                    background.create_task(_kept_going(work.run), name=type(work).__name__)
                    for work in (self.memory, self.lag, self.housekeeping, self.sampler)
                ]
                loops += [
                    background.create_task(_kept_going(destination.keep_informed), name=f"inform-{name}")
                    for name, destination in self.destinations.items()
                    if isinstance(destination, KeepsInformed)
                ]
                self.transfers.start(background)
                self.context.concatenation.start(background)
                loops.append(background.create_task(_kept_going(recovery.go_on), name="recovery"))
                try:
                    yield
                finally:
                    self.transfers.stop()
                    self.context.concatenation.stop()
                    for task in (*loops, *self._work_under_way()):
                        task.cancel()

    async def _save_clock(self) -> None:
        try:
            await self.context.clock.save()
        except ForebayError as exc:  # uploads live a little longer; no reason to end with an error
            log.warning("the service clock could not be saved", code=exc.code, detail=exc.detail)

    def _work_under_way(self) -> list[asyncio.Task[None]]:
        transfers = [live.transfer_task for live in self.context.uploads.live if live.transfer_task is not None]
        return [*transfers, *self.transfers.removals, *self.context.concatenation.tasks]

    async def _refuse_to_be_open_to_all(self) -> None:
        settings = self.settings
        local = settings.host == "localhost" or is_loopback(settings.host)
        if settings.auth == "auto" and not local and not await self.repository.any_token():
            raise SettingsError(
                f"FOREBAY_HOST={settings.host}: without tokens the server binds to loopback only; make one with "
                "`forebay-server token create USER`, or set FOREBAY_AUTH=none on a trusted network"
            )


async def _kept_going(work: Callable[[], Awaitable[None]]) -> None:
    """A background loop that breaks (no thread to be had, a bug) begins again; it must not end the requests with it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work broke and begins again", work=work.__qualname__)
            await asyncio.sleep(_PAUSE_AFTER_BREAKING_S)
        else:
            return


@contextmanager
def _own_data_dir(settings: Settings) -> Iterator[None]:
    """Make the data directory and keep other servers out: each would take the other's uploads for its own."""
    with ExitStack() as held:
        try:
            settings.data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            held.enter_context(exclusive(settings.data_dir / "server.lock"))
        except BlockingIOError as exc:
            raise SettingsError(f"FOREBAY_DATA_DIR={settings.data_dir}: another server is running there") from exc
        except OSError as exc:
            raise SettingsError(f"FOREBAY_DATA_DIR={settings.data_dir}: can't be used: {exc.strerror}") from exc
        yield
