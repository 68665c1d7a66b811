"""Running a command: signals, exit codes, and errors as one line that says what to do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import stamina.instrumentation

from forebay._retry import is_transient
from forebay.errors import ForebayError, Unauthenticated

__all__ = ["FAILURE", "advice", "clean", "run"]

FAILURE = 1
_BY_SIGNAL = 128
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def clean(text: str) -> str:
    """Without what could steer a terminal: names and details come from others."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def advice(error: Exception, *, resumable: bool = False) -> str:
    """One line for the user.

    Args:
        error: what ended the command.
        resumable: whether repeating the command goes on where it stopped.
    """
    if isinstance(error, Unauthenticated):
        return "The server does not accept the token, or wants one: set FOREBAY_TOKEN to a valid one."
    line = error.detail if isinstance(error, ForebayError) else str(error)
    if resumable and is_transient(error):
        line += " Gave up waiting; nothing that arrived is lost: the same command goes on where this one stopped."
    if isinstance(error, ForebayError) and error.request_id:
        line += f" (request {error.request_id})"
    return clean(line)


def run(work: Coroutine[Any, Any, int], *, on_signal: Callable[[signal.Signals], None] | None = None) -> int:
    """Run to the end, or to SIGINT or SIGTERM; gives the exit code (130, 143 for the signals).

    The first signal stops the work in good order; a second one ends the process at once, and so does one that comes when
    the work is done: nothing is left but to leave.
    """
    stamina.instrumentation.set_on_retry_hooks(())  # retries are told by the command itself
    caught: list[signal.Signals] = []

    async def guarded() -> int:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)

        def let_end() -> None:
            for each in _SIGNALS:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)  # Python's own of SIGINT would show a traceback

        def stop(number: signal.Signals) -> None:
            caught.append(number)
            let_end()
            task.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number)
        await asyncio.wait([task])
        let_end()
        return FAILURE if task.cancelled() else task.result()

    code = asyncio.run(guarded())
    if caught:
        if on_signal is not None:
            on_signal(caught[0])
        return _BY_SIGNAL + caught[0]
    return code
