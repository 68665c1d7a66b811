"""Which database URLs are understood, and what is said about the others."""

from __future__ import annotations

import pytest

from app.core.settings import SettingsError
from app.persistence.engines import backend_for
from app.persistence.repository import Repository


@pytest.mark.parametrize(
    ("url", "dialect", "place"),
    [
        ("sqlite:////var/lib/forebay/a.sqlite3", "sqlite", "/var/lib/forebay/a.sqlite3"),
        ("postgresql://ann:sesame@db/forebay", "postgresql", "postgresql+psycopg://ann:***@db/forebay"),
        ("postgresql+psycopg://db/forebay", "postgresql", "postgresql+psycopg://db/forebay"),
        ("postgresql+asyncpg://db/forebay", "postgresql", "postgresql+psycopg://db/forebay"),
        ("postgres://db/forebay", "postgresql", "postgresql+psycopg://db/forebay"),
    ],
)
def test_a_url_names_a_backend(url: str, dialect: str, place: str) -> None:
    """Both kinds, in the spellings that people use; whatever driver is named, ours is used."""
    backend = backend_for(url, busy_timeout_s=1.0)
    assert (backend.dialect, backend.place) == (dialect, place)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "forebay.sqlite3",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.sqlite3?mode=memory",
        "mysql://ann:sesame@db/forebay",
        "://ann:sesame@",
    ],
)
def test_any_other_url_is_a_setting_that_cannot_be_used(url: str) -> None:
    """One line that names the setting and what to write instead, never the password."""
    with pytest.raises(SettingsError, match=r"^FOREBAY_DATABASE_URL.*sqlite:///PATH.*postgresql://") as refusal:
        Repository(url)
    assert "sesame" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
