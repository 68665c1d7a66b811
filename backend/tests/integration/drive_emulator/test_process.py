"""The emulator as a program, and its control endpoints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.testing.drive_emulator import UNIT_BYTES

_PROGRAM = [sys.executable, "-c", "from app.testing.drive_emulator.cli import main; main()"]


class Program:
    """One that runs."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen([*_PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline()
        self.root = re.search(r"https?://\S+", self.line)[0]  # type: ignore[index]
        self.http = requests.Session()

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request."""
        return self.http.request(method, path if "://" in path else self.root + path, timeout=30, **more)

    def log_in(self) -> None:
        """As an application does, by hand."""
        client = {"client_id": "1000000000000-emulator.apps.googleusercontent.com", "client_secret": "GOCSPX-emulator"}
        asked = {"redirect_uri": "http://localhost", "response_type": "code", "scope": "s", **client}
        back = self.ask("GET", "/o/oauth2/v2/auth", params=asked, allow_redirects=False).headers["Location"]
        code = re.search("code=([^&]+)", back)[1].replace("%2F", "/")  # type: ignore[index]
        form = {**client, "grant_type": "authorization_code", "code": code, "redirect_uri": "http://localhost"}
        token = self.ask("POST", "/token", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def begin(self) -> str:
        """A session."""
        return self.ask("POST", "/upload/drive/v3/files?uploadType=resumable", json={"name": "a"}).headers["Location"]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """By a signal; returns its exit status."""
        self.http.close()
        self._process.send_signal(number)
        status = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """`start(*arguments)`: the program on a free port."""
    running: list[Program] = []

    def begin(*arguments: str) -> Program:
        running.append(Program("--port", "0", *arguments))
        return running[-1]

    yield begin
    for program in running:
        if program._process.poll() is None:
            program.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_what_it_is_and_ends_well(start: Callable[..., Program], number: Any) -> None:
    """With status 0, a request under way or not."""
    program = start()
    assert "a test double, not Google Drive" in program.line
    assert "test double" in program.ask("GET", "/emulator").json()["what"]
    assert program.end(number) == 0


def test_it_can_be_watched_and_told_from_outside(start: Callable[..., Program], tmp_path: Path) -> None:
    """Events, sessions, files, rules, logins."""
    program = start("--data", str(tmp_path / "data"))
    program.log_in()
    rules = [{"on": "upload.put", "times": 1, "fault": {"status": 503, "when": "after"}}]
    assert program.ask("POST", "/emulator/script", json=rules).json() == {"rules": 1}
    uri = program.begin()
    data = os.urandom(UNIT_BYTES)
    assert (
        program.ask("PUT", uri, data=data, headers={"Content-Range": f"bytes 0-{UNIT_BYTES - 1}/*"}).status_code == 503
    )
    (session,) = program.ask("GET", "/emulator/sessions").json()
    assert (session["held"], session["state"], session["name"]) == (UNIT_BYTES, "open", "a")
    assert "upload_id" not in json.dumps(session)
    program.ask("PUT", uri, headers={"Content-Range": f"bytes */{UNIT_BYTES}"})
    (file,) = program.ask("GET", "/emulator/files").json()
    assert Path(file["path"]).read_bytes() == data
    events = program.ask("GET", "/emulator/events").json()
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    last = events[-1]["number"]
    assert program.ask("GET", f"/emulator/events?after={last}").json() == []
    program.begin()
    assert program.ask("POST", "/emulator/sessions/expire?status=410").json() == {"expired": 1}
    for name in ("revoke", "restore", "expire"):
        assert program.ask("POST", f"/emulator/tokens/{name}").status_code == 200
    assert program.ask("GET", "/drive/v3/files").status_code == 401
    assert program.end() == 0


def test_limits_change_from_outside(start: Callable[..., Program]) -> None:
    """Each by its name."""
    program = start("--storage-quota", "5", "--daily-limit", "100", "--discard", "--digests", "md5")
    program.log_in()
    assert program.ask("PUT", program.begin(), data=b"123456").status_code == 403
    assert program.ask("POST", "/emulator/limits", json={"storage_quota": None, "daily_limit": 1}).status_code == 204
    done = program.ask("PUT", program.begin() + "&fields=*", data=b"123456")
    assert done.status_code == 200
    assert program.ask("POST", "/upload/drive/v3/files?uploadType=resumable").status_code == 403
    changes = {"new_day": 1, "latency": 0.01, "rate": 1_000_000}
    assert program.ask("POST", "/emulator/limits", json=changes).status_code == 204
    assert program.ask("PUT", program.begin(), data=b"1").status_code == 200
    files = program.ask("GET", "/emulator/files").json()
    assert [(set(file["digests"]), file["path"]) for file in files] == [({"md5"}, None)] * 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/emulator/script", b"[1]"),
        ("POST", "/emulator/limits", b'{"storage_quota": "x"}'),
        ("POST", "/emulator/limits", b'{"other": 1}'),
        ("POST", "/emulator/limits", b"{"),
        ("POST", "/emulator/limits", b'{"latency": true}'),
        ("POST", "/emulator/limits", b'{"rate": 1e400}'),
        ("POST", "/emulator/limits", b'{"storage_quota": %s}' % (b"9" * 4000)),
        ("POST", "/emulator/limits", b'{"storage_quota": %s}' % (b"9" * 5000)),
        ("GET", "/emulator/events?after=" + "9" * 5000, b""),
        ("POST", "/emulator/sessions/expire?status=403", b""),
        ("GET", "/emulator/events?after=x", b""),
    ],
)
def test_control_requests_are_checked(drive: Any, method: str, path: str, body: bytes) -> None:
    """With a line that says what is wrong."""
    answer = requests.request(method, drive.root + path, data=body, timeout=30)
    assert answer.status_code == 400
    assert answer.text.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--port"),
        (("--port", "x"), "--port"),
        (("--port", "0", "--tls-cert", "/dev/null"), "go together"),
        (("--port", "0", "--digests", "crc32"), "crc32"),
        (("--port", "0", "--script", "SCRIPT"), "rule 1"),
    ],
)
def test_wrong_options_are_one_error(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Status 2, and no traceback."""
    script = tmp_path / "script.json"
    script.write_text("[{}]")
    given = [str(script) if each == "SCRIPT" else each for each in arguments]
    done = subprocess.run([*_PROGRAM, *given], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_line(start: Callable[..., Program]) -> None:
    """And status 2."""
    port = start().root.rpartition(":")[2]
    done = subprocess.run([*_PROGRAM, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert port in done.stderr
