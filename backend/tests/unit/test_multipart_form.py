"""multipart/form-data without a server: bytes in, parts out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest, UnsupportedMediaType
from app.protocols.multipart_form import Ended, FormParser, Part

BOUNDARY = "--x123"
CONTENT_TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'
LIKE_A_BOUNDARY = [b"\r\n", b"\r\n--", b"\r\n--" + BOUNDARY[:-1].encode(), BOUNDARY.encode(), b"\r" * 20]
Read = list[tuple[Part, bytes]]


def read(pieces: list[bytes]) -> Read:
    """The parts of a form that comes in these pieces, each with its content."""
    parser = FormParser(CONTENT_TYPE)
    found: Read = []
    content: bytearray | None = None
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, Part):
                assert content is None
                part, content = event, bytearray()
            elif isinstance(event, Ended):
                assert content is not None
                found.append((part, bytes(content)))
                content = None
            else:
                assert content is not None
                content += event
    parser.end()
    return found


def form(contents: list[bytes]) -> bytes:
    """One file each."""
    head = 'Content-Disposition: form-data; name="f"; filename="größe.bin"\r\nContent-Type: a/b\r\n\r\n'
    parts = [f"--{BOUNDARY}\r\n{head}".encode() + content + b"\r\n" for content in contents]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@given(st.lists(st.binary(max_size=60) | st.sampled_from(LIKE_A_BOUNDARY), max_size=4), st.lists(st.integers(1, 90)))
def test_any_content_cut_anywhere(contents: list[bytes], cuts: list[int]) -> None:
    """What goes in comes out, whole and in order."""
    body = form(contents)
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(body[start : start + cut])
        start += cut
    pieces.append(body[start:])
    expected = [(Part("f", "größe.bin", "a/b"), content) for content in contents]
    assert read([piece for piece in pieces if piece]) == expected
    assert read([body[at : at + 1] for at in range(len(body))]) == expected


@given(st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from([b"--" + BOUNDARY.encode(), b"\r\n", b"--"])))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    """With a sentence for the client."""
    with suppress(InvalidRequest):
        read(pieces)


@given(st.integers(0, 200))
def test_a_form_that_breaks_off_is_refused(left: int) -> None:
    """Wherever it does."""
    body = form([b"content", b"more"]).removesuffix(b"\r\n")
    with pytest.raises(InvalidRequest):
        read([body[: min(left, len(body) - 1)] or b"-"])


@given(st.text(max_size=80))
def test_any_content_type_is_read_or_refused(field: str) -> None:
    """Before anything of the form."""
    for text in (field, f"multipart/form-data; boundary={field}", f'multipart/form-data; boundary="{field}"'):
        with suppress(InvalidRequest, UnsupportedMediaType):
            FormParser(text)


@pytest.mark.parametrize(
    "field", ['multipart/form-data; boundary="' + "\\" * 30_000, "multipart/form-data" + "; a=" * 8000]
)
def test_a_long_content_type_takes_no_time(field: str) -> None:
    """A test that hangs is the alternative."""
    with pytest.raises(InvalidRequest):
        FormParser(field)


def test_an_endless_preamble_is_refused() -> None:
    """And so is what comes behind the last part."""
    for pieces in ([b"x" * 60_000] * 3, [form([b"1"]), *[b"x" * 60_000] * 3]):
        with pytest.raises(InvalidRequest):
            read(pieces)
