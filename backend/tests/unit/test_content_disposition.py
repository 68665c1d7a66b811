"""File names as senders say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocols.content_disposition import filename_of
from app.protocols.download import attachment


def as_asgi(text: str) -> str:
    """One character for each octet."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ('inline; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=plain.txt", "plain.txt"),
        (r'form-data; name="f"; filename="a\"b.txt"', 'a"b.txt'),
        ("inline; filename=\"e.txt\"; filename*=UTF-8''%e2%82%ac%20rates", "€ rates"),
        ("inline; filename*=utf-8'en'%C3%9Fharp; filename=x", "ßharp"),
        ("inline; filename*=iso-8859-1''%A3", "£"),
        ("inline; filename*=UTF-8''%ff; filename=fallback", "fallback"),
        ("inline; filename*=utf-16''%41; filename=fallback", "fallback"),
        (as_asgi('inline; filename="größe.bin"'), "größe.bin"),
        ('inline; filename="gr\xf6\xdfe.bin"', "größe.bin"),
        ('inline ; FileName = "x;y=z.txt" ; size=3', "x;y=z.txt"),
        ('inline; filename=""', ""),
        ('inline; filename="never closed', None),
        ("inline", None),
        ("inline; size=3", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_of(field: str | None, name: str | None) -> None:
    """RFC 6266, and what clients make of it."""
    assert filename_of(field) == name


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_names_that_we_say_are_read(name: str) -> None:
    """What this server says of a download is what it reads."""
    assert filename_of(attachment(name)) == name


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_field_is_read(field: str) -> None:
    """Whatever octets it has."""
    filename_of(field)


@pytest.mark.parametrize("field", [";" * 30_000, 'x; a="' + "\\" * 30_000, "x; a=" + " " * 30_000, '; f="";' * 5_000])
def test_a_long_field_takes_no_time(field: str) -> None:
    """The pattern does not backtrack; a test that hangs is the alternative."""
    assert filename_of(field) in {None, ""}
