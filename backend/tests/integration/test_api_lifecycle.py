"""What the HTTP contract (DESIGN section 5) promises, over a real connection to the whole product."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from app.core.upload import MIB
from app.testing.api_client import ApiClient, sha256_field
from app.testing.product import Product
from app.testing.server_process import ServerProcess

CHUNK = 262_144
Start = Callable[..., Product]


def stored(product: Product, view: dict[str, Any]) -> bytes:
    """The file that the upload's result names."""
    return (product.files / view["result"]["id"]).read_bytes()


def event_stream(api: ApiClient, path: str) -> Iterator[tuple[str, Any]]:
    """Open a stream; its events as (name, data), as they come."""
    api.connection.request("GET", path)
    response = api.connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
    return events_of(response)


def events_of(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """What comes on it."""
    name = ""
    while line := response.readline():
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


# -- a file's way --------------------------------------------------------------------------------------------------------


def test_creation_says_how_to_send_and_the_file_arrives(api: ApiClient, product: Product) -> None:
    """Every field of the 201, and the chunks in the worst order."""
    content = os.urandom(3 * CHUNK + 17)
    reply = api.post("/api/v1/uploads", {"filename": "a.bin", "size": len(content), "chunk_size": CHUNK})
    view = reply.json
    assert (reply.status, reply.headers["location"]) == (201, f"/api/v1/uploads/{view['id']}")
    assert (view["state"], view["mode"], view["completion"]) == ("created", "parallel", "auto")
    assert (view["size"], view["chunk_size"], view["chunk_count"]) == (len(content), CHUNK, 4)
    assert view["chunk_url"] == f"/api/v1/uploads/{view['id']}/chunks/{{n}}"
    assert view["max_concurrent_chunks"] == 8
    assert view["expires_at"] > view["created_at"]
    for number in (3, 0, 2, 1):
        reply = api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
        assert reply.status == 204
        assert reply.headers["etag"].startswith('"crc32c-')
        assert reply.headers["upload-state"] in {"receiving", "transferring", "completed"}
    done = api.complete(view["id"]).json
    assert (done["state"], done["bytes_received"], done["bytes_transferred"]) == (
        "completed",
        len(content),
        len(content),
    )
    assert (done["missing"], done["missing_chunks"], done["expires_at"], done["error"]) == ([], [], None, None)
    assert sha256_field(content) in done["result"]["digest"]
    assert stored(product, done) == content


def test_missing_ranges_are_those_not_sent(api: ApiClient) -> None:
    """What a client goes on from after any interruption."""
    content = os.urandom(5 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    for number in (1, 3):
        api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
    now = api.upload(view["id"])
    spans = [{"start": n * CHUNK, "end": (n + 1) * CHUNK} for n in (0, 2, 4)]
    assert now["missing"] == spans
    assert now["missing_chunks"] == [{"first": n, "last": n} for n in (0, 2, 4)]
    refused = api.complete(view["id"])
    assert (refused.status, refused.code, refused.json["missing"]) == (409, "incomplete", spans)


@pytest.mark.parametrize("way", ["chunks", "single request", "explicit"])
def test_a_file_of_zero_bytes_arrives(api: ApiClient, product: Product, way: str) -> None:
    """Trap of DESIGN section 7: zero-byte files refused."""
    if way == "single request":
        view = api.request("PUT", "/api/v1/files/empty.txt", b"").json
    else:
        completion = "auto" if way == "chunks" else "explicit"
        view = api.create("empty.txt", 0, completion=completion)
        assert view["chunk_count"] == 0
        view = api.complete(view["id"]).json
    assert (view["state"], view["result"]["size"]) == ("completed", 0)
    assert stored(product, view) == b""
    assert api.progress(view["id"])["progress_percent"] == 100


def test_an_explicit_upload_waits_for_its_client(api: ApiClient, product: Product) -> None:
    """All bytes received is not finished until `complete`."""
    view = api.create("a.bin", 10, completion="explicit")
    assert api.put_chunk(view["id"], 0, b"0123456789").headers["upload-state"] == "receiving"
    assert not (product.files / "a.bin").exists()
    assert api.complete(view["id"], digest=sha256_field(b"0123456789")).json["state"] == "completed"
    assert api.complete(view["id"]).status == 200, "again is no mistake"
    assert api.complete(view["id"], digest=sha256_field(b"other")).code == "digest-mismatch"


@pytest.mark.parametrize("declared_at", ["creation", "complete"])
def test_a_file_that_is_not_what_was_declared_is_never_stored(
    api: ApiClient, product: Product, declared_at: str
) -> None:
    """Promise 2, for the whole file."""
    wrong = sha256_field(b"something else")
    view = api.create("a.bin", 10, completion="explicit", digest=wrong if declared_at == "creation" else None)
    api.put_chunk(view["id"], 0, b"0123456789")
    refused = api.complete(view["id"], **({} if declared_at == "creation" else {"digest": wrong}))
    assert (refused.status, refused.code) == (422, "digest-mismatch")
    now = api.upload(view["id"])
    assert (now["state"], now["error"]["code"], now["result"]) == ("failed", "digest-mismatch", None)
    assert [path.name for path in product.files.iterdir() if not path.name.startswith(".forebay")] == []


@pytest.mark.parametrize(
    "name", ["grüße 日本語 🎉.txt", "a'b\"c;d&e=f.txt", "-rf", "x" * 255, "%2e%2e", "CON", "a\u0301.txt"]
)
def test_names_are_data(api: ApiClient, product: Product, name: str) -> None:
    """Kept to the letter, never a path, and given back as RFC 6266 says."""
    view = api.create(name, 3)
    api.put_chunk(view["id"], 0, b"abc")
    done = api.complete(view["id"]).json
    assert (done["filename"], done["result"]["name"]) == (name, name)
    assert (product.files / name).read_bytes() == b"abc"
    disposition = api.request("GET", f"/api/v1/files/{view['id']}/content").headers["content-disposition"]
    assert disposition.startswith("attachment;")
    assert "\n" not in disposition


def test_a_folder_is_made_below_the_destination(api: ApiClient, product: Product) -> None:
    """`path` is where it goes."""
    view = api.create("a.txt", 3, path="photos/2026")
    api.put_chunk(view["id"], 0, b"abc")
    assert api.complete(view["id"]).json["result"]["id"] == "photos/2026/a.txt"
    assert (product.files / "photos" / "2026" / "a.txt").read_bytes() == b"abc"


def test_names_that_exist_are_renamed_refused_or_replaced_as_asked(api: ApiClient, product: Product) -> None:
    """And never overwritten silently."""

    def upload(content: bytes, policy: str) -> dict[str, Any]:
        view = api.create("a.txt", len(content), on_conflict=policy, completion="explicit")
        api.put_chunk(view["id"], 0, content)
        api.complete(view["id"])
        return api.upload(view["id"])

    assert upload(b"first", "fail")["result"]["name"] == "a.txt"
    assert upload(b"second", "rename")["result"]["name"] == "a (1).txt"
    refused = upload(b"third", "fail")
    assert (refused["state"], refused["error"]["code"]) == ("failed", "name-taken")
    assert (product.files / "a.txt").read_bytes() == b"first"
    assert upload(b"fourth", "replace")["result"]["name"] == "a.txt"
    assert (product.files / "a.txt").read_bytes() == b"fourth"
    assert (product.files / "a (1).txt").read_bytes() == b"second"
    assert api.request("PUT", "/api/v1/files/a.txt?on_conflict=fail", b"fifth").code == "name-taken"


def test_two_files_of_one_name_at_once_are_two_files(product: Product) -> None:
    """Trap of DESIGN section 7: files matched by name in a batch."""
    contents = [os.urandom(CHUNK * 2) for _ in range(4)]
    views: list[dict[str, Any]] = [{} for _ in contents]

    def send(index: int) -> None:
        with product.client() as api:
            view = api.create("same.bin", 2 * CHUNK, chunk_size=CHUNK)
            api.put_all(view, contents[index])
            views[index] = api.complete(view["id"]).json

    threads = [threading.Thread(target=send, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({view["result"]["name"] for view in views}) == 4
    assert [stored(product, view) for view in views] == contents


@pytest.mark.parametrize(("policy", "accepted"), [("replace", 20), ("fail", 1), ("rename", 20)])
def test_one_name_wanted_by_twenty_at_once(product: Product, policy: str, accepted: int) -> None:
    """Whoever is told so has the name; the file is one of theirs, whole, and no half step is left."""
    contents = [bytes([number]) * 1000 for number in range(20)]

    def put(content: bytes) -> int:
        with product.client() as api:
            return api.request("PUT", f"/api/v1/files/x.bin?on_conflict={policy}", content).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(put, contents))
    assert sorted(statuses) == [201] * accepted + [409] * (20 - accepted)
    stored_now = [path.read_bytes() for path in product.files.iterdir() if path.is_file()]
    assert len(stored_now) == (20 if policy == "rename" else 1)
    assert set(stored_now) <= set(contents)
    assert list((product.files / ".forebay").iterdir()) == []
    product.wait_for(lambda: list(product.spool.iterdir()) == [])


# -- idempotency ---------------------------------------------------------------------------------------------------------


def test_a_repeated_creation_finds_the_upload_it_made(api: ApiClient) -> None:
    """A lost answer makes no second upload; another request under the same key is told."""
    key = {"Idempotency-Key": "k-1"}
    body = {"filename": "a.bin", "size": 10}
    first, again = api.post("/api/v1/uploads", body, key), api.post("/api/v1/uploads", body, key)
    assert (first.status, again.status) == (201, 201)
    assert first.json["id"] == again.json["id"]
    other = api.post("/api/v1/uploads", {**body, "size": 11}, key)
    assert (other.status, other.code) == (409, "idempotency-conflict")
    assert len(api.get("/api/v1/uploads")["uploads"]) == 1


def test_a_repeated_creation_needs_no_room_of_its_own(start_product: Start) -> None:
    """The one whose answer was lost holds it already."""
    product = start_product(user_quota_mb=1)
    with product.client() as api:
        body, key = {"filename": "a.bin", "size": MIB}, {"Idempotency-Key": "k"}
        first, again = api.post("/api/v1/uploads", body, key), api.post("/api/v1/uploads", body, key)
        assert (first.status, again.status, again.json["id"]) == (201, 201, first.json["id"])


def test_a_key_used_twice_at_once_makes_one_upload(product: Product) -> None:
    """The race that the key exists for."""
    barrier = threading.Barrier(8)
    ids: list[str] = []

    def create() -> None:
        with product.client() as api:
            api.status()
            barrier.wait()
            reply = api.post("/api/v1/uploads", {"filename": "a", "size": 9}, {"Idempotency-Key": "same"})
            ids.append(reply.json["id"])

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    with product.client() as api:
        assert len(api.get("/api/v1/uploads")["uploads"]) == 1
    product.wait_for(lambda: len(list(product.spool.iterdir())) == 1)  # what the losers reserved has gone back


def test_a_single_request_under_a_used_key_is_compared_by_its_content(api: ApiClient, product: Product) -> None:
    """Other bytes of the same length must not be answered with the first file; nor may it wait for a chunked upload."""
    key = {"Idempotency-Key": "k-2"}
    first = api.request("PUT", "/api/v1/files/a.txt", b"12345", key)
    again = api.request("PUT", "/api/v1/files/a.txt", b"12345", key)
    assert (first.status, again.status, first.json["id"]) == (201, 201, again.json["id"])
    other = api.request("PUT", "/api/v1/files/a.txt", b"54321", key)
    assert (other.status, other.code) == (409, "idempotency-conflict")
    assert [path.name for path in product.files.iterdir() if path.is_file()] == ["a.txt"]
    key = {"Idempotency-Key": "k-3"}
    api.post("/api/v1/uploads", {"filename": "b.txt", "size": 5}, key)
    assert api.request("PUT", "/api/v1/files/b.txt", b"12345", key).code == "idempotency-conflict"


def test_a_key_that_a_server_of_before_tus_stored_finds_its_upload(start_server: Callable[..., ServerProcess]) -> None:
    """What it stored for this very request; a fingerprint over members that came later would make it a conflict."""
    request = {"filename": "a.bin", "size": 600_000, "chunk_size": 262_144, "path": "in/there"}
    request["digest"] = "crc32c=:AAAAAA==:"
    kept = "f0b4f600b57c746def6f29cdd390527a9b1e51e57bc1ce4982c72014a7ae03ff"
    key = {"Idempotency-Key": "k"}
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        upload_id = api.post("/api/v1/uploads", request, key).json["id"]
    assert server.stop() == 0
    with closing(sqlite3.connect(server.directory / "var" / "forebay.sqlite3")) as database, database:
        database.execute("UPDATE uploads SET request_fingerprint = ?", [kept])
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        assert api.post("/api/v1/uploads", request, key).json["id"] == upload_id
        other = api.post("/api/v1/uploads", {**request, "size": 600_001}, key)
        assert (other.status, other.code) == (409, "idempotency-conflict")


# -- downloads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "status", "span"),
    [
        (None, 200, (0, 1000)),
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=0-", 206, (0, 1000)),
        ("bytes=999-", 206, (999, 1000)),
        ("bytes=990-5000", 206, (990, 1000)),
        ("bytes=-1", 206, (999, 1000)),
        ("bytes=-5000", 206, (0, 1000)),
        ("bytes=1000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=99999999999999999999999-", 416, None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges(api: ApiClient, method: str, field: str | None, status: int, span: tuple[int, int] | None) -> None:
    """RFC 9110 section 14, and what has no meaning."""
    content = os.urandom(1000)
    view = api.request("PUT", "/api/v1/files/a.bin", content).json
    reply = api.request(
        method, f"/api/v1/files/{view['id']}/content", headers={} if field is None else {"Range": field}
    )
    if method == "HEAD":  # a Range has no meaning there (section 14.2)
        status, span = 200, (0, 1000)
    assert reply.status == status
    if span is None:
        assert reply.headers["content-range"] == "bytes */1000"
        return
    assert reply.headers["content-length"] == str(span[1] - span[0])
    assert reply.body == (content[span[0] : span[1]] if method == "GET" else b"")
    if status == 206:
        assert reply.headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/1000"
    else:
        assert reply.headers["accept-ranges"] == "bytes"


def test_a_range_of_another_version_is_the_whole_file(api: ApiClient) -> None:
    """RFC 9110 section 13.1.5."""
    view = api.request("PUT", "/api/v1/files/a.bin", b"0123456789").json
    path = f"/api/v1/files/{view['id']}/content"
    etag = api.request("HEAD", path).headers["etag"]
    assert api.request("GET", path, headers={"Range": "bytes=0-1", "If-Range": etag}).body == b"01"
    assert api.request("GET", path, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).body == b"0123456789"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_already_is_not_sent_again(api: ApiClient, method: str) -> None:
    """RFC 9110 section 13.1.2; it comes before a Range, and a file that is gone is gone all the same."""
    view = api.request("PUT", "/api/v1/files/a.bin", b"0123456789").json
    path = f"/api/v1/files/{view['id']}/content"
    etag = api.request("HEAD", path).headers["etag"]
    for field in (etag, f'"old", W/{etag}', "*"):
        reply = api.request(method, path, headers={"If-None-Match": field, "Range": "bytes=50-"})
        assert (reply.status, reply.headers["etag"], reply.body) == (304, etag, b"")
    assert api.request(method, path, headers={"If-None-Match": '"old"'}).status == 200
    assert api.request(method, "/api/v1/files/nothing/content", headers={"If-None-Match": "*"}).status == 404


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/pdf", "text/html; charset=utf-7"])
def test_what_was_uploaded_never_runs_in_our_origin(api: ApiClient, media_type: str) -> None:
    """FAULTS: HTML, SVG, PDF on download."""
    view = api.request(
        "PUT", "/api/v1/files/page.html", b"<script>alert(1)</script>", {"Content-Type": media_type}
    ).json
    headers = api.request("GET", f"/api/v1/files/{view['id']}/content").headers
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


def test_a_file_that_is_gone_or_not_there_yet_is_said(api: ApiClient, product: Product) -> None:
    """Not a broken stream, not a 500."""
    view = api.request("PUT", "/api/v1/files/a.bin", b"0123456789").json
    (product.files / "a.bin").unlink()
    assert api.request("GET", f"/api/v1/files/{view['id']}/content").status == 404
    waiting = api.create("b.bin", 10)
    assert api.request("GET", f"/api/v1/files/{waiting['id']}/content").code == "state-conflict"


def test_downloads_that_are_broken_off_leave_nothing_open(product: Product) -> None:
    """No descriptor stays behind, whenever the client leaves."""
    size = 8 * MIB
    with product.client() as api:
        view = api.request("PUT", "/api/v1/files/a.bin", os.urandom(size)).json
        path = f"/api/v1/files/{view['id']}/content"
        api.request("GET", path)

    def open_stored() -> int:
        count = 0
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # it was the one for listing them
                count += str(descriptor.readlink()).endswith("/files/a.bin")
        return count

    for read in (0, 1, 100_000):
        for _ in range(10):
            api = product.client()
            api.connection.connect()
            api.connection.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            if read:
                api.connection.sock.recv(read)
            api.reset()
    product.wait_for(lambda: product.quiescent() and open_stored() == 0)


# -- listing, events, progress, status -----------------------------------------------------------------------------------


def test_the_list_is_mine_newest_first_page_by_page(api: ApiClient) -> None:
    """And each upload is on one page."""
    made = [api.create(f"{n}.bin", 10)["id"] for n in range(7)]
    api.cancel(made[3])
    seen: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"/api/v1/uploads?limit=3{cursor}")
        seen += [view["id"] for view in page["uploads"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == made[::-1]
    cancelled = api.get("/api/v1/uploads?state=cancelled")["uploads"]
    assert [view["id"] for view in cancelled] == [made[3]]
    assert api.request("GET", "/api/v1/uploads?cursor=1~2").code == "invalid-request"
    assert api.request("GET", "/api/v1/uploads?limit=0").code == "invalid-request"


def test_events_tell_progress_state_and_end_once(product: Product, api: ApiClient) -> None:
    """Over a real connection, in the order in which they happen; the stream ends with the upload."""
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    with product.client() as watcher:
        events = event_stream(watcher, f"/api/v1/uploads/{view['id']}/events")
        assert next(events) == ("state", {"id": view["id"], "state": "created"})
        name, first = next(events)
        assert (name, first["bytes_received"]) == ("progress", 0)
        api.put_all(view, content)
        api.complete(view["id"])
        rest = list(events)
    assert [name for name, _ in rest].count("done") == 1
    assert rest[-1][0] == "done"
    assert rest[-1][1]["result"]["size"] == len(content)
    assert ("state", {"id": view["id"], "state": "completed"}) in rest
    with product.client() as late:
        assert [name for name, _ in event_stream(late, f"/api/v1/uploads/{view['id']}/events")] == ["state", "done"]


def test_the_end_of_an_upload_waits_for_no_pause_between_events(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows one upload is told when it ends, however lately it was told of something else."""
    monkeypatch.setattr("app.api.events._PAUSE_S", 3600)
    view = api.create("a.bin", CHUNK, chunk_size=CHUNK, completion="explicit")
    with product.client() as watcher:
        events = event_stream(watcher, f"/api/v1/uploads/{view['id']}/events")
        assert [next(events)[0], next(events)[0]] == ["state", "progress"]
        api.put_all(view, os.urandom(CHUNK))
        next(events)
        assert api.cancel(view["id"]).status == 204
        assert [name for name, _ in events][-1] == "done"


def test_one_stream_tells_of_all_my_uploads_each_end_once(product: Product, api: ApiClient) -> None:
    """`done` comes once for each, also when connections end after the upload did."""
    with product.client() as watcher:
        events = event_stream(watcher, "/api/v1/events")
        product.wait_for(lambda: product.server.hub.subscribers == 1)
        ended = []
        for _ in range(3):
            view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
            with product.client() as sender:
                sender.begin_chunk(view["id"], 0, CHUNK, b"some")
                product.wait_for(lambda: product.server.context.throughput.in_flight == 1)
                assert api.cancel(view["id"]).status == 204
            ended.append(view["id"])
        last = api.request("PUT", "/api/v1/files/b.txt", b"x").json["id"]
        done: list[str] = []
        for name, data in events:
            if name == "done":
                done.append(data["id"])
            if name == "done" and data["id"] == last:
                break
    assert sorted(done) == sorted([*ended, last])


@pytest.mark.parametrize("path", ["/api/v1/uploads/" + "0" * 32 + "/events", "/api/v1/uploads/" + "0" * 32])
def test_what_does_not_exist_is_404_before_anything_is_streamed(api: ApiClient, path: str) -> None:
    """A stream that begins with 200 can't say it any more."""
    assert api.request("GET", path).code == "not-found"


def test_watchers_that_leave_are_forgotten(product: Product, api: ApiClient) -> None:
    """A subscription ends with its connection."""
    view = api.create("a.bin", 10)
    watchers = [product.client() for _ in range(10)]
    for number, watcher in enumerate(watchers):
        path = f"/api/v1/uploads/{view['id']}/events" if number % 2 else "/api/v1/events"
        watcher.connection.request("GET", path)
    product.wait_for(lambda: product.server.hub.subscribers == 10)
    for number, watcher in enumerate(watchers):
        watcher.reset() if number % 3 else watcher.close()
    for _ in range(20):  # somebody who left is noticed when there is something to tell, at the latest
        api.status()
    product.wait_for(lambda: product.server.hub.subscribers == 0)


def test_progress_counts_what_is_at_the_destination(product: Product) -> None:
    """Trap of DESIGN section 7: progress that counts received bytes as done."""
    with product.client() as api:
        content = os.urandom(3 * CHUNK)
        view = api.create("a.bin", len(content), chunk_size=CHUNK, completion="explicit")
        expected = {
            "file_id", "state", "mode", "total_bytes", "bytes_received", "bytes_transferred", "progress_percent",
            "total_chunks", "completed_chunks", "failed_chunks", "retried_chunks", "failed_attempts", "in_flight_chunks", "missing",
            "elapsed_seconds", "bytes_per_second", "chunks_per_second", "window_seconds",
            "estimated_seconds_remaining",
        }  # fmt: skip
        at_first = api.progress(view["id"])
        assert set(at_first) == expected
        assert (at_first["progress_percent"], at_first["total_chunks"], at_first["completed_chunks"]) == (0, 3, 0)
        # Received out of order: nothing of it can be at the destination.
        api.put_chunk(view["id"], 2, content[2 * CHUNK :])
        halfway = api.progress(view["id"])
        assert (halfway["bytes_received"], halfway["bytes_transferred"], halfway["progress_percent"]) == (CHUNK, 0, 0)
        assert (halfway["completed_chunks"], halfway["missing"]) == (1, [{"start": 0, "end": 2 * CHUNK}])
        for number in (0, 1):
            api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
        live = next(live for live in product.server.context.uploads.live if live.row.id == view["id"])
        product.wait_for(lambda: live.forwarded == len(content))
        whole = api.progress(view["id"])
        assert whole["bytes_received"] == len(content)
        assert whole["progress_percent"] < 100
        api.complete(view["id"])
        done = api.progress(view["id"])
        assert (done["state"], done["progress_percent"], done["estimated_seconds_remaining"]) == ("completed", 100, 0)


def test_status_has_the_fields_of_the_guide_and_names_nobody(api: ApiClient) -> None:
    """Exactly these; the guide's `jq .memory_monitor.current_usage` is a number."""
    view = api.create("secret-name.bin", 10)
    status = api.status()
    assert {key: sorted(value) if isinstance(value, dict) else None for key, value in status.items()} == {
        "mode": None,
        "concurrency_manager": [
            "active_uploads", "active_users", "max_uploads", "max_users", "queued", "refused_total",
        ],
        "memory_monitor": ["current_usage", "level", "limit", "rss_bytes", "source"],
        "buffer_pool": ["slab_bytes", "slabs_leased", "slabs_total", "waiting"],
        "chunk_processor": [
            "bytes_per_second", "chunks_in_flight", "chunks_per_second", "error_rate", "retries_total",
            "window_seconds",
        ],
        "destinations": ["default"],
        "version": None,
        "uptime_seconds": None,
    }  # fmt: skip
    assert isinstance(status["memory_monitor"]["current_usage"], float)
    text = json.dumps(status)
    assert view["id"] not in text
    assert "secret-name" not in text
    assert "local" not in text


def test_metrics_and_health_answer(api: ApiClient) -> None:
    """For those who watch."""
    api.request("PUT", "/api/v1/files/a.bin", b"x")
    metrics = api.request("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert b"forebay_" in metrics.body
    assert api.request("GET", "/healthz").json == {"status": "ok"}
    ready = api.request("GET", "/readyz").json
    assert ready["status"] == "ok"
    assert set(ready["checks"]) >= {"database", "staging", "memory", "destination:default"}
    assert set(ready["checks"].values()) == {"ok"}


def test_an_upload_names_one_of_the_destinations(start_product: Start, tmp_path: Any) -> None:
    """By name; a URL of the client's is no destination (DESIGN section 7: SSRF)."""
    product = start_product(destinations={"archive": f"disk:{tmp_path}/archive"})
    with product.client() as api:
        view = api.create("a.txt", 3, destination="archive")
        api.put_chunk(view["id"], 0, b"abc")
        assert api.complete(view["id"]).json["result"]["destination"] == "archive"
        assert (tmp_path / "archive" / "a.txt").read_bytes() == b"abc"
        for name in ("http://169.254.169.254/", f"disk:{tmp_path}/elsewhere", "", "Archive"):
            reply = api.post("/api/v1/uploads", {"filename": "a", "size": 1, "destination": name})
            assert (reply.status, reply.code) == (400, "invalid-request")
