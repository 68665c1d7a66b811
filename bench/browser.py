"""From the file to "verified at the destination" on disk: 1 GiB by the upload page in Chromium, and by the command line client."""

from __future__ import annotations

import hashlib
import os
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
from bench.forebay import MIB, Forebay
from bench.page_cache import touch
from bench.report import Figure
from bench.scene import Sending, made_file

from app.testing.surfer import Surfer, chromium

__all__ = ["browser"]

SIZE = 1024 * MIB
_LONGEST_S = 300.0
_LOOK_S = 0.05
_WATCH = """() => {
  window.longest = 0
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration)
  }).observe({ type: 'longtask' })
  document.querySelector('#pick-files').addEventListener('change', () => { window.began = performance.now() })
}"""
# One question that is answered in the end: who asks again and again keeps the tab, and the processors, from their work.
_TAKEN = """(longest) => new Promise((resolve, reject) => {
  const look = () => {
    if (document.querySelector('li.row')?.dataset.phase !== 'completed') return
    resolve((performance.now() - window.began) / 1000)
  }
  new MutationObserver(look).observe(document.body, { subtree: true, attributeFilter: ['data-phase'] })
  setTimeout(() => reject(new Error('the page did not come to an end')), longest * 1000)
  look()
})"""


def browser(directory: Path, *, rounds: int = 5) -> list[Figure]:
    """Both in turn, so that what else the machine does falls on both; the median of the rounds' ratios.

    A first round warms both up. The browser is traced in it, which would cost the others time.
    """
    path = Path("/dev/shm") / f"forebay-bench-{os.getpid()}.bin"
    digest = made_file(path, SIZE)
    page_s, client_s, longest_ms, tab_mb, busiest_ms = [], [], 0.0, 0.0, 0.0
    try:
        with Forebay(directory / "forebay") as server:
            for number in range(rounds + 1):
                touch(directory, mib=SIZE // MIB)
                taken, task_ms, tab, busy_ms = _by_page(server, path, traced=not number)
                _check(server, path, digest)
                touch(directory, mib=SIZE // MIB)
                sent = Sending(path, url=server.url, state=directory / "client").wait()
                _check(server, path, digest)
                busiest_ms = max(busiest_ms, busy_ms)
                if number:
                    page_s.append(taken)
                    client_s.append(sent.seconds)
                    longest_ms, tab_mb = max(longest_ms, task_ms), max(tab_mb, tab)
    finally:
        path.unlink()
    ratio = statistics.median(page / client for page, client in zip(page_s, client_s, strict=True))
    return [
        Figure(
            "1 GiB to disk, the page in Chromium / `forebay upload`",
            "≤ 1.5",
            f"{ratio:.2f}",
            f"{statistics.median(page_s):.1f} : {statistics.median(client_s):.1f} s, until it is verified at the destination",
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


def _by_page(server: Forebay, path: Path, *, traced: bool) -> tuple[float, float, float, float]:
    """One upload in a browser of its own.

    Returns:
        Seconds, its longest task by the clock (ms), the tab's peak memory (MB), and the processor time of the longest task
        (ms; 0 where the browser was not traced).
    """
    with chromium() as program:
        context = program.new_context()
        context.add_init_script("delete window.showOpenFilePicker")
        surfer = Surfer(context, context.new_page())
        surfer.page.goto(server.url)
        surfer.page.wait_for_selector("#pick-files", state="attached")
        surfer.page.evaluate(_WATCH)
        with surfer.tasks() if traced else nullcontext([0.0]) as tasks:
            surfer.choose(path)
            with _watching(_tabs()) as peak:
                taken = surfer.page.evaluate(_TAKEN, _LONGEST_S)
        return float(taken), float(surfer.page.evaluate("window.longest")), max(peak), max(tasks)


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
