"""Peers from their ordinary registries, into a cache that outlives a run. What can't be had is `Absent`, with the reason.

Laws: each registry has a directory of its own, named after the versions in it; `complete` lies in one that is. Of what
is installed nothing is outside of the cache, but for what the registries' own clients keep.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.peers.versions import GO, NPM, PYTHON, RUST

__all__ = ["CACHE", "Absent", "node_modules", "python_scripts", "rustus_binary", "tusd_binary"]

CACHE = Path(__file__).resolve().parents[2] / "var" / "bench-peers"
_LONGEST_S = 1800.0  # a Rust build on one processor


class Absent(Exception):
    """A peer can't be had on this machine; says why."""


def python_scripts() -> Path:
    """Where the programs of the Python packages are, `python` among them."""

    def fill(directory: Path) -> None:
        _run([sys.executable, "-m", "venv", str(directory)])
        pins = [f"{name}=={version}" for name, version in PYTHON.items()]
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *pins])

    return _cached("python", PYTHON, fill) / "bin"


def node_modules() -> Path:
    """A directory in which a script finds the npm packages."""

    def fill(directory: Path) -> None:
        pins = [f"{name}@{version}" for name, version in NPM.items()]
        npm = [_needed("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory)]
        _run([*npm, *pins])

    return _cached("npm", NPM, fill)


def tusd_binary() -> Path:
    """Built by the Go command."""

    def fill(directory: Path) -> None:
        for module, version in GO.items():
            _run([_needed("go"), "install", f"{module}@{version}"], {"GOBIN": str(directory)})

    return _cached("go", GO, fill) / "tusd"


def rustus_binary() -> Path:
    """Built by cargo."""

    def fill(directory: Path) -> None:
        for crate, version in RUST.items():
            build = [_needed("cargo"), "install", "--quiet", "--locked", "--root", str(directory)]
            _run([*build, f"{crate}@{version}"])

    return _cached("cargo", RUST, fill) / "bin" / "rustus"


def _cached(kind: str, versions: Mapping[str, str], fill: Callable[[Path], None]) -> Path:
    """The directory with those versions, filled when it is not there."""
    named = hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:12]
    directory = CACHE / f"{kind}-{named}"
    complete = directory / "complete"
    if not complete.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        print(f"installing {', '.join(versions)} …", file=sys.stderr, flush=True)
        fill(directory)
        complete.touch()
    return directory


def _needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Absent(f"no {program} on this machine")
    return found


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise Absent(f"{Path(command[0]).name} took more than {_LONGEST_S:.0f} s") from exc
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise Absent(f"{Path(command[0]).name} failed: {said[-1].strip()[:200]}")
