"""Options and commands. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from forebay._client import AsyncClient
from forebay._retry import RetryPolicy
from forebay.cli._report import BarReporter, JsonReporter, PlainReporter, Reporter, write_line
from forebay.cli._run import FAILURE, advice, clean, run
from forebay.cli._show import progress_table, status_table, uploads_table
from forebay.cli._upload import UploadOptions, upload_files
from forebay.errors import ForebayError

__all__ = ["main"]

T = TypeVar("T")
USAGE = 2
_UNFOLDED = 1000  # cells: what goes into a pipe is not folded

app = typer.Typer(
    name="forebay",
    help="Bring files to a Forebay server: any size, in parallel, resumable, verified at the destination.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Conflicts(StrEnum):
    """What happens when a file of that name is at the destination."""

    RENAME = "rename"
    FAIL = "fail"
    REPLACE = "replace"


Server = Annotated[str, typer.Option(envvar="FOREBAY_SERVER", help="Address of the server.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="FOREBAY_TOKEN",
        show_envvar=True,
        help="Token. Better in the environment: others on this machine can read a command line.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
UploadId = Annotated[str, typer.Argument(metavar="ID", help="The upload's id.")]

LOCAL = "http://127.0.0.1:8000"


@app.command()
def upload(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to upload.")],
    server: Server = LOCAL,
    token: Token = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Chunks sent at once; as many as the server allows when not given."),
    ] = None,
    destination: Annotated[
        str | None, typer.Option(help="One of the server's destinations, by name.", show_default=False)
    ] = None,
    folder: Annotated[str, typer.Option(help="Folder at the destination, such as reports/2024.")] = "",
    name: Annotated[str | None, typer.Option(help="Name at the destination, for a single file.")] = None,
    on_conflict: Annotated[
        Conflicts, typer.Option(help="When a file of that name is there.", case_sensitive=False)
    ] = Conflicts.RENAME,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds without any progress after which to give up.")
    ] = RetryPolicy().patience_s,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an interrupted upload of the same file.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Upload files; succeeds when every one is at the destination, verified.

    Whatever interrupts it (Ctrl-C, a crash, a restart of either side), the same command goes on where it stopped.
    """
    if name is not None and len(files) > 1:
        _usage("--name is for a single file.")
    client = _client(server, token, patience)
    options = UploadOptions(name, folder, destination, on_conflict.value, parallel, resume)
    reporter = _reporter(as_json=as_json)
    with reporter:
        code = run(upload_files(client, files, options, reporter), on_signal=reporter.interrupted)
    raise typer.Exit(code)


@app.command()
def status(*, server: Server = LOCAL, token: Token = None, as_json: Json = False) -> None:
    """How the server is: mode, limits, memory, buffers, destinations."""
    _question(server, token, lambda client: client.status(), status_table, as_json=as_json)


@app.command("list")
def list_(
    *,
    server: Server = LOCAL,
    token: Token = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 50,
    as_json: Json = False,
) -> None:
    """My uploads, newest first."""
    _question(server, token, lambda client: client.list(limit=limit), uploads_table, as_json=as_json)


@app.command()
def progress(*, upload_id: UploadId, server: Server = LOCAL, token: Token = None, as_json: Json = False) -> None:
    """How far an upload is."""
    _question(server, token, lambda client: client.progress(upload_id), progress_table, as_json=as_json)


@app.command()
def cancel(*, upload_id: UploadId, server: Server = LOCAL, token: Token = None, as_json: Json = False) -> None:
    """Cancel an upload; what was received of it is given up."""

    async def ask(client: AsyncClient) -> dict[str, str]:
        await client.cancel(upload_id)
        return {"id": upload_id, "state": "cancelled"}

    _question(server, token, ask, lambda _: Text(f"Cancelled {clean(upload_id)}."), as_json=as_json)


def main() -> None:
    """Entry point of the command."""
    app()


def _client(server: str, token: str | None, patience_s: float) -> AsyncClient:
    try:
        return AsyncClient(server, token=token, policy=RetryPolicy(patience_s=patience_s))
    except ValueError as error:
        _usage(str(error))


def _usage(sentence: str) -> NoReturn:
    _error(sentence)
    raise typer.Exit(USAGE)


def _error(sentence: str) -> None:
    write_line(sys.stderr, f"forebay: {clean(sentence)}")


def _reporter(*, as_json: bool) -> Reporter:
    if as_json:
        return JsonReporter()
    console = Console(stderr=True)
    return BarReporter(console) if console.is_terminal else PlainReporter()


def _question(
    server: str,
    token: str | None,
    ask: Callable[[AsyncClient], Awaitable[T]],
    show: Callable[[T], RenderableType],
    *,
    as_json: bool,
) -> None:
    client = _client(server, token, RetryPolicy().patience_s)

    async def work() -> int:
        try:
            async with client:
                answer = await ask(client)
        except (ForebayError, ValueError) as error:
            _error(advice(error))
            return FAILURE
        if as_json:
            write_line(sys.stdout, json.dumps(_plain(answer), default=str))
        else:
            Console(width=None if sys.stdout.isatty() else _UNFOLDED).print(show(answer))
        return 0

    raise typer.Exit(run(work()))


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
