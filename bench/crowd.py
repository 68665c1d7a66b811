"""Many users at once into Google Drive: what it costs, what goes wrong, and what a Drive that fails now and then does to them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.forebay import MIB
from bench.report import Figure
from bench.scene import ELSEWHERE, MB, Drive, Sending, drive_server

from app.core.settings import load_settings
from app.core.tokens import new_token
from app.persistence.repository import Repository

__all__ = ["FAULTS", "Crowd", "as_often", "crowd", "many_users"]

USERS = 20
SIZE = 900 * MB
SHARE = 0.05  # of Drive's answers that are faults
_FOR_FEW_REQUESTS = 4  # a large file is four or five requests: of 90, 5 % may well be one
_TAG_EVERY = 256 * 1024
_TAG_BYTES = 4096

FAULTS: list[dict[str, object]] = [
    {"on": "upload.put", "probability": 0.01, "fault": {"commit_less": MIB}},
    {"on": "upload.put", "probability": 0.01, "fault": {"cut_after": 8 * MIB}},
    {"on": "upload.put", "probability": 0.005, "fault": {"expire": 404}},
    {"on": "upload.finish", "probability": 0.01, "fault": {"lose_answer": True}},
    {"on": "upload.finish", "probability": 0.01, "fault": {"status": 503, "when": "after"}},
    {"on": "any", "probability": 0.015, "fault": {"status": 503}},
    {"on": "any", "probability": 0.01, "fault": {"status": 429, "retry_after": 1}},
    {"on": "any", "probability": 0.01, "fault": {"status": 500, "when": "after"}},
    {"on": "any", "probability": 0.01, "fault": {"lose_answer": True}},
]
"""About 5 % of the answers, of every kind that passes: refused, lost, half done, cut, expired."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of it."""

    files: int
    seconds: float
    slowest_s: float
    failed: int
    """Files whose client said that they are not at the destination."""
    lost: int
    """Files that a client said are there, and that are not, or not whole."""
    doubled: int
    """Files at the destination that nobody asked for."""
    retries: int
    """Attempts that clients repeated."""
    peak_rss_mib: float
    pool_mib: float
    """Slabs, and the memory in which bytes wait where there is no spool."""
    requests: int
    faults: int
    violations: int
    loop_blocked: str


def crowd(directory: Path) -> list[Figure]:
    """Twenty users with 900 MB each, in both stagings; and with faults, also many small files."""
    figures = []
    for staging, limit in (("spool", None), ("memory", 120)):
        seen = many_users(directory / staging, settings={"PARALLEL_UPLOAD_STAGING": staging})
        figures += _figures(f"{USERS} users x {SIZE // MB} MB at once, {staging}", seen, limit)
    for number, (files, size, factor) in enumerate(((1, SIZE, _FOR_FEW_REQUESTS), (20, 8 * MB, 1))):
        seen = many_users(directory / f"faults-{number}", files=files, size=size, faults=as_often(factor))
        title = f"{USERS} users x {files} x {size // MB} MB, {SHARE:.0%} of Drive's answers faults, or more"
        figures.append(
            Figure(
                f"{title}: files failed, lost, doubled",
                "0, 0, 0",
                f"{seen.failed}, {seen.lost}, {seen.doubled}",
                f"{seen.faults} faults in {seen.requests} requests ({seen.faults / seen.requests:.1%}), all contents "
                f"compared by SHA-256; {seen.seconds:.0f} s; {seen.violations} requests that Drive does not allow",
            )
        )
    return figures


def as_often(factor: int) -> list[dict[str, object]]:
    """Those faults, so many times as often."""
    return [{**each, "probability": factor * float(str(each["probability"]))} for each in FAULTS]


def _figures(title: str, seen: Crowd, above_pool: int | None) -> list[Figure]:
    limit = 200.0 if above_pool is None else seen.pool_mib + above_pool
    rate = seen.files * SIZE / MIB / seen.seconds
    return [
        Figure(
            f"{title}: peak RSS",
            f"≤ {limit:.0f} MiB",
            f"{seen.peak_rss_mib:.0f} MiB",
            f"pool {seen.pool_mib:.0f} MiB; {seen.seconds:.0f} s, {rate:.0f} MiB/s; loop blocked {seen.loop_blocked}",
        ),
        Figure(
            f"{title}: files failed, lost, doubled",
            "0, 0, 0",
            f"{seen.failed}, {seen.lost}, {seen.doubled}",
            f"clients repeated {seen.retries} attempts; all contents compared by SHA-256",
        ),
    ]


def many_users(
    directory: Path,
    *,
    users: int = USERS,
    files: int = 1,
    size: int = SIZE,
    faults: Sequence[Mapping[str, object]] = (),
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Crowd:
    """Each user is a client of its own (`forebay upload`) with a token of its own, and other contents than all others.

    Args:
        directory: for everything; has room for all files twice.
        users: how many.
        files: of each user, one after the other.
        size: of each file.
        faults: the emulator's script.
        settings: of the server, beside its defaults.
        seed: for contents and faults.

    Returns:
        What happened, as the clients, the server and Drive tell it.
    """
    names = [[f"{user}-{number}.bin" for number in range(files)] for user in range(users)]
    expected = _made(directory / "files", [name for each in names for name in each], size, seed)
    with Drive(seed=seed, niceness=ELSEWHERE) as emulator:
        at = directory / "server"
        tokens = asyncio.run(_tokens(at, users))
        with drive_server(emulator, at, settings={"FOREBAY_AUTH": "tokens", **(settings or {})}) as server:
            emulator.inject(faults)
            began = time.monotonic()
            with server.watching_lag() as lag, ThreadPoolExecutor(users) as threads:
                paths = [[directory / "files" / name for name in each] for each in names]
                said = list(
                    threads.map(
                        lambda number: _send(paths[number], server.url, at / f"client-{number}", tokens[number]),
                        range(users),
                    )
                )
            seconds = time.monotonic() - began
            peak = server.peak_rss_mib()
            pool = server.metric("forebay_pool_slabs") * server.metric("forebay_pool_slab_bytes") / MIB
            if server.settings.get("PARALLEL_UPLOAD_STAGING") == "memory":
                pool += server.metric("forebay_staging_total_bytes") / MIB
        there = Counter((file["name"], file["size"], file["digests"]["sha256"]) for file in emulator.files())
        counts, injected = emulator.counts(), emulator.injected()
    done = {name for each in said for name in each.done}
    whole = {name for name, digest in expected.items() if there[name, size, digest]}
    return Crowd(
        files=len(expected),
        seconds=seconds,
        slowest_s=max((each.slowest_s for each in said), default=0.0),
        failed=len(expected) - len(done),
        lost=len(done - whole),
        doubled=there.total() - len(whole),
        retries=sum(each.retries for each in said),
        peak_rss_mib=peak,
        pool_mib=pool,
        requests=sum(counts["requests"].values()),
        faults=injected,
        violations=counts["violations"],
        loop_blocked="{} ({})".format(*lag()),
    )


@dataclass(slots=True)
class _Said:
    """By one client."""

    done: set[str]
    retries: int = 0
    slowest_s: float = 0.0


def _send(files: Sequence[Path], url: str, state: Path, token: str) -> _Said:
    said = _Said(set())
    with Sending(*files, url=url, state=state, token=token, niceness=ELSEWHERE) as sending:
        for event in sending.events():
            match event["event"]:
                case "completed":
                    said.done.add(Path(event["path"]).name)
                    said.slowest_s = max(said.slowest_s, event["result"]["elapsed_s"])
                case "retrying":
                    said.retries += 1
    return said


async def _tokens(directory: Path, users: int) -> list[str]:
    """One for each user, in the database of the server that will start there."""
    settings = load_settings(env_file=None, environ={}, data_dir=directory / "var")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    repository = Repository(settings.secret_database_url())
    await repository.open()
    tokens = []
    try:
        for number in range(users):
            token, secret_hash = new_token()
            await repository.add_token(f"user-{number}", secret_hash, label="bench", operator=False, expires_at=None)
            tokens.append(token)
    finally:
        await repository.close()
    return tokens


def _made(folder: Path, names: Sequence[str], size: int, seed: int) -> dict[str, str]:
    """Files that are mostly holes, with a few KiB of their own in every 256 KiB: nothing can be in another's place."""
    folder.mkdir(parents=True, exist_ok=True)

    def make(name: str) -> str:
        digest = hashlib.sha256()
        tags = random.Random(f"{seed}/{name}")
        rest = bytes(_TAG_EVERY)
        with (folder / name).open("wb") as out:
            out.truncate(size)
            for offset in range(0, size, _TAG_EVERY):
                tag = tags.randbytes(min(_TAG_BYTES, size - offset))
                out.seek(offset)
                out.write(tag)
                digest.update(tag)
                digest.update(memoryview(rest)[: min(_TAG_EVERY, size - offset) - len(tag)])
        return digest.hexdigest()

    with ThreadPoolExecutor(4) as threads:
        return dict(zip(names, threads.map(make, names), strict=True))
