"""The server's words, read."""

from __future__ import annotations

import pytest

from forebay import SystemStatus, UploadInfo, UploadProgress
from forebay.errors import UnexpectedAnswer
from forebay.models import parse_crc32c, parse_sha256

CREATED = {"id": "u", "state": "created", "mode": "parallel", "size": 10, "chunk_size": 4, "chunk_count": 3}
EMPTY_SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EMPTY_SHA_FIELD = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


def test_a_creation_means_that_everything_is_missing() -> None:
    """The short answer lists nothing."""
    info = UploadInfo.from_json({**CREATED, "max_concurrent_chunks": 8})
    assert info.missing == ((0, 10),)
    assert UploadInfo.from_json({**CREATED, "size": 0, "max_concurrent_chunks": 8}).missing == ()


def test_another_clients_file_may_have_no_size_yet() -> None:
    """Then nobody knows what is missing of it."""
    info = UploadInfo.from_json(
        {**CREATED, "size": None, "chunk_count": None, "missing": [], "max_concurrent_chunks": 8}
    )
    assert (info.size, info.chunk_count, info.missing) == (None, None, ())


def test_the_result_carries_both_digests() -> None:
    """From one field of RFC 9530."""
    result = {
        "destination": "default",
        "id": "x",
        "name": "n",
        "size": 0,
        "digest": f"{EMPTY_SHA_FIELD}, crc32c=:AAAAAA==:",
    }
    info = UploadInfo.from_json({**CREATED, "max_concurrent_chunks": 1, "missing": [], "result": result})
    assert (info.result.sha256, info.result.crc32c) == (EMPTY_SHA, 0)


@pytest.mark.parametrize(
    "broken", [{}, {"size": "x"}, {"missing": [{}]}, {"missing": 3}, {"result": {"id": 1}}, {"error": "no"}]
)
def test_what_cannot_be_read_is_an_unexpected_answer(broken: dict) -> None:
    """Never a KeyError."""
    with pytest.raises(UnexpectedAnswer):
        UploadInfo.from_json({**CREATED, **({"max_concurrent_chunks": 1} if broken else {}), **broken})
    with pytest.raises(UnexpectedAnswer):
        UploadProgress.from_json(broken)
    with pytest.raises(UnexpectedAnswer):
        SystemStatus.from_json(broken)


@pytest.mark.parametrize(
    "value", [0xE3069283, "e3069283", "4waSgw==", ":4waSgw==:", "sha-256=:AA==:, crc32c=:4waSgw==:"]
)
def test_a_crc_is_read_in_every_form(value: object) -> None:
    """Number, hex, base64, digest field."""
    assert parse_crc32c(value) == 0xE3069283


@pytest.mark.parametrize("value", [None, True, -1, 1 << 32, "", "xyz", "crc32c=:AA==:", 1.5])
def test_what_is_no_crc_is_none(value: object) -> None:
    """Wrong length, wrong kind."""
    assert parse_crc32c(value) is None


@pytest.mark.parametrize("value", [None, "", "sha-256=:AA==:", "sha-256=:!!:", "md5=:AA==:"])
def test_what_is_no_sha256_is_none(value: object) -> None:
    """Likewise."""
    assert parse_sha256(value) is None
