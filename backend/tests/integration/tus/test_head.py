"""tus, HEAD: where an upload stands."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import ApiClient, refusal
from app.testing.tus_client import ROOT, Tus, metadata

Waits = Callable[[str], None]


@pytest.mark.parametrize("came", [0, 3, 5])
def test_the_offset_is_always_told(tus: Tus, completed: Waits, came: int) -> None:
    """Also when it is 0, and when the file is where it belongs; nobody may keep the answer."""
    path = tus.begin(5)
    if came:
        assert tus.patch(path, 0, b"hello"[:came]).status == 204
    if came == 5:
        completed(path)
    reply = tus.head(path)
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert (reply.headers["upload-offset"], reply.headers["upload-length"]) == (str(came), "5")
    assert "upload-defer-length" not in reply.headers


def test_metadata_comes_back_as_it_was_sent(tus: Tus) -> None:
    """With an upload that has some."""
    field = f"{metadata(filename='größe 文.bin')},flag , other {'eHl6'}"
    path = urlsplit(tus.create(5, Upload_Metadata=field).headers["location"]).path
    assert tus.head(path).headers["upload-metadata"] == field
    assert "upload-metadata" not in tus.head(urlsplit(tus.create(5).headers["location"]).path).headers


def test_what_is_not_there_is_not_found(tus: Tus, api: ApiClient) -> None:
    """An id of nobody's, and an upload that was not begun with tus."""
    other = api.create("native.bin", 3)["id"]
    for upload_id in ("0" * 32, "nonsense", other):
        assert tus.head(f"{ROOT}/{upload_id}").status == 404
        refusal(tus.patch(f"{ROOT}/{upload_id}", 0, b"x"), 404, "not-found")
        refusal(tus.delete(f"{ROOT}/{upload_id}"), 404, "not-found")
    assert "upload-offset" not in tus.head(f"{ROOT}/{other}").headers
