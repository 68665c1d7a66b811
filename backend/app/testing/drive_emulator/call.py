"""One request on its way through the emulator, and the faults that meet its body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from app.testing.drive_emulator.answers import json_of
from app.testing.drive_emulator.events import Event, Kind
from app.testing.drive_emulator.faults import CutAfter, Fault, SlowRead, Stall
from app.testing.drive_emulator.model import Caller
from app.testing.drive_emulator.script import Operation
from app.testing.drive_emulator.throttle import Bucket
from app.testing.drive_emulator.world import World

__all__ = ["Call", "Cut"]

_TRUE = frozenset({"true", "1"})


class Cut(Exception):
    """The connection ends here, without an answer."""


class Call:
    """A request with what the script has for it."""

    def __init__(self, world: World, request: web.Request, operation: Operation, *, moves_content: bool) -> None:
        self.world = world
        self.request = request
        self.operation = operation
        self.moves_content = moves_content
        self.fault: Fault | None = None
        self.late_fault: Fault | None = None
        """Decided when the body had been taken."""
        self.session: int | None = None
        self.cut = asyncio.Event()

    @property
    def transport(self) -> asyncio.Transport:
        """The connection.

        Raises:
            Cut: it has ended.
        """
        if self.request.transport is None:
            raise Cut
        return self.request.transport

    def tell(self, kind: Kind, **what: int | str | None) -> Event:
        """Add an event about this request."""
        return self.world.events.append(kind, operation=self.operation, session=self.session, **what)  # type: ignore[arg-type]

    def decide(self, operation: Operation) -> Fault | None:
        """What the script has, and that it had it."""
        if (fault := self.world.script.decide(operation)) is not None:
            self.world.events.append(Kind.FAULT, operation=operation, session=self.session, detail=repr(fault))
        return fault

    def caller(self) -> Caller:
        """Whom the access token stands for.

        Raises:
            ApiRefusal: nobody.
        """
        return self.world.tokens.caller(self.request.headers.get("Authorization"))

    def flag(self, name: str) -> bool:
        """A boolean parameter."""
        return self.request.query.get(name, "").lower() in _TRUE

    @property
    def all_drives(self) -> bool:
        """Whether the application says that it knows of shared drives."""
        return self.flag("supportsAllDrives") or self.flag("supportsTeamDrives")

    async def json(self) -> object:
        """The body's object; an empty body is an empty one.

        Raises:
            ApiRefusal: it is something else.
        """
        return json_of(await self.request.read())

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while.

        Raises:
            Cut: the connection was cut meanwhile.
        """
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self.cut.wait(), seconds)
        except TimeoutError:
            return
        raise Cut

    async def stall(self, fault: Stall) -> None:
        """What the fault says."""
        await self.pause(fault.stall)
        if fault.then == "cut":
            raise Cut

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it comes, at the connection's rate and with the fault's interruptions.

        Raises:
            Cut: it broke off, or a fault says so.
        """
        pace = Pace(self)
        content = self.request.content
        while True:
            await pace.before()
            try:
                data = await content.readany()
            except (web.RequestPayloadError, ConnectionError) as exc:
                raise Cut from exc
            if not data:
                return
            for part in pace.parts(data):
                yield part
                await pace.pay(len(part))
                await pace.moved(len(part))

    async def drain(self) -> None:
        """Read the body and forget it."""
        async for _ in self.body():
            pass


class Pace:
    """The speed at which content moves, and where it stops."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._moved = 0
        self._stall = call.fault if isinstance(call.fault, Stall) else None
        self._limit = call.fault.cut_after if isinstance(call.fault, CutAfter) else None
        buckets = [call.world.bucket(call.transport.get_extra_info("peername"))]
        if isinstance(call.fault, SlowRead):
            buckets.append(Bucket(call.fault.slow_read))
        self._buckets = [bucket for bucket in buckets if bucket is not None]

    async def before(self) -> None:
        """Wait, or end, where the fault says so."""
        if self._stall is not None and self._moved >= self._stall.at:
            stall, self._stall = self._stall, None
            await self._call.stall(stall)
        if self._limit is not None and self._moved >= self._limit:
            raise Cut

    def parts(self, data: bytes) -> list[bytes]:
        """The data, in two where something is to happen within it."""
        stops = [at for at in (self._limit, self._stall.at if self._stall else None) if at is not None]
        for stop in stops:
            if 0 < stop - self._moved < len(data):
                return [data[: stop - self._moved], data[stop - self._moved :]]
        return [data]

    async def pay(self, size: int) -> None:
        """Wait as long as so many bytes take."""
        await self._call.pause(max((bucket.spend(size) for bucket in self._buckets), default=0.0))

    async def moved(self, size: int) -> None:
        """So many have moved."""
        self._moved += size
        await self.before()
