"""The chunked decoder against a plain encoder, in any fragmentation."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.ingress.chunked import ChunkedDecoder

pieces = st.lists(st.binary(min_size=1, max_size=50), max_size=8)
extensions = st.sampled_from([b"", b";a", b';n="v"', b" ; x=y"])


@given(pieces=pieces, extension=extensions, trailers=st.integers(0, 3), after=st.binary(max_size=20), data=st.data())
def test_any_fragmentation_gives_the_content_and_leaves_what_follows(
    pieces: list[bytes], extension: bytes, trailers: int, after: bytes, data: st.DataObject
) -> None:
    """Whole, byte by byte, or cut anywhere: the same content, and not a byte beyond the end is taken."""
    encoded = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    encoded += b"0\r\n" + b"T: v\r\n" * trailers + b"\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(encoded)), max_size=len(encoded) + 1)))
    edges = [0, *cuts, len(encoded)]
    decoder = ChunkedDecoder(max_trailer_bytes=1000, max_trailer_fields=10)
    buffer, content = bytearray(), b""
    for start, end in pairwise(edges):
        assert not decoder.done or start == len(encoded)
        buffer += encoded[start:end]
        if end == len(encoded):
            buffer += after
        content += decoder.decode(buffer)
    assert decoder.done
    assert content == b"".join(pieces)
    assert bytes(buffer).startswith(after)


names = st.sampled_from([b"Upload-Checksum", b"upload-checksum", b"X-Other", b"Content-Length", b"Host"])


@given(fields=st.lists(st.tuples(names, st.binary(max_size=8).map(bytes.hex)), max_size=6), data=st.data())
def test_of_the_trailer_what_is_wanted_is_kept(fields: list[tuple[bytes, str]], data: st.DataObject) -> None:
    """All that have such a name, in order, when the body has ended and not before."""
    encoded = b"1\r\nx\r\n0\r\n" + b"".join(b"%b: %b\r\n" % (name, text.encode()) for name, text in fields) + b"\r\n"
    cut = data.draw(st.integers(0, len(encoded) - 1))
    decoder = ChunkedDecoder(max_trailer_bytes=1000, max_trailer_fields=10, wanted=frozenset({b"upload-checksum"}))
    buffer = bytearray(encoded[:cut])
    decoder.decode(buffer)
    assert decoder.trailer == []
    buffer += encoded[cut:]
    while not decoder.done:
        decoder.decode(buffer)
    wanted = [(name.lower(), text.encode()) for name, text in fields if name.lower() == b"upload-checksum"]
    assert decoder.trailer == wanted
