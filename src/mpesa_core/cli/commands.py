"""The subcommands."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from mpesa_core import __version__
from mpesa_core.cli.decoding import body_of, described
from mpesa_core.cli.demo import run_demo
from mpesa_core.cli.doctor import Finding, examine
from mpesa_core.cli.setup import database_option, identifier, opened, plainly, receivers_option
from mpesa_core.daraja.callbacks import CallbackType, Unreadable, decode_callback
from mpesa_core.daraja.codes import Family, explain
from mpesa_core.sandbox import MAGIC_AMOUNTS, MAGIC_PHONES, DarajaServer, LocalDaraja, Organisation
from mpesa_core.settlement.engine import Verdict

__all__ = ["mpesa"]

_TYPES = click.Choice([each.value for each in CallbackType], case_sensitive=False)
_FAMILIES = click.Choice([each.value for each in Family], case_sensitive=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mpesa")
@click.option("-v", "--verbose", is_flag=True, help="Show the log.")
def mpesa(*, verbose: bool) -> None:
    """Take and send money over M-PESA. Settings come from MPESA_* variables."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(message)s", handlers=[handler], force=True
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold whole URLs


@mpesa.command()
@click.option(
    "--directory", type=click.Path(file_okay=False), help="Keep the shop's database here; else it is deleted."
)
def demo(directory: str | None) -> None:
    """Watch money move: a local Daraja and a small shop on SQLite, with everything that goes wrong in life."""
    sys.exit(0 if run_demo(Console(highlight=False, soft_wrap=True), directory) else 1)


@mpesa.command()
@click.option("--port", default=8070, show_default=True, help="0 for a free one.")
@click.option("--short-code", default="174379", show_default=True)
@click.option("--till", default=None, help="Make the short code a till's store number, and this its till.")
def sandbox(port: int, short_code: str, till: str | None) -> None:
    """Run a local Daraja on loopback until interrupted, with phone numbers and amounts that provoke each case."""
    console = Console(highlight=False)
    daraja = LocalDaraja([Organisation(short_code=short_code, till_number=till)], magic=True)
    try:
        server = DarajaServer(daraja, port=port)
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used ({error.strerror}); choose another with --port."
        ) from None
    with server:
        console.print(f"A local Daraja listens on {server.base_url}. Nothing here is real. Ctrl-C ends it.\n")
        console.print("Settings for a program that uses it:\n")
        for name, value in daraja.settings(server.base_url).items():
            if value is not None:
                shown = _certificate_file(value) if isinstance(value, bytes) else value
                console.print(f"  export MPESA_{name.upper()}='{shown}'", soft_wrap=True)
        console.print(_magic_table())
        _until_interrupted()


def _certificate_file(certificate: bytes) -> str:
    path = Path("local-daraja.cer").resolve()
    path.write_bytes(certificate)
    return str(path)


def _magic_table() -> Table:
    table = Table(
        title="What these phone numbers and amounts provoke", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("pay with")
    table.add_column("and")
    for phone, (what, _) in MAGIC_PHONES.items():
        table.add_row(phone, what)
    for amount, (what, _) in MAGIC_AMOUNTS.items():
        table.add_row(f"{amount} shillings", what)
    return table


def _until_interrupted() -> None:
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
    while not stop.wait(0.5):
        pass


@mpesa.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--type", "callback_type", required=True, type=_TYPES, help="Which callback it is: by the URL it came on."
)
def decode(file: Any, callback_type: str) -> None:
    """Say as JSON what a stored callback says. FILE is its body, or - for standard input.

    Exit status 1 when it cannot be read as that type.
    """
    message = decode_callback(CallbackType(callback_type.upper()), body_of(file.read()))
    click.echo(json.dumps(described(message), indent=2, ensure_ascii=False))
    if isinstance(message, Unreadable):
        sys.exit(1)


@mpesa.command(name="explain")
@click.argument("code")
@click.option("--product", type=_FAMILIES, help="The same code means different things in different products.")
def explain_code(code: str, product: str | None) -> None:
    """Tell what a result or error CODE means, whose turn it is and what to tell the customer."""
    number = int(code) if code.lstrip("-").isascii() and code.lstrip("-").isdigit() and len(code) < 12 else code
    family = next((each for each in Family if product and each.value.lower() == product.lower()), None)
    meaning = explain(number, family)
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("code", str(meaning.code))
    table.add_row("meaning", meaning.meaning)
    table.add_row("outcome", str(meaning.outcome) if meaning.outcome is not None else "none: it is no payment's result")
    table.add_row("whose turn", str(meaning.turn))
    if meaning.customer_message:
        table.add_row("to the customer", meaning.customer_message)
        table.add_row("in Swahili", meaning.customer_message_sw)
    table.add_row("source", meaning.source + ("" if meaning.certain else " (uncertain)"))
    console.print(table)


@mpesa.command()
@click.option(
    "--database", envvar="MPESA_DATABASE", type=click.Path(dir_okay=False), help="Look at this SQLite file too."
)
@click.option("--offline", is_flag=True, help="Do not try to reach Daraja.")
def doctor(database: str | None, *, offline: bool) -> None:
    """Check settings, certificate, clock, callback URLs, whether anybody recovers, and the app's keys.

    Exit status 1 when something is wrong.
    """
    console = Console(highlight=False, soft_wrap=True)
    findings = examine(os.environ, database, offline=offline)
    for finding in findings:
        style = {"ok": "green", "warning": "yellow", "wrong": "red", "skipped": "dim"}[finding.verdict]
        console.print(f"[{style}]{finding.verdict:>8}[/]  {finding.what}: ", end="")
        console.print(finding.detail, markup=False)
    sys.exit(1 if any(each.verdict == Finding.WRONG for each in findings) else 0)


@mpesa.command()
@database_option
@receivers_option
@click.option("--interval", default=None, type=click.FloatRange(min=0.1), help="Seconds between sweeps.")
@click.option("--once", is_flag=True, help="One sweep, then exit.")
@plainly
def worker(database: str, interval: float | None, *, once: bool) -> None:
    """Recover and reconcile until stopped. Any number of workers may run at once."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    with opened(database, existing=False) as gateway:
        if not once:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, end)
        pause = interval or gateway.settings.sweep_interval
        click.echo(
            f"Sweeping {database} every {pause:g} seconds; Ctrl-C ends it." if not once else f"Sweeping {database}."
        )
        while True:
            recovered, reconciled = gateway.sweep()
            if recovered or reconciled or once:
                click.echo(f"{datetime.now():%H:%M:%S}  {_recovered(recovered)}; {_reconciled(reconciled)}")  # noqa: DTZ005 - the operator's own clock
            if once or stop.wait(pause):
                return


def _recovered(done: Any) -> str:
    return f"{done.callbacks} callbacks processed, {done.announced} announced late, {done.unsent} never sent"


def _reconciled(done: Any) -> str:
    return f"{done.asked} asked about, {done.settled} settled, {done.expired} timed out"


@mpesa.command()
@database_option
@receivers_option
@click.option("--limit", default=100, show_default=True, help="How many transactions at the most.")
@plainly
def reconcile(database: str, limit: int) -> None:
    """Ask M-PESA about what is due, and conclude what has run out of time."""
    with opened(database) as gateway:
        click.echo(_reconciled(gateway.reconcile(limit)))


@mpesa.command()
@database_option
@receivers_option
@plainly
def recover(database: str) -> None:
    """Go on from whatever a process left open: open callbacks, unannounced settlements, the spool."""
    with opened(database) as gateway:
        click.echo(_recovered(gateway.recover()))


@mpesa.command()
@database_option
@receivers_option
@click.argument("callback_id", callback=identifier)
@plainly
def replay(database: str, callback_id: UUID) -> None:
    """Process a recorded callback again; a settled transaction is not settled twice."""
    with opened(database) as gateway:
        click.echo(_verdict(gateway.replay(callback_id)))


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "Another worker has it at this moment."
    row = getattr(verdict, "row", None)
    what = str(getattr(verdict, "disposition", "put back" if hasattr(verdict, "until") else "applied"))
    return f"{what}: {row!r}" if row is not None else what


@mpesa.command()
@database_option
@receivers_option
@click.argument("transaction_id", callback=identifier)
@plainly
def announce(database: str, transaction_id: UUID) -> None:
    """Fire a settled transaction's signals again.

    Receivers run where they are connected: import yours, or call Gateway.announce in your program.
    """
    with opened(database) as gateway:
        click.echo(f"announced: {gateway.announce(transaction_id)!r}")


@mpesa.group(invoke_without_command=True)
@database_option
@click.option("--limit", default=50, show_default=True)
@click.pass_context
@plainly
def conflicts(context: click.Context, database: str, limit: int) -> None:
    """List what contradicts what is known; a person accepts or dismisses it."""
    context.obj = database
    if context.invoked_subcommand is not None:
        return
    with opened(database) as gateway:
        found = gateway.conflicts(limit)
        if not found:
            click.echo("No open conflicts.")
            return
        for callback in found:  # in lines, not a table: an id has to be copied whole from any terminal
            click.echo(f"{callback.id}  {callback.received_at:%Y-%m-%d %H:%M} UTC  {callback.callback_type}")
            click.echo(f"    transaction: {callback.related_transaction_id or 'none'}")
            click.echo(f"    {callback.error or 'no reason is kept'}")
        click.echo(
            "\nmpesa conflicts accept ID   settles by what it says;   mpesa conflicts dismiss ID   leaves all as it is."
        )


@conflicts.command()
@receivers_option
@click.argument("callback_id", callback=identifier)
@click.option("--transaction", default=None, help="Which transaction it is about, where it belongs to none or several.")
@click.pass_obj
@plainly
def accept(database: str, callback_id: UUID, transaction: str | None) -> None:
    """Settle by what a conflicting callback says."""
    with opened(database) as gateway:
        click.echo(f"accepted: {gateway.accept(callback_id, transaction=transaction)!r}")


@conflicts.command()
@click.argument("callback_id", callback=identifier)
@click.pass_obj
@plainly
def dismiss(database: str, callback_id: UUID) -> None:
    """Resolve a conflict without effect."""
    with opened(database) as gateway:
        gateway.dismiss(callback_id)
        click.echo("dismissed")
