"""What an upload shows: bars on a terminal, plain lines elsewhere, JSON for programs.

The bar is honest about both phases. Its length is the file; the solid part is at the destination, the light part has been
received by the server and is kept there. The percentage is of what is at the destination, and 100 % appears only when
the file is complete and its checksum was compared.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.filesize import decimal
from rich.measure import Measurement
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, Task, TaskID
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from forebay._upload import SINGLE_REQUEST_BYTES
from forebay.cli._rate import RateWindow
from forebay.cli._run import advice, clean
from forebay.errors import ForebayError
from forebay.events import Adapted, Completed, Progress, Retrying, Started, UploadEvent, Waiting
from forebay.models import UploadResult

__all__ = ["BarReporter", "JsonReporter", "PlainReporter", "Reporter", "TwoPhaseBar", "duration", "write_line"]

_STORED = Style(color="green")
_RECEIVED = Style(color="cyan")
_REST = Style(color="bright_black")
_MINUTE, _HOUR = 60, 3600
_BAR_CELLS, _LEAST_CELLS = 24, 4
_PERCENT = 100
_TENTH = 10


class Reporter(Protocol):
    """Shows what happens."""

    def __enter__(self) -> Self:
        """Begin showing."""

    def __exit__(self, *_: object) -> None:
        """End, whatever happened."""

    def event(self, event: UploadEvent) -> None:
        """Something happened to an upload."""

    def failed(self, path: Path, error: Exception) -> None:
        """A file is not at the destination."""

    def interrupted(self, number: signal.Signals) -> None:
        """The user, or the system, stopped the command."""


def duration(seconds: float) -> str:
    """Seconds for people: 0:07, 1:02:33."""
    whole = int(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    return f"{hours}:{minutes:02}:{whole % _MINUTE:02}" if hours else f"{minutes}:{whole % _MINUTE:02}"


def _success(result: UploadResult) -> str:
    stored = result.stored
    where = ":".join(part for part in (stored.destination, stored.name) if part)
    rate = f", {decimal(int(stored.size / result.elapsed_s))}/s" if result.elapsed_s > 1 else ""
    digest = f"sha-256 {stored.sha256}" if stored.sha256 else f"crc32c {result.crc32c:08x}"
    return clean(
        f"{result.path} → {where}: {decimal(stored.size)} in {duration(result.elapsed_s)}{rate}, verified, {digest}"
    )


def _about(path: Path, error: Exception) -> str:
    """One line for a file's failure; it names the file once."""
    line, name = advice(error, resumable=True), clean(str(path))
    return line if name in line else f"{name}: {line}"


def _percent(stored: int, size: int) -> int:
    """Of what is at the destination; 100 only by `Completed`."""
    return min(_PERCENT - 1, _PERCENT * stored // size) if size else 0


class JsonReporter:
    """One JSON object a line on standard output, nothing else."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def event(self, event: UploadEvent) -> None:
        """The event's own fields."""
        self._line(type(event).__name__.lower(), **dataclasses.asdict(event))

    def failed(self, path: Path, error: Exception) -> None:
        """Code, sentence, and what the server said."""
        known: dict[str, object] = {"code": "invalid-argument"}
        if isinstance(error, ForebayError):
            known = {
                "code": error.code,
                "status": error.status,
                "request_id": error.request_id,
                "retry_after": error.retry_after,
            }
        self._line("failed", path=path, detail=advice(error, resumable=True), **known)

    def interrupted(self, number: signal.Signals) -> None:
        """By which signal."""
        self._line("interrupted", signal=number.name, detail="Run the same command again: it goes on where it stopped.")

    def _line(self, event: str, **members: Any) -> None:  # noqa: ANN401 - JSON values
        write_line(self._stream, json.dumps({"event": event, **members}, default=str))


class PlainReporter:
    """Lines without control codes: results on standard output, everything else on standard error."""

    def __init__(self, out: Callable[[str], None] | None = None, err: Callable[[str], None] | None = None) -> None:
        self._out = out or partial(write_line, sys.stdout)
        self._err = err or partial(write_line, sys.stderr)
        self._tenths: dict[Path, int] = {}
        self._troubles: dict[Path, str] = {}

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def event(self, event: UploadEvent) -> None:
        """A line for what matters: the beginning, each tenth, new trouble, the end."""
        path = event.path
        match event:
            case Started(size=size, resumed=resumed):
                self._tenths.setdefault(path, 0)
                if resumed and resumed < size:
                    self._say(path, f"goes on: {decimal(resumed)} of {decimal(size)} are on the server")
            case Progress(size=size, received=received, stored=stored):
                tenth = _TENTH * received // size if size else 0
                if size > SINGLE_REQUEST_BYTES and tenth > self._tenths.get(path, 0):
                    self._tenths[path] = tenth
                    self._say(
                        path,
                        f"{decimal(received)} of {decimal(size)} received, {_percent(stored, size)} % at the destination",
                    )
            case Waiting() | Retrying() | Adapted():
                self._trouble(path, describe(event))
            case Completed(result=result):
                self._out(_success(result))

    def failed(self, path: Path, error: Exception) -> None:
        """One line that says what to do."""
        self._err(f"forebay: {_about(path, error)}")

    def interrupted(self, number: signal.Signals) -> None:
        """Say that nothing is lost."""
        self._err(f"forebay: stopped by {number.name}. Run the same command again: it goes on where it stopped.")

    def _trouble(self, path: Path, text: str) -> None:
        if text != self._troubles.get(path):
            self._troubles[path] = text
            self._say(path, text)

    def _say(self, path: Path, text: str) -> None:
        self._err(f"{clean(str(path))}: {clean(text)}")


def write_line(stream: TextIO, line: str) -> None:
    """Write a line in the stream's encoding, at once.

    When nobody reads any more (`forebay … | head -1`) what follows goes nowhere: the upload matters more than its report.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def describe(event: Waiting | Retrying | Adapted) -> str:
    """What an event means, for people."""
    match event:
        case Waiting(reason="locked"):
            return "another process is sending this file; waiting for it"
        case Waiting(reason="queued", position=position):
            return f"waiting in the server's queue, place {position}"
        case Waiting(detail=detail):
            return f"received; the destination makes it wait: {detail}"
        case Adapted(mode=mode, lanes=lanes):
            return f"the server's mode is {mode} now: {lanes} at a time"
        case Retrying(detail=detail, delay_s=None):
            return f"trying again: {detail}"
        case Retrying(detail=detail, delay_s=delay):
            return f"trying again in {delay:.0f} s: {detail}"
    raise AssertionError(event)


class TwoPhaseBar:
    """A bar with a solid part (at the destination) and a light part (received)."""

    def __init__(self, stored: float, received: float, width: int) -> None:
        """Parts as fractions from 0 to 1; width in cells."""
        self._stored = stored
        self._received = max(received, stored)
        self._width = width

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as it was asked to be; narrower where there is no room."""
        return Measurement(min(_LEAST_CELLS, self._width), self._width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        plain = options.legacy_windows or options.ascii_only
        solid, light, rest = ("#", "=", ".") if plain else ("█", "▒", "░")
        width = min(self._width, options.max_width)
        first = int(width * self._stored)
        second = int(width * self._received)
        yield Segment(solid * first, _STORED)
        yield Segment(light * (second - first), _RECEIVED)
        yield Segment(rest * (width - second), _REST)


class _BarColumn(ProgressColumn):
    def render(self, task: Task) -> TwoPhaseBar:
        size = task.total or 1
        return TwoPhaseBar(task.completed / size, task.fields["received"] / size, _BAR_CELLS)


class _TextColumn(ProgressColumn):
    def __init__(self, show: Callable[[Task], str], *, style: str = "", justify: Any = "right") -> None:  # noqa: ANN401 - rich's literal
        self._show = show
        self._style = style
        self._justify = justify
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(self._show(task), style=self._style, justify=self._justify, overflow="ellipsis", no_wrap=True)


class BarReporter:
    """Bars on a terminal: on standard error, so that standard output stays for results."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._ids: dict[Path, TaskID] = {}
        self._rates: dict[Path, tuple[RateWindow, RateWindow]] = {}  # of what was sent, of what is stored
        self._bars = Bars(
            _TextColumn(lambda task: clean(task.description), justify="left"),
            _BarColumn(),
            _TextColumn(lambda task: f"{_percent(int(task.completed), int(task.total or 0))} %"),
            _TextColumn(
                lambda task: f"{decimal(task.fields['received'])}/{decimal(int(task.total))}" if task.total else ""
            ),
            _TextColumn(lambda task: task.fields["rate"], style="cyan"),
            _TextColumn(lambda task: task.fields["left"], style="magenta"),
            _TextColumn(lambda task: task.fields["note"], style="yellow", justify="left"),
            console=console,
            expand=False,
            refresh_per_second=8,
        )

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them as they stand, and give the cursor back."""
        self._bars.stop()

    def event(self, event: UploadEvent) -> None:
        """Move the file's bar."""
        path = event.path
        match event:
            case Started(size=size, resumed=resumed):
                task = self._task(path, size)
                note = f"goes on from {decimal(resumed)}" if 0 < resumed < size else ""
                self._bars.update(task, total=size, received=resumed, note=note)
            case Progress():
                self._move(event)
            case Waiting() | Retrying() | Adapted():
                self._bars.update(self._task(path, 0), note=clean(describe(event)))
            case Completed(result=result):
                self._drop(path)
                self._console.print(Text(f"✓ {_success(result)}", style="green"), soft_wrap=True)

    def failed(self, path: Path, error: Exception) -> None:
        """One line that says what to do, above the bars."""
        self._drop(path)
        self._console.print(Text(f"✗ {_about(path, error)}", style="red"), soft_wrap=True)

    def interrupted(self, number: signal.Signals) -> None:
        """Say that nothing is lost."""
        for path in tuple(self._ids):
            self._drop(path)
        self._console.print(
            Text(f"Stopped by {number.name}. Run the same command again: it goes on where it stopped."), soft_wrap=True
        )

    def _drop(self, path: Path) -> None:
        if path in self._ids:
            self._bars.remove_task(self._ids.pop(path))
        self._rates.pop(path, None)

    def _task(self, path: Path, size: int) -> TaskID:
        if path not in self._ids:
            self._ids[path] = self._bars.add_task(path.name, total=size, received=0, rate="", left="", note="")
        return self._ids[path]

    def _move(self, event: Progress) -> None:
        now = self._clock()
        sent, stored = self._rates.setdefault(event.path, (RateWindow(), RateWindow()))
        sent.add(now, event.sent)
        stored.add(now, event.stored)
        rate = (sent if event.phase == "sending" else stored).per_second(now)
        waits = (sent.seconds_for(now, event.size - event.sent), stored.seconds_for(now, event.size - event.stored))
        left = max((wait for wait in waits if wait is not None), default=None)  # the slower side decides
        note = "" if event.phase == "sending" else "received; storing"
        if event.retries:
            note = f"{note}{'; ' if note else ''}{event.retries} {'retry' if event.retries == 1 else 'retries'}"
        self._bars.update(
            self._task(event.path, event.size),
            total=event.size,
            completed=event.stored,
            received=event.received,
            rate="" if rate is None else f"{decimal(int(rate))}/s",
            left="" if left is None else f"{duration(left)} left",
            note=note,
        )
