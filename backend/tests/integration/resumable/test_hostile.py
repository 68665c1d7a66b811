"""Resumable uploads: fields of any kind in any combination, and requests that are no requests."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.product import Product

from .conftest import ROOT, Resumable

WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
NUMBERS = st.integers(-(2**70), 2**70).map(str)
VALUES = {
    "Upload-Draft-Interop-Version": st.sampled_from(["5", "6", "8", "7"]),
    "Upload-Complete": st.sampled_from(["?0", "?1", "?1;a=b", "?2"]),
    "Upload-Offset": st.sampled_from(["0", "3", "-3", "9" * 15, "9" * 30]),
    "Upload-Length": st.sampled_from(["0", "3", "10", "-3", "9" * 15, "9" * 30]),
    "Content-Type": st.sampled_from(["application/partial-upload", "text/plain", "a/b; c"]),
    "Content-Disposition": st.sampled_from(['inline; filename="a"', "inline; filename*=UTF-8''%00", "x; filename=.."]),
    "Content-Digest": st.sampled_from(["sha-256=:AAAA:", "crc32c=:AAAAAA==:", "md5=:AAAA:"]),
    "Repr-Digest": st.sampled_from(["sha-256=:AAAA:", "crc32c=:AAAAAA==:", "md5=:AAAA:"]),
    "Content-Encoding": st.sampled_from(["identity", "gzip"]),
}
FIELDS = st.fixed_dictionaries({}, optional={name: known | WORDS | NUMBERS for name, known in VALUES.items()})


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["POST", "PATCH", "HEAD", "GET", "DELETE", "OPTIONS", "PUT"]),
    known=st.booleans(),
    body=st.none() | st.binary(max_size=12),
    fields=FIELDS,
)
def test_any_request_is_answered(
    resumable: Resumable, product: Product, method: str, known: bool, body: bytes | None, fields: dict[str, str]
) -> None:
    """With success or a refusal that says why; what was there before is never told differently for that."""
    client = resumable.speaking(None)
    path = f"{ROOT}/{client.begin(10).rpartition('/')[2]}"
    target = path if known else ROOT
    try:
        reply = client.request(method, target, body, {name: value.strip() for name, value in fields.items()})
        assert reply.status < 500, reply
        if reply.status >= 400 and method != "HEAD":
            assert reply.headers["content-type"] == "application/problem+json"
            assert json.loads(reply.body)["detail"]
        assert all(answer.status == 104 for answer in client.interim)
        head = client.head(path)
        if head.status == 204:
            assert 0 <= int(head.headers["upload-offset"]) <= 10
        else:
            assert head.status == 404
    finally:
        client.delete(path)


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Complete", "Upload-Length", "Upload-Draft-Interop-Version"])
def test_a_field_that_is_there_twice_is_ignored(resumable: Resumable, name: str) -> None:
    """Two lines are a list, and a list is no item (RFC 9651 section 4.2)."""
    path = resumable.begin(10)
    lines = {
        "Upload-Offset": "0",
        "Upload-Complete": "?0",
        "Upload-Length": "11",
        "Upload-Draft-Interop-Version": "8",
        "Content-Type": "application/partial-upload",
        "Content-Length": "3",
    }
    with resumable.raw() as raw:
        head = "".join(f"{field}: {value}\r\n" for field, value in lines.items())
        raw.send(f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}{name}: {lines[name]}\r\n\r\nabc".encode())
        answer = raw.answer()
    # The length differs from what was said before; ignored, nothing is wrong with it.
    expected = {"Upload-Length": 204}.get(name, 400)
    assert answer.status == expected
