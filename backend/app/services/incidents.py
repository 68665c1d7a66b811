"""What an operator may want to know has happened lately: bounded, and folded where it comes again and again.

Laws: a sentence is the error's own, with what can be done about it where a destination knows that; what happens again
within a while is the same incident with a higher count, its newest sentence, and the upload or owner that all have in
common; the oldest go first. It survives no restart. Event loop only.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from app.core.errors import (
    AdmissionRefused,
    ChunkFailed,
    DatabaseUnavailable,
    DestinationUnavailable,
    FileTooLarge,
    Forbidden,
    ForebayError,
    InternalError,
    OutOfSpace,
    PoolExhausted,
    StagingUnavailable,
    TooManyPending,
    Unauthenticated,
)
from app.core.upload import Upload, UploadState

__all__ = ["Incident", "Incidents", "Kind"]

_KEPT: Final = 200
_SAME_WITHIN_S: Final = 600.0
_REFUSALS: Final = (
    AdmissionRefused,
    FileTooLarge,
    Forbidden,
    OutOfSpace,
    PoolExhausted,
    TooManyPending,
    Unauthenticated,
)
_FAILURES: Final = (ChunkFailed, DatabaseUnavailable, DestinationUnavailable, InternalError, StagingUnavailable)


class Kind(StrEnum):
    """What sort of thing has happened."""

    START = "start"
    STOP = "stop"
    REFUSAL = "refusal"
    FAILURE = "failure"
    DESTINATION = "destination"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that has happened, `count` times, lastly `at` (seconds since the epoch)."""

    id: int
    at: float
    kind: Kind
    sentence: str
    count: int = 1
    upload_id: str | None = None
    owner: str | None = None


class Incidents:
    """The journal."""

    def __init__(
        self, *, most: int = _KEPT, same_within_s: float = _SAME_WITHIN_S, clock: Callable[[], float] = time.time
    ) -> None:
        """Empty.

        Args:
            most: incidents that are kept.
            same_within_s: how long after the last time something is the same thing again.
            clock: seconds since the epoch.
        """
        self._most = most
        self._same_within_s = same_within_s
        self._clock = clock
        self._kept: OrderedDict[int, tuple[int, Incident, str]] = OrderedDict()  # with revision and topic, oldest first
        self._by_topic: dict[str, int] = {}
        self._last_id = 0
        self.revision = 0
        """Higher after each `note`."""

    def since(self, revision: int) -> list[Incident]:
        """What is new, or has come again, since the journal had that revision; the newest last."""
        found = []
        for changed, incident, _ in reversed(self._kept.values()):
            if changed <= revision:
                break
            found.append(incident)
        return found[::-1]

    def note(
        self, kind: Kind, sentence: str, *, topic: str = "", upload_id: str | None = None, owner: str | None = None
    ) -> None:
        """Something has happened.

        Args:
            kind: of it.
            sentence: what, and what to do.
            topic: the same for what is the same thing again; the sentence when empty.
            upload_id: of which upload.
            owner: whose.
        """
        now = self._clock()
        topic = f"{kind}:{topic or sentence}"
        self.revision += 1
        known = self._by_topic.get(topic)
        if known is not None and now - self._kept[known][1].at <= self._same_within_s:
            before = self._kept.pop(known)[1]
            incident = replace(
                before,
                at=now,
                sentence=sentence,
                count=before.count + 1,
                upload_id=upload_id if upload_id == before.upload_id else None,
                owner=owner if owner == before.owner else None,
            )
        else:
            self._last_id += 1
            incident = Incident(self._last_id, now, kind, sentence, upload_id=upload_id, owner=owner)
        self._kept[incident.id] = self.revision, incident, topic
        self._by_topic[topic] = incident.id
        while len(self._kept) > self._most:
            gone, (_, _, its_topic) = self._kept.popitem(last=False)
            if self._by_topic[its_topic] == gone:
                del self._by_topic[its_topic]

    def answered(self, problem: ForebayError, owner: str | None = None) -> None:
        """A request was answered with that; most problems are between a client and its file, and no incident."""
        if isinstance(problem, Unauthenticated) and problem.detail == Unauthenticated().detail:
            return  # it came without a token: a page that asks whether it is signed in does
        if isinstance(problem, _REFUSALS):
            self.note(Kind.REFUSAL, problem.detail, topic=problem.code, owner=owner)
        elif isinstance(problem, _FAILURES):
            self.note(Kind.FAILURE, problem.detail, topic=problem.code, owner=owner)

    def upload_ended(self, row: Upload) -> None:
        """An upload has ended; that it failed is an incident."""
        if row.state is UploadState.FAILED:
            sentence = f"{row.filename}: {row.error_detail}"
            self.note(Kind.FAILURE, sentence, topic=f"upload:{row.error_code}", upload_id=row.id, owner=row.owner)
