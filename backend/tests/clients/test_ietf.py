"""The IETF's resumable uploads by tus-js-client, which speaks drafts -03 (interop 5) and -05 (interop 6).

In pieces, it says of the last one that it is the last only for content that it holds as a whole (as pages do): of a
stream, never; and what is not said to be complete is not (draft -05, Upload Creation).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MIB, Place

SIZE = 12 * MIB + 345
DRAFTS = pytest.mark.parametrize("protocol", ["ietf-draft-03", "ietf-draft-05"])
MakeFile = Callable[[str, int], Path]


def spoken(place: Place, protocol: str, name: str) -> dict[str, Any]:
    """Options for that draft; the protocol has no metadata of its own, so the name is where HTTP has it."""
    return {
        "protocol": protocol,
        "endpoint": f"{place.server.url}/api/v1/resumable",
        "headers": {"Content-Disposition": f'inline; filename="{name}"'},
    }


@DRAFTS
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"chunkSize": 1_000_000, "inMemory": True}, id="in-pieces"),
        pytest.param({"uploadDataDuringCreation": True}, id="creation-with-upload"),
        pytest.param({"uploadLengthDeferred": True, "chunkSize": 1_000_000}, id="deferred-length"),
    ],
)
def test_a_file_arrives(
    place: Place, tus_js: Callable[..., Any], make_file: MakeFile, protocol: str, options: dict[str, Any]
) -> None:
    """Whole, once, under its name; when the client has its last answer it is at the destination."""
    file = make_file("file.bin", SIZE)
    with tus_js(place, file, **spoken(place, protocol, file.name), **options) as run:
        run.until("success")
    assert place.arrived(file.name)[1] == file.read_bytes()


@DRAFTS
def test_after_an_abort_another_run_goes_on(
    place: Place, tus_js: Callable[..., Any], make_file: MakeFile, tmp_path: Path, protocol: str
) -> None:
    """What had been accepted is not sent again."""
    file = make_file("aborted.bin", SIZE)
    options = {
        **spoken(place, protocol, file.name),
        "chunkSize": 1_000_000,
        "inMemory": True,
        "storage": str(tmp_path / "urls.json"),
    }
    with tus_js(place, file, abortAfter=5_000_000, **options) as run:
        run.until("aborted")
        run.process.wait()
    with tus_js(place, file, resume=True, **options) as run:
        seen = run.until("success")
    offsets = [int(each["offset"]) for each in seen if each["event"] == "request" and each["method"] == "PATCH"]
    assert offsets[0] >= 5_000_000
    assert place.arrived(file.name)[1] == file.read_bytes()


def test_a_server_that_is_killed_is_waited_for(place: Place, tus_js: Callable[..., Any], make_file: MakeFile) -> None:
    """In the middle of a PATCH, with -9; the client asks where it stands and goes on there."""
    file = make_file("killed.bin", 100 * MIB)
    with tus_js(place, file, chunkSize=40 * MIB, inMemory=True, **spoken(place, "ietf-draft-05", file.name)) as run:
        run.until("progress", sent=45 * MIB)
        place.server.stop(signal.SIGKILL)
        place.server.start()
        run.until("success")
    assert place.arrived(file.name)[1] == file.read_bytes()
