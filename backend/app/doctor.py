"""What `forebay-server doctor` looks at: everything the server needs, each with what to do when it is wrong.

Laws: a check asks the part that will do the work (the destination, the repository, the memory monitor) and does not
guess; it changes nothing but what that part itself makes when it first looks; one that fails hides none of the others.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import resource
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.errors import ForebayError
from app.core.settings import Settings, SettingsError
from app.core.upload import MIB
from app.destinations import DestinationUrlError, from_url
from app.persistence.repository import Repository
from app.services.identity import is_loopback
from app.services.memory_monitor import MemoryMonitor
from app.services.memory_plan import memory_plan

__all__ = ["Finding", "examine"]

_ANSWER_TIMEOUT_S = 2.0
_SPARE_DESCRIPTORS = 128  # database, log, destinations, the interpreter's own


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one subject."""

    subject: str
    verdict: Literal["ok", "note", "wrong"]
    text: str
    cure: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything, in the order in which the server needs it."""
    checks: list[Callable[[Settings], Awaitable[list[Finding]]]] = [
        _settings,
        _in_thread(_data_directory),
        _in_thread(_room),
        _database_and_tokens,
        _destinations,
        _memory,
        _in_thread(_address),
        _in_thread(_certificate),
        _in_thread(_clock),
        _in_thread(_open_files),
    ]
    return [finding for check in checks for finding in await check(settings)]


def _in_thread(check: Callable[[Settings], list[Finding]]) -> Callable[[Settings], Awaitable[list[Finding]]]:
    return lambda settings: asyncio.to_thread(check, settings)


async def _settings(settings: Settings) -> list[Finding]:
    source = settings.env_file_read() or "the environment and defaults (no .env here)"
    return [Finding("settings", "ok", f"read from {source}")]


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _data_directory(settings: Settings) -> list[Finding]:
    """A file is written, synced and removed where the data will be, or where its folder will be made."""
    there = _nearest_existing(settings.data_dir)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"forebay")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        cure = f"give it to the user that runs the server (uid {os.geteuid()} now), or set FOREBAY_DATA_DIR"
        return [Finding("data directory", "wrong", f"{there} can't be written: {exc.strerror}", cure)]
    made = "can be written" if there == settings.data_dir.absolute() else "will be made at the first start"
    return [Finding("data directory", "ok", f"{settings.data_dir.absolute()} {made}")]


def _room(settings: Settings) -> list[Finding]:
    if settings.staging == "memory":
        plan = memory_plan(settings)
        total_mb, window_mb = (slabs * plan.slab_bytes / MIB for slabs in (plan.slabs, plan.window_slabs))
        text = (
            f"{total_mb:,.0f} MiB of memory, of which each of {settings.upload_limit} uploads has {window_mb:.1f} MiB"
        )
        return [Finding("room for uploads", "ok", text)]
    usage = shutil.disk_usage(_nearest_existing(settings.spool_dir))
    usable_mb = usage.free // MIB - settings.min_free_mb
    if usable_mb <= 0:
        text = f"{usage.free // MIB} MiB free, of which PARALLEL_UPLOAD_MIN_FREE_MB={settings.min_free_mb} are kept"
        cure = "make room, or put FOREBAY_DATA_DIR on a larger volume: every upload is refused (507)"
        return [Finding("room for uploads", "wrong", text, cure)]
    return [Finding("room for uploads", "ok", f"{usable_mb:,} MiB on the volume of {settings.spool_dir.absolute()}")]


async def _database_and_tokens(settings: Settings) -> list[Finding]:
    url = settings.secret_database_url()
    kind = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    path = Path(url.removeprefix("sqlite:///"))
    if kind == "SQLite" and not await asyncio.to_thread(path.exists):
        # Opening would make it, perhaps as another user than the server's.
        return [
            Finding("database", "ok", f"{path} will be made at the first start"),
            *_who_may_call(settings, made=False),
        ]
    try:
        repository = Repository(url)
        await repository.open()
        try:
            await repository.check()
            made = await repository.any_token()
        finally:
            await repository.close()
    except (ForebayError, SettingsError) as exc:
        cure = "see that it runs and takes writes from here; it is named by FOREBAY_DATABASE_URL"
        return [Finding("database", "wrong", f"{kind}: {exc}", cure)]
    return [Finding("database", "ok", f"{kind} takes writes"), *_who_may_call(settings, made=made)]


def _who_may_call(settings: Settings, *, made: bool) -> list[Finding]:
    if settings.auth == "none":
        return [Finding("access", "note", "FOREBAY_AUTH=none: whoever reaches the port may upload, known by address")]
    if made:
        return [Finding("access", "ok", "by token")]
    local = settings.host == "localhost" or is_loopback(settings.host)
    if settings.auth == "auto" and local:
        return [Finding("access", "ok", "this machine only, without tokens (none was made yet)")]
    cure = "make one: forebay-server token create USER"
    return [Finding("access", "wrong", "there is no token, so nobody from elsewhere can upload", cure)]


async def _destinations(settings: Settings) -> list[Finding]:
    found = []
    for name, url in settings.destination_urls.items():
        subject = "destination" if name == "default" else f"destination {name}"
        try:
            destination = from_url(url, settings)
            try:
                await destination.check()
            finally:
                await destination.aclose()
        except (DestinationUrlError, ForebayError) as exc:
            setting = "FOREBAY_DESTINATION" if name == "default" else "FOREBAY_DESTINATIONS"
            found.append(Finding(subject, "wrong", str(exc), f"correct {setting}, or what it names"))
        else:
            found.append(Finding(subject, "ok", f"{url.partition('?')[0]} takes files"))
    return found


async def _memory(settings: Settings) -> list[Finding]:
    sample = await MemoryMonitor(settings.max_memory_percent, settings.pressure_percent).refresh()
    if sample.current_usage is None or sample.limit is None:
        cure = "/proc and /sys/fs/cgroup must be readable: until then every new upload is refused (503)"
        return [Finding("memory", "wrong", f"can't be measured: {sample.error}", cure)]
    text = f"{sample.current_usage:.1f} % of {sample.limit // MIB:,} MiB in use ({sample.source})"
    if sample.level == "high":
        cure = f"free some, or raise PARALLEL_UPLOAD_MAX_MEMORY_PERCENT={settings.max_memory_percent}"
        return [Finding("memory", "wrong", f"{text}: new uploads are refused", cure)]
    return [Finding("memory", "ok", text)]


def _address(settings: Settings) -> list[Finding]:
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE and _forebay_answers(settings):
            return [Finding("address", "ok", f"{where}: Forebay answers there")]
        cures = {
            errno.EADDRINUSE: "stop what listens there, or set FOREBAY_PORT",
            errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; better: a reverse proxy, or another FOREBAY_PORT",
        }
        cure = cures.get(exc.errno or 0, "set FOREBAY_HOST to an address of this machine")
        return [Finding("address", "wrong", f"can't listen on {where}: {exc.strerror or exc}", cure)]
    return [Finding("address", "ok", f"{where} is free")]


def _forebay_answers(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    if settings.tls_cert is not None:
        context = ssl.create_default_context()
        context.check_hostname = False  # asked is whether it is a Forebay, nothing is told to it
        context.verify_mode = ssl.CERT_NONE
        secure = http.client.HTTPSConnection(host, settings.port, timeout=_ANSWER_TIMEOUT_S, context=context)
        return _is_healthy(secure)
    return _is_healthy(http.client.HTTPConnection(host, settings.port, timeout=_ANSWER_TIMEOUT_S))


def _is_healthy(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _certificate(settings: Settings) -> list[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as exc:
        cure = "FOREBAY_TLS_CERT and FOREBAY_TLS_KEY must be PEM files that belong together, readable by the server"
        return [Finding("certificate", "wrong", exc.strerror or str(exc), cure)]
    return [Finding("certificate", "ok", f"{settings.tls_cert} and its key")]


def _clock(settings: Settings) -> list[Finding]:
    """Tokens end by the clock. One that was set back is earlier than what it stamped before."""
    stamps = [Path(__file__).stat().st_mtime]
    if settings.data_dir.exists():
        stamps += [path.stat().st_mtime for path in [settings.data_dir, *settings.data_dir.iterdir()]]
    behind_s = max(stamps) - time.time()
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if behind_s > 60:  # noqa: PLR2004 - a minute is forgiven
        text = f"{now} is {behind_s / 3600:.1f} h earlier than files that were written here before"
        return [Finding("clock", "wrong", text, "set the clock (timedatectl set-ntp true): tokens end by it")]
    return [Finding("clock", "ok", now)]


def _open_files(settings: Settings) -> list[Finding]:
    """Each connection may take two descriptors (its socket and a duplicate), each chunk under way one more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    writers = settings.upload_limit * settings.max_concurrent_chunks
    needed = 2 * settings.max_connections + writers + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return [Finding("open files", "ok", f"{'any number' if soft == resource.RLIM_INFINITY else soft} may be open")]
    text = f"{soft} may be open; PARALLEL_UPLOAD_MAX_CONNECTIONS={settings.max_connections} may need {needed}"
    cure = (
        f"LimitNOFILE={needed} in the unit, `ulimit -n {needed}` in a shell (hard limit: {hard}), or fewer connections"
    )
    return [Finding("open files", "note", text, cure)]
