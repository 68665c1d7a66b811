"""What the operator says about Google Drive, and what the adapter is given by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from app.core.settings import Settings

__all__ = ["GOOGLE_API_ROOT", "SCOPE_ALL", "SCOPE_OWN", "GoogleDriveOptions"]

GOOGLE_API_ROOT: Final = "https://www.googleapis.com"
SCOPE_OWN: Final = "https://www.googleapis.com/auth/drive.file"  # sees only what this app has made
SCOPE_ALL: Final = "https://www.googleapis.com/auth/drive"


@dataclass(frozen=True, slots=True)
class GoogleDriveOptions:
    """From the settings."""

    api_root: str  # without a slash at its end
    credentials: Path  # authorized user or service account, JSON, as google-auth reads them
    key_file: Path  # with which session URIs are sealed in the database
    subject: str | None = None  # whom a service account acts for (domain-wide delegation)
    daily_bytes: int = 750 * 10**9

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As the operator has set it."""
        return cls(
            api_root=settings.google_drive_api_root,
            credentials=settings.google_drive_credentials_file,
            key_file=settings.data_dir / "google-drive.key",
            subject=settings.google_drive_subject,
            daily_bytes=settings.google_drive_daily_gb * 10**9,
        )

    @property
    def api_url(self) -> str:
        """Of the API proper."""
        return f"{self.api_root}/drive/v3"

    @property
    def upload_url(self) -> str:
        """Of uploads."""
        return f"{self.api_root}/upload/drive/v3"

    @property
    def token_url(self) -> str:
        """Where tokens come from; Google keeps it on a host of its own."""
        return "https://oauth2.googleapis.com/token" if self.is_google else f"{self.api_root}/token"

    @property
    def consent_url(self) -> str:
        """Where a person agrees."""
        return "https://accounts.google.com/o/oauth2/v2/auth" if self.is_google else f"{self.api_root}/o/oauth2/v2/auth"

    @property
    def is_google(self) -> bool:
        """Whether this is the real one."""
        return self.api_root == GOOGLE_API_ROOT
