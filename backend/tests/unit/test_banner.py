"""What is shown once the server listens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.core.settings import Settings
from app.observability.banner import welcome


def test_the_block_says_how_to_upload_and_where_files_go() -> None:
    """Address, mode, destination, the commands."""
    block = welcome(Settings(destination="disk:/srv/in"), "http://127.0.0.1:8000")
    assert "forebay upload FILE --server http://127.0.0.1:8000" in block
    assert "curl http://127.0.0.1:8000/api/v1/system/upload-status" in block
    assert "http://127.0.0.1:8000/docs" in block
    assert "disk:/srv/in" in block
    assert "parallel" in block
    assert len(block.splitlines()) < 10


def test_the_client_is_named_so_that_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run` puts it into the environment's folder, which is on nobody's PATH."""
    client = tmp_path / "forebay"
    client.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"  {client} upload FILE" in welcome(Settings(), "http://x")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "  forebay upload FILE" in welcome(Settings(), "http://x")


def test_sequential_mode_names_the_flag_that_made_it() -> None:
    """For whoever wonders why it is slow."""
    assert "ENABLE_PARALLEL_UPLOADS=False" in welcome(Settings(enable_parallel_uploads=False), "http://x")


def test_the_public_address_is_the_one_to_use() -> None:
    """Behind a proxy."""
    assert "--server https://up.example.org\n" in welcome(Settings(public_url="https://up.example.org"), "http://x:1")


def test_named_destinations_are_named() -> None:
    """Without their addresses."""
    block = welcome(Settings(destinations={"archive": "disk:/a", "moon": "s3://me:hunter2@b"}), "http://x")
    assert "archive, moon" in block
    assert "hunter2" not in block
