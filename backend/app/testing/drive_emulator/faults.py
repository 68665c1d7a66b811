"""The faults that a rule can inject: plain values, and their JSON.

Each has one word that names it in JSON, and that word's value is its first field: `{"stall": 2.5, "then": "cut"}`.
What a fault does is told here; that it does so is the business of the code that serves the request.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

__all__ = [
    "CommitLess",
    "CutAfter",
    "ErrorIn200",
    "Expire",
    "Fault",
    "LoseAnswer",
    "SlowRead",
    "Stall",
    "Status",
    "WrongDigest",
    "parse_fault",
    "takes_effect_late",
]

_REASONS = {
    400: ("badRequest", "Bad Request"),
    401: ("authError", "Invalid Credentials"),
    403: ("userRateLimitExceeded", "User Rate Limit Exceeded"),
    404: ("notFound", "Not Found"),
    408: ("requestTimeout", "Request Timeout"),
    429: ("rateLimitExceeded", "Rate Limit Exceeded"),
    500: ("internalError", "Internal Error"),
}
When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Status:
    """An error answer. `before`: the body stays unread; `after`: all was done and committed, and then this is said."""

    status: int
    reason: str | None = None
    message: str | None = None
    retry_after: int | None = None
    when: When = "before"

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:  # noqa: PLR2004 - the error classes of RFC 9110
            raise ValueError(f"status: {self.status} is no error")

    @property
    def reason_given(self) -> str:
        """The reason, or what Drive would say with this status."""
        return self.reason or _REASONS.get(self.status, ("backendError", ""))[0]

    @property
    def message_given(self) -> str:
        """The message, or what Drive would say with this status."""
        return self.message or _REASONS.get(self.status, ("", "Backend Error"))[1]


@dataclass(frozen=True, slots=True)
class CommitLess:
    """So many bytes fewer are held at the PUT's end than came, down to where it began; what was shown meanwhile is taken back."""

    commit_less: int


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Everything is done, and the connection is cut instead of an answer."""

    lose_answer: Literal[True] = True


@dataclass(frozen=True, slots=True)
class ErrorIn200:
    """A 200 whose body is an error object. `before`: nothing was done (the body was read); `after`: all was."""

    error_in_200: Literal[True] = True
    reason: str = "backendError"
    message: str = "Backend Error"
    when: When = "before"


@dataclass(frozen=True, slots=True)
class Expire:
    """The session is gone, now and for good: 404 or 410."""

    expire: Literal[404, 410]


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing is read or answered for so many seconds, from byte `at` of the body; then it goes on or is cut."""

    stall: float
    at: int = 0
    then: Literal["go_on", "cut"] = "go_on"


@dataclass(frozen=True, slots=True)
class CutAfter:
    """The connection is cut after so many bytes of the body (of the answer, when that is the body)."""

    cut_after: int


@dataclass(frozen=True, slots=True)
class WrongDigest:
    """The resource's digests are those of other bytes: for good when an upload ends so, else in this answer."""

    wrong_digest: Literal[True] = True


@dataclass(frozen=True, slots=True)
class SlowRead:
    """The body moves at so many bytes a second."""

    slow_read: float

    def __post_init__(self) -> None:
        if self.slow_read <= 0:
            raise ValueError("slow_read must be above 0")


Fault = Status | CommitLess | LoseAnswer | ErrorIn200 | Expire | Stall | CutAfter | WrongDigest | SlowRead
_BY_WORD = {fields(kind)[0].name: kind for kind in get_args(Fault)}


def takes_effect_late(fault: Fault) -> bool:
    """Whether it can still happen when the body has been taken."""
    match fault:
        case Status(when=when) | ErrorIn200(when=when):
            return when == "after"
        case LoseAnswer() | WrongDigest() | Stall(at=0):
            return True
        case _:
            return False


def parse_fault(item: object) -> Fault:
    """A fault from its JSON object.

    Raises:
        ValueError: it says something else; the message names the word.
    """
    if not isinstance(item, dict):
        raise ValueError("fault must be an object")  # noqa: TRY004 - all that is wrong in a script is one error
    named = [word for word in item if word in _BY_WORD]
    if len(named) != 1:
        raise ValueError(f"fault: needs exactly one of {', '.join(sorted(_BY_WORD))}, has {named or 'none'}")
    kind = _BY_WORD[named[0]]
    hints = get_type_hints(kind)
    for word, value in item.items():
        if word not in hints:
            raise ValueError(f"fault {named[0]}: unknown word {word!r}; there are {', '.join(hints)}")
        if not _fits(value, hints[word]):
            raise ValueError(f"fault {named[0]}: {word} can't be {value!r}")
    made: Fault = kind(**item)
    return made


def _fits(value: object, hint: object) -> bool:
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if kinds := get_args(hint):
        return any(_fits(value, kind) for kind in kinds)
    if hint in {int, float}:
        return type(value) in {int, hint} and float(str(value)) >= 0
    return isinstance(value, hint) if isinstance(hint, type) else False
