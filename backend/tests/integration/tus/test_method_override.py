"""tus, X-HTTP-Method-Override: for clients that can't send every method."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.testing.api_client import ApiClient
from app.testing.tus_client import BYTES, VERSION, Tus

OVERRIDE = "X-HTTP-Method-Override"
Stored = Callable[[str], bytes]


@pytest.mark.parametrize("sent", ["POST", "GET", "PUT"])
def test_the_header_is_the_method(tus: Tus, stored: Stored, sent: str) -> None:
    """Whatever the request's own is."""
    path = tus.begin(5)
    assert tus.api.request(sent, path, None, {**VERSION, OVERRIDE: "head"}).headers["upload-offset"] == "0"
    added = tus.api.request(sent, path, b"hello", {**BYTES, "Upload-Offset": "0", OVERRIDE: "PATCH"})
    assert (added.status, added.headers["upload-offset"]) == (204, "5")
    assert stored("report.bin") == b"hello"
    assert tus.api.request(sent, path, b"", {**VERSION, OVERRIDE: "DELETE"}).status == 204
    assert tus.head(path).status == 404


def test_the_actual_method_is_ignored(tus: Tus) -> None:
    """A DELETE that is said to be a HEAD ends nothing."""
    path = tus.begin(5)
    reply = tus.api.request("DELETE", path, None, {**VERSION, OVERRIDE: "HEAD"})
    assert (reply.status, reply.headers["upload-offset"]) == (200, "0")
    assert tus.position(path) == 0


def test_only_methods_that_are_there(tus: Tus) -> None:
    """Anything else is refused as it would be without the field; so is a POST at an upload's address."""
    path = tus.begin(5)
    for headers in ({OVERRIDE: "SMUGGLE"}, {OVERRIDE: ""}, {}):
        assert tus.api.request("POST", path, b"", {**VERSION, **headers}).status == 405
    assert tus.position(path) == 0


def test_elsewhere_it_says_nothing(api: ApiClient) -> None:
    """It is a field of tus."""
    upload_id = api.create("native.bin", 3)["id"]
    assert api.request("GET", f"/api/v1/uploads/{upload_id}", headers={OVERRIDE: "DELETE"}).status == 200
    assert api.upload(upload_id)["state"] == "created"
