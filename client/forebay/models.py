"""What the server says, as values. Sizes and positions are bytes; ranges are half-open `[start, end)`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from forebay.errors import UnexpectedAnswer

__all__ = ["StoredFile", "SystemStatus", "UploadInfo", "UploadProgress", "UploadResult", "parse_crc32c", "parse_sha256"]

_SHA256 = re.compile(r"(?:^|[\s,])sha-256=:([A-Za-z0-9+/=]+):")
_CRC32C = re.compile(r"(?:^|[\s,])crc32c=:([A-Za-z0-9+/=]+):")
_HEX_CRC = re.compile(r"[0-9a-fA-F]{8}")
_CRC_BYTES = 4
_SHA256_BYTES = 32


def _decoded(text: str, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == length else None


def parse_sha256(text: str | None) -> str | None:
    """Lower-case hex of the SHA-256 in a digest field (RFC 9530 section 3); None where there is none."""
    found = _SHA256.search(text or "")
    raw = _decoded(found[1], _SHA256_BYTES) if found else None
    return raw.hex() if raw is not None else None


def parse_crc32c(value: object) -> int | None:
    """A CRC32C written as a number, eight hex digits, base64 of four bytes (big-endian), or as a digest field."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 1 << 32 else None
    if not isinstance(value, str):
        return None
    if _HEX_CRC.fullmatch(value):
        return int(value, 16)
    found = _CRC32C.search(value)
    raw = _decoded(found[1] if found else value.strip(":"), _CRC_BYTES)
    return int.from_bytes(raw, "big") if raw is not None else None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The file at the destination, as the destination reports it."""

    destination: str
    id: str
    name: str
    size: int
    sha256: str | None
    crc32c: int | None


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """Where an upload stands, in the server's words.

    `missing` may be cut short where there are very many gaps: what it lists is missing, and what is left shows when those
    have been sent. While the upload is under way, the error fields say why a transfer waits. Size and chunk count are None
    as long as another client (a tus one, say) has not said how large its file is.
    """

    id: str
    state: str
    mode: str
    filename: str
    folder: str
    destination: str
    size: int | None
    chunk_size: int
    chunk_count: int | None
    max_concurrent_chunks: int
    bytes_received: int
    bytes_transferred: int
    missing: tuple[tuple[int, int], ...]
    queue_position: int | None = None
    created_at: str | None = None
    expires_at: str | None = None
    result: StoredFile | None = None
    error_code: str | None = None
    error_detail: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read `GET /uploads/{id}`, or the shorter answer to its creation (to which everything is missing).

        Raises:
            UnexpectedAnswer: a member is absent or of the wrong kind.
        """
        try:
            size = _number(data["size"])
            missing = data.get("missing")
            if missing is None:
                missing = [{"start": 0, "end": size}] if size else []
            stored, error = data.get("result"), data.get("error") or {}
            return cls(
                id=str(data["id"]),
                state=str(data["state"]),
                mode=str(data["mode"]),
                filename=str(data.get("filename") or ""),
                folder=str(data.get("path") or ""),
                destination=str(data.get("destination") or ""),
                size=size,
                chunk_size=int(data["chunk_size"]),
                chunk_count=_number(data["chunk_count"]),
                max_concurrent_chunks=max(1, int(data["max_concurrent_chunks"])),
                bytes_received=int(data.get("bytes_received") or 0),
                bytes_transferred=int(data.get("bytes_transferred") or 0),
                missing=tuple((int(gap["start"]), int(gap["end"])) for gap in missing),
                queue_position=data.get("queue_position"),
                created_at=_text(data.get("created_at")),
                expires_at=_text(data.get("expires_at")),
                result=_stored(stored) if stored else None,
                error_code=_text(error.get("code")),
                error_detail=_text(error.get("detail")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise UnexpectedAnswer(f"The server's description of the upload can't be read ({exc!r}).") from exc


def _number(value: Any) -> int | None:  # noqa: ANN401 - whatever the answer has there
    return None if value is None else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _stored(data: Mapping[str, Any]) -> StoredFile:
    digest = _text(data.get("digest"))
    crc32c = parse_crc32c(data.get("crc32c"))
    return StoredFile(
        destination=str(data.get("destination") or ""),
        id=str(data["id"]),
        name=str(data["name"]),
        size=int(data["size"]),
        sha256=parse_sha256(digest),
        crc32c=crc32c if crc32c is not None else parse_crc32c(digest),
    )


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """What `GET /system/upload-progress/{id}` says; the percentage is of what is at the destination."""

    file_id: str
    state: str
    mode: str
    total_bytes: int | None
    bytes_received: int
    bytes_transferred: int
    progress_percent: float
    total_chunks: int | None
    completed_chunks: int
    failed_chunks: int
    retried_chunks: int
    in_flight_chunks: int
    elapsed_seconds: float
    bytes_per_second: float
    chunks_per_second: float
    estimated_seconds_remaining: float | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the answer; raises UnexpectedAnswer where it is none."""
        try:
            remaining = data.get("estimated_seconds_remaining")
            return cls(
                file_id=str(data["file_id"]),
                state=str(data["state"]),
                mode=str(data["mode"]),
                total_bytes=_number(data["total_bytes"]),
                bytes_received=int(data["bytes_received"]),
                bytes_transferred=int(data["bytes_transferred"]),
                progress_percent=float(data["progress_percent"]),
                total_chunks=_number(data["total_chunks"]),
                completed_chunks=int(data["completed_chunks"]),
                failed_chunks=int(data.get("failed_chunks") or 0),
                retried_chunks=int(data.get("retried_chunks") or 0),
                in_flight_chunks=int(data.get("in_flight_chunks") or 0),
                elapsed_seconds=float(data.get("elapsed_seconds") or 0),
                bytes_per_second=float(data.get("bytes_per_second") or 0),
                chunks_per_second=float(data.get("chunks_per_second") or 0),
                estimated_seconds_remaining=None if remaining is None else float(remaining),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise UnexpectedAnswer(f"The server's progress report can't be read ({exc!r}).") from exc


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What `GET /system/upload-status` says; its sections as the server sent them."""

    mode: str
    version: str | None
    uptime_seconds: float | None
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the answer; raises UnexpectedAnswer where it is none."""
        try:
            uptime = data.get("uptime_seconds")
            return cls(
                mode=str(data["mode"]),
                version=_text(data.get("version")),
                uptime_seconds=None if uptime is None else float(uptime),
                sections={name: value for name, value in data.items() if isinstance(value, Mapping)},
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise UnexpectedAnswer(f"The server's status can't be read ({exc!r}).") from exc


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A file that is at the destination, and verified to be what was read here.

    Attributes:
        upload_id: the server's name for the upload.
        path: the local file.
        stored: the file at the destination; its digests are those that the server reports.
        crc32c: of the bytes read here, equal to the stored file's.
        resumed_bytes: how many the server had before this run.
        retries: attempts that failed and were repeated.
        elapsed_s: seconds from the start of this run.
    """

    upload_id: str
    path: Path
    stored: StoredFile
    crc32c: int
    resumed_bytes: int
    retries: int
    elapsed_s: float
