"""What happens around every request: its id, its host, its log line, its metrics, and the answer when all else failed.

Plain ASGI middlewares: bodies and answers pass through untouched.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.late import answer_late
from app.core.errors import ForebayError, InternalError, InvalidRequest
from app.protocols.problem import problem_document

__all__ = ["Answered", "MethodOverride", "RequestObserver", "Surroundings"]

log = structlog.get_logger(__name__)


class Answered(NamedTuple):
    """A request that was answered."""

    method: str
    route: str
    """Its template."""
    status: int
    seconds: float
    problem: ForebayError | None
    """The error that was answered."""
    user: str | None
    """Whose request it was, where that is known."""


RequestObserver = Callable[[Answered], None]


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/api/v1/system/upload-status"})
_KEPT = ("type", "method", "path", "client", "state", "route")
"""Of the scope, for what comes after the framework."""
_GONE = 499


class Surroundings:
    """See above."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: tuple[str, ...], observe: RequestObserver) -> None:
        """Wrap `app`.

        Args:
            app: the application.
            allowed_hosts: names that `Host` may have; any when empty.
            observe: told of every answered request.
        """
        self._app = app
        self._allowed_hosts = frozenset(name.lower().strip("[]") for name in allowed_hosts)
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.get("extensions", {}).get("forebay.request_id") or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        scope = dict(scope)  # what the framework puts there goes with it
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", request_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            if self._is_foreign_host(scope):
                await self._refuse(
                    scope, send_with_headers, InvalidRequest("This server does not go by that host name.")
                )
            else:
                await self._app(scope, receive, send_with_headers)
                scope = {name: scope[name] for name in _KEPT if name in scope}
                await answer_late(scope, receive)
        except Exception as exc:
            if status != 0:
                raise self._broken_off(scope, exc) from exc
            log.exception("request failed", method=scope["method"], path=scope["path"])
            await self._refuse(scope, send_with_headers, InternalError())
        finally:
            self._note(scope, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    @staticmethod
    def _broken_off(scope: Scope, exc: Exception) -> ForebayError:
        """Log what ended an answer that had started; the receiver does not log an error of ours again."""
        cause = exc.__cause__  # Starlette wraps what a handler could have answered before the start
        if isinstance(cause, ForebayError):
            log.warning(
                "answer broken off", method=scope["method"], path=scope["path"], code=cause.code, detail=cause.detail
            )
            return cause
        log.error("answer broken off", method=scope["method"], path=scope["path"], exc_info=exc)
        return InternalError()

    def _is_foreign_host(self, scope: Scope) -> bool:
        if not self._allowed_hosts:
            return False
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        return (urlsplit(f"//{host}").hostname or "") not in self._allowed_hosts

    @staticmethod
    async def _refuse(scope: Scope, send: Send, error: ForebayError) -> None:
        scope["state"]["problem"] = error
        status, headers, body = problem_document(error, scope["state"]["request_id"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        problem: ForebayError | None = scope["state"].get("problem")
        route = getattr(scope.get("route"), "path", "(none)")
        status = status or _GONE
        self._observe(Answered(scope["method"], route, status, seconds, problem, scope["state"].get("user")))
        quiet = route in _QUIET_ROUTES and status < 400  # noqa: PLR2004
        (log.debug if quiet else log.info)(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            client=scope["client"][0] if scope.get("client") else None,
            code=problem.code if problem is not None else None,
        )


class MethodOverride:
    """For clients that can't send every method: below `prefix`, X-HTTP-Method-Override is the request's (tus, core)."""

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        """Wrap `app`."""
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefix):
            for name, value in scope["headers"]:
                if name == b"x-http-method-override":
                    scope["method"] = value.decode("latin-1").upper()  # in place: whoever counts it counts it as this
        await self._app(scope, receive, send)
