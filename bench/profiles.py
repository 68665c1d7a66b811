"""The guide's tuning profiles, each as printed there: an upload over as many connections as the profile has chunks."""

from __future__ import annotations

from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.load import send
from bench.memory import lanes_of
from bench.page_cache import touch
from bench.report import Figure

__all__ = ["PROFILES", "profile_settings", "profiles"]

SIZE = 1024 * MIB

# Name, users, memory in percent, chunk size in MiB, chunks at once (the guide, "Performance Tuning").
PROFILES = (
    ("4 GB, conservative", 15, 70.0, 16, 6),
    ("4 GB, aggressive", 20, 80.0, 32, 8),
    ("8 GB and more", 30, 85.0, 64, 12),
)


def profile_settings(number: int) -> dict[str, str]:
    """The profile of that number, as environment variables."""
    _, users, percent, chunk_mb, chunks = PROFILES[number]
    return {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(users),
        "PARALLEL_UPLOAD_MAX_MEMORY_PERCENT": str(percent),
        "PARALLEL_UPLOAD_CHUNK_SIZE_MB": str(chunk_mb),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_CHUNKS": str(chunks),
    }


def profiles(directory: Path) -> list[Figure]:
    """Throughput, peak of resident memory and size of the pool, one line each."""
    figures = []
    for number, (name, _, _, _, chunks) in enumerate(PROFILES):
        settings = profile_settings(number)
        with Forebay(directory / f"profile-{number}", settings) as server, server.watching_lag() as lag:
            touch(directory, mib=SIZE // MIB)
            upload = server.create(SIZE)
            answers = send(server.port, lanes_of(server, upload, connections=chunks))
            if not answers.ok:
                raise RuntimeError(f"not all was taken: {answers.statuses}")
            pool = server.metric("forebay_pool_slabs") * server.metric("forebay_pool_slab_bytes") / MIB
            peak = server.peak_rss_mib()
            server.discard(upload)
        figures.append(
            Figure(
                f"profile {name}: {upload['chunk_size'] // MIB} MiB chunks, {chunks} connections",
                "-",
                f"{SIZE / MIB / answers.seconds:.0f} MiB/s",
                f"peak RSS {peak:.0f} MiB, pool {pool:.0f} MiB, loop blocked {lag()[0]} at most",
            )
        )
    return figures
