"""A spool file that a power cut left shorter than what the database knows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess

CHUNK = 262_144


def test_only_the_chunks_behind_the_end_are_asked_for_again(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    """What is there is kept, and the file arrives whole."""
    content = os.urandom(4 * CHUNK)
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        upload = api.create("cut.bin", len(content), chunk_size=CHUNK)
        for number in (0, 2, 3):
            api.put_chunk(upload["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
    server.kill()
    spooled = server.directory / "var" / "spool" / upload["id"]
    os.truncate(spooled, 3 * CHUNK + 10)
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        assert api.upload(upload["id"])["missing_chunks"] == [{"first": 1, "last": 1}, {"first": 3, "last": 3}]
        for number in (3, 1):
            api.put_chunk(upload["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
        api.complete(upload["id"])
    assert (server.files / "cut.bin").read_bytes() == content
