"""What invoices and subscriptions still have to announce.

A transaction settles seldom enough that nothing settles while its last settlement is unannounced. An invoice may be
sent, paid in parts and voided within a second, and its owner's calls must not wait for a receiver; so each of these
rows carries its signals with it, in ``unannounced``, numbered by the generation that each began. The change that makes
something of a row also puts its signal there: no crash can come between them. Whoever holds the row's fence
(``announce_until``) delivers them in order and takes each off when it went out, also those that were added meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import attrs

__all__ = ["DueRecord", "DueSignal", "announced", "first_signal", "with_signal"]


class DueRecord(Protocol):
    """What the rows of invoices and subscriptions have in common."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - documented on the records
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def generation(self) -> int: ...  # noqa: D102
    @property
    def unannounced(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def announce_until(self) -> datetime | None: ...  # noqa: D102


@attrs.frozen
class DueSignal:
    """A signal that is to be delivered.

    Attributes:
        generation: which of the row's.
        signal: its name.
        transaction_id: the payment that it is about, where it is about one.
    """

    generation: int
    signal: str
    transaction_id: UUID | None = None


def with_signal(
    row: DueRecord, signal: str, now: datetime, *, transaction_id: UUID | None = None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The changes, with a signal to announce them.

    The fence is put up as one that has lapsed: whoever comes first claims it. One that is up already stays with its
    holder, who will find this signal too.
    """
    generation = int(changes.get("generation", row.generation)) + 1
    entry = {"signal": signal}
    if transaction_id is not None:
        entry["transaction"] = str(transaction_id)
    earlier = changes.get("unannounced", row.unannounced)
    return {
        **changes,
        "generation": generation,
        "unannounced": {**earlier, str(generation): entry},
        "announce_until": row.announce_until or now,
    }


def first_signal(row: DueRecord) -> DueSignal | None:
    """The oldest signal that a row has to announce; None where everything is announced."""
    if not row.unannounced:
        return None
    number = min(row.unannounced, key=int)
    entry = row.unannounced[number]
    payment = entry.get("transaction")
    return DueSignal(int(number), entry["signal"], UUID(payment) if payment else None)


def announced(row: DueRecord, generation: int, until: datetime) -> dict[str, Any] | None:
    """The changes that mark a generation announced, and take the fence down where it was the last.

    Args:
        row: as it is now.
        generation: whose signal went out.
        until: how long the fence stays up for the signals that are left.

    Returns:
        None where somebody else has marked it.
    """
    if str(generation) not in row.unannounced:
        return None
    left = {number: entry for number, entry in row.unannounced.items() if number != str(generation)}
    return {"unannounced": left, "announce_until": until if left else None}
