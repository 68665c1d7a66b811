"""Every setting: its name, type, default, range and meaning, in this one place.

`load_settings` reads the process environment, then `.env` in the working directory; the environment wins. Both speak
the grammar of `app.core.env_values`. `env.parallel_upload.template` and `docs/settings.md` are generated from here
(`app.core.settings_reference`, `forebay-server config`).

Laws:
- a value that can't be used stops the start with one line: name, value, what is allowed, and the line of `.env`;
- only the full names count (`FOREBAY_PORT`): a bare `PORT` or `HOST` of some shell or platform means nothing here;
- `Settings(...)` reads nothing but its arguments; `load_settings` is the only reader;
- passwords never appear in a message.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, PrivateAttr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core.env_values import plain_value, read_env_file
from app.core.settings_errors import SettingsError, complaint
from app.core.settings_values import (
    DatabaseUrl,
    DestinationMap,
    DestinationUrl,
    ListenAddress,
    Networks,
    Origins,
    PublicUrl,
    RequestHosts,
)
from app.core.upload import MIB, Mode

__all__ = ["PREFIXES", "Group", "Settings", "SettingsError", "load_settings", "setting_names", "unknown_names"]

PREFIXES = ("PARALLEL_UPLOAD_", "FOREBAY_")
_CLIENTS = {"FOREBAY_SERVER", "FOREBAY_STATE_DIR", "FOREBAY_TOKEN"}  # read by `forebay` in the same shell


class Group(StrEnum):
    """Under which heading a setting is explained."""

    PARALLEL = "Parallel uploads"
    ADMISSION = "Admission and queue"
    BUFFERS = "Buffers and threads"
    STAGING = "Staging and files"
    CONNECTIONS = "Connections and time limits"
    SERVER = "Server"
    DESTINATIONS = "Destinations"
    ACCESS = "Access"
    LOGS = "Logs"


def _setting(
    group: Group,
    name: str,
    default: Any,  # noqa: ANN401 - pydantic's own type
    description: str,
    *,
    form: str | None = None,
    **limits: Any,  # noqa: ANN401 - as above
) -> Any:  # noqa: ANN401 - as above
    extra: dict[str, JsonValue] = {"group": group.value}
    if form is not None:
        extra["form"] = form
    return Field(default, validation_alias=name, description=description, json_schema_extra=extra, **limits)


def _engine(group: Group, name: str, default: Any, description: str, **limits: Any) -> Any:  # noqa: ANN401 - as above
    return _setting(group, f"PARALLEL_UPLOAD_{name}", default, description, **limits)


def _server(group: Group, name: str, default: Any, description: str, **limits: Any) -> Any:  # noqa: ANN401 - as above
    return _setting(group, f"FOREBAY_{name}", default, description, **limits)


class Settings(BaseSettings):
    """What the operator decides."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    # -- the guide's ---------------------------------------------------------------------------------------------
    enable_parallel_uploads: bool = _setting(
        Group.PARALLEL,
        "ENABLE_PARALLEL_UPLOADS",
        True,
        "Many chunks at once, in any order. False: 4 MiB chunks, one at a time, in order.",
    )
    chunk_size_mb: int = _engine(
        Group.PARALLEL,
        "CHUNK_SIZE_MB",
        16,
        "Largest size of a chunk, in MiB; files below some 2 GB get smaller ones.",
        ge=1,
        le=1024,
    )
    max_concurrent_chunks: int = _engine(
        Group.PARALLEL, "MAX_CONCURRENT_CHUNKS", 8, "Chunks that a client sends at once, per upload.", ge=1, le=64
    )
    max_concurrent_users: int = _engine(
        Group.PARALLEL, "MAX_CONCURRENT_USERS", 20, "Distinct users with an active upload.", ge=1, le=10_000
    )
    max_memory_percent: float = _engine(
        Group.PARALLEL,
        "MAX_MEMORY_PERCENT",
        80.0,
        "Memory in use, of the container's or host's limit, above which new uploads are refused; also scales the buffer pool.",
        ge=10,
        le=99,
    )
    debug_logging: bool = _engine(
        Group.PARALLEL, "DEBUG_LOGGING", False, "Log each chunk, in lines that `grep PARALLEL` finds."
    )

    # -- the engine's --------------------------------------------------------------------------------------------
    max_concurrent_uploads: int | None = _engine(
        Group.ADMISSION, "MAX_CONCURRENT_UPLOADS", None, "Active uploads; as many as users when unset.", ge=1, le=10_000
    )
    max_uploads_per_user: int | None = _engine(
        Group.ADMISSION,
        "MAX_UPLOADS_PER_USER",
        None,
        "Active uploads of one user; no limit of its own when unset.",
        ge=1,
        le=10_000,
    )
    max_pending_per_user: int = _engine(
        Group.ADMISSION,
        "MAX_PENDING_PER_USER",
        5000,
        "Unfinished uploads of one user, active or not; each costs a few KiB.",
        ge=1,
        le=1_000_000,
    )
    queue_timeout_s: float = _engine(
        Group.ADMISSION, "QUEUE_TIMEOUT_S", 30.0, "Longest wait for a slot, in seconds, then 503.", ge=0, le=3600
    )
    queue_limit: int = _engine(
        Group.ADMISSION, "QUEUE_LIMIT", 10_000, "Uploads that may wait for a slot.", ge=1, le=1_000_000
    )
    slot_idle_s: float = _engine(
        Group.ADMISSION,
        "SLOT_IDLE_S",
        30.0,
        "An upload on which nothing has moved for so many seconds gives its slot to the next.",
        ge=1,
        le=3600,
    )
    pressure_percent: float = _engine(
        Group.ADMISSION,
        "PRESSURE_PERCENT",
        40.0,
        "Share of time, over 10 s, in which everything waited for memory (PSI full), above which new uploads are refused.",
        gt=0,
        le=100,
    )
    slab_kb: int = _engine(
        Group.BUFFERS, "SLAB_KB", 2048, "Size of one buffer of the pool, in KiB.", ge=64, le=16_384, multiple_of=4
    )
    buffer_pool_mb: int | None = _engine(
        Group.BUFFERS,
        "BUFFER_POOL_MB",
        None,
        "Size of the buffer pool, in MiB; follows memory, users and chunks when unset.",
        ge=1,
        le=65_536,
    )
    pool_timeout_s: float = _engine(
        Group.BUFFERS, "POOL_TIMEOUT_S", 60.0, "Longest wait for a buffer, in seconds, then 503.", ge=1, le=3600
    )
    worker_threads: int = _engine(
        Group.BUFFERS, "WORKER_THREADS", 4, "Threads that move bodies from sockets to staging.", ge=1, le=64
    )
    staging: Literal["spool", "memory"] = _engine(
        Group.STAGING,
        "STAGING",
        "spool",
        "Where bytes wait for the destination: spool (a directory) or memory (no disk; a chunk is acknowledged when the destination has it).",
    )
    memory_staging_mb: int | None = _engine(
        Group.STAGING,
        "MEMORY_STAGING_MB",
        None,
        "Size of staging in memory, in MiB, shared equally by active uploads; when unset at most a quarter of the memory there is and 1280 MiB, times MAX_MEMORY_PERCENT, less where uploads times chunks are below 160.",
        ge=2,
        le=1_048_576,
    )
    max_transfers: int | None = _engine(
        Group.STAGING,
        "MAX_TRANSFERS",
        None,
        "Transfers to one destination at once; as many as suit it when unset (a directory 8, Google Drive 32).",
        ge=1,
        le=256,
    )
    durability: Literal["process", "power"] = _engine(
        Group.STAGING,
        "DURABILITY",
        "process",
        "What an acknowledged chunk survives: process (kill -9; power loss may ask for it again) or power (synced first). With memory as staging it says nothing: what is acknowledged is at the destination, and a restart asks for everything again, or ends what nobody would send again.",
    )
    chunk_attempts: int = _engine(
        Group.STAGING, "CHUNK_ATTEMPTS", 3, "Attempts to store a chunk's bytes before it fails.", ge=1, le=10
    )
    min_free_mb: int = _engine(
        Group.STAGING, "MIN_FREE_MB", 64, "Room that is never given to uploads, in MiB.", ge=0, le=1_048_576
    )
    user_quota_mb: int | None = _engine(
        Group.STAGING,
        "USER_QUOTA_MB",
        None,
        "Room that one user's uploads under way may reserve, in MiB; no cap when unset.",
        ge=1,
    )
    max_file_mb: int | None = _engine(
        Group.STAGING, "MAX_FILE_MB", None, "Largest file, in MiB; 5 TiB when unset.", ge=1, le=5 * 1024 * 1024
    )
    reservation_idle_s: float = _engine(
        Group.STAGING,
        "RESERVATION_IDLE_S",
        3600.0,
        "An upload idle for so many seconds gives its unused room back; it can regain it.",
        ge=1,
    )
    expiry_s: float = _engine(
        Group.STAGING,
        "EXPIRY_S",
        7 * 86_400.0,
        "An upload idle for so many seconds, while the server ran, is removed.",
        ge=1,
    )
    history_s: float = _engine(
        Group.STAGING,
        "HISTORY_S",
        86_400.0,
        "An ended upload is listed, tells its progress and gives its content for so many seconds; the file itself stays.",
        ge=1,
    )
    header_timeout_s: float = _engine(
        Group.CONNECTIONS,
        "HEADER_TIMEOUT_S",
        10.0,
        "Longest time for a request's headers to come, in seconds.",
        ge=0.05,
        le=600,
    )
    body_idle_s: float = _engine(
        Group.CONNECTIONS,
        "BODY_IDLE_S",
        60.0,
        "Longest time in which nothing of a body comes, or of a download goes, in seconds.",
        ge=0.05,
        le=3600,
    )
    min_rate_bytes: int = _engine(
        Group.CONNECTIONS,
        "MIN_RATE_BYTES",
        1024,
        "Lowest rate of a body or of a download, bytes/s, over the idle time; 0: none.",
        ge=0,
    )
    shutdown_grace_s: float = _engine(
        Group.CONNECTIONS,
        "SHUTDOWN_GRACE_S",
        20.0,
        "Time for requests in flight to end after SIGTERM, in seconds.",
        ge=0,
        le=3600,
    )
    max_tls_connections: int = _engine(
        Group.CONNECTIONS,
        "MAX_TLS_CONNECTIONS",
        200,
        "TLS connections (each may hold up to 512 KiB that is not of the pool).",
        ge=1,
    )
    max_connections: int = _engine(Group.CONNECTIONS, "MAX_CONNECTIONS", 4096, "Connections.", ge=8, le=100_000)

    # -- the server's --------------------------------------------------------------------------------------------
    host: ListenAddress = _server(
        Group.SERVER,
        "HOST",
        "127.0.0.1",
        "Address to listen on. Anything but loopback needs tokens or FOREBAY_AUTH=none.",
        form="an address or host name",
    )
    port: int = _server(Group.SERVER, "PORT", 8000, "Port to listen on; 0: one that is free.", ge=0, le=65_535)
    data_dir: Path = _server(Group.SERVER, "DATA_DIR", Path("./var"), "Where the database and the spool are.")
    database_url: DatabaseUrl | None = _server(
        Group.SERVER,
        "DATABASE_URL",
        None,
        "SQLAlchemy URL; SQLite in the data directory when unset (or postgresql+psycopg://…).",
        form="a URL; never shown",
    )
    public_url: PublicUrl | None = _server(
        Group.SERVER,
        "PUBLIC_URL",
        None,
        "The address under which clients reach this server.",
        form="an http or https address",
    )
    tls_cert: Path | None = _server(
        Group.SERVER, "TLS_CERT", None, "PEM file with the certificate chain; needs FOREBAY_TLS_KEY."
    )
    tls_key: Path | None = _server(Group.SERVER, "TLS_KEY", None, "PEM file with the private key.")
    web: bool = _server(
        Group.SERVER, "WEB", True, "Whether this server has the pages for people: / to upload, /ops for operators."
    )
    destination: DestinationUrl = _server(
        Group.DESTINATIONS,
        "DESTINATION",
        "",
        "Where files go: disk:PATH or gdrive:FOLDER_ID; `files` in the data directory when unset.",
        form="a destination URL",
    )
    destinations: DestinationMap = _server(
        Group.DESTINATIONS,
        "DESTINATIONS",
        {},
        'Further destinations that an upload may name, as a JSON object: {"name": "disk:PATH"}.',
        form="a JSON object of texts",
    )
    google_drive_api_root: PublicUrl = _server(
        Group.DESTINATIONS,
        "GOOGLE_DRIVE_API_ROOT",
        "https://www.googleapis.com",
        "Google Drive, or something that behaves like it; upload, token and API endpoints follow from it.",
        form="an http or https address",
    )
    google_drive_credentials: Path | None = _server(
        Group.DESTINATIONS,
        "GOOGLE_DRIVE_CREDENTIALS",
        None,
        "JSON file with the login: of `forebay-server drive login`, or a service account's key; `google-drive.json` in the data directory when unset.",
    )
    google_drive_subject: str | None = _server(
        Group.DESTINATIONS,
        "GOOGLE_DRIVE_SUBJECT",
        None,
        "The user for whom a service account stores files (domain-wide delegation).",
    )
    google_drive_daily_gb: int = _server(
        Group.DESTINATIONS,
        "GOOGLE_DRIVE_DAILY_GB",
        750,
        "What Google Drive takes of one user in a day, in GB; beyond it uploads wait for the next day.",
        ge=1,
    )
    auth: Literal["auto", "tokens", "none"] = _server(
        Group.ACCESS,
        "AUTH",
        "auto",
        "tokens: bearer tokens; none: a trusted network, each address is a user; auto: tokens as soon as one exists, else loopback only.",
    )
    status_open: bool = _server(
        Group.ACCESS, "STATUS_OPEN", True, "Whether system/upload-status and /metrics answer without a token."
    )
    allowed_hosts: RequestHosts = _server(
        Group.ACCESS,
        "ALLOWED_HOSTS",
        (),
        "Host names that requests may name; any when unset.",
        form="host names, comma-separated",
    )
    trusted_proxies: Networks = _server(
        Group.ACCESS,
        "TRUSTED_PROXIES",
        (),
        "Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed.",
        form="addresses or networks, comma-separated",
    )
    cors_origins: Origins = _server(
        Group.ACCESS,
        "CORS_ORIGINS",
        (),
        "Origins of pages elsewhere that may use the API.",
        form="origins, comma-separated",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _server(
        Group.LOGS, "LOG_LEVEL", "info", "Least level logged."
    )
    log_file: Path | None = _server(Group.LOGS, "LOG_FILE", None, "Also log to this file, rotated.")
    log_file_mb: int = _server(
        Group.LOGS, "LOG_FILE_MB", 50, "Size at which the log file is rotated, in MiB.", ge=1, le=10_240
    )
    log_file_count: int = _server(Group.LOGS, "LOG_FILE_COUNT", 5, "Rotated log files that are kept.", ge=1, le=1000)

    _env_file: Path | None = PrivateAttr(default=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the arguments: reading is `load_settings`' business."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @model_validator(mode="after")
    def _without_contradiction(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "FOREBAY_TLS_CERT and FOREBAY_TLS_KEY go together: set both or neither"
            raise ValueError(msg)
        uploads, per_user = self.max_concurrent_uploads, self.max_uploads_per_user
        if uploads is not None and per_user is not None and per_user > uploads:
            msg = (
                f"PARALLEL_UPLOAD_MAX_UPLOADS_PER_USER={per_user}: must be at most "
                f"PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS={uploads}"
            )
            raise ValueError(msg)
        memory_mb = self.memory_staging_mb
        if self.staging == "memory" and memory_mb is not None and memory_mb < self.upload_limit:
            msg = (
                f"PARALLEL_UPLOAD_MEMORY_STAGING_MB={memory_mb}: must be at least 1 MiB for each of the "
                f"{self.upload_limit} active uploads"
            )
            raise ValueError(msg)
        return self

    def env_file_read(self) -> Path | None:
        """The `.env` that these settings were read from, absolute; None when there was none."""
        return self._env_file

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

    @property
    def destination_kinds(self) -> dict[str, str]:
        """The scheme of each destination's URL, by name."""
        return {name: url.partition(":")[0].strip().lower() for name, url in self.destination_urls.items()}

    @property
    def google_drive_credentials_file(self) -> Path:
        """Where the login to Google Drive is."""
        return self.google_drive_credentials or self.data_dir / "google-drive.json"

    def secret_database_url(self) -> str:
        """The database's URL; may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'forebay.sqlite3'}"


class _Given(EnvSettingsSource):
    """Values that were written somewhere, by setting name; everything else there is none of our business."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name.lower(): value for name, value in given.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._given


def setting_names() -> dict[str, str]:
    """Field names by setting name (`FOREBAY_PORT` → `port`), in the order of the reference."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def _ours(values: Mapping[str, str]) -> dict[str, str]:
    """What belongs to a setting and says something: empty means unset, as the template writes it."""
    known = setting_names()
    return {name: value for name, value in values.items() if name in known and value}


def load_settings(
    env_file: Path | None = Path(".env"), *, environ: Mapping[str, str] | None = None, **fields: object
) -> Settings:
    """Read the settings: `fields` before the environment before the file.

    A test that must not depend on the shell it runs in gives `env_file=None, environ={}` and plain field names, or
    constructs `Settings(port=0)`, which reads nothing.

    Args:
        env_file: the file to read when it exists; None: none.
        environ: the environment; the process's own when None.
        fields: values by field name, for whoever starts the server from code.

    Raises:
        SettingsError: one line that names each setting that can't be used, its value and what is allowed.
    """
    lines = read_env_file(env_file)
    written = os.environ if environ is None else environ
    from_environ = _ours({name.upper(): plain_value(value) for name, value in written.items()})
    from_file = _ours({name: line.value for name, line in lines.items()})
    places = {name: f"{env_file} line {lines[name].line}" for name in from_file if name not in from_environ}
    sources = (InitSettingsSource(Settings, fields), _Given(from_environ), _Given(from_file))
    try:
        settings = Settings(_build_sources=(sources, {}))
    except ValidationError as exc:
        raise SettingsError(complaint(exc, Settings.model_fields, places)) from None
    if env_file is not None and env_file.exists():
        settings._env_file = env_file.absolute()  # noqa: SLF001 - by its reader, before anybody sees it
    return settings


def unknown_names(
    env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Names with our prefixes, or a typing error away from a setting, that no setting has; each with the nearest right one.

    Raises:
        SettingsError: the file is there and can't be read.
    """
    known = setting_names()
    given = {name.upper() for name in (os.environ if environ is None else environ)}
    in_file = set(read_env_file(env_file))
    wrong: dict[str, str | None] = {}
    for name in sorted((given | in_file) - set(known) - _CLIENTS):
        nearest = next(iter(difflib.get_close_matches(name, known, n=1)), None)
        ours = name.startswith((*PREFIXES, "ENABLE_PARALLEL"))
        misspelt = name in in_file and difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        if ours or misspelt:
            wrong[name] = nearest
    return wrong
