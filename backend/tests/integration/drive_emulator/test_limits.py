"""Quota, daily limit, latency and rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.testing.drive_emulator import UNIT_BYTES, DriveEmulator

SESSION = "/upload/drive/v3/files?uploadType=resumable"


async def test_the_quota_is_enforced_before_and_after_the_bytes(raw: Any) -> None:
    """By the declared size, and by the real one; it can be raised."""
    raw.drive.set_storage_quota(100)
    refused = await raw.ask("POST", SESSION, headers={"X-Upload-Content-Length": "101"})
    assert (refused.status, refused.reason) == (403, "storageQuotaExceeded")
    assert refused.json()["error"]["errors"][0]["domain"] == "global"
    uri = await raw.begin()
    assert (await raw.put(uri, bytes(101))).reason == "storageQuotaExceeded"
    assert not raw.drive.files
    raw.drive.set_storage_quota(101)
    assert (await raw.put(uri, b"", "*/101")).status == 200
    whole = await raw.ask("POST", "/upload/drive/v3/files?uploadType=media", data=b"1")
    assert whole.reason == "storageQuotaExceeded"


async def test_a_shared_drive_has_a_quota_of_its_own(raw: Any) -> None:
    """The user's does not count there."""
    raw.drive.set_storage_quota(0)
    uri = await raw.begin(params="&supportsAllDrives=true", parents=[raw.drive.shared_drive])
    assert (await raw.put(uri, b"1")).status == 200


async def test_the_daily_limit_refuses_new_uploads_and_lets_running_ones_end(raw: Any) -> None:
    """As Google says of its 750 GB; a new day forgets."""
    raw.drive.set_daily_limit(10)
    one, two = await raw.begin(), await raw.begin()
    assert (await raw.put(one, bytes(11))).status == 200
    assert (await raw.put(two, bytes(11))).status == 200
    refused = await raw.ask("POST", SESSION)
    assert (refused.status, refused.reason) == (403, "userRateLimitExceeded")
    assert refused.json()["error"]["errors"][0]["domain"] == "usageLimits"
    assert refused.json()["error"]["message"] == "User rate limit exceeded."
    raw.drive.a_new_day()
    assert (await raw.put(await raw.begin(), b"1")).status == 200


async def test_the_daily_limits_reason_can_be_chosen(start_drive: Callable[..., DriveEmulator], connect: Any) -> None:
    """For clients that wait for another one."""
    raw = connect(start_drive(daily_limit=0, daily_limit_reason="dailyLimitExceeded", daily_limit_message="Enough."))
    refused = await raw.ask("POST", SESSION)
    assert (refused.reason, refused.json()["error"]["message"]) == ("dailyLimitExceeded", "Enough.")


async def test_latency_is_added_once_to_each_answer(raw: Any) -> None:
    """Refusals among them; a control request is answered at once."""
    raw.drive.set_latency(0.1)
    started = time.monotonic()
    await asyncio.gather(
        raw.ask("GET", "/drive/v3/files"), raw.ask("GET", "/drive/v3/files/nobody"), raw.put(raw.drive.root + SESSION)
    )
    assert 0.1 <= time.monotonic() - started < 2
    raw.drive.set_latency(5)
    started = time.monotonic()
    await raw.ask("GET", "/emulator")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("connections", [1, 3])
async def test_the_rate_is_each_connections(raw: Any, connections: int) -> None:
    """Up and down."""
    size = 4 * UNIT_BYTES
    uris = [await raw.begin(f"{n}", size=size) for n in range(connections)]
    raw.drive.set_rate(5 * size)
    started = time.monotonic()
    made = await asyncio.gather(*(raw.put(uri, bytes(size)) for uri in uris))
    up = time.monotonic()
    await asyncio.gather(*(raw.ask("GET", f"/drive/v3/files/{each.json()['id']}?alt=media") for each in made))
    down = time.monotonic()
    assert 0.14 <= up - started < 3
    assert 0.14 <= down - up < 3
