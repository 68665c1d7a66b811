"""Other people's upload servers, from their ordinary registries, behind one small interface (`rivals.Rival`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.certificate import Certificate
from bench.peers.install import Absent
from bench.peers.servers import (
    FastApiUploadFile,
    RcloneS3,
    RcloneWebDav,
    ResumableUpload,
    Rustus,
    SeaweedS3,
    Tusd,
    TusNode,
    TusPyServer,
)
from bench.rivals import BareLoop, FastApiStream, NginxDav, Rival

__all__ = ["PEERS", "Absent", "over_tls", "started"]

PEERS: Mapping[str, Callable[[Path], Rival]] = {
    "nginx": partial(NginxDav, buffer="1m"),
    "bare": BareLoop,
    "fastapi-stream": FastApiStream,
    "fastapi-uploadfile": FastApiUploadFile,
    "tusd": Tusd,
    "rustus": Rustus,
    "tus-node": TusNode,
    "tuspyserver": TusPyServer,
    "resumable-upload": ResumableUpload,
    "rclone-webdav": RcloneWebDav,
    "rclone-s3": RcloneS3,
    "seaweedfs-s3": SeaweedS3,
}


def over_tls(certificate: Certificate) -> Mapping[str, Callable[[Path], Rival]]:
    """Those that speak TLS themselves, without a proxy before them."""
    return {
        "nginx": partial(NginxDav, buffer="1m", certificate=certificate),
        "bare": partial(BareLoop, certificate=certificate),
        "fastapi-stream": partial(FastApiStream, certificate=certificate),
        "tusd": partial(Tusd, certificate=certificate),
        "rclone-webdav": partial(RcloneWebDav, certificate=certificate),
    }


def started(
    stack: ExitStack, directory: Path, peers: Mapping[str, Callable[[Path], Rival]] = PEERS
) -> tuple[Sequence[Rival], Mapping[str, str]]:
    """Install and start them; `stack` stops them.

    Returns:
        those that run, and for the names of those that don't, why.
    """
    running: list[Rival] = []
    absent: dict[str, str] = {}
    for name, make in peers.items():
        own = directory / name
        own.mkdir(parents=True)
        try:
            running.append(stack.enter_context(make(own)))
        except (Absent, OSError, RuntimeError) as exc:
            absent[name] = str(exc)
            print(f"absent: {name}: {exc}", file=sys.stderr, flush=True)
    return running, absent
