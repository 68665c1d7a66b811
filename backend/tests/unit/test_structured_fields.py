"""Structured fields that are whole numbers and booleans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocols.structured import boolean, format_boolean, whole_number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("0", 0),
        ("999999999999999", 999_999_999_999_999),
        (" 12 ", 12),
        ("007", 7),
        ("5;unit=bytes", 5),
        ("1000000000000000", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1e3", None),
        ("0x10", None),
        ("1_0", None),
        ("1, 2", None),
        ("5, 5", None),
        ("?1", None),
        ('"5"', None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_a_whole_number(field: str | None, value: int | None) -> None:
    """What is no Integer (RFC 9651 section 3.3.1), or is negative, is no field."""
    assert whole_number(field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [("?1", True), ("?0", False), ("?1;q=a", True)]
    + [(field, None) for field in ("1", "true", "?2", "?", "?1?0", "?1, ?1", "", None)],
)
def test_a_boolean(field: str | None, value: bool | None) -> None:
    """`?1` and `?0` (RFC 9651 section 3.3.6), nothing else."""
    assert boolean(field) is value
    if value is not None:
        assert boolean(format_boolean(value)) is value


@given(st.text(max_size=400))
def test_any_field_is_read(field: str) -> None:
    """As one of them, or as nothing."""
    number = whole_number(field)
    assert number is None or 0 <= number < 10**15
    assert boolean(field) in {None, True, False}
