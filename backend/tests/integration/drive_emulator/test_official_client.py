"""Google's own client, unchanged but for the API root."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload, build_http

from app.testing.drive_emulator import FOLDER, UNIT_BYTES, DriveEmulator, Kind, LoseAnswer, Rule, Status

U = UNIT_BYTES


@contextmanager
def _service(drive: DriveEmulator, credentials: Any) -> Iterator[Any]:
    """The client from its own discovery document; its uploads go under the document's rootUrl, so that is what changes."""
    document = json.loads((resources.files("googleapiclient.discovery_cache") / "documents/drive.v3.json").read_text())
    document["rootUrl"] = drive.root + "/"
    document.pop("mtlsRootUrl", None)
    with build_from_document(document, http=AuthorizedHttp(credentials, build_http())) as service:
        yield service


@pytest.fixture
def service(drive: DriveEmulator, log_in: Callable[..., Any]) -> Iterator[Any]:
    """A client of `drive`."""
    with _service(drive, log_in(drive.authorized_user())) as made:
        yield made


def _media(data: bytes, *, chunk: int = -1, resumable: bool = True) -> Any:
    return MediaIoBaseUpload(io.BytesIO(data), "application/octet-stream", chunksize=chunk, resumable=resumable)


def _upload(request: Any) -> Any:
    answer = None
    while answer is None:
        _, answer = request.next_chunk()
    return answer


def test_a_resumable_upload_in_pieces(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """In as many PUTs as there are pieces, without a single violation."""
    request = service.files().create(
        body={"name": "a.bin"}, media_body=_media(data, chunk=U), fields="id,size,md5Checksum,sha256Checksum"
    )
    progress, answer = [], None
    while answer is None:
        status, answer = request.next_chunk()
        if status is not None:
            progress.append(status.resumable_progress)
    assert progress == [n * U for n in range(1, 6)]
    assert answer["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert answer["sha256Checksum"] == hashlib.sha256(data).hexdigest()
    assert drive.content(answer["id"]) == data
    assert drive.requests["upload.put"] == 6
    assert not drive.events.violations


@pytest.mark.parametrize("size", [0, 1, U, 2 * U])
def test_sizes_at_the_edges(drive: DriveEmulator, service: Any, data: bytes, size: int) -> None:
    """Empty, tiny, and whole units."""
    request = service.files().create(body={"name": "a"}, media_body=_media(data[:size], chunk=U), fields="id")
    assert drive.content(_upload(request)["id"]) == data[:size]
    assert not drive.events.violations


def test_it_resumes_after_a_503(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """By asking for the position first, both when the piece was lost and when it was committed."""
    drive.script(
        [
            Rule("upload.put", Status(503), skip=1, times=1),
            Rule("upload.put", Status(503, when="after"), skip=3, times=1),
        ]
    )
    request = service.files().create(body={"name": "a.bin"}, media_body=_media(data, chunk=U), fields="id")
    failures, answer = [], None
    while answer is None:
        try:
            _, answer = request.next_chunk()
        except HttpError as error:
            failures.append(error.status_code)
    assert failures == [503, 503]
    assert drive.requests["upload.query"] == 2
    assert drive.content(answer["id"]) == data
    assert not drive.events.violations


def test_its_own_retries_get_through_errors(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """`num_retries` is enough, wherever the client can send a body again."""
    drive.script([Rule("upload.start", Status(429), times=1), Rule("files.list", Status(500), times=2)])
    upload, listing = service.files().create(media_body=_media(data), fields="id"), service.files().list()
    upload._sleep = listing._sleep = lambda _seconds: None
    assert drive.content(upload.next_chunk(num_retries=1)[1]["id"]) == data
    assert len(listing.execute(num_retries=2)["files"]) == 1


def test_multipart_and_simple_uploads(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """Metadata and content in one request; content alone."""
    made = service.files().create(body={"name": "m.bin"}, media_body=_media(data, resumable=False)).execute()
    assert (made["name"], made["kind"]) == ("m.bin", "drive#file")
    assert drive.content(made["id"]) == data
    simple = service.files().create(media_body=_media(b"x\r\n--y", resumable=False)).execute()
    assert simple["name"] == "Untitled"
    assert drive.content(simple["id"]) == b"x\r\n--y"


def test_content_is_replaced(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """files.update with a media body, resumable and multipart."""
    file_id = service.files().create(body={"name": "a"}, media_body=_media(b"old", resumable=False)).execute()["id"]
    update = service.files().update(fileId=file_id, body={"name": "b"}, media_body=_media(data, chunk=U))
    assert _upload(update)["name"] == "b"
    assert drive.content(file_id) == data
    service.files().update(fileId=file_id, media_body=_media(b"new", resumable=False)).execute()
    assert drive.content(file_id) == b"new"


@pytest.mark.parametrize("size", [0, 1, 3 * U + 5])
def test_a_download_in_ranges(service: Any, data: bytes, size: int) -> None:
    """MediaIoBaseDownload, an empty file among them."""
    made = service.files().create(body={"name": "a"}, media_body=_media(data[:size], resumable=False)).execute()
    target, done = io.BytesIO(), False
    download = MediaIoBaseDownload(target, service.files().get_media(fileId=made["id"]), chunksize=U)
    while not done:
        _, done = download.next_chunk()
    assert target.getvalue() == data[:size]


def test_listing_in_pages(service: Any) -> None:
    """With a query, an order and `list_next`."""
    folder = service.files().create(body={"name": "f", "mimeType": FOLDER}, fields="id").execute()["id"]
    for number in range(7):
        service.files().create(body={"name": f"n{number}", "parents": [folder]}).execute()
    request = service.files().list(
        q=f"'{folder}' in parents and trashed = false",
        pageSize=3,
        orderBy="name desc",
        fields="nextPageToken,files(name)",
    )
    pages = []
    while request is not None:
        page = request.execute()
        pages.append([file["name"] for file in page["files"]])
        request = service.files().list_next(request, page)
    assert pages == [["n6", "n5", "n4"], ["n3", "n2", "n1"], ["n0"]]


def test_folders_ids_deletion_and_about(drive: DriveEmulator, service: Any) -> None:
    """The rest of what a backup program needs."""
    file_id = service.files().generateIds(count=1, space="drive", type="files").execute()["ids"][0]
    folder = {"id": file_id, "name": "f", "mimeType": FOLDER}
    assert service.files().create(body=folder, fields="id").execute() == {"id": file_id}
    with pytest.raises(HttpError) as conflict:
        service.files().create(body=folder).execute()
    assert (conflict.value.status_code, conflict.value.error_details[0]["reason"]) == (409, "fileIdInUse")
    assert service.files().delete(fileId=file_id).execute() == ""
    with pytest.raises(HttpError) as gone:
        service.files().get(fileId=file_id).execute()
    assert gone.value.reason == f"File not found: {file_id}."
    about = service.about().get(fields="user,storageQuota").execute()
    assert about["storageQuota"]["usage"] == "0"
    drives = service.drives().list().execute()["drives"]
    assert [each["id"] for each in drives] == [drive.shared_drive]


def test_an_expired_token_is_refreshed(drive: DriveEmulator, service: Any) -> None:
    """By the client itself, on the 401."""
    service.files().list().execute()
    drive.expire_access_tokens()
    assert service.files().list().execute()["files"] == []
    assert drive.requests["token"] == 2


def test_a_lost_final_answer(drive: DriveEmulator, service: Any, data: bytes) -> None:
    """The client sends the last piece again and gets the finished file; there is one."""
    drive.script([Rule("upload.finish", LoseAnswer(), times=1)])
    request = service.files().create(body={"name": "a.bin"}, media_body=_media(data, chunk=2 * U), fields="id")
    request._sleep = lambda _seconds: None
    answer = None
    while answer is None:
        _, answer = request.next_chunk(num_retries=2)
    assert [file.id for file in drive.files.values()] == [answer["id"]]
    assert len(drive.events.of(Kind.FILE_CREATED)) == 1
