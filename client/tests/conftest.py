"""What the client's tests share."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported one by one; they share `fake_forebay`

from fake_forebay import FakeForebay

from forebay import AsyncClient, RetryPolicy

QUICK = RetryPolicy(patience_s=20, wait_initial_s=0.01, wait_max_s=0.05, stall_s=10)


@pytest.fixture
async def fake() -> AsyncIterator[FakeForebay]:
    """A running server."""
    async with FakeForebay() as server:
        yield server


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads are remembered during the test; also for subprocesses."""
    directory = tmp_path / "state"
    monkeypatch.setenv("FOREBAY_STATE_DIR", str(directory))
    monkeypatch.delenv("FOREBAY_TOKEN", raising=False)
    return directory


@pytest.fixture
async def client(fake: FakeForebay, state_dir: Path) -> AsyncIterator[AsyncClient]:
    """A client of that server, quick to try again."""
    async with AsyncClient(fake.url, policy=QUICK) as opened:
        yield opened


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    """Makes files of random, repeatable content."""

    def make(size: int, name: str = "data.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(random.Random(size).randbytes(size))
        return path

    return make
