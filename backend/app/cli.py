"""The operator's command line: `forebay-server serve | token | drive | config | doctor`.

Laws: what goes wrong and was foreseen is one line on standard error and exit code 2, never a traceback; a token's secret
is printed once, by the command that made it; heavy modules are imported by the command that needs them, so that
`config` answers at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.cli_drive import drive_app
from app.core.errors import ForebayError
from app.core.identity import TokenRecord
from app.core.settings import Settings, SettingsError, load_settings, setting_names, unknown_names
from app.core.settings_reference import render_markdown, render_template, written_value
from app.core.tokens import new_token, parse_duration

if TYPE_CHECKING:
    from app.persistence.repository import Repository

__all__ = ["app", "main"]

_PROGRAM = "forebay-server"
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")

app = typer.Typer(
    name=_PROGRAM,
    help="Upload server for very large files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(help="Bearer tokens: who may upload.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(token_app, name="token")
app.add_typer(drive_app, name="drive")


class _Refused(Exception):
    """What was asked for can't be done; the message is one line."""


def _warn_of_unknown_names() -> None:
    for name, nearest in unknown_names().items():
        hint = f"; did you mean {nearest}?" if nearest else ""
        typer.echo(f"{_PROGRAM}: warning: {name} is no setting of Forebay{hint}", err=True)


@app.command()
def serve() -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    settings = load_settings()
    _warn_of_unknown_names()
    from app.main import serve as run  # noqa: PLC0415 - the server's modules, for this command only

    raise typer.Exit(run(settings))


@app.command(hidden=True)
def openapi() -> None:
    """Print the OpenAPI document, from which the page's types are made."""
    from app.main import create_app  # noqa: PLC0415 - the server's modules, for this command only

    typer.echo(json.dumps(create_app(load_settings()).openapi(), indent=1))


# -- config ----------------------------------------------------------------------------------------------------------


@app.command()
def config(
    *,
    template: Annotated[bool, typer.Option("--template", help="Print env.parallel_upload.template.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference, docs/settings.md.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the settings can be used.")] = False,
) -> None:
    """Print the settings in force (passwords are not shown)."""
    if template + markdown + check > 1:
        msg = "--template, --markdown and --check exclude each other"
        raise _Refused(msg)
    if template or markdown:
        typer.echo(render_template() if template else render_markdown(), nl=False)
        return
    settings = load_settings()
    _warn_of_unknown_names()
    source = settings.env_file_read() or "the environment and defaults; there is no .env here"
    if check:
        typer.echo(f"The settings can be used. Read from {source}.")
        return
    typer.echo(f"# read from {source}")
    for name, field in setting_names().items():
        value = written_value(getattr(settings, field))
        changed = getattr(settings, field) != Settings.model_fields[field].default
        typer.echo(f"{name}={value}" + ("" if changed else "  # default"))


# -- tokens ----------------------------------------------------------------------------------------------------------


def _user(name: str) -> str:
    if not _USER.fullmatch(name):
        msg = f"{name!r} can't be a user's name: use letters, digits and . _ @ + -"
        raise typer.BadParameter(msg)
    return name


def _duration(text: str | None) -> str | None:
    if text is not None:
        try:
            parse_duration(text)
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from None
    return text


User = Annotated[str, typer.Argument(metavar="USER", callback=_user, help="Whose token it is.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="30d", callback=_duration, help="When it ends: 12h, 30d, 8w; never when absent."),
]
Label = Annotated[str | None, typer.Option("--label", help="What it is for, such as `laptop`.")]


def _refuse_foreign_files(settings: Settings) -> None:
    """Files that root makes in the server's folder are files that the server can't write."""
    if settings.database_url is not None or os.geteuid() != 0 or not settings.data_dir.exists():
        return
    owner = settings.data_dir.stat().st_uid
    if owner != 0:
        msg = (
            f"{settings.data_dir} belongs to user {owner}, as whom the server runs: use sudo -u '#{owner}' {_PROGRAM} …"
        )
        raise _Refused(msg)


@asynccontextmanager
async def _repository(settings: Settings) -> AsyncIterator[Repository]:
    from app.persistence.repository import Repository  # noqa: PLC0415 - for these commands only

    _refuse_foreign_files(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    repository = Repository(settings.secret_database_url())
    await repository.open()
    try:
        yield repository
    finally:
        await repository.close()


def _show_secret(token: str, record: TokenRecord) -> None:
    until = _day(record.expires_at) if record.expires_at else "no end"
    kind = "operator's token" if record.operator else "token"
    typer.echo(f"New {kind} for {record.user} (id {record.id}, {until}). It is shown only now:", err=True)
    typer.echo(token)


def _day(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at is not None else "-"


@token_app.command("create")
def token_create(
    user: User,
    *,
    expires: Expires = None,
    operator: Annotated[bool, typer.Option("--operator", help="It also opens the operators' calls.")] = False,
    label: Label = None,
) -> None:
    """Make a token and print it, once; only its hash is kept."""
    settings = load_settings()
    token, secret_hash = new_token()
    expires_at = time.time() + parse_duration(expires) if expires else None

    async def work() -> TokenRecord:
        async with _repository(settings) as repository:
            return await repository.add_token(
                user, secret_hash, label=label or "", operator=operator, expires_at=expires_at
            )

    _show_secret(token, asyncio.run(work()))


@token_app.command("list")
def token_list(user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Only this user's.")] = None) -> None:
    """List tokens, without their secrets."""
    settings = load_settings()

    async def work() -> list[TokenRecord]:
        async with _repository(settings) as repository:
            return await repository.tokens(user)

    now = time.time()
    rows = [("ID", "USER", "LABEL", "MADE", "ENDS", "STATE")]
    for record in asyncio.run(work()):
        state = "revoked" if record.revoked_at is not None else "valid" if record.valid_at(now) else "expired"
        state += ", operator" if record.operator else ""
        rows.append(
            (record.id, record.user, record.label or "-", _day(record.created_at), _day(record.expires_at), state)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@token_app.command("revoke")
def token_revoke(
    user: User,
    *,
    token_id: Annotated[str | None, typer.Option("--id", help="Only this one; all of the user's when absent.")] = None,
) -> None:
    """Make tokens worthless. A running server refuses them within seconds."""
    settings = load_settings()

    async def work() -> list[str]:
        async with _repository(settings) as repository:
            chosen = [
                record
                for record in await repository.tokens(user)
                if record.revoked_at is None and token_id in {None, record.id}
            ]
            return [record.id for record in chosen if await repository.revoke_token(record.id)]

    revoked = asyncio.run(work())
    if not revoked:
        which = f"token {token_id}" if token_id else "token"
        msg = f"{user} has no {which} that is not revoked"
        raise _Refused(msg)
    typer.echo(f"Revoked for {user}: {', '.join(revoked)}")


@token_app.command("rotate")
def token_rotate(user: User, *, expires: Expires = None, label: Label = None) -> None:
    """Put a new token in the place of a user's valid one: same label and rights, and, unless told, as long a life."""
    settings = load_settings()
    token, secret_hash = new_token()

    async def work() -> TokenRecord:
        async with _repository(settings) as repository:
            old = _only_one(user, label, await repository.tokens(user))
            lasts_s = parse_duration(expires) if expires else old.expires_at and old.expires_at - old.created_at
            new = await repository.add_token(
                user,
                secret_hash,
                label=old.label,
                operator=old.operator,
                expires_at=time.time() + lasts_s if lasts_s else None,
            )
            await repository.revoke_token(old.id)
            return new

    _show_secret(token, asyncio.run(work()))


def _only_one(user: str, label: str | None, records: list[TokenRecord]) -> TokenRecord:
    now = time.time()
    valid = [record for record in records if record.valid_at(now) and label in {None, record.label}]
    if len(valid) == 1:
        return valid[0]
    labelled = f" labelled {label!r}" if label is not None else ""
    if not valid:
        msg = f"{user} has no valid token{labelled}: make one with `{_PROGRAM} token create {user}`"
    else:
        choices = ", ".join(f"{record.id} ({record.label or 'no label'})" for record in valid)
        msg = f"{user} has {len(valid)} valid tokens{labelled}: {choices}; choose with --label, or create and revoke"
    raise _Refused(msg)


# -- doctor ----------------------------------------------------------------------------------------------------------


@app.command()
def doctor() -> None:
    """Check everything the server needs, and say what to do about what is wrong; exit code 1 when something is."""
    from app.doctor import examine  # noqa: PLC0415 - for this command only

    settings = load_settings()
    _warn_of_unknown_names()
    _refuse_foreign_files(settings)
    findings = asyncio.run(examine(settings))
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        shown = finding.verdict.upper() if finding.verdict == "wrong" else finding.verdict
        typer.echo(f"{shown:5}  {finding.subject:{width}}  {finding.text}")
        if finding.cure:
            typer.echo(f"{'':5}  {'':{width}}  -> {finding.cure}")
    raise typer.Exit(1 if any(finding.verdict == "wrong" for finding in findings) else 0)


# -- the program -----------------------------------------------------------------------------------------------------


def _leave(message: str, status: int = SettingsError.exit_status) -> NoReturn:
    typer.echo(f"{_PROGRAM}: {' '.join(message.split())}", err=True)
    raise SystemExit(status)


def main() -> NoReturn:
    """Run the command line and leave the process."""
    try:
        code = app(standalone_mode=False)
    except SettingsError as exc:
        _leave(str(exc), exc.exit_status)
    except (_Refused, ForebayError) as exc:
        _leave(str(exc))
    except typer.TyperException as exc:
        if str(exc).startswith("Usage:"):  # nothing was asked for: the help is the answer
            typer.echo(str(exc), err=True)
            raise SystemExit(2) from None
        _leave(str(exc))
    except (typer.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    except BrokenPipeError:
        # `… | head` has seen enough; nothing more may be written, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    raise SystemExit(code if isinstance(code, int) else 0)
