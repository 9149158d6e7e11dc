"""How things are told: paragraphs beside their headings, rows and verdicts as one line."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence

from rich.text import Text

from mpesa_core.payments.records import TransactionRecord
from mpesa_core.settlement.engine import Applied, Closed, Postponed, Verdict

__all__ = ["beside", "columned", "listed", "told_row", "told_verdict"]

_NARROWEST = 20


def beside(heading: Text, paragraph: str, width: int) -> Text:
    """A paragraph beside its heading, in so many columns; whatever has no blank (an id, a URL) stays whole."""
    room = max(_NARROWEST, width - len(heading))
    lines = [
        wrapped
        for line in paragraph.splitlines()
        for wrapped in textwrap.wrap(line.strip(), room, break_long_words=False, break_on_hyphens=False)
    ]
    return Text.assemble(heading, f"\n{' ' * len(heading)}".join(lines))


def listed(told: Mapping[str, str], width: int) -> Text:
    """Names with what is told of each, one below the other; what is empty is left out."""
    longest = max(map(len, told))
    paragraphs = [
        beside(Text(f"{name:<{longest}}  ", style="bold"), text, width) for name, text in told.items() if text
    ]
    return Text("\n").join(paragraphs)


def columned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """A table as lines, never cut or wrapped: a reader of figures would rather scroll.

    Args:
        rows: of as many cells each.
        right: the numbers of the columns that are flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [
        [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return ["  ".join(row).rstrip() for row in cells]


def told_row(row: TransactionRecord) -> str:
    """A transaction: what it is, how it stands, and its id."""
    receipt = f", receipt {row.mpesa_receipt_number}" if row.mpesa_receipt_number else ""
    return f"{row.transaction_type} of {row.amount:,.2f} shillings is {row.status}{receipt} (transaction {row.id})"


def told_verdict(verdict: Verdict) -> str:
    """What became of a callback."""
    match verdict:
        case Applied(row=row):
            return f"applied: {told_row(row)}"
        case Postponed(until=until, unmatched=unmatched, error=error):
            why = error or ("it matches no transaction yet" if unmatched else "its transaction has to wait")
            return f"put back until {until:%Y-%m-%d %H:%M:%S} UTC: {why}"
        case Closed(disposition=disposition, row=row, error=error):
            return ": ".join(filter(None, [str(disposition), error, told_row(row) if row is not None else None]))
