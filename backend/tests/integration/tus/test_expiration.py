"""tus, expiration: until when an unfinished upload is kept."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from app.testing.api_client import refusal
from app.testing.product import Product
from app.testing.tus_client import Tus


def test_it_is_told_until_when_an_upload_is_kept(tus: Tus) -> None:
    """With creation, each PATCH that leaves it unfinished, and HEAD; not when there is nothing to expire."""
    created = tus.create(3)
    path = urlsplit(created.headers["location"]).path
    replies = [created, tus.patch(path, 0, b"a"), tus.head(path)]
    assert all(parsedate_to_datetime(reply.headers["upload-expires"]).tzinfo is not None for reply in replies)
    assert "upload-expires" not in tus.patch(path, 1, b"bc").headers


def test_the_time_is_an_http_date(tus: Tus) -> None:
    """IMF-fixdate (RFC 9110 section 5.6.7)."""
    told = tus.create(3).headers["upload-expires"]
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", told)


def test_an_expired_upload_is_gone(tus: Tus, product: Product) -> None:
    """410, since we know that it was there; its bytes are not."""
    path = tus.begin(5)
    assert tus.patch(path, 0, b"he").status == 204
    uploads = product.server.context.uploads
    product.call(uploads.expire(uploads.under_way(path.rpartition("/")[2])))
    reply = tus.head(path)
    assert (reply.status, reply.headers["tus-resumable"]) == (410, "1.0.0")
    assert "upload-offset" not in reply.headers
    refusal(tus.patch(path, 2, b"llo"), 410, "upload-expired")
    refusal(tus.delete(path), 410, "upload-expired")
    product.wait_for(lambda: not any(product.spool.iterdir()))
