"""Range in, Content-Disposition out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import RangeNotSatisfiable
from app.protocols.download import attachment, requested_range


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-200", (90, 100)),
        ("BYTES = 1-2", (1, 3)),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-" + "9" * 5000, (0, 100)),
        ("bytes=-" + "9" * 5000, (0, 100)),
        ("bytes=" + "0" * 5000 + "5-" + "0" * 30 + "6", (5, 7)),
        ("bytes=" + "9" * 30 + "-5", None),
        ("bytes=" + "9" * 30 + "-" + "9" * 29, None),
        ("bytes=\u0663-", None),
    ],
)
def test_one_range_is_honoured_and_what_we_do_not_take_is_ignored(
    field: str | None, expected: tuple[int, int] | None
) -> None:
    """RFC 9110 section 14.2."""
    assert requested_range(field, 100) == expected


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=0-", 0),
        ("bytes=-0", 100),
        ("bytes=99999999999999999999999-", 100),
        ("bytes=" + "9" * 5000 + "-", 100),
        ("bytes=" + "9" * 30 + "-" + "9" * 30, 100),
    ],
)
def test_a_range_outside_the_file_is_refused_with_its_size(field: str, size: int) -> None:
    """So that the client can ask again."""
    with pytest.raises(RangeNotSatisfiable) as caught:
        requested_range(field, size)
    assert caught.value.extensions == {"size": size}


@given(st.text(min_size=1, max_size=60, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_file_name_never_breaks_the_header(name: str) -> None:
    """No quote, control or non-ASCII character outside the encoded form."""
    field = attachment(name)
    assert field.isascii()
    assert field.isprintable()
    assert field.count('"') == 2
