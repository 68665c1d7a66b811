"""What a session leaves for the next life of the server.

Law: the file's id is in it before a byte is sent, so that whatever has come of it is found by that id; the session's URI is
sealed and only saves sending again what Drive holds already.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

__all__ = ["SavedSession"]

_KIND: Final = "google-drive-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """As JSON in the database."""

    file_id: str  # "" when the next one is to be chosen: the last is used up
    parent: str
    drive_id: str | None
    name: str
    sealed_uri: str | None = field(repr=False)

    def dump(self) -> str:
        """For `parse`."""
        return json.dumps({"kind": _KIND, **asdict(self)})

    @classmethod
    def parse(cls, text: str | None) -> SavedSession | None:
        """What `dump` made; None for anything else, such as another destination's."""
        try:
            said = json.loads(text or "null")
        except ValueError:
            return None
        if not isinstance(said, dict) or said.pop("kind", None) != _KIND:
            return None
        names = {"file_id": str, "parent": str, "name": str, "drive_id": str | None, "sealed_uri": str | None}
        if not said.keys() >= names.keys() or not all(isinstance(said[name], kind) for name, kind in names.items()):
            return None
        return cls(**{name: said[name] for name in names})  # a newer version may say more
