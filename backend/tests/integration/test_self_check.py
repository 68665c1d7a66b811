"""The guide's self-check sees what is broken: every check, with the thing it looks at broken once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.testing.self_check import PHASES, Phase, Rig, run
from app.testing.self_check.rig import Answer
from app.testing.server_process import ServerProcess

BACKEND = Path(__file__).resolve().parents[2]


class WithoutAService(Rig):
    """A file of the guide's is missing."""

    @property
    def services(self) -> Path:
        """Somewhere else."""
        return self.directory


class WithABadTemplate(Rig):
    """The template has a value out of range."""

    @property
    def template(self) -> Path:
        """A copy, spoilt."""
        path = self.directory / "template"
        path.write_text(super().template.read_text(encoding="utf-8") + "\nPARALLEL_UPLOAD_CHUNK_SIZE_MB=0\n", "utf-8")
        return path


class WithABadEnv(Rig):
    """The operator wrote a value that is no number."""

    @property
    def env_file(self) -> Path:
        """Beside the server."""
        path = self.directory / ".env"
        path.write_text("PARALLEL_UPLOAD_MAX_MEMORY_PERCENT=much\n", "utf-8")
        return path


class WithoutStatus(Rig):
    """A part of the status is gone."""

    def status(self) -> dict[str, Any]:
        """Less the pool."""
        return {name: value for name, value in super().status().items() if name != "buffer_pool"}


class WithAWrongByte(Rig):
    """A byte of what is stored differs."""

    def stored_sha256(self, name: str) -> str:
        """After the damage."""
        with (self.server.files / name).open("r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))
        return super().stored_sha256(name)


class ThatAcceptsAnything(Rig):
    """Whatever is sent is fine."""

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Yes."""
        answer = super().call(method, path, body, headers)
        return replace(answer, status=204) if method == "PUT" else answer


class ThatCallsReceivedDone(Rig):
    """Progress of what was received."""

    def progress(self, upload_id: str) -> dict[str, Any]:
        """100 percent when it is not stored yet."""
        seen = super().progress(upload_id)
        return seen | {"progress_percent": 100.0 * seen["bytes_received"] / seen["total_bytes"]}


class ThatForgets(Rig):
    """The database does not survive the crash."""

    def crash(self) -> None:
        """With the data gone."""
        self.server.kill()
        shutil.rmtree(self.server.directory / "var")
        self.server.start()


class ThatGrows(Rig):
    """Memory without bound."""

    def rss_bytes(self) -> int:
        """A gigabyte."""
        return 1 << 30


class ThatLeaks(Rig):
    """A buffer is never given back."""

    def status(self) -> dict[str, Any]:
        """One is out."""
        seen = super().status()
        return seen | {"buffer_pool": seen["buffer_pool"] | {"slabs_leased": 1}}

    def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> bool:
        """It would be waited for in vain."""
        return super().until(condition, min(seconds, 0.5))


class WithoutLimits(Rig):
    """The limit that was set does not hold."""

    def start(self, settings: Mapping[str, str]) -> None:
        """With a higher one."""
        super().start({**settings, "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": "50"})


class InTheOtherMode(Rig):
    """The flag has no effect."""

    def start(self, settings: Mapping[str, str]) -> None:
        """Always parallel."""
        super().start({**settings, "ENABLE_PARALLEL_UPLOADS": "True"})


SABOTAGE: dict[str, type[Rig]] = {
    "services_are_in_place": WithoutAService,
    "template_can_be_used": WithABadTemplate,
    "own_settings_can_be_used": WithABadEnv,
    "monitoring_endpoints_answer": WithoutStatus,
    "small_file_arrives": WithAWrongByte,
    "medium_file_arrives_in_parallel": WithAWrongByte,
    "chunks_are_taken_in_any_order": WithAWrongByte,
    "wrong_bytes_are_refused": ThatAcceptsAnything,
    "progress_is_honest": ThatCallsReceivedDone,
    "acknowledged_chunks_survive_a_crash": ThatForgets,
    "memory_stays_bounded": ThatGrows,
    "nothing_is_left_behind": ThatLeaks,
    "limits_hold": WithoutLimits,
    "file_arrives_chunk_by_chunk": WithAWrongByte,
    "order_is_kept": InTheOtherMode,
}
CHECKS = [(phase, check) for phase in PHASES for check in phase.checks]


def test_every_check_is_broken_once_here() -> None:
    """A new check needs a way to break it."""
    assert {check.__name__ for _, check in CHECKS} == set(SABOTAGE)


@pytest.mark.parametrize(("phase", "check"), CHECKS, ids=[check.__name__ for _, check in CHECKS])
def test_a_check_fails_when_what_it_looks_at_is_broken(
    phase: Phase, check: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit status 1, its line marked, and without the guide's last lines."""
    monkeypatch.setenv("FOREBAY_STATE_DIR", os.environ.get("FOREBAY_STATE_DIR", ""))
    monkeypatch.setattr("app.testing.self_check.rig.ServerProcess", partial(ServerProcess, forked=True))
    status = run(BACKEND, make_rig=SABOTAGE[check.__name__], phases=[replace(phase, checks=(check,))])
    said = capsys.readouterr().out
    assert status == 1
    assert f"❌ {check.__name__.replace('_', ' ')}" in said
    assert "ready for use" not in said


def test_the_script_passes_under_a_bare_python_and_ends_with_the_guides_lines(tmp_path: Path) -> None:
    """It finds the project's own interpreter by itself."""
    bare = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable
    done = subprocess.run(
        [bare, "test_parallel_upload.py"], cwd=BACKEND, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.splitlines()[-2:] == [
        "🎯 All tests completed successfully!",
        "✅ Parallel upload system is ready for use",
    ], done.stdout + done.stderr
    assert done.returncode == 0


def test_without_an_installation_it_names_the_command_that_makes_one(tmp_path: Path) -> None:
    """And fails."""
    script = tmp_path / "backend" / "test_parallel_upload.py"
    script.parent.mkdir()
    shutil.copy(BACKEND / "test_parallel_upload.py", script)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "make setup" in done.stderr
