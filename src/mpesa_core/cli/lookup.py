"""``mpesa decode`` and ``mpesa explain``: what M-PESA said, and what it means."""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

import click
from rich.console import Console
from rich.text import Text

from mpesa_core.cli.decoding import body_of, described
from mpesa_core.cli.telling import listed
from mpesa_core.daraja.callbacks import CallbackType, Unreadable, decode_callback
from mpesa_core.daraja.codes import Explanation, Family, explain

__all__ = ["decode", "explain_code"]

_TYPES = click.Choice([each.value for each in CallbackType], case_sensitive=False)
_FAMILIES = click.Choice([each.value for each in Family], case_sensitive=False)


@click.command(short_help="Say what a stored callback says, as JSON.")
@click.argument("file", type=click.File("rb", lazy=True))
@click.option(
    "--type",
    "callback_type",
    required=True,
    type=_TYPES,
    metavar="TYPE",
    help=f"Which callback it is, by the URL that it came on: {', '.join(_TYPES.choices)}.",
)
def decode(file: BinaryIO, callback_type: str) -> None:
    """Say as JSON what a stored callback says.

    FILE holds its body, or - for standard input. The JSON is plain ASCII on standard output, phone numbers included.
    Exit status 1 when the body cannot be read as that type.
    """
    message = decode_callback(CallbackType(callback_type), body_of(file.read()))
    click.echo(json.dumps(described(message), indent=2))
    if isinstance(message, Unreadable):
        sys.exit(1)


@click.command(name="explain", short_help="Tell what a result or error code means.")
@click.argument("code")
@click.option(
    "--product",
    type=_FAMILIES,
    metavar="PRODUCT",
    help=f"Where the code means different things: {', '.join(_FAMILIES.choices)}.",
)
def explain_code(code: str, product: str | None) -> None:
    """Tell what a result or error CODE means, whose turn it is and what to tell the customer."""
    console = Console(highlight=False)
    meaning = explain(code, Family(product) if product else None)
    console.print(_told(meaning, console.width), soft_wrap=True)
    products = [family for other in meaning.others for family in other.families]
    if products:
        console.print(f"\nFor one product alone, say --product {', '.join(products)}.", soft_wrap=True)
        return
    for other in meaning.others:  # of an error, whose message decides
        console.print()
        console.print(_told(other, console.width), soft_wrap=True)


def _told(meaning: Explanation, width: int) -> Text:
    told = {
        "code": str(meaning.code),
        "product": ", ".join(meaning.families),
        "meaning": meaning.meaning,
        "outcome": str(meaning.outcome) if meaning.outcome is not None else "none: it is no payment's result",
        "whose turn": str(meaning.turn) if meaning.turn is not None else "nobody's: it is done",
        "what to do": meaning.remedy,
        "to the customer": meaning.customer_message,
        "in Swahili": meaning.customer_message_sw,
        "source": meaning.source + ("" if meaning.certain else " (uncertain)"),
    }
    return listed(told, width)
