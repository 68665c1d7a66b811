"""Answers to questions, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.filesize import decimal
from rich.table import Table

from forebay.cli._report import duration
from forebay.cli._run import clean
from forebay.models import SystemStatus, UploadInfo, UploadProgress

__all__ = ["progress_table", "status_table", "uploads_table"]

_PERCENT = 100


def uploads_table(uploads: Iterable[UploadInfo]) -> Table:
    """One line an upload."""
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True, overflow="fold")  # whole, since it is what other commands ask for
    table.add_column("file", overflow="fold")
    table.add_column("state")
    for title in ("size", "received", "stored"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    for upload in uploads:
        name = "/".join(part for part in (upload.folder, upload.filename) if part)
        state = upload.state if upload.queue_position is None else f"queued ({upload.queue_position})"
        table.add_row(
            clean(upload.id),
            clean(name),
            clean(state),
            "-" if upload.size is None else decimal(upload.size),
            _share(upload.bytes_received, upload),
            _share(upload.bytes_transferred, upload),
            clean((upload.created_at or "")[:19].replace("T", " ")),
        )
    return table


def _share(part: int, upload: UploadInfo) -> str:
    """Percent; 100 only when it is all, and for the destination only when completed."""
    if upload.state == "completed":
        return "100 %"
    return f"{min(_PERCENT, _PERCENT * part // upload.size) if upload.size else 0} %"


def _of(part: int, whole: int | None) -> str:
    return f"{decimal(part)} of {'-' if whole is None else decimal(whole)}"


def progress_table(progress: UploadProgress) -> Table:
    """One upload, all there is to say."""
    left = progress.estimated_seconds_remaining
    return _pairs(
        {
            "upload": progress.file_id,
            "state": f"{progress.state} ({progress.mode})",
            "at the destination": f"{progress.progress_percent:.1f} %",
            "received": _of(progress.bytes_received, progress.total_bytes),
            "stored": _of(progress.bytes_transferred, progress.total_bytes),
            "chunks": (
                f"{progress.completed_chunks} of {'-' if progress.total_chunks is None else progress.total_chunks}, {progress.in_flight_chunks} in flight, "
                f"{progress.retried_chunks} retried, {progress.failed_chunks} failed"
            ),
            "rate": f"{decimal(int(progress.bytes_per_second))}/s",
            "time": duration(progress.elapsed_seconds) + ("" if left is None else f", {duration(left)} left"),
        }
    )


def status_table(status: SystemStatus) -> Table:
    """The server, section by section."""
    lines: dict[str, object] = {"mode": status.mode, "version": status.version or "unknown"}
    if status.uptime_seconds is not None:
        lines["up for"] = duration(status.uptime_seconds)
    for section, members in status.sections.items():
        for name, value in members.items():
            lines[f"{section}.{name}"] = value
    return _pairs(lines)


def _pairs(lines: Mapping[str, object]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in lines.items():
        shown = "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        table.add_row(clean(name), clean(shown))
    return table
