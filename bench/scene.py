"""What stands between a file and Google Drive in a measurement: client, link, server, emulator, each a process of its own.

    with Drive() as drive, drive_server(drive, directory) as server, Line(server.port, rate_mib=4) as line:
        sent = Sending(file, url=line.url, state=directory / "client").wait()

Laws: leaving the `with` block ends the processes; what they kept is in the directories that were given. Times are those of
the client, from the start of its run until the server has said that the file is at its destination and verified.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.forebay import MIB, Forebay

__all__ = [
    "MB",
    "Drive",
    "Line",
    "Program",
    "Sending",
    "Sent",
    "drive_server",
    "made_file",
]

MB = 10**6
LATENCY_S = 0.3
DRIVE_RATE_MIB = 60.0
RTT_MS = 40.0
ELSEWHERE = (
    10  # niceness of many clients and of Drive: they are on other machines, and must not keep the server waiting
)
_STOP_S = 20.0
_HEARD_S = 5.0
_LONGEST_S = 1800.0  # then a client is stopped, and what it was to bring has not arrived
_LOGIN = {
    "client_id": "1000000000000-emulator.apps.googleusercontent.com",
    "client_secret": "GOCSPX-emulator",
}  # the only client that the emulator knows
_BACK = "http://localhost"
_SCOPE = "https://www.googleapis.com/auth/drive"

Json = Any
OnEvent = Callable[[dict[str, Json]], None]


class Program:
    """A program that says in its first line where it listens."""

    def __init__(self, command: list[str], *, niceness: int = 0) -> None:
        self._command = ["nice", "-n", str(niceness), *command] if niceness else command
        self._name = Path(command[1]).name
        self._process: subprocess.Popen[str] | None = None
        self.host, self.port = "127.0.0.1", 0

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        line = ""
        if self._process.stdout is not None:
            line = self._process.stdout.readline()
        port = line.strip().rpartition(":")[2]
        if not port.isdecimal():
            self.__exit__(None, None, None)
            raise RuntimeError(f"{self._name} did not start: {line!r}")
        self.port = int(port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"


class Line(Program):
    """A wide-area link to a server on this machine. Rates in MiB/s; None: no limit."""

    def __init__(
        self, to_port: int, *, rate_mib: float | None = None, link_mib: float | None = None, rtt_ms: float = RTT_MS
    ) -> None:
        command = [sys.executable, str(Path(__file__).with_name("link.py")), "--to", f"127.0.0.1:{to_port}"]
        command += ["--rtt-ms", str(rtt_ms)]
        if rate_mib is not None:
            command += ["--rate-mib", str(rate_mib)]
        if link_mib is not None:
            command += ["--link-mib", str(link_mib)]
        super().__init__(command)


class Drive(Program):
    """The Google Drive emulator; keeps sizes and digests of contents only."""

    def __init__(
        self,
        *,
        latency_s: float = LATENCY_S,
        rate_mib: float | None = DRIVE_RATE_MIB,
        seed: int = 0,
        digests: str = "sha256",
        niceness: int = 0,
    ) -> None:
        command = [sys.executable, str(Path(sys.executable).with_name("forebay-drive-emulator")), "--port", "0"]
        command += ["--discard", "--latency", str(latency_s), "--seed", str(seed), "--digests", digests]
        if rate_mib is not None:
            command += ["--rate", str(rate_mib * MIB)]
        super().__init__(command, niceness=niceness)

    def log_in(self, path: Path) -> Path:
        """Log in as a person would, and leave the credentials there."""
        asked = {**_LOGIN, "redirect_uri": _BACK, "response_type": "code", "scope": _SCOPE}
        status, headers, _ = self.ask("GET", f"/o/oauth2/v2/auth?{urlencode(asked)}")
        code = parse_qs(urlsplit(headers.get("Location", "")).query).get("code")
        if code is None:
            raise RuntimeError(f"the emulator's consent page answered {status}")
        form = {**_LOGIN, "grant_type": "authorization_code", "code": code[0], "redirect_uri": _BACK}
        _, _, text = self.ask("POST", "/token", urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
        login = {
            "type": "authorized_user",
            **_LOGIN,
            "refresh_token": json.loads(text)["refresh_token"],
            "token_uri": f"{self.url}/token",
            "scopes": [_SCOPE],
            "universe_domain": "googleapis.com",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(login))
        return path

    def files(self, name: str | None = None) -> list[dict[str, Json]]:
        """What is there; all, or those of a name. Folders are none."""
        found: list[dict[str, Json]] = json.loads(self.ask("GET", "/emulator/files")[2])
        return [
            file
            for file in found
            if file["mime_type"] != "application/vnd.google-apps.folder" and name in {None, file["name"]}
        ]

    def counts(self) -> dict[str, Json]:
        """Requests by operation, and how often the product did what Drive does not allow."""
        counts: dict[str, Json] = json.loads(self.ask("GET", "/emulator")[2])
        return counts

    def inject(self, faults: Sequence[Mapping[str, object]]) -> None:
        """From now on; as a script of the emulator says them."""
        status, _, text = self.ask("POST", "/emulator/script", json.dumps(list(faults)))
        if status != HTTPStatus.OK:
            raise RuntimeError(text)

    def injected(self) -> int:
        """How many faults there were."""
        events = json.loads(self.ask("GET", "/emulator/events")[2])
        return sum(event["kind"] == "fault" for event in events)

    def ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """One request; status, headers and text of the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()


def drive_server(
    drive: Drive, directory: Path, *, parallel: bool = True, settings: Mapping[str, str] | None = None
) -> Forebay:
    """Our server before that Drive, with its defaults otherwise; not started yet."""
    return Forebay(
        directory,
        {
            "ENABLE_PARALLEL_UPLOADS": str(parallel),
            "FOREBAY_DESTINATION": "gdrive:",
            "FOREBAY_GOOGLE_DRIVE_API_ROOT": drive.url,
            "FOREBAY_GOOGLE_DRIVE_CREDENTIALS": str(drive.log_in(directory / "google-drive.json")),
            **(settings or {}),
        },
    )


def made_file(path: Path, size: int, *, seed: int = 0, on_piece: Callable[[int], None] | None = None) -> str:
    """Write a file in which no MiB is like another, nor like one of another seed; returns its SHA-256."""
    piece = random.Random(seed).randbytes(MIB)
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        for number in range(-(-size // MIB)):
            data = (seed.to_bytes(4, "big") + number.to_bytes(4, "big") + piece[8:])[: size - number * MIB]
            out.write(data)
            digest.update(data)
            if on_piece is not None:
                on_piece(len(data))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Sent:
    """How an upload went."""

    seconds: float
    """Until it was at the destination and verified; until it was stopped."""
    upload_id: str
    mode: str
    sha256: str
    """As stored, in the server's words; "" where it was stopped."""
    retries: int
    received_at: list[tuple[float, int]] = field(default_factory=list)
    """When the server had acknowledged how many bytes, in seconds from the server's first word."""


class Sending:
    """`forebay upload` of a file, or of several; begun and ended by `with`, or by `wait`."""

    def __init__(
        self,
        *files: Path,
        url: str,
        state: Path,
        name: str | None = None,
        token: str | None = None,
        niceness: int = 0,
    ) -> None:
        command = ["nice", "-n", str(niceness)] if niceness else []
        command += [sys.executable, "-m", "forebay", "upload", *map(str, files), "--server", url, "--json"]
        command += [] if name is None else ["--name", name]
        environment = {**os.environ, "FOREBAY_STATE_DIR": str(state)}
        environment.pop("FOREBAY_TOKEN", None)
        if token is not None:
            environment["FOREBAY_TOKEN"] = token
        self.name = name or files[0].name
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[str] | None = None
        self._deadline = threading.Timer(_LONGEST_S, self.stop)
        self._deadline.daemon = True

    def __enter__(self) -> Self:
        """Begin, once."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=self._environment,
                text=True,
                encoding="utf-8",
            )
            self._deadline.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if it still runs; whoever reads its events has come to their end before."""
        self._deadline.cancel()
        self.stop()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def stop(self) -> None:
        """As Ctrl-C does; a client that was still starting may not have heard it, and is killed. It has ended then."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_HEARD_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def events(self) -> Iterator[dict[str, Json]]:
        """What the client tells, until it ends."""
        if self._process is not None and self._process.stdout is not None:
            for line in self._process.stdout:
                yield json.loads(line)

    def wait(self, *, on_event: OnEvent | None = None, enough: int | None = None) -> Sent:
        """Follow one file to its end, or until the server has acknowledged `enough` bytes.

        Raises:
            RuntimeError: the file is not at the destination; says why.
        """
        began, upload_id, mode, trouble = time.monotonic(), "", "", ""
        received_at: list[tuple[float, int]] = []
        with self:
            for event in self.events():
                now = time.monotonic()
                if on_event is not None:
                    on_event(event)
                match event["event"]:
                    case "started":
                        began, upload_id, mode = now, event["upload_id"], event["mode"]
                    case "progress" if not received_at or event["received"] > received_at[-1][1]:
                        received_at.append((now - began, event["received"]))
                        if enough is not None and event["received"] >= enough:
                            return Sent(now - began, upload_id, mode, "", event["retries"], received_at)
                    case "failed" | "interrupted":
                        trouble = event["detail"]
                    case "completed":
                        result = event["result"]
                        stored = result["stored"]
                        return Sent(
                            result["elapsed_s"], upload_id, mode, stored["sha256"], result["retries"], received_at
                        )
        raise RuntimeError(f"{self.name} did not arrive: {trouble or 'the client ended without a word'}")
