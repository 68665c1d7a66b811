"""Logging in to Google Drive: a person agrees in a browser, and we get a refresh token.

Laws:
- each attempt has its own PKCE verifier and state; an address that comes back with another state is not used;
- what is asked for is one scope, offline access and consent anew, so that a refresh token comes;
- codes and secrets go to the token endpoint that the settings lead to, whatever the client's file says; no redirect is
  followed, and oauthlib, which would log them at level debug, is kept quiet meanwhile.

`Consent.code` is sans-IO; whatever else is here blocks. Not thread-safe: oauthlib is told by environment variables.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import requests
from google_auth_oauthlib.flow import Flow  # type: ignore[import-untyped]
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]

from app.destinations.google_drive.login_file import Kind, Login, check_addresses, read_object
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.web import LIMITS_S, failure, trust_the_system

__all__ = ["Client", "Consent", "ConsentError", "Granted", "NotTheRedirect", "read_client", "revoke"]

_LONGEST_FILE: Final = 65_536
_CONSOLE: Final = "in the Google Cloud console (docs/google-drive.md)"


class ConsentError(Exception):
    """The login did not come about; the message is one line for the person at the keyboard."""


class NotTheRedirect(ConsentError):
    """That was not the address in which consent comes back; asking again makes sense."""


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client of type "Desktop app"."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, login: Login) -> Client:
        """The one with which a person has logged in before."""
        return cls(login.info["client_id"], login.info["client_secret"])


@dataclass(frozen=True, slots=True)
class Granted:
    """What a person has granted."""

    login: dict[str, object] = field(repr=False)
    """For `write_login`."""
    access_token: str = field(repr=False)
    ends_at: float | None
    """When Google will end it, whatever is done with it: so with an app whose publishing status is "Testing"."""


def read_client(path: Path, options: GoogleDriveOptions) -> Client:
    """The client whose file was downloaded.

    Raises:
        ConsentError: it is none, or of another kind.
    """
    try:
        with path.open("rb") as file:
            found = read_object(file.read(_LONGEST_FILE))
    except OSError as exc:
        raise ConsentError(f"{path} can't be read: {exc.strerror}") from exc
    wanted = f"make a client of type Desktop app {_CONSOLE} and download its file"
    if found is None:
        raise ConsentError(f"{path} is no file of an OAuth client: {wanted}")
    if found.get("type") in {*Kind}:
        raise ConsentError(f"{path} is a login already ({found['type']}): set FOREBAY_GOOGLE_DRIVE_CREDENTIALS to it")
    if "web" in found:
        raise ConsentError(f'{path} is of an OAuth client of type "Web application": {wanted}')
    client = found.get("installed")
    if not isinstance(client, dict):
        raise ConsentError(f"{path} is no file of an OAuth client: {wanted}")
    names = ("client_id", "client_secret")
    if missing := [name for name in names if not isinstance(client.get(name), str) or not client[name]]:
        raise ConsentError(f"{path} has no {missing[0]}: {wanted}")
    if wrong := check_addresses(options, client):
        raise ConsentError(f"{path} {wrong}")
    return Client(client["client_id"], client["client_secret"])


class Consent:
    """One attempt to log in."""

    def __init__(self, options: GoogleDriveOptions, client: Client, scope: str, redirect_uri: str) -> None:
        self._options = options
        self._client = client
        self._scope = scope
        self._redirect_uri = redirect_uri
        config = {
            "client_id": client.id,
            "client_secret": client.secret,
            "auth_uri": options.consent_url,
            "token_uri": options.token_url,
        }
        self._flow = Flow.from_client_config({"installed": config}, scopes=[scope], redirect_uri=redirect_uri)
        trust_the_system(self._flow.oauth2session)
        self._flow.oauth2session.max_redirects = 0
        self._state = secrets.token_urlsafe(24)
        with _oauthlib(options):
            address, _ = self._flow.authorization_url(access_type="offline", prompt="consent", state=self._state)
        self.address: str = address
        """Where the person agrees."""

    def code(self, redirected: str) -> str:
        """The code in the address that the browser was sent to.

        Raises:
            NotTheRedirect: it is another address, or none.
            ConsentError: it says that there is no consent.
        """
        text = redirected.strip().strip("<>\"'`")
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            said = parse_qs(parts.query)
        except ValueError:
            parts, said = urlsplit(""), {}
        if not said.keys() & {"code", "error"}:
            raise NotTheRedirect(self._what_else(text, said))
        if not secrets.compare_digest(_one(said, "state").encode(), self._state.encode()):
            raise NotTheRedirect(
                "That address belongs to another login: open the one that the terminal shows now, and agree there."
            )
        if error := _one(said, "error"):
            raise ConsentError(_no_consent(error))
        if code := _one(said, "code"):
            return code
        raise NotTheRedirect(self._what_else(text, said))

    def _what_else(self, text: str, said: Mapping[str, list[str]]) -> str:
        expected = f"the address that you are sent to after agreeing; it begins with {self._redirect_uri}?"
        if not text:
            return f"That is nothing. Paste {expected}"
        if said.keys() & {"client_id", "redirect_uri"}:
            return f"That is the address to open. Paste {expected}"
        return f"That is not it. Paste, whole, {expected}"

    def exchange(self, code: str) -> Granted:
        """The refresh token for the code.

        Raises:
            ConsentError: Google gives none; nothing was saved.
        """
        with _oauthlib(self._options):
            try:
                answer = self._flow.fetch_token(code=code, include_client_id=True, timeout=LIMITS_S)
            except OAuth2Error as exc:
                raise ConsentError(_no_token(exc.error or "", exc.description or "")) from None
            except requests.RequestException as exc:
                raise ConsentError(f"Google can't be reached: {failure(exc)}") from None
            except (ValueError, TypeError, AttributeError):
                raise ConsentError(f"{self._options.token_url} answers as no token endpoint does") from None
            finally:
                self._flow.oauth2session.close()
        scopes = answer.get("scope") or ()
        if self._scope not in (scopes.split() if isinstance(scopes, str) else scopes):
            raise ConsentError("Google Drive was not ticked on the consent page, so nothing was granted: log in again")
        refresh_token = answer.get("refresh_token")
        if not refresh_token:
            raise ConsentError(
                "Google sent no refresh token: remove the app at https://myaccount.google.com/connections, log in again"
            )
        login: dict[str, object] = {
            "type": str(Kind.USER),
            "client_id": self._client.id,
            "client_secret": self._client.secret,
            "refresh_token": refresh_token,
            "token_uri": self._options.token_url,
            "scopes": [self._scope],
            "universe_domain": "googleapis.com",
        }
        ends_at = None
        if isinstance(lasts_s := answer.get("refresh_token_expires_in"), int) and lasts_s > 0:
            login["login_ends_at"] = ends_at = int(time.time()) + lasts_s
        return Granted(login, answer["access_token"], ends_at)


def _one(said: Mapping[str, list[str]], name: str) -> str:
    values = said.get(name, [])
    return values[0] if len(values) == 1 else ""


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:200]


def _no_consent(error: str) -> str:
    if error == "access_denied":
        return "consent was denied, so nothing was saved; run `forebay-server drive login` again to be asked again"
    if error in {"admin_policy_enforced", "org_internal"}:
        return f"Google refuses ({error}): your Workspace administrator must allow this OAuth client"
    return f"Google refuses ({_printable(error)}); nothing was saved"


def _no_token(error: str, description: str) -> str:
    said = _printable(f"{error}: {description}" if description else error)
    match error:
        case "invalid_grant":
            return f"Google does not take the code ({said}): it works once, for some minutes; log in again"
        case "invalid_client" | "deleted_client" | "disabled_client":
            return f"Google does not know the OAuth client any more ({said}): download its file anew {_CONSOLE}"
        case "redirect_uri_mismatch":
            return f"The OAuth client is not of type Desktop app ({said}): make one {_CONSOLE}"
        case _:
            return f"Google gives no token ({said}); nothing was saved"


@contextmanager
def _oauthlib(options: GoogleDriveOptions) -> Iterator[None]:
    """What oauthlib must be told: that we look at the granted scopes ourselves, and that a root without TLS is meant."""
    told = {"OAUTHLIB_RELAX_TOKEN_SCOPE": "1"}
    if options.api_root.startswith("http://"):
        told["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    before = {name: os.environ.get(name) for name in told}
    loggers = [logging.getLogger(name) for name in ("oauthlib", "requests_oauthlib")]
    levels = [logger.level for logger in loggers]
    os.environ.update(told)
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def revoke(login: Login, options: GoogleDriveOptions) -> bool:
    """Give the grant back to Google; False when there was none any more.

    Raises:
        ConsentError: Google could not be told.
    """
    url = f"{options.token_url.removesuffix('/token')}/revoke"
    form = {"token": login.info["refresh_token"]}
    said: Any = None
    with requests.Session() as session:
        trust_the_system(session)
        try:
            answer = session.post(url, data=form, timeout=LIMITS_S, allow_redirects=False)
            said = answer.json()
        except requests.exceptions.JSONDecodeError:
            pass
        except requests.RequestException as exc:
            raise ConsentError(f"Google can't be reached: {failure(exc)}") from None
    if answer.status_code == HTTPStatus.OK:
        return True
    if isinstance(said, dict) and str(said.get("error")) in {"invalid_token", "invalid_grant"}:
        return False
    raise ConsentError(f"Google does not take the login back (status {answer.status_code})")
