"""Bars for who received how fast, as SVG written by hand: a median, and a line from the slowest round to the fastest."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape

from bench.report import Figure

__all__ = ["bars"]

_ROW, _NAMES, _WIDTH, _TOP = 22, 330, 420, 34
_OURS, _THEIRS = "#1f6feb", "#9aa4af"


def bars(title: str, figures: Sequence[Figure], unit: str) -> str:
    """One bar for each figure that has rounds in that unit; its name is what stands after the colon."""
    shown = [figure for figure in figures if figure.values.get(unit)]
    most = max(max(figure.values[unit]) for figure in shown)
    height = _TOP + _ROW * len(shown) + 8
    size = f'width="{_NAMES + _WIDTH + 90}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, figure in enumerate(shown):
        rounds = figure.values[unit]
        name = figure.what.partition(": ")[2]
        y = _TOP + number * _ROW
        median, low, high = (_WIDTH * each / most for each in (statistics.median(rounds), min(rounds), max(rounds)))
        colour = _OURS if name.startswith("Forebay") else _THEIRS
        lines += [
            f'<text x="{_NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_NAMES}" y="{y + 3}" width="{median:.1f}" height="{_ROW - 7}" fill="{colour}"/>',
            f'<path d="M{_NAMES + low:.1f} {y + 10}H{_NAMES + high:.1f}" stroke="black"/>',
            f'<text x="{_NAMES + _WIDTH + 8}" y="{y + 14}">{statistics.median(rounds):.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])
