"""Metrics: what happened is counted, what is gets read, and nothing from a client becomes a label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.core.upload import UploadState
from app.observability.metrics import Metrics


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample that Prometheus would read, as `name{label="value"}`."""
    _, body = metrics.render()
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_what_happened_is_counted() -> None:
    """One call of each kind."""
    metrics = Metrics()
    metrics.received(5)
    metrics.received(7)
    metrics.chunk("stored")
    metrics.transition(None, UploadState.CREATED)
    metrics.transition(UploadState.CREATED, UploadState.RECEIVING)
    metrics.request("/api/v1/uploads/{id}", "GET", 200, 0.02)
    metrics.refused("memory-pressure")
    metrics.retried("staging")
    metrics.loop_lag(0.03)
    metrics.committed(0.002, 9)
    metrics.transferred("default", 100)
    metrics.transfer_finished("default", 2.0)
    found = values(metrics)
    assert found["forebay_received_bytes_total"] == 12
    assert found['forebay_chunks_total{outcome="stored"}'] == 1
    assert found['forebay_upload_transitions_total{after="created",before="none"}'] == 1
    assert found['forebay_upload_transitions_total{after="receiving",before="created"}'] == 1
    assert found['forebay_request_seconds_count{method="GET",route="/api/v1/uploads/{id}",status="200"}'] == 1
    assert found['forebay_refusals_total{code="memory-pressure"}'] == 1
    assert found['forebay_retries_total{what="staging"}'] == 1
    assert found['forebay_loop_lag_seconds_bucket{le="0.025"}'] == 0
    assert found['forebay_loop_lag_seconds_bucket{le="0.05"}'] == 1
    assert found["forebay_database_commit_writes_sum"] == 9
    assert found['forebay_transferred_bytes_total{destination="default"}'] == 100
    assert found['forebay_transfer_seconds_sum{destination="default"}'] == 2


def test_two_servers_in_one_process_do_not_mix() -> None:
    """Each has its registry."""
    one, other = Metrics(), Metrics()
    one.received(5)
    assert values(other)["forebay_received_bytes_total"] == 0


def test_what_a_client_invents_becomes_no_label() -> None:
    """Methods and paths that are none of ours share one series."""
    metrics = Metrics()
    for number in range(50):
        metrics.request(None, f"X{number}", 404, 0.01)
    counts = {
        name: value for name, value in values(metrics).items() if name.startswith("forebay_request_seconds_count")
    }
    assert counts == {'forebay_request_seconds_count{method="other",route="none",status="404"}': 50}


@dataclass
class Pool:
    """A pool's figures."""

    slab_bytes: int = 1 << 20
    slabs_total: int = 8
    slabs_leased: int = 3
    waiting: int = 1


@dataclass
class Slots:
    """A manager's figures."""

    active_uploads: int = 2
    max_uploads: int = 20
    active_users: int = 1
    max_users: int = 20
    queued: int = 4


@dataclass
class Memory:
    """A monitor's figures."""

    current_usage: float | None = 42.5
    limit: int | None = 1 << 30
    rss_bytes: int | None = 1 << 26


@dataclass
class Room:
    """A staging's figures."""

    total_bytes: int = 100
    free_bytes: int = 60
    reserved_bytes: int = 30


def test_gauges_are_read_when_somebody_asks() -> None:
    """Each time anew."""
    metrics, pool, slots, memory, room = Metrics(), Pool(), Slots(), Memory(), Room()
    metrics.watch_pool(lambda: pool)
    metrics.watch_slots(lambda: slots)
    metrics.watch_memory(lambda: memory)
    metrics.watch_room(lambda: room)
    metrics.watch("event_streams", "Open event streams.", lambda: 7)
    found = values(metrics)
    assert (found["forebay_pool_slabs"], found["forebay_pool_slabs_leased"], found["forebay_pool_waiting"]) == (8, 3, 1)
    assert (found["forebay_uploads_active"], found["forebay_uploads_queued"]) == (2, 4)
    assert found["forebay_memory_used_percent"] == 42.5
    assert (found["forebay_staging_free_bytes"], found["forebay_staging_reserved_bytes"]) == (60, 30)
    assert found["forebay_event_streams"] == 7
    pool.slabs_leased = 0
    assert values(metrics)["forebay_pool_slabs_leased"] == 0


def test_what_can_not_be_measured_is_absent_and_not_invented() -> None:
    """No number when the probe failed, none before the first look."""
    metrics = Metrics()
    metrics.watch_memory(lambda: Memory(current_usage=None))
    metrics.watch_room(lambda: None)
    metrics.watch("loop_lag_max_seconds", "Longest.", lambda: None)
    found = values(metrics)
    assert "forebay_memory_used_percent" not in found
    assert found["forebay_memory_rss_bytes"] == 1 << 26
    assert "forebay_staging_free_bytes" not in found
    assert "forebay_loop_lag_max_seconds" not in found


def test_one_gauge_in_trouble_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """And is told in the log."""
    metrics = Metrics()

    def broken() -> float:
        raise RuntimeError("closed")

    metrics.watch("first", "First.", broken)
    metrics.watch("second", "Second.", lambda: 2)
    found = values(metrics)
    assert "forebay_first" not in found
    assert found["forebay_second"] == 2
    assert "could not be read" in caplog.text


def test_the_process_itself_is_shown_and_nothing_twice() -> None:
    """Memory and descriptors of the process; no `_created` twins; the type that Prometheus knows."""
    media_type, body = Metrics().render()
    assert media_type.startswith("text/plain")
    assert b"\nprocess_resident_memory_bytes " in body
    assert b"\nprocess_open_fds " in body
    assert b"_created" not in body


def test_the_tuning_guide_names_only_metrics_that_exist() -> None:
    """What is renamed here is renamed there; the event loop's maximum is watched by the composition root."""
    metrics = Metrics()
    metrics.watch_pool(Pool)
    metrics.watch_room(Room)
    for name in ("loop_lag_max_seconds", "loop_blocked_max_seconds", "staging_waiting"):
        metrics.watch(name, "Longest.", lambda: 0)
    metrics.transferred("default", 1)
    _, body = metrics.render()
    guide = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text("utf-8")
    named = set(re.findall(r"`(forebay_[a-z_]+)`", guide))
    assert named
    assert {name for name in named if f"# TYPE {name} ".encode() not in body} == set()
