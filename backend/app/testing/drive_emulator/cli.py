"""The emulator as a program: `forebay-drive-emulator --port N`.

Laws: one line on standard output says that it listens, where, and that it is a test double; SIGTERM and Ctrl-C end it with
status 0; what is wrong with its options is one line on standard error and status 2.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from app.testing.drive_emulator.content import DIGESTS
from app.testing.drive_emulator.emulator import DriveEmulator
from app.testing.drive_emulator.options import Options
from app.testing.drive_emulator.script import ScriptError, parse_rules

__all__ = ["app", "main"]

_PROGRAM = "forebay-drive-emulator"

app = typer.Typer(
    name=_PROGRAM,
    help="A test double of Google Drive (it is not Google Drive).",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with DriveEmulator(options) as drive:
        typer.echo(f"Google Drive emulator (a test double, not Google Drive) listens on {drive.root}")
        await stop.wait()


def _digests(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if strange := [name for name in names if name not in DIGESTS]:
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(DIGESTS)}")
    return names


@app.command()
def run(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 picks a free one.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    data: Annotated[Path | None, typer.Option(help="Keep contents in this folder, not in a temporary one.")] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Keep sizes and digests of contents only.")] = False,
    digests: Annotated[str, typer.Option(help="Which digests to compute.")] = ",".join(DIGESTS),
    latency: Annotated[float, typer.Option(min=0, help="Seconds added to each answer.")] = 0.0,
    rate: Annotated[float | None, typer.Option(min=1, help="Bytes of content a second and connection.")] = None,
    script: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Faults, as JSON.")] = None,
    seed: Annotated[int, typer.Option(help="For the script's probabilities.")] = 0,
    storage_quota: Annotated[int | None, typer.Option(min=0, help="Bytes that My Drive may hold.")] = None,
    daily_limit: Annotated[int | None, typer.Option(min=0, help="Bytes that may be uploaded in a day.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its key, PEM.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    if (tls_cert is None) is not (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    try:
        rules = () if script is None else parse_rules(script.read_bytes())
    except ScriptError as exc:
        raise typer.BadParameter(f"{script}: {exc}") from None
    options = Options(
        host=host,
        port=port,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        data_dir=data,
        discard=discard,
        digests=_digests(digests),
        latency_s=latency,
        rate=rate,
        script=rules,
        seed=seed,
        storage_quota=storage_quota,
        daily_limit=daily_limit,
    )
    try:
        uvloop.run(_serve(options))
    except OSError as exc:
        typer.echo(f"{_PROGRAM}: {host}:{port}: {exc}".replace("\n", " "), err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """The program."""
    app()
