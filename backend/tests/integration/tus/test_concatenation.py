"""tus, concatenation and concatenation-unfinished: one file out of several uploads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.core.errors import DatabaseUnavailable, StagingUnavailable, SyncFailed
from app.core.upload import MIB, Upload, UploadState
from app.testing.api_client import ApiClient, Reply, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess
from app.testing.tus_client import BYTES, ROOT, VERSION, Tus, metadata

Stored = Callable[[str], bytes]
Waits = Callable[[str], None]


def begin_part(tus: Tus, size: int | None) -> str:
    """A partial upload, of unknown length where None; its path."""
    length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
    reply = tus.api.request("POST", ROOT, headers={**VERSION, "Upload-Concat": "partial", **length})
    assert reply.status == 201, reply.body
    return urlsplit(reply.headers["location"]).path


def part(tus: Tus, data: bytes) -> str:
    """A partial upload, whole; its path."""
    path = begin_part(tus, len(data))
    if data:
        assert tus.patch(path, 0, data).status == 204
    return path


def join(tus: Tus, parts: list[str], name: str = "report.bin", **headers: str) -> Reply:
    """The final upload; what its creation is answered."""
    fields = {"Upload-Concat": f"final;{' '.join(parts)}", "Upload-Metadata": metadata(filename=name), **headers}
    return tus.api.request("POST", ROOT, headers={**VERSION, **fields})


def joined(tus: Tus, parts: list[str], name: str = "report.bin") -> str:
    """The final upload; its path."""
    reply = join(tus, parts, name)
    assert reply.status == 201, reply.body
    return urlsplit(reply.headers["location"]).path


def in_folder(product: Product) -> list[str]:
    """Names of what is stored."""
    return sorted(path.name for path in product.files.glob("[!.]*"))


def is_gone(product: Product, path: str) -> None:
    """Wait until the upload is no more."""
    product.wait_for(lambda: product.server.context.uploads.under_way(path.rpartition("/")[2]) is None)


def test_a_file_of_several_uploads(tus: Tus, product: Product, stored: Stored, completed: Waits) -> None:
    """In the order that the final upload says, whichever came first; it is stored under the final upload's name."""
    pieces = [os.urandom(3 * MIB + 1), b"", os.urandom(17), os.urandom(5 * MIB)]
    paths = [part(tus, piece) for piece in reversed(pieces)][::-1]
    for path, piece in zip(paths, pieces, strict=True):
        head = tus.head(path)
        assert head.headers["upload-concat"] == "partial"
        assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(len(piece)),) * 2
    final = joined(tus, paths)
    content = b"".join(pieces)
    assert stored("report.bin") == content
    completed(final)
    head = tus.head(final)
    assert head.headers["upload-concat"] == f"final;{' '.join(paths)}"
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(len(content)),) * 2
    view = tus.api.upload(final.rpartition("/")[2])
    assert (view["state"], view["size"], view["filename"]) == ("completed", len(content), "report.bin")
    assert in_folder(product) == ["report.bin"]


def test_whole_addresses_too(tus: Tus, product: Product, stored: Stored) -> None:
    """As they were told with the creation."""
    paths = [f"{product.url}{part(tus, data)}" for data in (b"he", b"llo")]
    joined(tus, paths)
    assert stored("report.bin") == b"hello"


def test_parts_are_removed_when_the_file_has_their_bytes(tus: Tus, product: Product, stored: Stored) -> None:
    """And the room that they had is free."""
    paths = [part(tus, data) for data in (b"he", b"llo")]
    final = joined(tus, paths)
    assert stored("report.bin") == b"hello"
    for path in (*paths, final):
        is_gone(product, path)
    assert [tus.head(path).status for path in paths] == [404, 404]
    assert [upload["filename"] for upload in tus.api.get("/api/v1/uploads")["uploads"]] == ["report.bin"]
    product.wait_for(lambda: not any(product.spool.iterdir()))
    assert product.call(product.server.staging.space()).reserved_bytes == 0


def test_a_part_may_be_used_several_times(tus: Tus, stored: Stored) -> None:
    """In one file, and in another that waits as well."""
    late = begin_part(tus, 1)
    one, two = part(tus, b"la"), part(tus, b"li")
    joined(tus, [one, two, one, late], "first.bin")
    joined(tus, [two, late, one], "second.bin")
    assert tus.patch(late, 0, b"!").status == 204
    assert stored("first.bin") == b"lalila!"
    assert stored("second.bin") == b"li!la"


def test_a_final_upload_may_come_before_its_parts_are_whole(tus: Tus, stored: Stored, completed: Waits) -> None:
    """Then it has no offset, and a length as soon as all of them have one."""
    known, unknown = begin_part(tus, 5), begin_part(tus, None)
    final = joined(tus, [unknown, known])
    head = tus.head(final)
    assert (head.status, head.headers["upload-defer-length"]) == (200, "1")
    assert not {"upload-offset", "upload-length"} & set(head.headers)
    assert tus.patch(known, 0, b"there").status == 204
    assert tus.patch(unknown, 0, b"hello ").status == 204
    assert tus.patch(unknown, 6, b"", {"Upload-Length": "9"}).status == 204
    head = tus.head(final)
    assert head.headers["upload-length"] == "14"
    assert not {"upload-offset", "upload-defer-length"} & set(head.headers)
    assert tus.patch(unknown, 6, b"my ").status == 204
    assert stored("report.bin") == b"hello my there"
    completed(final)
    assert tus.position(final) == 14


def test_metadata_of_parts_is_not_the_files(tus: Tus, stored: Stored) -> None:
    """Only what the final upload says of itself counts."""
    fields = {**BYTES, "Upload-Concat": "partial", "Upload-Length": "2"}
    named = tus.api.request("POST", ROOT, b"hi", {**fields, "Upload-Metadata": metadata(filename="part.bin")})
    reply = tus.api.request(
        "POST", ROOT, headers={**VERSION, "Upload-Concat": f"final;{urlsplit(named.headers['location']).path}"}
    )
    assert reply.status == 201
    assert "upload-metadata" not in tus.head(urlsplit(reply.headers["location"]).path).headers
    assert stored("upload") == b"hi"


def test_a_final_upload_takes_no_bytes(tus: Tus, stored: Stored) -> None:
    """403, before and after it is whole, and nothing changes."""
    piece = begin_part(tus, 5)
    final = joined(tus, [piece])
    refusal(tus.patch(final, 0, b"hello"), 403, "forbidden")
    assert tus.position(piece) == 0
    assert tus.patch(piece, 0, b"world").status == 204
    assert stored("report.bin") == b"world"
    refusal(tus.patch(final, 5, b"!"), 403, "forbidden")
    refusal(tus.api.put_chunk(final.rpartition("/")[2], 0, b"world"), 409, "state-conflict")


def test_a_part_is_no_file(tus: Tus, product: Product) -> None:
    """It goes to no destination, and can't be completed as if it were one."""
    path = part(tus, b"hello")
    refusal(tus.api.complete(path.rpartition("/")[2]), 409, "state-conflict")
    assert tus.api.upload(path.rpartition("/")[2])["state"] == "receiving"
    assert in_folder(product) == []
    assert "upload-expires" in tus.head(path).headers


@pytest.mark.parametrize(
    ("concat", "more"),
    [
        ("", {}),
        ("Partial", {"Upload-Length": "1"}),
        ("final", {}),
        ("final;", {}),
        ("final; ", {}),
        ("finale;{part}", {}),
        ("final;{part} nonsense", {}),
        ("final;{part} ../../etc/passwd", {}),
        ("final;{part}?x=1", {}),
        ("final;{whole}", {}),
        ("final;{part}", {"Upload-Length": "1"}),
        ("final;{part}", {"Upload-Defer-Length": "1"}),
        ("partial", {}),
        ("partial", {"Upload-Length": "-1"}),
    ],
)
def test_what_cannot_be_put_together(tus: Tus, concat: str, more: dict[str, str]) -> None:
    """400, and nothing is begun."""
    paths = {"part": begin_part(tus, 1), "whole": tus.begin(1)}
    headers = {**VERSION, "Upload-Concat": concat.format_map(paths), **more}
    refusal(tus.api.request("POST", ROOT, headers=headers), 400, "invalid-request")
    assert len(tus.api.get("/api/v1/uploads")["uploads"]) == 2


def test_a_final_upload_has_no_body(tus: Tus) -> None:
    """Its bytes are its parts'."""
    headers = {**BYTES, "Upload-Concat": f"final;{part(tus, b'x')}"}
    refusal(tus.api.request("POST", ROOT, b"y", headers), 400, "invalid-request")


def test_a_terminated_part_takes_the_file_with_it(tus: Tus, product: Product) -> None:
    """It can't become whole any more, and says why."""
    kept, dropped = part(tus, b"hello"), begin_part(tus, 5)
    final = joined(tus, [kept, dropped])
    assert tus.delete(dropped).status == 204
    is_gone(product, final)
    view = tus.api.upload(final.rpartition("/")[2])
    assert (view["state"], view["error"]["code"]) == ("failed", "incomplete")
    assert tus.head(final).status == 404
    assert tus.position(kept) == 5


def test_a_file_that_cannot_be_ended_now_ends_nothing_else(
    tus: Tus, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away just then; the server goes on, and so do others."""
    repository = product.server.repository
    save, refused = repository.save_upload, threading.Event()

    async def failing_save(upload: Upload, **more: object) -> None:
        if upload.state is UploadState.FAILED:
            refused.set()
            raise DatabaseUnavailable
        await save(upload, **more)

    monkeypatch.setattr(repository, "save_upload", failing_save)
    dropped = begin_part(tus, 5)
    final = joined(tus, [dropped])
    assert tus.delete(dropped).status == 204
    assert refused.wait(30)
    assert tus.head(final).status == 200
    assert tus.delete(final).status == 204


def test_a_terminated_file_leaves_its_parts(tus: Tus, stored: Stored) -> None:
    """They may be used for another one."""
    whole, late = part(tus, b"hello"), begin_part(tus, 1)
    final = joined(tus, [whole, late])
    assert tus.delete(final).status == 204
    assert tus.head(final).status == 404
    assert tus.patch(late, 0, b"!").status == 204
    joined(tus, [late, whole], "other.bin")
    assert stored("other.bin") == b"!hello"


def test_another_users_part_cannot_be_used(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """It is as if it were not there."""
    product = start_product(tmp_path / "shared", auth="none")
    with product.client(source="127.0.0.2") as ann, product.client(source="127.0.0.3") as bob:
        path = part(Tus(ann), b"secret")
        refusal(join(Tus(bob), [path]), 400, "invalid-request")


def test_parts_and_file_count_in_the_limits(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """Room, pending uploads and the size of a file, each clearly refused."""
    product = start_product(tmp_path / "limits", user_quota_mb=4, max_pending_per_user=3, max_file_mb=2)
    with product.client() as api:
        tus = Tus(api)
        parts = [part(tus, bytes(MIB)) for _ in range(2)]
        refusal(join(tus, [*parts, parts[0]]), 413, "file-too-large")
        third = part(tus, b"x")
        refusal(join(tus, parts), 429, "too-many-pending")
        tus.delete(third)
        other = begin_part(tus, 2 * MIB)
        tus.delete(parts[1])
        refusal(join(tus, [other]), 507, "user-quota")


def test_putting_together_is_tried_again(
    start_product: Callable[..., Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk, then the database, are not to be had for a moment; nothing is asked of the client."""
    failures: list[Exception] = [StagingUnavailable(), DatabaseUnavailable()]
    product = start_product(tmp_path / "weak")
    staging, repository = product.server.staging, product.server.repository
    copy, record = staging.copy, repository.record_extents

    async def failing_copy(*args: object) -> None:
        if len(failures) > 1:
            raise failures.pop(0)
        await copy(*args)

    async def failing_record(upload_id: str, *args: object, **more: object) -> None:
        await record(upload_id, *args, **more)
        if failures and product.server.context.uploads.under_way(upload_id).row.parts:
            raise failures.pop(0)

    monkeypatch.setattr(staging, "copy", failing_copy)
    monkeypatch.setattr(repository, "record_extents", failing_record)
    with product.client() as api:
        tus = Tus(api)
        content = os.urandom(2 * MIB)
        joined(tus, [part(tus, content[:MIB]), part(tus, content[MIB:])])
        file = product.files / "report.bin"
        product.wait_for(file.exists)
        assert file.read_bytes() == content
    assert not failures


def test_bytes_that_the_disk_lost_are_not_stored(tus: Tus, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied wrongly is seen by the checksums of the parts, and is copied again as long as they are there."""
    staging = product.server.staging
    copy = staging.copy
    spoilt: list[str] = []

    async def spoiling_copy(*args: object) -> None:
        await copy(*args)
        if not spoilt:
            spoilt.append(str(args[3]))
            with staging.path(spoilt[0]).open("r+b") as file:
                file.write(b"wrong")

    monkeypatch.setattr(staging, "copy", spoiling_copy)
    final = joined(tus, [part(tus, b"hello")])
    product.wait_for(lambda: product.server.context.uploads.under_way(final.rpartition("/")[2]) is None)
    file = product.files / "report.bin"
    view = tus.api.upload(final.rpartition("/")[2])
    assert spoilt
    if view["state"] == "completed":
        assert file.read_bytes() == b"hello"
    else:
        assert (view["state"], file.exists()) == ("failed", False)


@pytest.fixture
def synced(product: Product, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the uploads whose bytes were synced, in order."""
    staging, ids = product.server.staging, []
    sync = staging.sync

    async def noted(upload_id: str) -> None:
        await sync(upload_id)
        ids.append(upload_id)

    monkeypatch.setattr(staging, "sync", noted)
    return ids


def ids_of(paths: list[str]) -> list[str]:
    """Of uploads."""
    return [path.rpartition("/")[2] for path in paths]


def test_the_answer_comes_when_the_file_is_synced(tus: Tus, synced: list[str]) -> None:
    """A power cut can take nothing of it then; bytes of the parts were written nowhere else."""
    final = joined(tus, [part(tus, bytes(MIB)), part(tus, b"end")])
    assert synced == ids_of([final])


def test_what_takes_long_is_answered_when_the_parts_are_synced(
    tus: Tus, product: Product, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is put together afterwards."""
    monkeypatch.setattr("app.services.concatenation._ANSWER_S", 0.05)
    staging, opened = product.server.staging, threading.Event()
    copy = staging.copy

    async def held(*args: Any) -> None:
        while not opened.is_set():  # set from another thread
            await asyncio.sleep(0.002)
        await copy(*args)

    monkeypatch.setattr(staging, "copy", held)
    repository, kept = product.server.repository, []
    save = repository.save_upload

    async def noted(row: Upload, *, durable: bool = False) -> None:
        await save(row, durable=durable)
        kept.append((row.id, durable, list(synced)))

    monkeypatch.setattr(repository, "save_upload", noted)
    parts = [part(tus, bytes(MIB)), part(tus, b"end")]
    assert synced == []
    final = joined(tus, parts)
    assert synced == ids_of(parts)
    assert kept[-1] == (*ids_of([final]), True, ids_of(parts)), "a durable commit, and with it all before it"
    opened.set()
    is_gone(product, final)
    assert synced == ids_of([*parts, final])


def test_an_answer_that_cannot_be_given_leaves_no_file(
    tus: Tus, product: Product, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    """Its client asks again, and there is to be one."""
    monkeypatch.setattr("app.services.concatenation._ANSWER_S", 0.05)
    paths = [part(tus, b"hello")]
    staging = product.server.staging
    copy, sync, failing = staging.copy, staging.sync, [StagingUnavailable("not now")]

    async def failing_copy(*args: Any) -> None:
        if failing:
            raise failing[0]
        await copy(*args)

    async def failing_sync(upload_id: str) -> None:
        if failing:
            raise failing[0]
        await sync(upload_id)

    monkeypatch.setattr(staging, "copy", failing_copy)
    monkeypatch.setattr(staging, "sync", failing_sync)
    assert join(tus, paths).status == 503
    failing.clear()
    joined(tus, paths)
    assert stored("report.bin") == b"hello"
    assert in_folder(product) == ["report.bin"]


def test_parts_of_which_nobody_knows_what_a_power_cut_has_left_are_not_promised(
    tus: Tus, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The final upload is refused as long as they are being verified."""
    monkeypatch.setattr("app.services.live._VERIFICATION_WAIT_S", 0.05)
    path = part(tus, b"hello")
    live = product.server.context.uploads.under_way(*ids_of([path]))
    product.call(_set(live.verified.clear))
    assert join(tus, [path]).status == 503
    product.call(_set(live.verified.set))
    assert join(tus, [path]).status == 201


async def _set(change: Callable[[], None]) -> None:
    change()


def test_a_part_of_two_files_stays_until_both_are_synced(
    tus: Tus, product: Product, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only until both have its bytes."""
    monkeypatch.setattr("app.services.concatenation._ANSWER_S", 0.05)
    path = part(tus, b"hello")
    staging, opened = product.server.staging, threading.Event()
    sync = staging.sync
    finals: list[str] = []

    async def held(upload_id: str) -> None:
        if upload_id not in ids_of([path, *finals[:1]]):
            while not opened.is_set():  # set from another thread
                await asyncio.sleep(0.002)
        await sync(upload_id)

    copy = staging.copy

    async def copy_when_both_are_there(*args: Any) -> None:
        while len(finals) < 2:  # another thread adds to them
            await asyncio.sleep(0.002)
        await copy(*args)

    monkeypatch.setattr(staging, "copy", copy_when_both_are_there)
    monkeypatch.setattr(staging, "sync", held)
    finals += [joined(tus, [path], "a.bin")]
    finals += [joined(tus, [path], "b.bin")]
    is_gone(product, finals[0])
    assert tus.head(path).status == 200
    opened.set()
    is_gone(product, finals[1])
    is_gone(product, path)
    assert {file.read_bytes() for file in product.files.glob("*.bin")} == {b"hello"}


def test_a_part_that_is_waited_for_is_synced_when_it_is_whole(
    tus: Tus, product: Product, synced: list[str], completed: Waits
) -> None:
    """The final upload was answered before; so were the parts that were whole then."""
    parts = [part(tus, bytes(MIB)), begin_part(tus, 3)]
    final = joined(tus, parts)
    assert synced == ids_of(parts[:1])
    assert tus.patch(parts[1], 0, b"end").status == 204
    completed(final)
    assert synced == ids_of([*parts, final])
    is_gone(product, parts[1])


def test_a_disk_that_fails_to_sync_ends_the_file(tus: Tus, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing waits for ever: neither who puts it together nor who adds the last bytes."""
    staging = product.server.staging
    sync = staging.sync
    whole = part(tus, b"hello")

    async def failing_sync(upload_id: str) -> None:
        if upload_id != whole.rpartition("/")[2]:
            raise SyncFailed
        await sync(upload_id)

    monkeypatch.setattr(staging, "sync", failing_sync)
    refused = refusal(join(tus, [whole]), 409, "state-conflict")
    assert refused.json["state"] == "failed"
    view = tus.api.get("/api/v1/uploads?limit=1")["uploads"][0]
    assert (view["filename"], view["error"]["code"]) == ("report.bin", SyncFailed.code)
    single = tus.begin(5)
    assert tus.patch(single, 0, b"hello").status == 503
    assert tus.head(single).status == 404


def test_a_part_that_the_disk_has_lost_takes_the_file_with_it(tus: Tus, product: Product) -> None:
    """It was written back without success since it came; nobody has waited for that."""
    whole = part(tus, b"hello")
    with product.server.staging._places.using(*ids_of([whole])) as place:
        place.damaged = True
    refused = refusal(join(tus, [whole]), 409, "state-conflict")
    assert refused.json["state"] == "failed"
    assert tus.api.upload(*ids_of([whole]))["error"]["code"] == SyncFailed.code


@pytest.mark.slow
def test_it_goes_on_after_the_server_was_killed(start_server: Callable[..., ServerProcess]) -> None:
    """With the parts that it had, and a final upload that waits for the last of them."""
    content = os.urandom(20 * MIB)
    server = start_server(FOREBAY_AUTH="none")
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        first, last = part(tus, content[: 12 * MIB]), begin_part(tus, 8 * MIB)
        final = joined(tus, [first, last])
        tus.patch(last, 0, content[12 * MIB : 13 * MIB])
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        position = tus.position(last)
        assert tus.patch(last, position, content[12 * MIB + position :]).status == 204
        deadline = time.monotonic() + 30
        while api.upload(final.rpartition("/")[2])["state"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (server.files / "report.bin").read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.0, 0.02, 0.1])
def test_a_kill_while_it_is_put_together_loses_nothing(
    start_server: Callable[..., ServerProcess], pause_s: float
) -> None:
    """Its client has left: the file comes to its destination from whatever is there, once."""
    pieces = [os.urandom(24 * MIB), os.urandom(24 * MIB + 5), os.urandom(7)]
    server = start_server(FOREBAY_AUTH="none")
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        final = joined(tus, [part(tus, piece) for piece in pieces])
    time.sleep(pause_s)  # a moment to be killed in; any will do
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        deadline = time.monotonic() + 30
        while api.upload(final.rpartition("/")[2])["state"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
    assert (server.files / "report.bin").read_bytes() == b"".join(pieces)
    assert len(list(server.files.glob("[!.]*"))) == 1
