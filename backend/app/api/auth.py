"""Who may call a route, as dependencies; and the rules about pages from elsewhere.

A browser sends cookies, and reaches a server on loopback, also for pages that are not ours. So: with a cookie, and
where no token is needed, an `Origin` must be our own (or listed), and without tokens `Host` must be a loopback name
(DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from app.api.context import Context, Ctx
from app.core.errors import Forbidden, Unauthenticated
from app.services.identity import Principal

__all__ = ["COOKIE", "Operator", "User", "check_origin", "client_address", "operator_of", "user_of"]

COOKIE = "forebay_session"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def client_address(request: Request) -> str:
    """The caller's address; behind a trusted proxy, the one it forwards."""
    return request.client.host if request.client is not None else ""


def _bearer_of(request: Request) -> str | None:
    """The token of the Authorization field (RFC 6750 section 2.1).

    Raises:
        Unauthenticated: the field is there and holds something else.
    """
    field = request.headers.get("authorization")
    if field is None:
        return None
    scheme, _, token = field.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send the token as `Authorization: Bearer …`.")
    return token.strip()


def _own_origins(request: Request, context: Context) -> set[str]:
    host = request.headers.get("host", "")
    own = {f"{scheme}://{host}" for scheme in ("http", "https")} if _is_ours(host, context) else set()
    if context.settings.public_url is not None:
        parts = urlsplit(context.settings.public_url)
        own.add(f"{parts.scheme}://{parts.netloc}")
    return own | set(context.settings.cors_origins)


def check_origin(request: Request, context: Context) -> None:
    """Refuse pages from elsewhere.

    Raises:
        Forbidden: the request comes from a page of another origin.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin not in _own_origins(request, context):
        raise Forbidden(
            "Pages from elsewhere may not call this server. The operator can allow one: FOREBAY_CORS_ORIGINS."
        )


def _is_ours(host: str, context: Context) -> bool:
    """Whether a page under that name may be ours.

    Without tokens any name that leads to this address could belong to somebody else's page (DNS rebinding), so it has
    to be an address, or known; a token in a cookie is sent to the name only that it was given to.
    """
    if context.settings.auth != "none" or context.settings.allowed_hosts:
        return True
    try:
        ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return _is_loopback_host(host)
    return True


def _is_loopback_host(field: str) -> bool:
    name = urlsplit(f"//{field}").hostname or ""
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_local(request: Request) -> None:
    """Where no token is needed, make sure that the caller really is on this machine and not behind a proxy on it.

    Raises:
        Forbidden: the request came by another name, or was forwarded.
    """
    if not _is_loopback_host(request.headers.get("host", "")):
        raise Forbidden("Without tokens this server is reached by a loopback name only.")
    if any(name in request.headers for name in _FORWARDED):
        raise Forbidden("Behind a proxy this server needs tokens: `forebay-server token create USER`.")


async def user_of(request: Request, context: Ctx) -> Principal:
    """Who is calling.

    Raises:
        Unauthenticated, Forbidden: nobody who may.
    """
    token = _bearer_of(request)
    if token is None:
        token = request.cookies.get(COOKIE)
        check_origin(request, context)
        if token is None and await context.identity.open_to_local():
            _check_local(request)
    principal = await context.identity.of(token, client_address(request))
    request.scope["state"]["user"] = principal.user
    if principal.operator and context.settings.auth == "none":
        try:
            _check_local(request)
        except Forbidden:  # a proxy's address, or a page elsewhere under a name that leads here, is no operator
            return replace(principal, operator=False)
    return principal


User = Annotated[Principal, Depends(user_of)]


async def operator_of(user: User) -> Principal:
    """The caller, when it is an operator.

    Raises:
        Forbidden: it is not.
    """
    if not user.operator:
        raise Forbidden(
            "This is for operators. Make an operator's token with `forebay-server token create USER --operator`."
        )
    return user


Operator = Annotated[Principal, Depends(operator_of)]
