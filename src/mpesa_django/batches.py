"""Several changes at once, each by compare-and-set, with few statements and in one transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from mpesa_django.several import Several
from mpesa_django.statements import Change

__all__ = ["NotTogether", "Pair", "change_all"]

Pair = tuple[Change | None, Change | None]
"""A change of a transaction, and one of a callback: one of them, or both together."""


class NotTogether(Exception):  # noqa: N818 - what is wrong is one of the operations, which says so by itself
    """One of the operations cannot be done along with the others."""


def change_all(
    connection: BaseDatabaseWrapper, transactions: Several, callbacks: Several, wanted: Mapping[int, Pair]
) -> dict[int, Any]:
    """Make those of the changes whose rows have what was expected still.

    Args:
        connection: to the database, with a transaction open.
        transactions: the rows of transactions.
        callbacks: the rows of callbacks.
        wanted: the changes.

    Returns:
        For each the transaction as it is now, or None; for one of a callback alone, whether it was changed.
    """
    rows = {index: each for index, (each, _) in wanted.items() if each is not None}
    calls = {index: each for index, (_, each) in wanted.items() if each is not None}
    # Transactions first, as where one is changed along with its callback: nobody waits in a circle.
    versions = transactions.lock(connection, "version", [each.row_id for each in rows.values()])
    attempts = callbacks.lock(connection, "next_attempt_at", [each.row_id for each in calls.values()])
    won = set()
    for index, pair in wanted.items():
        held = [(now, each) for now, each in zip((versions, attempts), pair, strict=True) if each is not None]
        if all(each.row_id in now and now[each.row_id] == each.expected for now, each in held):
            won.add(index)
            for now, each in held:
                del now[each.row_id]  # of two changes of one row, the first
    callbacks.change(connection, [each for index, each in calls.items() if index in won], read=False)
    now = transactions.change(connection, [each for index, each in rows.items() if index in won], read=True)
    changed = {index: now[each.row_id] if index in won else None for index, each in rows.items()}
    return {index: index in won for index in calls} | changed
