"""tus-js-client: plainly, with the extensions that it knows, aborted, and with the server killed under it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MIB, Place

SIZE = 12 * MIB + 345


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"chunkSize": 1_000_000}, id="in-pieces"),
        pytest.param({"uploadDataDuringCreation": True}, id="creation-with-upload"),
        pytest.param({"uploadLengthDeferred": True, "chunkSize": 1_000_000}, id="deferred-length"),
        pytest.param({"parts": 4}, id="four-parts"),
        pytest.param({"parts": 4, "chunkSize": 1_000_000}, id="four-parts-in-pieces"),
    ],
)
def test_a_file_arrives(
    place: Place, tus_js: Callable[..., Any], make_file: Callable[[str, int], Path], options: dict[str, Any]
) -> None:
    """Whole, once, under its name."""
    file = make_file("größe 文.bin", SIZE)
    with tus_js(place, file, **options) as run:
        run.until("success")
    view, content = place.arrived(file.name)
    assert content == file.read_bytes()
    assert view["media_type"] == "application/x-forebay"


def test_an_empty_file_arrives(place: Place, tus_js: Callable[..., Any], make_file: Callable[[str, int], Path]) -> None:
    """It is complete when it is created."""
    with tus_js(place, make_file("empty.bin", 0)) as run:
        run.until("success")
    assert place.arrived("empty.bin")[1] == b""


@pytest.mark.parametrize("parts", [None, 4])
def test_after_an_abort_another_run_goes_on(
    place: Place,
    tus_js: Callable[..., Any],
    make_file: Callable[[str, int], Path],
    tmp_path: Path,
    parts: int | None,
) -> None:
    """What had been accepted is not sent again."""
    file = make_file("aborted.bin", SIZE)
    options = {"chunkSize": 1_000_000, "storage": str(tmp_path / "urls.json"), "parts": parts}
    with tus_js(place, file, abortAfter=5_000_000 if parts is None else 1_000_000, **options) as run:
        run.until("aborted")
        run.process.wait()
    with tus_js(place, file, resume=True, **options) as run:
        seen = run.until("success")
    offsets = [int(each["offset"]) for each in seen if each["event"] == "request" and each["method"] == "PATCH"]
    if parts is None:
        assert offsets[0] >= 5_000_000
    else:
        assert max(offsets) > 0
        assert sum(offset == 0 for offset in offsets) < parts
    assert place.arrived(file.name)[1] == file.read_bytes()


def test_a_server_that_is_killed_is_waited_for(
    place: Place, tus_js: Callable[..., Any], make_file: Callable[[str, int], Path]
) -> None:
    """In the middle of a PATCH, with -9; the client asks where it stands and goes on there."""
    file = make_file("killed.bin", 100 * MIB)
    with tus_js(place, file, chunkSize=40 * MIB) as run:
        run.until("progress", sent=45 * MIB)
        place.server.stop(signal.SIGKILL)
        place.server.start()
        seen = run.until("success")
    offsets = [int(each["offset"]) for each in seen if each["event"] == "request" and each["method"] == "PATCH"]
    assert offsets[0] >= 40 * MIB  # what was acknowledged is there, and something of what was not
    assert place.arrived(file.name)[1] == file.read_bytes()
