"""``mpesa reconcile --from``: M-PESA's own list against ours, with what was missed settled."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final, TypeVar

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mpesa_core.cli.place import Place
from mpesa_core.errors import InvalidField
from mpesa_core.gateway import Gateway
from mpesa_core.settlement.pulling import PullProgress, PullReport
from mpesa_core.values import NAIROBI, to_nairobi

__all__ = ["or_pull", "told_pull"]

F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_SHOWN: Final = 20
_OPTION_OF: Final = {"start": "--from", "end": "--to"}


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | timedelta | None:
    """A time in Nairobi, or one with an offset of its own, as an aware datetime; or how long ago."""
    if value is None:
        return None
    ago = re.fullmatch(r"(\d{1,4})([mhd])", value.strip(), re.ASCII)
    if ago:
        return timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        expected = "a time in Nairobi such as '2026-03-01 08:00', one with an offset, or how long ago, such as 48h"
        raise click.BadParameter(f"got {value!r}, expected {expected}.") from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=NAIROBI)


def or_pull(command: F) -> F:
    """Give ``mpesa reconcile`` the options of a pull; with ``--from`` it pulls, and otherwise does what it does."""

    @click.option(
        "--from",
        "start",
        callback=_moment,
        metavar="TIME",
        help="Compare with M-PESA's own list of payments from this time on, and settle what was missed: "
        "'2026-03-01 08:00' in Nairobi, or how long ago, 48h at the most.",
    )
    @click.option(
        "--to", "end", callback=_moment, metavar="TIME", help="With --from: up to this time; by default, now."
    )
    @click.option("--dry-run", is_flag=True, help="With --from: only compare; record and settle nothing.")
    @click.option("--json", "as_json", is_flag=True, help="With --from: the report as JSON.")
    @click.option("--account", metavar="NAME", help="With --from: the account of the settings that is asked about.")
    @wraps(command)
    def wrapped(
        *arguments: Any,
        place: Place,
        start: datetime | timedelta | None,
        end: datetime | timedelta | None,
        dry_run: bool,
        as_json: bool,
        account: str | None,
        **keywords: Any,
    ) -> Any:
        if start is None:
            if end is not None or dry_run or as_json or account is not None:
                raise click.UsageError("--to, --dry-run, --json and --account need --from.")
            return command(*arguments, place=place, **keywords)
        with place.open(fires=not dry_run) as gateway:
            try:
                report = _pulled(gateway.account(account or "default"), start, end, dry_run=dry_run)
            except InvalidField as error:
                if error.field not in _OPTION_OF:
                    raise
                raise click.UsageError(_OPTION_OF[error.field] + str(error).removeprefix(error.field)) from None
        click.echo(json.dumps(_plain(report), indent=2) if as_json else told_pull(report))
        if not report.complete:
            sys.exit(1)
        return None

    return wrapped  # type: ignore[return-value]


def _pulled(
    gateway: Gateway, start: datetime | timedelta, end: datetime | timedelta | None, *, dry_run: bool
) -> PullReport:
    now = gateway.clock()
    first = now - start if isinstance(start, timedelta) else start
    last = now - end if isinstance(end, timedelta) else end or now
    with _bar() as progress:
        return gateway.pull(first, last, dry_run=dry_run, progress=progress)


@contextmanager
def _bar() -> Iterator[Callable[[PullProgress], object] | None]:
    """A progress bar, on a terminal only; it is gone when the work is done."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading M-PESA's list", total=1.0)

        def show(progress: PullProgress) -> None:
            bar.update(
                task, completed=progress.done, description=f"{progress.rows} payments, {progress.missing} missing"
            )

        yield show


def _plain(report: PullReport) -> dict[str, Any]:
    def written(_: object, __: object, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {**attrs.asdict(report, value_serializer=written), "complete": report.complete}


def told_pull(report: PullReport) -> str:
    """A report for people, with times in Nairobi."""
    span = f"from {_told(report.start)} to {_told(report.end)}"
    lines = [f"M-PESA lists {report.rows} payments to {report.short_code} {span}, {report.found} of them known."]
    rest = [
        ("missing here", report.missing if report.dry_run else ()),
        ("missed, settled now", report.settled),
        ("receipt filled in", report.enriched),
        ("waiting for an STK payment's own callback", report.waiting),
        ("in conflict, see mpesa conflicts", report.conflicts),
        ("not in M-PESA's list", report.ours_only or ()),
    ]
    lines += [_listed(what, receipts) for what, receipts in rest if receipts]
    if report.unreadable:
        lines.append(f"{report.unreadable} rows could not be read; they are in the callback log.")
    if report.dry_run:
        lines.append("Nothing was recorded or settled.")
    if report.ours_only is None:
        lines.append("Whether M-PESA lists all of ours is not known.")
    if not report.complete:
        read = f"up to {_told(report.read_until)}" if report.read_until else "of which nothing is certain"
        lines.append(f"Not complete, {read}: {report.problem} Run it again.")
    return "\n".join(lines)


def _told(moment: datetime) -> str:
    return f"{to_nairobi(moment):%Y-%m-%d %H:%M}"


def _listed(what: str, receipts: Sequence[str]) -> str:
    more = f" and {len(receipts) - _SHOWN} more, see --json" if len(receipts) > _SHOWN else ""
    return f"{len(receipts)} {what}: {', '.join(receipts[:_SHOWN])}{more}"
