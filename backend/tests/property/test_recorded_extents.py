"""Recorded extents against a plain model: whatever is asked for, no byte is ever recorded twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import ChunkConflict
from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.persistence.repository import Repository

extents = st.builds(
    Extent, offset=st.integers(0, 30), length=st.integers(1, 12), crc32c=st.sampled_from([0, 1, 2**32 - 1])
)
calls = st.lists(
    st.tuples(st.sampled_from(["record", "record", "record", "forget"]), st.lists(extents, max_size=3)), max_size=12
)


class Database:
    """A repository on a loop of its own, shared by the examples: each takes a new upload."""

    def __init__(self, runner: asyncio.Runner, repository: Repository) -> None:
        """Open already."""
        self.runner = runner
        self.repository = repository
        self.uploads = 0

    def new_upload(self) -> str:
        """Add one."""
        self.uploads += 1
        upload = Upload(
            id=str(self.uploads),
            owner="ann",
            filename="f",
            folder="",
            media_type="a/b",
            size=100,
            chunk_size=10,
            state=UploadState.RECEIVING,
            completion=Completion.AUTO,
            on_conflict=NameConflictPolicy.RENAME,
            destination="default",
            created_at=1.0,
            active_at_s=1.0,
        )
        self.runner.run(self.repository.add_upload(upload))
        return upload.id


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """One for all examples."""
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        repository = Repository(f"sqlite:///{Path(directory)}/forebay.sqlite3")
        runner.run(repository.open())
        yield Database(runner, repository)
        runner.run(repository.close())


@settings(deadline=None, max_examples=150)
@given(calls=calls)
def test_extents_behave_as_a_set_of_disjoint_runs(database: Database, calls: list[tuple[str, list[Extent]]]) -> None:
    """Accepted: free bytes, or the very same extent again. Refused, whole: anything else."""
    upload_id = database.new_upload()
    model: set[Extent] = set()
    for verb, given_extents in calls:
        if verb == "forget":
            database.runner.run(database.repository.forget_extents(upload_id, given_extents))
            model -= set(given_extents)
            continue
        wanted = set(model)
        accepted = True
        for extent in given_extents:
            taken = {other for other in wanted if other.offset < extent.end and extent.offset < other.end}
            accepted = accepted and taken <= {extent}
            wanted.add(extent)
        recording = database.repository.record_extents(upload_id, given_extents, active_at_s=1.0)
        if accepted:
            database.runner.run(recording)
            model = wanted
        else:
            with pytest.raises(ChunkConflict):
                database.runner.run(recording)
    assert database.runner.run(database.repository.extents(upload_id)) == sorted(model)
