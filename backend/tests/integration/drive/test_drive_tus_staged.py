"""tus through the spool to Google Drive: what can't be sent as it comes goes there when it can be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import ApiClient
from app.testing.drive_emulator import Kind
from app.testing.server_process import ServerProcess
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
    """It is on its way to Drive meanwhile, in a session that begins without its length."""
    rig.run(enable_parallel_uploads=parallel)
    tus = Tus(rig.api)
    path = begin(rig, Upload_Defer_Length="1", **NAMED)
    upload_id = path.rpartition("/")[2]
    assert tus.patch(path, 0, CONTENT[: 4 * MIB]).status == 204
    live = rig.product.server.context.uploads.under_way(upload_id)
    rig.product.wait_for(lambda: live.bytes_transferred == live.digest.position == 4 * MIB)
    assert tus.patch(path, 4 * MIB, CONTENT[4 * MIB :], {"Upload-Length": str(len(CONTENT))}).status == 204
    rig.assert_stored(CONTENT, rig.ended(upload_id))
    assert not rig.drive.events.violations
    assert len(rig.drive.sessions) == 1


@pytest.mark.slow
def test_after_a_restart_it_goes_on_in_the_session_that_knows_no_length(
    rig: Rig, start_server: Callable[..., ServerProcess]
) -> None:
    """No byte is sent twice, here or to Drive."""
    server = start_server(
        FOREBAY_DESTINATION="gdrive:",
        FOREBAY_GOOGLE_DRIVE_API_ROOT=rig.drive.root,
        FOREBAY_GOOGLE_DRIVE_CREDENTIALS=str(rig.settings["google_drive_credentials"]),
        FOREBAY_AUTH="none",
    )
    named = {**VERSION, "Upload-Defer-Length": "1", **NAMED}
    with ApiClient(("127.0.0.1", server.port)) as api:
        path = urlsplit(api.request("POST", ROOT, headers=named).headers["location"]).path
        assert Tus(api).patch(path, 0, CONTENT[: 3 * MIB]).status == 204
        while api.progress(path.rpartition("/")[2])["bytes_transferred"] < 3 * MIB:
            time.sleep(0.02)
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        assert tus.position(path) == 3 * MIB
        assert tus.patch(path, 3 * MIB, CONTENT[3 * MIB :], {"Upload-Length": str(len(CONTENT))}).status == 204
        assert api.complete(path.rpartition("/")[2]).json["state"] == "completed"
    server.stop()
    assert rig.drive.content(rig.only_file().id) == CONTENT
    assert len(rig.drive.sessions) == 1
    assert sum(event.size or 0 for event in rig.drive.events if event.kind is Kind.PUT_ENDED) == len(CONTENT)


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
