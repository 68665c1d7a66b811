"""Stands for `systemctl` where no systemd runs: a unit's own command, in the unit's own environment.

    python systemctl.py --state DIR start|stop|restart|status|is-active|enable|disable|daemon-reload [--now] [UNIT]

Laws:
- what decides whether a server runs is taken from the unit as systemd would: ExecStart, WorkingDirectory, Environment
  (and nothing else of the caller's), User, Group, UMask, LimitNOFILE, StateDirectory, LogsDirectory, KillSignal,
  TimeoutStopSec, drop-ins. The sandbox is not: `systemd-analyze` judges that. Nor is Restart=: what ends, stays ended;
- stricter than systemd on purpose: `start` returns when the server listens and fails when it ends instead, `stop` fails
  when the server's exit status is not 0;
- only the standard library, since it runs from its path and as root.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Unit", "main"]

UNITS: Final = Path("/etc/systemd/system")
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
LISTENING: Final = b'"listening"'
_START_S: Final = 30.0
_POLL_S: Final = 0.02
_ACTIVE, _INACTIVE, _UNKNOWN = 0, 3, 4  # systemctl(1), exit status of `status`


@dataclass(frozen=True)
class Unit:
    """The `[Service]` section of a unit and its drop-ins, and what it says of itself."""

    name: str
    description: str
    values: dict[str, list[str]]

    @classmethod
    def load(cls, name: str) -> Unit | None:
        """The unit of that name; None when there is none. A value that is given empty forgets those before it."""
        name = name.removesuffix(".service")
        path = UNITS / f"{name}.service"
        if not path.exists():
            return None
        sections: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for part in [path, *sorted((UNITS / f"{name}.service.d").glob("*.conf"))]:
            section = ""
            for line in part.read_text(encoding="utf-8").splitlines():
                text = line.strip()
                if text.startswith("["):
                    section = text.strip("[]")
                elif text and text[0] not in "#;":
                    key, _, value = text.partition("=")
                    if value.strip():
                        sections[section][key.strip()].append(value.strip())
                    else:
                        sections[section][key.strip()].clear()
        description = sections["Unit"].get("Description", [name])[-1]
        return cls(name, description, dict(sections["Service"]))

    def one(self, key: str, default: str = "") -> str:
        """The value that counts: the last."""
        values = self.values.get(key) or [default]
        if "%" in values[-1]:
            msg = f"{key}={values[-1]}: specifiers are not stood for"
            raise ValueError(msg)
        return values[-1]

    @property
    def user(self) -> pwd.struct_passwd:
        """As whom it runs."""
        return pwd.getpwnam(self.one("User", "root"))

    @property
    def group_id(self) -> int:
        """As which group."""
        group = self.one("Group")
        return grp.getgrnam(group).gr_gid if group else self.user.pw_gid

    @property
    def stop_timeout_s(self) -> float:
        """How long it may take to stop."""
        return float(self.one("TimeoutStopSec", "90").removesuffix("s"))

    def environment(self) -> dict[str, str]:
        """What systemd.exec(5) gives a system service, then the unit's own."""
        user = self.user
        own = [assignment for line in self.values.get("Environment", []) for assignment in shlex.split(line)]
        return {
            "PATH": SYSTEM_PATH,
            "LANG": "C.UTF-8",
            "HOME": user.pw_dir,
            "LOGNAME": user.pw_name,
            "USER": user.pw_name,
            "SHELL": user.pw_shell,
            **dict(assignment.split("=", 1) for assignment in own),
        }

    def make_directories(self) -> None:
        """Those that StateDirectory= and LogsDirectory= promise, owned by the user."""
        for key, parent in (("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")):
            for name in self.one(key).split():
                path = Path(parent, name)
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(int(self.one(f"{key}Mode", "0755"), 8))
                if path.stat().st_uid != self.user.pw_uid:
                    for each in [path, *path.rglob("*")]:
                        shutil.chown(each, self.user.pw_uid, self.group_id)


class Service:
    """A unit and what became of it."""

    def __init__(self, unit: Unit, state: Path) -> None:
        self.unit = unit
        self.journal = state / f"{unit.name}.journal"
        self._record = state / f"{unit.name}.json"

    def _read(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._record.read_text()) if self._record.exists() else {}
        return found

    def _write(self, record: dict[str, int]) -> None:
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps(record))
        new.replace(self._record)

    @property
    def state(self) -> str:
        """As `systemctl is-active` says it."""
        record = self._read()
        if "pid" not in record:
            return "inactive"
        if "exit" not in record:
            return "active"
        return "failed" if record["exit"] else "inactive"

    def start(self) -> int:
        """Start it, and return when it listens."""
        if self.state == "active":
            return 0
        self.unit.make_directories()
        self._write({})
        said = self.journal.stat().st_size if self.journal.exists() else 0
        keeper = [sys.executable, "-I", __file__, "--state", str(self._record.parent), "keep", self.unit.name]
        with subprocess.Popen(keeper, stdin=subprocess.DEVNULL, start_new_session=True) as process:  # noqa: S603 - ourselves
            deadline = time.monotonic() + _START_S
            while time.monotonic() < deadline and process.poll() is None:
                if self.journal.exists() and LISTENING in self.journal.read_bytes()[said:]:
                    process.returncode = 0  # it outlives us: nothing to wait for
                    return 0
                time.sleep(_POLL_S)  # a file tells nobody that it has grown
        print(f"Job for {self.unit.name}.service failed:\n{self.said(said)}", file=sys.stderr)  # noqa: T201 - a command
        return 1

    def keep(self) -> int:
        """Be the server's parent until it ends, and note how it did."""
        unit = self.unit
        files = int(unit.one("LimitNOFILE", "0"))
        if files:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # systemd may raise it; a container's root may not
            files = files if most == resource.RLIM_INFINITY else min(files, most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        with (
            self.journal.open("ab") as journal,
            subprocess.Popen(  # noqa: S603 - the unit's command
                shlex.split(unit.one("ExecStart")),
                cwd=unit.one("WorkingDirectory", "/"),
                env=unit.environment(),
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                user=unit.user.pw_uid,
                group=unit.group_id,
                extra_groups=[],
                umask=int(unit.one("UMask", "0022"), 8),
            ) as server,
        ):
            self._write({"pid": server.pid})
            self._write({"pid": server.pid, "exit": server.wait()})
        return 0

    def stop(self) -> int:
        """End it with the unit's signal, and see that it ended well."""
        if self.state != "active":
            return 0
        os.kill(self._read()["pid"], signal.Signals[self.unit.one("KillSignal", "SIGTERM")])
        deadline = time.monotonic() + self.unit.stop_timeout_s
        while self.state == "active":
            if time.monotonic() > deadline:
                print(f"{self.unit.name}.service does not stop", file=sys.stderr)  # noqa: T201 - a command
                return 1
            time.sleep(_POLL_S)  # a file tells nobody that it has changed
        if status := self._read()["exit"]:
            print(f"{self.unit.name}.service ended with {status}", file=sys.stderr)  # noqa: T201 - a command
        return 1 if status else 0

    def status(self) -> int:
        """Print it; 0 only while it runs."""
        state = {"active": "active (running)", "inactive": "inactive (dead)", "failed": "failed"}[self.state]
        last = "\n".join(self.said().splitlines()[-10:])
        print(f"● {self.unit.name}.service - {self.unit.description}\n     Active: {state}\n\n{last}")  # noqa: T201
        return _ACTIVE if self.state == "active" else _INACTIVE

    def said(self, start: int = 0) -> str:
        """What it wrote."""
        return self.journal.read_bytes()[start:].decode(errors="replace") if self.journal.exists() else ""


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    if arguments[:1] != ["--state"]:
        print("usage: systemctl.py --state DIR COMMAND [UNIT]", file=sys.stderr)  # noqa: T201 - a command
        return 2
    state, command = Path(arguments[1]), arguments[2]
    names = [argument for argument in arguments[3:] if not argument.startswith("-")]
    if command == "daemon-reload":
        return 0
    unit = Unit.load(names[0]) if names else None
    if unit is None:
        print(f"Unit {' '.join(names) or '?'} could not be found.", file=sys.stderr)  # noqa: T201 - a command
        return _UNKNOWN
    return _do(command, Service(unit, state), now="--now" in arguments)


def _do(command: str, service: Service, *, now: bool) -> int:
    if command == "is-active":
        print(service.state)  # noqa: T201 - a command
        return _ACTIVE if service.state == "active" else _INACTIVE
    actions: dict[str, Callable[[], int]] = {
        "start": service.start,
        "stop": service.stop,
        "restart": lambda: service.stop() or service.start(),
        "enable": lambda: service.start() if now else 0,
        "disable": lambda: service.stop() if now else 0,
        "status": service.status,
        "keep": service.keep,
    }
    return actions[command]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
