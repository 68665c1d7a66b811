"""The API without uploads, by hand: what Drive checks, and what it says then."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from app.testing.drive_emulator import FOLDER, DriveEmulator

FILES = "/drive/v3/files"


async def _make(raw: Any, name: str = "a", params: str = "", **more: Any) -> str:
    answer = await raw.ask("POST", f"{FILES}?{params}", json={"name": name, **more})
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


async def _names(raw: Any, query: str | None = None, **params: str) -> list[str]:
    asked = {**params, **({} if query is None else {"q": query})}
    answer = await raw.ask("GET", FILES, params=asked)
    assert answer.status == 200, answer.body
    return [file["name"] for file in answer.json()["files"]]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        (None, {"kind", "id", "name", "mimeType"}),
        ("id", {"id"}),
        ("id, name", {"id", "name"}),
        ("capabilities/canEdit", {"capabilities"}),
        ("owners(emailAddress),id", {"owners", "id"}),
        ("description", set()),
    ],
)
async def test_only_the_fields_asked_for_come(raw: Any, fields: str | None, keys: set[str]) -> None:
    """Nested ones too; one without a value is just not there."""
    answer = await raw.ask("GET", f"{FILES}/{await _make(raw)}", params={} if fields is None else {"fields": fields})
    assert set(answer.json()) == keys
    if "owners" in keys:
        assert answer.json()["owners"] == [{"emailAddress": "user@emulator.example"}]
    if "capabilities" in keys:
        assert answer.json()["capabilities"] == {"canEdit": True}


async def test_a_star_is_everything(raw: Any) -> None:
    """Of an empty file: size and digests among them; of a folder: neither."""
    answer = await raw.ask("GET", f"{FILES}/{await _make(raw, 'a.bin')}?fields=*")
    assert answer.json()["size"] == "0"
    assert answer.json()["md5Checksum"] == hashlib.md5(b"").hexdigest()
    folder = await raw.ask("GET", f"{FILES}/{await _make(raw, mimeType=FOLDER)}?fields=*")
    assert not {"size", "md5Checksum"} & set(folder.json())


@pytest.mark.parametrize("fields", ["nonsense", "id,", "id(", "(id)", "id)", "a b", "id/"])
async def test_fields_that_there_are_not_are_refused(raw: Any, fields: str) -> None:
    """Before anything is created as well."""
    answer = await raw.ask("GET", f"{FILES}/{await _make(raw)}", params={"fields": fields})
    assert (answer.status, answer.reason) == (400, "invalidParameter")
    upload = await raw.ask("POST", "/upload/drive/v3/files", params={"uploadType": "resumable", "fields": fields})
    assert upload.status == 400


async def test_queries_find_what_they_say(raw: Any) -> None:
    """The forms that clients use."""
    folder = await _make(raw, "box", mimeType=FOLDER)
    await _make(raw, "it's.txt", parents=[folder], mimeType="text/plain", appProperties={"upload": "7"})
    trashed = await _make(raw, "old.bin", parents=[folder])
    await raw.ask("PATCH", f"{FILES}/{trashed}", json={"trashed": True})
    found = {
        query: await _names(raw, query, orderBy="name")
        for query in (
            r"name = 'it\'s.txt'",
            "name != 'box' and trashed = false",
            "name contains 'it'",
            f"'{folder}' in parents",
            "'root' in parents",
            f"mimeType = '{FOLDER}'",
            f"mimeType != '{FOLDER}' and trashed = true",
            "mimeType contains 'text/'",
            "appProperties has { key='upload' and value='7' }",
            "appProperties has {key='upload' and value='8'}",
            "not trashed = true and (name = 'box' or name = 'old.bin')",
            "'me' in owners and trashed=true",
            "modifiedTime > '2020-01-01T00:00:00' and name='box'",
            "createdTime < '2020-01-01T00:00:00Z'",
        )
    }
    assert list(found.values()) == [
        ["it's.txt"],
        ["it's.txt"],
        ["it's.txt"],
        ["it's.txt", "old.bin"],
        ["box"],
        ["box"],
        ["old.bin"],
        ["it's.txt"],
        ["it's.txt"],
        [],
        ["box"],
        ["old.bin"],
        ["box"],
        [],
    ]


@pytest.mark.parametrize(
    "query", ["name", "name = x", "size = '1'", "name = 'a' und", "'x' on parents", "name='a", "§"]
)
async def test_queries_that_say_nothing_are_refused(raw: Any, query: str) -> None:
    """With the parameter's name."""
    answer = await raw.ask("GET", FILES, params={"q": query})
    assert (answer.status, answer.reason) == (400, "invalid")
    assert answer.json()["error"]["errors"][0]["location"] == "q"


@pytest.mark.parametrize("params", [{"pageSize": "0"}, {"pageSize": "x"}, {"orderBy": "size"}, {"pageToken": "?"}])
async def test_pages_are_checked(raw: Any, params: dict[str, str]) -> None:
    """Sizes, orders, tokens."""
    assert (await raw.ask("GET", FILES, params=params)).status == 400


async def test_names_may_repeat_and_ids_may_not(raw: Any) -> None:
    """Not even after a deletion."""
    assert await _make(raw, "same") != await _make(raw, "same")
    taken = (await raw.ask("GET", f"{FILES}/generateIds?count=1&space=drive")).json()["ids"][0]
    await _make(raw, id=taken)
    assert (await raw.ask("DELETE", f"{FILES}/{taken}")).status == 204
    again = await raw.ask("POST", FILES, json={"id": taken})
    assert (again.status, again.reason) == (409, "fileIdInUse")
    assert again.json()["error"]["message"] == "A file already exists with the provided ID."
    upload = await raw.ask("POST", "/upload/drive/v3/files?uploadType=resumable", json={"id": taken})
    assert upload.status == 409
    made_up = await raw.ask("POST", FILES, json={"id": "made-up"})
    assert (made_up.status, made_up.json()["error"]["message"]) == (400, "The provided file ID is not usable.")


async def test_two_sessions_for_one_id_make_one_file(raw: Any) -> None:
    """The second one finds the id taken when it ends."""
    file_id = raw.drive.world.tree.generate_ids(1)[0]
    first, second = [await raw.begin(id=file_id) for _ in range(2)]
    assert (await raw.put(first, b"1")).status == 200
    assert (await raw.put(second, b"2")).status == 409
    assert raw.drive.content(file_id) == b"1"


@pytest.mark.parametrize("count", ["0", "1001", "x"])
async def test_ids_come_by_the_thousand_at_most(raw: Any, count: str) -> None:
    """And ten when nothing is said."""
    assert (await raw.ask("GET", f"{FILES}/generateIds?count={count}")).status == 400
    assert len((await raw.ask("GET", f"{FILES}/generateIds")).json()["ids"]) == 10


async def test_what_is_not_there_is_not_found(raw: Any) -> None:
    """With Google's body."""
    for method, path, body in (
        ("GET", f"{FILES}/nobody", None),
        ("PATCH", f"{FILES}/nobody", {}),
        ("DELETE", f"{FILES}/nobody", None),
        ("POST", FILES, {"parents": ["nobody"]}),
        ("POST", "/upload/drive/v3/files?uploadType=resumable", {"parents": ["nobody"]}),
        ("PATCH", "/upload/drive/v3/files/nobody?uploadType=resumable", {}),
    ):
        answer = await raw.ask(method, path, json=body)
        assert answer.json() == {
            "error": {
                "code": 404,
                "message": "File not found: nobody.",
                "errors": [
                    {
                        "message": "File not found: nobody.",
                        "domain": "global",
                        "reason": "notFound",
                        "location": "fileId",
                        "locationType": "parameter",
                    }
                ],
            }
        }


async def test_files_change_their_names_folders_and_properties(raw: Any) -> None:
    """A property goes with null; parents go by addParents and removeParents."""
    one, two = [await _make(raw, name, mimeType=FOLDER) for name in "12"]
    file_id = await _make(raw, "a", parents=[one], appProperties={"x": "1", "y": "2"})
    path = f"{FILES}/{file_id}?fields=name,parents,appProperties"
    changed = await raw.ask(
        "PATCH", f"{path}&addParents={two}&removeParents={one}", json={"name": "b", "appProperties": {"x": None}}
    )
    assert changed.json() == {"name": "b", "parents": [two], "appProperties": {"y": "2"}}
    assert (await raw.ask("PATCH", path, json={"parents": [one]})).reason == "fieldNotWritable"
    assert (await raw.ask("PATCH", f"{path}&addParents={one}", json={})).reason == "cannotAddParent"
    into_itself = await raw.ask("PATCH", f"{FILES}/{one}?addParents={one}&removeParents=root", json={})
    assert into_itself.status == 403


async def test_a_folder_goes_with_what_is_in_it(raw: Any) -> None:
    """To the trash and back, and for good; roots stay."""
    folder = await _make(raw, "box", mimeType=FOLDER)
    inner = await _make(raw, "a", parents=[folder])
    await raw.ask("PATCH", f"{FILES}/{folder}", json={"trashed": True})
    seen = await raw.ask("GET", f"{FILES}/{inner}?fields=trashed,explicitlyTrashed")
    assert seen.json() == {"trashed": True, "explicitlyTrashed": False}
    assert (await raw.ask("DELETE", f"{FILES}/{folder}")).status == 204
    assert (await raw.ask("GET", f"{FILES}/{inner}")).status == 404
    assert (await raw.ask("DELETE", f"{FILES}/root")).status == 403


async def test_a_shared_drive_is_for_those_who_say_that_they_know_it(raw: Any) -> None:
    """supportsAllDrives, and includeItemsFromAllDrives for lists."""
    shared = raw.drive.shared_drive
    assert (await raw.ask("POST", FILES, json={"name": "a", "parents": [shared]})).status == 404
    file_id = await _make(raw, "a", "supportsAllDrives=true", parents=[shared])
    assert (await raw.ask("GET", f"{FILES}/{file_id}")).status == 404
    seen = await raw.ask("GET", f"{FILES}/{file_id}?supportsAllDrives=true&fields=driveId,parents")
    assert seen.json() == {"driveId": shared, "parents": [shared]}
    everywhere = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    assert await _names(raw) == []
    assert await _names(raw, **everywhere, corpora="drive", driveId=shared, spaces="drive") == ["a"]
    assert (await raw.ask("GET", f"/drive/v3/drives/{shared}?fields=name")).json() == {"name": "Shared"}
    assert (await raw.ask("GET", "/drive/v3/drives/other")).status == 404


async def test_there_may_be_no_shared_drive(start_drive: Callable[..., DriveEmulator], connect: Any) -> None:
    """As for private accounts."""
    raw = connect(start_drive(shared_drive=None))
    assert (await raw.ask("GET", "/drive/v3/drives")).json()["drives"] == []


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, 10),
        ("bytes=0-3", 206, 0, 4),
        ("bytes=4-", 206, 4, 10),
        ("bytes=-3", 206, 7, 10),
        ("bytes=5-99", 206, 5, 10),
        ("bytes=10-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-4", 416, 0, 0),
        ("bytes=0-1,3-4", 200, 0, 10),
        ("lines=1-2", 200, 0, 10),
    ],
)
async def test_downloads_in_ranges(raw: Any, asked: str | None, status: int, start: int, end: int) -> None:
    """206 with Content-Range; 416 with the size; what is not served is ignored."""
    file_id = (await raw.put(await raw.begin(), b"0123456789")).json()["id"]
    answer = await raw.ask("GET", f"{FILES}/{file_id}?alt=media", headers={} if asked is None else {"Range": asked})
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */10"
    else:
        assert answer.body == b"0123456789"[start:end]
        assert answer.headers.get("Content-Range") == (f"bytes {start}-{end - 1}/10" if status == 206 else None)


async def test_a_folder_has_no_content(raw: Any) -> None:
    """It can't be downloaded."""
    answer = await raw.ask("GET", f"{FILES}/{await _make(raw, mimeType=FOLDER)}?alt=media")
    assert (answer.status, answer.reason) == (403, "fileNotDownloadable")


async def test_about_needs_fields(raw: Any) -> None:
    """And knows the quota."""
    missing = await raw.ask("GET", "/drive/v3/about")
    assert missing.json()["error"]["message"] == "The 'fields' parameter is required for this method."
    raw.drive.set_storage_quota(1000)
    await raw.put(await raw.begin(), b"12345")
    quota = (await raw.ask("GET", "/drive/v3/about?fields=storageQuota(limit,usage)")).json()["storageQuota"]
    assert quota == {"limit": "1000", "usage": "5"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 1}', b'{"parents": "x"}', b'{"parents": [1]}'])
async def test_metadata_of_another_form_is_refused(raw: Any, body: bytes) -> None:
    """As a parse error."""
    answer = await raw.ask("POST", FILES, data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.reason) == (400, "parseError")


async def test_multipart_with_base64(raw: Any) -> None:
    """As Google's JavaScript examples send it."""
    body = (
        b'--b\r\nContent-Type: application/json\r\n\r\n{"name": "m"}\r\n--b\r\nContent-Type: image/png\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"\x00png") + b"\r\n--b--"
    )
    headers = {"Content-Type": "multipart/related; boundary=b"}
    answer = await raw.ask("POST", "/upload/drive/v3/files?uploadType=multipart", data=body, headers=headers)
    assert answer.json()["mimeType"] == "image/png"
    assert raw.drive.content(answer.json()["id"]) == b"\x00png"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b""),
        ("multipart/related", b"--b--"),
        ("multipart/related; boundary=b", b"--b\r\n\r\n{}\r\n--b\r\n\r\nx"),
        ("multipart/related; boundary=b", b"--b\r\n\r\n{}\r\n--b--"),
        ("multipart/related; boundary=b", b"--b\r\n\r\n{\r\n--b\r\n\r\nx\r\n--b--"),
    ],
)
async def test_multipart_that_is_none_is_refused(raw: Any, content_type: str, body: bytes) -> None:
    """And makes no file."""
    path, headers = "/upload/drive/v3/files?uploadType=multipart", {"Content-Type": content_type}
    assert (await raw.ask("POST", path, data=body, headers=headers)).status == 400
    assert not raw.drive.files


async def test_an_upload_of_another_type_is_refused(raw: Any) -> None:
    """There are three types."""
    assert (await raw.ask("POST", "/upload/drive/v3/files?uploadType=carrier-pigeon")).status == 400
    headers = {"X-Upload-Content-Length": "many"}
    assert (await raw.ask("POST", "/upload/drive/v3/files?uploadType=resumable", headers=headers)).status == 400


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"name": "\\ud800"}',
        b'{"name": "a", "description": "\\udfff"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": "a", "appProperties": {"\\ud800": "b"}}',
        b'{"name": "a", "appProperties": {"a": {}}}',
        b'{"name": "a", "parents": [[]]}',
        b'{"name": "a", "mimeType": "text/plain\\r\\nX: y"}',
        b'{"name": "a", "size": %s}' % (b"9" * 5000),
        b"[" * 100_000,
    ],
    ids=["name", "description", "bytes", "key", "property", "parent", "type", "number", "depth"],
)
@pytest.mark.parametrize("path", ["/drive/v3/files", "/upload/drive/v3/files?uploadType=resumable"])
async def test_metadata_that_is_none_is_refused_and_leaves_nothing(raw: Any, path: str, metadata: bytes) -> None:
    """What could not be answered with, stored or sent; the next list is as it was."""
    refused = await raw.ask("POST", path, data=metadata, headers={"Content-Type": "application/json; charset=odd"})
    assert refused.status == 400, refused.body
    assert (await raw.ask("GET", "/drive/v3/files?fields=*")).json()["files"] == []


HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/drive/v3/files?pageSize=" + HUGE, {}),
        ("GET", "/drive/v3/files?pageSize=\u0663", {}),
        ("POST", "/upload/drive/v3/files?uploadType=resumable", {"X-Upload-Content-Length": HUGE}),
        ("PUT", "SESSION", {"Content-Range": f"bytes */{HUGE}"}),
        ("PUT", "SESSION", {"Content-Range": f"bytes 0-{HUGE}/*"}),
        ("POST", "/upload/drive/v3/files?uploadType=media", {"Content-Type": "text/\u00ff"}),
    ],
    ids=["page", "digits", "length", "question", "range", "type"],
)
async def test_numbers_and_types_that_are_none_are_refused(
    raw: Any, method: str, path: str, headers: dict[str, str]
) -> None:
    """With the status that Drive has for what it can't read."""
    uri = await raw.begin()
    refused = await raw.ask(method, uri if path == "SESSION" else path, headers=headers)
    assert refused.status == 400, refused.body
    assert (await raw.ask("GET", "/drive/v3/files?fields=*")).json()["files"] == []


async def test_a_range_of_huge_numbers_lies_behind_the_end(raw: Any) -> None:
    """As any other beyond it."""
    stored = await raw.put(await raw.begin(), b"12345")
    address = f"/drive/v3/files/{stored.json()['id']}?alt=media"
    assert (await raw.ask("GET", address, headers={"Range": f"bytes={HUGE}-"})).status == 416
    assert (await raw.ask("GET", address, headers={"Range": f"bytes=1-{HUGE}"})).body == b"2345"
    assert (await raw.ask("GET", address, headers={"Range": f"bytes=-{HUGE}"})).body == b"12345"
