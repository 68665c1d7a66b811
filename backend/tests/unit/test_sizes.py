"""Sizes as people read them."""

from __future__ import annotations

import pytest

from app.core.sizes import in_units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1_048_576, "1.04 MB"),
        (16_777_216, "16.7 MB"),
        (999_999_999, "999 MB"),
        (10**9, "1 GB"),
        (5 * 1024**4, "5.49 TB"),
        (1_050_000, "1.05 MB"),
        (1_005_000, "1 MB"),
        (123 * 10**18, "123000 PB"),
    ],
)
def test_three_digits_rounded_down(count: int, text: str) -> None:
    """What is said is never more than it is."""
    assert in_units(count) == text
