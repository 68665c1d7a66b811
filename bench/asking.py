"""Latencies of small requests, one after the other over a connection that is kept, while something else goes on."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Question", "asking", "told"]

_PAUSE_S = 0.01  # between questions: whoever asks is no load
_MS = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """A request without a body."""

    name: str
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def asking(port: int, questions: Sequence[Question], *, source: str = "127.0.0.1") -> Iterator[dict[str, list[float]]]:
    """Ask in turn until the block ends; yields the latencies in seconds by question, whole when it has ended.

    Raises:
        RuntimeError: when the block ends, if something was answered with an error or not at all.
    """
    latencies: dict[str, list[float]] = {question.name: [] for question in questions}
    over = threading.Event()
    trouble: list[str] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
        try:
            while not trouble:
                for question in questions:
                    if over.wait(_PAUSE_S):
                        return
                    began = time.perf_counter()
                    connection.request(question.method, question.target, headers=dict(question.headers))
                    answer = connection.getresponse()
                    answer.read()
                    latencies[question.name].append(time.perf_counter() - began)
                    if answer.status >= 300:
                        trouble.append(f"{question.name}: {answer.status}")
        except OSError as exc:
            trouble.append(repr(exc))
        finally:
            connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield latencies
    finally:
        over.set()
        thread.join()
    if trouble:
        raise RuntimeError(f"a question was not answered: {trouble[0]}")


def told(latencies: Sequence[float]) -> str:
    """Median and 99th percentile."""
    p99 = statistics.quantiles(latencies, n=100)[98]
    return f"p50 {statistics.median(latencies) * _MS:.1f} ms, p99 {p99 * _MS:.1f} ms"
