"""Logs: one safe line per event, wherever it comes from, and nobody waits for a disk."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog

from app.core.settings import SettingsError
from app.observability.logging import configure_logging, parallel_debug


class Said(io.StringIO):
    """A stream that is no terminal, and the events on it."""

    def events(self) -> list[dict[str, Any]]:
        """One for each line."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


def fail(error: Exception) -> NoReturn:
    """Raise it."""
    raise error


@pytest.fixture
def said() -> Iterator[Said]:
    """A stream; context of other tests is gone."""
    structlog.contextvars.clear_contextvars()
    yield Said()
    structlog.contextvars.clear_contextvars()


def log_once(said: Said, event: str = "it", /, **fields: object) -> dict[str, Any]:
    """The one event that comes of logging these fields."""
    handle = configure_logging(stream=said)
    structlog.get_logger("app.test").info(event, **fields)
    handle.close()
    assert handle.dropped == 0
    return said.events()[-1]


def test_an_event_is_one_json_line_with_time_level_logger_and_request(said: Said) -> None:
    """What everything else is searched by comes first."""
    structlog.contextvars.bind_contextvars(request_id="r-1")
    event = log_once(said, "chunk stored", size=5)
    assert list(event) == ["timestamp", "level", "logger", "event", "request_id", "size"]
    assert event["timestamp"].endswith("Z")
    assert (event["level"], event["logger"], event["event"]) == ("info", "app.test", "chunk stored")
    assert (event["request_id"], event["size"]) == ("r-1", 5)


def test_the_standard_librarys_loggers_take_the_same_way(said: Said) -> None:
    """Uvicorn, asyncio and warnings, with the request's id and their arguments filled in."""
    structlog.contextvars.bind_contextvars(request_id="r-2")
    handle = configure_logging(stream=said)
    logging.getLogger("uvicorn.error").info("Started %s", 1, extra={"color_message": "\x1b[36mStarted"})
    logging.getLogger("asyncio").warning("slow", extra={"seconds": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    handle.close()
    started, slow, old = said.events()
    assert (started["event"], started["logger"], started["request_id"]) == ("Started 1", "uvicorn.error", "r-2")
    assert "color_message" not in started
    assert (slow["level"], slow["seconds"]) == ("warning", 2)
    assert "old thing" in old["event"]


def test_handlers_that_uvicorn_left_do_not_double_lines(said: Said) -> None:
    """And they are back after `close`."""
    logger = logging.getLogger("uvicorn")
    foreign = logging.StreamHandler(io.StringIO())
    logger.addHandler(foreign)
    logger.propagate = False
    try:
        handle = configure_logging(stream=said)
        logging.getLogger("uvicorn.error").warning("once")
        handle.close()
        assert [event["event"] for event in said.events()] == ["once"]
        assert foreign in logger.handlers
        assert not logger.propagate
    finally:
        logger.removeHandler(foreign)
        logger.propagate = True


def test_an_exception_is_told_on_the_same_line(said: Said) -> None:
    """With its traceback, from both kinds of logger."""
    handle = configure_logging(stream=said)
    try:
        fail(ValueError("no\r\nway"))
    except ValueError:
        structlog.get_logger("a").exception("ours")
        logging.getLogger("b").exception("theirs")
    handle.close()
    assert len(said.getvalue().splitlines()) == 2
    assert all("ValueError: no\r\nway" in event["exception"] for event in said.events())


@pytest.mark.parametrize("nasty", ["a\r\nb", "a\x1b[2Jb", "a\x00b", "a\u2028b", "a\x85b", "a\u202eb", "a\udc80b"])
def test_nothing_a_client_sends_can_break_a_line_or_reach_a_terminal(nasty: str, said: Said) -> None:
    """In the event, a value, a nested value or a key: the line stays ASCII without controls."""
    log_once(said, nasty, value=nasty, nested={nasty: [nasty]}, **{f"k{nasty}": 1})
    (line,) = said.getvalue().split("\n")[:-1]
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["value"] == nasty


def test_a_terminal_gets_readable_lines_with_controls_escaped() -> None:
    """Also in event, keys and tracebacks."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        handle = configure_logging(stream=stream)
        structlog.get_logger("a").info("ev\x1b[2Jent\nnext", name="x\x1b]0;title\x07", **{"k\x1b[2J": ["\x1b[2J"]})
        try:
            fail(ValueError("\x1b[2Jcleared"))
        except ValueError:
            structlog.get_logger("a").exception("bad")
        handle.close()
        shown = os.read(leader, 65_536).decode()
    os.close(leader)
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    assert "ev\\x1b[2Jent\\nnext" in shown
    assert "\\x1b[2Jcleared" in shown


@pytest.mark.parametrize(
    "key",
    ["authorization", "Authorization", "cookie", "set-cookie", "token", "access_token", "session_uri", "password",
     "client_secret", "transfer_state", "X-Api-Key", "refresh-token"],
)  # fmt: skip
def test_a_value_under_a_secret_key_is_not_logged(key: str, said: Said) -> None:
    """At the top, deep inside, and as a header pair in bytes or text."""
    log_once(said, **{key: "hunter2"}, deep=[{"x": {key: "hunter2"}}], headers=[(key.encode(), b"hunter2")])
    assert "hunter2" not in said.getvalue()
    assert said.getvalue().count("[redacted]") == 3


@pytest.mark.parametrize("key", ["token_id", "tokens", "upload", "path", "cookie_count"])
def test_a_key_that_only_resembles_one_is_logged(key: str, said: Said) -> None:
    """Ids of tokens are what an operator revokes by."""
    assert log_once(said, **{key: "kept"})[key] == "kept"


class Talkative:
    """An object whose description holds a secret."""

    def __repr__(self) -> str:
        """As exceptions and requests of some libraries do."""
        return "<Request Authorization: Bearer hunter2hunter2>"


@pytest.mark.parametrize(
    "value",
    [
        "sent Bearer hunter2hunter2 twice",
        "bearer hunter2hunter2",
        "Basic aHVudGVyMjpodW50ZXIy-hunter2",
        "fb_hunter2hunter2hunter2hunter2",
        "https://www.googleapis.com/upload/drive/v3/files?uploadType=resumable&upload_id=hunter2&x=1",
        "postgresql+psycopg://me:hunter2@db/x",
        b"Bearer hunter2hunter2",
        Talkative(),
    ],
)
def test_a_secret_within_a_text_is_cut_out(value: object, said: Said) -> None:
    """In values, in the event itself and in a traceback."""
    handle = configure_logging(stream=said)
    logger = structlog.get_logger("a")
    logger.info(str(value), value=value, deep=({"x": value},))
    try:
        fail(RuntimeError(value))
    except RuntimeError:
        logger.exception("failed")
    logging.getLogger("b").warning("%s", value)
    handle.close()
    assert len(said.events()) == 3
    assert "hunter2" not in said.getvalue()


def test_what_json_can_not_hold_is_told_in_words(said: Said) -> None:
    """NaN, sets, paths, endless nesting; and a text of a megabyte is cut."""
    endless: list[object] = []
    endless.append(endless)
    event = log_once(said, nan=float("nan"), some={2, 1}, path=Path("/x"), endless=endless, long="x" * 1_000_000)
    assert (event["nan"], event["some"], event["path"]) == ("nan", [1, 2], "/x")
    assert len(event["long"]) < 10_000
    assert len(json.dumps(event["endless"])) < 100


def test_less_than_the_level_is_not_logged(said: Said) -> None:
    """From ours and theirs."""
    handle = configure_logging(stream=said, level="warning")
    structlog.get_logger("a").info("no")
    logging.getLogger("b").info("no")
    structlog.get_logger("a").warning("yes")
    handle.close()
    assert [event["event"] for event in said.events()] == ["yes"]


def test_parallel_lines_are_found_by_grep_whatever_the_level(said: Said) -> None:
    """`tail -f app.log | grep PARALLEL`."""
    handle = configure_logging(stream=said, level="error", parallel_debug_enabled=True)
    parallel_debug("chunk recorded", chunk=3)
    handle.close()
    (line,) = said.getvalue().splitlines()
    assert "PARALLEL" in line
    assert json.loads(line)["chunk"] == 3


def test_without_the_switch_no_line_holds_the_word(said: Said) -> None:
    """Even when all else is logged at its finest."""
    handle = configure_logging(stream=said, level="debug")
    parallel_debug("chunk recorded", chunk=3)
    handle.close()
    assert said.getvalue() == ""


def test_the_file_gets_json_and_is_rotated(tmp_path: Path, said: Said) -> None:
    """Its folder is made; so many old ones are kept; nothing is lost at close."""
    path = tmp_path / "logs" / "app.log"
    handle = configure_logging(stream=said, file=path, file_bytes=2_000, file_count=2)
    for number in range(100):
        structlog.get_logger("a").info("line", number=number)
    handle.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["app.log", "app.log.1", "app.log.2"]
    kept = [json.loads(line)["number"] for each in ("app.log.2", "app.log.1", "app.log")
            for line in (path.parent / each).read_text().splitlines()]  # fmt: skip
    assert kept == list(range(kept[0], 100))
    assert [event["number"] for event in said.events()] == list(range(100))


def test_a_file_that_can_not_be_opened_is_said_in_one_line(tmp_path: Path) -> None:
    """With the setting's name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"^FOREBAY_LOG_FILE=.*/file/app.log: can't be written"):
        configure_logging(file=tmp_path / "file" / "app.log")


class Stuck(Said):
    """A pipe that nobody reads, until somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, text: str, /) -> int:
        """Wait."""
        self.reached.set()
        self.go_on.wait()
        return super().write(text)


def test_a_stuck_output_delays_nobody_and_takes_bounded_memory() -> None:
    """What does not fit is dropped and counted; the rest comes when the reader is back."""
    stuck = Stuck()
    handle = configure_logging(stream=stuck)
    logger = logging.getLogger("a")
    logger.warning("first")
    stuck.reached.wait()
    for _ in range(10_500):
        logger.warning("x")
    assert handle.dropped == 500
    stuck.go_on.set()
    handle.close()
    assert len(stuck.getvalue().splitlines()) == 10_001


class Full(Said):
    """A disk without room."""

    def write(self, _text: str, /) -> int:
        """Refuse."""
        raise OSError(28, "No space left on device")


def test_a_full_disk_costs_lines_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    """No exception in the caller, no traceback on stderr; counted."""
    handle = configure_logging(stream=Full())
    structlog.get_logger("a").info("one")
    structlog.get_logger("a").info("two")
    handle.close()
    assert handle.dropped == 2
    assert capfd.readouterr().err == ""


def test_closing_puts_everything_back(said: Said) -> None:
    """Handlers, levels, structlog; and it may be repeated."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    handle = configure_logging(stream=said, level="debug")
    assert root.handlers != before[0]
    handle.close()
    handle.close()
    assert (root.handlers, root.level) == before
    assert not structlog.is_configured()


def test_importing_configures_nothing() -> None:
    """Until somebody asks."""
    assert not structlog.is_configured()
