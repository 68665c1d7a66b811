"""A client that never gives up and remembers every acknowledgement: the witness in tests that kill servers."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.testing.api_client import ApiClient, Reply

__all__ = ["Gone", "StubbornClient", "Witness"]

CHUNK_BYTES = 262_144
_UPLOADS_AT_MOST = 10_000


class Gone(Exception):
    """The server did not answer; ask again when it is back."""


class Witness:
    """What was promised, by all clients together; any thread."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._lock = threading.Condition()
        self.acknowledged = 0
        self.sent_bytes = 0
        self._contents: set[str] = set()
        self.completed: dict[str, str] = {}
        """SHA-256 of each completed file, by its name at the destination."""

    def sends(self, content: bytes) -> None:
        """This content may appear."""
        with self._lock:
            self._contents.add(hashlib.sha256(content).hexdigest())

    def acknowledge(self) -> None:
        """A chunk was answered with 204."""
        with self._lock:
            self.acknowledged += 1
            self._lock.notify_all()

    def complete(self, name: str, content: bytes) -> None:
        """An upload was said to be completed."""
        with self._lock:
            self.completed[name] = hashlib.sha256(content).hexdigest()
            self._lock.notify_all()

    def wait_for_acknowledgements(self, more: int, timeout_s: float = 60.0) -> None:
        """Return when so many more chunks were acknowledged.

        Raises:
            TimeoutError: they were not.
        """
        with self._lock:
            wanted = self.acknowledged + more
            if not self._lock.wait_for(lambda: self.acknowledged >= wanted, timeout_s):
                raise TimeoutError(f"{self.acknowledged} acknowledgements, {wanted} wanted")

    def check(self, files: Path) -> None:
        """Every file at the destination is whole, and every one that was promised is there.

        Raises:
            AssertionError: half a file, other bytes, or none.
        """
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.glob("*") if path.is_file()}
        with self._lock:
            strange = {name for name, digest in found.items() if digest not in self._contents}
            lost = {name for name, digest in self.completed.items() if found.get(name) != digest}
        if strange or lost:
            raise AssertionError(f"not whole: {strange}; promised and not there: {lost}")


class StubbornClient:
    """Uploads files whose content comes from a seed, in a random order of chunks; goes on after every interruption."""

    def __init__(
        self, address: tuple[str, int], witness: Witness, seed: int, *, wait_until_up: Callable[[], None]
    ) -> None:
        """Describe it.

        Args:
            address: of the server, in all its lives.
            witness: told of what is sent and promised.
            seed: of contents and order.
            wait_until_up: returns when the server may be asked again.
        """
        self._api = ApiClient(address)
        self._witness = witness
        self._random = random.Random(seed)  # noqa: S311 - repeatable contents
        self._wait_until_up = wait_until_up

    def run(self, is_over: Callable[[], bool]) -> None:
        """Upload one file after the other until `is_over`; each is compared at its end.

        Raises:
            AssertionError: the server broke a promise.
        """
        for _ in range(_UPLOADS_AT_MOST):
            if is_over():
                return
            self.upload(self._random.randbytes(self._random.randint(1, 12 * CHUNK_BYTES)))

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self._api.close()

    def upload(self, content: bytes) -> dict[str, Any]:
        """One file, to its end; returns the last view."""
        self._witness.sends(content)
        key = {"Idempotency-Key": self._random.randbytes(16).hex()}
        body = {"filename": f"{key['Idempotency-Key']}.bin", "size": len(content), "chunk_size": CHUNK_BYTES}
        view: dict[str, Any] = self._ask(lambda: self._api.post("/api/v1/uploads", body, key), 201).json
        address = f"/api/v1/uploads/{view['id']}"
        acknowledged: set[int] = set()
        while view["state"] in {"created", "receiving"}:
            missing = {number for span in view["missing_chunks"] for number in range(span["first"], span["last"] + 1)}
            if missing & acknowledged:
                raise AssertionError(f"acknowledged and lost: {missing & acknowledged} of {view}")
            try:
                self._send(view, content, missing, acknowledged)
            except Gone:
                self._wait_until_up()
            view = self._ask(lambda: self._api.request("GET", address), 200).json
        done: dict[str, Any] = self._ask(lambda: self._api.post(f"{address}/complete", {}), 200).json
        if done["state"] != "completed":
            raise AssertionError(f"it ended as {done}")
        self._witness.complete(done["result"]["name"], content)
        return done

    def _send(self, view: dict[str, Any], content: bytes, missing: Iterable[int], acknowledged: set[int]) -> None:
        numbers = [*missing, *self._random.sample(sorted(acknowledged), min(1, len(acknowledged)))]
        self._random.shuffle(numbers)
        for number in numbers:
            start = number * view["chunk_size"]
            data = content[start : start + view["chunk_size"]]
            reply = self._once(partial(self._api.put_chunk, view["id"], number, data))
            self._witness.sent_bytes += len(data)
            if reply.status == 204:  # noqa: PLR2004
                acknowledged.add(number)
                self._witness.acknowledge()
            elif reply.status != 503:  # noqa: PLR2004
                raise AssertionError(f"chunk {number}: {reply}")

    def _once(self, ask: Callable[[], Reply]) -> Reply:
        try:
            return ask()
        except (OSError, http.client.HTTPException) as exc:
            raise Gone from exc

    def _ask(self, ask: Callable[[], Reply], status: int) -> Reply:
        """Ask until there is an answer, which must be this one or 503."""
        while True:
            try:
                reply = self._once(ask)
            except Gone:
                self._wait_until_up()
                continue
            if reply.status == status:
                return reply
            if reply.status != 503:  # noqa: PLR2004
                raise AssertionError(f"{status} expected: {reply}")
