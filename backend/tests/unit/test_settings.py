"""Settings: what is read from where, what is refused and with which words, and the documents made from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.env_values import EnvSyntaxError, parse_env, plain_value
from app.core.settings import Settings, SettingsError, load_settings, setting_names, unknown_names
from app.core.settings_reference import GUIDE_BLOCK, render_markdown, render_template, written_default
from app.core.upload import Mode

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "backend" / "env.parallel_upload.template"


def load(env_file: Path | None = None, /, **environ: str) -> Settings:
    """Settings from these values alone."""
    return load_settings(env_file, environ=environ)


def refusal(env_file: Path | None = None, /, **environ: str) -> str:
    """The line with which these values are refused."""
    with pytest.raises(SettingsError) as caught:
        load(env_file, **environ)
    line = str(caught.value)
    assert "\n" not in line
    return line


def write(folder: Path, text: str) -> Path:
    """An env file."""
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


# -- where values come from ------------------------------------------------------------------------------------------


def test_nothing_given_means_the_defaults_of_the_guide() -> None:
    """The five of the guide, parallel mode on."""
    settings = load()
    assert settings.mode is Mode.PARALLEL
    assert (settings.chunk_size_mb, settings.max_concurrent_chunks) == (16, 8)
    assert (settings.max_concurrent_users, settings.max_memory_percent) == (20, 80.0)
    assert settings.upload_limit == 20


def test_the_file_in_the_working_directory_is_read_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` where the server runs, and `env_file_read` says so."""
    write(tmp_path, "FOREBAY_PORT=9001\n")
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={})
    assert settings.port == 9001
    assert settings.env_file_read() == tmp_path / ".env"


def test_without_a_file_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no name."""
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).env_file_read() is None
    assert load_settings(None, environ={}).env_file_read() is None


def test_the_environment_wins_over_the_file_and_arguments_win_over_both(tmp_path: Path) -> None:
    """Each source hides the next."""
    env_file = write(tmp_path, "FOREBAY_PORT=9001\nPARALLEL_UPLOAD_CHUNK_SIZE_MB=32\nFOREBAY_AUTH=none\n")
    environ = {"FOREBAY_PORT": "9002", "PARALLEL_UPLOAD_CHUNK_SIZE_MB": "64"}
    settings = load_settings(env_file, environ=environ, port=0)
    assert (settings.port, settings.chunk_size_mb, settings.auth) == (0, 64, "none")


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual case."""
    monkeypatch.setenv("FOREBAY_PORT", "9003")
    assert load_settings(None).port == 9003


def test_constructing_settings_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Settings(...)` is a plain value, whatever surrounds it."""
    write(tmp_path, "FOREBAY_PORT=9001\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_HOST", "0.0.0.0")
    settings = Settings(chunk_size_mb=1)
    assert (settings.host, settings.port, settings.chunk_size_mb) == ("127.0.0.1", 8000, 1)


def test_bare_names_of_other_programs_mean_nothing() -> None:
    """HOST and PORT are set by shells and platforms; they are not FOREBAY_HOST and FOREBAY_PORT."""
    settings = load(HOST="0.0.0.0", PORT="99", STAGING="x", AUTH="none", port="7", data_dir="/")
    assert settings == load()


def test_names_are_found_in_either_case(tmp_path: Path) -> None:
    """As environments on some systems have them."""
    assert load(write(tmp_path, "forebay_port=9001"), parallel_upload_chunk_size_mb="2").port == 9001


def test_settings_can_not_be_changed_afterwards() -> None:
    """One value for a whole run."""
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]


# -- how values are written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("False  # Start with False for safety", "False"),
        ("False\t#x", "False"),
        ("  16 ", "16"),
        ("", ""),
        (" # nothing but a comment", ""),
        ("# nothing", ""),
        ("#", ""),
        ("#fff", "#fff"),
        ("a#b", "a#b"),
        ('"a # b"', "a # b"),
        ("'a # b'  # c", "a # b"),
        ('"say \\"hi\\" \\\\ \\n"', 'say "hi" \\ \\n'),
        ("'no \\escape'", "no \\escape"),
        ("pa$${x}ss", "pa$${x}ss"),
        ('{"a": "disk:/x # y"}  # two', '{"a": "disk:/x # y"}'),
        ("it's  # an apostrophe", "it's"),
        ('"open', '"open'),
        ("'a' 'b'", "'a' 'b'"),
    ],
)
def test_a_value_means_the_same_in_both_places(written: str, meant: str, tmp_path: Path) -> None:
    """One grammar for `.env` and the environment."""
    assert plain_value(written) == meant
    assert parse_env(f"X={written}\n")["X"].value == meant


def test_the_guides_line_is_understood_from_the_environment_and_from_the_file(tmp_path: Path) -> None:
    """`False  # Start with False for safety`."""
    line = "False  # Start with False for safety"
    assert load(ENABLE_PARALLEL_UPLOADS=line).mode is Mode.SEQUENTIAL
    assert load(write(tmp_path, f"ENABLE_PARALLEL_UPLOADS={line}\r\n")).mode is Mode.SEQUENTIAL


def test_a_quoted_hash_reaches_the_setting(tmp_path: Path) -> None:
    """Through both sources."""
    value = '"disk:/srv/in # box"  # quoted'
    assert load(FOREBAY_DESTINATION=value).destination == "disk:/srv/in # box"
    assert load(write(tmp_path, f"FOREBAY_DESTINATION={value}")).destination == "disk:/srv/in # box"


def test_an_empty_value_means_the_default(tmp_path: Path) -> None:
    """As the template writes what is unset."""
    settings = load(write(tmp_path, "PARALLEL_UPLOAD_BUFFER_POOL_MB=\nFOREBAY_TLS_CERT= # none\n"), FOREBAY_PORT="")
    assert (settings.buffer_pool_mb, settings.tls_cert, settings.port) == (None, None, 8000)


def test_an_empty_environment_does_not_hide_the_file(tmp_path: Path) -> None:
    """Launchers that pass every variable pass empty ones too."""
    assert load(write(tmp_path, "FOREBAY_PORT=9001"), FOREBAY_PORT="").port == 9001


def test_of_lines_with_one_name_the_last_counts(tmp_path: Path) -> None:
    """The guide copies the template and then adds its lines."""
    assert load(write(tmp_path, "FOREBAY_PORT=1\nexport FOREBAY_PORT=2\n")).port == 2


def test_a_line_that_can_not_be_read_stops_the_start_by_number(tmp_path: Path) -> None:
    """It is not skipped: what it was meant to set would silently not apply."""
    with pytest.raises(EnvSyntaxError):
        parse_env("A=1\nPARALLEL UPLOAD=2\n")
    assert refusal(write(tmp_path, "# x\n\nFOREBAY_PORT 9001\n")).endswith(".env: line 3 is not NAME=value")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """And a directory in its place."""
    path = tmp_path / ".env"
    path.write_bytes(b"FOREBAY_PORT=\xff\xfe")
    assert refusal(path).endswith(".env: is not UTF-8 text")
    assert "can't be read" in refusal(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    """Editors of Windows write one."""
    assert parse_env("\ufeffA=1\r\nB=2\r\n")["A"].value == "1"


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PARALLEL_UPLOAD_CHUNK_SIZE_MB", "0", "=0: must be from 1 to 1024"),
        ("PARALLEL_UPLOAD_CHUNK_SIZE_MB", "1025", "=1025: must be from 1 to 1024"),
        ("PARALLEL_UPLOAD_CHUNK_SIZE_MB", "16MB", "=16MB: must be a whole number from 1 to 1024"),
        ("PARALLEL_UPLOAD_CHUNK_SIZE_MB", "1.5", "=1.5: must be a whole number from 1 to 1024"),
        ("PARALLEL_UPLOAD_MAX_MEMORY_PERCENT", "101", "=101: must be from 10 to 99"),
        ("PARALLEL_UPLOAD_MAX_MEMORY_PERCENT", "80%", "=80%: must be a number from 10 to 99"),
        ("PARALLEL_UPLOAD_MAX_MEMORY_PERCENT", "nan", "=nan: must be from 10 to 99"),
        ("PARALLEL_UPLOAD_EXPIRY_S", "inf", "=inf: must be at least 1"),
        ("PARALLEL_UPLOAD_PRESSURE_PERCENT", "0", "=0: must be above 0, at most 100"),
        ("PARALLEL_UPLOAD_SLAB_KB", "66", "=66: must be from 64 to 16384, a multiple of 4"),
        ("PARALLEL_UPLOAD_MAX_UPLOADS_PER_USER", "none", "=none: must be a whole number from 1 to 10000"),
        ("ENABLE_PARALLEL_UPLOADS", "maybe", "=maybe: must be True or False"),
        ("PARALLEL_UPLOAD_DURABILITY", "disk", "=disk: must be one of process, power"),
        ("FOREBAY_PORT", "70000", "=70000: must be from 0 to 65535"),
        ("FOREBAY_HOST", "http://x", "=http://x: must be an address or host name without scheme and port"),
        ("FOREBAY_HOST", "127.0.0.1:80", "=127.0.0.1:80: must be an address or host name without scheme and port"),
        ("FOREBAY_PUBLIC_URL", "example.org", "=example.org: must be an http or https address"),
        ("FOREBAY_DESTINATION", "/srv/in", "=/srv/in: must be a destination such as disk:PATH (did you mean disk:/s"),
        ("FOREBAY_DESTINATION", "disk:", "=disk:: must be a destination such as disk:PATH"),
        ("FOREBAY_DESTINATIONS", "{bad", "={bad: must be a JSON object such as"),
        ("FOREBAY_DESTINATIONS", '["disk:/x"]', '=["disk:/x"]: must be a JSON object of texts'),
        ("FOREBAY_DESTINATIONS", '{"a": 1}', '={"a": 1}: must be a JSON object of texts'),
        ("FOREBAY_DESTINATIONS", '{"a": ""}', ": 'a' must be a destination such as disk:PATH"),
        ("FOREBAY_DESTINATIONS", '{"a b": "disk:/x"}', ": the name 'a b' must be 1 to 64 letters"),
        ("FOREBAY_DESTINATIONS", '{"a": "disk:/x", "a": "disk:/y"}', ": must not have the name 'a' twice"),
        ("FOREBAY_DESTINATIONS", '{"default": "disk:/x"}', ": the name 'default' is taken by FOREBAY_DESTINATION"),
        ("FOREBAY_DESTINATIONS", "[" * 100_000, "must be a JSON object"),
        ("FOREBAY_ALLOWED_HOSTS", "a.example, https://b", ": 'https://b' must be a host name"),
        ("FOREBAY_TRUSTED_PROXIES", "10.0.0.0/8,proxy", ": 'proxy' must be an address or network"),
        ("FOREBAY_CORS_ORIGINS", "*", ": '*' must be an origin such as"),
        ("FOREBAY_CORS_ORIGINS", "https://a.example/path", ": 'https://a.example/path' must be an origin"),
        ("FOREBAY_CORS_ORIGINS", "null", ": 'null' must be an origin"),
    ],
)
def test_a_value_that_can_not_be_used_gets_one_line(name: str, value: str, line: str) -> None:
    """Name, value, what is allowed."""
    said = refusal(**{name: value})
    assert said.startswith(f"{name}=")
    assert line in said
    assert len(said) < 400


def test_the_line_of_the_file_is_named_when_the_value_came_from_there(tmp_path: Path) -> None:
    """And only then."""
    env_file = write(tmp_path, "# first\nFOREBAY_PORT=-1\n")
    assert refusal(env_file) == f"FOREBAY_PORT=-1: must be from 0 to 65535 ({env_file} line 2)"
    assert refusal(env_file, FOREBAY_PORT="-2") == "FOREBAY_PORT=-2: must be from 0 to 65535"


def test_every_mistake_is_told_at_once() -> None:
    """Nobody likes to start five times."""
    said = refusal(FOREBAY_PORT="-1", PARALLEL_UPLOAD_CHUNK_SIZE_MB="0")
    assert "FOREBAY_PORT=-1" in said
    assert "PARALLEL_UPLOAD_CHUNK_SIZE_MB=0" in said


def test_a_field_that_does_not_exist_is_refused_with_the_nearest() -> None:
    """A typing error in code is no silent default."""
    with pytest.raises(SettingsError, match="prot: there is no such setting; did you mean port"):
        load_settings(None, environ={}, prot=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOREBAY_DATABASE_URL", "mysql://me:hunter2@db/x"),
        ("FOREBAY_DATABASE_URL", "postgresql://me:hun ter2 hunter2@db/x"),
        ("FOREBAY_PUBLIC_URL", "https://me:hunter2@example.org/"),
        ("FOREBAY_DESTINATION", "S3://me:hunter2@bucket/x"),
        ("FOREBAY_DESTINATIONS", '{"a": "s3://me:hunter2@bucket", "a": ""}'),
        ("FOREBAY_DESTINATIONS", '{"a": "S3://me:hunter2@bucket"}'),
        ("FOREBAY_CORS_ORIGINS", "https://me:hunter2@example.org"),
    ],
)
def test_passwords_are_never_shown(name: str, value: str) -> None:
    """Not when they are refused."""
    said = refusal(**{name: value})
    assert said.startswith(f"{name}=")
    assert "hunter2" not in said


def test_a_good_password_is_not_in_what_settings_print() -> None:
    """Nor in `repr`."""
    settings = load(FOREBAY_DATABASE_URL="postgresql+psycopg://me:hunter2@db/x")
    assert "hunter2" not in repr(settings)
    assert settings.secret_database_url() == "postgresql+psycopg://me:hunter2@db/x"


def test_control_characters_in_a_value_stay_on_one_line() -> None:
    """No line breaks or escape sequences through a setting."""
    said = refusal(FOREBAY_HOST="a\x1b[31m\nb")
    assert "\x1b" not in said
    assert "a\\x1b[31m\\nb" in said


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"FOREBAY_TLS_CERT": "/c.pem"}, "FOREBAY_TLS_CERT and FOREBAY_TLS_KEY go together: set both or neither"),
        (
            {"PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": "4", "PARALLEL_UPLOAD_MAX_UPLOADS_PER_USER": "5"},
            "PARALLEL_UPLOAD_MAX_UPLOADS_PER_USER=5: must be at most PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS=4",
        ),
    ],
)
def test_contradictions_are_refused(environ: dict[str, str], line: str) -> None:
    """Two values that can't both be meant."""
    assert refusal(**environ) == line


def test_the_guides_cure_of_fewer_users_contradicts_nothing() -> None:
    """A per-user limit above the users' number binds nothing, but it is no mistake while uploads follow users."""
    assert load(PARALLEL_UPLOAD_MAX_CONCURRENT_USERS="1", PARALLEL_UPLOAD_MAX_UPLOADS_PER_USER="5").upload_limit == 1


def test_lists_are_split_and_tidied() -> None:
    """Commas, blanks, case and a trailing slash."""
    settings = load(
        FOREBAY_ALLOWED_HOSTS="Up.Example.org, ::1,",
        FOREBAY_TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8",
        FOREBAY_CORS_ORIGINS="https://App.example.org/",
        FOREBAY_PUBLIC_URL="https://up.example.org/",
    )
    assert settings.allowed_hosts == ("up.example.org", "::1")
    assert settings.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    assert settings.cors_origins == ("https://app.example.org",)
    assert settings.public_url == "https://up.example.org"


def test_destinations_are_named_beside_the_default() -> None:
    """The JSON object and the one URL."""
    settings = load(FOREBAY_DESTINATION="disk:/a", FOREBAY_DESTINATIONS='{"archive": "disk:/b"}')
    assert settings.destination_urls == {"default": "disk:/a", "archive": "disk:/b"}


# -- names that we don't know ----------------------------------------------------------------------------------------


def test_unknown_names_come_with_the_nearest_right_one(tmp_path: Path) -> None:
    """From the environment and the file; other programs' names are none of our business."""
    env_file = write(tmp_path, "PARALLEL_UPLOAD_CHUNKSIZE_MB=1\nPARALEL_UPLOAD_CHUNK_SIZE_MB=2\nOTHER=1\n")
    environ = {"ENABLE_PARALLEL_UPLOAD": "1", "FOREBAY_ZZZZZZZZZZZZZZ": "1", "PATH": "/", "FOREBAY_TOKEN": "x"}
    assert unknown_names(env_file, environ) == {
        "ENABLE_PARALLEL_UPLOAD": "ENABLE_PARALLEL_UPLOADS",
        "FOREBAY_ZZZZZZZZZZZZZZ": None,
        "PARALEL_UPLOAD_CHUNK_SIZE_MB": "PARALLEL_UPLOAD_CHUNK_SIZE_MB",
        "PARALLEL_UPLOAD_CHUNKSIZE_MB": "PARALLEL_UPLOAD_CHUNK_SIZE_MB",
    }


def test_every_known_name_is_known() -> None:
    """No warning for what is right."""
    assert unknown_names(TEMPLATE, dict.fromkeys(setting_names(), "x")) == {}


# -- documents -------------------------------------------------------------------------------------------------------


def test_the_committed_template_is_the_generated_one() -> None:
    """`forebay-server config --template > backend/env.parallel_upload.template` brings it up to date."""
    assert TEMPLATE.read_text(encoding="utf-8") == render_template()


def test_the_committed_reference_is_the_generated_one() -> None:
    """`forebay-server config --markdown > docs/settings.md` brings it up to date."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == render_markdown()


def test_the_template_starts_with_the_guides_settings_as_printed() -> None:
    """Step 3, to the letter, before any other setting."""
    template = render_template()
    before, _, _ = template.partition(GUIDE_BLOCK)
    assert all(not line or line.startswith("#") for line in before.splitlines())
    assert GUIDE_BLOCK in template


def test_the_template_states_every_default_but_the_flag() -> None:
    """Each setting once, with its own default; the flag is False, and a comment says why."""
    stated = parse_env(render_template())
    assert list(stated) == list(setting_names())
    differing = {
        str(field.validation_alias): stated[str(field.validation_alias)].value
        for field in Settings.model_fields.values()
        if stated[str(field.validation_alias)].value != written_default(field)
    }
    assert differing == {"ENABLE_PARALLEL_UPLOADS": "False"}
    assert "guide's rollout starts with False" in render_template()


def test_a_copied_template_loads_as_the_defaults_in_sequential_mode() -> None:
    """`cp env.parallel_upload.template .env` and start."""
    assert load(TEMPLATE).model_dump() == load().model_dump() | {"enable_parallel_uploads": False}


def test_the_reference_names_every_setting_with_its_range() -> None:
    """And escapes nothing into another column."""
    rows = [line for line in render_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(setting_names())
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert "| `PARALLEL_UPLOAD_CHUNK_SIZE_MB` | `16` | a whole number from 1 to 1024 |" in render_markdown()


@pytest.mark.parametrize(
    "path",
    ["docs/tuning.md", "docs/reverse-proxy.md", "deploy/nginx.conf", "deploy/Caddyfile", "deploy/forebay.service"],
)
def test_no_document_names_a_setting_that_does_not_exist(path: str) -> None:
    """What is renamed here is renamed there."""
    named = re.findall(r"\b(?:PARALLEL_UPLOAD|FOREBAY|ENABLE_PARALLEL)_[A-Z_]+", (ROOT / path).read_text("utf-8"))
    assert set(named) <= set(setting_names())
    assert named
