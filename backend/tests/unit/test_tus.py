"""tus without a server: header fields in, values out."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import FileTooLarge, InvalidDigest, InvalidRequest, UnsupportedMediaType
from app.protocols import tus

BYTES = {"content-type": tus.MEDIA_TYPE}
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)


@given(st.dictionaries(KEYS, st.none() | st.binary(max_size=40), max_size=6), st.sampled_from(["", " ", "\t"]))
def test_metadata_comes_back(said: dict[str, bytes | None], space: str) -> None:
    """Keys with a value, an empty one, none; what is no UTF-8 is kept as it came and read as nothing."""
    pairs = [key if value is None else f"{key} {base64.b64encode(value).decode()}" for key, value in said.items()]
    text = f"{space},{space}".join(pairs)
    read = tus.parse_metadata(text)
    assert read.text == (text if said else "")
    for key, value in said.items():
        try:
            expected = (value or b"").decode()
        except UnicodeDecodeError:
            assert key not in read.values
        else:
            assert read.values[key] == expected


@given(st.text(max_size=60))
def test_any_metadata_is_read_or_refused(text: str) -> None:
    """Nothing else comes out of it."""
    with suppress(InvalidRequest):
        tus.parse_metadata(text)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "upload-length",
                "upload-offset",
                "upload-defer-length",
                "upload-concat",
                "upload-metadata",
                "upload-checksum",
                "content-type",
                "content-length",
            ]
        ),
        st.text(max_size=30)
        | st.integers().map(str)
        | st.sampled_from([tus.MEDIA_TYPE, "sha1 AAAA", "md5 ", "final;a"]),
    )
)
def test_any_fields_are_read_or_refused(fields: dict[str, str]) -> None:
    """With a sentence for the client, whatever they hold."""
    for parse in (tus.parse_append, lambda each: tus.parse_creation(each, max_size=1 << 40)):
        with suppress(InvalidRequest, FileTooLarge, UnsupportedMediaType):
            parse(fields)


def test_a_creation() -> None:
    """With bytes only where there is a body."""
    plain = tus.parse_creation({"upload-length": "7"}, max_size=7)
    assert (plain.length, plain.carries_bytes, plain.metadata) == (7, False, tus.Metadata())
    for body in ({"content-length": "1"}, {"transfer-encoding": "chunked"}):
        assert tus.parse_creation({"upload-length": "7", **BYTES, **body}, max_size=7).carries_bytes
        with pytest.raises(UnsupportedMediaType):
            tus.parse_creation({"upload-length": "7", **body}, max_size=7)
    assert not tus.parse_creation({"upload-length": "7", "content-length": "0"}, max_size=7).carries_bytes
    with pytest.raises(FileTooLarge):
        tus.parse_creation({"upload-length": "8"}, max_size=7)


def test_a_final_upload_names_its_parts() -> None:
    """By addresses of any kind, in order, each as often as it is there; of these the ids count."""
    field = "final;/api/v1/tus/a https://x.example/api/v1/tus/b  c /api/v1/tus/a"
    creation = tus.parse_creation({"upload-concat": field}, max_size=7)
    assert (creation.concat, creation.parts, creation.length) == (field, ("a", "b", "c", "a"), None)
    partial = tus.parse_creation({"upload-concat": "partial", "upload-length": "7"}, max_size=7)
    assert (partial.concat, partial.parts, partial.length) == ("partial", (), 7)


@given(st.sampled_from(list(tus.Algorithm)), st.binary(max_size=70))
def test_a_checksum_has_the_length_of_its_algorithm(algorithm: tus.Algorithm, value: bytes) -> None:
    """Anything else can't be one."""
    lengths = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32c": 4}
    fields = {**BYTES, "upload-offset": "0", "upload-checksum": f"{algorithm} {base64.b64encode(value).decode()}"}
    if len(value) == lengths[algorithm]:
        assert tus.parse_append(fields).checksum == tus.Checksum(algorithm, value)
    else:
        with pytest.raises(InvalidDigest):
            tus.parse_append(fields)
