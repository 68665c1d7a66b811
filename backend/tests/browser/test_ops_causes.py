"""Each of the six causes of slowness, brought about in a server: the operations page names it, and what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.testing.api_client import ApiClient
from app.testing.drive_emulator import DriveEmulator, Rule, Status
from app.testing.product import Product
from app.testing.surfer import Surfer

KIB, MIB = 1024, 1 << 20
PATIENCE_MS = 30_000.0
Start = Callable[..., Product]
OpenPage = Callable[..., Surfer]


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Connections that last as long as the test."""
    with ExitStack() as clients:
        yield clients


def begin(product: Product, clients: ExitStack, name: str, size: int, first: bytes) -> None:
    """Begin an upload of one chunk, send that much of it, and no more."""
    client: ApiClient = clients.enter_context(product.client())
    view = client.create(name, size, chunk_size=size)
    client.begin_chunk(view["id"], 0, size, first)


def assert_named(page: Page, *, headline: str, advice: str, name: str, waits_for: str) -> None:
    """At the top with what to do about it, and in the upload's row."""
    panel = page.get_by_role("region", name="What slows things down now")
    expect(panel.get_by_role("status")).to_have_text(headline, timeout=PATIENCE_MS)
    expect(panel).to_contain_text(advice)
    row = page.locator("tbody").get_by_role("row").filter(has=page.get_by_text(name, exact=True))
    expect(row).to_contain_text(f"Waits for {waits_for}", timeout=PATIENCE_MS)


def test_slow_clients(open_page: OpenPage, start_product: Start, clients: ExitStack) -> None:
    """One has begun a chunk, and the rest does not come."""
    product = start_product()
    begin(product, clients, "trickle.bin", 4 * MIB, b"x" * 1000)
    assert_named(
        open_page(f"{product.url}/ops").page,
        headline="The clients send more slowly than this server takes",
        advice="PARALLEL_UPLOAD_MAX_CONCURRENT_CHUNKS",
        name="trickle.bin",
        waits_for="bytes from its client",
    )


def test_a_full_queue(open_page: OpenPage, start_product: Start, clients: ExitStack) -> None:
    """One upload has the only slot, and keeps it; two wait."""
    product = start_product(max_concurrent_uploads=1)
    begin(product, clients, "first.bin", 4 * MIB, b"x")
    product.wait_for(lambda: product.server.slots.stats.active_uploads == 1)
    for name in ("second.bin", "third.bin"):
        begin(product, clients, name, 4 * MIB, b"x")
    page = open_page(f"{product.url}/ops").page
    assert_named(
        page,
        headline="Uploads wait for their turn",
        advice="The only slot for uploads is taken; 2 in the queue.",
        name="second.bin",
        waits_for="its turn in the queue",
    )
    expect(page.get_by_text("In the queue, place 1")).to_be_visible()


def test_too_few_buffers(open_page: OpenPage, start_product: Start, clients: ExitStack) -> None:
    """All slabs are out but the one that is reserved."""
    product = start_product(buffer_pool_mb=2, slab_kb=256, worker_threads=4)
    with everything_leased(product):
        begin(product, clients, "thirsty.bin", 4 * MIB, b"x" * MIB)
        assert_named(
            open_page(f"{product.url}/ops").page,
            headline="Uploads wait for a free buffer",
            advice="7 of 8 slabs of the buffer pool are in use.",
            name="thirsty.bin",
            waits_for="a free buffer",
        )


@contextmanager
def everything_leased(product: Product) -> Iterator[None]:
    """Somebody holds every slab that one may hold."""
    leases: list[Any] = []

    async def take() -> None:
        while (lease := product.server.pool.acquire_nowait("somebody")) is not None:
            leases.append(lease)

    async def give_back() -> None:
        for lease in leases:
            lease.release()

    product.call(take())
    try:
        yield
    finally:
        product.call(give_back())


class SlowWriter:
    """Writes on a disk that takes its time, until it is relieved."""

    def __init__(self, writer: Any, relieved: threading.Event) -> None:
        """Wrap it."""
        self._writer = writer
        self._relieved = relieved

    def write(self, view: memoryview) -> None:
        """In the end."""
        self._relieved.wait(0.4)
        self._writer.write(view)

    def __getattr__(self, name: str) -> Any:
        """Everything else is as it was."""
        return getattr(self._writer, name)


def test_a_slow_disk(open_page: OpenPage, start_product: Start, clients: ExitStack) -> None:
    """Each write takes its time."""
    relieved = threading.Event()
    clients.callback(relieved.set)

    def configure(server: Any) -> None:
        open_writer = server.staging.open_writer
        server.staging.open_writer = lambda *place: SlowWriter(open_writer(*place), relieved)

    product = start_product(configure=configure, slab_kb=64)
    begin(product, clients, "heavy.bin", 2 * MIB, b"x" * 2 * MIB)
    assert_named(
        open_page(f"{product.url}/ops").page,
        headline="The disk writes more slowly than bytes come",
        advice="FOREBAY_DATA_DIR",
        name="heavy.bin",
        waits_for="the disk",
    )


@pytest.fixture
def to_drive(start_product: Start, drive: DriveEmulator, drive_settings: dict[str, str]) -> Product:
    """The product, with Google Drive's emulator as its destination."""
    return start_product(
        destination="gdrive:",
        google_drive_api_root=drive.root,
        google_drive_credentials=Path(drive_settings["FOREBAY_GOOGLE_DRIVE_CREDENTIALS"]),
    )


def test_a_slow_destination(open_page: OpenPage, to_drive: Product, drive: DriveEmulator, clients: ExitStack) -> None:
    """A Drive on a slow line."""
    drive.set_rate(64 * KIB)
    begin(to_drive, clients, "patient.bin", 4 * MIB, b"x" * 4 * MIB)
    assert_named(
        open_page(f"{to_drive.url}/ops").page,
        headline="The destination takes bytes more slowly than they come",
        advice="PARALLEL_UPLOAD_MAX_TRANSFERS",
        name="patient.bin",
        waits_for="the destination",
    )
    drive.set_rate(None)


def test_a_destination_that_fails(
    open_page: OpenPage, to_drive: Product, drive: DriveEmulator, clients: ExitStack
) -> None:
    """A Drive that says 503 to everything: left alone, with the time to the next attempt, and what to do."""
    drive.script([Rule("any", Status(503, retry_after=20))])
    begin(to_drive, clients, "stubborn.bin", 4 * MIB, b"x" * 4 * MIB)
    page = open_page(f"{to_drive.url}/ops").page
    assert_named(
        page,
        headline="A destination failed, and is left alone before the next attempt",
        advice="go on by themselves",
        name="stubborn.bin",
        waits_for="the next attempt",
    )
    row = page.locator("tbody").get_by_role("row").filter(has=page.get_by_text("stubborn.bin", exact=True))
    expect(row).to_contain_text("held up")
    expect(page.locator("li.destination")).to_contain_text("Google Drive")
