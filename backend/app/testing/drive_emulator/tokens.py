"""OAuth: who gets a token, for how long, and who a token stands for.

Laws: a refresh token works until it is revoked; after `revoke` every one is dead until somebody logs in anew (which makes
a new one) or `restore` is called, and access tokens die with them. Codes work once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.testing.drive_emulator.errors import TokenRefusal, invalid_credentials
from app.testing.drive_emulator.model import Caller

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "FULL_SCOPE", "USER", "Tokens"]

CLIENT_ID = "1000000000000-emulator.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-emulator"  # noqa: S105 - there is nothing behind it
FULL_SCOPE = "https://www.googleapis.com/auth/drive"
USER = "user@emulator.example"
_CODE_S = 600.0
_REVOKED = "Token has been expired or revoked."
_GOOGLES = ("https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")
"""Audiences that google-auth writes into assertions, whatever the token endpoint is."""
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class _Code:
    redirect_uri: str
    scopes: frozenset[str]
    challenge: str | None
    method: str
    until: float


class Tokens:
    """What was given out, and what it is still good for."""

    def __init__(self, lifetime_s: float) -> None:
        self.lifetime_s = lifetime_s
        self.deny_consent = False
        self._access: dict[str, tuple[Caller, float]] = {}
        self._refresh: dict[str, frozenset[str]] = {}
        self._revoked: set[str] = set()
        self._codes: dict[str, _Code] = {}
        self._accounts: dict[str, rsa.RSAPublicKey] = {}

    def new_refresh_token(self, scopes: Iterable[str]) -> str:
        """As after a login."""
        token = "1//" + secrets.token_urlsafe(32)
        self._refresh[token] = frozenset(scopes)
        return token

    def new_access_token(self, caller: Caller) -> str:
        """Good for `lifetime_s`."""
        token = "ya29." + secrets.token_urlsafe(32)
        self._access[token] = (caller, time.monotonic() + self.lifetime_s)
        return token

    def add_service_account(self, email: str, key: rsa.RSAPublicKey) -> None:
        """Its signature is accepted from now on."""
        self._accounts[email] = key

    def revoke(self) -> None:
        """The user takes back what was granted."""
        self._revoked.update(self._refresh)
        self._access.clear()

    def restore(self) -> None:
        """As if that had not happened; access tokens stay dead."""
        self._revoked.clear()

    def expire_access_tokens(self) -> None:
        """They must be refreshed."""
        self._access.clear()

    def revoke_one(self, token: str) -> None:
        """What the revocation endpoint does.

        Raises:
            TokenRefusal: it is no token of ours.
        """
        if token in self._refresh:
            self._revoked.add(token)
            self._access.clear()
        elif self._access.pop(token, None) is None:
            raise TokenRefusal("invalid_token", "Token expired or revoked")

    def caller(self, authorization: str | None) -> Caller:
        """Whom a request comes from.

        Raises:
            ApiRefusal: nobody, or somebody whose token is dead.
        """
        if authorization is None:
            raise invalid_credentials(missing=True)
        scheme, _, token = authorization.partition(" ")
        caller, until = self._access.get(token.strip(), (None, 0.0))
        if scheme.lower() != "bearer" or caller is None or time.monotonic() >= until:
            raise invalid_credentials(missing=False)
        return caller

    def new_code(self, redirect_uri: str, scopes: Iterable[str], challenge: str | None, method: str) -> str:
        """What the consent page sends to the application."""
        code = "4/0A" + secrets.token_urlsafe(32)
        self._codes[code] = _Code(redirect_uri, frozenset(scopes), challenge, method, time.monotonic() + _CODE_S)
        return code

    def grant(self, form: Mapping[str, str], audience: str) -> dict[str, object]:
        """The token endpoint's answer.

        Raises:
            TokenRefusal: no.
        """
        match form.get("grant_type", ""):
            case "authorization_code":
                return self._by_code(form)
            case "refresh_token":
                return self._by_refresh_token(form)
            case grant if grant == _JWT_GRANT:
                return self._by_assertion(form.get("assertion", ""), audience)
            case other:
                raise TokenRefusal("unsupported_grant_type", f"Invalid grant_type: {other}")

    def _answer(self, caller: Caller, **more: object) -> dict[str, object]:
        return {
            "access_token": self.new_access_token(caller),
            "expires_in": max(0, int(self.lifetime_s) - 1),
            "scope": " ".join(sorted(caller.scopes)),
            "token_type": "Bearer",
            **more,
        }

    def _by_code(self, form: Mapping[str, str]) -> dict[str, object]:
        _check_client(form)
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or time.monotonic() >= code.until:
            raise TokenRefusal("invalid_grant", "Malformed auth code.")
        if form.get("redirect_uri") != code.redirect_uri:
            raise TokenRefusal("redirect_uri_mismatch", "Bad Request")
        if code.challenge is not None:
            verifier = form.get("code_verifier", "")
            if not verifier:
                raise TokenRefusal("invalid_grant", "Missing code verifier.")
            made = _unpadded(hashlib.sha256(verifier.encode()).digest()) if code.method == "S256" else verifier
            if not secrets.compare_digest(made, code.challenge):
                raise TokenRefusal("invalid_grant", "Invalid code verifier.")
        return self._answer(Caller(USER, code.scopes), refresh_token=self.new_refresh_token(code.scopes))

    def _by_refresh_token(self, form: Mapping[str, str]) -> dict[str, object]:
        _check_client(form)
        token = form.get("refresh_token", "")
        scopes = self._refresh.get(token)
        if scopes is None:
            raise TokenRefusal("invalid_grant", "Bad Request")
        if token in self._revoked:
            raise TokenRefusal("invalid_grant", _REVOKED)
        asked = frozenset(form.get("scope", "").split())
        if asked - scopes:
            raise TokenRefusal("invalid_scope", "Bad Request")
        return self._answer(Caller(USER, asked or scopes))

    def _by_assertion(self, assertion: str, audience: str) -> dict[str, object]:
        try:
            head, body, signature = assertion.split(".")
            claims = json.loads(_decoded(body))
            email, scopes = str(claims["iss"]), frozenset(str(claims.get("scope", "")).split())
            expires, claimed = float(claims["exp"]), claims["aud"]
        except (ValueError, KeyError, TypeError):
            raise TokenRefusal("invalid_grant", "Bad Request") from None
        key = self._accounts.get(email)
        if key is None:
            raise TokenRefusal("invalid_grant", "Invalid grant: account not found")
        try:
            key.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            raise TokenRefusal("invalid_grant", "Invalid JWT Signature.") from None
        if claimed not in {audience, *_GOOGLES}:
            raise TokenRefusal("invalid_grant", "Invalid JWT: Failed audience check.")
        if expires < time.time():
            raise TokenRefusal(
                "invalid_grant", "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe."
            )
        if not scopes:
            raise TokenRefusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        subject = claims.get("sub")
        delegated = isinstance(subject, str) and subject != email
        return self._answer(Caller(subject if delegated else email, scopes, owns_no_storage=not delegated))


def _check_client(form: Mapping[str, str]) -> None:
    if form.get("client_id") != CLIENT_ID:
        raise TokenRefusal("invalid_client", "The OAuth client was not found.", HTTPStatus.UNAUTHORIZED)
    if form.get("client_secret") != CLIENT_SECRET:
        raise TokenRefusal("invalid_client", "Unauthorized", HTTPStatus.UNAUTHORIZED)


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
