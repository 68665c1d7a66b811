"""The emulator as tests use it: on their event loop, or in a thread of its own beside the server under test.

Laws: state belongs to the emulator's event loop. Reading is allowed from any thread (values may be a moment old); what
changes something runs in that loop, whichever thread asks, and has happened when it returns.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web

from app.testing.drive_emulator import credentials
from app.testing.drive_emulator.events import Event, EventLog, Predicate
from app.testing.drive_emulator.metadata import Metadata
from app.testing.drive_emulator.model import FOLDER, Caller, DriveFile
from app.testing.drive_emulator.options import Options
from app.testing.drive_emulator.script import Rule
from app.testing.drive_emulator.serving import make_application
from app.testing.drive_emulator.sessions import Session
from app.testing.drive_emulator.tokens import FULL_SCOPE, USER
from app.testing.drive_emulator.world import World

__all__ = ["DriveEmulator"]

T = TypeVar("T")
_READ_BYTES = 262_144
_START_S = 10.0
_STOP_S = 0.5


class DriveEmulator:
    """A test double of Google Drive: `async with DriveEmulator(Options(...)) as drive`, or `DriveEmulator.in_thread`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.world = World(self.options)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._address: tuple[str, int] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self.world.vault.directory = self._directory()
            self._address = await self._listen()
        except BaseException:
            await self._close()
            raise
        return self

    def _directory(self) -> Path | None:
        options = self.options
        if options.discard:
            return None
        if options.data_dir is not None:
            options.data_dir.mkdir(parents=True, exist_ok=True)
            return options.data_dir
        self._temporary = tempfile.TemporaryDirectory(prefix="drive-emulator-")
        return Path(self._temporary.name)

    async def _listen(self) -> tuple[str, int]:
        options = self.options
        self._runner = web.AppRunner(
            make_application(self.world),
            access_log=None,
            handle_signals=False,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
            shutdown_timeout=_STOP_S,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, options.host, options.port, ssl_context=_tls(options), reuse_address=True)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for session in self.world.sessions.values():
            if session.put is not None:
                session.put.end()
        if self._runner is not None:
            await self._runner.cleanup()
        self.world.vault.close()
        for session in self.world.sessions.values():
            session.content.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, options: Options | None = None) -> Iterator[Self]:
        """One with an event loop and a thread of its own."""
        started: Future[tuple[Self, asyncio.Event]] = Future()

        async def run() -> None:
            async with cls(options) as drive:
                stop = asyncio.Event()
                started.set_result((drive, stop))
                await stop.wait()

        def main() -> None:
            try:
                asyncio.run(run())
            except BaseException as exc:
                if started.done():
                    raise
                started.set_exception(exc)

        thread = threading.Thread(target=main, name="drive-emulator")
        thread.start()
        drive, stop = started.result(_START_S)
        try:
            yield drive
        finally:
            drive.call(stop.set)
            thread.join()

    def call(self, function: Callable[[], T]) -> T:
        """Run something in the emulator's event loop and return what it returns."""
        loop = self._loop
        if loop is None or not loop.is_running():
            return function()
        try:
            if asyncio.get_running_loop() is loop:
                return function()
        except RuntimeError:
            pass
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as exc:  # noqa: BLE001 - it is the caller's
                done.set_exception(exc)

        loop.call_soon_threadsafe(run)
        return done.result(_START_S)

    # -- where ---------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """The API root R, without a slash at its end; everything is under it: `R/drive/v3/files`, `R/token` and so on."""
        if self._address is None:
            raise RuntimeError("the emulator does not run")
        host, port = self._address
        return f"{'https' if self.options.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._address is None:
            raise RuntimeError("the emulator does not run")
        return self._address[1]

    @property
    def root_folder(self) -> str:
        """My Drive's id."""
        return self.world.tree.root

    @property
    def shared_drive(self) -> str | None:
        """The shared drive's id."""
        return self.world.tree.shared_drive

    # -- what happened ---------------------------------------------------------------------------------------------------

    @property
    def events(self) -> EventLog:
        """All that happened."""
        return self.world.events

    @property
    def requests(self) -> dict[str, int]:
        """How many, by operation."""
        return dict(self.world.requests)

    @property
    def sessions(self) -> list[Session]:
        """Resumable sessions, oldest first; `sessions[n - 1]` is the one that events call n."""
        return list(self.world.sessions.values())

    @property
    def files(self) -> dict[str, DriveFile]:
        """Files and folders by id, without the roots; trashed ones are among them."""
        tree = self.world.tree
        return {file.id: file for file in list(tree.files.values()) if not tree.is_root(file)}

    def named(self, name: str) -> list[DriveFile]:
        """Files of this name."""
        return [file for file in self.files.values() if file.name == name]

    def content(self, file_id: str) -> bytes:
        """A file's bytes.

        Raises:
            LookupError: there is no such file, or contents are discarded.
        """
        path = self.world.tree.files[file_id].path
        if path is None:
            raise LookupError(f"{file_id} has no content that was kept")
        return path.read_bytes()

    async def wait_for(self, predicate: Predicate, *, timeout_s: float = 10.0, after: int = 0) -> Event:
        """The first event that satisfies the predicate, past or to come; from any event loop."""
        return await self.events.wait_for(predicate, timeout_s=timeout_s, after=after)

    def wait(self, predicate: Predicate, *, timeout_s: float = 10.0, after: int = 0) -> Event:
        """The same, blocking; not in the emulator's own event loop."""
        return self.events.wait(predicate, timeout_s=timeout_s, after=after)

    # -- what shall happen -------------------------------------------------------------------------------------------------

    def script(self, rules: Iterable[Rule]) -> None:
        """Replace the rules."""
        rules = tuple(rules)
        self.call(lambda: self.world.script.replace(rules))

    def expire_sessions(self, status: int | None = None) -> int:
        """All open sessions are gone; returns how many."""
        return self.call(lambda: self.world.expire_sessions(status or self.options.expired_status))

    def revoke_tokens(self) -> None:
        """Every login is gone, until somebody logs in again."""
        self.call(self.world.tokens.revoke)

    def restore_tokens(self) -> None:
        """As if that had not happened."""
        self.call(self.world.tokens.restore)

    def expire_access_tokens(self) -> None:
        """They must be refreshed."""
        self.call(self.world.tokens.expire_access_tokens)

    def set_storage_quota(self, limit: int | None) -> None:
        """From now on."""
        self.world.tree.storage_quota = limit

    def set_daily_limit(self, limit: int | None) -> None:
        """From now on, what was uploaded included."""
        self.world.tree.daily_limit = limit

    def a_new_day(self) -> None:
        """Forget what was uploaded."""
        self.call(self.world.tree.a_new_day)

    def set_latency(self, seconds: float) -> None:
        """From now on."""
        self.world.latency_s = seconds

    def set_rate(self, rate: float | None) -> None:
        """From now on."""
        self.call(lambda: self.world.set_rate(rate))

    def deny_consent(self, *, deny: bool = True) -> None:
        """What the user says on the consent page."""
        self.world.tokens.deny_consent = deny

    def add_folder(self, name: str, *, parent: str | None = None, foreign: bool = False) -> str:
        """A folder; a foreign one was not created by the application and is a 404 for the scope `drive.file`."""

        def add() -> str:
            data = Metadata(name=name, mime_type=FOLDER, parents=[parent or self.root_folder])
            made = self.world.tree.create(data, Caller(USER, frozenset({FULL_SCOPE})), None, None)
            made.foreign = foreign
            return made.id

        return self.call(add)

    # -- credentials -------------------------------------------------------------------------------------------------------

    def access_token(self, scopes: Sequence[str] = (FULL_SCOPE,)) -> str:
        """For requests made by hand."""
        return self.call(lambda: self.world.tokens.new_access_token(Caller(USER, frozenset(scopes))))

    def authorized_user(self, scopes: Sequence[str] = (FULL_SCOPE,)) -> dict[str, object]:
        """google-auth's authorized_user info, as after a login."""
        return self.call(lambda: credentials.authorized_user(self.world.tokens, self.root, scopes))

    def service_account(self, name: str = "forebay") -> dict[str, object]:
        """A service account's key file; the account owns no storage, as real ones."""
        return credentials.service_account(self.world.tokens, self.root, name)

    def client_config(self) -> dict[str, object]:
        """An installed application's client secrets."""
        return credentials.client_config(self.root)


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.tls)
    return context
