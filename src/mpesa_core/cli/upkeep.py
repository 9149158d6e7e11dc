"""``mpesa worker``, ``recover``, ``reconcile``, ``replay`` and ``announce``: nothing is left half done."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import click

from mpesa_core.cli.place import Place, at_a_place, firing_signals, identifier
from mpesa_core.cli.pulling import or_pull
from mpesa_core.cli.stopping import Stop
from mpesa_core.cli.telling import told_row, told_verdict
from mpesa_core.gateway import Gateway
from mpesa_core.outline import outline
from mpesa_core.settlement.reconciliation import Reconciled
from mpesa_core.settlement.recovery import Recovered

__all__ = ["announce", "reconcile", "recover", "replay", "worker"]


@click.command(short_help="Recover and reconcile until stopped.")
@at_a_place
@firing_signals
@click.option(
    "--interval", type=click.FloatRange(min=0.1), help="Seconds between sweeps; by default MPESA_SWEEP_INTERVAL."
)
@click.option("--once", is_flag=True, help="One sweep, then exit.")
def worker(place: Place, interval: float | None, *, once: bool) -> None:
    """Recover and reconcile until stopped, by Ctrl-C or SIGTERM.

    Any number of workers may run at once, beside your program or instead of its own sweeps.
    """
    with place.open(fires=True, make=True) as gateway, Stop() as stop:
        if once:
            click.echo(_told_sweep(*gateway.sweep()))
            return
        pause = interval or gateway.settings.sweep_interval
        click.echo(f"Sweeping {place} every {pause:g} seconds; Ctrl-C ends it.")
        while True:
            _sweep(gateway)
            if stop.wait(pause):
                click.echo("Stopped.")
                return


def _sweep(gateway: Gateway) -> None:
    now = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - the operator's own clock
    try:
        recovered, reconciled = gateway.sweep()
    except Exception as error:  # noqa: BLE001 - a repository may raise anything, and the next sweep may do
        click.echo(f"{now}  A sweep failed and will be tried again: {outline(error)}", err=True)
    else:
        if recovered or reconciled:
            click.echo(f"{now}  {_told_sweep(recovered, reconciled)}")


def _told_sweep(recovered: Recovered, reconciled: Reconciled) -> str:
    return f"{_told_recovery(recovered)}; {_told_reconciliation(reconciled)}"


def _told_recovery(done: Recovered) -> str:
    dues = f", {done.dues} invoices and subscriptions seen to" if done.dues else ""
    return f"{done.callbacks} callbacks processed, {done.announced} announced late, {done.unsent} never sent{dues}"


def _told_reconciliation(done: Reconciled) -> str:
    return f"{done.asked} asked about, {done.settled} settled, {done.expired} timed out"


@click.command(short_help="Go on from what a process left open.")
@at_a_place
@firing_signals
def recover(place: Place) -> None:
    """Go on from whatever a process left open: open callbacks, unannounced settlements, the spool."""
    with place.open(fires=True) as gateway:
        click.echo(_told_recovery(gateway.recover()))


@click.command(short_help="Ask M-PESA about what never came.")
@at_a_place
@firing_signals
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(min=1), help="How many transactions at the most."
)
@or_pull
def reconcile(place: Place, limit: int) -> None:
    """Ask M-PESA about what is due, and conclude what has run out of time.

    With --from: find payments whose confirmation never came in M-PESA's own list, and settle them.
    """
    with place.open(fires=True) as gateway:
        click.echo(_told_reconciliation(gateway.reconcile(limit)))


@click.command(short_help="Process a recorded callback again.")
@at_a_place
@firing_signals
@click.argument("callback_id", callback=identifier)
def replay(place: Place, callback_id: UUID) -> None:
    """Process a recorded callback again; a settled transaction is not settled twice."""
    with place.open(fires=True) as gateway:
        verdict = gateway.replay(callback_id)
    if verdict is None:
        raise click.ClickException("Another worker has that callback at this moment; try again.")
    click.echo(told_verdict(verdict))


@click.command(short_help="Fire a settled transaction's signals again.")
@at_a_place
@firing_signals
@click.argument("transaction_id", callback=identifier)
def announce(place: Place, transaction_id: UUID) -> None:
    """Fire a settled transaction's signals again, for a receiver that was mended."""
    with place.open(fires=True) as gateway:
        click.echo(f"announced: {told_row(gateway.announce(transaction_id))}")
