"""The operator's command line, run as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sqlite3
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from app.cli import main
from app.core.identity import TokenRecord
from app.core.settings import setting_names
from app.core.settings_reference import render_markdown, render_template
from app.core.tokens import TOKEN_PREFIX, hash_token
from app.persistence.repository import Repository
from app.testing.ports import free_port


class Run(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Operator:
    """Somebody in a folder of their own, without our settings in their environment."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(folder)
        for name in setting_names():
            monkeypatch.delenv(name, raising=False)

    def runs(self, *arguments: str, **environ: str) -> Run:
        """`forebay-server …`, to its end."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["forebay-server", *arguments])
            for name, value in environ.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main()
        assert isinstance(left.value.code, int)
        return Run(left.value.code, *self._capsys.readouterr())

    def tokens(self) -> list[TokenRecord]:
        """What the database has."""

        async def read() -> list[TokenRecord]:
            repository = Repository(f"sqlite:///{self.folder / 'var' / 'forebay.sqlite3'}")
            await repository.open()
            try:
                return await repository.tokens()
            finally:
                await repository.close()

        return asyncio.run(read())


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    """At work."""
    return Operator(tmp_path, monkeypatch, capsys)


def one_line(run: Run) -> str:
    """The refusal: exit code 2, one line on standard error, nothing else."""
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("forebay-server: ")
    return line


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_a_new_token_is_printed_once_and_kept_as_its_hash(operator: Operator) -> None:
    """The secret alone on standard output, for scripts; in the database only what it hashes to."""
    run = operator.runs("token", "create", "ana", "--expires", "30d", "--operator", "--label", "laptop")
    token = run.stdout.strip()
    assert token.startswith(TOKEN_PREFIX)
    assert token not in run.stderr
    (record,) = operator.tokens()
    assert (record.user, record.label, record.operator) == ("ana", "laptop", True)
    assert record.expires_at is not None
    assert record.expires_at - record.created_at == pytest.approx(30 * 86_400, abs=60)
    database = sqlite3.connect(operator.folder / "var" / "forebay.sqlite3")
    dump = "\n".join(database.iterdump())
    database.close()
    assert hash_token(token) in dump
    assert token not in dump


def test_listing_shows_no_secret_and_what_each_token_is(operator: Operator) -> None:
    """All, or one user's."""
    secrets = [operator.runs("token", "create", user).stdout.strip() for user in ("ana", "ben")]
    everybody = operator.runs("token", "list").stdout
    assert [line.split()[1] for line in everybody.splitlines()] == ["USER", "ana", "ben"]
    assert not any(secret in everybody for secret in secrets)
    assert "ana" not in operator.runs("token", "list", "ben").stdout


def test_a_revoked_token_is_revoked(operator: Operator) -> None:
    """One by its id, then all of the user's; then there is none left to revoke."""
    for _ in range(3):
        operator.runs("token", "create", "ana")
    first = operator.tokens()[0].id
    assert operator.runs("token", "revoke", "ana", "--id", first).returncode == 0
    assert [record.revoked_at is not None for record in operator.tokens()] == [True, False, False]
    assert operator.runs("token", "revoke", "ana").returncode == 0
    assert all(record.revoked_at is not None for record in operator.tokens())
    assert "ana has no token" in one_line(operator.runs("token", "revoke", "ana"))


def test_rotating_puts_a_token_of_the_same_kind_in_the_place_of_the_old(operator: Operator) -> None:
    """Label, rights and length of life stay; the old one is worthless."""
    operator.runs("token", "create", "ana", "--label", "ci", "--operator", "--expires", "12h")
    run = operator.runs("token", "rotate", "ana")
    old, new = operator.tokens()
    assert old.revoked_at is not None
    assert (new.label, new.operator, new.revoked_at) == ("ci", True, None)
    assert new.expires_at is not None
    assert new.expires_at - new.created_at == pytest.approx(12 * 3600, abs=60)
    assert run.stdout.startswith(TOKEN_PREFIX)


def test_rotating_does_not_guess_among_several(operator: Operator) -> None:
    """The label decides; without one nothing is touched."""
    operator.runs("token", "create", "ana", "--label", "ci")
    operator.runs("token", "create", "ana", "--label", "laptop")
    assert "ana has 2 valid tokens" in one_line(operator.runs("token", "rotate", "ana"))
    assert len(operator.tokens()) == 2
    assert operator.runs("token", "rotate", "ana", "--label", "ci").returncode == 0
    assert [(record.label, record.revoked_at is None) for record in operator.tokens()] == [
        ("ci", False), ("laptop", True), ("ci", True),
    ]  # fmt: skip
    assert "no valid token" in one_line(operator.runs("token", "rotate", "ben"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users, which only root can be")
def test_root_makes_no_files_that_the_server_can_not_write(operator: Operator) -> None:
    """It is told as whom to run instead."""
    (operator.folder / "var").mkdir()
    os.chown(operator.folder / "var", 65_534, 65_534)
    assert "sudo -u '#65534' forebay-server" in one_line(operator.runs("token", "create", "ana"))
    assert list((operator.folder / "var").iterdir()) == []


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("token", "create"), "Missing parameter: user"),
        (("token", "create", "a b"), "can't be a user's name"),
        (("token", "create", "ana", "--expires", "soon"), "is no duration"),
        (("nonsense",), "No such command 'nonsense'"),
        (("serve", "--fast"), "--fast"),
        (("config", "--check", "--template"), "exclude each other"),
    ],
)
def test_what_can_not_be_done_is_one_line(arguments: tuple[str, ...], said: str, operator: Operator) -> None:
    """Exit code 2, no traceback."""
    assert said in one_line(operator.runs(*arguments))


@pytest.mark.parametrize("command", [("serve",), ("config",), ("doctor",), ("token", "list"), ("token", "create", "a")])
def test_settings_that_can_not_be_used_stop_every_command_with_the_same_line(
    command: tuple[str, ...], operator: Operator
) -> None:
    """From the file in the working directory, with its line."""
    (operator.folder / ".env").write_text("# mine\nPARALLEL_UPLOAD_CHUNK_SIZE_MB=0\n")
    assert one_line(operator.runs(*command)) == (
        "forebay-server: PARALLEL_UPLOAD_CHUNK_SIZE_MB=0: must be from 1 to 1024 (.env line 2)"
    )


def test_a_database_that_can_not_be_used_is_one_line(operator: Operator) -> None:
    """What it says is the repository's sentence."""
    (operator.folder / "var").mkdir()
    (operator.folder / "var" / "forebay.sqlite3").write_text(
        "no database at all, but long enough to be looked at\n" * 99
    )
    one_line(operator.runs("token", "list"))


def test_without_a_command_the_help_is_shown(operator: Operator) -> None:
    """All commands are in it."""
    run = operator.runs()
    assert run.returncode == 2
    assert all(f"  {name} " in run.stderr for name in ("serve", "token", "config", "doctor"))


def test_the_module_is_the_command_and_a_closed_pipe_is_no_failure(tmp_path: Path) -> None:
    """`python -m app config | head -1`: no traceback when the reader has seen enough."""
    line = f"{shlex.quote(sys.executable)} -m app config --markdown | head -1"
    run = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "# Settings\n"
    assert run.stderr == ""


def test_an_address_that_can_not_be_had_is_said_in_one_line_before_anything_is_made(tmp_path: Path) -> None:
    """Exit code 3, not 2: whoever has it may leave, and a service manager may try again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if name not in setting_names()}
        run = subprocess.run(
            [sys.executable, "-m", "app", "serve"],
            cwd=tmp_path,
            env=environ | {"FOREBAY_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == (
        f"forebay-server: FOREBAY_HOST=127.0.0.1, FOREBAY_PORT={port}: can't listen there: Address already in use\n"
    )
    assert list(tmp_path.iterdir()) == []


# -- config ----------------------------------------------------------------------------------------------------------


def test_config_renders_the_documents(operator: Operator) -> None:
    """To the letter."""
    assert operator.runs("config", "--template").stdout == render_template()
    assert operator.runs("config", "--markdown").stdout == render_markdown()


def test_config_shows_what_is_in_force_without_passwords(operator: Operator) -> None:
    """Where it was read, what was changed, and what is default."""
    (operator.folder / ".env").write_text("FOREBAY_DATABASE_URL=postgresql+psycopg://me:hunter2@db/x\n")
    run = operator.runs("config", FOREBAY_PORT="9001")
    assert f"# read from {operator.folder / '.env'}" in run.stdout
    assert "\nFOREBAY_PORT=9001\n" in run.stdout
    assert "\nPARALLEL_UPLOAD_CHUNK_SIZE_MB=16  # default\n" in run.stdout
    assert "\nFOREBAY_DATABASE_URL=(set, not shown)\n" in run.stdout
    assert "hunter2" not in run.stdout


def test_what_config_shows_can_be_used_as_a_file(operator: Operator) -> None:
    """Read again, it means the same."""
    shown = operator.runs(
        "config", FOREBAY_DESTINATIONS='{"a": "disk:/x # y"}', FOREBAY_TRUSTED_PROXIES="::1,10.0.0.0/8"
    )
    (operator.folder / ".env").write_text(shown.stdout)
    again = operator.runs("config")
    assert again.stdout.splitlines()[1:] == shown.stdout.splitlines()[1:]


def test_checking_warns_of_names_that_are_no_settings(operator: Operator) -> None:
    """And is content all the same."""
    run = operator.runs("config", "--check", PARALLEL_UPLOAD_CHUNKSIZE_MB="16")
    assert run.returncode == 0
    assert "did you mean PARALLEL_UPLOAD_CHUNK_SIZE_MB?" in run.stderr


# -- doctor ----------------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_fresh_place_healthy(operator: Operator) -> None:
    """Everything is looked at; no database is made by looking."""
    run = operator.runs("doctor", FOREBAY_PORT=str(free_port()))
    assert run.returncode == 0, run.stdout
    subjects = ("settings", "data directory", "room for uploads", "database", "access", "destination", "memory",
                "address", "clock", "open files")  # fmt: skip
    assert all(f"  {subject} " in run.stdout for subject in subjects)
    assert not (operator.folder / "var" / "forebay.sqlite3").exists()


def test_the_doctor_tells_how_much_memory_there_is_for_uploads(operator: Operator) -> None:
    """Where there is no spool."""
    run = operator.runs(
        "doctor",
        FOREBAY_PORT=str(free_port()),
        PARALLEL_UPLOAD_STAGING="memory",
        PARALLEL_UPLOAD_MEMORY_STAGING_MB="200",
    )
    assert run.returncode == 0
    assert "200 MiB of memory, of which each of 20 uploads has 10.0 MiB" in run.stdout


def test_the_doctor_says_what_to_do_about_each_ill(operator: Operator) -> None:
    """All at once, exit code 1."""
    (operator.folder / "file").write_text("")
    (operator.folder / "bad.pem").write_text("no certificate")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = operator.runs(
            "doctor",
            FOREBAY_PORT=str(taken.getsockname()[1]),
            FOREBAY_TLS_CERT="bad.pem",
            FOREBAY_TLS_KEY="bad.pem",
            FOREBAY_AUTH="tokens",
            FOREBAY_DESTINATION="disk:file/inbox",
            FOREBAY_DESTINATIONS='{"moon": "moon:crater"}',
            FOREBAY_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x",
            PARALLEL_UPLOAD_MIN_FREE_MB="1048576",
        )
    assert run.returncode == 1
    ill = [line for line in run.stdout.splitlines() if line.startswith("WRONG")]
    subjects = ("room for uploads", "database", "destination", "destination moon", "address", "certificate")
    assert [any(line.startswith(f"WRONG  {subject}  ") for line in ill) for subject in subjects] == [True] * 6, (
        run.stdout
    )
    assert run.stdout.count("->") >= len(subjects)
    assert "hunter2" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_the_doctor_asks_for_a_token_where_others_should_reach_the_server(operator: Operator) -> None:
    """And is content once there is one."""
    everywhere = {"FOREBAY_HOST": "0.0.0.0", "FOREBAY_PORT": str(free_port())}
    before = operator.runs("doctor", **everywhere)
    assert before.returncode == 1
    assert "forebay-server token create USER" in before.stdout
    operator.runs("token", "create", "ana")
    after = operator.runs("doctor", **everywhere)
    assert after.returncode == 0, after.stdout


class Healthy(BaseHTTPRequestHandler):
    """Answers as a running Forebay does."""

    def do_GET(self) -> None:
        """`/healthz`."""
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Silent."""


def test_the_doctor_knows_a_running_forebay_on_its_port(operator: Operator) -> None:
    """That is no ill."""
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        run = operator.runs("doctor", FOREBAY_PORT=str(server.server_port))
        server.shutdown()
        thread.join()
    assert "Forebay answers there" in run.stdout
    assert run.returncode == 0


def test_the_doctor_finds_a_folder_that_can_not_be_written(operator: Operator) -> None:
    """Not even by root: /proc takes no files."""
    run = operator.runs("doctor", FOREBAY_DATA_DIR="/proc/forebay", FOREBAY_DESTINATION=f"disk:{operator.folder}")
    assert "WRONG  data directory" in run.stdout
    assert "set FOREBAY_DATA_DIR" in run.stdout


def test_the_doctor_notices_a_clock_that_was_set_back(operator: Operator) -> None:
    """What was written here is from the future."""
    (operator.folder / "var").mkdir()
    os.utime(operator.folder / "var", (4_000_000_000, 4_000_000_000))
    run = operator.runs(
        "doctor", FOREBAY_PORT=str(free_port()), FOREBAY_DESTINATION=f"disk:{operator.folder / 'files'}"
    )
    assert run.returncode == 1
    assert "WRONG  clock" in run.stdout
