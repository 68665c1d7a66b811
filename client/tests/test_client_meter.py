"""What is told of an upload's way."""

from __future__ import annotations

from pathlib import Path

from forebay._meter import Meter
from forebay.events import Progress, UploadEvent
from forebay.models import UploadInfo

SIZE = 100
CREATED = {
    "id": "u0",
    "state": "created",
    "mode": "parallel",
    "size": SIZE,
    "chunk_size": 50,
    "chunk_count": 2,
    "max_concurrent_chunks": 2,
}


def test_a_body_that_fails_takes_no_other_along_that_is_as_far() -> None:
    """What the other has sent still counts, and it can end."""
    told: list[UploadEvent] = []
    meter = Meter(Path("data.bin"), SIZE, told.append)
    meter.started(UploadInfo.from_json(CREATED), resumed=0)
    with meter.flight() as one:
        with meter.flight():
            pass
        meter.moved(one, 30)
    progress = [event for event in told if isinstance(event, Progress)]
    assert progress[-1].sent == 30
