"""Sizes as people read them."""

from __future__ import annotations

from typing import Final

__all__ = ["in_units"]

_STEP: Final = 1000
_UNITS: Final = ("kB", "MB", "GB", "TB", "PB")


def in_units(count: int) -> str:
    """Bytes in decimal units with up to three digits: `999 bytes`, `16.7 MB`, `5.49 TB`.

    Rounded down: a file of the size that is said to be the limit is within it.
    """
    if count < _STEP:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(_UNITS))
    whole, rest = divmod(count, _STEP**power)
    decimals = max(0, 3 - len(str(whole)))
    fraction = f"{rest:0{3 * power}d}"[:decimals].rstrip("0")
    return f"{whole}{'.' if fraction else ''}{fraction} {_UNITS[power - 1]}"
