"""The command, as a process: what it prints, its exit codes, and what survives when it is killed."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from fake_forebay import MIB, FakeForebay, MakeFile, refuse
from rich.console import Console

from forebay import UploadEvent
from forebay.cli._rate import RateWindow
from forebay.cli._report import BarReporter, TwoPhaseBar, duration
from forebay.cli._run import clean
from forebay.events import Completed, Progress, Retrying, Started, Waiting
from forebay.models import StoredFile, UploadResult

BIG = 10 * MIB + 12345
ESCAPE = "\x1b"


async def start(fake: FakeForebay, *args: object, **env: str) -> asyncio.subprocess.Process:
    """The command, under way."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "forebay",
        *map(str, args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FOREBAY_SERVER": fake.url, "PYTHONUTF8": "1", **env},
    )


async def run(fake: FakeForebay, *args: object, **env: str) -> tuple[int, str, str]:
    """The command, to its end: exit code, standard output, standard error."""
    process = await start(fake, *args, **env)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_upload_succeeds_with_one_line(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """Exit 0; no control codes where there is no terminal."""
    path = make_file(BIG)
    code, out, err = await run(fake, "upload", path, "--folder", "in/box", "--name", "other.bin", "--parallel", 2)
    assert code == 0
    assert out.count("\n") == 1
    assert "default:other.bin" in out
    assert "verified" in out
    assert ESCAPE not in out + err
    upload = fake.uploads["u0"]
    assert (upload.content, upload.body["path"]) == (path.read_bytes(), "in/box")
    assert fake.most_in_flight <= 3  # two that are sent, one whose answer is on its way


async def test_json_is_one_object_a_line_and_nothing_else(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """From `started` to `completed`."""
    code, out, err = await run(fake, "upload", "--json", make_file(BIG))
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "completed"
    assert events[-1]["result"]["stored"]["name"] == "data.bin"
    assert {event["event"] for event in events} <= {"started", "progress", "completed"}


async def test_one_failure_stops_no_other_file_and_is_exit_1(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile, tmp_path: Path
) -> None:
    """A directory, a file that is not there, and two good ones."""
    good, empty = make_file(BIG, "good"), make_file(0, "empty")
    code, out, err = await run(fake, "upload", tmp_path, good, tmp_path / "absent", empty)
    assert code == 1
    assert len(out.splitlines()) == 2
    assert sum(line.startswith("forebay: ") for line in err.splitlines()) == 2
    assert "is a directory" in err
    assert "does not exist" in err
    assert "Traceback" not in err
    assert {upload.name for upload in fake.uploads.values()} == {"good", "empty"}


async def test_json_failures_are_json_too(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """With the server's code and request id."""
    fake.fault("POST", refuse(413, "file-too-large"))
    code, out, err = await run(fake, "upload", "--json", make_file(BIG))
    (event,) = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert (event["event"], event["code"], event["request_id"]) == ("failed", "file-too-large", "req-1")


async def wait_for_chunks(fake: FakeForebay, count: int) -> None:
    """Until the server has so many."""
    while not fake.uploads or len(fake.uploads["u0"].chunks) < count:
        await fake.recorded.wait()
        fake.recorded.clear()


def block_after(fake: FakeForebay, count: int) -> None:
    """Let chunks in until there are so many, and hold the others."""

    async def hold(request: web.Request) -> None:
        if len(fake.uploads["u0"].chunks) >= count:
            await asyncio.Event().wait()

    fake.fault("PUT .*/chunks/", hold, times=None)


@pytest.mark.parametrize("kills", [1, 3])
async def test_a_killed_upload_goes_on_and_sends_nothing_twice(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile, kills: int
) -> None:
    """Kill -9 in the middle, each time a little further."""
    path = make_file(BIG)
    for kill in range(kills):
        block_after(fake, 2 * (kill + 1))
        process = await start(fake, "upload", path)
        await wait_for_chunks(fake, 2 * (kill + 1))
        process.kill()
        await process.communicate()
        fake._faults.clear()
    held = sum(map(len, fake.uploads["u0"].chunks.values()))
    code, out, _ = await run(fake, "upload", "--json", path)
    started = json.loads(out.splitlines()[0])
    assert code == 0
    assert started["resumed"] >= held > 0
    assert fake.repeats == []
    assert len(fake.uploads) == 1
    assert fake.uploads["u0"].content == path.read_bytes()
    assert not list(state_dir.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_leaves_a_resumable_upload_and_says_so(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile, number: int, code: int | str
) -> None:
    """Exit as shells expect it."""
    path = make_file(BIG)
    block_after(fake, 3)
    process = await start(fake, "upload", path)
    await wait_for_chunks(fake, 3)
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == code
    assert f"stopped by {number.name}" in err.decode()
    assert "Traceback" not in err.decode()
    fake._faults.clear()
    assert (await run(fake, "upload", path))[0] == 0
    assert fake.repeats == []


ENDING = """
import asyncio, sys, time
from forebay.cli._run import run

async def work():
    try:
        print("working", flush=True)
        if sys.argv[1] == "is told to stop":
            await asyncio.Event().wait()
    finally:
        if sys.argv[1] == "is told to stop":
            print("ending", flush=True)
            await asyncio.Event().wait()
    return 0

run(work())
print("ending", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stage", ["is told to stop", "is done"])
def test_a_signal_while_it_is_ending_ends_it_at_once_and_without_a_traceback(stage: str) -> None:
    """Who presses Ctrl+C twice wants to be rid of it."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, stage], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        if stage == "is told to stop":
            process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        assert process.stderr.read() == ""


async def test_a_report_that_nobody_reads_does_not_stop_the_upload(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """`forebay upload --json FILE | head -1`."""
    path = make_file(BIG)
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "forebay",
        "upload",
        "--json",
        str(path),
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "FOREBAY_SERVER": fake.url},
    )
    os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert fake.uploads["u0"].content == path.read_bytes()


async def test_a_server_that_is_not_there_is_one_line_with_a_cure(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """No traceback, no list of attempts."""
    await fake.stop()
    code, out, err = await run(fake, "upload", make_file(BIG), "--patience", "0.5")
    assert (code, out) == (1, "")
    assert "can't be reached" in err
    assert "the same command goes on" in err
    assert "Traceback" not in err


async def test_the_token_comes_from_the_environment_and_is_never_printed(state_dir: Path, make_file: MakeFile) -> None:
    """Not in output, not in help, not in what is remembered."""
    secret = "fb_s3cret"
    async with FakeForebay(token=secret) as fake:
        path = make_file(BIG)
        good = await run(fake, "upload", "--json", path, FOREBAY_TOKEN=secret)
        assert good[0] == 0
        bad = await run(fake, "upload", path, FOREBAY_TOKEN=f"{secret}-wrong")
        assert bad[0] == 1
        assert "set FOREBAY_TOKEN" in bad[2]
        shown = await run(fake, "upload", "--help", FOREBAY_TOKEN=secret)
    assert all(secret not in text for _, out, err in (good, bad, shown) for text in (out, err))
    assert all(secret not in file.read_text() for file in state_dir.iterdir())


async def test_questions_answer_as_tables_and_as_json(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """`status`, `list`, `progress`, `cancel`."""
    await run(fake, "upload", make_file(BIG))
    code, out, _ = await run(fake, "status")
    assert code == 0
    assert re.search(r"concurrency_manager\.max_uploads\s+20", out)
    assert json.loads((await run(fake, "status", "--json"))[1])["mode"] == "parallel"
    assert re.search(r"u0\s+data\.bin\s+completed\s+10\.5 MB\s+100 %", (await run(fake, "list"))[1])
    assert json.loads((await run(fake, "list", "--json"))[1])[0]["id"] == "u0"
    assert re.search(r"at the destination\s+12\.5 %", (await run(fake, "progress", "u0"))[1])
    assert json.loads((await run(fake, "progress", "u0", "--json"))[1])["file_id"] == "u0"
    assert (await run(fake, "cancel", "u0"))[:2] == (0, "Cancelled u0.\n")
    code, out, err = await run(fake, "cancel", "nothing")
    assert (code, out) == (1, "")
    assert err == "forebay: not-found, says the fake. (request req-1)\n"


async def test_wrong_usage_is_exit_2(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """A name for two files, an address that is none, an option that isn't."""
    one, two = make_file(1, "one"), make_file(2, "two")
    assert (await run(fake, "upload", one, two, "--name", "x"))[0] == 2
    assert (await run(fake, "upload", one, "--server", "ftp://x"))[0] == 2
    assert (await run(fake, "upload", one, "--frobnicate"))[0] == 2


async def test_on_a_terminal_there_is_a_bar_and_it_never_says_100_percent_before_the_end(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """Through a real pseudo-terminal."""
    fake.polls_to_complete = 8
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "forebay",
        "upload",
        str(make_file(BIG)),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "FOREBAY_SERVER": fake.url, "TERM": "xterm-256color", "COLUMNS": "120", "PYTHONUTF8": "1"},
    )
    os.close(slave)
    reading = asyncio.to_thread(read_all, master)
    screen, _ = await asyncio.gather(reading, process.wait())
    assert process.returncode == 0
    assert "█" in screen or "▒" in screen
    assert "100 %" not in screen
    assert "verified" in screen


def read_all(descriptor: int) -> str:
    """What was written to the terminal."""
    pieces = []
    try:
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    except OSError:
        pass  # Linux reports the closed other side so
    os.close(descriptor)
    return b"".join(pieces).decode()


def drawn(stored: float, received: float, *, encoding: str = "utf-8") -> str:
    """The bar as text."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, force_terminal=False, width=40)
    console.print(TwoPhaseBar(stored, received, 10))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding).strip()


def test_the_bar_shows_both_phases() -> None:
    """Solid: at the destination. Light: received. Plain letters where the terminal knows no others."""
    assert drawn(0, 0) == "░░░░░░░░░░"
    assert drawn(0.2, 0.5) == "██▒▒▒░░░░░"
    assert drawn(1, 1) == "██████████"
    assert drawn(0.2, 0.5, encoding="ascii") == "##===....."


def test_the_reporter_tells_the_whole_story() -> None:
    """Resumed, sent, retried, queued, stored: each is on the screen at its time."""
    console = Console(file=io.StringIO(), force_terminal=True, width=140, legacy_windows=False)
    now = [0.0]
    path = Path("dir/film\x1b[31m.mkv")
    reporter = BarReporter(console, clock=lambda: now[0])

    def shown(event: UploadEvent) -> str:
        reporter.event(event)
        with console.capture() as capture:
            console.print(reporter._bars.get_renderable())
        return re.sub(r"\x1b\[[0-9;]*m", "", capture.get())

    def progress(phase: str, sent: int, received: int, stored: int, retries: int = 0) -> Progress:
        now[0] += 1
        return Progress(path, "u", phase, 1000_000_000, sent, received, stored, retries, 8)

    assert "goes on from 300.0 MB" in shown(Started(path, "u", 1000_000_000, 300_000_000, "parallel"))
    shown(progress("sending", 300_000_000, 300_000_000, 0))
    line = shown(progress("sending", 400_000_000, 390_000_000, 100_000_000, 2))
    assert "10 %" in line
    assert "390.0 MB/1.0 GB" in line
    assert "100.0 MB/s" in line
    assert "0:09 left" in line  # the destination takes 100 MB/s, and has 900 MB to go
    assert "2 retries" in line
    assert "\x1b[31m.mkv" not in line
    assert "trying again in 5 s: busy" in shown(Retrying(path, "u", 3, "limit-reached", "busy", 1, 5.0))
    assert "place 3" in shown(Waiting(path, "queued", position=3))
    line = shown(progress("storing", 1000_000_000, 1000_000_000, 1000_000_000))
    assert "99 %" in line
    assert "received; storing" in line
    stored = StoredFile("default", "id", "film.mkv", 1000_000_000, "ab" * 32, 1)
    shown(Completed(path, UploadResult("u", path, stored, 1, 0, 2, 10.0)))
    assert "verified, sha-256 abab" in console.file.getvalue()


def test_rates_follow_the_last_seconds() -> None:
    """A standstill shows; what was lost on the way is no negative rate."""
    window = RateWindow(window_s=4)
    assert window.per_second(0) is None
    for second in range(10):
        window.add(second, second * 100)
    assert window.per_second(9) == 100
    assert window.seconds_for(9, 1000) == 10
    assert window.per_second(14) == pytest.approx(400 / 9)
    window.add(15, 50)
    assert window.per_second(15) is None


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (61, "1:01"), (3753, "1:02:33")])
def test_durations_are_short(seconds: float | None, text: str) -> None:
    """For people."""
    assert duration(seconds) == text


def test_names_cannot_steer_the_terminal() -> None:
    """Control characters and lone surrogates are shown as one sign."""
    assert clean("a\x1b[2Jb\nc\udcff") == "a�[2Jb�c�"
