"""The script of faults: which requests go wrong, how, and how often.

Laws: parsing refuses what it does not understand, naming the rule and the word; rules are asked in order and the first
that fires decides; the same seed and the same sequence of requests give the same faults. Called by the emulator's event
loop only.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.testing.drive_emulator.faults import (
    CommitLess,
    Expire,
    Fault,
    SlowRead,
    WrongDigest,
    parse_fault,
    takes_effect_late,
)

__all__ = ["Operation", "Rule", "Script", "ScriptError", "parse_rules"]


class ScriptError(ValueError):
    """The script can't be used; the message says which rule and why."""


class Operation(StrEnum):
    """What a rule can be about."""

    UPLOAD_START = "upload.start"
    """A session is asked for, or a whole file comes with uploadType=media or multipart."""
    UPLOAD_PUT = "upload.put"
    """Bytes come to a session."""
    UPLOAD_FINISH = "upload.finish"
    """Bytes that complete a session have come: asked for besides `upload.put`, after its body was taken."""
    UPLOAD_QUERY = "upload.query"
    UPLOAD_CANCEL = "upload.cancel"
    FILES_CREATE = "files.create"
    FILES_GET = "files.get"
    FILES_MEDIA = "files.media"
    FILES_LIST = "files.list"
    FILES_UPDATE = "files.update"
    FILES_DELETE = "files.delete"
    FILES_GENERATE_IDS = "files.generateIds"
    ABOUT = "about"
    DRIVES = "drives"
    CONSENT = "consent"
    TOKEN = "token"  # noqa: S105 - the operation's name
    REVOKE = "revoke"
    ANY = "any"


_ONLY_ON: dict[type, frozenset[Operation]] = {
    CommitLess: frozenset({Operation.UPLOAD_PUT}),
    Expire: frozenset({Operation.UPLOAD_PUT, Operation.UPLOAD_QUERY}),
    SlowRead: frozenset({Operation.UPLOAD_START, Operation.UPLOAD_PUT, Operation.FILES_MEDIA}),
    WrongDigest: frozenset(
        {
            Operation.UPLOAD_START,
            Operation.UPLOAD_PUT,
            Operation.UPLOAD_FINISH,
            Operation.FILES_CREATE,
            Operation.FILES_GET,
            Operation.FILES_LIST,
            Operation.FILES_UPDATE,
        }
    ),
}
"""Faults that mean nothing elsewhere."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom a fault meets: the requests of one operation, after `skip` of them, `times` times (None: without end)."""

    on: Operation | str
    fault: Fault
    skip: int = 0
    times: int | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        try:
            operation = Operation(self.on)
        except ValueError:
            raise ScriptError(f"on: {self.on!r} is none of {', '.join(Operation)}") from None
        object.__setattr__(self, "on", operation)
        if self.skip < 0 or (self.times is not None and self.times < 1):
            raise ScriptError("skip must be at least 0 and times at least 1 (or null: without end)")
        if not 0.0 < self.probability <= 1.0:
            raise ScriptError(f"probability: {self.probability} is not above 0 and at most 1")
        if operation is Operation.UPLOAD_FINISH and not takes_effect_late(self.fault):
            raise ScriptError(f"{operation}: {self.fault} would have to happen before the body was taken")
        if (where := _ONLY_ON.get(type(self.fault))) is not None and operation not in where:
            raise ScriptError(f"{operation}: {self.fault} is for {', '.join(sorted(where))}")


class Script:
    """Rules with their counters."""

    def __init__(self, rules: Sequence[Rule] = (), *, seed: int = 0) -> None:
        self._seed = seed
        self.replace(rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """As they were given."""
        return tuple(running.rule for running in self._running)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Other rules, from the beginning."""
        self._running = [_Running(rule, random.Random(f"{self._seed}/{n}")) for n, rule in enumerate(rules)]  # noqa: S311 - repeatable, not secret

    def decide(self, operation: Operation) -> Fault | None:
        """What this request meets."""
        for running in self._running:
            matches = running.rule.on is operation or (
                running.rule.on is Operation.ANY and operation is not Operation.UPLOAD_FINISH
            )
            if matches and running.fires():
                return running.rule.fault
        return None


class _Running:
    def __init__(self, rule: Rule, dice: random.Random) -> None:
        self.rule = rule
        self._dice = dice
        self._met = 0
        self._fired = 0

    def fires(self) -> bool:
        self._met += 1
        rule = self.rule
        if self._met <= rule.skip or (rule.times is not None and self._fired >= rule.times):
            return False
        if rule.probability < 1.0 and self._dice.random() >= rule.probability:
            return False
        self._fired += 1
        return True


_RULE_WORDS = {"on", "fault", "skip", "times", "probability"}


def parse_rules(text: str | bytes | object) -> tuple[Rule, ...]:
    """Rules from JSON text, or from what such text decodes to.

    Raises:
        ScriptError: it says something else.
    """
    if isinstance(text, str | bytes):
        try:
            text = json.loads(text)
        except ValueError as exc:
            raise ScriptError(f"the script is not JSON: {exc}") from exc
    if not isinstance(text, list):
        raise ScriptError("the script must be a list of rules")
    return tuple(_rule(number, item) for number, item in enumerate(text, 1))


def _rule(number: int, item: object) -> Rule:
    try:
        if not isinstance(item, dict):
            raise ScriptError("must be an object")
        if strange := sorted(set(item) - _RULE_WORDS):
            raise ScriptError(f"unknown word {strange[0]!r}; there are {', '.join(sorted(_RULE_WORDS))}")
        skip, times, probability = item.get("skip", 0), item.get("times"), item.get("probability", 1.0)
        if type(skip) is not int or type(times) not in {int, type(None)}:
            raise ScriptError("skip and times must be whole numbers")
        if type(probability) not in {int, float}:
            raise ScriptError("probability must be a number")
        return Rule(str(item.get("on", "")), parse_fault(item.get("fault")), skip, times, float(probability))
    except ValueError as exc:
        raise ScriptError(f"rule {number}: {exc}") from None
