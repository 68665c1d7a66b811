"""Accept-Encoding and If-None-Match in, decisions out."""

from __future__ import annotations

import pytest

from app.protocols.content_coding import best_coding, is_unchanged

BOTH = ("br", "gzip")


@pytest.mark.parametrize(
    ("field", "offered", "expected"),
    [
        (None, BOTH, None),
        ("", BOTH, None),
        ("gzip, deflate, br, zstd", BOTH, "br"),
        ("gzip, deflate", BOTH, "gzip"),
        ("GZIP", BOTH, "gzip"),
        ("gzip, br", ("gzip",), "gzip"),
        ("gzip, br", (), None),
        ("br;q=0, gzip", BOTH, "gzip"),
        ("br;q=0.5, gzip;q=0.8", BOTH, "gzip"),
        ("br ; q=0.8 , gzip; q=0.800", BOTH, "br"),
        ("*", BOTH, "br"),
        ("*;q=0", BOTH, None),
        ("br;q=0, *", BOTH, "gzip"),
        ("identity, gzip;q=0.5", BOTH, None),
        ("identity;q=0.5, gzip", BOTH, "gzip"),
        ("gzip;q=2, br;q=x", BOTH, None),
        (",,;,gzip", BOTH, "gzip"),
        ("zstd", BOTH, None),
    ],
)
def test_the_smallest_form_that_is_wanted_most(
    field: str | None, offered: tuple[str, ...], expected: str | None
) -> None:
    """RFC 9110, section 12.5.3."""
    assert best_coding(field, offered) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"c" , "a"', True),
        ("*", True),
        ('"b"', False),
        ('"aa"', False),
        ("a", False),
        ("", False),
    ],
)
def test_a_tag_among_those_sent_is_unchanged(field: str | None, *, expected: bool) -> None:
    """RFC 9110, section 13.1.2."""
    assert is_unchanged(field, '"a"') is expected
