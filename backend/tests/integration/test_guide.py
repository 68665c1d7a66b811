"""The guide, and our own page made of it, gone through on a machine of their own from the first line to the last.

Every command block is run as it stands; only `your-server`, `your-app-service`, `your-app` and `FILE_ID` are replaced.
Blocks of NAME=value lines are lines of `.env`. What the text tells a person to do (restart, upload files of a size,
lower a setting) is done where it says so. A command, a message or a listing that nothing is expected of fails the walk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ChunkFailed, LimitReached, MemoryPressure
from app.core.settings import Settings
from app.services.memory_monitor import MemoryMonitor, MemoryReading
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.testing.machine import Done, Machine, unavailable
from app.testing.newer_version import NEWER_REVISION, make_newer
from app.testing.page import Fence, Heading, Prose, commands_of, read_page, settings_of, stanzas_of

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "backend" / "tests" / "data" / "guide.md"
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "deployment.md"

SERVER = "127.0.0.1:8000"
BACKEND = "/opt/forebay/backend"
LOG = "/var/log/forebay/app.log"
FILES = "/var/lib/forebay/files"
STATUS_KEYS = {"mode", "concurrency_manager", "memory_monitor", "buffer_pool", "chunk_processor", "destinations"}
MB = 1_000_000
MISSING = unavailable()
FIVE_USERS = ("bob", "carol", "dave", "erin", "frank")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With the checkout in the shell's folder, as whoever reads the page has it."""
    with Machine(tmp_path) as running:
        checkout = tmp_path / "checkout"
        _make_checkout(checkout)
        running.must(f"cd {checkout}")
        yield running
        shutil.rmtree(checkout)


def _make_checkout(folder: Path) -> None:
    """This tree, changes included, and after it the next version: `git checkout HEAD~1` leads from that to this."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    for message in ("This version", "The next version"):
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", message], check=True)
        if message == "This version":
            make_newer(folder / "backend")


class Walk:
    """Goes through a page."""

    def __init__(self, machine: Machine, page: Path, names: dict[str, str]) -> None:
        self.machine = machine
        self.names = names
        self.upload_id = ""
        self.heading = ""
        self.last = Done("", 0, "", "")
        self.did: set[str] = set()
        self._items = list(read_page(page.read_text(encoding="utf-8")))

    def go(self) -> None:
        """From the first line to the last."""
        for item in self._items:
            match item:
                case Heading(text):
                    self.heading = text
                    self.did.add(text)
                    self.at_heading(text)
                case Prose(text):
                    self.prose(text)
                case Fence("", lines):
                    self.shown(lines)
                case Fence("bash", lines) if settings_of(lines):
                    self.settings(lines)
                case Fence("bash", lines):
                    for command in commands_of(lines):
                        self.command(command)
                case _:
                    pytest.fail(f"what is this? {item}")

    # -- what a page says --------------------------------------------------------------------------------------------

    def at_heading(self, text: str) -> None:
        """What is done before a section."""

    def prose(self, text: str) -> None:
        """Do what a sentence tells a person to do."""
        for match in re.finditer(r"\*\*(.+?)\*\*|[Rr]educe `(\w+)` to (\d+(?:\.\d+)?)", text):
            if match[2]:
                self.set_env([f"{match[2]}={match[3]}"])
                self.restart()
                self.upload(f"cured-{match[2]}", 17 * MB)
            elif action := self.actions().get(match[1]):
                action()
                self.did.add(match[1])

    def actions(self) -> dict[str, Callable[[], object]]:
        """What is done at which words in bold."""
        return {}

    def settings(self, lines: tuple[str, ...]) -> None:
        """Lines of `.env`: each group is set; profiles are tried, one after the other."""
        for stanza in stanzas_of(lines):
            self.set_env(stanza)
            if len(stanza) >= 4 and self.machine.run("systemctl is-active forebay").status == 0:
                self.restart()
                self.try_profile()
        if lines[-1] == "# Restart server" or "PARALLEL_UPLOAD_DEBUG_LOGGING=True" in lines:
            self.restart()  # of the second, the guide does not say that it takes one

    def shown(self, lines: tuple[str, ...]) -> None:
        """A listing, the output of the last command, or a message that the product must really give."""
        if lines[0].endswith("/"):
            for line in lines[1:]:
                assert self.machine.path(f"/opt/forebay/{lines[0]}{line.split()[1]}").is_file(), line
        elif lines[0].startswith("🎯"):
            assert self.last.output.splitlines()[-len(lines) :] == list(lines), str(self.last)
        else:
            (message,) = lines
            known = [provoke for pattern, provoke in MESSAGES.items() if re.match(pattern, message)]
            assert len(known) == 1, f"nothing is expected of: {message}"
            assert known[0](self) == message

    def command(self, text: str) -> None:
        """Type it, and look at what comes of it."""
        if text.startswith("#"):
            if text == "# Restart server":
                self.restart()
            return
        typed = text
        for name, value in {**self.names, "FILE_ID": self.upload_id}.items():
            typed = typed.replace(name, value)
        expected = [check for pattern, check in COMMANDS.items() if re.fullmatch(pattern, typed, re.DOTALL)]
        assert len(expected) == 1, f"nothing, or too much, is expected of: {typed}"
        expected[0](self, typed)

    # -- what a person does ------------------------------------------------------------------------------------------

    def run(self, command: str) -> Done:
        """It ends with 0."""
        self.last = self.machine.run(command)
        assert self.last.status == 0, str(self.last)
        return self.last

    def json(self, command: str) -> Any:
        """What a command prints, as JSON."""
        return json.loads(self.run(command).output)

    def set_env(self, lines: list[str]) -> None:
        """Edit `.env`: change the line that is there, or add it."""
        path = self.machine.path(f"{BACKEND}/.env")
        text = path.read_text(encoding="utf-8")
        for line in lines:
            if line.startswith("#"):
                continue
            name = line.split("=", 1)[0]
            text, found = re.subn(rf"(?m)^{name}=.*$", lambda _, new=line: new, text)
            assert found <= 1, f"{name} is set twice"
            if not found:
                text += f"{line}\n"
        path.write_text(text, encoding="utf-8")

    def env(self, name: str) -> str:
        """A value of `.env`, without its comment."""
        found = re.search(rf"(?m)^{name}=([^#\n]*)", self.machine.path(f"{BACKEND}/.env").read_text(encoding="utf-8"))
        assert found is not None, name
        return found[1].strip()

    def restart(self) -> None:
        """As the guide does it."""
        self.run("sudo systemctl restart forebay")

    def status(self) -> dict[str, Any]:
        """The guide's first endpoint."""
        found: dict[str, Any] = self.json(f"curl -sS http://{SERVER}/api/v1/system/upload-status")
        return found

    def upload(self, name: str, size: int) -> None:
        """Make a file, bring it there, compare what is there; its id is the FILE_ID from now on.

        All but its first 32 MB are zeros: time is for moving bytes, not for making them.
        """
        self.run(f"head -c {min(size, 32 * MB)} /dev/urandom >~/{name} && truncate -s {size} ~/{name}")
        self.last = self.run(f"forebay upload ~/{name} --server http://{SERVER} --json")
        self.arrived(name, json.loads(self.last.output.splitlines()[-1])["result"])
        self.run(f"rm ~/{name} {FILES}/{name}")

    def arrived(self, name: str, result: dict[str, Any] | None = None) -> None:
        """The newest upload is the file of that name in the home folder, whole."""
        if result is None:
            (newest,) = self.json(f"forebay list --limit 1 --json --server http://{SERVER}")
            assert newest["state"] == "completed"
            result = {"upload_id": newest["id"], "stored": newest["result"]}
        self.upload_id = result["upload_id"]
        sent = _sha256(self.home / name)
        assert result["stored"]["sha256"] == sent
        assert _sha256(self.machine.path(f"{FILES}/{result['stored']['name']}")) == sent

    @property
    def home(self) -> Path:
        """The home folder of whoever types."""
        return self.machine.path(self.machine.must("echo ~").strip())

    def try_profile(self) -> None:
        """A file that has several chunks in any profile, with the settings in force."""
        self.upload("profile.bin", 17 * MB)
        status = self.status()
        assert status["concurrency_manager"]["max_users"] == int(self.env("PARALLEL_UPLOAD_MAX_CONCURRENT_USERS"))

    def look_at_memory(self) -> None:
        """Below the limit that was set."""
        usage = self.status()["memory_monitor"]["current_usage"]
        assert 0 < usage < float(self.env("PARALLEL_UPLOAD_MAX_MEMORY_PERCENT"))

    def look_at_log(self) -> None:
        """It tells of the start, and of no error."""
        events = [json.loads(line) for line in self.machine.path(LOG).read_text().splitlines()]
        assert "listening" in {event["event"] for event in events}
        assert [event for event in events if event["level"] in {"error", "critical"}] == []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- what is expected of each command --------------------------------------------------------------------------------


def _succeeds(walk: Walk, command: str) -> None:
    walk.run(command)


def _plants(walk: Walk, command: str) -> None:
    """There is no network: the packages come from here, and the script finds nothing to do."""
    walk.machine.plant_packages("/opt/forebay")
    walk.run(command)


def _is_active(walk: Walk, command: str) -> None:
    assert "active (running)" in walk.run(command).output


def _is_status(walk: Walk, command: str) -> None:
    status = walk.json(command)
    assert status.keys() >= STATUS_KEYS
    expected = "parallel" if walk.env("ENABLE_PARALLEL_UPLOADS") == "True" else "sequential"
    assert status["mode"] == expected
    assert isinstance(status["memory_monitor"]["current_usage"], (int, float))


def _is_progress(walk: Walk, command: str) -> None:
    progress = walk.json(command)
    assert (progress["file_id"], progress["state"], progress["progress_percent"]) == (
        walk.upload_id,
        "completed",
        100.0,
    )


def _shows_a_number(walk: Walk, command: str) -> None:
    """Below the line with the command, the host and the year."""
    seen = walk.machine.watch(command, r"\b20\d\d\s+\d+(?:\.\d+)?\s")
    assert 0 < float(seen.split()[1]) < 100


def _finds_chunks(walk: Walk, command: str) -> None:
    """While a file comes: in one request, or in chunks."""
    for size in (3 * MB, 20 * MB):
        walk.run(f"head -c {size} /dev/urandom >~/traced.bin")
        upload = f"forebay upload ~/traced.bin --server http://{SERVER}"
        line = walk.machine.watch(command, r'\{[^{}]*"PARALLEL"[^{}]*"chunk recorded"[^{}]*\}', meanwhile=upload)
        walk.arrived("traced.bin")
        event = json.loads(re.sub(r"\s+", " ", line))
        assert (event["logger"], event["upload"]) == ("PARALLEL", walk.upload_id)
        walk.run(f": >{LOG}")  # so that the next one finds its own


def _is_older(walk: Walk, command: str) -> None:
    walk.run(command)
    assert not _newer_code(walk)


def _is_newer(walk: Walk, command: str) -> None:
    walk.run(command)
    assert _newer_code(walk)


def _newer_code(walk: Walk) -> bool:
    migrations = walk.machine.path(f"{BACKEND}/app/persistence/migrations/versions")
    return any(NEWER_REVISION in path.name for path in migrations.glob("v*.py"))


def _arrives(walk: Walk, command: str) -> None:
    assert "verified" in walk.run(command).output
    walk.arrived(Path(shlex.split(command)[2]).name)


def _all_arrive(walk: Walk, command: str) -> None:
    walk.run(command)
    sent = _sha256(walk.home / "small.bin")
    for user in FIVE_USERS:
        assert _sha256(walk.machine.path(f"{FILES}/{user}.bin")) == sent, user


def _are_equal(walk: Walk, command: str) -> None:
    first, second = walk.run(command).output.splitlines()
    assert first.split()[0] == second.split()[0]


def _says(text: str) -> Callable[[Walk, str], None]:
    def check(walk: Walk, command: str) -> None:
        assert text in walk.run(command).output, str(walk.last)

    return check


COMMANDS: dict[str, Callable[[Walk, str], None]] = {
    # both
    r"cd backend": _succeeds,
    r"python test_parallel_upload\.py": _succeeds,  # its last lines are the next block
    r"curl (-sS )?http://\S+/upload-status( \| jq)?": _is_status,
    r"curl (-sS )?http://\S+/upload-progress/[0-9a-f]{32} \| jq": _is_progress,
    r"watch -n 5 .*": _shows_a_number,
    r"(sudo )?tail -f /var/log/forebay/app\.log \| grep PARALLEL": _finds_chunks,
    r"sudo systemctl status forebay": _is_active,
    r"sudo systemctl (start|stop|restart|enable --now) forebay": _succeeds,
    r"(sudo )?git checkout HEAD~1": _is_older,
    # the guide
    r"cp env\.parallel_upload\.template \.env": _succeeds,
    # our page
    r"sudo git clone \. /opt/forebay": _succeeds,
    r"cd /opt/forebay": _succeeds,
    r"sudo scripts/setup run": _plants,
    r"sudo \.\./scripts/setup run": _succeeds,
    r"sudo useradd .*": _succeeds,
    r"\. \.venv/bin/activate": _succeeds,
    r"sudo cp \S+ \S+": _succeeds,
    r"sudo ch(own|mod) \S+ \.env": _succeeds,
    r"sudo systemctl daemon-reload": _succeeds,
    r"export FOREBAY_TOKEN=.*": _succeeds,
    r"sudo tail -n 5 \S+": _says('"listening"'),
    r"sudo -u forebay \S+/forebay-server doctor": _says("takes files"),
    r"sudo -u forebay \S+/forebay-server config --check": _says("The settings can be used"),
    r"head -c \d+M /dev/urandom >~/\w+\.bin": _succeeds,
    r"truncate -s \d+M ~/large\.bin": _succeeds,
    r"forebay upload ~/\w+\.bin --server \S+": _arrives,
    r"sudo sha256sum \S+ \S+": _are_equal,
    r"curl -sS \S+/upload-status \| jq \.mode": _says('"parallel"'),
    r"for user in bob .*\ndone": _succeeds,
    r"wait": _all_arrive,
    r"curl -sS \S+ \| jq '\.memory_monitor, \.chunk_processor\.error_rate'": _says("}\n0\n"),
    r"forebay list --server \S+": _says("medium.bin"),
    r"sudo git checkout -": _is_newer,
}


# -- the messages, as the product gives them -------------------------------------------------------------------------


def _missing_module(walk: Walk) -> str:
    """Take the file away, start by hand, put it back as the cure says."""
    walk.run(f"mv {BACKEND}/app/services/upload_concurrency_manager.py ~")
    done = walk.machine.run("sudo -u forebay /opt/forebay/.venv/bin/forebay-server serve")
    assert done.status != 0
    assert "upload_concurrency_manager.py" in walk.run("git -C /opt/forebay status --short").output
    walk.run("sudo git -C /opt/forebay checkout -- .")
    return done.errors.splitlines()[-1]


def _memory_pressure(_walk: Walk) -> str:
    """What a new upload is told at 85.2 %."""
    reading = MemoryReading(
        used_bytes=852, limit_bytes=1000, capacity_bytes=1000, rss_bytes=1, source="host", pressure_percent=None
    )
    monitor = MemoryMonitor(Settings().max_memory_percent, Settings().pressure_percent, probe=lambda: reading)
    asyncio.run(monitor.refresh())
    with pytest.raises(MemoryPressure) as caught:
        monitor.admit()
    return str(caught.value)


def _no_slot(_walk: Walk) -> str:
    """What the second upload is told where one may be active and nobody waits."""

    async def second() -> None:
        slots = UploadConcurrencyManager(
            max_uploads=1, max_users=1, max_uploads_per_user=None, queue_limit=1, queue_timeout_s=0, idle_s=30
        )
        async with slots.hold("first", "ann"), slots.hold("second", "ann"):
            pytest.fail("both are active")

    with pytest.raises(LimitReached) as caught:
        asyncio.run(second())
    return str(caught.value)


def _failed_chunk(_walk: Walk) -> str:
    """With the default number of attempts; the guide's X is the chunk's number."""
    return str(ChunkFailed(7, Settings().chunk_attempts)).replace("7", "X", 1)


def _bad_setting(walk: Walk) -> str:
    """The service does not start, and says why; the line's number is the page's."""
    before = walk.env("PARALLEL_UPLOAD_CHUNK_SIZE_MB")
    walk.set_env(["PARALLEL_UPLOAD_CHUNK_SIZE_MB=0"])
    failed = walk.machine.run("sudo systemctl restart forebay")
    assert failed.status != 0
    walk.set_env([f"PARALLEL_UPLOAD_CHUNK_SIZE_MB={before}"])
    walk.restart()
    (line,) = (line for line in failed.errors.splitlines() if line.startswith("forebay-server:"))
    return line


MESSAGES: dict[str, Callable[[Walk], str]] = {
    r"forebay-server: PARALLEL_UPLOAD_CHUNK_SIZE_MB=0: ": _bad_setting,
    r"ModuleNotFoundError: ": _missing_module,
    r"Memory usage too high: ": _memory_pressure,
    r"Upload limit exceeded": _no_slot,
    r"Chunk X failed": _failed_chunk,
}


# -- the two walks ---------------------------------------------------------------------------------------------------


class GuideWalk(Walk):
    """The guide speaks to somebody who has a server running already."""

    def at_heading(self, text: str) -> None:
        """After the rollback, everything is as before it; at the end, the criteria hold in parallel mode."""
        if text == "Monitoring & Metrics":
            warned = [line for line in self.machine.path(LOG).read_text().splitlines() if NEWER_REVISION in line]
            assert any("used as it is" in line for line in warned), "the older version did not meet the newer database"
            self.upload("rolled-back.bin", 9 * MB)
            self.run("git checkout -")
            self.set_env(["ENABLE_PARALLEL_UPLOADS=True"])
            self.restart()
        elif text == "Success Criteria":
            assert self.status()["mode"] == "parallel"
            self.upload("small.bin", 2 * MB)
            self.upload("medium.bin", 101 * MB)
            self.look_at_memory()
            self.look_at_log()

    def actions(self) -> dict[str, Callable[[], object]]:
        """The guide's bold words."""
        return {
            "Check server startup logs": self.look_at_log,
            "Test with small files": lambda: self.upload("small.bin", 12 * MB),
            "Restart server": self.restart,
            "Test with medium files": lambda: self.upload("medium.bin", 120 * MB),
            "Test with multiple users": self.five_users,
            "Test with large files": lambda: self.upload("large.bin", 1001 * MB),
            "Monitor memory usage": self.look_at_memory,
            "Check for any errors": self.look_at_log,
            "Memory Usage": self.look_at_memory,
            "Concurrent Uploads": self.look_at_rates,
        }

    def five_users(self) -> None:
        """Each with a token, all at once."""
        self.run("head -c 12000000 /dev/urandom >~/shared.bin")
        place = "FOREBAY_DATA_DIR=/var/lib/forebay"
        self.run(f"token() {{ sudo -u forebay {place} /opt/forebay/.venv/bin/forebay-server token create $1; }}")
        upload = f"forebay upload ~/shared.bin --server http://{SERVER} --name"
        jobs = "\n".join(
            f'FOREBAY_TOKEN="$(token {user})" {upload} {user}.bin & jobs="$jobs $!"' for user in FIVE_USERS
        )
        self.run(f'{jobs}\nfor job in $jobs; do wait "$job" || break; done')
        for user in FIVE_USERS:
            assert _sha256(self.machine.path(f"{FILES}/{user}.bin")) == _sha256(self.home / "shared.bin")
        self.run('export FOREBAY_TOKEN="$(token ann)"')

    def look_at_rates(self) -> None:
        """What the guide wants watched is there, and within the limits that do not depend on the disk."""
        status = self.status()
        assert status["concurrency_manager"]["active_uploads"] <= status["concurrency_manager"]["max_uploads"] == 20
        assert status["chunk_processor"]["chunks_per_second"] >= 0
        assert status["chunk_processor"]["error_rate"] < 0.01


def test_the_guide_comes_true(machine: Machine) -> None:
    """On a fresh clone with a server running, as the guide presupposes."""
    machine.must("git clone --quiet . /opt/forebay && cd /opt/forebay")
    machine.plant_packages("/opt/forebay")
    machine.must("useradd --system --home-dir /var/lib/forebay --shell /usr/sbin/nologin forebay")
    machine.must(". .venv/bin/activate && cp deploy/forebay.service /etc/systemd/system/ && systemctl start forebay")
    names = {"your-server": SERVER, "your-app-service": "forebay", "your-app": "forebay"}
    walk = GuideWalk(machine, GUIDE, names)
    walk.go()
    assert walk.did >= walk.actions().keys()
    assert machine.run("systemctl stop forebay").status == 0


def test_our_own_page_comes_true(machine: Machine) -> None:
    """From a bare machine with a checkout."""
    walk = Walk(machine, PAGE, {"your-server": SERVER})
    walk.go()
    walk.look_at_log()
    assert machine.run("systemctl stop forebay").status == 0


def test_what_the_readme_says_works(machine: Machine) -> None:
    """`make run` in a clone, then every way to upload; `make test` is what runs this."""
    machine.must("git clone --quiet . /opt/forebay && cd /opt/forebay")
    machine.plant_packages("/opt/forebay")
    first, *others = [item for item in read_page(README.read_text(encoding="utf-8")) if isinstance(item, Fence)]
    assert [line.split("  ")[0] for line in first.lines] == ["make run", "make test"]
    seen = machine.watch("make run", r"upload +\S+ upload FILE --server http://127\.0\.0\.1:8000[\s\S]*API")
    command = seen.split()[1]
    machine.must(f"(make run >~/server.log 2>&1 & curl -sS --retry 50 --retry-connrefused http://{SERVER}/healthz)")
    machine.must("head -c 40000000 /dev/urandom >big.bin; head -c 3000000 big.bin >small.bin")
    for block in others:
        if block.language == "bash":
            machine.must("\n".join(block.lines))
        elif block.language == "python":
            machine.must(f".venv/bin/python -c {shlex.quote(chr(10).join(block.lines))}")
    machine.must(f"{command} upload small.bin --name banner.bin --server http://{SERVER}")
    files = machine.path("/opt/forebay/backend/var/files")
    expected = {"big.bin": "big.bin", "big (1).bin": "big.bin", "big (2).bin": "big.bin"}
    expected |= {"small.bin": "small.bin", "banner.bin": "small.bin"}
    assert {path.name for path in files.iterdir() if path.is_file()} == expected.keys()
    for stored, sent in expected.items():
        assert _sha256(files / stored) == _sha256(machine.path(f"/opt/forebay/{sent}")), stored
