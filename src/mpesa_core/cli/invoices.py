"""``mpesa invoices send``: invoices from a file, through Bill Manager."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mpesa_core.cli.place import Place, at_a_place, firing_signals
from mpesa_core.daraja.bills import BillItem, Invoice
from mpesa_core.errors import InvalidField
from mpesa_core.payments.invoices import InvoiceStatus

__all__ = ["invoices"]

_FIELDS: Final = tuple(field.name for field in attrs.fields(Invoice))
_SHOWN: Final = 20


@click.group()
def invoices() -> None:
    """Send invoices through Bill Manager."""


@invoices.command(short_help="Send the invoices of a CSV or JSON file.")
@at_a_place
@firing_signals
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", metavar="NAME", default="default", help="The account of the settings that sends them.")
@click.option("--dry-run", is_flag=True, help="Only check the file.")
def send(place: Place, file: Path, account: str, *, dry_run: bool) -> None:
    """Send the invoices of FILE, up to 1,000 in each request. Sending the same file again sends only what is not sent.

    FILE is CSV with a heading, or JSON with a list of objects (a name that ends in .json). Both use these names:
    external_reference, full_name, phone_number, period, invoice_name, due (a day such as 2026-12-05), account_reference
    and amount; JSON may have items too, each with a name and an amount. Every invoice is checked before any is sent.
    """
    found = _read(file)
    if dry_run:
        click.echo(f"{len(found)} invoices are in order; nothing was sent.")
        return
    with place.open(fires=True, make=True) as gateway, _bar(len(found)) as progress:
        rows = gateway.account(account).send_invoices(found, progress=progress)
    counts = Counter(str(row.status) for row in rows)
    click.echo(f"{len(rows)} invoices: {', '.join(f'{count} {status}' for status, count in counts.items())}.")
    for row in rows:
        if row.status == InvoiceStatus.REFUSED:
            click.echo(f"{row.external_reference} was refused: {row.result_desc}", err=True)
    if counts[InvoiceStatus.REFUSED]:
        click.echo("Mend what was refused and send the file again: what was sent is not sent again.", err=True)
    if counts[InvoiceStatus.PENDING]:
        click.echo("What became of the pending ones is unknown. Send the file again: none arrives twice.", err=True)
    if counts[InvoiceStatus.REFUSED] or counts[InvoiceStatus.PENDING]:
        sys.exit(1)


def _read(file: Path) -> list[Invoice]:
    """The invoices of a file; every problem at once."""
    found: list[Invoice] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for where, fields in _rows(file):
        try:
            invoice = _invoice(fields)
        except InvalidField as error:
            problems.append(f"{where}: {error}")
            continue
        first = seen.setdefault(invoice.external_reference, where)
        if first is not where:
            problems.append(f"{where}: external_reference: {invoice.external_reference!r} stands in {first} already.")
        found.append(invoice)
    if not found and not problems:
        problems = [f"expected at least one invoice, with {', '.join(_FIELDS)}."]
    if problems:
        hidden = len(problems) - _SHOWN
        more = [f"... and {hidden} more."] if hidden > 0 else []
        raise click.ClickException("\n  ".join([f"{file}: nothing was sent.", *problems[:_SHOWN], *more]))
    return found


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise click.ClickException(f"{file}: expected UTF-8; save it as CSV UTF-8.") from None
    if file.suffix.lower() != ".json":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for fields in reader:
            yield f"line {reader.line_num}", {str(name): value for name, value in fields.items()}
        return
    try:
        listed = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{file}: no JSON: {error}") from None
    if not isinstance(listed, list):
        raise click.ClickException(f"{file}: got a JSON {type(listed).__name__}, expected a list of invoices.")
    for number, fields in enumerate(listed, 1):
        yield f"invoice {number}", fields if isinstance(fields, dict) else {"": fields}


def _invoice(fields: Mapping[str, Any]) -> Invoice:
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    needed = [name for name in _FIELDS if name != "items"]
    missing = [name for name in needed if name not in given]
    if missing:
        raise InvalidField(missing[0], None, expected="a value")
    unknown = [name for name in given if name not in _FIELDS]
    if unknown:
        raise InvalidField(unknown[0], given[unknown[0]], expected=f"one of the names {', '.join(_FIELDS)}")
    items = given.get("items", [])
    if not isinstance(items, list) or not all(
        isinstance(each, dict) and {*each} == {"name", "amount"} for each in items
    ):
        raise InvalidField("items", items, expected="a list of objects with name and amount")
    return Invoice(
        **{name: given[name] for name in needed if name != "due"},
        due=_due(given["due"]),
        items=[BillItem(name=each["name"], amount=each["amount"]) for each in items],
    )


def _due(value: object) -> date:
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or not isinstance(value, str):
        raise InvalidField("due", value, expected="a day such as 2026-12-05, or a time with an offset")
    if len(value.strip()) <= len("2026-12-05"):
        return moment.date()
    return moment  # one without an offset is refused by its own check


@contextmanager
def _bar(invoices: int) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Sending", total=2 * invoices)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
