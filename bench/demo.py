"""`make demo`: one file goes to an emulated Google Drive over a simulated wide-area line, in both modes, timed and verified.

python -m bench.demo [--size-mb 900] [--directory DIR]

Exits with 0 only when both copies are at the emulator, whole. Nothing leaves this machine, and nothing stays on it: not
after Ctrl-C either.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

from bench.drive import CHUNK, estimated_s
from bench.forebay import MIB, Forebay
from bench.scene import DRIVE_RATE_MIB, LATENCY_S, MB, RTT_MS, Drive, Line, Sending, Sent, drive_server, made_file
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from forebay.cli._report import TwoPhaseBar, duration

ROOT = Path(__file__).resolve().parents[1]
RATE_MIB = 4
LANES = 8
MODES = ("parallel", "sequential")
_NAME = "film.mov"
_BAR_CELLS = 32
_FAILED, _STOPPED = 1, 130
_PICTURE = f"""\
  client ────────────────────────▶ Forebay ────────────────────────▶ Google Drive
         {f"{RTT_MS:.0f} ms round trip":<33}{f"{LATENCY_S * 1000:.0f} ms per request":<29}(emulated)
         {f"{RATE_MIB} MiB/s per connection":<33}{DRIVE_RATE_MIB:.0f} MiB/s per connection
"""


class Stop:
    """Ctrl-C and its like, heard where nothing is half done.

    An exception out of a signal handler may come between a fork and the line that knows the child's id: that child would
    be nobody's, and run on.
    """

    def __init__(self) -> None:
        """Nobody has asked."""
        self.asked = False

    def listen(self) -> None:
        """From here on; those that this process was told to ignore stay ignored (nohup, a shell's background job)."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True

    def check(self) -> None:
        """A place to stop at.

        Raises:
            KeyboardInterrupt: somebody has asked.
        """
        if self.asked:
            raise KeyboardInterrupt


@dataclass(slots=True)
class Copy:
    """The file on its way in one mode."""

    mode: str
    drive: Drive
    server: Forebay
    line: Line
    sending: Sending | None = None
    sent: Sent | None = None
    error: str = ""

    def verify(self, size: int, digest: str) -> None:
        """Look at what Drive holds, once the client is done."""
        if self.error:
            return
        there = [(file["size"], file["digests"]["sha256"]) for file in self.drive.files()]
        if there != [(size, digest)]:
            self.error = f"Drive holds {there}, not {size} bytes with SHA-256 {digest}"
        elif violations := self.drive.counts()["violations"]:
            self.error = f"{violations} requests did what Drive does not allow"


class _Bar(ProgressColumn):
    def render(self, task: Task) -> TwoPhaseBar:
        size = task.total or 1
        return TwoPhaseBar(task.completed / size, task.fields["received"] / size, _BAR_CELLS)


class Show:
    """What people see: bars on a terminal, a line for each tenth elsewhere."""

    def __init__(self, console: Console, size: int) -> None:
        self._console = console
        self._size = size
        self._bars = Progress(
            TextColumn("  {task.description:<10}"),
            _Bar(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[at]}", justify="right"),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}
        self._began = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        for mode in MODES:
            self._tasks[mode] = self._bars.add_task(mode, total=self._size, received=0, at="", note="")
        self._bars.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they stand."""
        self._bars.stop()

    def event(self, mode: str, event: dict[str, Any]) -> None:
        """Something the client told."""
        match event["event"]:
            case "progress":
                self._move(mode, event["received"], event["stored"], "")
            case "retrying":
                self._note(mode, event["detail"])
            case "waiting":
                self._note(mode, event["detail"] or event["reason"])
            case "completed":
                note = f"✓ after {duration(event['result']['elapsed_s'])}"
                self._move(mode, self._size, self._size, note)
                if not self._console.is_terminal:
                    self._console.print(f"  {mode}: {note}")

    def _move(self, mode: str, received: int, stored: int, note: str) -> None:
        at = f"{stored // MB} of {self._size // MB} MB at Drive"
        passed = time.monotonic() - self._began
        if stored and not note:
            note = f"{duration((self._size - stored) / stored * passed)} left"
        self._bars.update(self._tasks[mode], completed=stored, received=received, at=at, note=note)
        tenth = 10 * stored // self._size
        if not self._console.is_terminal and tenth > self._tenths.get(mode, 0):
            self._tenths[mode] = tenth
            self._console.print(f"  {mode}: {at}, {note}")

    def _note(self, mode: str, text: str) -> None:
        self._bars.update(self._tasks[mode], note=text)
        if not self._console.is_terminal:
            self._console.print(f"  {mode}: {text}", markup=False)


def demo(console: Console, size: int, directory: Path, stop: Stop) -> int:
    """Run it in an empty directory; returns the exit status."""
    file = directory / _NAME
    console.print(f"\n[bold]One file of {size // MB} MB to Google Drive, in both modes, over a wide-area line[/]\n")
    console.print(_PICTURE, highlight=False)
    _announce(console, size)
    with ExitStack() as stack:
        with console.status("making the file, starting servers, lines and emulators …"):
            digest = made_file(file, size, on_piece=lambda _: stop.check())
            copies = [_prepared(stack, directory / mode, mode, stop) for mode in MODES]
        with Show(console, size) as show:
            for copy in copies:
                copy.sending = Sending(file, url=copy.line.url, state=directory / f"client-{copy.mode}")
                stack.enter_context(copy.sending)
                stop.check()
            _follow(show, copies, stop)
        for copy in copies:
            copy.verify(size, digest)
        return _result(console, size, digest, copies)


def _announce(console: Console, size: int) -> None:
    least = size / (LANES * RATE_MIB * MIB)
    table = Table.grid(padding=(0, 3))
    table.add_row(
        "  [bold]parallel[/]", f"{LANES} chunks side by side, sent on while they come", f"about {duration(least + 3)}"
    )
    table.add_row(
        "  [bold]sequential[/]",
        f"{CHUNK // MIB} MiB, stored by Drive, then the next {CHUNK // MIB} MiB",
        f"about {duration(estimated_s(size))}",
    )
    console.print(table)
    console.print(
        "\n  Both run at once, each with its own server, line and Drive: the sequential one waits most of\n"
        "  the time, so neither slows the other. Nothing leaves this machine. Ctrl-C stops and tidies up.\n",
        highlight=False,
    )


def _prepared(stack: ExitStack, directory: Path, mode: str, stop: Stop) -> Copy:
    """Emulator, server, line; they end with the stack."""
    drive = stack.enter_context(Drive())
    stop.check()
    server = stack.enter_context(drive_server(drive, directory, parallel=mode == "parallel"))
    stop.check()
    line = stack.enter_context(Line(server.port, rate_mib=RATE_MIB))
    stop.check()
    return Copy(mode, drive, server, line)


def _follow(show: Show, copies: Sequence[Copy], stop: Stop) -> None:
    """Until all have ended; whatever happens, no client runs and nobody reads from one afterwards."""

    def follow(copy: Copy, sending: Sending) -> None:
        try:
            copy.sent = sending.wait(on_event=lambda event: show.event(copy.mode, event))
        except RuntimeError as error:
            copy.error = str(error)

    threads = [
        threading.Thread(target=follow, args=(copy, copy.sending)) for copy in copies if copy.sending is not None
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)  # in steps, so that Ctrl-C is heard
                stop.check()
    finally:
        for copy in copies:
            if copy.sending is not None:
                copy.sending.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _result(console: Console, size: int, digest: str, copies: Sequence[Copy]) -> int:
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for name, side in (("mode", "left"), ("time", "right"), ("rate", "right"), ("at Google Drive", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for copy in copies:
        if copy.sent is None or copy.error:
            table.add_row(copy.mode, "-", "-", Text(f"✗ {copy.error}", style="red"))
            continue
        seconds = copy.sent.seconds
        where = f"[green]✓[/] once, whole, SHA-256 {digest[:12]}…"
        table.add_row(copy.mode, _precise(seconds), f"{size / MB / seconds:.1f} MB/s", where)
    console.print()
    console.print(table, highlight=False)
    console.print()
    parallel, sequential = copies
    if parallel.error or sequential.error or parallel.sent is None or sequential.sent is None:
        for copy in copies:
            if copy.error:
                console.print(f"Last words of the {copy.mode} server:\n{_last_words(copy.server)}", markup=False)
        return _FAILED
    factor = sequential.sent.seconds / parallel.sent.seconds
    console.print(f"  [bold green]{factor:.1f} times faster in parallel[/]", highlight=False)
    console.print(
        "  Here each connection has a limit of its own, as on most long lines. Where only the whole line has\n"
        "  one, the gain is smaller: bench/README.md has both, measured.\n",
        style="dim",
        highlight=False,
    )
    return 0


def _precise(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


def _last_words(server: Forebay) -> str:
    return "\n".join(server.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def main() -> int:
    """Parse, prepare a directory, run, tidy up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mb", type=int, default=900, help="of the file, in MB")
    parser.add_argument("--directory", type=Path, default=ROOT / "var", help="where temporary files go")
    wanted = parser.parse_args()
    if wanted.size_mb < 1:
        parser.error("--size-mb must be at least 1")
    console = Console(width=None if sys.stdout.isatty() else 120)
    size = wanted.size_mb * MB
    wanted.directory.mkdir(parents=True, exist_ok=True)
    needed = 3 * size + 256 * MB
    if shutil.disk_usage(wanted.directory).free < needed:
        console.print(f"{wanted.directory} needs {needed // MB} MB of room for a while: --directory, or SIZE_MB=100")
        return _FAILED
    stop = Stop()
    stop.listen()
    try:
        with tempfile.TemporaryDirectory(prefix="demo-", dir=wanted.directory) as directory:
            return demo(console, size, Path(directory), stop)
    except (KeyboardInterrupt, RuntimeError, OSError):  # a terminal interrupts also what was just starting, or asked
        if not stop.asked:
            raise
        console.print("\nStopped. What the demo had started and written is gone.")
        return _STOPPED


if __name__ == "__main__":
    sys.exit(main())
