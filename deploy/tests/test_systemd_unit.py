"""The systemd unit: accepted by systemd, hardened by its own measure, and in step with the server's settings."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.core.settings import Settings, load_settings

UNIT = Path(__file__).parents[1] / "forebay.service"
MOST_EXPOSURE = 2.0

systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


class _Repeatable(dict[str, str]):
    """Systemd adds up what is given twice; so do we, line by line."""

    def __setitem__(self, key: str, value: object) -> None:
        if key in self and isinstance(value, list):
            value = [self[key], *value] if isinstance(self[key], str) else [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


@pytest.fixture
def service() -> dict[str, list[str]]:
    """The `[Service]` section: every value given for a name."""
    parser = configparser.RawConfigParser(strict=False, dict_type=_Repeatable, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return {name: value.split("\n") for name, value in parser.items("Service")}


@systemd
def test_its_exposure_is_low() -> None:
    """By systemd's own measure."""
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for forebay\.service: ([0-9.]+)", run.stdout)
    assert found is not None, run.stdout
    assert float(found[1]) <= MOST_EXPOSURE


@systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """No unknown name, no bad value; only the program is one that is installed here."""
    text = UNIT.read_text(encoding="utf-8")
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("ExecStart=/opt/forebay/.venv/bin/forebay-server", "ExecStart=/bin/true"))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert [line for line in run.stderr.splitlines() if UNIT.name in line] == []
    assert run.returncode == 0


def test_it_gives_the_server_longer_to_stop_than_the_server_takes(service: dict[str, list[str]]) -> None:
    """Else systemd would kill what is just being saved."""
    assert service["KillSignal"] == ["SIGTERM"]
    assert float(service["TimeoutStopSec"][0].removesuffix("s")) >= 2 * Settings().shutdown_grace_s


def test_it_allows_the_files_that_the_defaults_may_open(service: dict[str, list[str]]) -> None:
    """Two for each connection, one for each chunk under way."""
    defaults = Settings()
    needed = 2 * defaults.max_connections + defaults.upload_limit * defaults.max_concurrent_chunks
    assert int(service["LimitNOFILE"][0]) > needed


def test_its_environment_is_made_of_settings_and_only_of_places(service: dict[str, list[str]], tmp_path: Path) -> None:
    """It wins over `.env`, so it may say nothing that an operator would change there."""
    environ = dict(line.split("=", 1) for line in service["Environment"])
    settings = load_settings(None, environ=environ)
    assert {name for name in environ if name.startswith("FOREBAY_")} == {"FOREBAY_DATA_DIR", "FOREBAY_LOG_FILE"}
    assert settings.data_dir == Path("/var/lib") / service["StateDirectory"][0]
    assert settings.log_file is not None
    assert settings.log_file.parent == Path("/var/log") / service["LogsDirectory"][0]


def test_it_leaves_the_env_file_to_the_server(service: dict[str, list[str]]) -> None:
    """Systemd would keep the trailing comments of the guide's own lines as part of their values."""
    assert "EnvironmentFile" not in service
    assert service["WorkingDirectory"] == ["/opt/forebay/backend"]
    assert service["ExecStart"] == ["/opt/forebay/.venv/bin/forebay-server serve"]
