"""What the operator reads once the server listens."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from app.core.settings import Settings
from app.core.upload import Mode

__all__ = ["welcome"]

_MODES = {
    Mode.PARALLEL: "parallel",
    Mode.SEQUENTIAL: "sequential (ENABLE_PARALLEL_UPLOADS=False)",
}


def _client() -> str:
    """The client as it is to be typed: by its name where a shell finds it, else by its place beside this interpreter."""
    beside = Path(sys.executable).with_name("forebay")
    return str(beside) if shutil.which("forebay") is None and beside.exists() else "forebay"


def welcome(settings: Settings, url: str) -> str:
    """One short block: where it is, in which mode, where files go, and how to use it.

    Args:
        settings: those in force.
        url: address under which the server answers, without a trailing slash.
    """
    url = (settings.public_url or url).rstrip("/")
    destinations = settings.destination_urls
    default = destinations.pop("default")
    lines = [
        ("Forebay", url),
        ("mode", _MODES[settings.mode]),
        ("files go to", default.partition("?")[0]),
    ]
    if destinations:
        lines.append(("or, by name", ", ".join(sorted(destinations))))
    lines += [
        ("settings", str(settings.env_file_read() or "environment and defaults (no .env here)")),
        ("upload", f"{_client()} upload FILE --server {url}"),
        ("status", f"curl {url}/api/v1/system/upload-status"),
        ("API", f"{url}/docs"),
    ]
    if settings.web:
        lines.append(("operations", f"{url}/ops"))
    return "\n".join(f"{name:>12}  {value}" for name, value in lines)
