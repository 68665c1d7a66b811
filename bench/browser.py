"""From the file to "verified at the destination" on disk: 1 GiB by the upload page in Chromium, and by the command line client."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from bench.forebay import MIB, Forebay
from bench.page_cache import touch
from bench.report import Figure
from bench.scene import Sending, made_file
from playwright.sync_api import Page, sync_playwright

from app.testing.surfer import Surfer, chromium

__all__ = ["browser"]

SIZE = 1024 * MIB
_LONGEST_S = 300.0
_STARTS_S = 60.0
_LOOK_S = 0.05
_LOOK_AGAIN_S = 0.2
_PLAIN_INPUT = "delete window.showOpenFilePicker"  # Playwright can choose a file for an input only
_WATCH = """() => {
  window.longest = 0
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration)
  }).observe({ type: 'longtask' })
  let began
  document.querySelector('#pick-files').addEventListener('change', () => { began = performance.now() })
  window.taken = new Promise((resolve) => {
    const look = () => {
      if (document.querySelector('li.row')?.dataset.phase !== 'completed') return
      resolve((performance.now() - began) / 1000)
    }
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributeFilter: ['data-phase'] })
  })
}"""
# What a page needs at the very least: the same requests, for the same chunks, and nothing else.
_SEND = """() => {
  const input = document.createElement('input')
  input.type = 'file'
  input.id = 'pick-files-bare'
  document.body.append(input)
  const upload = async () => {
    const [file] = input.files
    const began = performance.now()
    const asked = { filename: 'bare.bin', size: file.size }
    const headers = { 'content-type': 'application/json' }
    const created = await fetch('/api/v1/uploads', { method: 'POST', headers, body: JSON.stringify(asked) })
    const { id, chunk_size, chunk_count } = await created.json()
    let next = 0
    const lane = async () => {
      while (next < chunk_count) {
        const number = next++
        const body = file.slice(number * chunk_size, (number + 1) * chunk_size)
        await new Promise((resolve, reject) => {
          const request = new XMLHttpRequest()
          request.open('PUT', `/api/v1/uploads/${id}/chunks/${number}`)
          request.onload = resolve
          request.onerror = reject
          request.send(body)
        })
      }
    }
    await Promise.all([lane(), lane(), lane(), lane()])
    while ((await (await fetch(`/api/v1/uploads/${id}`)).json()).state !== 'completed') {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return (performance.now() - began) / 1000
  }
  window.longest = 0
  window.taken = new Promise((resolve, reject) => { input.onchange = () => upload().then(resolve, reject) })
}"""


def browser(directory: Path, *, rounds: int = 7) -> list[Figure]:
    """The three in turn, so that what else the machine does falls on all; the medians of the rounds' ratios.

    A first round warms them up. The browser is traced in it, which would cost the others time.
    """
    path = Path("/dev/shm") / f"forebay-bench-{os.getpid()}.bin"
    digest = made_file(path, SIZE)
    page_s, bare_s, client_s, longest_ms, tab_mb, busiest_ms = [], [], [], 0.0, 0.0, 0.0
    try:
        with Forebay(directory / "forebay") as server:
            for number in range(rounds + 1):
                touch(directory, mib=SIZE // MIB)
                if not number:
                    busiest_ms = _busiest_task(server, path)
                    _check(server, path, digest)
                    continue
                taken, task_ms, tab = _by_page(server, path, _WATCH, "#pick-files")
                _check(server, path, digest)
                touch(directory, mib=SIZE // MIB)
                bare, _, _ = _by_page(server, path, _SEND, "#pick-files-bare")
                _check(server, path, digest)
                touch(directory, mib=SIZE // MIB)
                sent = Sending(path, url=server.url, state=directory / "client").wait()
                _check(server, path, digest)
                page_s.append(taken)
                bare_s.append(bare)
                client_s.append(sent.seconds)
                longest_ms, tab_mb = max(longest_ms, task_ms), max(tab_mb, tab)
    finally:
        path.unlink()
    seconds = [statistics.median(each) for each in (page_s, bare_s, client_s)]
    return [
        Figure(
            "1 GiB to disk, the page in Chromium / `forebay upload`",
            "≤ 1.5",
            f"{_ratio(page_s, client_s):.2f}",
            f"{seconds[0]:.1f} : {seconds[2]:.1f} s, until it is verified at the destination",
        ),
        Figure(
            "1 GiB to disk, the same requests of a page without anything else / `forebay upload`",
            "",
            f"{_ratio(bare_s, client_s):.2f}",
            f"{seconds[1]:.1f} : {seconds[2]:.1f} s; no digests, no display",
        ),
        Figure(
            "longest task of the tab meanwhile, of processor time",
            "≤ 100 ms",
            f"{busiest_ms:.0f} ms",
            f"by the clock {longest_ms:.0f} ms, of which none under 50 ms are told: two processors for everybody",
        ),
        Figure(
            "private memory of the tab at its peak",
            "≤ 300 MB",
            f"{tab_mb:.0f} MB",
            "the renderer's process, page and worker; looked at 20 times a second",
        ),
    ]


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def _busiest_task(server: Forebay, path: Path) -> float:
    """The processor time of the longest task of an upload's tab, in ms."""
    with chromium() as program:
        context = program.new_context()
        context.add_init_script(_PLAIN_INPUT)
        surfer = Surfer(context, context.new_page())
        surfer.page.goto(server.url)
        surfer.page.wait_for_selector("#pick-files", state="attached")
        surfer.page.evaluate(_WATCH)
        with surfer.tasks() as tasks:
            surfer.choose(path)
            surfer.page.evaluate("window.taken")
        return max(tasks)


def _by_page(server: Forebay, path: Path, script: str, selector: str) -> tuple[float, float, float]:
    """One upload in a browser of its own, by what the script begins when the file is chosen.

    Returns:
        Seconds, its longest task by the clock (ms), and the tab's peak memory (MB).
    """
    before = _newest(server)
    with _chromium_alone() as tools:
        with tools() as page:
            page.add_init_script(_PLAIN_INPUT)
            page.goto(server.url)
            page.wait_for_selector("#pick-files", state="attached")
            page.evaluate(script)
            _choose(page, selector, path)
        with _watching(_tabs()) as peak:
            deadline = time.monotonic() + _LONGEST_S
            while (newest := _newest(server)) == before or newest[1] != "completed":
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not stored: {newest}")
                time.sleep(_LOOK_AGAIN_S)
        with tools() as page:
            return float(page.evaluate("window.taken")), float(page.evaluate("window.longest")), max(peak)


def _choose(page: Page, selector: str, path: Path) -> None:
    """Choose a file for an input; Playwright itself takes this browser for one elsewhere, and would send the file there."""
    devtools = page.context.new_cdp_session(page)
    document = devtools.send("DOM.getDocument")["root"]["nodeId"]
    node = devtools.send("DOM.querySelector", {"nodeId": document, "selector": selector})["nodeId"]
    devtools.send("DOM.setFileInputFiles", {"files": [str(path)], "nodeId": node})


def _newest(server: Forebay) -> tuple[str, str]:
    """Id and state of the newest upload."""
    view: dict[str, Any] = next(iter(server.call("GET", "/api/v1/uploads?limit=1")["uploads"]), {})
    return view.get("id", ""), view.get("state", "")


@contextmanager
def _chromium_alone() -> Iterator[Callable[[], AbstractContextManager[Page]]]:
    """The system's Chromium with one page; yields what opens its developer tools for a block.

    While they are open, each request is told to them, which costs the browser a tenth of its time; nobody who uploads a file
    has them open.
    """
    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = ["--headless", "--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        running = psutil.Popen(
            [program, *arguments, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port_file = Path(profile) / "DevToolsActivePort"

        @contextmanager
        def tools() -> Iterator[Page]:
            with sync_playwright() as playwright:
                port = port_file.read_text().splitlines()[0]
                browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
                yield browser.contexts[0].pages[0]
                browser.close()

        try:
            deadline = time.monotonic() + _STARTS_S
            while not port_file.exists() or "\n" not in port_file.read_text():
                if running.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Chromium does not start")
                time.sleep(_LOOK_S)
            yield tools
        finally:
            family = [running, *running.children(recursive=True)]
            running.terminate()
            for process in psutil.wait_procs(family, timeout=10)[1]:
                process.kill()


@contextmanager
def _watching(tabs: list[int]) -> Iterator[list[float]]:
    """Look at the tabs' memory (MB) as long as the block lasts; yields what is seen."""
    seen, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            seen.extend(_private_mb(tab) for tab in tabs)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _tabs() -> list[int]:
    """Processes of tabs among our children."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if "--type=renderer" in child.cmdline()]


def _private_mb(pid: int) -> float:
    """What a process has for itself, in MB: the figure of Chromium's own task manager. 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    return (
        sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon", "VmSwap"))) * 1024 / 1e6
    )


def _check(server: Forebay, path: Path, digest: str) -> None:
    """The file has landed whole; and is removed.

    Raises:
        RuntimeError: it has not.
    """
    newest = server.call("GET", "/api/v1/uploads?limit=1")["uploads"][0]
    if newest["state"] != "completed" or newest["size"] != SIZE:
        raise RuntimeError(f"not stored: {newest['state']}")
    landed = server.files / newest["result"]["name"]
    with landed.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise RuntimeError(f"{path.name} was stored with other bytes")
    landed.unlink()
    os.sync()
