"""Answers as refusals, and refusals as errors."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest

from app.core.errors import (
    DestinationFull,
    DestinationLoginLost,
    DestinationQuotaReached,
    DestinationRefused,
    DestinationRefusedUpload,
    DestinationUnavailable,
    FileTooLarge,
)
from app.destinations.google_drive.faults import Refusal, error_for, refusal_in, unreachable


def body(reason: str = "", *, code: int = 403, message: str = "m", **more: object) -> bytes:
    """An error object as Google sends them."""
    errors = [{"domain": "global", "reason": reason, "message": message}] if reason else []
    return json.dumps({"error": {"code": code, "message": message, "errors": errors, **more}}).encode()


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b'{"id": "x"}', b"<html>", b'{"broken', b"\xff\xfe"])
def test_a_good_status_without_an_error_is_no_refusal(said: bytes) -> None:
    """Whatever else is in it."""
    assert refusal_in(200, {}, said) is None
    assert refusal_in(308, {}, said) is None


def test_a_200_may_be_an_error() -> None:
    """With the status that it tells, if that is one."""
    assert refusal_in(200, {}, body("backendError", code=503)) == Refusal(503, ("backendError",), "m")
    assert refusal_in(200, {}, body("x", code=200)) == Refusal(502, ("x",), "m")
    assert refusal_in(200, {}, b'{"error": "odd"}') == Refusal(502, ("odd",))


@pytest.mark.parametrize(
    "said", [b"", b"Not Found", b"<html>nope", b"{", b"[1]", b'{"error": 7}', b'{"error": {"errors": 1}}']
)
def test_any_bad_status_is_one(said: bytes) -> None:
    """However little it says."""
    refusal = refusal_in(404, {}, said)
    assert refusal is not None
    assert (refusal.status, refusal.reasons) == (404, ())


def test_reasons_are_found_in_old_and_new_answers() -> None:
    """The more telling ones first; what is no word is none."""
    said = body(
        "forbidden",
        details=[{"@type": "ErrorInfo", "reason": "SERVICE_DISABLED"}, {"links": []}],
        status="PERMISSION_DENIED",
    )
    refusal = refusal_in(403, {}, said)
    assert refusal is not None
    assert refusal.reasons == ("forbidden", "SERVICE_DISABLED", "PERMISSION_DENIED")
    assert isinstance(error_for(refusal), DestinationRefused)
    assert "not enabled" in error_for(refusal).detail
    odd = refusal_in(403, {}, body("two words\r\nX: y"))
    assert odd is not None
    assert odd.reasons == ()


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("7", 7), ("0", 0), ("999999", 3600), ("-1", None), ("soon", None), ("", None)],
)
def test_retry_after(header: str | None, expected: int | None) -> None:
    """Seconds, within reason."""
    refusal = refusal_in(429, {} if header is None else {"Retry-After": header}, b"")
    assert refusal is not None
    assert refusal.retry_after_s == expected
    assert error_for(refusal).asked_for_s == expected


def test_retry_after_as_a_date() -> None:
    """As RFC 9110 allows."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    refusal = refusal_in(503, {"Retry-After": soon}, b"")
    assert refusal is not None
    assert refusal.retry_after_s is not None
    assert 28 <= refusal.retry_after_s <= 31


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(500), DestinationUnavailable),
        (Refusal(599), DestinationUnavailable),
        (Refusal(408), DestinationUnavailable),
        (Refusal(429), DestinationUnavailable),
        (Refusal(401), DestinationLoginLost),
        (Refusal(403), DestinationRefusedUpload),
        (Refusal(400, ("invalid_grant",)), DestinationLoginLost),
        (Refusal(403, ("quotaExceeded", "RESOURCE_EXHAUSTED")), DestinationQuotaReached),
        (Refusal(403, ("storageQuotaExceeded",)), DestinationFull),
        (Refusal(503, ("backendError",)), DestinationUnavailable),
        (Refusal(413), FileTooLarge),
        (Refusal(418), DestinationRefusedUpload),
    ],
)
def test_the_first_reason_decides_else_the_status(refusal: Refusal, error: type) -> None:
    """Exactly that error."""
    assert type(error_for(refusal)) is error


def test_googles_words_are_in_no_message() -> None:
    """Nor in a representation."""
    refusal = refusal_in(403, {}, body("domainPolicy", message="project 1234 of jane@example.com"))
    assert refusal is not None
    assert "jane" not in error_for(refusal).detail
    assert "jane" not in repr(refusal)


@pytest.mark.parametrize(
    "exc",
    [
        aiohttp.ClientOSError(104, "Can not write request body for https://host/upload?upload_id=SECRET"),
        aiohttp.ServerDisconnectedError("https://host/upload?upload_id=SECRET"),
        aiohttp.InvalidURL("https://host/upload?upload_id=SECRET"),
        ssl.SSLCertVerificationError(1, "SECRET"),
        TimeoutError("SECRET"),
        ConnectionResetError(104, "SECRET"),
    ],
)
def test_what_is_no_answer_passes_and_tells_no_address(exc: Exception) -> None:
    """By its kind and number only."""
    error = unreachable(exc)
    assert type(error) is DestinationUnavailable
    assert "SECRET" not in error.detail
    assert type(exc).__name__ in error.detail
    assert ("too slow" in error.detail) is isinstance(exc, TimeoutError)


def test_the_daily_limit_is_recognised_by_its_sentence() -> None:
    """To the letter; a limit of requests has another."""
    daily = refusal_in(403, {}, body("userRateLimitExceeded", message="User rate limit exceeded."))
    other = refusal_in(403, {}, body("userRateLimitExceeded", message="User Rate Limit Exceeded. Rate of requests"))
    assert daily is not None
    assert other is not None
    assert (daily.may_be_daily_limit, other.may_be_daily_limit) == (True, False)
