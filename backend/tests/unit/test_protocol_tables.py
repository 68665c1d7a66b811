"""Each line of a protocol's table in the documentation names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent.parent / "docs" / "protocols.md"
LINES = [
    (number, [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1)
    if line.startswith("|")
]
NAMED = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[int, list[str]]]:
    """Lines of tables whose last column is `test`, with their numbers."""
    found, inside = [], False
    for (number, cells), (before, _) in zip(LINES, [(0, [""]), *LINES], strict=False):
        if number != before + 1:
            inside = cells[-1] == "test"
        elif inside and not set(cells[0]) <= {"-", " "}:
            found.append((number, cells))
    return found


def test_the_tables_are_found() -> None:
    """Else the test below would look at nothing."""
    assert len(rows()) > 50


@pytest.mark.parametrize(("number", "cells"), rows(), ids=lambda value: str(value) if isinstance(value, int) else "")
def test_a_requirement_names_its_tests(number: int, cells: list[str]) -> None:
    """None is empty, and each named test is a function in that file."""
    assert all(cells), f"docs/protocols.md:{number} has an empty cell"
    named = NAMED.findall(cells[-1])
    assert named, f"docs/protocols.md:{number} names no test"
    for file, name in named:
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), f"docs/protocols.md:{number}: {name}"
