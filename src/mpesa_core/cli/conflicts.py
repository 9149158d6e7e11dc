"""``mpesa conflicts``: what contradicts what is known, and what a person decides about it."""

from __future__ import annotations

from uuid import UUID

import click

from mpesa_core.cli.place import Place, at_a_place, firing_signals, identifier
from mpesa_core.cli.telling import told_row
from mpesa_core.payments.records import CallbackRecord

__all__ = ["conflicts"]


@click.group(invoke_without_command=True, short_help="List contradictions, accept or dismiss them.")
@at_a_place
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="How many at the most.")
@click.pass_context
def conflicts(context: click.Context, place: Place, limit: int) -> None:
    """List the callbacks that contradict what is known, for a person to accept or dismiss."""
    if context.invoked_subcommand is not None:
        return
    with place.open() as gateway:
        found = gateway.conflicts(limit)
        if not found:
            click.echo("No open conflicts.")
            return
        for callback in found:
            owner = callback.related_transaction_id
            row = gateway.repository.get(owner) if owner is not None else None
            click.echo(_told(callback, told_row(row) if row is not None else "none"))
    if len(found) == limit:
        click.echo(f"There may be more than {limit}; see --limit.\n")
    click.echo(f"{context.command_path} accept ID    settles by what it says")
    click.echo(f"{context.command_path} dismiss ID   leaves everything as it is")


def _told(callback: CallbackRecord, row: str) -> str:
    return (
        f"callback     {callback.id}\n"
        f"received     {callback.received_at:%Y-%m-%d %H:%M} UTC, {callback.callback_type}\n"
        f"transaction  {row}\n"
        f"problem      {callback.error or 'not told'}\n"
    )


@conflicts.command()
@at_a_place
@firing_signals
@click.argument("callback_id", callback=identifier)
@click.option(
    "--transaction",
    callback=lambda context, parameter, value: None if value is None else identifier(context, parameter, value),
    metavar="ID",
    help="Which transaction it is about, where it belongs to none or to several.",
)
def accept(place: Place, callback_id: UUID, transaction: UUID | None) -> None:
    """Settle by what a conflicting callback says."""
    with place.open(fires=True) as gateway:
        click.echo(f"accepted: {told_row(gateway.accept(callback_id, transaction=transaction))}")


@conflicts.command()
@at_a_place
@click.argument("callback_id", callback=identifier)
def dismiss(place: Place, callback_id: UUID) -> None:
    """Resolve a conflict without effect."""
    with place.open() as gateway:
        gateway.dismiss(callback_id)
    click.echo(f"dismissed: callback {callback_id}")
