"""The resumable protocol's decisions: headers and what is held in, what to do with the body out. Sans-IO.

Google documents: pieces but the last are multiples of 256 KiB, a piece begins where the last 308 said, `bytes */TOTAL`
asks. Of what is not documented for Drive, this follows what was observed of it and of Cloud Storage, which has the same
upload server: a piece that begins beyond what is held gets a 503 in plain text; bytes that are held already are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from app.testing.drive_emulator.content import UNIT_BYTES
from app.testing.drive_emulator.errors import UploadRefusal
from app.testing.drive_emulator.events import Violation

__all__ = [
    "BodyRange",
    "Plan",
    "Query",
    "RangeRefusal",
    "WholeBody",
    "judge",
    "parse_content_range",
    "range_answer",
    "same_total",
]

_FORM = re.compile(r"bytes\s+(?:\*|([0-9]{1,18})-([0-9]{1,18}|\*))/([0-9]{1,18}|\*)")


class RangeRefusal(UploadRefusal):
    """The body does not fit the session; `violation` is the rule broken."""

    def __init__(self, status: int, message: str, violation: Violation) -> None:
        super().__init__(status, message)
        self.violation = violation


@dataclass(frozen=True, slots=True)
class WholeBody:
    """No Content-Range: the body is the whole content."""


@dataclass(frozen=True, slots=True)
class Query:
    """How far are we? With a total: and this is all there will be."""

    total: int | None


@dataclass(frozen=True, slots=True)
class BodyRange:
    """The body is these bytes; None where `*` was said."""

    first: int
    last: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the body: ignore `skip` bytes, and take the rest from `start`."""

    start: int
    skip: int
    size: int | None
    """Of the body, when it is known."""
    total: int | None
    """Of the content, when it is known."""
    ends: bool
    """The body's end is the content's end, whatever its size."""


def parse_content_range(header: str | None) -> WholeBody | Query | BodyRange:
    """What the client says its body is.

    Raises:
        RangeRefusal: it says nothing that can be understood.
    """
    if header is None:
        return WholeBody()
    form = _FORM.fullmatch(header.strip())
    if form is None:
        raise _unparseable()
    first, last, total = (None if word in {None, "*"} else int(word) for word in form.groups())
    if first is None:
        return Query(total)
    if (last is not None and last < first) or (total is not None and (last if last is not None else first) >= total):
        raise _unparseable()
    return BodyRange(first, last, total)


def judge(said: WholeBody | BodyRange, *, body: int | None, held: int, declared: int | None, strict: bool) -> Plan:
    """Decide what is done with a body of `body` bytes (None: chunked) when so much is held.

    Raises:
        RangeRefusal: it can't be taken.
    """
    if isinstance(said, WholeBody):
        total = same_total(declared, body)
        return Plan(start=held, skip=held, size=body, total=total, ends=True)
    size = None if said.last is None else said.last - said.first + 1
    if size is not None and body is not None and size != body:
        raise RangeRefusal(
            HTTPStatus.BAD_REQUEST,
            f"Invalid request.  The Content-Range header says {size} byte(s), the request contains {body} byte(s).",
            Violation.BAD_RANGE,
        )
    size = body if size is None else size
    total = same_total(declared, said.total)
    if said.first > held:
        raise RangeRefusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"Invalid request.  According to the Content-Range header, the upload offset is {said.first} byte(s),"
            f" which exceeds already uploaded size of {held} byte(s).",
            Violation.START_AHEAD,
        )
    if size is not None and total is not None and said.first + size > total:
        raise _too_much(said.first + size, total)
    plan = Plan(held, held - said.first, size, total, ends=said.last is None and said.total is None)
    if size is not None:
        check_piece(plan, said.first + size, size, strict=strict)
    return plan


def check_piece(plan: Plan, end: int, size: int, *, strict: bool) -> None:
    """A piece of `size` bytes that leads to `end`: pieces but the last one are multiples of 256 KiB.

    Not strict is what Drive was seen to do: from one unit up, whole units are held and the rest is not.

    Raises:
        RangeRefusal: this one is not.
    """
    if plan.ends or end == plan.total:
        return
    if size < UNIT_BYTES or (strict and size % UNIT_BYTES):
        raise RangeRefusal(
            HTTPStatus.BAD_REQUEST,
            f"Invalid request.  The number of bytes uploaded is required to be equal or greater than {UNIT_BYTES},"
            f" except for the final request (it's recommended to be the exact multiple of {UNIT_BYTES}).  The received"
            f" request contained {size} bytes, which does not meet this requirement.",
            Violation.NOT_A_MULTIPLE,
        )


def range_answer(held: int) -> dict[str, str]:
    """The headers of a 308."""
    return {"Range": f"bytes=0-{held - 1}"} if held else {}


def same_total(declared: int | None, said: int | None) -> int | None:
    """The content's size, from the session's beginning or from this request.

    Raises:
        RangeRefusal: they differ.
    """
    if declared is not None and said is not None and said != declared:
        raise _too_much(said, declared)
    return declared if said is None else said


def _too_much(said: int, declared: int) -> RangeRefusal:
    return RangeRefusal(
        HTTPStatus.BAD_REQUEST,
        f"Invalid request.  The upload is {declared} byte(s) as declared, this request makes it {said} byte(s).",
        Violation.TOTAL_MISMATCH,
    )


def _unparseable() -> RangeRefusal:
    return RangeRefusal(HTTPStatus.BAD_REQUEST, "Failed to parse Content-Range header.", Violation.BAD_RANGE)
