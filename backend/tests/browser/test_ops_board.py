"""The operations page before a server at work: what it shows, cancelling, filtering, coming back."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess
from app.testing.surfer import NETWORK_TROUBLE, Surfer

MIB = 1 << 20
MARKUP = '<img src=x onerror="alert(1)"> 素材.png'
QUIET_MS = 5000.0
PATIENCE_MS = 30_000.0
OpenPage = Callable[..., Surfer]


@pytest.fixture
def api(server: ServerProcess) -> Iterator[ApiClient]:
    """Somebody who uploads without a browser."""
    with ApiClient(("127.0.0.1", server.port)) as api:
        yield api


@pytest.fixture
def surfer(open_page: OpenPage, server: ServerProcess) -> Surfer:
    """An operator with the board open, and live."""
    surfer = open_page(f"{server.url}/ops")
    wait_until_live(surfer.page)
    return surfer


@pytest.fixture
def page(surfer: Surfer) -> Page:
    """The operator's."""
    return surfer.page


def wait_until_live(page: Page) -> None:
    """Return once the stream is there."""
    expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)


def upload_row(page: Page, name: str) -> Locator:
    """An upload of the table."""
    return page.locator("tbody").get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def tile(page: Page, label: str) -> Locator:
    """The value of a number at the top."""
    return page.locator("li.tile").filter(has=page.get_by_text(label, exact=True)).locator("strong")


def test_the_server_says_who_it_is(page: Page, server: ServerProcess) -> None:
    """Address, version, uptime and mode; and that it has started."""
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text(f"127.0.0.1:{server.port}")
    expect(facts).to_contain_text("parallel")
    expect(facts).to_contain_text(re.compile(r"Up for\s*\d+\s*s"))
    expect(page.get_by_text("Nothing: no upload is under way")).to_be_visible()
    expect(page.get_by_role("list", name="What happened lately")).to_contain_text("has started")


def test_an_upload_is_shown_as_it_gets_on(page: Page, api: ApiClient) -> None:
    """Its name as text, its owner, both phases, what the server does for it, and its end."""
    view = api.create(MARKUP, 8 * MIB)
    row = upload_row(page, MARKUP)
    expect(row).to_contain_text("local")
    expect(row).to_contain_text("Created")
    content = bytes(8 * MIB)
    chunk, half = view["chunk_size"], view["chunk_count"] // 2
    for number in range(half):
        assert api.put_chunk(view["id"], number, content[:chunk]).status == 204
    expect(row).to_contain_text(f"{100 * half * chunk // len(content)} % in")
    expect(tile(page, "Active uploads")).to_have_text("1")
    expect(tile(page, "Chunk time p99")).to_contain_text(re.compile(r"\d\sm?s"))
    for number in range(half, view["chunk_count"]):
        start = number * chunk
        assert api.put_chunk(view["id"], number, content[start : start + chunk]).status == 204
    expect(page.get_by_text("No upload is under way.")).to_be_visible()
    received = page.get_by_role("table", name="Bytes").get_by_role("row", name="In")
    expect(received.get_by_role("cell").last).to_contain_text(re.compile("[kMG]B/s"))


def test_an_upload_is_cancelled_after_a_question(page: Page, api: ApiClient) -> None:
    """Not when the answer is no; and the keyboard finds its way back."""
    view = api.create("mistake.iso", 8 * MIB)
    cancel = upload_row(page, "mistake.iso").get_by_role("button", name="Cancel mistake.iso")
    cancel.click()
    question = page.get_by_role("dialog", name="Cancel this upload?")
    expect(question).to_contain_text("“mistake.iso” of local")
    question.get_by_role("button", name="Keep it").click()
    expect(question).to_be_hidden()
    assert api.upload(view["id"])["state"] == "created"
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    question.get_by_role("button", name="Cancel the upload").click()
    expect(question).to_be_hidden()
    expect(upload_row(page, "mistake.iso")).to_have_count(0)
    assert api.upload(view["id"])["state"] == "cancelled"
    expect(page.get_by_role("group", name="Table of uploads")).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="mistake.iso was cancelled")).to_be_attached()


def test_a_refused_cancel_says_why(surfer: Surfer, server: ServerProcess, api: ApiClient) -> None:
    """In the question itself."""
    api.create("kept.bin", MIB)
    upload_row(surfer.page, "kept.bin").get_by_role("button").click()
    surfer.expects()
    surfer.page.route("**/api/v1/ops/uploads/*", lambda route: route.abort())
    question = surfer.page.get_by_role("dialog")
    question.get_by_role("button", name="Cancel the upload").click()
    expect(question.get_by_role("alert")).to_have_text("The server can't be reached.")
    expect(upload_row(surfer.page, "kept.bin")).to_have_count(1)


def test_uploads_are_sorted_and_filtered(page: Page, api: ApiClient) -> None:
    """By their columns, by words, by state; and the newest is first without being asked."""
    sizes = {"clip 9.mov": 3 * MIB, "clip 10.mov": 2 * MIB, "Ärger.zip": 5 * MIB}
    views = {name: api.create(name, size) for name, size in sizes.items()}
    expect(page.locator(".upload-name")).to_have_text(["Ärger.zip", "clip 10.mov", "clip 9.mov"])
    page.get_by_role("button", name="Size").click()
    expect(page.locator(".upload-name")).to_have_text(["Ärger.zip", "clip 9.mov", "clip 10.mov"])
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="File").click()
    expect(page.locator(".upload-name")).to_have_text(["Ärger.zip", "clip 9.mov", "clip 10.mov"])
    page.get_by_role("button", name="File").click()
    expect(page.locator(".upload-name")).to_have_text(["clip 10.mov", "clip 9.mov", "Ärger.zip"])
    page.get_by_role("button", name="File").click()  # by age again, as at first
    expect(page.locator(".upload-name")).to_have_text(["Ärger.zip", "clip 10.mov", "clip 9.mov"])
    expect(page.get_by_role("columnheader", name="File")).to_have_attribute("aria-sort", "none")
    page.get_by_label("Filter uploads by text").fill("clip")
    expect(page.locator(".upload-name")).to_have_text(["clip 10.mov", "clip 9.mov"])
    api.put_chunk(views["clip 9.mov"]["id"], 0, bytes(views["clip 9.mov"]["chunk_size"]))
    page.get_by_label("Filter uploads by state").select_option("Receiving")
    expect(page.locator(".upload-name")).to_have_text(["clip 9.mov"])
    page.get_by_label("Filter uploads by text").fill("nothing of the kind")
    expect(page.get_by_text("No upload is like that.")).to_be_visible()


def test_the_page_comes_back_with_the_server(surfer: Surfer, server: ServerProcess, api: ApiClient) -> None:
    """Killed and started again: it says so meanwhile, then shows what is so now, each upload once."""
    api.create("lasting.bin", MIB)
    expect(upload_row(surfer.page, "lasting.bin")).to_have_count(1)
    surfer.expects(NETWORK_TROUBLE)
    server.stop(signal.SIGKILL)
    expect(surfer.page.get_by_text("Reconnecting…")).to_be_visible(timeout=PATIENCE_MS)
    expect(surfer.page.get_by_text("The server does not answer. What you see is of")).to_be_visible()
    server.start()
    wait_until_live(surfer.page)
    expect(surfer.page.get_by_text("The server does not answer.")).to_be_hidden()
    expect(upload_row(surfer.page, "lasting.bin")).to_have_count(1)
    with ApiClient(("127.0.0.1", server.port)) as later:
        later.create("new.bin", MIB)
    expect(upload_row(surfer.page, "new.bin")).to_have_count(1)


def test_one_stream_is_all_that_the_page_asks_for(open_page: OpenPage, server: ServerProcess, api: ApiClient) -> None:
    """Nothing is polled beside it, and no chart is loaded for the upload page."""
    asked: list[str] = []
    surfer = open_page("about:blank")
    surfer.page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    surfer.page.goto(f"{server.url}/ops")
    wait_until_live(surfer.page)
    api.create("film.mkv", MIB)
    expect(upload_row(surfer.page, "film.mkv")).to_have_count(1)
    surfer.page.wait_for_timeout(QUIET_MS)
    assert [url for url in asked if url.startswith("/api/")] == ["/api/v1/session", "/api/v1/ops/events"]
    board_only = {url for url in asked if url.startswith("/assets/ops-")}
    assert board_only
    asked.clear()
    surfer.page.goto(server.url)
    expect(surfer.page.get_by_role("button", name="Choose files")).to_be_visible()
    assert not board_only & set(asked)
