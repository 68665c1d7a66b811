"""Access tokens for Google Drive, from the login in the credential file.

Laws:
- the file is looked at again when a token is needed and when one could not be had: a new login is taken up without a
  restart, a removed one ends;
- one refresh at a time, and everybody who waits for a token gets its outcome; a waiter that leaves does not end it;
- refresh token, key and client secret go to `options.token_url` and nowhere else: no redirect is followed;
- errors name what Google said, never what was sent: they are not chained to google-auth's, which may quote answers;
- nothing is tried again here: an answer that makes google-auth sleep and ask once more ends its refresh instead.

What blocks (the file, the network) runs in one thread that belongs to the tokens; the rest is event loop only.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import requests
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.auth.transport import DEFAULT_RETRYABLE_STATUS_CODES, Response
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as UserCredentials

from app.core.errors import DestinationLoginLost, DestinationUnavailable
from app.destinations.google_drive.login_file import Kind, Login, Stamp, read_login, stamp_of
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.refusals import Refusal, refusal_error
from app.destinations.google_drive.web import LIMITS_S, failure, trust_the_system
from app.posix.threads import run_to_end

__all__ = ["GoogleTokens"]

_EARLY_S: Final = 300.0
_EARLY_SHARE: Final = 0.2  # of a life that is shorter than Google's hour
_SPARE_S: Final = 10.0  # a token this close to its end is not handed out when a new one can't be had
_LOOK_AGAIN_S: Final = 1.0
_TRY_AGAIN_S: Final = 10.0

Credentials = UserCredentials | service_account.Credentials


@dataclass(frozen=True, slots=True)
class _Held:
    """A token; times are of `time.monotonic`."""

    value: str = field(repr=False)
    renew_at: float
    ends_at: float
    look_at: float
    """Until then the file is not looked at."""


class GoogleTokens:
    """The tokens of one login; a `TokenSource`."""

    def __init__(self, options: GoogleDriveOptions) -> None:
        self._desk = _Desk(options)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="google-tokens")
        self._held: _Held | None = None
        self._renewal: asyncio.Task[_Held] | None = None

    @property
    def clock_ahead_s(self) -> float | None:
        """How far this machine's clock is ahead of the token endpoint's, to a second or so; None before an answer."""
        return self._desk.clock_ahead_s

    async def token(self, *, refused: str | None = None) -> str:
        """See `TokenSource`."""
        if self._held is not None and self._held.value == refused:
            self._held = None  # nobody else is to try it
        held = self._held
        now = time.monotonic()
        if held is None or now >= min(held.renew_at, held.look_at):
            held = await self._renewed(refused)
            if held.value == refused:  # it was under way already when that one was refused
                held = await self._renewed(refused)
        return held.value

    async def _renewed(self, refused: str | None) -> _Held:
        renewal = self._renewal
        if renewal is None:
            renewal = self._renewal = asyncio.create_task(self._renew(refused), name="google-tokens")
            renewal.add_done_callback(self._renewal_ended)
        await asyncio.wait((renewal,))
        return renewal.result()

    async def _renew(self, refused: str | None) -> _Held:
        return await run_to_end(self._threads, self._desk.token, refused)

    def _renewal_ended(self, renewal: asyncio.Task[_Held]) -> None:
        self._renewal = None
        failed = renewal.cancelled() or renewal.exception() is not None
        self._held = None if failed else renewal.result()

    async def aclose(self) -> None:
        """Wait for a refresh under way, and let go of the thread."""
        if self._renewal is not None:
            await asyncio.wait((self._renewal,))
        self._threads.shutdown(wait=False)


class _Desk:
    """Where the blocking work is done; one thread at a time."""

    def __init__(self, options: GoogleDriveOptions) -> None:
        self.clock_ahead_s: float | None = None
        self._options = options
        self._login: Login | None = None
        self._credentials: Credentials | None = None
        self._held: _Held | None = None

    def token(self, refused: str | None) -> _Held:
        """The token that is held, or a new one.

        Raises:
            DestinationLoginLost: there is no login, or it does not hold.
            DestinationUnavailable: Google does not answer, and what is held is no longer good.
        """
        login, credentials = self._present_login()
        now = time.monotonic()
        if self._held is not None and self._held.value == refused:
            self._held = None
        if self._held is None or now >= self._held.renew_at:
            try:
                self._held = self._fetch(login, credentials)
            except DestinationLoginLost:
                if stamp_of(self._options.credentials) == login.stamp:
                    self._held = None
                    raise
                self._held = self._fetch(*self._present_login())  # somebody has just logged in
            except DestinationUnavailable:
                if self._held is None or now >= self._held.ends_at - _SPARE_S:
                    raise
                self._held = replace(self._held, renew_at=min(now + _TRY_AGAIN_S, self._held.ends_at - _SPARE_S))
        return replace(self._held, look_at=time.monotonic() + _LOOK_AGAIN_S)

    def _present_login(self) -> tuple[Login, Credentials]:
        stamp: Stamp | None = stamp_of(self._options.credentials)
        if self._login is None or self._credentials is None or stamp != self._login.stamp:
            self._login = self._credentials = self._held = None
            login = read_login(self._options)
            self._credentials = _credentials(login, self._options)
            self._login = login
        return self._login, self._credentials

    def _fetch(self, login: Login, credentials: Credentials) -> _Held:
        before = time.monotonic()
        with requests.Session() as session:
            trust_the_system(session)
            transport = _Transport(session)
            try:
                credentials.refresh(transport)  # type: ignore[no-untyped-call]
            except _NotNow:
                raise refusal_error(login, Refusal(transport.status), None) from None
            except RefreshError as exc:
                raise refusal_error(login, _refusal(exc, login, transport.status), transport.clock_ahead_s) from None
            except GoogleAuthError as exc:
                reason = failure(exc.args[0] if exc.args else None)
                raise DestinationUnavailable(
                    f"Google can't be reached for an access token now: {reason}. What was received is kept."
                ) from None
            except (ValueError, TypeError, KeyError, AttributeError):
                raise refusal_error(login, Refusal(transport.status), None) from None
            finally:
                if transport.clock_ahead_s is not None:
                    self.clock_ahead_s = transport.clock_ahead_s
        value, expiry = credentials.token, credentials.expiry
        if not isinstance(value, str) or not value:
            raise refusal_error(login, Refusal(transport.status), None)
        lasts_s = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if expiry is not None else _EARLY_S
        early_s = min(_EARLY_S, lasts_s * _EARLY_SHARE)
        return _Held(value, before + lasts_s - early_s, before + lasts_s, before)


class _NotNow(TransportError):
    """An answer after which google-auth would sleep and try again."""


class _Transport(Request):
    """google-auth's transport, with time limits; remembers the last answer's status and clock."""

    def __init__(self, session: requests.Session) -> None:
        super().__init__(session)
        self.status: int | None = None
        self.clock_ahead_s: float | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Any = None,  # noqa: ANN401 - as its parent has it
        timeout: Any = None,  # noqa: ANN401 - as its parent has it
        **kwargs: Any,  # noqa: ANN401 - as its parent has it
    ) -> Response:
        """Ask; a redirect is an answer like any other."""
        del timeout
        self.status = None
        limits: Any = LIMITS_S
        answer: Response = super().__call__(  # type: ignore[no-untyped-call]
            url, method, body, headers, limits, allow_redirects=False, **kwargs
        )
        self.status = answer.status
        try:
            there = parsedate_to_datetime(answer.headers["Date"])
            self.clock_ahead_s = time.time() - there.timestamp()
        except (KeyError, ValueError, TypeError):
            pass
        if answer.status in DEFAULT_RETRYABLE_STATUS_CODES or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _NotNow
        return answer


def _credentials(login: Login, options: GoogleDriveOptions) -> Credentials:
    info = {**login.info, "token_uri": options.token_url}
    if login.kind is Kind.USER:
        return UserCredentials(  # type: ignore[no-untyped-call]
            None,
            refresh_token=info["refresh_token"],
            token_uri=info["token_uri"],
            client_id=info["client_id"],
            client_secret=info["client_secret"],
            scopes=list(login.scopes) or None,
        )
    try:
        made: service_account.Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            info, scopes=list(login.scopes)
        )
    except (ValueError, TypeError, GoogleAuthError):
        raise DestinationLoginLost(
            "The service account's private key can't be read: log in again with a new key file of the account."
        ) from None
    if options.subject:
        made = made.with_subject(options.subject)  # type: ignore[no-untyped-call]
    return made


def _refusal(exc: RefreshError, login: Login, status: int | None) -> Refusal:
    """What the answer says; words in which something of ours is repeated are left out."""
    answer = exc.args[1] if len(exc.args) > 1 else None
    if not isinstance(answer, dict):
        return Refusal(status)
    ours = [login.info[name] for name in ("refresh_token", "client_secret", "private_key") if name in login.info]
    said = [answer.get(name) for name in ("error", "error_description")]
    code, description = (
        each if isinstance(each, str) and not any(str(secret) in each for secret in ours) else "" for each in said
    )
    return Refusal(status, code, description)
