"""Where the browser brings consent: a listener on the loopback address, for one login."""

from __future__ import annotations

import html
import queue
import socketserver
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from app.destinations.google_drive.consent import Consent, ConsentError, NotTheRedirect

__all__ = ["HOST", "Loopback", "free_port"]

HOST: Final = "127.0.0.1"  # RFC 8252 section 8.3: not `localhost`, which may be something else
_CONNECTION_S: Final = 10.0  # browsers open connections that they then don't use
_BACK: Final = "Go back to the terminal: it says how it went. This page can be closed."
_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Forebay</title>'
    '<body style="font: 1.1rem sans-serif; margin: 4rem auto; max-width: 34rem"><p>{}</p></body></html>\n'
)


class Loopback:
    """`with Loopback(port) as listener`: make a `Consent` with its `redirect_uri`, `expect` it, open a browser, `wait`."""

    def __init__(self, port: int) -> None:
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as exc:
            raise ConsentError(
                f"port {port} can't be listened on ({exc.strerror}): choose another with --port"
            ) from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="loopback", daemon=True)
        self.redirect_uri = f"http://{HOST}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def expect(self, consent: Consent) -> None:
        """From now on, requests that bring this consent are taken."""
        self._server.consent = consent

    def wait(self, timeout_s: float) -> str:
        """The code that the browser brings; what is not the consent expected is told so and ignored.

        Raises:
            ConsentError: there is no consent, or nothing has come in time.
        """
        try:
            outcome = self._server.outcome.get(timeout=timeout_s)
        except queue.Empty:
            raise ConsentError(
                f"no browser has come back in {timeout_s / 60:.0f} minutes; on a machine without one: --no-browser"
            ) from None
        if isinstance(outcome, ConsentError):
            raise outcome
        return outcome


def free_port() -> int:
    """One on which nothing listens now."""
    with _Server((HOST, 0), _Handler) as server:
        return int(server.server_address[1])


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.consent: Consent | None = None
        self.outcome: queue.Queue[str | ConsentError] = queue.Queue(1)
        super().__init__(address, handler)

    def judge(self, path: str) -> tuple[HTTPStatus, str, str | ConsentError | None]:
        """What the browser is told, and the outcome if it brings one."""
        if self.consent is None or urlsplit(path).path != "/":
            return HTTPStatus.NOT_FOUND, "There is nothing here.", None
        try:
            code = self.consent.code(f"http://{HOST}{path}")
        except NotTheRedirect as exc:
            return HTTPStatus.BAD_REQUEST, str(exc), None
        except ConsentError as exc:
            return HTTPStatus.OK, f"Forebay has your answer. {_BACK}", exc
        return HTTPStatus.OK, f"Forebay has your consent. {_BACK}", code

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _CONNECTION_S
    server: _Server

    def do_GET(self) -> None:
        """One page; what came with the request is handed on when the page is out, for the program may end then."""
        status, text, outcome = self.server.judge(self.path)
        page = _PAGE.format(html.escape(text)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)
        if outcome is not None:
            with suppress(queue.Full):  # reloaded
                self.server.outcome.put_nowait(outcome)

    def version_string(self) -> str:
        """No versions."""
        return "Forebay"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
        """The path holds a code."""
