"""A machine of one's own to install on: this one's programs, its own /etc, /opt, /var/lib, /var/log and network.

A shell in namespaces of its own (mounts, network, processes) in which `/opt/forebay` and `127.0.0.1:8000` are meant
literally and nothing of the host is touched; everything ends with it. `systemctl` is `app.testing.systemctl`, `sudo`
does what sudo does when root calls it. Needs root; `unavailable` says why not.

Law: one command at a time; the shell keeps its folder and its variables from one to the next, as a person's does.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from app.testing import systemctl

__all__ = ["Done", "Machine", "unavailable"]

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_FOLDERS: Final = ("/opt", "/srv", "/var/lib", "/var/log")
_PROGRAMS: Final = ("unshare", "nsenter", "setpriv", "ip", "mount", "git", "useradd")
_TERMINAL_CODES: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[=>])")
_COMMAND_S: Final = 90.0
_ENDLESS_S: Final = 30.0

_PYTHON: Final = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"

_SUDO: Final = """#!/bin/sh
# sudo(8) as root calls it: another user, a clean environment, settings before the command
user=root
while :; do
    case $1 in
    -u) user=$2; shift 2 ;;
    -*) echo "sudo: $1 is not stood for" >&2; exit 1 ;;
    *) break ;;
    esac
done
set -- env -i "PATH=$SUDO_PATH" "SUDO_PATH=$SUDO_PATH" TERM=xterm LANG=C.UTF-8 "$@"
[ "$user" = root ] && exec "$@"
exec setpriv --reuid "$user" --regid "$user" --init-groups "$@"
"""

_MAKE_OWN: Final = """
set -e
ip link set lo up
own() { # own FOLDER: what is made in it stays here; what is in it stays what it is
    mkdir -p "$1" "$store$1"
    for entry in "$1"/*; do
        if [ -L "$entry" ]; then cp -P "$entry" "$store$1/"; continue; fi
        if [ -d "$entry" ]; then mkdir -p "$store$entry"; elif [ -e "$entry" ]; then touch "$store$entry"; else continue; fi
        mount --bind "$entry" "$store$entry"
    done
    mount --rbind "$store$1" "$1"
}
mkdir "$store/etc"
cp -a /etc/. "$store/etc"
mount --bind "$store/etc" /etc
"""


def unavailable() -> str | None:
    """Why there can be no such machine here; None when there can."""
    if os.geteuid() != 0:
        return "a machine of one's own (mounts, network) needs root"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_SYSTEM_PATH) is None]
    if missing:
        return f"not installed here: {', '.join(missing)}"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)  # noqa: S607
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    command: str
    status: int
    output: str
    errors: str

    def __str__(self) -> str:
        """For a failed assertion."""
        return f"$ {self.command}\n{self.output}{self.errors}[exit status {self.status}]"


class Machine:
    """Context manager."""

    def __init__(self, directory: Path) -> None:
        """Describe it; `directory` is its disk."""
        self._store = directory / "machine"
        self._tools = self._store / "tools"
        self._shell: subprocess.Popen[bytes] | None = None
        self._statuses = -1
        self._pid = 0

    # -- its life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start it."""
        self._store.mkdir(mode=0o755, parents=True)
        self._make_tools()
        ours, theirs = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "--norc"],  # noqa: S607
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs,),
                cwd="/",
                env=self._environment(),
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._statuses = ours
        try:
            self._tell(f"exec 9>&{theirs} {theirs}>&-; echo 0 >&9")
            self._status(_COMMAND_S, "the shell's start")
            self._pid = psutil.Process(self._shell.pid).children()[0].pid
            folders = "\n".join(f"own {folder}" for folder in _OWN_FOLDERS)
            self.must(f"(store={shlex.quote(str(self._store))}\n{_MAKE_OWN}{folders}\n)")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything that runs on it and forget its disk."""
        if self._shell is not None:
            # The shell is the first process of its namespace: when it has been waited for, all of them are dead.
            # Before its id is known, --kill-child does the same, a moment later.
            os.kill(self._pid or self._shell.pid, signal.SIGKILL)
            self._shell.communicate()
            os.close(self._statuses)
        shutil.rmtree(self._store)

    def _environment(self) -> dict[str, str]:
        path = f"{self._tools}:{_SYSTEM_PATH}"
        home = self._store / "home"
        return {"PATH": path, "SUDO_PATH": path, "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}

    def _make_tools(self) -> None:
        state = self._store / "units"
        for folder in (self._tools, state, self._store / "home"):
            folder.mkdir()
        program = shutil.copy(systemctl.__file__, self._tools)
        shim = f'#!/bin/sh\nexec {_PYTHON} -I {program} --state {state} "$@"\n'
        for name, text in (("systemctl", shim), ("sudo", _SUDO)):
            (self._tools / name).write_text(text)
            (self._tools / name).chmod(0o755)

    # -- using it ----------------------------------------------------------------------------------------------------

    def path(self, inside: str) -> Path:
        """One of its files, as seen from outside."""
        return Path(f"/proc/{self._pid}/root") / inside.lstrip("/")

    @property
    def folder(self) -> str:
        """Where the shell is."""
        return str(Path(f"/proc/{self._pid}/cwd").readlink())

    def run(self, command: str, *, timeout_s: float = _COMMAND_S) -> Done:
        """Type a command and wait for its end.

        Raises:
            TimeoutError: it does not end.
        """
        output, errors = self._store / "output", self._store / "errors"
        self._tell(f"{{ {command}\n}} </dev/null >{output} 2>{errors}; echo $? >&9")
        status = self._status(timeout_s, command)
        return Done(command, status, output.read_text(errors="replace"), errors.read_text(errors="replace"))

    def must(self, command: str) -> str:
        """As `run`; returns the output.

        Raises:
            RuntimeError: it failed.
        """
        done = self.run(command)
        if done.status != 0:
            raise RuntimeError(str(done))
        return done.output

    def watch(self, command: str, right: str, *, meanwhile: str = "true", timeout_s: float = _ENDLESS_S) -> str:
        """Type an endless command at a terminal, end it with Ctrl-C at its first output that matches, and return that.

        Args:
            command: ends never by itself.
            right: a regular expression.
            meanwhile: what is typed in the shell while the command runs.
            timeout_s: for the output to come.

        Raises:
            TimeoutError: it does not come.
            RuntimeError: `meanwhile` failed.
        """
        outside, inside = pty.openpty()
        termios.tcsetwinsize(inside, (24, 120))
        fcntl.fcntl(outside, fcntl.F_SETFL, os.O_NONBLOCK)
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--net", "--pid", "bash", "--norc", "-c"]
        try:
            process = subprocess.Popen(  # noqa: S603 - what a page says
                [*enter, f"cd {shlex.quote(self.folder)}; {command}"],
                stdin=inside,
                stdout=inside,
                stderr=inside,
                env=self._environment(),
                start_new_session=True,
            )
            try:
                self.must(meanwhile)
                return _read_until(outside, re.compile(right), timeout_s, command)
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(_ENDLESS_S)
        finally:
            os.close(inside)
            os.close(outside)

    def plant_packages(self, folder: str) -> None:
        """Make `folder`/.venv as `scripts/setup run` would, out of the packages of the interpreter that runs this.

        The code is `folder`'s own; only what it depends on, and the built page, come from here, so that no network is
        needed.
        """
        venv = f"{folder}/.venv"
        packages = f"{venv}/packages"
        self.must(f"{_PYTHON} -m venv --without-pip {venv}")
        self.must(f"mkdir {packages} && mount --bind {sysconfig.get_path('purelib')} {packages}")
        self._open_to_all(Path(sys.base_prefix))
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        paths = f"{folder}/backend\n{folder}/client\n{packages}\n"
        self.path(f"{venv}/lib/{version}/site-packages/forebay.pth").write_text(paths)
        for name, module in (("forebay-server", "app.cli"), ("forebay", "forebay.cli")):
            script = self.path(f"{venv}/bin/{name}")
            script.write_text(f"#!{venv}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
            script.chmod(0o755)
        locked = "cat requirements/run.lock backend/pyproject.toml client/pyproject.toml | cksum"
        self.must(f'(cd {folder} && printf %s "$({locked})" >.venv/installed)')
        page = Path(__file__).parents[1] / "web" / "static"
        if page.is_dir():
            self.must(f"cp -r {page} {folder}/backend/app/web/ && (cd {folder} && scripts/page built)")

    def _open_to_all(self, folder: Path) -> None:
        """Let everybody reach a folder that is somewhere below one that is root's own; of that, it is all that is left."""
        closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
        if closed:
            store, outermost = self._store, closed[-1]
            self.must(f"mkdir -p {store}{folder} && mount --bind {folder} {store}{folder}")
            self.must(f"mount --rbind {store}{outermost} {outermost}")

    # -- the shell ---------------------------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        if self._shell is None or self._shell.stdin is None:
            raise RuntimeError("the machine is not running")
        self._shell.stdin.write(text.encode() + b"\n")
        self._shell.stdin.flush()

    def _status(self, timeout_s: float, command: str) -> int:
        readable, _, _ = select.select([self._statuses], [], [], timeout_s)
        if not readable:
            raise TimeoutError(f"does not end: {command}")
        said = os.read(self._statuses, 64)
        if not said:
            raise RuntimeError(f"the shell ended: {command}")
        return int(said)


def _read_until(terminal: int, right: re.Pattern[str], timeout_s: float, command: str) -> str:
    seen = b""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        seen += os.read(terminal, 65_536)
        text = _TERMINAL_CODES.sub(b" ", seen).decode(errors="replace")
        if match := right.search(text):
            return match[0]
    raise TimeoutError(f"{command} did not show {right.pattern}:\n{seen.decode(errors='replace')}")
