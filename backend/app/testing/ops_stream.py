"""What the operations page knows, read from the server's stream, for tests."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["OpsStream", "StreamEnded"]

Json = Any
_SILENCE_S = 10.0  # twice a second something comes


class StreamEnded(Exception):
    """The server has ended the stream."""


class OpsStream:
    """`with` it, and wait `until` something has been said."""

    def __init__(self, address: tuple[str, int], *, token: str | None = None) -> None:
        """Connect when entered.

        Args:
            address: of the server.
            token: of an operator.
        """
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection(*address, timeout=_SILENCE_S)
        self._answer: http.client.HTTPResponse
        self.events: list[str] = []
        """Names, in order."""
        self.history: Json = None
        self.limits: Json = None
        self.destinations: dict[str, Json] = {}
        self.rows: dict[str, Json] = {}
        self.gone: set[str] = set()
        self.incidents: dict[int, Json] = {}
        self.samples: list[Json] = []

    def __enter__(self) -> Self:
        """Ask for it."""
        self._connection.request("GET", "/api/v1/ops/events", headers=self._headers)
        self._answer = self._connection.getresponse()
        if self._answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"{self._answer.status} {self._answer.read()!r}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self._answer.close()
        self._connection.close()

    def until(self, found: Callable[[Self], object], timeout_s: float = 40.0) -> Self:
        """Read on until `found`.

        Raises:
            AssertionError: not in time; with what is known.
            StreamEnded: before it was.
        """
        deadline = time.monotonic() + timeout_s
        while not found(self):
            if time.monotonic() > deadline:
                raise AssertionError(f"not said: {self.rows} {self.destinations} {self.incidents} {self.samples[-1:]}")
            self._read_event()
        return self

    def _read_event(self) -> None:
        name, data = "", ""
        while line := self._answer.readline().decode().rstrip("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
        if not name:
            if self._answer.isclosed():
                raise StreamEnded
            return
        self.events.append(name)
        self._take(name, json.loads(data))

    def _take(self, name: str, said: Json) -> None:
        match name:
            case "history":
                self.history = said
            case "limits":
                self.limits = said
            case "destinations":
                self.destinations = said
            case "sample":
                self.samples.append(said)
            case "uploads":
                self.rows.update({row["id"]: row for row in said["rows"]})
                for upload_id in said["gone"]:
                    del self.rows[upload_id]
                    self.gone.add(upload_id)
            case "incidents":
                self.incidents.update({incident["id"]: incident for incident in said["incidents"]})
            case _:
                raise AssertionError(f"unknown event {name}")
