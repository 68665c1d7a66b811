"""Many users at once into Google Drive, scaled down from the bench: every file once, whole, whatever Drive does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[3]
_CALL = """
import dataclasses, json, sys
from pathlib import Path
from bench.crowd import FAULTS, many_users
wanted = json.loads(sys.argv[1])
wanted["faults"] = FAULTS if wanted.pop("faulty") else ()
print(json.dumps(dataclasses.asdict(many_users(Path(sys.argv[2]), **wanted))))
"""


def _many_users(directory: Path, **wanted: Any) -> dict[str, Any]:
    """`bench.crowd.many_users`, in a process of its own: the bench is no package of the server's."""
    command = [sys.executable, "-c", _CALL, json.dumps(wanted), str(directory)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("staging", ["spool", "memory"])
def test_nobody_fails_and_memory_stays_in_bounds(tmp_path: Path, staging: str) -> None:
    """Eight users at once, more bytes than there is memory for them."""
    settings = {"PARALLEL_UPLOAD_STAGING": staging}
    if staging == "memory":
        settings["PARALLEL_UPLOAD_MEMORY_STAGING_MB"] = "160"
    seen = _many_users(tmp_path, faulty=False, users=8, size=40_000_000, settings=settings)
    assert (seen["files"], seen["failed"], seen["lost"], seen["doubled"]) == (8, 0, 0, 0)
    assert (seen["retries"], seen["faults"], seen["violations"]) == (0, 0, 0)
    assert seen["peak_rss_mib"] <= (200 if staging == "spool" else seen["pool_mib"] + 120)


@pytest.mark.slow
@pytest.mark.parametrize("staging", ["spool", "memory"])
def test_a_drive_that_often_fails_costs_no_file_and_doubles_none(tmp_path: Path, staging: str) -> None:
    """One answer in twenty is a fault: refused, lost, half kept, cut, expired."""
    settings = {"PARALLEL_UPLOAD_STAGING": staging}
    seen = _many_users(tmp_path, faulty=True, users=5, files=8, size=9_000_000, settings=settings)
    assert (seen["files"], seen["failed"], seen["lost"], seen["doubled"]) == (40, 0, 0, 0)
    assert seen["faults"] > 0
