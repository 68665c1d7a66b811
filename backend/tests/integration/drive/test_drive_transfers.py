"""From the client's chunks to one whole file in Google Drive, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from http.client import HTTPResponse
from typing import Any

import pytest

from app.services.destination_gate import _LOOK_AGAIN_S
from app.testing.api_client import ApiClient
from app.testing.drive_emulator import Kind
from app.testing.drive_emulator.faults import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Fault,
    LoseAnswer,
    Stall,
    Status,
    WrongDigest,
)
from app.testing.drive_emulator.script import Rule

from .conftest import MIB, Rig

KIB = 1024


@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 3 * MIB, 3 * MIB + 7])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_of_any_size_arrives(rig: Rig, size: int, *, parallel: bool) -> None:
    """Empty, a byte, multiples of what Drive takes in a piece, in both modes."""
    rig.run(enable_parallel_uploads=parallel)
    content = os.urandom(size)
    rig.assert_stored(content, rig.upload(content))


def test_a_small_file_in_one_request_arrives(rig: Rig) -> None:
    """And the answer names it."""
    rig.run()
    reply = rig.api.request("PUT", "/api/v1/files/report.bin", b"hello")
    assert reply.status == 201
    rig.assert_stored(b"hello", reply.json)


def test_it_lands_in_its_folder_and_is_served_and_replaced(rig: Rig) -> None:
    """Folders are made once; a taken name gets a number, or is replaced where that was asked for."""
    rig.run()
    first = rig.upload(b"one", path="a/b")
    second = rig.upload(b"two", path="a/b")
    assert (first["result"]["name"], second["result"]["name"]) == ("report.bin", "report (1).bin")
    third = rig.upload(b"three", path="a/b", on_conflict="replace")
    assert third["result"]["name"] == "report.bin"
    assert rig.api.request("GET", f"/api/v1/files/{third['id']}/content").body == b"three"
    ranged = rig.api.request("GET", f"/api/v1/files/{third['id']}/content", headers={"range": "bytes=1-2"})
    assert (ranged.status, ranged.body) == (206, b"hr")
    folders = [file for file in rig.drive.files.values() if not file.sha256]
    assert sorted(folder.name for folder in folders) == ["a", "b"]


@pytest.mark.parametrize("ranged", [{}, {"range": "bytes=0-2"}], ids=["whole", "range"])
def test_an_error_in_a_200_is_not_the_file(rig: Rig, ranged: dict[str, str]) -> None:
    """Said as what it is, before any byte."""
    rig.run()
    view = rig.upload(b"what was stored")
    rig.drive.script([Rule("files.media", ErrorIn200(), times=1)])
    address = f"/api/v1/files/{view['id']}/content"
    refused = rig.api.request("GET", address, headers=ranged)
    assert (refused.status, refused.code) == (503, "destination-unavailable")
    assert rig.api.request("GET", address).body == b"what was stored"


@pytest.mark.parametrize(
    "fault",
    [
        Status(503, retry_after=7),
        Status(429, retry_after=7),
        Status(403, "userRateLimitExceeded", retry_after=7),
        Status(403, "quotaExceeded", retry_after=7),
        Status(403, "downloadQuotaExceeded"),
        Status(403, "somethingNew"),
        Status(401),
        CutAfter(0),
        ErrorIn200(),
    ],
    ids=repr,
)
def test_who_downloads_is_told_when_to_come_again_and_nothing_of_uploads(rig: Rig, fault: Fault) -> None:
    """As long as Drive has said; nothing was received from them that could be kept."""
    rig.run()
    view = rig.upload(b"what was stored")
    rig.drive.script([Rule("files.media", fault, times=2)])
    refused = rig.api.request("GET", f"/api/v1/files/{view['id']}/content")
    assert refused.status == 503
    if getattr(fault, "retry_after", None) is not None:
        assert refused.headers["retry-after"] == "7"
    assert "received" not in refused.json["detail"]
    assert "ploads go on" not in refused.json["detail"]


@pytest.mark.parametrize("other", [b"some longer file", b"shorter"])
def test_a_file_that_was_replaced_at_drive_is_not_served_as_ours(rig: Rig, other: bytes) -> None:
    """Neither cut to our length nor under our ETag."""
    rig.run()
    view = rig.upload(b"what we stored")
    headers = {"Authorization": f"Bearer {rig.drive.access_token()}", "Content-Type": "text/plain"}
    address = f"{rig.drive.root}/upload/drive/v3/files/{rig.only_file().id}?uploadType=media"
    with urllib.request.urlopen(urllib.request.Request(address, other, headers, method="PATCH")) as answer:
        assert answer.status == 200
    for ranged in ({}, {"range": "bytes=0-2"}):
        refused = rig.api.request("GET", f"/api/v1/files/{view['id']}/content", headers=ranged)
        assert (refused.status, refused.code) == (503, "destination-unavailable")
        assert "another size" in refused.json["detail"]


def test_chunks_out_of_order_go_as_the_prefix_grows(rig: Rig, content: bytes) -> None:
    """While the first chunk is missing nothing can be sent; what is sent is never sent in parallel."""
    rig.run()
    view = rig.begin(content, chunk_size=256 * KIB)
    for number in reversed(range(view["chunk_count"])):
        data = content[number * 256 * KIB : (number + 1) * 256 * KIB]
        assert rig.api.put_chunk(view["id"], number, data).status == 204
    rig.assert_stored(content, rig.ended(view["id"]))


class Lanes:
    """A client that sends `lanes` chunks at once, each in parts and with pauses: slower than Drive takes them."""

    def __init__(self, rig: Rig, view: dict[str, Any], content: bytes, lanes: int) -> None:
        self._rig = rig
        self._view = view
        self._content = content
        self._lock = threading.Lock()
        self._numbers = iter(range(view["chunk_count"]))
        self._in_flight = 0
        self.most_in_flight = 0
        self.statuses: list[int] = []
        self.last_answer_s = 0.0
        self._threads = [threading.Thread(target=self._send_all, name=f"lane-{lane}") for lane in range(lanes)]

    def run(self) -> None:
        """Until every chunk has its answer."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _send_all(self) -> None:
        with self._rig.product.client() as client:
            while True:
                with self._lock:
                    if (number := next(self._numbers, None)) is None:
                        return
                    self._in_flight += 1
                    self.most_in_flight = max(self.most_in_flight, self._in_flight)
                status = self._send(client, number)
                with self._lock:
                    self._in_flight -= 1
                    self.statuses.append(status)
                    self.last_answer_s = time.monotonic()

    def _send(self, client: ApiClient, number: int) -> int:
        size, parts = self._view["chunk_size"], 8
        data = self._content[number * size : (number + 1) * size]
        sock = client.begin_chunk(self._view["id"], number, len(data))
        for start in range(0, len(data), len(data) // parts):
            time.sleep(0.05)
            sock.sendall(data[start : start + len(data) // parts])
        with HTTPResponse(sock, method="PUT") as answer:
            answer.begin()
            return answer.status


def test_drive_holds_nearly_all_when_the_last_chunk_is_acknowledged(rig: Rig) -> None:
    """One long PUT, fed while chunks arrive in parallel: all but the last 2 x lanes x chunk size, at that very moment."""
    lanes, chunk = 4, 256 * KIB
    rig.run(max_concurrent_chunks=lanes)
    content = os.urandom(40 * chunk)
    view = rig.begin(content, chunk_size=chunk)
    client = Lanes(rig, view, content, lanes)
    client.run()
    assert client.statuses == [204] * view["chunk_count"]
    assert client.most_in_flight == lanes
    held = [
        event.position or 0
        for event in rig.drive.events.of(Kind.HELD)
        if event.time_s <= client.last_answer_s  # the clock is the same
    ]
    assert max(held, default=0) >= len(content) - 2 * lanes * chunk
    rig.assert_stored(content, rig.ended(view["id"]))
    puts = [event for event in rig.drive.events if event.kind is Kind.PUT_STARTED and event.size]
    assert len(puts) == 2, "one long PUT, and the end"


FAULTS: dict[str, list[Rule]] = {
    "429": [Rule("upload.put", Status(429), times=3)],
    "429 with Retry-After": [Rule("upload.start", Status(429, retry_after=1), times=1)],
    "403 rate": [Rule("upload.start", Status(403, "rateLimitExceeded"), times=2)],
    "503 storm": [Rule("any", Status(503), times=8)],
    "503 after all was taken": [Rule("upload.put", Status(503, when="after"), times=1)],
    "503 after the file was made": [Rule("upload.finish", Status(503, when="after"), times=1)],
    "401": [Rule("upload.put", Status(401), times=1)],
    "lost answer": [Rule("upload.put", LoseAnswer(), times=1)],
    "lost final answer": [Rule("upload.finish", LoseAnswer(), times=1)],
    "lost session": [Rule("upload.start", LoseAnswer(), times=1)],
    "error in a 200": [Rule("upload.finish", ErrorIn200(when="after"), times=1)],
    "cut": [Rule("upload.put", CutAfter(1 * MIB), times=2)],
    "cut at once": [Rule("upload.put", CutAfter(0), times=2)],
    "keeps less": [Rule("upload.put", CommitLess(512 * KIB), times=2)],
    "404": [Rule("upload.put", Expire(404), skip=1, times=1)],
    "410": [Rule("upload.put", Expire(410), times=1)],
    "404 when asked": [Rule("upload.put", CutAfter(MIB), times=1), Rule("upload.query", Expire(404), times=1)],
    "wrong digest once": [Rule("upload.finish", WrongDigest(), times=1)],
}


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_drive_answers_exactly_one_whole_file_is_there(rig: Rig, content: bytes, fault: str) -> None:
    """FAULTS.md rows 22 to 25."""
    rig.drive.script(FAULTS[fault])
    rig.run()
    rig.assert_stored(content, rig.upload(content, chunk_size=256 * KIB))


def test_a_destination_that_always_stores_other_bytes_fails_the_upload(rig: Rig, content: bytes) -> None:
    """After the third time, with a clear error, and nothing stays there."""
    rig.drive.script([Rule("upload.finish", WrongDigest())])
    rig.run()
    view = rig.upload(content)
    assert (view["state"], view["error"]["code"]) == ("failed", "digest-mismatch")
    detail = view["error"]["detail"]
    assert "has failed" in detail
    assert "Upload the file again" in detail
    assert "are sent again" not in detail
    assert not [file for file in rig.drive.files.values() if file.sha256]


def test_a_wrong_digest_of_the_client_publishes_nothing(rig: Rig, content: bytes) -> None:
    """What publishes the file is held until the digest has been looked at."""
    rig.run()
    view = rig.begin(content, completion="explicit")
    rig.api.put_all(view, content)
    reply = rig.api.complete(view["id"], digest="sha-256=:" + "A" * 43 + "=:")
    assert (reply.status, reply.code) == (422, "digest-mismatch")
    assert not [file for file in rig.drive.files.values() if file.sha256]
    assert not [event for event in rig.drive.events if event.kind is Kind.FILE_CREATED]


@pytest.mark.parametrize(
    "broken", [["upload.start"], ["upload.put"], ["upload.finish", "upload.query", "files.get"]], ids=lambda ops: ops[0]
)
def test_cancelling_while_drive_is_at_work_leaves_nothing_there(rig: Rig, content: bytes, broken: list[str]) -> None:
    """It stays cancelled, also where Drive had the whole file and its answer was lost."""
    rig.drive.script([Rule(operation, Status(503, when="after")) for operation in broken])
    rig.run()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    rig.problem(view["id"], "destination-unavailable")
    assert rig.api.cancel(view["id"]).status == 204
    rig.drive.script([])
    rig.product.wait_for(lambda: not rig.product.server.transfers.removals)
    assert rig.api.upload(view["id"])["state"] == "cancelled"
    assert not [file for file in rig.drive.files.values() if file.sha256]


@pytest.mark.usefixtures("looked_at_often")
def test_a_lost_login_parks_and_a_new_one_goes_on_without_a_restart(rig: Rig, content: bytes) -> None:
    """It says what to do; new bytes are still received meanwhile."""
    rig.run()
    rig.drive.revoke_tokens()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    rig.problem(view["id"], "destination-login-lost")
    detail = rig.api.upload(view["id"])["error"]["detail"]
    assert "log in again" in detail.lower()
    rig.drive.restore_tokens()
    fresh = json.dumps(rig.drive.authorized_user())
    rig.settings["google_drive_credentials"].write_text(fresh)
    rig.assert_stored(content, rig.ended(view["id"]))


@pytest.fixture
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that is left alone is tried again soon."""
    monkeypatch.setattr("app.services.destination_gate._LOOK_AGAIN_S", dict.fromkeys(_LOOK_AGAIN_S, 0.1))
    monkeypatch.setattr("app.services.limits.breaker._LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr("app.services.transfer._LONGEST_PARKED_S", 0)


@pytest.mark.usefixtures("looked_at_often")
def test_a_full_drive_parks_until_there_is_room(rig: Rig, content: bytes) -> None:
    """Nothing is lost, and it goes on by itself; a file for which there is room does not wait for it."""
    rig.drive.set_storage_quota(MIB)
    rig.run()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    rig.problem(view["id"], "destination-full")
    assert rig.upload(b"small", name="small.bin")["state"] == "completed"
    rig.drive.set_storage_quota(None)
    assert rig.ended(view["id"])["state"] == "completed"
    assert rig.drive.content(rig.drive.named("report.bin")[0].id) == content


@pytest.mark.usefixtures("looked_at_often")
def test_an_exhausted_day_parks_until_the_next(rig: Rig, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drive's own words for it may mean less at first; when it keeps saying so for long, it is believed."""
    monkeypatch.setattr("app.destinations.google_drive.ledger._BELIEVED_AFTER_S", 0.1)
    rig.run()
    rig.upload(b"first", name="first.bin")
    rig.drive.set_daily_limit(1)
    view = rig.begin(content)
    rig.api.put_all(view, content)
    rig.problem(view["id"], "destination-quota")
    rig.drive.a_new_day()
    rig.drive.set_daily_limit(None)
    assert rig.ended(view["id"])["state"] == "completed"
    assert rig.drive.content(rig.drive.named("report.bin")[0].id) == content


def test_many_at_once_into_one_new_folder(rig: Rig) -> None:
    """Each arrives, in one folder."""
    rig.run()
    contents = {f"file-{number}.bin": os.urandom(600 * KIB + number) for number in range(12)}

    def send(name: str) -> None:
        with rig.product.client() as api:
            view = api.create(name, len(contents[name]), path="new/folder")
            api.put_all(view, contents[name])

    threads = [threading.Thread(target=send, args=(name,)) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.product.wait_for(lambda: not rig.product.server.context.uploads.live, 60)
    stored = {file.name: rig.drive.content(file.id) for file in rig.drive.files.values() if file.sha256}
    assert stored == contents
    assert sorted(file.name for file in rig.drive.files.values() if not file.sha256) == ["folder", "new"]


def test_the_status_tells_of_what_was_sent_and_is_stored_also_after_a_restart(rig: Rig, content: bytes) -> None:
    """Before anything is uploaded; what can't be known is null, and nobody waits for it."""

    def told() -> dict[str, Any]:
        report: dict[str, Any] = rig.api.status()["destinations"]["default"]["report"]
        return report

    def again() -> None:
        rig.api.close()
        rig.product.__exit__()
        rig.run()

    rig.drive.set_storage_quota(100 * MIB)
    rig.run()
    rig.upload(content)
    assert told()["sent_in_24_hours"] == len(content)
    again()
    rig.product.wait_for(lambda: rig.product.server.destinations["default"].report().storage_used is not None)
    assert told() == {
        "sent_in_24_hours": len(content),
        "daily_limit": 750 * 10**9,
        "storage_used": len(content),
        "storage_limit": 100 * MIB,
        "login_ok": True,
    }
    rig.drive.script([Rule("about", Stall(60))])
    again()
    rig.drive.wait(lambda event: event.kind is Kind.FAULT)
    assert told() == {
        "sent_in_24_hours": len(content),
        "daily_limit": 750 * 10**9,
        "storage_used": None,
        "storage_limit": None,
        "login_ok": None,
    }
    assert rig.upload(b"another", name="another.bin")["state"] == "completed"


def test_nothing_secret_is_told_to_anybody(rig: Rig, content: bytes) -> None:
    """No session URI, token or key in a log, an answer, a metric, or in the clear in the database."""
    rig.drive.script(
        [Rule("upload.put", CutAfter(MIB), times=1), Rule("upload.finish", Status(503, when="after"), times=1)]
    )
    rig.run(debug_logging=True, log_level="debug")
    view = rig.begin(content)
    rig.api.put_all(view, content)
    told: list[Any] = [
        rig.api.upload(view["id"]),
        rig.ended(view["id"]),
        rig.api.progress(view["id"]),
        rig.api.status(),
    ]
    told += [rig.api.request("GET", "/metrics").body, rig.api.request("GET", "/api/v1/uploads").body]
    told.append((rig.directory / "server.log").read_text())
    told += [path.read_bytes() for path in rig.product.data_dir.glob("forebay.sqlite3*")]
    text = repr(told)
    user = rig.drive.authorized_user()
    secrets = [str(user[name]) for name in ("refresh_token", "client_secret")]
    secrets += [session.upload_id for session in rig.drive.sessions]
    assert len(secrets) > 2
    for secret in [*secrets, "upload_id=", "Bearer ya29"]:
        assert secret not in text
