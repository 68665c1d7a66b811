"""What a client asks for when it begins an upload."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from app.core.upload import Completion, NameConflictPolicy
from app.protocols.digest import NOTHING_DECLARED, DeclaredDigest

__all__ = ["NewUpload"]


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

    def fingerprint(self) -> str:
        """The same for the same request."""
        members = asdict(self)
        del members["tus_metadata"]  # tus has no keys; what was begun before there was tus must keep its fingerprint
        return hashlib.sha256(json.dumps(members, sort_keys=True, default=repr).encode()).hexdigest()
