"""Resumable uploads: DELETE."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.testing.api_client import refusal
from app.testing.product import Product

from .conftest import PARTIAL, Resumable


def test_a_cancelled_upload_is_gone(resumable: Resumable, product: Product) -> None:
    """And nothing of it is kept."""
    path = resumable.begin(10)
    resumable.append(path, 0, b"abc")
    assert resumable.delete(path).status == 204
    assert resumable.head(path).status == 404
    refusal(resumable.append(path, 3, b"d"), 404)
    refusal(resumable.delete(path), 404)
    assert product.server.context.uploads.live == []


def test_a_request_under_way_is_ended_first(
    resumable: Resumable, product: Product, some_came: Callable[[str], None]
) -> None:
    """When the answer comes, nothing is received any more."""
    path = resumable.begin(1000)
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": "1000"}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(b"some")
        some_came(path)
        assert resumable.delete(path).status == 204
        assert product.server.context.throughput.in_flight == 0
        assert raw.answer().status == 409


def test_a_stored_file_stays(resumable: Resumable, product: Product) -> None:
    """Its upload is deactivated: not found any more under this address."""
    path = resumable.begin()
    resumable.append(path, 0, b"abc", "?1")
    assert resumable.delete(path).status == 204
    assert resumable.head(path).status == 404
    assert (product.files / "report.bin").read_bytes() == b"abc"
    assert resumable.api.upload(path.rpartition("/")[2])["state"] == "completed"


@pytest.mark.parametrize("field", ["Upload-Offset", "Upload-Complete"])
def test_fields_that_have_no_place_in_it(resumable: Resumable, field: str) -> None:
    """Refused as drafts -03 and -05 want it; ignored since."""
    path = resumable.begin(3)
    for version, status in ((5, 400), (6, 400), (8, 204)):
        assert resumable.speaking(version).request("DELETE", path, fields={field: "0"}).status == status
