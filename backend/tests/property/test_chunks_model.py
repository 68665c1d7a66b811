"""Chunks in any order, repeated, conflicting, spoilt, too short, too long, broken off, cancelled, completed: the whole
product over HTTP against a plain model of one upload (FAULTS 20).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.testing.api_client import ApiClient, refusal, sha256_field
from app.testing.product import Product

CHUNK = 262_144
MOST_CHUNKS = 5
_BYTES = random.Random(20).randbytes(MOST_CHUNKS * CHUNK)
_OTHER = random.Random(21).randbytes(MOST_CHUNKS * CHUNK)

chunk_numbers = st.integers(0, MOST_CHUNKS - 1)


class ChunksOfAnUpload(RuleBasedStateMachine):
    """`recorded` is all that the model knows: which chunks are there, and with which content."""

    product: Product
    api: ApiClient

    @initialize(count=st.integers(1, MOST_CHUNKS), cut=st.integers(0, CHUNK - 1), explicit=st.booleans())
    def begin(self, count: int, cut: int, explicit: bool) -> None:
        """A file of so many chunks, the last one shorter."""
        self.size = count * CHUNK - cut
        self.explicit = explicit
        self.recorded: dict[int, bytes] = {}
        self.state = "open"
        self.name: str | None = None
        view = self.api.create("a.bin", self.size, chunk_size=CHUNK, completion="explicit" if explicit else "auto")
        self.id = view["id"]
        self.count = view["chunk_count"]
        assert self.count == count

    def _content(self, number: int, other: bool) -> bytes:
        return (_OTHER if other else _BYTES)[number * CHUNK : min((number + 1) * CHUNK, self.size)]

    def _file(self) -> bytes:
        return b"".join(self.recorded[number] for number in range(self.count))

    @rule(number=chunk_numbers, other=st.booleans(), digest=st.sampled_from(["none", "right", "wrong"]))
    def put(self, number: int, other: bool, digest: str) -> None:
        """A whole chunk, with this or that content."""
        body = self._content(number, other)
        headers = {} if digest == "none" else {"Content-Digest": sha256_field(body if digest == "right" else b"no")}
        reply = self.api.put_chunk(self.id, number, body or b"x", headers)
        if number >= self.count:
            refusal(reply, 400, "chunk-out-of-range")
        elif self.state in {"cancelled", "failed"}:
            refusal(reply, 409, "state-conflict")
        elif digest == "wrong":
            refusal(reply, 422, "digest-mismatch")
        elif self.recorded.get(number, body) != body:
            refusal(reply, 409, "chunk-conflict")
        else:
            assert reply.status == 204, reply
            self.recorded[number] = body
            if len(self.recorded) == self.count and not self.explicit and self.state == "open":
                self._completed(self.api.complete(self.id).json)

    @rule(number=chunk_numbers, by=st.sampled_from([-1, 1]))
    def put_another_length(self, number: int, by: int) -> None:
        """Short and long, said in Content-Length: refused before a byte is read."""
        expected = len(self._content(number, other=False)) if number < self.count else CHUNK
        reply = self.api.put_chunk(self.id, number, b"x" * (expected + by))
        if number >= self.count:
            refusal(reply, 400, "chunk-out-of-range")
        else:
            refusal(reply, 400 if by < 0 else 413, "chunk-short" if by < 0 else "chunk-long")

    @rule(number=chunk_numbers, sent=st.integers(0, CHUNK - 1), resets=st.booleans())
    def break_off(self, number: int, sent: int, resets: bool) -> None:
        """A connection that ends in the middle of a chunk, recorded or not: as if it had not been."""
        if number < self.count:
            length = len(self._content(number, other=False))
            with self.product.client() as leaving:
                leaving.begin_chunk(self.id, number, length, b"\xff" * min(sent, length - 1))
                if resets:
                    leaving.reset()
            self.product.wait_for(self.product.quiescent)

    @rule(digest=st.sampled_from(["none", "right", "wrong"]))
    def complete(self, digest: str) -> None:
        """Only what is whole is completed, and only if it is what the client says."""
        whole = len(self.recorded) == self.count
        declared = self._file() if whole and digest == "right" else b"something else"
        reply = self.api.complete(self.id, **({} if digest == "none" else {"digest": sha256_field(declared)}))
        if self.state in {"cancelled", "failed"}:
            assert reply.status in {409, 422}
            refusal(reply, reply.status)
        elif not whole:
            refusal(reply, 409, "incomplete")
        elif digest == "wrong":
            refusal(reply, 422, "digest-mismatch")
            self.state = "failed" if self.state == "open" else self.state
        else:
            self._completed(reply.json)

    def _completed(self, view: dict[str, Any]) -> None:
        assert view["state"] == "completed"
        assert self.state in {"open", "completed"}
        self.state = "completed"
        self.name = view["result"]["name"]
        assert sha256_field(self._file()) in view["result"]["digest"]
        assert (self.product.files / self.name).read_bytes() == self._file()

    @precondition(lambda self: self.recorded or self.state != "open")
    @rule()
    def cancel(self) -> None:
        """For good, unless it is completed."""
        reply = self.api.cancel(self.id)
        if self.state == "completed":
            refusal(reply, 409, "state-conflict")
        else:
            assert reply.status == 204
            self.state = "failed" if self.state == "failed" else "cancelled"
            assert not (self.product.spool / self.id).exists()

    @invariant()
    def the_server_shows_what_the_model_knows(self) -> None:
        """State, what is missing, and what is at the destination."""
        if not hasattr(self, "id"):
            return
        view, progress = self.api.upload(self.id), self.api.progress(self.id)
        shown = {number for span in view["missing_chunks"] for number in range(span["first"], span["last"] + 1)}
        assert shown == set(range(self.count)) - set(self.recorded)
        assert view["bytes_received"] == sum(map(len, self.recorded.values())) == progress["bytes_received"]
        expected = {"open": {"receiving" if self.recorded else "created"}}.get(self.state, {self.state})
        assert view["state"] in expected
        assert (progress["progress_percent"] == 100) is (self.state == "completed")
        assert (view["result"] is not None) is (self.state == "completed")

    def teardown(self) -> None:
        """Everything is back, and only what was completed is there."""
        if hasattr(self, "id"):
            self.api.cancel(self.id)
            self.product.wait_for(self.product.quiescent)
            status = self.api.status()
            assert status["concurrency_manager"]["active_uploads"] == 0
            assert list(self.product.spool.iterdir()) == []
            names = [path.name for path in self.product.files.glob("*") if path.is_file()]
            assert names == ([self.name] if self.name else [])
            for name in names:
                (self.product.files / name).unlink()


def test_any_sequence_of_requests_is_one_the_model_allows(start_product: Callable[..., Product]) -> None:
    """Every answer, and every state between."""
    product = start_product(slot_idle_s=3600)
    with product.client() as api:
        machine = type("ChunksOfAnUpload", (ChunksOfAnUpload,), {"product": product, "api": api})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
