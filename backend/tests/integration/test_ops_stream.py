"""The operations stream of a real server: who may read it, what it says, and what it says of slow uploads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.api.ops_stream import (
    DestinationState,
    OpsHistory,
    OpsIncident,
    OpsLimits,
    OpsRow,
    OpsSample,
)
from app.core.errors import DestinationLoginLost
from app.core.tokens import new_token
from app.destinations.port import Abilities, Digests, Source, Target
from app.services.memory_monitor import MemorySample
from app.testing.api_client import refusal
from app.testing.ops_stream import OpsStream, StreamEnded
from app.testing.product import Product
from app.testing.server_process import ServerProcess

Start = Callable[..., Product]
KIB, MIB = 1024, 1 << 20


def token_of(product: Product, user: str, *, operator: bool) -> tuple[str, str]:
    """A new token and its id."""
    secret, digest = new_token()
    record = product.call(
        product.server.repository.add_token(user, digest, label="", operator=operator, expires_at=None)
    )
    return secret, record.id


@contextmanager
def watched(product: Product) -> Iterator[OpsStream]:
    """Its stream, from the beginning."""
    with OpsStream(product.address) as stream:
        yield stream.until(lambda said: said.incidents)


def names(stream: OpsStream, view: dict[str, Any], cause: str) -> bool:
    """Whether it says that the upload waits for that."""
    row = stream.rows.get(view["id"])
    return row is not None and row["slowness"] == cause


# -- who may read it -----------------------------------------------------------------------------------------------------


def test_it_is_for_operators(start_product: Start) -> None:
    """401 without a token, 403 with anybody's; a cookie will do, as event streams can't send a field."""
    product = start_product(auth="tokens")
    operator, _ = token_of(product, "olga", operator=True)
    user, _ = token_of(product, "ann", operator=False)
    with product.client() as nobody, product.client(token=user) as ann:
        refusal(nobody.request("GET", "/api/v1/ops/events"), 401, "unauthenticated")
        refusal(ann.request("GET", "/api/v1/ops/events"), 403, "forbidden")
    with OpsStream(product.address, token=operator) as stream:
        stream.until(lambda said: said.samples)


def test_it_ends_when_the_token_is_revoked(start_product: Start) -> None:
    """Within the seconds for which a token is believed."""
    product = start_product(auth="tokens")
    operator, token_id = token_of(product, "olga", operator=True)
    with OpsStream(product.address, token=operator) as stream:
        stream.until(lambda said: said.samples)
        assert product.call(product.server.repository.revoke_token(token_id))
        with pytest.raises(StreamEnded):
            stream.until(lambda _: False, 20)


def test_it_ends_with_the_server_and_says_so(start_server: Callable[..., ServerProcess]) -> None:
    """A stop is not held up by whoever looks."""
    server = start_server()
    with OpsStream(("127.0.0.1", server.port)) as stream:
        stream.until(lambda said: said.samples)
        began = time.monotonic()
        server.stop()
        with pytest.raises(StreamEnded):
            stream.until(lambda _: False, 20)
    assert [incident["kind"] for incident in stream.incidents.values()] == ["start", "stop"]
    assert time.monotonic() - began < 15, "the grace time is 20 s"


# -- what it says --------------------------------------------------------------------------------------------------------


def test_everything_is_as_its_schema_says(start_product: Start) -> None:
    """In an order that a page can rely on: what is so first, then what changes."""
    product = start_product()
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", 2 * MIB)
        client.put_chunk(view["id"], 0, os.urandom(view["chunk_size"]))
        stream.until(lambda said: len(said.samples) >= 2 and view["id"] in said.rows)
        assert stream.events[:5] == ["history", "limits", "destinations", "uploads", "incidents"]
        OpsHistory.model_validate(stream.history)
        OpsLimits.model_validate(stream.limits)
        for sample in stream.samples:
            OpsSample.model_validate(sample)
        for state in stream.destinations.values():
            DestinationState.model_validate(state)
        for incident in stream.incidents.values():
            OpsIncident.model_validate(incident)
        row = OpsRow.model_validate(stream.rows[view["id"]])
        assert (row.owner, row.filename, row.size, row.destination) == ("local", "a.bin", 2 * MIB, "default")
        assert stream.destinations["default"]["kind"] == "disk"
        document = client.get("/openapi.json")
        assert {"OpsSample", "OpsRow", "DestinationState", "OpsIncident"} <= document["components"]["schemas"].keys()


def test_an_upload_comes_changes_and_goes(start_product: Start) -> None:
    """The bytes that were received and stored, and then that it is gone."""
    product = start_product()
    content = os.urandom(2 * MIB)
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", len(content))
        stream.until(lambda said: view["id"] in said.rows)
        first = content[: view["chunk_size"]]
        client.put_chunk(view["id"], 0, first)
        stream.until(lambda said: said.rows[view["id"]]["received"] == len(first))
        assert stream.rows[view["id"]]["state"] == "receiving"
        before = len(stream.samples)
        client.put_all(view, content)
        stream.until(lambda said: view["id"] in said.gone and len(said.samples) > before + 1)
        rates = stream.samples[before:]
        assert sum(sample["bytes_in"] for sample in rates) > 0
        assert sum(sample["bytes_out"] for sample in rates) > 0
        assert any(sample["chunk_p50_ms"] is not None for sample in rates)


def test_rows_are_sent_only_when_they_differ(start_product: Start) -> None:
    """What stands still costs nothing."""
    product = start_product()
    with product.client() as client, watched(product) as stream:
        for number in range(20):
            client.create(f"{number}.bin", MIB)
        stream.until(lambda said: [row["slowness"] for row in said.rows.values()] == ["client"] * 20)
        rows, samples = stream.events.count("uploads"), len(stream.samples)
        stream.until(lambda said: len(said.samples) >= samples + 4)
        assert stream.events.count("uploads") == rows


def test_while_nobody_looks_nothing_is_computed_and_the_history_goes_on(start_product: Start) -> None:
    """The history is there for whoever comes."""
    product = start_product()
    feed, sampler = product.server.context.ops, product.server.sampler
    with watched(product):
        product.wait_for(lambda: feed.listeners == 1)
    product.wait_for(lambda: feed.listeners == 0)
    assert not feed._rows
    product.wait_for(lambda: sampler.history.steps_total >= 1)
    with watched(product) as stream:
        assert stream.history["step_seconds"] == 5
        assert len(stream.history["samples"]) >= 1


def test_a_listener_that_does_not_keep_up_is_let_go(start_product: Start) -> None:
    """The server's memory does not grow with what it missed."""
    product = start_product()
    feed, sampler = product.server.context.ops, product.server.sampler

    async def neglect() -> list[Any]:
        with feed.listen() as listener:
            for _ in range(1000):
                feed.tick(sampler.take())
            return [message async for message in listener.messages()]

    assert product.call(neglect()) == []


# -- incidents -----------------------------------------------------------------------------------------------------------


def sentences(stream: OpsStream, kind: str) -> list[str]:
    """What was said of that kind."""
    return [incident["sentence"] for incident in stream.incidents.values() if incident["kind"] == kind]


def test_refusals_and_failures_are_told_once_with_their_number(start_product: Start) -> None:
    """In the words in which the client was answered."""
    product = start_product(max_file_mb=1)
    with product.client() as client, watched(product) as stream:
        for _ in range(3):
            refused = client.post("/api/v1/uploads", {"filename": "a", "size": 2 * MIB})
        client.request("GET", "/api/v1/uploads/none")
        stream.until(lambda said: any(one["count"] == 3 for one in said.incidents.values()))
        assert sentences(stream, "refusal") == [refused.json["detail"]]
        told = next(one for one in stream.incidents.values() if one["kind"] == "refusal")
        assert told["owner"] == "local"
        view = client.create("broken.bin", 4, digest=f"sha-256=:{'A' * 43}=:")
        client.put_chunk(view["id"], 0, b"abcd")
        stream.until(lambda said: sentences(said, "failure"))
        failed = next(one for one in stream.incidents.values() if one["kind"] == "failure")
        assert (failed["upload_id"], failed["owner"]) == (view["id"], "local")
        assert failed["sentence"].startswith("broken.bin: ")


def test_short_memory_is_told_when_it_begins_and_when_it_ends(start_product: Start) -> None:
    """With what it means for those who come."""
    product = start_product()
    memory = product.server.memory
    with watched(product) as stream:
        high = MemorySample(level="high", current_usage=91.3, limit=1 << 30)
        product.call(report(memory, high, MemorySample(level="ok", current_usage=40.0, limit=1 << 30)))
        stream.until(lambda said: len(sentences(said, "memory")) == 2)
        assert "91.3%" in sentences(stream, "memory")[0]
        assert "40.0%" in sentences(stream, "memory")[1]


async def report(memory: Any, *samples: MemorySample) -> None:
    """What the monitor does with samples, none of its own between them."""
    for sample in samples:
        memory._report_change(sample)
        memory._latest = sample


# -- where time goes -----------------------------------------------------------------------------------------------------


class HeldSession:
    """Takes a piece, and keeps it as long as its destination says."""

    state = "0"
    committed = 0

    def __init__(self, destination: HeldDestination) -> None:
        self._destination = destination

    def declare(self, size: int) -> None:
        """It is never finished."""

    async def append(self, pieces: AsyncIterator[memoryview], length: int) -> int:
        """A piece is asked for, and nothing is done with it."""
        del length
        async for _ in pieces:
            await self._destination.released.wait()
        return 0

    async def finish(self, digests: Digests, source: Source) -> Any:
        """Never."""
        raise NotImplementedError

    async def abort(self) -> None:
        """Nothing is there."""


class HeldDestination:
    """Fast at taking, slow at letting go."""

    abilities = Abilities()

    def __init__(self, error: Exception | None = None) -> None:
        self.released = asyncio.Event()
        self._error = error

    async def check(self) -> None:
        """It is there."""

    async def begin(self, target: Target, saved: str | None) -> HeldSession:
        """A session."""
        del target, saved
        if self._error is not None:
            raise self._error
        return HeldSession(self)

    async def aclose(self) -> None:
        """Nothing is open."""
        self.released.set()


def with_destination(name: str, destination: Any) -> Callable[[Any], None]:
    """Another destination in the place of one in the settings."""

    def configure(server: Any) -> None:
        server.destinations[name] = destination

    return configure


def test_a_slow_client_is_named(start_product: Start) -> None:
    """It has begun a chunk, and sends next to nothing."""
    product = start_product()
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", 8 * MIB)
        client.begin_chunk(view["id"], 0, view["chunk_size"], b"x" * 1000)
        stream.until(lambda said: names(said, view, "client"))
        where = stream.rows[view["id"]]["where"]
        assert where["client"] > 10 * sum(value for cause, value in where.items() if cause != "client")
        stream.until(lambda said: said.samples[-1]["slowness"] == "client")


@pytest.mark.parametrize("chunks", [0, 1])
def test_an_upload_of_which_nobody_sends_waits_for_its_client(start_product: Start, chunks: int) -> None:
    """It was begun, and left."""
    product = start_product()
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", 8 * MIB)
        for number in range(chunks):
            client.put_chunk(view["id"], number, os.urandom(view["chunk_size"]))
        stream.until(lambda said: names(said, view, "client"))
        assert stream.rows[view["id"]]["where"]["client"] < 1


def test_a_full_queue_is_named(start_product: Start) -> None:
    """One upload has the only slot, the other waits for it."""
    product = start_product(max_concurrent_uploads=1)
    with product.client() as one, product.client() as other, watched(product) as stream:
        first, second = one.create("a.bin", 8 * MIB), other.create("b.bin", 8 * MIB)
        one.begin_chunk(first["id"], 0, first["chunk_size"], b"x")
        product.wait_for(lambda: product.server.slots.stats.active_uploads == 1)
        other.begin_chunk(second["id"], 0, second["chunk_size"], b"x")
        stream.until(lambda said: names(said, second, "queue"))
        assert stream.rows[second["id"]]["queue_position"] == 1
        stream.until(lambda said: names(said, first, "client"))
        assert stream.samples[-1]["queued"] == 1


def test_a_pool_without_a_free_slab_is_named(start_product: Start) -> None:
    """A destination that is slow has the only slab that is not reserved; another upload waits for one."""
    held = HeldDestination()
    product = start_product(
        configure=with_destination("slow", held),
        worker_threads=1,
        buffer_pool_mb=1,
        slab_kb=1024,
        destinations={"slow": "disk:/nowhere"},
    )
    assert product.server.pool.stats.slabs_total == 2
    with product.client() as one, product.client() as other, watched(product) as stream:
        first = one.create("a.bin", 4 * MIB, destination="slow")
        one.put_chunk(first["id"], 0, os.urandom(first["chunk_size"]))
        product.wait_for(lambda: product.server.pool.stats.slabs_leased == 1)
        second = other.create("b.bin", 4 * MIB)
        other.begin_chunk(second["id"], 0, second["chunk_size"], b"x" * (100 * KIB))
        stream.until(lambda said: names(said, second, "slab"))
        stream.until(lambda said: names(said, first, "destination"))
        stream.until(lambda said: said.samples[-1]["slab_waiting"] == 1)


class SlowWriter:
    """A writer on a disk that takes its time."""

    def __init__(self, writer: Any, delay_s: float) -> None:
        self._writer = writer
        self._delay_s = delay_s

    def write(self, view: memoryview) -> None:
        """In the end."""
        time.sleep(self._delay_s)
        self._writer.write(view)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


@pytest.mark.parametrize("delay_s", [0.1, 6.0])
def test_a_slow_disk_is_named(start_product: Start, delay_s: float) -> None:
    """Also while a single write has not come back yet."""

    def configure(server: Any) -> None:
        open_writer = server.staging.open_writer
        server.staging.open_writer = lambda *place: SlowWriter(open_writer(*place), delay_s)

    product = start_product(configure=configure)
    with product.client() as client, watched(product) as stream:
        size = 4 * MIB if delay_s < 1 else 256 * KIB
        view = client.create("a.bin", size, chunk_size=size)
        client.begin_chunk(view["id"], 0, size, b"x" * size)
        stream.until(lambda said: names(said, view, "disk"))
        assert stream.rows[view["id"]]["state"] == "created", "before the end"
        stream.until(lambda said: view["id"] in said.gone)


def test_a_directory_as_destination_is_a_disk(start_product: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another file system, to which the file is copied."""
    product = start_product(configure=lambda server: never_linked(server, monkeypatch))
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", 4 * MIB)
        client.put_all(view, os.urandom(4 * MIB))
        stream.until(lambda said: names(said, view, "disk"))
        stream.until(lambda said: view["id"] in said.gone)


def never_linked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is staged is elsewhere, and writing takes time."""
    destination = server.destinations["default"]
    monkeypatch.setattr(destination, "can_take_over", lambda _source: False)
    begin = destination.begin

    async def begin_slowly(target: Target, saved: str | None) -> Any:
        session = await begin(target, saved)
        finish = session.finish

        async def finish_slowly(digests: Digests, source: Source) -> Any:
            await asyncio.sleep(3)
            return await finish(digests, source)

        monkeypatch.setattr(session, "finish", finish_slowly)
        return session

    monkeypatch.setattr(destination, "begin", begin_slowly)


def test_a_destination_that_is_left_alone_is_told_with_what_to_do(start_product: Start) -> None:
    """The login is lost: its state, its incident, and the upload that waits."""
    held = HeldDestination(DestinationLoginLost())
    product = start_product(configure=with_destination("default", held))
    with product.client() as client, watched(product) as stream:
        view = client.create("a.bin", MIB)
        client.put_all(view, os.urandom(MIB))
        stream.until(lambda said: said.destinations["default"]["breaker"] == "open")
        state = stream.destinations["default"]
        assert (state["reason"], state["waiting"]) == (DestinationLoginLost.code, 1)
        assert "log in again" in state["sentence"]
        stream.until(lambda said: sentences(said, "destination"))
        assert sentences(stream, "destination") == [f"Destination default: {state['sentence']}"]
        stream.until(lambda said: said.destinations["default"]["backoff_until"])
        assert 0 < stream.destinations["default"]["backoff_until"] - time.time() < 10
        stream.until(lambda said: names(said, view, "backoff"))
        assert stream.rows[view["id"]]["problem"] == state["sentence"]


def test_the_sum_is_never_more_than_those_who_wait(start_product: Start) -> None:
    """Eight connections and a transfer, half a minute."""
    product = start_product()
    clients = [product.client() for _ in range(8)]
    try:
        with watched(product) as stream:
            view = clients[0].create("a.bin", 64 * MIB, chunk_size=MIB)
            began = time.monotonic()
            for number, client in enumerate(clients):
                client.begin_chunk(view["id"], number, MIB, b"x" * (number * 1000))
            stream.until(lambda said: said.rows.get(view["id"], {}).get("where", {}).get("client", 0) > 20)
            waited = sum(stream.rows[view["id"]]["where"].values())
            assert waited <= 9 * (time.monotonic() - began) + 1
            stream.until(lambda said: said.samples[-1]["causes"]["client"] > 7)
            assert stream.samples[-1]["causes"]["client"] < 9
    finally:
        for client in clients:
            client.close()
