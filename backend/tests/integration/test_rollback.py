"""Going back a version: this code on a database that the next version has made and used."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from app.testing.api_client import ApiClient
from app.testing.newer_version import NEWER_REVISION, make_newer
from app.testing.server_process import ServerProcess

BACKEND = Path(__file__).resolve().parents[2]
CHUNK = 256 * 1024


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the next version, to be put before this one's on the path."""
    backend = tmp_path_factory.mktemp("next") / "backend"
    shutil.copytree(BACKEND / "app", backend / "app", ignore=shutil.ignore_patterns("__pycache__"))
    make_newer(backend)
    return backend


def _client(server: ServerProcess) -> ApiClient:
    return ApiClient(("127.0.0.1", server.port))


def _begin(client: ApiClient, name: str, content: bytes) -> str:
    return str(client.create(name, len(content), chunk_size=CHUNK)["id"])


def _send(client: ApiClient, upload: str, content: bytes, numbers: list[int]) -> None:
    for number in numbers:
        piece = content[number * CHUNK : (number + 1) * CHUNK]
        assert client.put_chunk(upload, number, piece).status == 204


def _completes(client: ApiClient, upload: str) -> bool:
    reply = client.complete(upload)
    return (reply.status, reply.json["state"]) == (200, "completed")


@pytest.mark.parametrize("leave", [ServerProcess.stop, ServerProcess.kill])
def test_this_version_goes_on_where_the_next_one_stopped(
    tmp_path: Path, next_version: Path, leave: Callable[[ServerProcess], object]
) -> None:
    """It starts on the newer database, lists what is there, and asks for no byte that the newer one has acknowledged."""
    whole, half = os.urandom(3 * CHUNK), os.urandom(5 * CHUNK + 1)
    with ServerProcess(tmp_path, {"PYTHONPATH": str(next_version)}) as newer, _client(newer) as client:
        done = _begin(client, "whole.bin", whole)
        _send(client, done, whole, [2, 0, 1])
        under_way = _begin(client, "half.bin", half)
        _send(client, under_way, half, [4, 1])
        client.close()
        leave(newer)
    assert _database(tmp_path, "SELECT DISTINCT priority FROM uploads") == [(3,)]

    with ServerProcess(tmp_path) as server, _client(server) as client:
        listed = client.get("/api/v1/uploads")["uploads"]
        assert {each["id"]: each["filename"] for each in listed} == {done: "whole.bin", under_way: "half.bin"}
        seen = client.upload(under_way)
        assert seen["missing_chunks"] == [{"first": 0, "last": 0}, {"first": 2, "last": 3}, {"first": 5, "last": 5}]
        _send(client, under_way, half, [5, 3, 2, 0])
        assert _completes(client, under_way)
        assert _completes(client, done)
        fresh = _begin(client, "fresh.bin", whole)
        _send(client, fresh, whole, [0, 1, 2])
        assert _completes(client, fresh)
        assert [(server.files / name).read_bytes() for name in ("whole.bin", "half.bin", "fresh.bin")] == [
            whole,
            half,
            whole,
        ]
        warned = [event["event"] for event in server.log_events() if event["level"] == "warning"]
        assert any(NEWER_REVISION in str(text) and "used as it is" in str(text) for text in warned)
        client.close()
        assert server.stop() == 0
    assert _database(tmp_path, "SELECT version_num FROM alembic_version") == [(NEWER_REVISION,)]


def test_the_next_version_goes_on_where_this_one_stopped(tmp_path: Path, next_version: Path) -> None:
    """Forward again: the migration finds an upload under way and leaves it whole."""
    content = os.urandom(3 * CHUNK)
    with ServerProcess(tmp_path) as server, _client(server) as client:
        upload = _begin(client, "file.bin", content)
        _send(client, upload, content, [1])
        client.close()
        assert server.stop() == 0
    with ServerProcess(tmp_path, {"PYTHONPATH": str(next_version)}) as newer, _client(newer) as client:
        _send(client, upload, content, [0, 2])
        assert _completes(client, upload)
        assert (newer.files / "file.bin").read_bytes() == content


def _database(directory: Path, query: str) -> list[tuple[object, ...]]:
    (path,) = (directory / "var").glob("*.sqlite3")
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
