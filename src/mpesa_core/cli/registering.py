"""``mpesa register-urls``: where M-PESA reports payments that customers start."""

from __future__ import annotations

import click

from mpesa_core.cli.place import Place, at_a_place

__all__ = ["register_urls"]


@click.command("register-urls", short_help="Tell M-PESA where to report C2B payments.")
@at_a_place
@click.option("--account", default="default", show_default=True, help="The account of the settings.")
@click.option(
    "--response-type",
    default="Completed",
    show_default=True,
    type=click.Choice(["Completed", "Cancelled"]),
    help="What M-PESA does with a payment when the validation URL does not answer.",
)
@click.option(
    "--api-version",
    default="2",
    show_default=True,
    type=click.Choice(["1", "2"]),
    help="With 1, customers' numbers come as hashes.",
)
def register_urls(place: Place, account: str, response_type: str, api_version: str) -> None:
    """Tell M-PESA where to report payments that customers start (C2B)."""
    with place.open() as gateway:
        gateway.account(account).register_urls(response_type=response_type, version=int(api_version))
    click.echo(f"Registered the URLs of the account {account}.")
