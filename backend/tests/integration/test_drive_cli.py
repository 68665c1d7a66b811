"""`forebay-server drive …`, run as an operator runs it, against the emulator."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from app import drive_commands
from app.cli import main
from app.core.settings import setting_names
from app.destinations.google_drive import trial
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN
from app.testing.drive_emulator import (
    CommitLess,
    CutAfter,
    DriveEmulator,
    Kind,
    Rule,
    Status,
    WrongDigest,
)
from app.testing.drive_emulator.tokens import CLIENT_SECRET, USER

LOGIN = Path("var") / "google-drive.json"
ADDRESS = re.compile(r"^(http\S+/o/oauth2/v2/auth\?\S+)$", re.MULTILINE)
Answer = Callable[[str], str]


class Run(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def refusal(self) -> str:
        """Exit code 2 and one line on standard error."""
        assert self.returncode == 2, self
        (line,) = self.stderr.splitlines()
        assert line.startswith("forebay-server: ")
        return line


@dataclass
class Person:
    """Standard input: somebody who reads what is printed and answers, in turn."""

    answers: list[Answer]
    read: Callable[[], str]
    seen: str = ""
    asked: int = 0

    def readline(self) -> str:
        """One answer; when there are no more, the end of the input."""
        self.seen += self.read()
        self.asked += 1
        (address,) = ADDRESS.findall(self.seen)
        return self.answers.pop(0)(address) + "\n" if self.answers else ""


def agrees(address: str) -> str:
    """Open the address, agree, and copy where one is sent."""
    answer = requests.get(address, allow_redirects=False, timeout=30)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def says(text: str) -> Answer:
    """Type this."""
    return lambda _address: text


@dataclass
class Operator:
    """Somebody in a folder of their own, with an emulator for Google."""

    folder: Path
    drive: DriveEmulator
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """No settings but ours, no windows."""
        self.patch.chdir(self.folder)
        for name in (*setting_names(), "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            self.patch.delenv(name, raising=False)
        self.patch.setenv("FOREBAY_GOOGLE_DRIVE_API_ROOT", self.drive.root)
        (self.folder / "client.json").write_text(json.dumps(self.drive.client_config()))

    def runs(self, *arguments: str, answers: tuple[Answer, ...] = (), **environ: str) -> Run:
        """`forebay-server drive …`, to its end."""
        self.capture.readouterr()
        person = Person([*answers], lambda: self.capture.readouterr().out)
        with self.patch.context() as patch:
            patch.setattr(sys, "argv", ["forebay-server", "drive", *arguments])
            patch.setattr(sys, "stdin", person)
            patch.setattr(webbrowser, "_tryorder", None)  # it looks for browsers once in a process
            for name, value in environ.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main()
        assert isinstance(left.value.code, int)
        out, err = self.capture.readouterr()
        run = Run(left.value.code, person.seen + out, err)
        assert not person.answers, f"was not asked for all of it: {run}"
        self.printed += [run.stdout, run.stderr]
        return run

    def logs_in(self, *arguments: str) -> Run:
        """By hand, without a mistake."""
        run = self.runs("login", "--client-secrets", "client.json", *arguments, answers=(agrees,))
        assert run.returncode == 0, run
        return run

    def makes_a_folder(self, name: str = "Uploads") -> str:
        """As a destination."""
        run = self.runs("folder", name)
        assert run.returncode == 0, run
        return run.stdout.strip()

    def checks(self, destination: str, **environ: str) -> tuple[int, list[str]]:
        """The exit code and the lines."""
        run = self.runs("check", FOREBAY_DESTINATION=destination, **environ)
        assert run.stderr == "", run
        return run.returncode, run.stdout.splitlines()

    @property
    def login(self) -> dict[str, Any]:
        """The file."""
        found: dict[str, Any] = json.loads((self.folder / LOGIN).read_text())
        return found


@pytest.fixture
def drive() -> Iterator[DriveEmulator]:
    """In a thread."""
    with DriveEmulator.in_thread() as running:
        yield running


@pytest.fixture
def operator(
    tmp_path: Path, drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    """At work; what was printed in a test holds no secret, whatever the test is about."""
    monkeypatch.setattr(trial, "_PAUSE_S", 0.01)
    working = Operator(tmp_path, drive, monkeypatch, capsys)
    yield working
    text = "\n".join(working.printed)
    tokens = drive.world.tokens
    secrets = [CLIENT_SECRET, *tokens._refresh, *tokens._access, *drive.world.sessions]
    assert not [secret for secret in secrets if secret in text]
    assert not re.search(r"ya29\.|1//|4/0A|upload_id|BEGIN PRIVATE", text)


# -- login -----------------------------------------------------------------------------------------------------------


def test_logging_in_by_hand(operator: Operator) -> None:
    """What is asked for is said, with what it can't see; the login is its owner's alone, and works."""
    run = operator.logs_in()
    assert "scope drive.file: only files and folders that Forebay has made" in run.stdout
    assert "a folder that you have made in the browser does not exist for it" in run.stdout
    assert "No browser was found on this machine" in run.stdout
    assert f"Logged in as {USER}." in run.stdout
    assert stat.S_IMODE((operator.folder / LOGIN).stat().st_mode) == 0o600
    assert [path.name for path in (operator.folder / "var").iterdir()] == [LOGIN.name]
    login = operator.login
    assert (login["type"], login["scopes"], login["account"]) == ("authorized_user", [SCOPE_OWN], USER)
    (address,) = ADDRESS.findall(run.stdout)
    asked = parse_qs(urlsplit(address).query)
    assert (asked["access_type"], asked["prompt"], asked["code_challenge_method"]) == (
        ["offline"],
        ["consent"],
        ["S256"],
    )


def test_all_may_be_asked_for(operator: Operator) -> None:
    """And is asked for again by the next login, unless told otherwise; so is the OAuth client."""
    assert "scope drive: every file of the account" in operator.logs_in("--scope", "all").stdout
    assert operator.login["scopes"] == [SCOPE_ALL]
    first = operator.login["refresh_token"]
    assert operator.runs("login", answers=(agrees,)).returncode == 0
    assert operator.login["scopes"] == [SCOPE_ALL]
    assert operator.login["refresh_token"] != first
    assert operator.runs("login", "--scope", "own", answers=(agrees,)).returncode == 0
    assert operator.login["scopes"] == [SCOPE_OWN]


def test_a_chosen_port_is_where_the_browser_is_sent(operator: Operator) -> None:
    """For those who have a tunnel to it."""
    run = operator.logs_in("--no-browser", "--port", "45678")
    assert "begins with http://127.0.0.1:45678/" in run.stdout
    assert "No browser was found" not in run.stdout


def test_mistakes_at_the_prompt_are_explained_and_asked_again(operator: Operator) -> None:
    """Until the right address comes."""
    foreign = f"http://127.0.0.1:1/?state={'x' * 32}&code=4/0Aforeign"
    run = operator.runs(
        "login", "--client-secrets", "client.json",
        answers=(says(""), says("yes"), lambda address: address, says(foreign), agrees),
    )  # fmt: skip
    assert run.returncode == 0, run
    said = [part.splitlines()[0] for part in run.stdout.split("Address: ")[1:5]]
    assert [line.split(".")[0].split(":")[0] for line in said] == [
        "That is nothing", "That is not it", "That is the address to open", "That address belongs to another login",
    ]  # fmt: skip


def test_an_answer_of_an_earlier_login_is_not_taken(operator: Operator) -> None:
    """State and verifier are new each time."""
    earlier: list[str] = []

    def keeps(address: str) -> str:
        earlier.append(agrees(address))
        return "no"

    operator.runs("login", "--client-secrets", "client.json", answers=(keeps,))
    run = operator.runs("login", "--client-secrets", "client.json", answers=(says(earlier[0]), agrees))
    assert "belongs to another login" in run.stdout
    assert run.returncode == 0


def test_no_answer_saves_nothing(operator: Operator) -> None:
    """The input ends."""
    run = operator.runs("login", "--client-secrets", "client.json")
    assert "no address was pasted, so nothing was saved" in run.refusal
    assert not (operator.folder / LOGIN).exists()


def test_denied_consent_saves_nothing(operator: Operator) -> None:
    """And leaves the login that there was."""
    operator.logs_in()
    before = operator.login
    operator.drive.deny_consent()
    run = operator.runs("login", answers=(agrees,))
    assert "consent was denied" in run.refusal
    assert operator.login == before


def test_a_code_that_google_does_not_take_is_said(operator: Operator) -> None:
    """Somebody has changed it on the way."""
    run = operator.runs(
        "login", "--client-secrets", "client.json", answers=(lambda address: agrees(address).replace("4/0A", "4/0B"),)
    )
    assert "Google does not take the code" in run.refusal
    assert not (operator.folder / LOGIN).exists()


def test_a_browser_brings_the_answer_itself(operator: Operator, tmp_path: Path) -> None:
    """Where there is one: it is sent to the loopback address, and the login goes on."""
    browser = tmp_path / "browser"
    browser.write_text(f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n")
    browser.chmod(0o755)
    run = operator.runs("login", "--client-secrets", "client.json", BROWSER=f"{browser} %s")
    assert run.returncode == 0, run
    assert "A browser is being opened" in run.stdout
    assert f"Logged in as {USER}." in run.stdout
    assert operator.login["scopes"] == [SCOPE_OWN]


def test_a_browser_that_does_not_come_back(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is another way."""
    monkeypatch.setattr(drive_commands, "_CONSENT_S", 0.2)
    run = operator.runs("login", "--client-secrets", "client.json", BROWSER="true %s")
    assert "--no-browser" in run.refusal


def test_the_first_login_needs_a_client(operator: Operator) -> None:
    """And says where one comes from."""
    assert "--client-secrets FILE" in operator.runs("login").refusal
    assert "docs/google-drive.md" in operator.runs("login").refusal
    assert "nothing.json can't be read" in operator.runs("login", "--client-secrets", "nothing.json").refusal


def test_a_client_of_another_root_is_refused(operator: Operator) -> None:
    """Its secret is not sent there, and nobody is asked for consent."""
    run = operator.runs(
        "login", "--client-secrets", "client.json", FOREBAY_GOOGLE_DRIVE_API_ROOT="https://www.googleapis.com"
    )
    assert "names another host than Google" in run.refusal
    assert operator.drive.requests.get("token", 0) == 0


def test_with_a_service_account_there_is_nothing_to_do(operator: Operator) -> None:
    """Its key is not overwritten, whatever is given."""
    (operator.folder / "key.json").write_text(json.dumps(operator.drive.service_account()))
    before = (operator.folder / "key.json").read_bytes()
    for arguments in (("login",), ("login", "--client-secrets", "client.json")):
        run = operator.runs(*arguments, FOREBAY_GOOGLE_DRIVE_CREDENTIALS="key.json")
        assert run.returncode == 0
        assert "there is nothing to log in to" in run.stdout
        assert "FOREBAY_GOOGLE_DRIVE_CREDENTIALS" in run.stdout
    assert (operator.folder / "key.json").read_bytes() == before
    run = operator.runs("login", "--client-secrets", "key.json")
    assert "set FOREBAY_GOOGLE_DRIVE_CREDENTIALS to it" in run.refusal


def test_what_is_no_login_is_not_overwritten(operator: Operator) -> None:
    """The client's own file above all."""
    run = operator.runs("login", "--client-secrets", "client.json", FOREBAY_GOOGLE_DRIVE_CREDENTIALS="client.json")
    assert "is no login, so it is not overwritten" in run.refusal


def test_a_damaged_login_needs_the_client_again(operator: Operator) -> None:
    """It can't be taken from there."""
    operator.logs_in()
    (operator.folder / LOGIN).write_text("")
    assert "Do so with --client-secrets FILE" in operator.runs("login").refusal
    operator.logs_in()


def test_a_place_that_can_not_be_written_is_said(operator: Operator) -> None:
    """Before anybody goes through Google's pages."""
    place = "/proc/forebay/google-drive.json"
    run = operator.runs("login", "--client-secrets", "client.json", FOREBAY_GOOGLE_DRIVE_CREDENTIALS=place)
    assert f"the login can't be written to {place}" in run.refusal
    assert run.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_root_does_not_log_in_for_the_server(operator: Operator) -> None:
    """It would write a file that the server can't read."""
    (operator.folder / "var").mkdir()
    os.chown(operator.folder / "var", 12_345, 12_345)
    for arguments in (("login", "--client-secrets", "client.json"), ("logout",)):
        assert "use sudo -u '#12345' forebay-server" in operator.runs(*arguments).refusal


def test_drive_that_is_not_enabled_is_said_at_once(operator: Operator) -> None:
    """The login is kept: it is good."""
    operator.drive.script([Rule("about", Status(403, "accessNotConfigured"))])
    run = operator.logs_in()
    assert "API is not enabled" in run.stdout
    assert "https://console.cloud.google.com/apis/library/drive.googleapis.com" in run.stdout
    assert operator.login["refresh_token"]
    assert "account" not in operator.login


def test_a_login_that_will_end_says_so(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google tells, where the app is in "Testing"; `check` reminds."""
    answer = operator.drive.world.tokens._answer
    monkeypatch.setattr(
        operator.drive.world.tokens,
        "_answer",
        lambda caller, **more: answer(caller, **more, refresh_token_expires_in=604_799),
    )
    run = operator.logs_in()
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 604_799))
    assert f"Google will end this login on {day}" in run.stdout
    assert '"Testing" loses its logins after 7 days' in run.stdout
    code, lines = operator.checks(operator.makes_a_folder())
    assert code == 0
    assert any(line.startswith("!") and f"will end on {day}" in line for line in lines)


# -- folder ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_made_once(operator: Operator) -> None:
    """Its destination stands alone on standard output, the same at each time."""
    operator.logs_in()
    run = operator.runs("folder", "Uploads")
    assert re.fullmatch(r"gdrive:[A-Za-z0-9_-]+\n", run.stdout)
    assert f"FOREBAY_DESTINATION={run.stdout.strip()}" in run.stderr
    assert operator.makes_a_folder() == run.stdout.strip()
    (made,) = operator.drive.named("Uploads")
    assert made.parents == [operator.drive.root_folder]
    inner = operator.makes_a_folder("Uploads/2026").removeprefix("gdrive:")
    assert operator.drive.files[inner].parents == [made.id]
    run = operator.runs("folder", "New", "--in", f"gdrive:{inner}")
    assert operator.drive.files[run.stdout.strip().removeprefix("gdrive:")].parents == [inner]


def test_a_folder_of_somebody_else_is_not_found(operator: Operator) -> None:
    """With the smaller scope another of that name is made; in one that it can't see, none."""
    foreign = operator.drive.add_folder("Uploads", foreign=True)
    operator.logs_in()
    assert operator.makes_a_folder() != f"gdrive:{foreign}"
    assert "drive folder NAME` makes one" in operator.runs("folder", "New", "--in", foreign).refusal
    operator.logs_in("--scope", "all")
    assert operator.runs("folder", "New", "--in", foreign).returncode == 0


def test_a_folder_needs_a_login_and_a_name(operator: Operator) -> None:
    """Each in a line."""
    assert "run `forebay-server drive login`" in operator.runs("folder", "Uploads").refusal
    operator.logs_in()
    assert "needs a name" in operator.runs("folder", "").refusal
    assert "can't be '..'" in operator.runs("folder", "a/../b").refusal


def test_a_service_account_makes_folders_in_shared_drives(operator: Operator) -> None:
    """It owns no storage itself."""
    account = operator.drive.service_account()
    (operator.folder / "key.json").write_text(json.dumps(account))
    key = {"FOREBAY_GOOGLE_DRIVE_CREDENTIALS": "key.json"}
    said = operator.runs("folder", "Uploads", **key).refusal
    assert "owns no storage" in said
    assert str(account["client_email"]) in said
    shared = operator.drive.shared_drive or ""
    run = operator.runs("folder", "Uploads", "--in", shared, **key)
    assert operator.drive.files[run.stdout.strip().removeprefix("gdrive:")].parents == [shared]


# -- check -----------------------------------------------------------------------------------------------------------


def test_checking_sends_a_file_there_and_back(operator: Operator) -> None:
    """In one session that is broken off and resumed; nothing is left, at Drive or here."""
    operator.logs_in()
    destination = operator.makes_a_folder()
    code, lines = operator.checks(destination)
    assert code == 0
    assert [line.split("  ")[0] for line in lines] == [
        "✓ login", "✓ access token", "✓ folder", "✓ upload", "✓ digest", "✓ reading back", "✓ deleting",
    ]  # fmt: skip
    assert "790,753 bytes, broken off after 524,288 and resumed" in lines[3]
    drive = operator.drive
    assert len(drive.sessions) == 1
    pieces = [(event.position, event.size) for event in drive.events.of(Kind.PUT_ENDED)]
    assert [size for _, size in pieces][:3] == [262_144] * 3
    assert not drive.events.violations
    assert len(drive.events.of(Kind.FILE_DELETED)) == 1
    assert [file.name for file in drive.files.values()] == ["Uploads"]
    assert [path.name for path in (operator.folder / "var").iterdir()] == [LOGIN.name]


def test_the_top_of_my_drive_is_a_destination(operator: Operator) -> None:
    """Without an id."""
    operator.logs_in()
    assert operator.checks("gdrive:")[0] == 0


def test_several_destinations_are_checked_one_after_the_other(operator: Operator) -> None:
    """All that are at Google Drive, or the one that is named."""
    operator.logs_in()
    good, bad = operator.makes_a_folder(), "gdrive:1nowhere"
    others = json.dumps({"archive": bad, "local": "disk:files"})
    code, lines = operator.checks(good, FOREBAY_DESTINATIONS=others)
    assert code == 1
    assert [line for line in lines if line.endswith(")")] == [f"archive ({bad})", f"default ({good})"]
    assert sum(line.startswith("✓ deleting") for line in lines) == 1
    named = {"FOREBAY_DESTINATION": good, "FOREBAY_DESTINATIONS": others}
    assert operator.runs("check", "--destination", "default", **named).returncode == 0
    assert operator.runs("check", "--destination", "archive", **named).returncode == 1
    assert "is disk:files, not at Google Drive" in operator.runs("check", "--destination", "local", **named).refusal
    assert "archive, default, local" in operator.runs("check", "--destination", "other", **named).refusal


def test_without_a_destination_at_google_drive(operator: Operator) -> None:
    """It says how one comes about."""
    said = operator.runs("check").refusal
    assert "FOREBAY_DESTINATION is disk:" in said
    assert "drive folder NAME" in said


def wrong(lines: list[str]) -> tuple[str, str]:
    """The one line with a cross, and all that follows it."""
    (at,) = (number for number, line in enumerate(lines) if line.startswith("✗"))
    return lines[at], " ".join(line.strip() for line in lines[at + 1 :])


def test_no_login_is_said(operator: Operator) -> None:
    """First of all."""
    code, lines = operator.checks("gdrive:")
    assert code == 1
    line, _ = wrong(lines)
    assert line.startswith("✗ login")
    assert "run `forebay-server drive login`" in line


def test_a_lost_login_says_why_it_may_be(operator: Operator) -> None:
    """Log in again, and the seven days."""
    operator.logs_in()
    operator.drive.revoke_tokens()
    code, lines = operator.checks("gdrive:")
    line, _ = wrong(lines)
    assert code == 1
    assert line.startswith("✗ access token")
    assert "Log in again" in line
    assert '"Testing" loses its logins after 7 days' in line
    assert operator.runs("login", answers=(agrees,)).returncode == 0
    assert operator.checks("gdrive:")[0] == 0


def test_a_folder_that_the_scope_can_not_see(operator: Operator) -> None:
    """The id is right, and still it is not there."""
    foreign = operator.drive.add_folder("Existing", foreign=True)
    operator.logs_in()
    code, lines = operator.checks(f"gdrive:{foreign}")
    line, cure = wrong(lines)
    assert code == 1
    assert line.startswith("✗ folder")
    assert "drive.file" in line
    assert "drive folder NAME" in cure
    operator.logs_in("--scope", "all")
    assert operator.checks(f"gdrive:{foreign}")[0] == 0
    _, cure = wrong(operator.checks("gdrive:1nowhere")[1])
    assert USER in cure


def test_an_api_that_is_not_enabled(operator: Operator) -> None:
    """Where it is enabled."""
    operator.logs_in()
    destination = operator.makes_a_folder()
    operator.drive.script([Rule("files.get", Status(403, "accessNotConfigured"))])
    code, lines = operator.checks(destination)
    line, cure = wrong(lines)
    assert code == 1
    assert "API is not enabled" in line
    assert "https://console.cloud.google.com/apis/library/drive.googleapis.com" in cure


def test_a_service_account_without_storage(operator: Operator) -> None:
    """In My Drive it can't store; in a shared drive it can, and acting for somebody."""
    account = operator.drive.service_account()
    (operator.folder / "key.json").write_text(json.dumps(account))
    (operator.folder / "key.json").chmod(0o600)
    key = {"FOREBAY_GOOGLE_DRIVE_CREDENTIALS": "key.json"}
    code, lines = operator.checks("gdrive:", **key)
    line, _ = wrong(lines)
    assert code == 1
    assert lines[0].endswith(f" service account {account['client_email']}")
    assert "owns no storage" in line
    assert operator.checks(f"gdrive:{operator.drive.shared_drive}", **key)[0] == 0
    code, lines = operator.checks("gdrive:", FOREBAY_GOOGLE_DRIVE_SUBJECT="ann@example.org", **key)
    assert code == 0, lines
    assert "acting for ann@example.org" in lines[0]


def test_a_full_account(operator: Operator) -> None:
    """Room is to be made there."""
    operator.logs_in()
    operator.drive.set_storage_quota(100_000)
    code, lines = operator.checks("gdrive:")
    line, _ = wrong(lines)
    assert code == 1
    assert "no storage left" in line


def test_another_digest_at_drive(operator: Operator) -> None:
    """What was sent is removed."""
    operator.logs_in()
    operator.drive.script([Rule("upload.finish", WrongDigest(), times=1)])
    code, lines = operator.checks("gdrive:")
    line, cure = wrong(lines)
    assert code == 1
    assert line.startswith("✗ upload")
    assert "alters what is sent" in cure
    assert operator.drive.files == {}


def test_faults_that_pass_do_not_fail_the_check(operator: Operator) -> None:
    """As a transfer would, it tries again."""
    operator.logs_in()
    operator.drive.script(
        [
            Rule("upload.start", Status(503), times=1),
            Rule("upload.put", CutAfter(100_000), skip=1, times=1),
            Rule("upload.put", CommitLess(262_144), skip=1, times=1),
            Rule("files.media", Status(500), times=1),
            Rule("files.delete", Status(429), times=1),
        ]
    )
    code, lines = operator.checks("gdrive:")
    assert code == 0, lines
    assert operator.drive.files == {}


def test_a_drive_that_stays_broken_ends_the_check(operator: Operator) -> None:
    """In plain words, and what was begun is not left open."""
    operator.logs_in()
    operator.drive.script([Rule("upload.put", Status(503), skip=1)])
    code, lines = operator.checks("gdrive:")
    line, _ = wrong(lines)
    assert code == 1
    assert line.startswith("✗ upload")
    assert "Google Drive is busy" in line
    assert operator.drive.requests["upload.cancel"] == 1
    assert operator.drive.files == {}


def test_what_can_not_be_removed_is_named(operator: Operator) -> None:
    """So that somebody else does it."""
    operator.logs_in()
    operator.drive.script([Rule("files.media", Status(404, "notFound")), Rule("files.delete", Status(503))])
    code, lines = operator.checks("gdrive:")
    assert code == 1
    line, after = wrong(lines)
    assert line.startswith("✗ reading back")
    assert re.search(r"! cleaning up .*forebay-check-\w{8}\.bin may still be there", after)


def test_what_is_worth_knowing_is_noted(operator: Operator) -> None:
    """Without failing the check."""
    operator.logs_in()
    (operator.folder / LOGIN).chmod(0o644)
    code, lines = operator.checks("gdrive:", FOREBAY_GOOGLE_DRIVE_SUBJECT="ann@example.org")
    notes = " ".join(line for line in lines if not line.startswith("✓"))
    assert code == 0
    assert "chmod 600" in notes
    assert "FOREBAY_GOOGLE_DRIVE_SUBJECT means nothing" in notes


# -- logout ----------------------------------------------------------------------------------------------------------


def test_logging_out_ends_the_login_here_and_there(operator: Operator) -> None:
    """Twice is once too many."""
    operator.logs_in()
    refresh_token = operator.login["refresh_token"]
    assert "here and at Google" in operator.runs("logout").stdout
    assert not (operator.folder / LOGIN).exists()
    assert refresh_token in operator.drive.world.tokens._revoked
    assert "no login to Google Drive" in operator.runs("logout").refusal


def test_logging_out_without_google(operator: Operator) -> None:
    """Nothing is removed, unless that is what is wanted."""
    operator.logs_in()
    operator.drive.script([Rule("revoke", Status(503))])
    assert "nothing was removed" in operator.runs("logout").refusal
    assert (operator.folder / LOGIN).exists()
    assert "still good" in operator.runs("logout", "--local").stdout
    assert not (operator.folder / LOGIN).exists()


def test_a_key_is_not_logged_out(operator: Operator) -> None:
    """It is deleted in the console."""
    (operator.folder / "key.json").write_text(json.dumps(operator.drive.service_account()))
    assert (
        "delete the key in the Google Cloud"
        in operator.runs("logout", FOREBAY_GOOGLE_DRIVE_CREDENTIALS="key.json").refusal
    )
    assert (operator.folder / "key.json").exists()


# -- the program -----------------------------------------------------------------------------------------------------


def test_other_commands_do_not_pay_for_googles_libraries() -> None:
    """`forebay-server config` imports none of them."""
    program = "import app.cli, sys; print([name for name in sys.modules if name.split('.')[0] in {'google', 'oauthlib', 'aiohttp'}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_at_the_prompt_saves_nothing(operator: Operator) -> None:
    """As with every program."""

    def interrupted(_address: str) -> str:
        raise KeyboardInterrupt

    run = operator.runs("login", "--client-secrets", "client.json", answers=(interrupted,))
    assert run.returncode == 130
    assert not (operator.folder / LOGIN).exists()
    assert threading.active_count() < 10
