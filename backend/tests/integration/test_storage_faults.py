"""The whole product when what it stands on fails: database, spool, power, bits, clocks. Nothing wrong is ever served."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import app.services.recovery
import app.services.uploads
from app.testing.api_client import ApiClient, refusal
from app.testing.loop_filesystem import LoopFilesystem, unavailable
from app.testing.product import Product
from app.testing.server_process import ServerProcess

CHUNK = 262_144
Start = Callable[..., Product]
needs_mount = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def put(api: Any, view: dict[str, Any], content: bytes, numbers: range | tuple[int, ...]) -> None:
    """Send these chunks."""
    for number in numbers:
        assert api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK]).status == 204


def live_of(product: Product, upload_id: str) -> Any:
    """The upload as the server holds it."""
    return next(live for live in product.server.context.uploads.live if live.row.id == upload_id)


# -- the database --------------------------------------------------------------------------------------------------------


def test_a_locked_database_acknowledges_nothing_and_recovers(start_product: Start) -> None:
    """FAULTS 9: 503 with Retry-After on every way that writes; afterwards the same requests succeed."""

    def impatient(server: Any) -> None:
        server.repository._database._backend._busy_timeout_s = 0.1  # five seconds, for as many refusals as here

    product = start_product(configure=impatient)
    content = os.urandom(3 * CHUNK)
    with product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        put(api, view, content, (0,))
        lock = sqlite3.connect(product.data_dir / "forebay.sqlite3", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        try:
            for reply in (
                api.put_chunk(view["id"], 1, content[CHUNK : 2 * CHUNK]),
                api.post("/api/v1/uploads", {"filename": "b", "size": 1}),
                api.request("PUT", "/api/v1/files/c", b"x"),
                api.cancel(view["id"]),
            ):
                assert int(refusal(reply, 503, "database-unavailable").headers["retry-after"]) > 0
            assert api.upload(view["id"])["missing_chunks"] == [{"first": 1, "last": 2}]
            assert api.status()["concurrency_manager"]["active_uploads"] == 1
            assert refusal(api.request("GET", "/readyz"), 503).json["checks"]["database"] != "ok"
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        put(api, view, content, (1, 2))
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content
        assert api.request("PUT", "/api/v1/files/c", b"x").json["result"]["name"] == "c"
    product.wait_for(product.quiescent)
    product.wait_for(lambda: not any(product.spool.iterdir()))  # what was refused holds no room


def test_a_database_that_locks_at_the_last_step_loses_no_file(start_product: Start) -> None:
    """The file has its name and the commit fails: it is neither stored twice nor forgotten."""
    product = start_product()
    with product.client() as api:
        view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
        repository, real = product.server.repository, product.server.repository.save_upload
        failed: list[str] = []

        async def save_upload(upload: Any, *, durable: bool = False) -> None:
            if upload.state == "completed" and len(failed) < 2:
                failed.append(upload.id)
                raise app.core.errors.DatabaseUnavailable
            await real(upload, durable=durable)

        repository.save_upload = save_upload
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        assert api.complete(view["id"]).json["state"] == "completed"
        assert len(failed) == 2
    assert [path.name for path in product.files.iterdir() if path.is_file()] == ["a.bin"]


# -- the spool -----------------------------------------------------------------------------------------------------------


@needs_mount
def test_a_spool_that_turns_read_only_is_said_and_recovers_without_a_restart(
    start_product: Start, tmp_path: Path
) -> None:
    """FAULTS 12: a file system that a disk's errors remounted; 503 and the guide's message."""
    content = os.urandom(4 * CHUNK)
    with LoopFilesystem(tmp_path) as disk:
        product = start_product(tmp_path, data_dir=tmp_path / "data", configure=_spool_at(disk.path / "spool"))
        with product.client() as api:
            view = api.create("a.bin", len(content), chunk_size=CHUNK)
            put(api, view, content, (0,))
            live = live_of(product, view["id"])
            product.wait_for(lambda: live.forwarded == CHUNK and live.transfer_task is None)
            product.call(product.server.staging.sync(view["id"]))
            product.server.staging._places.close()  # with a file open for writing it can't be remounted
            disk.remount(read_only=True)
            reply = refusal(api.put_chunk(view["id"], 2, content[2 * CHUNK : 3 * CHUNK]), 503, "chunk-failed")
            assert reply.json["detail"] == "Chunk 2 failed after 3 attempts"
            refusal(api.post("/api/v1/uploads", {"filename": "b", "size": 1}), 503, "staging-unavailable")
            disk.remount(read_only=False)
            put(api, view, content, (1, 2, 3))
            done = api.complete(view["id"]).json
            assert (product.files / done["result"]["name"]).read_bytes() == content
        product.__exit__()


def _spool_at(directory: Path) -> Callable[[Any], None]:
    def configure(server: Any) -> None:
        server.staging._directory = directory

    return configure


def test_bit_rot_is_caught_before_the_destination_has_it(start_product: Start) -> None:
    """FAULTS 11: a byte changes in the spool; the chunk is asked for again, and the file is right."""
    product = start_product()
    content = os.urandom(4 * CHUNK)
    with product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        put(api, view, content, (2, 1))  # not read yet: the first is missing
        with (product.spool / view["id"]).open("r+b") as spool:
            spool.seek(2 * CHUNK + 77)
            spool.write(bytes([content[2 * CHUNK + 77] ^ 1]))
        put(api, view, content, (0, 3))
        product.wait_for(lambda: not live_of(product, view["id"]).all_recorded)
        now = api.upload(view["id"])
        assert (now["state"], now["missing_chunks"]) == ("receiving", [{"first": 2, "last": 2}])
        assert now["bytes_transferred"] <= 2 * CHUNK
        refusal(api.complete(view["id"]), 409, "incomplete")
        assert not (product.files / "a.bin").exists()
        put(api, view, content, (2,))
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content


@pytest.mark.parametrize("left", [None, 0, 1000])
def test_a_spool_file_that_vanished_or_was_cut_short_is_asked_for_again(start_product: Start, left: int | None) -> None:
    """Somebody cleaned up, or a power cut took its end: nothing is believed, the server starts, the upload starts over."""
    content = os.urandom(2 * CHUNK)
    first = start_product()
    with first.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        put(api, view, content, (0,))
    first.__exit__()
    if left is None:
        (first.spool / view["id"]).unlink()
    else:
        os.truncate(first.spool / view["id"], left)
    second = start_product()
    with second.client() as api:
        assert api.upload(view["id"])["missing"] == [{"start": 0, "end": len(content)}]
        put(api, view, content, range(2))
        assert api.complete(view["id"]).json["state"] == "completed"
    assert (second.files / "a.bin").read_bytes() == content


def test_orphans_are_collected_and_strangers_are_left(start_product: Start, tmp_path: Path) -> None:
    """What nobody knows of in the spool goes at the start; uploads under way don't."""
    spool = tmp_path / "var" / "spool"
    spool.mkdir(parents=True)
    (spool / ("f" * 32)).write_bytes(b"orphan")
    product = start_product()
    assert list(product.spool.iterdir()) == []


def test_a_destination_that_is_away_keeps_what_was_received_and_says_so(start_product: Start) -> None:
    """Its volume is not mounted: received all the same, not failed, not made again elsewhere; it goes on by itself."""
    product = start_product()
    with product.client() as api:
        api.request("PUT", "/api/v1/files/first.bin", b"x")
        shutil.rmtree(product.files)
        view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        live = live_of(product, view["id"])
        product.wait_for(lambda: live.problem is not None)
        now = api.upload(view["id"])
        assert (now["state"], now["error"]["code"]) == ("transferring", "destination-unavailable")
        told = api.status()["destinations"]["default"]
        assert (told["transferring"], told["waiting"], told["breaker"]) == (0, 1, "closed")
        ready = refusal(api.request("GET", "/readyz"), 503, "not-ready")
        assert ready.json["checks"]["destination:default"].startswith("destination-unavailable")
        assert not product.files.exists()
        product.files.mkdir()
        assert api.complete(view["id"]).json["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == b"x" * CHUNK


def test_a_stored_file_that_is_cut_while_it_is_read_ends_the_answer_and_is_logged_once(
    start_server: Callable[..., ServerProcess],
) -> None:
    """The client sees that it has not all; the log has one line that says why, beside the request's own."""
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        stored = api.request("PUT", "/api/v1/files/a.bin", bytes(32 << 20)).json
        path = f"/api/v1/files/{stored['id']}/content"
        api.connection.request("GET", path)
        response = api.connection.getresponse()
        response.read(1)
        os.truncate(server.files / "a.bin", 20 << 20)  # the rest does not fit between the two
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert server.stop() == 0
    first, second = (
        event for event in server.log_events() if event.get("request_id") == response.headers["x-request-id"]
    )
    assert (first["event"], first["code"], "exception" in first) == (
        "answer broken off",
        "destination-unavailable",
        False,
    )
    assert (second["event"], second["path"]) == ("request", path)
    assert not [event for event in server.log_events() if event["level"] == "error"]


# -- power ---------------------------------------------------------------------------------------------------------------


@needs_mount
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_while_receiving_serves_nothing_wrong(
    start_product: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """FAULTS 3 and 4: unsynced data is really gone. What is lost is asked for again; what was completed is there."""
    chance = random.Random(seed)
    content = chance.randbytes(12 * CHUNK)
    with LoopFilesystem(tmp_path, size_mib=96) as disk:
        (disk.path / "data").mkdir()
        first = start_product(disk.path, data_dir=disk.path / "data")
        with first.client() as api:
            done = api.create("whole.bin", 4 * CHUNK, chunk_size=CHUNK)
            put(api, done, content, range(4))
            assert api.complete(done["id"]).json["state"] == "completed"
            received = api.create("received.bin", 4 * CHUNK, chunk_size=CHUNK, completion="auto")
            view = api.create("a.bin", len(content), chunk_size=CHUNK)
            order = chance.sample(range(12), 9)
            put(api, view, content, tuple(order[:5]))
            if seed % 2:  # some of it had reached the disk
                first.call(first.server.staging.sync(view["id"]))
            put(api, view, content, tuple(order[5:]))
            put(api, received, content, range(3))
        disk.lose_power()
        _die(first)
        disk.boot()
        database = sqlite3.connect(disk.path / "data" / "forebay.sqlite3")
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        monkeypatch.setattr(app.services.recovery, "boot_id", lambda: f"boot after the cut {seed}")
        second = start_product(disk.path, data_dir=disk.path / "data")
        with second.client() as api:
            assert api.upload(done["id"])["state"] == "completed"
            assert api.request("GET", f"/api/v1/files/{done['id']}/content").body == content[: 4 * CHUNK]
            reply = api.request("GET", f"/api/v1/uploads/{view['id']}")
            if reply.status == 404:  # not even its row had reached the disk
                view = api.create("a.bin", len(content), chunk_size=CHUNK)
                reply = api.request("GET", f"/api/v1/uploads/{view['id']}")
            missing = [n for span in reply.json["missing_chunks"] for n in range(span["first"], span["last"] + 1)]
            assert set(range(12)) - set(order) <= set(missing)
            put(api, view, content, tuple(missing))
            result = api.complete(view["id"]).json
            assert result["state"] == "completed"
            assert (second.files / result["result"]["name"]).read_bytes() == content
        second.__exit__()


@needs_mount
@pytest.mark.parametrize("durability", ["power", "process"])
def test_what_survives_a_power_cut_is_as_set(
    start_product: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    """`power`: every acknowledged chunk. `process`: whatever is completed or fully received; the rest is asked for again."""
    content = os.urandom(6 * CHUNK)
    with LoopFilesystem(tmp_path, size_mib=64) as disk:
        first = start_product(disk.path, durability=durability)
        first.server.transfers.poke = lambda _: None  # nothing is completed in this life
        with first.client() as api:
            part = api.create("part.bin", len(content), chunk_size=CHUNK)
            put(api, part, content, (5, 0, 3))
            whole = api.create("whole.bin", 2 * CHUNK, chunk_size=CHUNK)
            put(api, whole, content, (1, 0))
            if durability == "power":
                put(api, part, content, (1,))  # after the last commit that was synced for another reason
        disk.lose_power()
        _die(first)
        disk.boot()
        monkeypatch.setattr(app.services.recovery, "boot_id", lambda: f"after the cut, {durability}")
        second = start_product(disk.path, durability=durability)
        with second.client() as api:
            assert api.complete(whole["id"]).json["state"] == "completed", "its client may have left"
            assert (second.files / "whole.bin").read_bytes() == content[: 2 * CHUNK]
            if durability == "power":
                assert api.upload(part["id"])["missing_chunks"] == [{"first": 2, "last": 2}, {"first": 4, "last": 4}]
            missing = api.upload(part["id"])["missing_chunks"]
            numbers = tuple(n for span in missing for n in range(span["first"], span["last"] + 1))
            put(api, part, content, numbers)
            assert api.complete(part["id"]).json["state"] == "completed"
            assert (second.files / "part.bin").read_bytes() == content
        second.__exit__()


_STEPS = [
    "before the link",
    "after the link",
    "before the commit",
    "after the commit",
    "before the spool goes",
    "after it",
]


@needs_mount
@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("policy", ["rename", "replace"])
def test_a_power_cut_while_completing_leaves_the_file_absent_or_whole(
    start_product: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, policy: str
) -> None:
    """FAULTS 4, at each step; once the machine is back the upload completes without its client, once."""
    content, older = os.urandom(3 * CHUNK), os.urandom(1000)
    with LoopFilesystem(tmp_path, size_mib=64) as disk:
        first = start_product(disk.path)
        cut = threading.Event()

        def cutting(call: Any, *, before: str, after: str, when: Callable[..., bool] = lambda *_: True) -> Any:
            async def called(*args: Any, **named: Any) -> Any:
                if step == before and when(*args):
                    disk.lose_power()
                    cut.set()
                result = await call(*args, **named)
                if step == after and when(*args):
                    disk.lose_power()
                    cut.set()
                return result

            return called

        server = first.server
        with first.client() as api:
            assert api.request("PUT", "/api/v1/files/a.bin", older).status == 201
            view = api.create("a.bin", len(content), chunk_size=CHUNK, on_conflict=policy)
            destination = server.destinations["default"]
            destination.take_over = cutting(destination.take_over, before=_STEPS[0], after=_STEPS[1])
            server.repository.save_upload = cutting(
                server.repository.save_upload,
                before=_STEPS[2],
                after=_STEPS[3],
                when=lambda upload: upload.state == "completed",
            )
            server.staging.discard = cutting(server.staging.discard, before=_STEPS[4], after=_STEPS[5])
            put(api, view, content, range(3))
            assert cut.wait(30)
        _die(first)
        disk.boot()
        name = "a.bin" if policy == "replace" else "a (1).bin"
        final = disk.path / "var" / "files" / name
        allowed = {content, older} if policy == "replace" else {content, None}
        assert (final.read_bytes() if final.exists() else None) in allowed
        monkeypatch.setattr(app.services.recovery, "boot_id", lambda: f"after the cut {step}")
        second = start_product(disk.path)
        with second.client() as api:
            second.wait_for(lambda: second.server.context.uploads.under_way(view["id"]) is None)
            assert api.upload(view["id"])["result"]["name"] == name
        assert final.read_bytes() == content
        names = sorted(path.name for path in second.files.iterdir() if path.is_file())
        assert names == sorted({"a.bin", name})
        second.wait_for(lambda: not any(second.spool.iterdir()))
        second.__exit__()


def _die(product: Product) -> None:
    """What is left of a server whose machine lost its power: nothing that could still write."""
    try:
        product.__exit__()
    except app.core.errors.ForebayError:
        return  # its end could not be saved


def test_the_first_start_on_another_boot_verifies_before_anybody_relies(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spoilt extent is found by its checksum alone, in the background; a clean one is not asked for again."""
    content = os.urandom(4 * CHUNK)
    monkeypatch.setattr(app.services.recovery, "boot_id", lambda: "before")
    first = start_product()
    first.wait_for(lambda: True)
    with first.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        put(api, view, content, (3, 1))
    first.__exit__()
    with (first.spool / view["id"]).open("r+b") as spool:
        spool.seek(3 * CHUNK)
        spool.write(bytes(CHUNK))  # as blocks that were allocated and never written
    monkeypatch.setattr(app.services.recovery, "boot_id", lambda: "after")
    second = start_product()
    with second.client() as api:
        now = api.upload(view["id"])
        assert now["missing_chunks"] == [{"first": 0, "last": 0}, {"first": 2, "last": 3}]
        put(api, view, content, (0, 2, 3))
        assert api.complete(view["id"]).json["state"] == "completed"
    assert (second.files / "a.bin").read_bytes() == content


# -- clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-86_400, 10 * 365 * 86_400])
def test_a_wall_clock_that_jumps_expires_nothing(
    start_product: Start, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """FAULTS 19: ages are service time; rates and deadlines are monotonic."""
    product = start_product()
    with product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        put(api, view, b"x" * 2 * CHUNK, (0,))
        real = app.services.uploads.time.time
        monkeypatch.setattr(app.services.uploads.time, "time", lambda: real() + jump_s)
        product.call(product.server.housekeeping.sweep())
        now = api.upload(view["id"])
        assert now["state"] == "receiving"
        progress = api.progress(view["id"])
        assert progress["elapsed_seconds"] >= 0
        assert progress["bytes_per_second"] >= 0
        put(api, view, b"x" * 2 * CHUNK, (1,))
        assert api.complete(view["id"]).json["state"] == "completed"
    monkeypatch.undo()


def test_an_idle_upload_expires_by_service_time_and_its_room_comes_back(start_product: Start) -> None:
    """A week of service, not of the calendar; afterwards it is "expired", and progress answers for a day more."""
    product = start_product()
    with product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        put(api, view, b"x" * 2 * CHUNK, (0,))
        product.server.context.clock._base += 7 * 86_400 - 60
        product.call(product.server.housekeeping.sweep())
        assert api.upload(view["id"])["state"] == "receiving"
        product.server.context.clock._base += 120
        product.call(product.server.housekeeping.sweep())
        assert api.upload(view["id"])["state"] == "expired"
        assert not (product.spool / view["id"]).exists()
        refusal(api.put_chunk(view["id"], 1, b"x" * CHUNK), 409, "state-conflict")
        assert api.status()["concurrency_manager"]["active_uploads"] == 0
        product.server.context.clock._base += 86_400 - 200
        product.call(product.server.housekeeping.sweep())
        assert api.progress(view["id"])["state"] == "expired"
        product.server.context.clock._base += 400
        product.call(product.server.housekeeping.sweep())
        refusal(api.request("GET", f"/api/v1/system/upload-progress/{view['id']}"), 404, "not-found")
