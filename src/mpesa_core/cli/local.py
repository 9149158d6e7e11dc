"""``mpesa demo`` and ``mpesa sandbox``: what runs on this machine alone."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from mpesa_core.cli.demo import run_demo
from mpesa_core.cli.stopping import Stop
from mpesa_core.cli.telling import columned
from mpesa_core.sandbox import MAGIC_AMOUNTS, MAGIC_PHONES, DarajaServer, LocalDaraja, Organisation

__all__ = ["demo", "sandbox"]


@click.command(short_help="Watch money move, with all that goes wrong.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, writable=True),
    help="Keep the databases here; otherwise they are deleted.",
)
def demo(directory: str | None) -> None:
    """Watch money move: a shop on SQLite and a local Daraja, with everything that goes wrong in life.

    Exit status 0 only if the books balance at the end.
    """
    if directory is not None:
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(
                f"--directory: {directory} cannot be made ({error.strerror}); choose another."
            ) from None
    sys.exit(0 if run_demo(Console(highlight=False), directory) else 1)


def _short_code(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isdigit() and 5 <= len(value) <= 7):
        raise click.BadParameter(f"got {value!r}, expected 5 to 7 digits.")
    return value


@click.command(short_help="Run a local Daraja to develop against.")
@click.option("--port", default=8070, show_default=True, type=click.IntRange(0, 65_535), help="0 for a free one.")
@click.option(
    "--short-code", default="174379", show_default=True, callback=_short_code, help="The organisation's short code."
)
@click.option("--till", callback=_short_code, help="Make the short code a till's store number, and this its till.")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the certificate that encrypts the operator's password to FILE; without it a ready-made credential is "
    "told.",
)
def sandbox(port: int, short_code: str, till: str | None, certificate: str | None) -> None:
    """Run a local Daraja on loopback until interrupted.

    It prints settings for a program that uses it, the phone numbers and amounts that provoke each case, and then what
    it is asked and what it posts.
    """
    daraja = LocalDaraja([Organisation(short_code=short_code, till_number=till)], magic=True)
    try:
        server = DarajaServer(daraja, port=port)
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used ({error.strerror}); choose another with --port."
        ) from None
    with Stop() as stop, server:
        click.echo(f"A local Daraja listens on {server.base_url}. Nothing here is real. Ctrl-C ends it.\n")
        click.echo("Settings for a program that uses it (its callbacks may be elsewhere):\n")
        for line in _exports(daraja, server.base_url, certificate):
            click.echo(f"  {line}")
        click.echo("\nWhat these phone numbers and amounts provoke:\n")
        for line in _magic():
            click.echo(f"  {line}")
        click.echo()
        news = _news(daraja)
        while not stop.wait(0.2):
            for line in next(news):
                click.echo(line)


def _exports(daraja: LocalDaraja, base_url: str, certificate: str | None) -> Iterator[str]:
    given = daraja.settings(base_url)
    if certificate is not None:
        if "certificate" not in given:
            raise click.ClickException("--certificate needs cryptography: pip install 'mpesa-core[initiator]'")
        path = Path(certificate).absolute()
        try:
            path.write_bytes(given["certificate"])
        except OSError as error:
            raise click.ClickException(f"{certificate} cannot be written: {error.strerror}.") from None
        given["certificate"] = str(path)
    else:
        given = {name: value for name, value in given.items() if name not in ("initiator_password", "certificate")}
        given["security_credential"] = daraja.security_credential
    given["callback_base_url"] = "http://127.0.0.1:8000/pay/"
    given["callback_ip_allowlist"] = "127.0.0.1"
    for name, value in given.items():
        if value is not None:
            yield f"export MPESA_{name.upper()}={shlex.quote(value)}"


def _magic() -> list[str]:
    phones = [(phone, what) for phone, (what, _) in MAGIC_PHONES.items()]
    amounts = [(f"{amount} shillings", what) for amount, (what, _) in MAGIC_AMOUNTS.items()]
    return columned(phones + amounts)


def _news(daraja: LocalDaraja) -> Iterator[list[str]]:
    """What was asked and posted since the last time; without paths, which may hold tokens."""
    asked = posted = 0
    while True:
        requests, callbacks = daraja.requests, daraja.posted
        lines = [
            (each.at, f"asked   {each.api or 'unknown path':<20} {each.status or 'no answer'} {each.error_code or ''}")
            for each in requests[asked:]
        ]
        lines += [
            (each.at, f"posted  {each.posting.about:<20} {each.status or each.error}") for each in callbacks[posted:]
        ]
        asked, posted = len(requests), len(callbacks)
        yield [f"{at.astimezone():%H:%M:%S}  {line.rstrip()}" for at, line in sorted(lines)]
