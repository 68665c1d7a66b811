"""What has happened lately: folded, bounded, in the errors' own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.errors import (
    ChunkConflict,
    ChunkFailed,
    ForebayError,
    InternalError,
    LimitReached,
    NotFound,
    OutOfSpace,
    ShuttingDown,
    Superseded,
    Unauthenticated,
    UserQuotaExceeded,
)
from app.core.upload import Completion, NameConflictPolicy, Upload, UploadState
from app.services.incidents import Incidents, Kind

ROW = Upload(
    id="u1",
    owner="ann",
    filename="report.bin",
    folder="",
    media_type="application/octet-stream",
    size=1,
    chunk_size=1,
    state=UploadState.FAILED,
    completion=Completion.AUTO,
    on_conflict=NameConflictPolicy.RENAME,
    destination="default",
    created_at=0.0,
    active_at_s=0.0,
    error_code="digest-mismatch",
    error_detail="Other bytes.",
)


def test_what_comes_again_is_counted() -> None:
    """One line for a thousand refusals; the newest sentence; the owner while it is one and the same."""
    now = [0.0]
    incidents = Incidents(clock=lambda: now[0])
    for number in range(1000):
        now[0] += 0.01
        incidents.answered(LimitReached(f"full {number}"), "ann")
    (one,) = incidents.since(0)
    assert (one.kind, one.sentence, one.count, one.owner, one.at) == ("refusal", "full 999", 1000, "ann", now[0])
    incidents.answered(LimitReached(), "bob")
    assert incidents.since(0)[0].owner is None
    now[0] += 3600
    incidents.answered(LimitReached())
    assert [incident.count for incident in incidents.since(0)] == [1001, 1]


def test_only_what_is_new_or_has_come_again_is_told() -> None:
    """By the journal's revision."""
    incidents = Incidents()
    incidents.note(Kind.START, "started")
    seen = incidents.revision
    assert incidents.since(seen) == []
    incidents.note(Kind.DESTINATION, "gone")
    incidents.note(Kind.START, "started")
    assert [(one.id, one.count) for one in incidents.since(seen)] == [(2, 1), (1, 2)]


def test_the_oldest_go_first() -> None:
    """200 are kept; what has come again lately is not old."""
    incidents = Incidents(most=3)
    for name in "abc":
        incidents.note(Kind.FAILURE, name)
    incidents.note(Kind.FAILURE, "a")
    incidents.note(Kind.FAILURE, "d")
    assert [(one.sentence, one.count) for one in incidents.since(0)] == [("c", 1), ("a", 2), ("d", 1)]
    incidents.note(Kind.FAILURE, "b")
    assert [one.count for one in incidents.since(0)] == [2, 1, 1]
    for number in range(1000):
        incidents.note(Kind.FAILURE, str(number))
    assert len(incidents.since(0)) == len(incidents._by_topic) == 3
    assert len(Incidents().since(0)) == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LimitReached(), Kind.REFUSAL),
        (OutOfSpace(), Kind.REFUSAL),
        (UserQuotaExceeded(), Kind.REFUSAL),
        (Unauthenticated("The token has expired."), Kind.REFUSAL),
        (ChunkFailed(3, 3), Kind.FAILURE),
        (InternalError(), Kind.FAILURE),
        (Unauthenticated(), None),
        (NotFound(), None),
        (ChunkConflict(), None),
        (Superseded(), None),
        (ShuttingDown(), None),
    ],
)
def test_what_is_between_a_client_and_its_file_is_no_incident(error: ForebayError, kind: Kind | None) -> None:
    """Nor is a page that asks whether it is signed in."""
    incidents = Incidents()
    incidents.answered(error)
    assert [(one.kind, one.sentence) for one in incidents.since(0)] == ([] if kind is None else [(kind, error.detail)])


def test_an_upload_that_failed_is_named() -> None:
    """One that was cancelled is not."""
    incidents = Incidents()
    incidents.upload_ended(replace(ROW, state=UploadState.CANCELLED))
    incidents.upload_ended(ROW)
    (one,) = incidents.since(0)
    assert (one.sentence, one.upload_id, one.owner) == ("report.bin: Other bytes.", "u1", "ann")
