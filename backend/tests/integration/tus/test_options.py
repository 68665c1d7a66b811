"""tus, OPTIONS: what the server can do."""

from __future__ import annotations

import pytest

from app.protocols import tus as tus_protocol
from app.testing.tus_client import ROOT, Tus


def test_options_tell_what_can_be_done(tus: Tus) -> None:
    """Without a version, at both kinds of address."""
    for path in (ROOT, f"{ROOT}/", f"{ROOT}/abc"):
        reply = tus.api.request("OPTIONS", path)
        assert reply.status == 204
        assert reply.headers["tus-version"] == "1.0.0"
        assert reply.headers["tus-extension"].split(",") == list(tus_protocol.EXTENSIONS)
        assert reply.headers["tus-checksum-algorithm"] == "sha1,sha256,sha512,md5,crc32c"
        assert int(reply.headers["tus-max-size"]) > 1 << 40
        assert "tus-resumable" not in reply.headers


@pytest.mark.parametrize(
    "extension",
    [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
        "concatenation-unfinished",
    ],
)
def test_an_extension_is_announced(tus: Tus, extension: str) -> None:
    """Each that the other files of this directory show."""
    assert extension in tus.api.request("OPTIONS", ROOT).headers["tus-extension"].split(",")


def test_the_version_of_the_request_does_not_matter(tus: Tus) -> None:
    """It is asked in order to know which one to speak."""
    for version in ("1.0.0", "9.9.9", "nonsense"):
        assert tus.api.request("OPTIONS", ROOT, headers={"Tus-Resumable": version}).status == 204
