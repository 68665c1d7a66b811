"""The public face is pinned: a change here is a change for every user."""

from __future__ import annotations

import inspect

import forebay
from forebay import AsyncClient, Client


def test_the_package_exports_exactly_this() -> None:
    """Additions and removals are deliberate."""
    assert sorted(forebay.__all__) == [
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
    assert all(hasattr(forebay, name) for name in forebay.__all__)


def test_the_clients_have_the_same_methods_and_parameters() -> None:
    """The sync face is the async core's, but for the iterator."""

    def face(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    asynchronous, synchronous = face(AsyncClient), face(Client)
    del asynchronous["upload_events"]
    assert asynchronous == synchronous
    assert list(inspect.signature(AsyncClient).parameters) == list(inspect.signature(Client).parameters)
