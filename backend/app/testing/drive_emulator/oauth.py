"""The consent page, the token endpoint and the revocation endpoint."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import BasicAuth, web
from yarl import URL

from app.testing.drive_emulator.answers import json_answer
from app.testing.drive_emulator.call import Call
from app.testing.drive_emulator.errors import TokenRefusal
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.tokens import CLIENT_ID

__all__ = ["consent", "revoke", "token"]


async def consent(call: Call) -> web.StreamResponse:
    """The user agrees at once (or refuses, when the emulator was told so) and is sent back to the application."""
    query, tokens = call.request.query, call.world.tokens
    missing = [name for name in ("client_id", "redirect_uri", "response_type", "scope") if not query.get(name)]
    if missing:
        return _page(HTTPStatus.BAD_REQUEST, f"Error 400: invalid_request. Missing required parameter: {missing[0]}")
    if query["client_id"] != CLIENT_ID:
        return _page(HTTPStatus.UNAUTHORIZED, "Error 401: invalid_client. The OAuth client was not found.")
    if query["response_type"] != "code":
        return _page(
            HTTPStatus.BAD_REQUEST, f"Error 400: invalid_request. Invalid response_type: {query['response_type']}"
        )
    back = {"state": query["state"]} if "state" in query else {}
    if tokens.deny_consent:
        back["error"] = "access_denied"
    else:
        challenge, method = query.get("code_challenge"), query.get("code_challenge_method", "plain")
        scope = query["scope"]
        back |= {"code": tokens.new_code(query["redirect_uri"], scope.split(), challenge, method), "scope": scope}
    location = str(URL(query["redirect_uri"]).update_query(back))
    return web.Response(status=HTTPStatus.FOUND, headers={"Location": location})


def _page(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n(This is the Drive emulator, a test double.)\n")


async def token(call: Call) -> web.StreamResponse:
    """Tokens for a code, a refresh token or an assertion."""
    form = {name: value for name, value in (await call.request.post()).items() if isinstance(value, str)}
    if (header := call.request.headers.get("Authorization", "")).startswith("Basic "):
        form |= _client_of(header)
    try:
        granted = call.world.tokens.grant(form, str(call.request.url.with_query(None)))
    except TokenRefusal as refusal:
        call.tell(Kind.TOKEN, status=refusal.status, detail=refusal.error)
        raise
    call.tell(Kind.TOKEN, status=HTTPStatus.OK, detail=form["grant_type"])
    return json_answer(granted, headers={"Cache-Control": "no-store"})


def _client_of(header: str) -> dict[str, str]:
    """The other way to say which client it is, RFC 6749 section 2.3.1; oauthlib prefers it."""
    try:
        client = BasicAuth.decode(header)
    except ValueError:
        raise TokenRefusal("invalid_client", "Unauthorized", HTTPStatus.UNAUTHORIZED) from None
    return {"client_id": client.login, "client_secret": client.password}


async def revoke(call: Call) -> web.StreamResponse:
    """A token that the application gives back."""
    form = await call.request.post()
    call.world.tokens.revoke_one(str(form.get("token") or call.request.query.get("token", "")))
    return json_answer({})
