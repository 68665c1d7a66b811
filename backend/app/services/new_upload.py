"""What a client asks for when it begins an upload."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from app.core.upload import Completion, NameConflictPolicy
from app.protocols.digest import NOTHING_DECLARED, DeclaredDigest

__all__ = ["NewUpload"]

_WITHOUT_KEYS: Final = ("tus_metadata", "tus_concat", "resumable", "in_one_request")
"""Of protocols and calls that have no Idempotency-Key; what was begun with one before these were there keeps its fingerprint."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client asks for."""

    filename: str
    size: int | None  # None: its client says it later
    folder: str = ""
    media_type: str = "application/octet-stream"
    digest: DeclaredDigest = NOTHING_DECLARED
    destination: str = "default"
    chunk_size: int | None = None
    completion: Completion = Completion.AUTO
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME
    tus_metadata: str | None = None
    tus_concat: str | None = None
    resumable: bool = False
    in_one_request: bool = False  # streamed; nobody else brings its bytes

    @property
    def appended(self) -> bool:
        """Whether its bytes come one after the other over one connection."""
        return self.resumable or self.tus_metadata is not None or self.tus_concat is not None

    def fingerprint(self) -> str:
        """The same for the same request."""
        members = asdict(self)
        for name in _WITHOUT_KEYS:
            del members[name]
        return hashlib.sha256(json.dumps(members, sort_keys=True, default=repr).encode()).hexdigest()
