"""Logs: one JSON line per event on standard output, also in a rotated file when wanted.

Laws:
- nothing is configured at import; `configure_logging` is called once, by the composition root, and what it returns
  undoes it;
- no log call waits for a disk, a pipe or a terminal: the caller's thread renders the line, a queue hands it to one
  writer thread. The queue is bounded: when the writer can't keep up, lines are dropped and counted, memory is not spent;
- a line is one line: JSON escapes every control character (and everything beyond ASCII), the console's renderer gets
  them escaped;
- nothing is rendered before `redaction.redact_event` has seen it;
- what the standard library's loggers say (uvicorn, alembic, asyncio, warnings) takes the same way.

A request's fields (`request_id`) come from `structlog.contextvars`, bound by whoever takes the request.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import MutableMapping
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog

from app.core.settings_errors import SettingsError
from app.observability.redaction import escape_controls, redact_event

__all__ = ["Logging", "configure_logging", "parallel_debug"]

PARALLEL = "PARALLEL"
_QUEUE_LINES = 10_000
_PAUSE_S = 0.01
_FIRST = ("timestamp", "level", "logger", "event", "request_id")
_ENCODER = json.JSONEncoder(ensure_ascii=True, check_circular=False)
_parallel = logging.getLogger(PARALLEL)
_parallel_events = structlog.stdlib.get_logger(PARALLEL)

Event = MutableMapping[str, Any]

_CHATTY = "alembic.runtime.plugins"  # six lines at each migration, about alembic itself


def parallel_debug(event: str, **fields: object) -> None:
    """One line for `tail -f app.log | grep PARALLEL`, when PARALLEL_UPLOAD_DEBUG_LOGGING is on; else nearly nothing.

    Any thread may call it.
    """
    if _parallel.isEnabledFor(logging.DEBUG):
        _parallel_events.debug(event, **fields)


def _in_order(_logger: object, _method: str, event: Event) -> Event:
    """What one looks for first comes first."""
    return {key: event[key] for key in _FIRST if key in event} | {
        key: value for key, value in event.items() if key not in _FIRST
    }


def _as_json(_logger: object, _method: str, event: Event) -> str:
    """ASCII, so that no line separator or direction mark survives; redaction left nothing that JSON can't hold."""
    return _ENCODER.encode(event)


def _without_colours(_logger: object, _method: str, event: Event) -> Event:
    """Uvicorn's second rendering of the same message."""
    event.pop("color_message", None)
    return event


def _for_terminal(_logger: object, _method: str, event: Event) -> Event:
    def safe(value: object, keep: str = "") -> object:
        if isinstance(value, str):
            return escape_controls(value, keep=keep)
        return escape_controls(repr(value)) if isinstance(value, (list, dict)) else value

    return {
        escape_controls(key): value if key.startswith("_") else safe(value, "\n" if key == "exception" else "")
        for key, value in event.items()
    }


_BEFORE: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    structlog.processors.UnicodeDecoder(),
]


def _formatter(*, console: bool, colours: bool) -> structlog.stdlib.ProcessorFormatter:
    rendering: list[structlog.typing.Processor] = (
        [_for_terminal, structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0)]
        if console
        else [_in_order, _as_json]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_BEFORE, structlog.stdlib.ExtraAdder(), _without_colours],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_event, *rendering],
    )


class _Counting:
    """Mixed into a handler: a line that can't be rendered or written (disk full, reader gone) is counted, no more."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        del record
        self.lost += 1


class _Intake(_Counting, QueueHandler):
    """Renders in the caller's thread, where the context is, and never waits for room."""

    def __init__(self, lines: queue.SimpleQueue[Any], formats: dict[str, logging.Formatter]) -> None:
        super().__init__(lines)
        self._lines = lines
        self._formats = formats

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A record that carries nothing but its finished lines."""
        finished = logging.LogRecord(record.name, record.levelno, "", 0, "", None, None)
        finished.__dict__["lines"] = {name: each.format(record) for name, each in self._formats.items()}
        return finished

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it in the queue, or count it as dropped."""
        # A SimpleQueue has no limit of its own, but costs its callers a quarter of what a Queue does; threads that look
        # at the same moment may pass the limit by as many lines.
        if self._lines.qsize() < _QUEUE_LINES:
            self._lines.put(record)
        else:
            self.lost += 1


class _Finished(logging.Formatter):
    """Takes the line that was rendered on the way in."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        lines: dict[str, str] = record.__dict__["lines"]
        return lines[self._name]


class _Listener(QueueListener):
    def dequeue(self, block: bool) -> logging.LogRecord:  # noqa: FBT001 - logging's signature
        """The next line; after all are written, what came in the pause: each waking takes the GIL from those who work."""
        if self.queue.empty():  # type: ignore[attr-defined]
            time.sleep(_PAUSE_S)
        return super().dequeue(block)

    def enqueue_sentinel(self) -> None:
        """Whatever the limit: the end must not be dropped."""
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]


class _Stream(_Counting, logging.StreamHandler[TextIO]):
    pass


class _File(_Counting, RotatingFileHandler):
    pass


class Logging:
    """The configured logs; `close` writes what is queued and puts everything back as it was."""

    def __init__(self, intake: _Intake, outlets: list[_Stream | _File]) -> None:
        self._intake = intake
        self._outlets = outlets
        self._listener = _Listener(intake.queue, *outlets)
        self._lock = threading.Lock()
        self._closed = False
        self._before = self._install()
        self._listener.start()

    @property
    def dropped(self) -> int:
        """Lines that could not be rendered, queued or written."""
        return self._intake.lost + sum(outlet.lost for outlet in self._outlets)

    def _install(self) -> list[tuple[logging.Logger, list[logging.Handler], int, bool]]:
        # uvicorn installs handlers of its own when it is given a log configuration; what remains of one would double lines.
        names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", _CHATTY, PARALLEL)
        loggers = [logging.getLogger(name) for name in names]
        before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
        for each in loggers:
            each.handlers[:] = []
            each.propagate = True
        loggers[0].handlers[:] = [self._intake]
        logging.getLogger(_CHATTY).setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)
        return before

    def close(self) -> None:
        """Write what is queued, close the file, undo the configuration; idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        logging.captureWarnings(capture=False)
        for logger, handlers, level, propagate in self._before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
        structlog.reset_defaults()
        self._listener.stop()
        for outlet in self._outlets:
            outlet.flush()
            if isinstance(outlet, _File):
                outlet.close()
        self._intake.close()


def configure_logging(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    parallel_debug_enabled: bool = False,
    file: Path | None = None,
    file_bytes: int = 50 * 1024 * 1024,
    file_count: int = 5,
    stream: TextIO | None = None,
) -> Logging:
    """Send all logs, ours and the standard library's, to `stream` and the file.

    Args:
        level: least level logged; the lines of `parallel_debug` have a switch of their own.
        parallel_debug_enabled: whether those are logged.
        file: also written to, rotated; its folder is made. JSON, whatever the stream shows.
        file_bytes: size at which the file is rotated.
        file_count: rotated files that are kept.
        stream: standard output when None; a terminal gets readable lines, anything else JSON.

    Raises:
        SettingsError: the file can't be opened.
    """
    stream = stream or sys.stdout
    outlets: list[_Stream | _File] = [_Stream(stream)]
    formats: dict[str, logging.Formatter] = {"stream": _formatter(console=stream.isatty(), colours=stream.isatty())}
    outlets[0].setFormatter(_Finished("stream"))
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            outlet = _File(file, maxBytes=file_bytes, backupCount=file_count, encoding="utf-8")
        except OSError as exc:
            msg = f"FOREBAY_LOG_FILE={file}: can't be written: {exc.strerror}"
            raise SettingsError(msg) from exc
        name = "file" if stream.isatty() else "stream"
        formats.setdefault(name, _formatter(console=False, colours=False))
        outlet.setFormatter(_Finished(name))
        outlets.append(outlet)
    handle = Logging(_Intake(queue.SimpleQueue(), formats), outlets)
    logging.getLogger().setLevel(level.upper())
    _parallel.setLevel(logging.DEBUG if parallel_debug_enabled else logging.CRITICAL + 1)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_BEFORE,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return handle
