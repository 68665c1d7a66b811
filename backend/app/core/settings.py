"""Every setting: its name, type, default, range and meaning, in this one place.

Read from the environment, then from `.env` in the working directory (the environment wins). The template
`env.parallel_upload.template` and `docs/settings.md` are generated from here (`forebay-server config`).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core.upload import MIB, Mode

__all__ = ["PREFIXES", "Settings", "SettingsError", "load_settings", "unknown_names"]

PREFIXES = ("PARALLEL_UPLOAD_", "FOREBAY_")
_COMMENT = re.compile(r"\s+#.*$")


class SettingsError(Exception):
    """A setting can't be used; the message is one line that names it, its value and what is allowed."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _without_comment(value: str | None) -> str | None:
    """`False  # start with False` means False, wherever it was written."""
    return _COMMENT.sub("", value).strip() if value else value


class _Env(EnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: _without_comment(value) for name, value in super()._load_env_vars().items()}


class _DotEnv(DotEnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: _without_comment(value) for name, value in super()._load_env_vars().items()}


def _engine(default: Any, name: str, description: str, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own type
    return Field(default, validation_alias=f"PARALLEL_UPLOAD_{name}", description=description, **limits)


def _server(default: Any, name: str, description: str, **limits: Any) -> Any:  # noqa: ANN401
    return Field(default, validation_alias=f"FOREBAY_{name}", description=description, **limits)


class Settings(BaseSettings):
    """What the operator decides."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    # -- the guide's ---------------------------------------------------------------------------------------------
    enable_parallel_uploads: bool = Field(
        True,
        validation_alias="ENABLE_PARALLEL_UPLOADS",
        description="Many chunks at once, in any order. False: 4 MiB chunks, one at a time, in order.",
    )
    chunk_size_mb: int = _engine(
        16, "CHUNK_SIZE_MB", "Size of a chunk, in MiB; small files get smaller ones.", ge=1, le=1024
    )
    max_concurrent_chunks: int = _engine(8, "MAX_CONCURRENT_CHUNKS", "Chunks in flight per upload.", ge=1, le=64)
    max_concurrent_users: int = _engine(
        20, "MAX_CONCURRENT_USERS", "Distinct users with an active upload.", ge=1, le=10_000
    )
    max_memory_percent: float = _engine(
        80.0,
        "MAX_MEMORY_PERCENT",
        "Memory in use, of the container's or host's limit, above which new uploads are refused; also scales the buffer pool.",
        ge=10,
        le=99,
    )
    debug_logging: bool = _engine(False, "DEBUG_LOGGING", "Log each chunk, in lines that `grep PARALLEL` finds.")

    # -- the engine's --------------------------------------------------------------------------------------------
    max_concurrent_uploads: int | None = _engine(
        None, "MAX_CONCURRENT_UPLOADS", "Active uploads; as many as users when unset.", ge=1, le=10_000
    )
    max_uploads_per_user: int | None = _engine(
        None, "MAX_UPLOADS_PER_USER", "Active uploads of one user; no limit of its own when unset.", ge=1, le=10_000
    )
    queue_timeout_s: float = _engine(30.0, "QUEUE_TIMEOUT_S", "Longest wait for a slot, then 503.", ge=0, le=3600)
    queue_limit: int = _engine(10_000, "QUEUE_LIMIT", "Uploads that may wait for a slot.", ge=1, le=1_000_000)
    slot_idle_s: float = _engine(
        30.0,
        "SLOT_IDLE_S",
        "An upload on which nothing has moved for so long gives its slot to the next.",
        ge=1,
        le=3600,
    )
    slab_kb: int = _engine(1024, "SLAB_KB", "Size of one buffer of the pool, in KiB.", ge=64, le=16_384, multiple_of=4)
    buffer_pool_mb: int | None = _engine(
        None,
        "BUFFER_POOL_MB",
        "Size of the buffer pool, in MiB; follows memory, users and chunks when unset.",
        ge=1,
        le=65_536,
    )
    pool_timeout_s: float = _engine(60.0, "POOL_TIMEOUT_S", "Longest wait for a buffer, then 503.", ge=1, le=3600)
    worker_threads: int = _engine(4, "WORKER_THREADS", "Threads that move bodies from sockets to staging.", ge=1, le=64)
    staging: Literal["spool"] = _engine(
        "spool", "STAGING", "Where bytes wait for the destination: spool (a directory)."
    )
    durability: Literal["process", "power"] = _engine(
        "process",
        "DURABILITY",
        "What an acknowledged chunk survives: process (kill -9; power loss may ask for it again) or power (synced first).",
    )
    chunk_attempts: int = _engine(
        3, "CHUNK_ATTEMPTS", "Attempts to store a chunk's bytes before it fails.", ge=1, le=10
    )
    min_free_mb: int = _engine(64, "MIN_FREE_MB", "Room that is never given to uploads, in MiB.", ge=0, le=1_048_576)
    user_quota_mb: int | None = _engine(
        None, "USER_QUOTA_MB", "Room that one user's uploads under way may reserve, in MiB; no cap when unset.", ge=1
    )
    max_file_mb: int | None = _engine(
        None, "MAX_FILE_MB", "Largest file, in MiB; 5 TiB when unset.", ge=1, le=5 * 1024 * 1024
    )
    reservation_idle_s: float = _engine(
        3600.0, "RESERVATION_IDLE_S", "An upload idle for so long gives its unused room back; it can regain it.", ge=1
    )
    expiry_s: float = _engine(
        7 * 86_400.0, "EXPIRY_S", "An upload idle for so long, while the server ran, is removed.", ge=1
    )
    history_s: float = _engine(86_400.0, "HISTORY_S", "Progress of an ended upload is answered for so long.", ge=1)
    pressure_percent: float = _engine(
        40.0,
        "PRESSURE_PERCENT",
        "Share of time, over 10 s, in which everything waited for memory (PSI full), above which new uploads are refused.",
        gt=0,
        le=100,
    )
    header_timeout_s: float = _engine(
        10.0, "HEADER_TIMEOUT_S", "Longest time for a request's headers to come.", ge=0.05, le=600
    )
    body_idle_s: float = _engine(
        60.0, "BODY_IDLE_S", "Longest time in which nothing of a body comes.", ge=0.05, le=3600
    )
    min_rate_bytes: int = _engine(
        1024, "MIN_RATE_BYTES", "Lowest rate of a body, bytes/s, over the idle time; 0: none.", ge=0
    )
    shutdown_grace_s: float = _engine(
        20.0, "SHUTDOWN_GRACE_S", "Time for requests in flight to end after SIGTERM.", ge=0, le=3600
    )
    max_tls_connections: int = _engine(200, "MAX_TLS_CONNECTIONS", "TLS connections (each costs about 100 KiB).", ge=1)
    max_connections: int = _engine(4096, "MAX_CONNECTIONS", "Connections.", ge=8, le=100_000)

    # -- the server's --------------------------------------------------------------------------------------------
    host: str = _server(
        "127.0.0.1", "HOST", "Address to listen on. Anything but loopback needs tokens or FOREBAY_AUTH=none."
    )
    port: int = _server(8000, "PORT", "Port to listen on.", ge=0, le=65_535)
    data_dir: Path = _server(Path("./var"), "DATA_DIR", "Where the database and the spool are.")
    database_url: SecretStr | None = _server(
        None, "DATABASE_URL", "SQLAlchemy URL; SQLite in the data directory when unset (or postgresql+psycopg://…)."
    )
    destination: str = _server(
        "", "DESTINATION", "Where files go: disk:PATH; `files` in the data directory when unset."
    )
    destinations: dict[str, str] = _server(
        {}, "DESTINATIONS", 'Further destinations that an upload may name, as a JSON object: {"name": "disk:PATH"}.'
    )
    auth: Literal["auto", "tokens", "none"] = _server(
        "auto",
        "AUTH",
        "tokens: bearer tokens; none: a trusted network, each address is a user; auto: tokens as soon as one exists, else loopback only.",
    )
    status_open: bool = _server(
        True, "STATUS_OPEN", "Whether system/upload-status and /metrics answer without a token."
    )
    allowed_hosts: Names = _server(
        (), "ALLOWED_HOSTS", "Host names that requests may name, comma-separated; any when unset."
    )
    trusted_proxies: Names = _server(
        (), "TRUSTED_PROXIES", "Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed."
    )
    cors_origins: Names = _server(
        (), "CORS_ORIGINS", "Origins of pages elsewhere that may use the API, comma-separated."
    )
    public_url: str | None = _server(None, "PUBLIC_URL", "The address under which clients reach this server.")
    tls_cert: Path | None = _server(None, "TLS_CERT", "PEM file with the certificate chain; needs TLS_KEY.")
    tls_key: Path | None = _server(None, "TLS_KEY", "PEM file with the private key.")
    log_file: Path | None = _server(None, "LOG_FILE", "Also log to this file, rotated.")
    log_level: Literal["debug", "info", "warning", "error"] = _server("info", "LOG_LEVEL", "Least level logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `.env`; trailing comments understood in both."""
        del env_settings, file_secret_settings
        env_file = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, _Env(settings_cls), _DotEnv(settings_cls, env_file=env_file)

    @field_validator("public_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", value):
            msg = "must be an http or https address without query"
            raise ValueError(msg)
        return value.rstrip("/") if value else value

    @property
    def mode(self) -> Mode:
        """How chunks are taken."""
        return Mode.PARALLEL if self.enable_parallel_uploads else Mode.SEQUENTIAL

    @property
    def chunk_bytes(self) -> int:
        """Preferred chunk size."""
        return self.chunk_size_mb * MIB

    @property
    def slab_bytes(self) -> int:
        """Size of one buffer."""
        return self.slab_kb * 1024

    @property
    def upload_limit(self) -> int:
        """Active uploads at most."""
        return self.max_concurrent_uploads or self.max_concurrent_users

    @property
    def max_file_bytes(self) -> int:
        """Largest file."""
        return (self.max_file_mb or 5 * 1024 * 1024) * MIB

    @property
    def spool_dir(self) -> Path:
        """Where the spool is."""
        return self.data_dir / "spool"

    @property
    def destination_urls(self) -> dict[str, str]:
        """All destinations by name; `default` is the one used when an upload names none."""
        return {**self.destinations, "default": self.destination or f"disk:{self.data_dir / 'files'}"}

    def secret_database_url(self) -> str:
        """The database's URL; may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'forebay.sqlite3'}"


def _names() -> dict[str, str]:
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def _one_line(error: ValidationError) -> str:
    fields = {name: alias for alias, name in _names().items()}
    lines = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        name = fields.get(name, name)
        secret = name.endswith("_URL")
        value = "(not shown)" if secret else repr(item.get("input"))
        lines.append(f"{name}={value}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return "; ".join(lines)


def load_settings(env_file: Path | None = Path(".env"), **overrides: object) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: one line that names each setting that can't be used, its value and what is allowed.
    """
    try:
        settings = Settings(_env_file=env_file, **overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise SettingsError(_one_line(exc)) from None
    except ValueError as exc:
        raise SettingsError(str(exc)) from None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        msg = "FOREBAY_TLS_CERT and FOREBAY_TLS_KEY go together: set both or neither"
        raise SettingsError(msg)
    if "default" in settings.destinations:
        msg = "FOREBAY_DESTINATIONS: the name 'default' is taken by FOREBAY_DESTINATION"
        raise SettingsError(msg)
    return settings


def unknown_names(
    env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Names with our prefixes that no setting has, each with the nearest right one."""
    known = {alias.upper() for alias in _names()}
    given = set(os.environ if environ is None else environ)
    if env_file is not None and env_file.is_file():
        given |= set(_DotEnv(Settings, env_file=env_file).env_vars)
    wrong = sorted(
        name.upper()
        for name in given
        if name.upper().startswith((*PREFIXES, "ENABLE_PARALLEL")) and name.upper() not in known
    )
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), None) for name in wrong}
