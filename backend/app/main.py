"""The one composition root: everything is built here, and nowhere else.

`create_app` describes; the lifespan opens, recovers, runs and closes. Importing this allocates nothing.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version

import stamina
import structlog
import uvloop
from fastapi import FastAPI

from app import gauges
from app.api.app import make_api
from app.api.context import Context
from app.api.middleware import Answered
from app.api.ops import ops_limits
from app.api.ops_feed import OpsFeed
from app.core.errors import ForebayError
from app.core.settings import Settings
from app.core.settings_errors import AddressError, SettingsError
from app.core.upload import MAX_CHUNK_BYTES, MIB, Mode
from app.destinations import DestinationUrlError, from_urls
from app.destinations.port import Destination
from app.ingress import Bodies, IngressConfig, IngressServer, WithBody, make_server
from app.observability.banner import welcome
from app.observability.ingress_counts import IngressCounts
from app.observability.logging import Logging, configure_logging
from app.observability.loop_lag import LoopLag
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.posix.process import provide_descriptors, step_back, tell_service_manager
from app.server import Server
from app.services.appender import Appender
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.concatenation import Concatenation
from app.services.deferred_lengths import DeferredLengths
from app.services.events import EventHub
from app.services.forms import Forms
from app.services.housekeeping import Ages, Housekeeping
from app.services.identity import Identity
from app.services.incidents import Incidents, Kind
from app.services.limits.sizing import quiet_slabs
from app.services.limits.upload_limits import UploadLimits
from app.services.memory_monitor import MemoryMonitor
from app.services.memory_plan import memory_plan, pool_plan
from app.services.ops_history import Sampler
from app.services.parallel_chunk_processor import ParallelChunkProcessor
from app.services.prefix_reader import PrefixReader
from app.services.progress import Throughput
from app.services.relay import Relay
from app.services.sending import Sender
from app.services.service_clock import ServiceClock
from app.services.small_files import SmallFiles
from app.services.transfer import TransferEngine
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.services.where_time_goes import WhereTimeGoes
from app.services.whole_files import WholeFiles
from app.staging.memory import MemoryStaging
from app.staging.spool import SpoolStaging
from app.web import Pages

__all__ = ["create_app", "serve"]

log = structlog.get_logger(__name__)

_TRANSFER_THREADS = 2
_DESCRIPTORS_PER_CONNECTION = 3


class _Values:
    """Where destinations keep what must outlive the process."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def get(self, key: str) -> str | None:
        return await self._repository.get_meta(key)

    async def set(self, key: str, value: str) -> None:
        await self._repository.set_meta(key, value)


def _destinations(settings: Settings, repository: Repository) -> dict[str, Destination]:
    try:
        return from_urls(settings.destination_urls, settings, values=_Values(repository))
    except DestinationUrlError as exc:
        raise SettingsError(f"FOREBAY_DESTINATION or FOREBAY_DESTINATIONS: {exc}") from exc


def _staging(settings: Settings) -> SpoolStaging | MemoryStaging:
    if settings.staging == "memory":
        plan = memory_plan(settings)
        return MemoryStaging(
            plan.slab_bytes, plan.slabs, window_slabs=plan.window_slabs, timeout_s=settings.pool_timeout_s
        )
    return SpoolStaging(
        settings.spool_dir,
        min_free_bytes=settings.min_free_mb * MIB,
        user_quota_bytes=settings.user_quota_mb * MIB if settings.user_quota_mb is not None else None,
    )


def build(settings: Settings) -> Server:
    """Describe a server; nothing is opened, allocated or started.

    Raises:
        SettingsError: a destination's URL can't be used.
    """
    stamina.instrumentation.set_on_retry_hooks([])  # retries are logged and counted where they happen
    metrics = Metrics()
    incidents, where = Incidents(), WhereTimeGoes()
    memory = MemoryMonitor(
        settings.max_memory_percent,
        settings.pressure_percent,
        on_change=lambda level, sentence: incidents.note(Kind.MEMORY, sentence, topic=level),
    )
    slabs = pool_plan(settings)
    quiet = quiet_slabs(slabs, _TRANSFER_THREADS) if settings.staging == "spool" else 0
    pool = ChunkBufferPool(settings.slab_bytes, slabs, timeout_s=settings.pool_timeout_s, quiet=quiet)
    repository = Repository(settings.secret_database_url(), on_commit=metrics.committed)
    staging = _staging(settings)
    destinations = _destinations(settings, repository)
    slots = UploadConcurrencyManager(
        max_uploads=settings.upload_limit,
        max_users=settings.max_concurrent_users,
        max_uploads_per_user=settings.max_uploads_per_user,
        queue_limit=settings.queue_limit,
        queue_timeout_s=settings.queue_timeout_s,
        idle_s=settings.slot_idle_s,
    )
    hub, throughput, clock = EventHub(), Throughput(), ServiceClock(repository)
    transfer_threads = ThreadPoolExecutor(_TRANSFER_THREADS, thread_name_prefix="transfer", initializer=step_back)
    reader = PrefixReader(
        staging,
        pool,
        transfer_threads,
        destinations=len(destinations),
        turns=settings.mode is Mode.PARALLEL and settings.staging == "spool",
        in_flight=lambda: throughput.in_flight,
    )
    uploads = Uploads(
        limits=UploadLimits(
            mode=settings.mode,
            chunk_bytes=settings.chunk_bytes,
            max_chunk_bytes=MAX_CHUNK_BYTES,
            lanes=settings.max_concurrent_chunks,
            max_file_bytes=settings.max_file_bytes,
            expiry_s=settings.expiry_s,
            max_pending_per_user=settings.max_pending_per_user,
            window_bytes=staging.window_bytes if isinstance(staging, MemoryStaging) else None,
        ),
        staging=staging,
        destinations=destinations,
        repository=repository,
        slots=slots,
        memory=memory,
        hub=hub,
        clock=clock,
        metrics=metrics,
        where=where,
        incidents=incidents,
    )
    relay = uploads.relay = (
        Relay(
            staging=staging,
            repository=repository,
            throughput=throughput,
            clock=clock,
            attempts=settings.chunk_attempts,
            metrics=metrics,
            find=uploads.under_way,
            on_recorded=uploads.recorded,
            on_lost=uploads.lose,
        )
        if isinstance(staging, MemoryStaging)
        else None
    )
    transfers = TransferEngine(
        staging=staging,
        reader=reader,
        sender=Sender(
            reader=reader,
            repository=repository,
            throughput=throughput,
            closed_bytes=None if settings.mode is Mode.PARALLEL else settings.chunk_bytes,
            relay=relay,
        ),
        destinations=destinations,
        repository=repository,
        permits=settings.max_transfers,
        clock=clock,
        on_ended=uploads.ended,
        on_failed=uploads.fail,
        on_lost=uploads.ask_again,
        metrics=metrics,
        throughput=throughput,
        incidents=incidents,
    )
    uploads.transfers = transfers
    sampler = Sampler(throughput=throughput, slots=slots, memory=memory, pool=pool, where=where)
    ops = OpsFeed(
        uploads=uploads,
        slots=slots,
        hub=hub,
        history=sampler.history,
        incidents=incidents,
        destinations=destinations,
        kinds=settings.destination_kinds,
        limits=lambda: ops_limits(context),
        clock=clock,
    )
    sampler.on_sample = ops.tick

    def late(delay_s: float) -> None:
        metrics.loop_lag(delay_s)
        sampler.loop_delay(delay_s)

    processor = ParallelChunkProcessor(
        staging=staging,
        repository=repository,
        slots=slots,
        throughput=throughput,
        clock=clock,
        mode=settings.mode,
        attempts=settings.chunk_attempts,
        durable=settings.durability == "power",
        on_recorded=uploads.recorded,
        on_untrusted=uploads.fail,
        metrics=metrics,
        relay=relay,
    )
    lengths = DeferredLengths(limits=uploads.limits, staging=staging, repository=repository, clock=clock)
    appender = Appender(
        processor=processor,
        staging=staging,
        repository=repository,
        slots=slots,
        throughput=throughput,
        mode=settings.mode,
        durable=settings.durability == "power",
        uploads=uploads,
        lengths=lengths,
        relay=relay,
    )
    whole_files = WholeFiles(uploads, appender)
    context = Context(
        settings=settings,
        version=version("forebay-server"),
        started=time.monotonic(),
        repository=repository,
        staging=staging,
        destinations=destinations,
        pool=pool,
        memory=memory,
        slots=slots,
        throughput=throughput,
        uploads=uploads,
        processor=processor,
        appender=appender,
        concatenation=Concatenation(
            uploads=uploads,
            lengths=lengths,
            staging=staging if isinstance(staging, SpoolStaging) else None,
            repository=repository,
            clock=clock,
        ),
        small_files=SmallFiles(
            uploads=uploads,
            staging=staging,
            slots=slots,
            memory=memory,
            throughput=throughput,
            metrics=metrics,
            attempts=settings.chunk_attempts,
            relay=relay,
        ),
        whole_files=whole_files,
        forms=Forms(whole_files, transfer_threads),
        identity=Identity(repository, settings.auth),
        hub=hub,
        ops=ops,
        clock=clock,
        metrics=metrics,
        stopping=lambda: server.stopping,
    )
    server = Server(
        settings=settings,
        metrics=metrics,
        lag=LoopLag(on_sample=late),
        memory=memory,
        pool=pool,
        repository=repository,
        staging=staging,
        destinations=destinations,
        slots=slots,
        hub=hub,
        incidents=incidents,
        sampler=sampler,
        reader=reader,
        transfer_threads=transfer_threads,
        transfers=transfers,
        context=context,
        housekeeping=Housekeeping(
            uploads=uploads,
            staging=staging,
            repository=repository,
            clock=clock,
            ages=Ages(
                reservation_idle_s=settings.reservation_idle_s,
                expiry_s=settings.expiry_s,
                history_s=settings.history_s,
            ),
        ),
    )
    gauges.watch(server)
    return server


def ingress_config(server: Server) -> IngressConfig:
    """The receiver's limits, from the settings."""
    settings = server.settings
    counts = IngressCounts(
        server.metrics,
        on_bytes=server.context.throughput.came,
        on_turned_away=partial(server.incidents.note, Kind.REFUSAL),
    )
    server.metrics.watch("connections", "Open connections.", lambda: counts.connections)
    return IngressConfig(
        pool=server.pool,
        worker_threads=settings.worker_threads,
        header_timeout_s=settings.header_timeout_s,
        body_idle_s=settings.body_idle_s,
        min_rate_bytes=settings.min_rate_bytes,
        max_connections=settings.max_connections,
        max_tls_connections=settings.max_tls_connections,
        shutdown_grace_s=settings.shutdown_grace_s,
        observer=counts,
    )


def _application(server: Server, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    def observe(answered: Answered) -> None:
        server.metrics.request(answered.route, answered.method, answered.status, answered.seconds)
        if answered.problem is not None:
            server.metrics.refused(answered.problem.code)
            server.incidents.answered(answered.problem, answered.user)

    app = make_api(version=server.context.version, settings=server.settings, lifespan=lifespan, observe=observe)
    if server.settings.web:
        app.include_router(Pages().router())
    app.state.server = server
    app.state.context = server.context
    return app


def create_app(settings: Settings) -> FastAPI:
    """The application for any ASGI server; its lifespan opens and closes everything.

    `app.state.server` is what it is made of. Bodies come through `receive` where the server is not ours.
    """
    server = build(settings)
    bodies = Bodies(ingress_config(server))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with server.running():
            yield
        bodies.close()

    app = _application(server, lifespan)
    app.add_middleware(WithBody, bodies=bodies)
    return app


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or Ctrl-C; returns the exit status.

    Raises:
        SettingsError: it can't be started with these settings.
    """
    logging = configure_logging(
        level=settings.log_level,
        parallel_debug_enabled=settings.debug_logging,
        file=settings.log_file,
        file_bytes=settings.log_file_mb * MIB,
        file_count=settings.log_file_count,
    )
    provide_descriptors(_DESCRIPTORS_PER_CONNECTION * settings.max_connections)
    try:
        return uvloop.run(_serve(settings, logging))
    except ForebayError as exc:
        log.critical("can't start", code=exc.code, detail=exc.detail)
        return 1
    finally:
        logging.close()


@asynccontextmanager
async def _already_running(app: FastAPI) -> AsyncIterator[None]:
    del app
    yield


async def _serve(settings: Settings, logging: Logging) -> int:
    """Open first and listen then, so that what can't be opened is said in one line."""
    server = build(settings)
    server.metrics.watch("log_lines_dropped", "Log lines that could not be written.", lambda: logging.dropped)
    app = _application(server, _already_running)
    app.openapi()  # takes 100 ms: better now than while everybody waits for the first who asks
    try:
        receiver = make_server(
            app,
            ingress=ingress_config(server),
            host=settings.host,
            port=settings.port,
            certfile=settings.tls_cert,
            keyfile=settings.tls_key,
            trusted_proxies=settings.trusted_proxies,
            before_drain=[server.before_drain],
            on_listening=lambda addresses: _greet(settings, addresses),
        )
    except (OSError, ValueError) as exc:
        raise SettingsError(
            f"FOREBAY_TLS_CERT, FOREBAY_TLS_KEY or FOREBAY_TRUSTED_PROXIES can't be used: {exc}"
        ) from exc
    gc.collect()
    # A full collection blocks the event loop for 25 ms for what is there now and stays, and for 85 ms with a thousand
    # uploads, in which it finds next to nothing: what is there is left out of it, and it comes a tenth as often.
    gc.freeze()
    gc.set_threshold(2000, 10, 100)
    with _bound(receiver, settings):
        async with server.running():
            await receiver.serve()
    log.info("stopped")
    return 0


@contextmanager
def _bound(receiver: IngressServer, settings: Settings) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(receiver.bound())
        except OSError as exc:
            raise AddressError(
                f"FOREBAY_HOST={settings.host}, FOREBAY_PORT={settings.port}: can't listen there: {exc.strerror}"
            ) from exc
        yield


def _greet(settings: Settings, addresses: list[tuple[str, int]]) -> None:
    host, port = addresses[0]
    scheme = "https" if settings.tls_cert is not None else "http"
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    tell_service_manager("READY=1")
    log.info("listening", host=host, port=port, mode=settings.mode.value)
    sys.stderr.write(f"\n{welcome(settings, f'{scheme}://{name}:{port}')}\n\n")
    sys.stderr.flush()
