"""tuspy with checksums, and aiotus."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import MIB, Place


def run(client: str, place: Place, *files: Path) -> None:
    """Upload with it; fails with what it says."""
    program = Path(__file__).with_name("python_clients.py")
    command = [sys.executable, str(program), client, place.tus, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("client", ["tuspy", "tuspy-resumed", "aiotus"])
def test_a_file_arrives(place: Place, make_file: Callable[[str, int], Path], client: str) -> None:
    """Whole, once, under its name."""
    file = make_file(f"{client}.bin", 5 * MIB + 1)
    run(client, place, file)
    assert place.arrived(file.name)[1] == file.read_bytes()


def test_aiotus_puts_parts_together(place: Place, make_file: Callable[[str, int], Path]) -> None:
    """Concatenation, in the order that the client says."""
    files = [make_file(f"part-{number}.bin", MIB + number) for number in range(3)]
    run("aiotus", place, *files)
    assert place.arrived("part-0.bin")[1] == b"".join(file.read_bytes() for file in files)
