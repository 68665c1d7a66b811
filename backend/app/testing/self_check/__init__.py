"""The guide's self-check: is this installation able to do what the guide says?"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from app.testing.self_check.checks import PHASES, CheckFailed, Phase
from app.testing.self_check.rig import Rig

__all__ = ["PHASES", "CheckFailed", "Phase", "Rig", "run"]

SUCCESS = ("🎯 All tests completed successfully!", "✅ Parallel upload system is ready for use")


def run(backend: str | Path, *, make_rig: Callable[[Path, Path], Rig] = Rig, phases: Iterable[Phase] = PHASES) -> int:
    """Run the phases' checks, print a line for each, and return the exit status.

    Args:
        backend: the folder with `app/`, the template and perhaps an `.env`.
        make_rig: makes what the checks work with, from a temporary directory and `backend`.
        phases: what is checked.
    """
    failed = 0
    with tempfile.TemporaryDirectory(prefix="forebay-self-check-") as directory:
        rig = make_rig(Path(directory), Path(backend))
        for phase in phases:
            sys.stdout.write(f"\n{phase.name}\n")
            failed += _run_phase(phase, rig)
    if failed:
        sys.stdout.write(f"\n❌ {failed} of the tests failed\n")
        return 1
    sys.stdout.write("\n" + "\n".join(SUCCESS) + "\n")
    return 0


def _run_phase(phase: Phase, rig: Rig) -> int:
    try:
        if phase.settings is not None:
            rig.start(phase.settings)
    except (RuntimeError, OSError) as exc:
        sys.stdout.write(f"  ❌ the server starts: {exc}\n")
        return 1
    failed = 0
    try:
        for check in phase.checks:
            started = time.monotonic()
            try:
                detail = check(rig)
            except CheckFailed as exc:
                failed += 1
                sys.stdout.write(f"  ❌ {_title(check)}: {exc}\n")
            except Exception as exc:  # noqa: BLE001 - whatever goes wrong is a check that failed, and the next one runs
                failed += 1
                sys.stdout.write(f"  ❌ {_title(check)}: {type(exc).__name__}: {exc}\n")
            else:
                sys.stdout.write(f"  ✔ {_title(check)}: {detail} ({time.monotonic() - started:.1f} s)\n")
            sys.stdout.flush()
    finally:
        rig.stop()
    return failed


def _title(check: Callable[[Rig], str]) -> str:
    return check.__name__.replace("_", " ")
