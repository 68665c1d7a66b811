"""The emulator's own endpoints, for tests in other processes: `/emulator/…`. No faults, no latency, no tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.answers import json_of, number_of
from app.testing.drive_emulator.errors import ApiRefusal
from app.testing.drive_emulator.script import ScriptError, parse_rules
from app.testing.drive_emulator.world import World

__all__ = ["control_routes"]

_LARGEST = 1 << 62
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """Handlers over one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def about(self, _request: web.Request) -> web.Response:
        """What this is, and how much has happened."""
        world = self._world
        return web.json_response(
            {
                "what": "Forebay's Google Drive emulator: a test double, not Google Drive",
                "requests": dict(world.requests),
                "violations": len(world.events.violations),
                "root": world.tree.root,
                "shared_drive": world.tree.shared_drive,
            }
        )

    async def events(self, request: web.Request) -> web.Response:
        """Those numbered above `after`."""
        after = number_of(request.query.get("after", "0"))
        if after is None:
            raise web.HTTPBadRequest(text="after must be a number\n")
        return web.json_response([event.as_dict() for event in self._world.events.after(after)])

    async def sessions(self, _request: web.Request) -> web.Response:
        """All there were."""
        return web.json_response([session.as_dict() for session in self._world.sessions.values()])

    async def files(self, _request: web.Request) -> web.Response:
        """All there are, in no view but the emulator's own."""
        tree = self._world.tree
        return web.json_response(
            [
                {
                    "id": file.id,
                    "name": file.name,
                    "mime_type": file.mime_type,
                    "parents": file.parents,
                    "size": file.size,
                    "digests": file.digests,
                    "corrupt": file.corrupt,
                    "trashed": tree.is_trashed(file),
                    "app_properties": file.app_properties,
                    "path": None if file.path is None else str(file.path),
                }
                for file in tree.files.values()
                if not tree.is_root(file)
            ]
        )

    async def script(self, request: web.Request) -> web.Response:
        """Replaces the rules."""
        try:
            rules = parse_rules(await request.read())
        except ScriptError as exc:
            raise web.HTTPBadRequest(text=f"{exc}\n") from None
        self._world.script.replace(rules)
        return web.json_response({"rules": len(rules)})

    async def revoke(self, _request: web.Request) -> web.Response:
        """Every login is gone."""
        self._world.tokens.revoke()
        return web.json_response({})

    async def restore(self, _request: web.Request) -> web.Response:
        """And back."""
        self._world.tokens.restore()
        return web.json_response({})

    async def expire_tokens(self, _request: web.Request) -> web.Response:
        """Access tokens only: they must be refreshed."""
        self._world.tokens.expire_access_tokens()
        return web.json_response({})

    async def expire_sessions(self, request: web.Request) -> web.Response:
        """All open ones."""
        status = request.query.get("status", str(self._world.options.expired_status))
        if status not in {"404", "410"}:
            raise web.HTTPBadRequest(text="status must be 404 or 410\n")
        return web.json_response({"expired": self._world.expire_sessions(int(status))})

    async def limits(self, request: web.Request) -> web.Response:
        """Changes what the object names: storage_quota, daily_limit, latency, rate (null: none); new_day forgets uploads."""
        known = {"storage_quota", "daily_limit", "latency", "rate", "new_day"}
        try:
            body = json_of(await request.read())
        except ApiRefusal:
            body = None
        if not isinstance(body, dict) or set(body) - known or not all(map(_is_amount, body.values())):
            raise web.HTTPBadRequest(text=f"an object of numbers or nulls by {', '.join(sorted(known))}\n")
        world = self._world
        world.tree.storage_quota = body.get("storage_quota", world.tree.storage_quota)
        world.tree.daily_limit = body.get("daily_limit", world.tree.daily_limit)
        world.latency_s = body.get("latency", world.latency_s) or 0.0
        if "rate" in body:
            world.set_rate(body["rate"] or None)
        if body.get("new_day"):
            world.tree.a_new_day()
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _is_amount(value: object) -> bool:
    return value is None or (type(value) in {int, float} and 0 <= value <= _LARGEST)  # type: ignore[operator]


def control_routes(world: World) -> list[web.RouteDef]:
    """All of them."""
    control = Control(world)
    return [
        web.get("/emulator", control.about),
        web.get("/emulator/events", control.events),
        web.get("/emulator/sessions", control.sessions),
        web.get("/emulator/files", control.files),
        web.post("/emulator/script", control.script),
        web.post("/emulator/tokens/revoke", control.revoke),
        web.post("/emulator/tokens/restore", control.restore),
        web.post("/emulator/tokens/expire", control.expire_tokens),
        web.post("/emulator/sessions/expire", control.expire_sessions),
        web.post("/emulator/limits", control.limits),
    ]
