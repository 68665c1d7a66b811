"""Many users at once: slots, the queue and its turns, room for uploads, memory; each with its exact refusal."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.upload import MIB
from app.services._memory_probe import MemoryReading
from app.services.memory_monitor import MemoryMonitor
from app.testing.api_client import ApiClient, Reply, refusal
from app.testing.loop_filesystem import LoopFilesystem, unavailable
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]
GUIDE_LIMIT = "Upload limit exceeded or insufficient resources"
needs_mount = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


@pytest.fixture
def user_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Product, int], ApiClient]]:
    """`user_of(product, n)`: a connection of the n-th user, whose address is 127.0.0.n+2."""
    with ExitStack() as clients:
        yield lambda product, number: clients.enter_context(product.client(source=f"127.0.0.{number + 2}"))


# -- slots and the queue -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_users_at_once_stay_within_the_limits_and_all_finish(start_product: Start) -> None:
    """Five may be active; nobody sees more, and everybody's file is there."""
    product = start_product(auth="none", max_concurrent_users=5, queue_timeout_s=60, slot_idle_s=1)
    most = {"users": 0, "uploads": 0, "queued": 0}
    over = threading.Event()

    def watch() -> None:
        with product.client() as api:
            while not over.is_set():
                now = api.status()["concurrency_manager"]
                most["users"] = max(most["users"], now["active_users"])
                most["uploads"] = max(most["uploads"], now["active_uploads"])
                most["queued"] = max(most["queued"], now["queued"])

    start = threading.Barrier(20)

    def upload(number: int) -> bool:
        content = os.urandom(3 * CHUNK)
        with product.client(source=f"127.0.0.{number + 2}") as api:
            view = api.create(f"{number}.bin", len(content), chunk_size=CHUNK)
            start.wait()
            api.put_all(view, content)
            done = api.complete(view["id"]).json
            return (product.files / done["result"]["name"]).read_bytes() == content

    with ThreadPoolExecutor(21) as pool:
        watching = pool.submit(watch)
        assert all(list(pool.map(upload, range(20))))
        over.set()
        watching.result()
    assert most["users"] <= 5
    assert most["uploads"] <= 5
    with product.client() as api:
        assert api.status()["concurrency_manager"]["refused_total"] == 0


def test_whoever_waits_sees_its_place_and_gets_the_next_slot(
    start_product: Start, user_of: Callable[[Product, int], ApiClient]
) -> None:
    """The body stays unread while it is queued; the slot comes with the end of another upload."""
    product = start_product(auth="none", max_concurrent_uploads=1, queue_timeout_s=60, slot_idle_s=3600)
    first = user_of(product, 0)
    holding = first.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
    assert first.put_chunk(holding["id"], 0, b"x" * CHUNK).status == 204
    waiting = []
    for number in (1, 2):
        api = user_of(product, number)
        view = api.create(f"{number}.bin", CHUNK)
        sock = api.begin_chunk(view["id"], 0, CHUNK, b"y" * CHUNK)
        product.wait_for(lambda number=number: product.server.slots.stats.queued == number)
        waiting.append((api, view, sock))
    for place, (_, view, _) in enumerate(waiting, 1):
        with product.client(source=f"127.0.0.{place + 2}") as looking:
            now = looking.upload(view["id"])
            assert (now["queue_position"], now["bytes_received"]) == (place, 0)
    assert first.put_chunk(holding["id"], 1, b"x" * CHUNK).status == 204
    for _, _, sock in waiting:
        assert sock.recv(12) == b"HTTP/1.1 204"


def test_who_waits_too_long_is_refused_in_the_guides_words(start_product: Start) -> None:
    """503 with Retry-After, the body unread; counted as refused; and what was created is still there."""
    product = start_product(auth="none", max_concurrent_users=1, queue_timeout_s=0.2, slot_idle_s=3600)
    with product.client(source="127.0.0.2") as first, product.client(source="127.0.0.3") as second:
        view = first.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        first.put_chunk(view["id"], 0, b"x" * CHUNK)
        late = second.create("b.bin", CHUNK)
        reply = refusal(second.put_chunk(late["id"], 0, b"y" * CHUNK), 503, "limit-reached")
        assert reply.json["detail"] == GUIDE_LIMIT
        assert int(reply.headers["retry-after"]) > 0
        assert (
            refusal(second.request("PUT", "/api/v1/files/c", b"z"), 503, "limit-reached").json["detail"] == GUIDE_LIMIT
        )
        assert second.status()["concurrency_manager"]["refused_total"] == 2
        assert second.upload(late["id"])["state"] == "created"
        assert first.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
        assert second.put_chunk(late["id"], 0, b"y" * CHUNK).status == 204


def test_who_leaves_the_queue_costs_nobody_a_turn(start_product: Start) -> None:
    """A client that waits and goes is not waited for."""
    product = start_product(auth="none", max_concurrent_uploads=1, queue_timeout_s=60, slot_idle_s=3600)
    with product.client(source="127.0.0.2") as first, product.client(source="127.0.0.3") as patient:
        view = first.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        first.put_chunk(view["id"], 0, b"x" * CHUNK)
        for leave in ("close", "reset"):
            with product.client(source="127.0.0.4") as leaving:
                gone = leaving.create("b.bin", CHUNK)
                leaving.begin_chunk(gone["id"], 0, CHUNK, b"y" * 1000)
                product.wait_for(lambda: product.server.slots.stats.queued == 1)
                getattr(leaving, leave)()
                product.wait_for(lambda: product.server.slots.stats.queued == 0)
        kept = patient.create("c.bin", CHUNK)
        sock = patient.begin_chunk(kept["id"], 0, CHUNK, b"z" * CHUNK)
        product.wait_for(lambda: product.server.slots.stats.queued == 1)
        assert first.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
        assert sock.recv(12) == b"HTTP/1.1 204"


@pytest.mark.slow
def test_of_two_hundred_queued_files_of_one_user_anothers_first_goes_next(start_product: Start) -> None:
    """Nobody starves: A's queue does not stand before B."""
    product = start_product(auth="none", max_concurrent_uploads=1, queue_timeout_s=100, slot_idle_s=3600)
    with ExitStack() as clients:

        def queue(source: str, name: str) -> tuple[str, socket.socket]:
            api = clients.enter_context(product.client(source=source))
            view = api.create(name, CHUNK, chunk_size=CHUNK)
            return view["id"], api.begin_chunk(view["id"], 0, CHUNK, b"a" * CHUNK)

        first = clients.enter_context(product.client(source="127.0.0.2"))
        holding = first.create("first.bin", 2 * CHUNK, chunk_size=CHUNK)
        assert first.put_chunk(holding["id"], 0, b"a" * CHUNK).status == 204
        for number in range(200):
            queue("127.0.0.2", f"a{number}.bin")
        product.wait_for(lambda: product.server.slots.stats.queued == 200)
        b, answer = queue("127.0.0.3", "b.bin")
        product.wait_for(lambda: product.server.slots.stats.queued == 201)
        with product.client(source="127.0.0.3") as looking:
            assert looking.upload(b)["queue_position"] == 1
            assert first.put_chunk(holding["id"], 1, b"a" * CHUNK).status == 204
            assert answer.recv(12) == b"HTTP/1.1 204"
            assert looking.status()["concurrency_manager"]["queued"] >= 190, "long before A's were through"


def test_one_users_limit_is_that_users_alone(start_product: Start) -> None:
    """MAX_UPLOADS_PER_USER holds one user's third upload back and nobody else's first."""
    product = start_product(auth="none", max_uploads_per_user=2, queue_timeout_s=0.2, slot_idle_s=3600)
    with product.client(source="127.0.0.2") as one, product.client(source="127.0.0.3") as other:
        for name in ("a", "b"):
            view = one.create(name, 2 * CHUNK, chunk_size=CHUNK)
            assert one.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        third = one.create("c", 2 * CHUNK, chunk_size=CHUNK)
        refusal(one.put_chunk(third["id"], 0, b"x" * CHUNK), 503, "limit-reached")
        view = other.create("d", 2 * CHUNK, chunk_size=CHUNK)
        assert other.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204


def test_an_idle_upload_gives_its_slot_to_the_next(start_product: Start) -> None:
    """And goes on when it comes back."""
    product = start_product(auth="none", max_concurrent_uploads=1, queue_timeout_s=60, slot_idle_s=1)
    with product.client(source="127.0.0.2") as idle, product.client(source="127.0.0.3") as other:
        view = idle.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        assert idle.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        assert other.request("PUT", "/api/v1/files/b", b"y").status == 201
        assert idle.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204


# -- room ----------------------------------------------------------------------------------------------------------------


@needs_mount
def test_of_twenty_creations_at_once_with_room_for_ten_ten_succeed(start_product: Start, tmp_path: Path) -> None:
    """Room is reserved for real; what is refused holds nothing, and what ends makes room."""
    with LoopFilesystem(tmp_path, size_mib=64) as disk, ExitStack() as clients:
        product = start_product(disk.path, destination=f"disk:{disk.path}/files")
        with product.client() as api:
            free = api.get("/api/v1/ops/limits")["staging_free"]
            size = (free - MIB) // 10 // 4096 * 4096
            start = threading.Barrier(20)
            apis = [clients.enter_context(product.client()) for _ in range(20)]

            def create(one: ApiClient) -> Reply:
                start.wait()
                return one.post("/api/v1/uploads", {"filename": "a", "size": size})

            with ThreadPoolExecutor(20) as pool:
                replies = list(pool.map(create, apis))
            made = [reply.json["id"] for reply in replies if reply.status == 201]
            refused = [refusal(reply, 507, "out-of-space") for reply in replies if reply.status != 201]
            assert (len(made), len(refused)) == (10, 10)
            assert all(reply.headers["retry-after"] for reply in refused)
            assert len(list(product.spool.iterdir())) == 10
            assert api.cancel(made[0]).status == 204
            assert api.post("/api/v1/uploads", {"filename": "a", "size": size}).status == 201
        product.__exit__()


def test_a_users_cap_binds_that_user_alone(start_product: Start) -> None:
    """20 creations at once under a cap for ten: ten and ten, and another user has his own."""
    product = start_product(auth="none", user_quota_mb=10)
    start = threading.Barrier(20)

    def create(_: int) -> str:
        with product.client(source="127.0.0.2") as api:
            start.wait()
            return api.post("/api/v1/uploads", {"filename": "a", "size": MIB}).code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(create, range(20)))
    assert sorted(codes) == [""] * 10 + ["user-quota"] * 10
    with product.client(source="127.0.0.3") as other:
        assert other.create("a", 10 * MIB)["state"] == "created"


def test_an_idle_reservation_is_given_back_and_regained(start_product: Start) -> None:
    """Room for bytes that have not come, while others need it; then 507 or room, never a lost byte."""
    product = start_product(auth="none", user_quota_mb=2, reservation_idle_s=1)
    content = os.urandom(2 * MIB)
    clock = product.server.context.clock
    with product.client(source="127.0.0.2") as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
        refusal(api.post("/api/v1/uploads", {"filename": "b", "size": MIB}), 507, "user-quota")
        clock._base += 10  # ten seconds of service
        product.call(product.server.housekeeping.sweep())
        second = api.create("b", MIB)
        refusal(api.put_chunk(view["id"], 1, content[CHUNK : 2 * CHUNK]), 507, "user-quota")
        assert api.upload(view["id"])["bytes_received"] == CHUNK
        assert api.cancel(second["id"]).status == 204
        api.put_all(view, content)
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content


@needs_mount
def test_a_disk_that_fills_on_the_way_refuses_and_goes_on_when_there_is_room(
    start_product: Start, tmp_path: Path
) -> None:
    """FAULTS 7: after its reservation was given back an upload meets a full disk: 507, state unchanged, then on."""
    content = os.urandom(8 * CHUNK)
    with LoopFilesystem(tmp_path, size_mib=32) as disk:
        (disk.path / "spool").mkdir()
        product = start_product(tmp_path, configure=_spool_on(disk.path / "spool"), reservation_idle_s=1)
        with product.client() as api:
            view = api.create("a.bin", len(content), chunk_size=CHUNK)
            for number in (0, 5):
                part = content[number * CHUNK : (number + 1) * CHUNK]
                assert api.put_chunk(view["id"], number, part).status == 204
            product.server.context.clock._base += 10
            product.call(product.server.housekeeping.sweep())
            ballast = disk.path / "ballast"
            _fill(ballast)
            before = api.upload(view["id"])
            refusal(api.put_chunk(view["id"], 1, content[CHUNK : 2 * CHUNK]), 507, "out-of-space")
            refusal(api.post("/api/v1/uploads", {"filename": "b", "size": MIB}), 507, "out-of-space")
            after = api.upload(view["id"])
            assert (after["state"], after["missing"]) == (before["state"], before["missing"])
            ballast.unlink()
            api.put_all(view, content)
            done = api.complete(view["id"]).json
            assert (product.files / done["result"]["name"]).read_bytes() == content
        product.__exit__()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for step in (MIB, 4096):
            try:
                while True:
                    file.write(bytes(step))
            except OSError:
                continue


def _spool_on(directory: Path) -> Callable[[object], None]:
    def configure(server: object) -> None:
        server.staging._directory = directory

    return configure


@needs_mount
def test_without_inodes_a_creation_is_refused_and_holds_nothing(start_product: Start, tmp_path: Path) -> None:
    """FAULTS 8."""
    with LoopFilesystem(tmp_path, mkfs_options=("-N", "32")) as disk:
        (disk.path / "spool").mkdir()
        product = start_product(tmp_path, configure=_spool_on(disk.path / "spool"))
        with product.client() as api:
            made = []
            while (reply := api.post("/api/v1/uploads", {"filename": "a", "size": 10})).status == 201:
                made.append(reply.json["id"])
                assert len(made) < 64
            refusal(reply, 507, "out-of-space")
            assert api.put_chunk(made[0], 0, b"0123456789").status == 204
            assert api.complete(made[0]).json["state"] == "completed"
            product.wait_for(lambda: product.server.context.uploads.under_way(made[0]) is None)  # and its inode is free
            assert api.post("/api/v1/uploads", {"filename": "a", "size": 10}).status == 201
        product.__exit__()


# -- memory --------------------------------------------------------------------------------------------------------------


class Gauge:
    """A memory probe of the test's."""

    def __init__(self) -> None:
        self.used: float | None = 10.0

    def __call__(self) -> MemoryReading:
        """What the test says."""
        if self.used is None:
            raise OSError("the probe fails")
        return MemoryReading(
            used_bytes=int(self.used * 1000),
            limit_bytes=100_000,
            capacity_bytes=100_000,
            rss_bytes=1,
            source="cgroup",
            pressure_percent=None,
        )


def test_memory_pressure_refuses_the_new_and_not_those_under_way(start_product: Start) -> None:
    """The guide's message to the letter; no restart is needed; nothing is demanded for the file's size."""
    gauge = Gauge()

    def configure(server: object) -> None:
        server.memory._probe = gauge

    product = start_product(configure=configure)
    memory: MemoryMonitor = product.server.memory
    with product.client() as api:
        view = api.create("a.bin", 3 * CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        gauge.used = 85.2
        product.call(memory.refresh())
        for refused in (
            api.post("/api/v1/uploads", {"filename": "b", "size": 1}),
            api.request("PUT", "/api/v1/files/b", b"x"),
        ):
            reply = refusal(refused, 503, "memory-pressure")
            assert reply.json["detail"] == "Memory usage too high: 85.2%"
            assert int(reply.headers["retry-after"]) > 0
        assert api.status()["memory_monitor"]["current_usage"] == 85.2
        assert api.request("GET", "/readyz").status == 503
        assert api.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
        gauge.used = None
        product.call(memory.refresh())
        refusal(api.post("/api/v1/uploads", {"filename": "b", "size": 1}), 503, "memory-unknown")
        assert api.status()["memory_monitor"]["current_usage"] is None, "no invented number"
        assert api.put_chunk(view["id"], 2, b"x" * CHUNK).status == 204
        assert api.complete(view["id"]).json["state"] == "completed"
        gauge.used = 79.9
        product.call(memory.refresh())
        # Trap of DESIGN section 7: a memory gate that demands the whole file's size.
        assert api.create("huge.bin", 1 << 30)["state"] == "created"
