"""The whole product in a thread of the test's process: real sockets, real files, its insides within reach.

Faster than a process of its own, and a test may look at (or spoil) one part; what needs a crash takes `ServerProcess`.
What it is made of is the test's business (`Assembly`), since this room does not see the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop

from app.ingress import IngressConfig, IngressServer, make_server
from app.testing.api_client import ApiClient

__all__ = ["Assembly", "Product"]

T = TypeVar("T")

_START_S = 30.0
_STOP_S = 60.0


@dataclass(frozen=True, slots=True)
class Assembly:
    """A server that was built and not opened."""

    application: Callable[..., Awaitable[None]]
    ingress: IngressConfig
    running: Callable[[], AbstractAsyncContextManager[None]]
    before_drain: Sequence[Callable[[], Awaitable[None]]]
    server: Any
    data_dir: Path
    host: str = "127.0.0.1"
    more: dict[str, Any] = field(default_factory=dict)


class Product:
    """Context manager; runs until the block ends, and everything has ended afterwards."""

    def __init__(self, assembly: Assembly) -> None:
        """Describe it; `server` is what it is made of."""
        self._assembly = assembly
        self.server = assembly.server
        self.data_dir = assembly.data_dir
        self.files = assembly.data_dir / "files"
        self.spool = assembly.data_dir / "spool"
        self.address: tuple[str, int]
        self.receiver: IngressServer
        self._loop: asyncio.AbstractEventLoop
        self._started: Future[None] = Future()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="product")

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except BaseException as exc:  # noqa: BLE001 - raised again in the test's thread
            self._failure = exc
            if not self._started.done():
                self._started.set_exception(exc)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        assembly = self._assembly
        self.receiver = make_server(
            assembly.application,
            ingress=assembly.ingress,
            host=assembly.host,
            port=0,
            before_drain=assembly.before_drain,
            on_listening=lambda _: self._started.set_result(None),
            **assembly.more,
        )
        async with assembly.running():
            await self.receiver.serve()

    def __enter__(self) -> Self:
        """Start and listen."""
        self._thread.start()
        self._started.result(_START_S)
        self.address = ("127.0.0.1", self.receiver.addresses[0][1])
        return self

    def __exit__(self, *_: object) -> None:
        """Stop as SIGTERM does; a failure of the server's own becomes the test's."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            self._loop.call_soon_threadsafe(self.receiver.stop)
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            raise TimeoutError("the server did not stop")
        if self._failure is not None:
            raise self._failure

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.address[1]}"

    def client(self, *, source: str | None = None, token: str | None = None) -> ApiClient:
        """A client with one connection, from that loopback address."""
        return ApiClient(self.address, source=source, token=token)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
        """Run something in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Return when `condition`, asked in the server's event loop, holds.

        Raises:
            TimeoutError: it does not come true.
        """

        async def until() -> None:
            async with asyncio.timeout(timeout_s):
                while not condition():  # noqa: ASYNC110 - a condition of the server's insides has no event
                    await asyncio.sleep(0.002)

        self.call(until(), timeout_s + 5)

    def quiescent(self) -> bool:
        """Whether nobody receives, waits, or holds a buffer or the like; for `wait_for`."""
        server = self.server
        return bool(
            server.pool.stats.slabs_leased == 0
            and server.pool.stats.waiting == 0
            and server.slots.stats.queued == 0
            and server.context.throughput.in_flight == 0
            and not self.receiver.server_state.tasks
            and all(not live.receivers for live in server.context.uploads.live)
        )
