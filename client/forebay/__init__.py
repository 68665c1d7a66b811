"""Forebay client: uploads of any size, in parallel chunks, resumable, verified at the destination.

    from forebay import Client

    with Client("https://files.example.org", token=token) as client:
        result = client.upload("disk.img", folder="backups")

`AsyncClient` is the same for asyncio. The command `forebay` is built on it.
"""

from forebay._client import AsyncClient, OnConflict
from forebay._retry import RetryPolicy
from forebay._sync import Client
from forebay.errors import ForebayError
from forebay.events import (
    Adapted,
    Completed,
    Progress,
    ProgressCallback,
    Retrying,
    Started,
    UploadEvent,
    Waiting,
)
from forebay.models import StoredFile, SystemStatus, UploadInfo, UploadProgress, UploadResult

__all__ = [
    "Adapted",
    "AsyncClient",
    "Client",
    "Completed",
    "ForebayError",
    "OnConflict",
    "Progress",
    "ProgressCallback",
    "RetryPolicy",
    "Retrying",
    "Started",
    "StoredFile",
    "SystemStatus",
    "UploadEvent",
    "UploadInfo",
    "UploadProgress",
    "UploadResult",
    "Waiting",
]
