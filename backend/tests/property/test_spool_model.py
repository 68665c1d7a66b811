"""The spool against a plain model: whatever is done to it, recorded bytes stay what they are."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.core.upload import KIB, Extent
from app.staging.spool import SpoolStaging
from app.testing.staging_contract import read, write

UPLOADS = st.sampled_from(["a", "b", "c"])
SIZE = 64 * KIB


class SpoolModel(RuleBasedStateMachine):
    """Uploads as byte arrays, plus which are reserved in full."""

    def __init__(self) -> None:
        """Make an empty spool."""
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="spool-model-"))
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, bytearray] = {}
        self.extents: dict[str, list[Extent]] = {}
        self.held: set[str] = set()

    @initialize(max_open=st.integers(0, 2))
    def open(self, max_open: int) -> None:
        """Begin with as many descriptors as drawn."""
        self.max_open = max_open
        self._open()

    def _open(self) -> None:
        self.spool = SpoolStaging(
            self.directory, min_free_bytes=0, user_quota_bytes=10 * SIZE, max_open_files=self.max_open, threads=1
        )
        self.loop.run_until_complete(self.spool.open())

    @rule(upload=UPLOADS)
    def reserve_or_discard(self, upload: str) -> None:
        """Toggle an upload's existence."""
        if upload in self.model:
            self.loop.run_until_complete(self.spool.discard(upload))
            del self.model[upload], self.extents[upload]
            self.held.discard(upload)
        else:
            self.loop.run_until_complete(self.spool.reserve(upload, "ann", SIZE))
            self.model[upload] = bytearray()
            self.extents[upload] = []
            self.held.add(upload)

    @rule(upload=UPLOADS, offset=st.integers(0, SIZE - 1), length=st.integers(1, SIZE), fill=st.integers(1, 255))
    def write(self, upload: str, offset: int, length: int, fill: int) -> None:
        """Write an extent; bytes between it and the end so far read as zeros."""
        if upload not in self.model:
            return
        length = min(length, SIZE - offset)
        write(self.spool, upload, offset, bytes([fill]) * length)
        data = self.model[upload]
        data.extend(bytes(max(0, offset + length - len(data))))
        data[offset : offset + length] = bytes([fill]) * length
        self.extents[upload].append(Extent(offset, length, 0))

    @rule(upload=UPLOADS)
    def release(self, upload: str) -> None:
        """Give room back."""
        self.loop.run_until_complete(self.spool.release_room(upload))
        self.held.discard(upload)

    @rule(upload=UPLOADS)
    def regain(self, upload: str) -> None:
        """Take room again."""
        if upload in self.model:
            self.loop.run_until_complete(self.spool.regain_room(upload))
            self.held.add(upload)

    @rule(upload=UPLOADS)
    def sync(self, upload: str) -> None:
        """Sync."""
        if upload in self.model:
            self.loop.run_until_complete(self.spool.sync(upload))

    @rule()
    def restart(self) -> None:
        """A new process adopts what the database knows."""
        self.loop.run_until_complete(self.spool.aclose())
        self._open()
        for upload, extents in self.extents.items():
            assert self.loop.run_until_complete(self.spool.adopt(upload, "ann", SIZE, extents)) == extents

    @invariant()
    def bytes_and_room_are_as_modelled(self) -> None:
        """Every byte is there, and what is held is counted."""
        if not hasattr(self, "spool"):
            return
        for upload, data in self.model.items():
            assert read(self.spool, upload, 0, SIZE) == bytes(data)
        assert sorted(self.loop.run_until_complete(self.spool.ids())) == sorted(self.model)
        reserved = self.loop.run_until_complete(self.spool.space()).reserved_bytes
        assert len(self.held) * SIZE <= reserved <= len(self.model) * SIZE

    def teardown(self) -> None:
        """Remove the spool."""
        if hasattr(self, "spool"):
            self.loop.run_until_complete(self.spool.aclose())
        self.loop.close()
        shutil.rmtree(self.directory)


TestSpoolModel = SpoolModel.TestCase
TestSpoolModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
