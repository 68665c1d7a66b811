"""`make demo`, scaled down: it says what is so, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

_ROOT = Path(__file__).resolve().parents[3]
_SIZE_MB = 5
_END_S = 100.0


class Demo:
    """One that runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        command = [sys.executable, "-m", "bench.demo", "--size-mb", str(_SIZE_MB), "--directory", str(directory)]
        self.process = psutil.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # by which all that it starts is known, orphans as well
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )

    def session(self) -> list[psutil.Process]:
        """All processes that it has started, and itself, as far as they live."""
        found = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def child(self, what: str) -> psutil.Process:
        """A process of its whose command line has this in it."""
        deadline = time.monotonic() + _END_S
        while time.monotonic() < deadline:
            for child in self.process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if what in " ".join(child.cmdline()):
                        return child
            time.sleep(0.02)
        raise AssertionError(f"no {what}")

    def end(self) -> tuple[int, str]:
        """Status and output, once it has ended; checks that nothing is left."""
        output, _ = self.process.communicate(timeout=_END_S)
        assert self.session() == []
        assert list(self.directory.iterdir()) == []
        return self.process.returncode, output


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Demo]]:
    """Starts one; it is gone after the test."""
    running: list[Demo] = []

    def begin() -> Demo:
        running.append(Demo(tmp_path))
        return running[-1]

    yield begin
    for demo in running:
        for process in demo.session():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        demo.process.communicate()


@pytest.mark.slow
def test_it_compares_both_modes_and_verifies_what_arrived(start: Callable[[], Demo]) -> None:
    """A table with both times, the factor, and status 0."""
    demo = start()
    demo.child("upload")
    status, output = demo.end()
    assert status == 0, output
    assert f"{_SIZE_MB} of {_SIZE_MB} MB at Drive" in output
    rows = re.findall(r"^ +(parallel|sequential) +([\d.]+) s +[\d.]+ MB/s +✓ once, whole", output, re.MULTILINE)
    times = {mode: float(seconds) for mode, seconds in rows}
    factor = re.search(r"([\d.]+) times faster in parallel", output)
    assert factor is not None
    assert float(factor[1]) == pytest.approx(times["sequential"] / times["parallel"], rel=0.1)


@pytest.mark.slow
def test_a_copy_that_does_not_arrive_is_no_success(start: Callable[[], Demo]) -> None:
    """Status 1, and it says which."""
    demo = start()
    demo.child("forebay upload").kill()
    status, output = demo.end()
    assert status == 1
    assert "✗" in output
    assert "times faster" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("forebay-drive-emulator", signal.SIGTERM),
        ("app serve", signal.SIGINT),
        ("bench/link.py", signal.SIGTERM),
        ("forebay upload", signal.SIGTERM),
        ("forebay upload", signal.SIGINT),
    ],
)
def test_it_tidies_up_when_it_is_stopped(start: Callable[[], Demo], moment: str, number: signal.Signals) -> None:
    """At whatever moment: when only half of it has been started as well."""
    demo = start()
    demo.child(moment)
    demo.process.send_signal(number)
    status, output = demo.end()
    assert status == 130
    assert "is gone" in output
