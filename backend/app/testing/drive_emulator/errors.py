"""Refusals, in the bodies that Google sends.

Three families answer in three forms: the API (`error.errors[].reason`), the upload server in front of it (plain text) and
the token endpoint (`error`, `error_description`). Texts and reasons were taken from Google's documentation and from
answers quoted by other projects; clients match on them, so they are not ours to improve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

__all__ = [
    "ApiRefusal",
    "Refusal",
    "TokenRefusal",
    "UploadRefusal",
    "error_body",
    "invalid_credentials",
    "invalid_parameter",
    "not_found",
]

_DOMAINS = {
    "dailyLimitExceeded": "usageLimits",
    "rateLimitExceeded": "usageLimits",
    "userRateLimitExceeded": "usageLimits",
}
_STATUS_NAMES = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.TOO_MANY_REQUESTS: "RESOURCE_EXHAUSTED",
    HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL",
    HTTPStatus.SERVICE_UNAVAILABLE: "UNAVAILABLE",
}
_MISSING_CREDENTIAL = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid"
    " authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_INVALID_CREDENTIAL = _MISSING_CREDENTIAL.replace(
    "Request is missing required authentication credential", "Request had invalid authentication credentials"
)


class Refusal(Exception):
    """A request that is answered with an error; the root of this file's tree."""

    status: int

    def response(self) -> web.Response:
        """What the client gets."""
        raise NotImplementedError


class ApiRefusal(Refusal):
    """The API says no."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        location: str | None = None,
        location_type: str = "parameter",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self._location = (location, location_type) if location else None
        self._headers = dict(headers or {})

    def response(self) -> web.Response:
        """JSON."""
        body = error_body(self.status, self.reason, self.message, location=self._location)
        return web.Response(
            status=self.status,
            body=json.dumps(body, indent=1).encode(),
            content_type="application/json",
            charset="utf-8",
            headers=self._headers,
        )


class UploadRefusal(Refusal):
    """The upload server says no, in plain text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message

    def response(self) -> web.Response:
        """Text."""
        return web.Response(status=self.status, text=self.message)


class TokenRefusal(Refusal):
    """The token endpoint says no."""

    def __init__(self, error: str, description: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.error = error
        self.description = description

    def response(self) -> web.Response:
        """JSON as RFC 6749 section 5.2 has it."""
        return web.json_response({"error": self.error, "error_description": self.description}, status=self.status)


def error_body(
    status: int, reason: str, message: str, *, location: tuple[str, str] | None = None
) -> dict[str, dict[str, object]]:
    """The API's error object; `location` is the name and kind of what was wrong in the request."""
    item = {"message": message, "domain": _DOMAINS.get(reason, "global"), "reason": reason}
    if location is not None:
        item["location"], item["locationType"] = location
    error: dict[str, object] = {"code": int(status), "message": message, "errors": [item]}
    if status in _STATUS_NAMES:
        error["status"] = _STATUS_NAMES[HTTPStatus(status)]
    return {"error": error}


def not_found(file_id: str) -> ApiRefusal:
    """No such file, or none that this caller may see: Drive does not tell which."""
    return ApiRefusal(HTTPStatus.NOT_FOUND, "notFound", f"File not found: {file_id}.", location="fileId")


def invalid_parameter(name: str, message: str) -> ApiRefusal:
    """A query parameter that says nothing sensible."""
    return ApiRefusal(HTTPStatus.BAD_REQUEST, "invalid", message, location=name)


def invalid_credentials(*, missing: bool) -> ApiRefusal:
    """No access token, or one that is wrong or has expired."""
    challenge = 'Bearer realm="https://accounts.google.com/"' + ("" if missing else ', error="invalid_token"')
    return ApiRefusal(
        HTTPStatus.UNAUTHORIZED,
        "required" if missing else "authError",
        _MISSING_CREDENTIAL if missing else _INVALID_CREDENTIAL,
        location="Authorization",
        location_type="header",
        headers={"WWW-Authenticate": challenge},
    )
