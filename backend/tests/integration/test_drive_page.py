"""docs/google-drive.md, gone through: the server's part on a machine of its own, the emulator's at a terminal.

Every command block is run as it stands; only `your-server`, `FOLDER_ID`, `ADDRESS` and a port are replaced. Where the page
speaks of Google, an emulator stands for it. Who agrees in a browser is `curl`, as the page's last section has it.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from app.core.settings import setting_names
from app.testing.drive_emulator.tokens import USER
from app.testing.machine import Machine, unavailable
from app.testing.page import Fence, Heading, commands_of, read_page, settings_of
from app.testing.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "google-drive.md"
TRIAL = "Try it without Google"
ADDRESS = re.compile(r"^\s*(http\S+/o/oauth2/v2/auth\?\S+)\s*$", re.MULTILINE)
SECRET = re.compile(r"ya29\.|1//0|GOCSPX|upload_id=")
MISSING = unavailable()
BACKEND = "/opt/forebay/backend"
EMULATOR = "127.0.0.1:9998"


def _fences() -> Iterator[tuple[str, Fence]]:
    heading = ""
    for item in read_page(PAGE.read_text(encoding="utf-8")):
        match item:
            case Heading(text):
                heading = text
            case Fence():
                yield heading, item
            case _:
                pass


# -- the emulator's section, at a terminal -----------------------------------------------------------------------------


class Terminal:
    """A shell as a person has it before them: job control, prompts, what is typed goes to whoever asks."""

    _PROMPT = re.compile(r"<(\d+)> $")

    def __init__(self, folder: Path) -> None:
        ours, theirs = pty.openpty()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        keep = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={**keep, "PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "<$?> ", "PS2": ""},
        )
        os.close(theirs)
        self._terminal = ours
        self.seen = ""
        self.until(self._PROMPT)
        self.run("stty -echo")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)

    def type(self, text: str) -> None:
        """And press return."""
        os.write(self._terminal, f"{text}\n".encode())

    def until(self, pattern: re.Pattern[str], timeout_s: float = 60.0) -> str:
        """What comes until it ends like that."""
        text = ""
        deadline = time.monotonic() + timeout_s
        while not pattern.search(text):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._terminal], [], [], left)[0]:
                pytest.fail(f"no {pattern.pattern} in: {text}")
            text += os.read(self._terminal, 65_536).decode().replace("\r", "")
        self.seen += text
        return text

    def run(self, command: str) -> str:
        """To its end, which is a good one."""
        self.type(command)
        return self.done()

    def done(self) -> str:
        """What came until the prompt."""
        text = self.until(self._PROMPT)
        found = self._PROMPT.search(text)
        assert found is not None
        assert found[1] == "0", self.seen
        return text[: found.start()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_emulator_can_be_tried_as_the_page_says(tmp_path: Path) -> None:
    """Log in without a browser, make a folder, check, log out; nothing secret is shown but the one-time address."""
    port = free_port()
    blocks = [fence for heading, fence in _fences() if heading == TRIAL]
    with Terminal(tmp_path) as first, Terminal(tmp_path) as second:
        for command in (command for block in blocks for command in commands_of(block.lines)):
            typed = command.replace(":9999", f":{port}").replace("--port 9999", f"--port {port}")
            if "forebay-drive-emulator" in typed:
                first.run(typed)
                _wait_for(port)
            elif "drive login" in typed:
                first.type(typed)
                shown = first.until(re.compile(r"Address: $"))
                (address,) = ADDRESS.findall(shown)
            elif "ADDRESS" in typed:
                first.type(second.run(typed.replace("ADDRESS", address)).strip())
                assert f"Logged in as {USER}" in first.done()
            elif typed == "forebay-server drive check":
                lines = first.run(typed).splitlines()
                assert len(lines) == 7
                assert all(line.startswith("✓") for line in lines)
            elif "/emulator/files" in typed:
                assert '"name": "Trial"' in first.run(typed)
            else:
                first.run(typed)
        assert not (tmp_path / "drive-trial" / "var" / "google-drive.json").exists()
        assert not SECRET.search(first.seen)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


# -- the server's sections, on a machine of its own --------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """As deployment.md leaves it, with an emulator in the place of Google."""
    with Machine(tmp_path) as running:
        copied = f"git -C {ROOT} ls-files -z --cached --others --exclude-standard"
        running.must(
            f"mkdir /opt/forebay && cd {ROOT} && {copied} | xargs -0 cp --parents -t /opt/forebay 2>/dev/null || true"
        )
        running.must("cd /opt/forebay")
        running.plant_packages("/opt/forebay")
        emulator = "from app.testing.drive_emulator.cli import main"
        running.must(
            f"(.venv/bin/python -c '{emulator}; main()' --port {EMULATOR.rpartition(':')[2]} >~/emulator.log 2>&1 &)"
        )
        running.must("useradd --system --home-dir /var/lib/forebay --shell /usr/sbin/nologin forebay")
        running.must(
            f"cd {BACKEND} && cp env.parallel_upload.template .env && chown root:forebay .env && chmod 640 .env"
        )
        _set(
            running,
            "ENABLE_PARALLEL_UPLOADS=True",
            "FOREBAY_DATA_DIR=/var/lib/forebay",
            "FOREBAY_LOG_FILE=/var/log/forebay/app.log",
            f"FOREBAY_GOOGLE_DRIVE_API_ROOT=http://{EMULATOR}",
        )
        running.must("cp ../deploy/forebay.service /etc/systemd/system/ && systemctl enable --now forebay")
        running.must(". ../.venv/bin/activate")
        yield running


def _set(machine: Machine, *lines: str) -> None:
    path = machine.path(f"{BACKEND}/.env")
    text = path.read_text(encoding="utf-8")
    for line in lines:
        name = line.partition("=")[0]
        text = re.sub(rf"(?m)^{name}=.*\n", "", text) + f"{line}\n"
    path.write_text(text, encoding="utf-8")


def _log_in(machine: Machine, command: str, home: Path) -> str:
    """The command, with a person and a browser; returns what it has printed."""
    for name in ("answer", "login.out", "login.status"):
        (home / name).unlink(missing_ok=True)
    os.mkfifo(home / "answer")
    machine.must(f"({{ {command} <~/answer >~/login.out 2>&1; echo $? >~/login.status; }} &)")
    with (home / "answer").open("w") as answer:
        (address,) = ADDRESS.findall(_when(home / "login.out", "Address: "))
        answer.write(machine.must(f"curl -sS -o /dev/null -w '%{{redirect_url}}\\n' '{address}'"))
    assert _when(home / "login.status", "\n") == "0\n", (home / "login.out").read_text()
    return (home / "login.out").read_text()


def _lose_login(machine: Machine, home: Path) -> None:
    """It is revoked, and an upload comes: it is received, waits, and says why."""
    machine.must(f"curl -sS -X POST http://{EMULATOR}/emulator/tokens/revoke")
    check = machine.run("sudo -u forebay ../.venv/bin/forebay-server drive check")
    assert check.status == 1
    assert "Log in again" in check.output
    upload = "forebay upload ~/first.bin --name waits.bin --server http://127.0.0.1:8000"
    machine.must(f"({{ {upload}; }} >~/waits.out 2>&1; echo $? >~/waits.status) &")
    _when(home / "waits.out", "Log in again")
    assert '"destination-login-lost"' in machine.must("curl -sS http://127.0.0.1:8000/api/v1/system/upload-status")
    assert "Log in again" in machine.path("/var/log/forebay/app.log").read_text()


def _when(path: Path, text: str, timeout_s: float = 60.0) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.exists() and text in (found := path.read_text()):
            return found
        time.sleep(0.05)
    pytest.fail(f"{text!r} does not come in {path}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_the_page_comes_true_on_a_server(machine: Machine, tmp_path: Path) -> None:
    """From the client's file to the first upload, through a lost login, to the end."""
    home = tmp_path / "machine" / "home"
    client = '{"installed": {"client_id": "1000000000000-emulator.apps.googleusercontent.com", "client_secret": "GOCSPX-emulator"}}'
    (home / "client_secret.json").write_text(client)
    folder, shown, checked, seen = "", [], "", ""
    for heading, fence in _fences():
        if heading == TRIAL:
            break
        if fence.language == "bash" and settings_of(fence.lines):
            assert {line.partition("=")[0] for line in fence.lines} <= setting_names().keys()
            if heading == "Choose a folder":
                _set(machine, *(line.replace("gdrive:FOLDER_ID", folder) for line in fence.lines))
            continue
        if fence.language == "":
            shown = list(fence.lines)
            continue
        for command in commands_of(fence.lines):
            typed = command.replace("your-server", "127.0.0.1:8000")
            if "drive login" in typed:
                lost = heading == "When the login is lost"
                if lost:
                    _lose_login(machine, home)
                output = _log_in(machine, typed, home)
                assert f"Logged in as {USER}" in output
                if lost:
                    assert _when(home / "waits.status", "\n", 90) == "0\n", (home / "waits.out").read_text()
            else:
                done = machine.run(typed)
                assert done.status == 0, str(done)
                output = done.output
            if "drive folder" in typed:
                folder = output.strip()
            if typed.endswith("drive check"):
                checked = output
            seen += output
    assert folder.startswith("gdrive:")
    assert [_form(line) for line in checked.splitlines()] == [_form(line) for line in shown]
    files = machine.must(f"curl -sS http://{EMULATOR}/emulator/files")
    assert '"name": "first.bin"' in files
    assert '"name": "waits.bin"' in files
    assert files.count(f'"size": {20 << 20}') == 2
    assert not machine.path("/var/lib/forebay/google-drive.json").exists()
    log = machine.path("/var/log/forebay/app.log").read_text()
    assert not SECRET.search(seen + log)
    assert machine.run("systemctl stop forebay").status == 0


def _form(line: str) -> str:
    """Without what differs from one account to the next."""
    return re.sub(r"\S+@\S+,", "…,", line)
