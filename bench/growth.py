"""What a long history costs: a database with a million finished uploads beside an empty one, and a thousand open uploads."""

from __future__ import annotations

import http.client
import json
import secrets
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.report import Figure
from sqlalchemy import create_engine

from app.core.settings import load_settings
from app.core.upload import Completion, NameConflictPolicy, Upload, UploadState
from app.persistence.tables import uploads as uploads_table

__all__ = ["growth"]

_BATCH = 10_000
_OWNERS = 1000  # whoever asks is one of them
_OPEN = 1000
_ME = "127.0.0.1"

Latencies = dict[str, list[float]]


def growth(directory: Path, *, finished: int = 1_000_000, rounds: int = 10, each: int = 100) -> list[Figure]:
    """Creation and status against both, and then with a thousand open uploads; in turn, round by round."""
    places = {"empty": directory / "empty", "full": directory / "full"}
    for place in places.values():
        with Forebay(place):
            pass  # it makes its database
    began = time.monotonic()
    _fill(places["full"], finished)
    filled_s = time.monotonic() - began
    settings = {"PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(_OPEN + each)}
    seen: dict[str, Latencies] = {name: {"creation": [], "status": []} for name in (*places, "1,000 open")}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Forebay(place, settings)) for name, place in places.items()}
        for number in range(rounds + 1):
            for name in sorted(servers, reverse=bool(number % 2)):
                _ask(servers[name], each, seen[name] if number else {"creation": [], "status": []})
        rss = {name: server.rss_mib() for name, server in servers.items()}
        for _ in range(_OPEN):
            servers["empty"].create(MIB)
        for _ in range(rounds):
            _ask(servers["empty"], each, seen["1,000 open"])
    size_mib = (places["full"] / "var" / "forebay.sqlite3").stat().st_size / MIB
    detail = f"{size_mib:.0f} MiB, filled in {filled_s:.0f} s; RSS {rss['full']:.0f} : {rss['empty']:.0f} MiB"
    return [
        *(
            _compared(f"{finished:,} finished uploads / none: {what}", "growth", seen["full"], seen["empty"], detail)
            for what in ("creation", "status")
        ),
        *(
            _compared(f"{_OPEN:,} open uploads / none: {what}", "", seen["1,000 open"], seen["empty"], "")
            for what in ("creation", "status")
        ),
    ]


def _compared(title: str, promise: str, grown: Latencies, empty: Latencies, detail: str) -> Figure:
    what = title.rpartition(" ")[2]
    medians = [statistics.median(latencies[what]) * 1000 for latencies in (grown, empty)]
    both = f"p50 {medians[0]:.2f} : {medians[1]:.2f} ms"
    return Figure(
        title,
        "≤ 1.2" if promise else "-",
        f"{medians[0] / medians[1]:.2f}",
        f"{both}; {detail}" if detail else both,
        promise,
        {"grown s": grown[what], "empty s": empty[what]},
    )


def _ask(server: Forebay, times: int, latencies: Latencies) -> None:
    """So many uploads are created, looked at, and cancelled again."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps({"filename": "bench.bin", "size": MIB, "completion": "explicit"})
    made = []
    try:
        for _ in range(times):
            seconds, view = _timed(connection, "POST", "/api/v1/uploads", body)
            latencies["creation"].append(seconds)
            made.append(f"/api/v1/uploads/{view['id']}")
        for path in made:
            latencies["status"].append(_timed(connection, "GET", path)[0])
        for path in made:
            _timed(connection, "DELETE", path)
    finally:
        connection.close()


def _timed(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> tuple[float, Mapping[str, object]]:
    began = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.perf_counter() - began
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
    return seconds, json.loads(text) if text else {}


def _fill(place: Path, count: int) -> None:
    """Rows as the server leaves them behind, straight into the product's table: a million uploads would take an hour."""
    settings = load_settings(env_file=None, environ={}, data_dir=place / "var")
    now = time.time()
    made = Upload(
        id="",
        owner=_ME,
        filename="bench.bin",
        folder="",
        media_type="application/octet-stream",
        size=MIB,
        chunk_size=MIB,
        state=UploadState.COMPLETED,
        completion=Completion.AUTO,
        on_conflict=NameConflictPolicy.RENAME,
        destination="default",
        created_at=now,
        active_at_s=0.0,
        received_at=now,
        ended_at=now,
        sha256="0" * 64,
        crc32c=0,
    )
    row = asdict(made) | {name: getattr(made, name).value for name in ("state", "completion", "on_conflict")}
    engine = create_engine(settings.secret_database_url())
    try:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            with engine.begin() as connection:
                connection.execute(uploads_table.insert(), [_row(row, number, now) for number in numbers])
    finally:
        engine.dispose()


def _row(row: Mapping[str, object], number: int, now: float) -> dict[str, object]:
    owner = number % _OWNERS
    name = f"bench-{number}.bin"
    return {
        **row,
        "id": secrets.token_hex(16),
        "owner": _ME if owner == 0 else f"127.3.{owner // 250}.{1 + owner % 250}",
        "created_at": now - number / 1000,
        "stored_id": name,
        "stored_name": name,
    }
