"""What the operator reads once the server listens."""

from __future__ import annotations

from app.core.settings import Settings
from app.core.upload import Mode

__all__ = ["welcome"]

_MODES = {
    Mode.PARALLEL: "parallel",
    Mode.SEQUENTIAL: "sequential (ENABLE_PARALLEL_UPLOADS=False)",
}


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
        ("upload", f"forebay upload FILE --server {url}"),
        ("status", f"curl {url}/api/v1/system/upload-status"),
        ("API", f"{url}/docs"),
    ]
    return "\n".join(f"{name:>12}  {value}" for name, value in lines)
