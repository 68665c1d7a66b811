"""Resumable uploads: OPTIONS, and pages of other origins."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.testing.api_client import ApiClient
from app.testing.product import Product

from .conftest import ROOT, Resumable

MIB = 1 << 20
PAGE = "https://page.example"


@pytest.mark.parametrize(("version", "lifetime"), [(None, "max-age"), (6, "expires"), (8, "max-age")])
def test_what_may_be_uploaded(start_product: Callable[..., Product], version: int | None, lifetime: str) -> None:
    """Limits, and that PATCH takes what is appended (MUST of draft -11)."""
    product = start_product(max_file_mb=3)
    with product.client() as api:
        client = Resumable(api, version)
        for path in (ROOT, client.begin()):
            reply = client.request("OPTIONS", path)
            assert (reply.status, reply.headers["accept-patch"]) == (204, "application/partial-upload")
            limits = dict(member.split("=") for member in reply.headers["upload-limit"].split(", "))
            assert limits.keys() == {"max-size", lifetime}
            assert int(limits["max-size"]) == 3 * MIB


def test_the_limits_hold(resumable: Resumable) -> None:
    """What an upload is told is no less than what was announced, and its lifetime begins with it."""
    announced = resumable.request("OPTIONS", ROOT).headers["upload-limit"]
    size, age = (member.split("=")[1] for member in announced.split(", "))
    told = resumable.head(resumable.begin()).headers["upload-limit"]
    assert told.startswith(f"max-size={size}, max-age=")
    assert int(age) - 60 < int(told.rpartition("=")[2]) <= int(age)


def test_pages_of_an_allowed_origin(start_product: Callable[..., Product]) -> None:
    """May send the protocol's fields, and read them."""
    product = start_product(cors_origins=PAGE)
    with product.client() as api:
        asked = "upload-draft-interop-version,upload-complete,upload-length,upload-offset,content-disposition"
        preflight = api.request(
            "OPTIONS",
            ROOT,
            headers={
                "Origin": PAGE,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (200, PAGE)
        reply = api.request("POST", ROOT, b"", {"Origin": PAGE, "Upload-Complete": "?0"})
        exposed = reply.headers["access-control-expose-headers"].lower()
        for name in ("location", "upload-offset", "upload-complete", "upload-length", "upload-limit"):
            assert name in exposed


def test_pages_of_other_origins(api: ApiClient) -> None:
    """May not."""
    reply = api.request("POST", ROOT, b"", {"Origin": PAGE, "Upload-Complete": "?0"})
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers
