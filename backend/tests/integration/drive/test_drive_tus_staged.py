"""tus through the spool to Google Drive: what can't be sent as it comes goes there when it can be."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest

from app.testing.drive_emulator import Kind
from app.testing.tus_client import ROOT, VERSION, Tus, metadata

from .conftest import MIB, Rig

CONTENT = os.urandom(5 * MIB + 4321)
NAMED = {"Upload-Metadata": metadata(filename="report.bin")}


def begin(rig: Rig, **fields: str) -> str:
    """An upload as these fields say; its path."""
    headers = {**VERSION, **{name.replace("_", "-"): value for name, value in fields.items()}}
    reply = rig.api.request("POST", ROOT, headers=headers)
    assert reply.status == 201, reply.body
    return urlsplit(reply.headers["location"]).path


@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_whose_length_is_said_later(rig: Rig, *, parallel: bool) -> None:
    """It is digested meanwhile; its session at Drive begins with its length."""
    rig.run(enable_parallel_uploads=parallel)
    tus = Tus(rig.api)
    path = begin(rig, Upload_Defer_Length="1", **NAMED)
    upload_id = path.rpartition("/")[2]
    assert tus.patch(path, 0, CONTENT[: 4 * MIB]).status == 204
    live = rig.product.server.context.uploads.under_way(upload_id)
    rig.product.wait_for(lambda: live.digest.position == 4 * MIB)
    assert not [event for event in rig.drive.events if event.kind is Kind.PUT_STARTED]
    assert tus.patch(path, 4 * MIB, CONTENT[4 * MIB :], {"Upload-Length": str(len(CONTENT))}).status == 204
    rig.assert_stored(CONTENT, rig.ended(upload_id))
    assert not rig.drive.events.violations
    assert len(rig.drive.sessions) == 1


def test_in_sequential_mode_a_request_that_waits_for_drive_can_be_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who cancels the upload."""
    monkeypatch.setattr("app.services.parallel_chunk_processor._PATIENCE_S", 3600.0)
    rig.drive.set_storage_quota(1)
    rig.run(enable_parallel_uploads=False)
    tus = Tus(rig.api)
    path = tus.begin(len(CONTENT))
    sock = tus.begin_patch(path, 0, len(CONTENT), CONTENT)
    live = rig.product.server.context.uploads.under_way(path.rpartition("/")[2])
    rig.product.wait_for(lambda: live.recorded.prefix > 0 and live.problem is not None)
    assert tus.delete(path).status == 204
    assert sock.recv(65536).startswith(b"HTTP/1.1 409")
    sock.close()
    rig.product.wait_for(rig.product.quiescent)


@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_of_parts(rig: Rig, *, parallel: bool) -> None:
    """Parts go nowhere by themselves, in neither mode."""
    rig.run(enable_parallel_uploads=parallel)
    tus, paths = Tus(rig.api), []
    for start, end in ((0, MIB + 1), (MIB + 1, 4 * MIB), (4 * MIB, len(CONTENT))):
        path = begin(rig, Upload_Concat="partial", Upload_Length=str(end - start))
        assert tus.patch(path, 0, CONTENT[start:end]).status == 204
        paths.append(path)
    assert not [event for event in rig.drive.events if event.kind is Kind.PUT_STARTED]
    final = begin(rig, Upload_Concat=f"final;{' '.join(paths)}", **NAMED)
    rig.assert_stored(CONTENT, rig.ended(final.rpartition("/")[2]))
