"""Requests to a session's URI.

Laws: whoever has the URI may write, as with Drive; a token that comes along must be good all the same. One body at a time
per session: a newer one cuts an older one, whose bytes beyond the last whole unit are lost; with the older's client still
there that is a violation, for it is what loses data at Drive. What is held is told from the content alone, so no answer
promises what was not hashed and written.
"""

from __future__ import annotations

import time
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.answers import file_answer
from app.testing.drive_emulator.call import Call, Cut
from app.testing.drive_emulator.content import UNIT_BYTES, Intake
from app.testing.drive_emulator.errors import UploadRefusal
from app.testing.drive_emulator.events import Kind, Violation
from app.testing.drive_emulator.faults import CommitLess, Expire, WrongDigest
from app.testing.drive_emulator.filing import check, file_it
from app.testing.drive_emulator.protocol import (
    Plan,
    Query,
    RangeRefusal,
    check_piece,
    judge,
    parse_content_range,
    range_answer,
    same_total,
)
from app.testing.drive_emulator.script import Operation
from app.testing.drive_emulator.sessions import ActivePut, Session, State
from app.testing.drive_emulator.uploads import UPLOADER

__all__ = ["serve"]

_CLIENT_CLOSED = 499
_YES = frozenset({"yes", "true", "1"})


async def serve(call: Call) -> web.Response:
    """A request with an upload id."""
    session = _session(call)
    if call.operation is Operation.UPLOAD_CANCEL:
        if session.state is not State.COMPLETE:  # what it has become is a file, with a life of its own
            session.end(State.CANCELLED)
        return web.Response(status=_CLIENT_CLOSED)
    if session.state is State.COMPLETE:
        return _complete_answer(call, session)
    try:
        said = parse_content_range(call.request.headers.get("Content-Range"))
        if isinstance(said, Query):
            return _query(call, session, said)
        await _supersede(call, session)
        session.put = ActivePut(call.transport, call.cut)
        try:
            plan = judge(
                said,
                body=call.request.content_length,
                held=session.held,
                declared=session.total,
                strict=call.world.options.strict_pieces,
            )
            return await _Taking(call, session, plan).run()
        finally:
            session.put.done.set()
            session.put = None
            if session.state in {State.EXPIRED, State.CANCELLED}:
                session.content.discard()
    except RangeRefusal as refusal:
        call.tell(Kind.VIOLATION, position=session.held, status=refusal.status, detail=refusal.violation)
        raise


def _session(call: Call) -> Session:
    world = call.world
    session = world.sessions.get(call.request.query["upload_id"])
    if session is None:
        raise UploadRefusal(HTTPStatus.NOT_FOUND, "Not Found")
    call.session = session.number
    if "Authorization" in call.request.headers:
        call.caller()
    if isinstance(call.fault, Expire):
        world.expire(session, call.fault.expire)
    elif session.state is State.OPEN and session.started_s + world.options.session_lifetime_s <= time.monotonic():
        world.expire(session, world.options.expired_status)
    match session.state:
        case State.EXPIRED:
            raise UploadRefusal(session.expired_status, HTTPStatus(session.expired_status).phrase)
        case State.CANCELLED:
            raise UploadRefusal(_CLIENT_CLOSED, "Upload cancelled")
        case _:
            return session


def _query(call: Call, session: Session, said: Query) -> web.Response:
    total = same_total(session.total, said.total)
    if total == session.held and said.total is not None and session.put is None:
        session.total = total
        return _complete(call, session)
    return _incomplete(call, session)


async def _supersede(call: Call, session: Session) -> None:
    while (older := session.put) is not None:
        if older.client_is_there:
            call.tell(Kind.VIOLATION, position=session.held, detail=Violation.PARALLEL_PUT)
        older.end()
        await older.done.wait()


class _Taking:
    """One body on its way into a session."""

    def __init__(self, call: Call, session: Session, plan: Plan) -> None:
        self._call = call
        self._session = session
        self._plan = plan
        self._less = call.fault.commit_less if isinstance(call.fault, CommitLess) else None
        self._came = 0

    async def run(self) -> web.Response:
        call, session, plan = self._call, self._session, self._plan
        call.tell(Kind.PUT_STARTED, position=self._end, size=plan.size)
        if plan.skip:
            call.tell(Kind.VIOLATION, position=session.held, detail=Violation.START_BEHIND)
        if self._less is not None:
            session.content.keep_marks()
        intake = Intake(session.content, self._tell_held)
        try:
            await self._feed(intake)
        except Cut:
            await self._settle(intake, Kind.PUT_CUT)
            raise
        if self._less is None and self._is_last:
            await intake.finish()
            session.total = self._end
            call.tell(Kind.PUT_ENDED, position=session.held, size=self._came)
            return _complete(call, session)
        await self._settle(intake, Kind.PUT_ENDED)
        if self._less is None:
            if plan.size is not None and self._came != plan.size:
                message = f"Invalid request.  {plan.size} byte(s) were declared, {self._came} came."
                raise RangeRefusal(HTTPStatus.BAD_REQUEST, message, Violation.BAD_RANGE)
            check_piece(plan, self._end, self._came, strict=call.world.options.strict_pieces)
        return _incomplete(call, session)

    def _tell_held(self) -> None:
        self._call.tell(Kind.HELD, position=self._session.held)

    @property
    def _end(self) -> int:
        return self._plan.start - self._plan.skip + self._came

    @property
    def _is_last(self) -> bool:
        plan = self._plan
        return (plan.ends or self._end == plan.total) and plan.size in {None, self._came}

    async def _feed(self, intake: Intake) -> None:
        plan = self._plan
        async for data in self._call.body():
            fresh = data[max(0, plan.skip - self._came) :]
            self._came += len(data)
            if plan.total is not None and self._end > plan.total:
                await intake.settle()
                message = f"Invalid request.  More bytes came than the {plan.total} that were declared."
                raise RangeRefusal(HTTPStatus.BAD_REQUEST, message, Violation.TOTAL_MISMATCH)
            if fresh:
                await intake.feed(fresh)

    async def _settle(self, intake: Intake, kind: Kind) -> None:
        await intake.settle()
        session = self._session
        if self._less is not None:
            wanted = session.held - self._less
            session.content.rewind(max(self._plan.start, wanted - wanted % UNIT_BYTES))
            self._tell_held()
        self._call.tell(kind, position=session.held, size=self._came)


def _complete(call: Call, session: Session) -> web.Response:
    call.late_fault = call.decide(Operation.UPLOAD_FINISH)
    check(call.world.tree, session.intent, session.held, starts=False)
    wrong = any(isinstance(fault, WrongDigest) for fault in (call.fault, call.late_fault))
    session.end(State.COMPLETE)
    session.file_id = file_it(call, session.intent, session.content, wrong=wrong).id
    return _complete_answer(call, session)


def _complete_answer(call: Call, session: Session) -> web.Response:
    file = call.world.tree.files.get(session.file_id or "")
    if file is None:
        raise UploadRefusal(HTTPStatus.NOT_FOUND, "Not Found")
    return file_answer(call.world.tree, file, session.intent.fields, headers={UPLOADER: session.upload_id})


def _incomplete(call: Call, session: Session) -> web.Response:
    headers = {UPLOADER: session.upload_id, **range_answer(session.held)}
    if call.request.headers.get("X-GUploader-No-308", "").lower() in _YES:
        return web.Response(headers={"X-HTTP-Status-Code-Override": "308", **headers})
    return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, reason="Resume Incomplete", headers=headers)
