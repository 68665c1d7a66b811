"""The checks: each says in its return value what it saw, or raises CheckFailed."""

from __future__ import annotations

import base64
import hashlib
import importlib
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.core.errors import LimitReached
from app.core.settings import load_settings
from app.core.settings_errors import SettingsError
from app.core.upload import MIB
from app.testing.self_check.rig import Rig

__all__ = ["PHASES", "CheckFailed", "Phase"]

Check = Callable[[Rig], str]

CHUNK = MIB // 4
MEMORY_LIMIT_BYTES = 200 * MIB
SERVICES = ("upload_concurrency_manager", "memory_monitor", "chunk_buffer_pool", "parallel_chunk_processor")
STATUS_KEYS = {
    "mode",
    "concurrency_manager",
    "memory_monitor",
    "buffer_pool",
    "chunk_processor",
    "destinations",
    "version",
    "uptime_seconds",
}


class CheckFailed(Exception):
    """What was expected and not seen."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Checks on one server; without `settings`, on the installation."""

    name: str
    settings: Mapping[str, str] | None
    checks: tuple[Check, ...]


def expect(held: object, otherwise: str) -> None:
    """Go on, or fail with a sentence."""
    if not held:
        raise CheckFailed(otherwise)


def sha256_field(content: bytes) -> str:
    """Content-Digest of RFC 9530."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def chunk_path(upload: Mapping[str, Any], number: int) -> str:
    """Where a chunk goes."""
    return str(upload["chunk_url"]).replace("{n}", str(number))


# -- the installation ------------------------------------------------------------------------------------------------


def services_are_in_place(rig: Rig) -> str:
    """The guide's four files, importable."""
    for name in SERVICES:
        expect((rig.services / f"{name}.py").is_file(), f"{rig.services / name}.py is missing")
        importlib.import_module(f"app.services.{name}")
    return f"{len(SERVICES)} services"


def template_can_be_used(rig: Rig) -> str:
    """`cp env.parallel_upload.template .env` gives settings that work."""
    try:
        settings = load_settings(rig.template)
    except SettingsError as exc:
        raise CheckFailed(str(exc)) from exc
    expect(rig.template.is_file(), f"{rig.template} is missing")
    return f"mode {settings.mode}"


def own_settings_can_be_used(rig: Rig) -> str:
    """The operator's .env, if there is one; only read."""
    if not rig.env_file.is_file():
        return "no .env yet"
    try:
        settings = load_settings(rig.env_file)
    except SettingsError as exc:
        raise CheckFailed(str(exc)) from exc
    return f".env, mode {settings.mode}"


# -- parallel mode ---------------------------------------------------------------------------------------------------


def monitoring_endpoints_answer(rig: Rig) -> str:
    """Status, health, readiness, metrics; and an honest 404 for an unknown upload."""
    status = rig.status()
    expect(set(status) == STATUS_KEYS, f"upload-status has {sorted(status)}")
    expect(status["mode"] == "parallel", f"the mode is {status['mode']}")
    for path in ("/healthz", "/readyz", "/metrics", "/docs"):
        answer = rig.call("GET", path)
        expect(answer.status == HTTPStatus.OK, f"{path} answered {answer.status}")
    unknown = rig.call("GET", "/api/v1/system/upload-progress/unknown").status
    expect(unknown == HTTPStatus.NOT_FOUND, f"progress of an unknown upload answered {unknown}")
    return "status, health, readiness, metrics"


def _arrives(rig: Rig, name: str, size: int) -> str:
    path = rig.make_file(name, size)
    with path.open("rb") as file:
        sent = hashlib.file_digest(file, "sha256").hexdigest()
    result = rig.upload(path)
    expect(rig.stored_sha256(name) == sent, "the destination holds other bytes than were sent")
    expect(result.stored.size == size, f"the client says {result.stored.size} bytes")
    return f"{size / MIB:.1f} MiB, SHA-256 equal"


def small_file_arrives(rig: Rig) -> str:
    """In a single request."""
    return _arrives(rig, "small.bin", 100_000)


def medium_file_arrives_in_parallel(rig: Rig) -> str:
    """In chunks, many at once."""
    return _arrives(rig, "medium.bin", 96 * MIB + 12_345)


def chunks_are_taken_in_any_order(rig: Rig) -> str:
    """Backwards, and one of them twice."""
    content = random.randbytes(3 * CHUNK + 1000)  # noqa: S311
    upload = rig.create("backwards.bin", len(content), chunk_size=CHUNK)
    for number in (3, 2, 2, 1, 0):
        piece = content[number * CHUNK : (number + 1) * CHUNK]
        answer = rig.call("PUT", chunk_path(upload, number), piece, {"content-digest": sha256_field(piece)})
        expect(answer.status == HTTPStatus.NO_CONTENT, f"chunk {number} answered {answer.status}: {answer.body!r}")
    done = rig.until(lambda: rig.progress(upload["id"])["state"] == "completed")
    expect(done, f"the upload is {rig.progress(upload['id'])['state']}")
    expect(rig.stored_sha256("backwards.bin") == hashlib.sha256(content).hexdigest(), "the content differs")
    return "4 chunks, backwards"


def wrong_bytes_are_refused(rig: Rig) -> str:
    """A digest that does not fit, other bytes for a recorded chunk, a chunk too short, one too long."""
    upload = rig.create("wrong.bin", 2 * CHUNK, chunk_size=CHUNK)
    path = chunk_path(upload, 0)
    good = {"content-digest": sha256_field(bytes(CHUNK))}
    table: tuple[tuple[str, bytes, Mapping[str, str], int], ...] = (
        ("a wrong digest", bytes(CHUNK - 1) + b"x", good, HTTPStatus.UNPROCESSABLE_ENTITY),
        ("a short chunk", bytes(CHUNK - 1), {}, HTTPStatus.BAD_REQUEST),
        ("a long chunk", bytes(CHUNK + 1), {}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ("the right bytes", bytes(CHUNK), good, HTTPStatus.NO_CONTENT),
        ("other bytes for it", b"x" * CHUNK, {}, HTTPStatus.CONFLICT),
    )
    for what, body, headers, wanted in table:
        answer = rig.call("PUT", path, body, headers)
        expect(answer.status == wanted, f"{what} answered {answer.status}, not {int(wanted)}")
    rig.call("DELETE", f"/api/v1/uploads/{upload['id']}")
    return "digest, length, conflict"


def progress_is_honest(rig: Rig) -> str:
    """Received is not done: 100 percent only when the file is at the destination."""
    upload = rig.create("progress.bin", 2 * CHUNK, chunk_size=CHUNK, completion="explicit")
    rig.call("PUT", chunk_path(upload, 0), bytes(CHUNK))
    half = rig.progress(upload["id"])
    expect(half["bytes_received"] == CHUNK, f"{half['bytes_received']} bytes received after one chunk")
    expect(half["completed_chunks"] == 1, f"{half['completed_chunks']} chunks completed after one")
    rig.call("PUT", chunk_path(upload, 1), bytes(CHUNK))
    received = rig.progress(upload["id"])["progress_percent"]
    expect(received < 100, f"{received} % before it was stored")  # noqa: PLR2004
    answer = rig.call("POST", f"/api/v1/uploads/{upload['id']}/complete")
    expect(answer.status == HTTPStatus.OK, f"complete answered {answer.status}: {answer.body!r}")
    done = rig.progress(upload["id"])["progress_percent"]
    expect(done == 100, f"{done} % after it was stored")  # noqa: PLR2004
    return "received, then stored, then 100 %"


def acknowledged_chunks_survive_a_crash(rig: Rig) -> str:
    """Kill -9 in the middle; what was acknowledged is still there, and the upload goes on."""
    content = random.randbytes(4 * CHUNK)  # noqa: S311
    upload = rig.create("crash.bin", len(content), chunk_size=CHUNK)
    for number in (2, 0):
        rig.call("PUT", chunk_path(upload, number), content[number * CHUNK : (number + 1) * CHUNK])
    rig.crash()
    answer = rig.call("GET", f"/api/v1/uploads/{upload['id']}")
    expect(answer.status == HTTPStatus.OK, f"after the crash the upload answers {answer.status}")
    missing = answer.body["missing_chunks"]
    expect(missing == [{"first": 1, "last": 1}, {"first": 3, "last": 3}], f"after the crash {missing} is missing")
    for number in (3, 1):
        rig.call("PUT", chunk_path(upload, number), content[number * CHUNK : (number + 1) * CHUNK])
    expect(rig.until(lambda: rig.progress(upload["id"])["state"] == "completed"), "it does not complete")
    expect(rig.stored_sha256("crash.bin") == hashlib.sha256(content).hexdigest(), "the content differs")
    return "2 of 4 chunks kept, then completed"


def memory_stays_bounded(rig: Rig) -> str:
    """Measured by the system, and what the monitor says of itself."""
    rss = rig.rss_bytes()
    expect(rss <= MEMORY_LIMIT_BYTES, f"the server uses {rss / MIB:.0f} MiB")
    monitor = rig.status()["memory_monitor"]
    expect(isinstance(monitor["current_usage"], float), f"memory usage is {monitor['current_usage']!r}")
    expect(monitor["level"] in {"ok", "high"}, f"the memory monitor's level is {monitor['level']}")
    return f"{rss / MIB:.0f} MiB resident, host or container at {monitor['current_usage']} %"


def nothing_is_left_behind(rig: Rig) -> str:
    """No buffer lent out, no chunk in flight, nothing in the spool, no error in the log."""

    def idle() -> bool:
        status = rig.status()
        leased, in_flight = status["buffer_pool"]["slabs_leased"], status["chunk_processor"]["chunks_in_flight"]
        return (leased, in_flight) == (0, 0)

    expect(rig.until(idle, seconds=5), "buffers or chunks are still out")
    errors = [event for event in rig.log_events() if event.get("level") in {"error", "critical"}]
    expect(not errors, f"the log has {len(errors)} errors, first: {errors[:1]}")
    return "buffers back, no error in the log"


# -- limits ----------------------------------------------------------------------------------------------------------

LIMIT = 2


def limits_hold(rig: Rig) -> str:
    """With two slots, a third upload is told the guide's sentence, and gets in when one is free."""
    uploads = [rig.create(f"limit{number}.bin", CHUNK) for number in range(LIMIT + 1)]
    with ExitStack() as stack:
        for upload in uploads[:LIMIT]:
            stack.enter_context(closing(rig.half_sent(chunk_path(upload, 0), CHUNK)))
        active = rig.until(lambda: rig.status()["concurrency_manager"]["active_uploads"] == LIMIT)
        expect(active, f"the status does not show {LIMIT} active uploads")
        refused = rig.call("PUT", chunk_path(uploads[LIMIT], 0), bytes(CHUNK))
        expect(refused.status == HTTPStatus.SERVICE_UNAVAILABLE, f"upload {LIMIT + 1} answered {refused.status}")
        expect(refused.body["detail"] == LimitReached().detail, f"it says {refused.body['detail']!r}")
        expect("retry-after" in {name.lower() for name in refused.headers}, "it has no Retry-After")

    def gets_in() -> bool:
        return rig.call("PUT", chunk_path(uploads[LIMIT], 0), bytes(CHUNK)).status == HTTPStatus.NO_CONTENT

    expect(rig.until(gets_in), "it does not get in when a slot is free")
    return f"{LIMIT} at once, the next is told to wait"


# -- sequential mode -------------------------------------------------------------------------------------------------


def file_arrives_chunk_by_chunk(rig: Rig) -> str:
    """4 MiB, one at a time."""
    return _arrives(rig, "sequential.bin", 14 * MIB + 5)


def order_is_kept(rig: Rig) -> str:
    """The second chunk before the first is refused, with what to send."""
    upload = rig.create("order.bin", 2 * CHUNK, chunk_size=CHUNK)
    expect(upload["mode"] == "sequential", f"the mode is {upload['mode']}")
    answer = rig.call("PUT", chunk_path(upload, 1), bytes(CHUNK))
    expect(answer.status == HTTPStatus.CONFLICT, f"chunk 1 before chunk 0 answered {answer.status}")
    expect(answer.body["next_chunk"] == 0, f"the next chunk is said to be {answer.body['next_chunk']}")
    return "out of order is a 409 that says what to send"


PHASES = (
    Phase("Installation", None, (services_are_in_place, template_can_be_used, own_settings_can_be_used)),
    Phase(
        "Parallel mode",
        {"ENABLE_PARALLEL_UPLOADS": "True"},
        (
            monitoring_endpoints_answer,
            small_file_arrives,
            medium_file_arrives_in_parallel,
            chunks_are_taken_in_any_order,
            wrong_bytes_are_refused,
            progress_is_honest,
            acknowledged_chunks_survive_a_crash,
            memory_stays_bounded,
            nothing_is_left_behind,
        ),
    ),
    Phase(
        "Limits",
        {
            "ENABLE_PARALLEL_UPLOADS": "True",
            "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(LIMIT),
            "PARALLEL_UPLOAD_QUEUE_TIMEOUT_S": "0.3",
            "PARALLEL_UPLOAD_SLOT_IDLE_S": "1",
        },
        (limits_hold,),
    ),
    Phase("Sequential mode", {"ENABLE_PARALLEL_UPLOADS": "False"}, (file_arrives_chunk_by_chunk, order_is_kept)),
)
