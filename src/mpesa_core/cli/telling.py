"""How things are told: paragraphs beside their headings, rows and verdicts as one line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from rich.text import Text

from mpesa_core.payments.records import TransactionRecord
from mpesa_core.settlement.engine import Applied, Closed, Postponed, Verdict

__all__ = ["beside", "listed", "told_row", "told_verdict"]

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
