"""A Drive that is slow, and one that refuses: which of the two an upload waits for, as the operations stream has it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.testing.drive_emulator import DriveEmulator, Rule, Status
from app.testing.drive_emulator.options import Options
from app.testing.ops_stream import OpsStream
from app.testing.product import Product

from .conftest import MIB, Rig


@pytest.fixture
def slow_rig(start_product: Callable[..., Product], tmp_path: Path) -> Iterator[Rig]:
    """With a Drive that takes a quarter of a MiB a second."""
    with DriveEmulator.in_thread(Options(rate=MIB / 4, latency_s=0.2)) as drive:
        credentials = tmp_path / "google-drive.json"
        credentials.write_text(json.dumps(drive.authorized_user()))
        settings = {
            "destination": "gdrive:",
            "google_drive_api_root": drive.root,
            "google_drive_credentials": credentials,
        }
        rig = Rig(drive, start_product, tmp_path, settings)
        yield rig
        rig.api.close()


@pytest.mark.parametrize("staging", ["spool", "memory"])
def test_a_slow_destination_is_named(slow_rig: Rig, staging: str) -> None:
    """While the client sends as fast as it can, and when everything has come."""
    rig = slow_rig.run(staging=staging)
    content = bytes(2 * MIB)
    view = rig.begin(content)
    with OpsStream(rig.product.address) as stream, rig.product.client() as client:
        chunk = client.begin_chunk(view["id"], 0, view["chunk_size"], content[: view["chunk_size"]])
        stream.until(lambda said: said.rows.get(view["id"], {}).get("slowness") == "destination")
        assert chunk.fileno() >= 0
        if staging == "spool":
            rig.api.put_all(view, content)
            stream.until(lambda said: said.rows[view["id"]]["state"] == "transferring")
            stream.until(lambda said: said.rows[view["id"]]["slowness"] == "destination")
            assert stream.destinations["default"]["transferring"] == 1
            stream.until(lambda said: view["id"] in said.gone)


def test_a_storm_of_503_is_named(rig: Rig, content: bytes) -> None:
    """It waits between its tries, and then, like all others, while Drive is left alone; afterwards it gets there."""
    rig.drive.script([Rule("upload.start", Status(503))])
    rig.run()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    with OpsStream(rig.product.address) as stream:
        stream.until(lambda said: said.rows.get(view["id"], {}).get("slowness") == "backoff")
        stream.until(
            lambda said: said.rows[view["id"]]["where"]["backoff"] > said.rows[view["id"]]["where"]["destination"]
        )
        assert stream.rows[view["id"]]["problem"]
        stream.until(lambda said: said.destinations["default"]["breaker"] == "open")
        assert stream.destinations["default"]["sentence"]
        until = stream.until(lambda said: said.destinations["default"]["backoff_until"]).destinations["default"]
        assert 0 < until["backoff_until"] - time.time() < 90
        rig.drive.script([])
        stream.until(lambda said: view["id"] in said.gone, 90)
        stream.until(lambda said: said.incidents[max(said.incidents)]["sentence"].endswith("It works again."))
    rig.assert_stored(content, rig.ended(view["id"]))


def test_uploads_that_wait_for_the_quota_are_counted_and_nothing_is_asked_of_the_operator(
    rig: Rig, content: bytes
) -> None:
    """Drive takes no more today: it is not left alone, and what is parked says so."""
    rig.drive.script([Rule("upload.start", Status(403, reason="uploadLimitExceeded"))])
    rig.run()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    with OpsStream(rig.product.address) as stream:
        stream.until(lambda said: said.destinations and said.destinations["default"]["parked"] == 1)
        state = stream.destinations["default"]
        assert (state["breaker"], state["waiting"]) == ("closed", 1)
        assert "Nothing is to be done" in state["sentence"]
        stream.until(lambda said: said.rows.get(view["id"], {}).get("slowness") == "backoff")
        assert stream.rows[view["id"]]["problem"] == state["sentence"]
        stream.until(lambda said: any(one["kind"] == "destination" for one in said.incidents.values()))
        told = [one["sentence"] for one in stream.incidents.values() if one["kind"] == "destination"]
        assert told == [f"Destination default: {state['sentence']}"]
