"""The timeline of a transaction: when it was asked for, what M-PESA said, when it settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
from django.apps import apps
from django.db import router
from django.db.models import Q

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.payments.records import TransactionRecord
from mpesa_django.admin.showing import badge, body
from mpesa_django.conf import configuration

__all__ = ["MOST", "Moment", "became", "callback_model", "callbacks_of", "moment_of", "timeline"]

MOST = 100
"""How many callbacks a timeline shows."""


@attrs.frozen(kw_only=True)
class Moment:
    """One entry.

    Attributes:
        at: when.
        title: what.
        said: in a sentence, or "".
        problem: why it was not applied, or "".
        badge: what became of it, as HTML, or "".
        body: of a callback, or "".
        pk: of a callback's row, or None.
    """

    at: datetime
    title: str
    said: str = ""
    problem: str = ""
    badge: str = ""
    body: str = ""
    pk: Any = None


def callback_model() -> Any:
    """The model of the callback log."""
    return apps.get_model(configuration().callback_log_model or "")


def callbacks_of(row: TransactionRecord) -> list[Any]:
    """Its callbacks, oldest first: those related to it, and those that name its token or an id. One more than MOST."""
    named = (row.checkout_request_id, row.conversation_id, row.originator_conversation_id)
    found = Q(related_transaction_id=row.id) | Q(correlation_id__in=[each for each in named if each])
    if row.callback_token:
        found |= Q(token=row.callback_token)
    model = callback_model()
    rows = model._base_manager.using(router.db_for_write(model))  # noqa: SLF001 - hides no row, from no replica
    return list(rows.filter(found).order_by("received_at", "pk")[: MOST + 1])


def timeline(row: TransactionRecord, callbacks: Sequence[Any]) -> list[Moment]:
    """Everything in the order of time."""
    moments = [Moment(at=row.initiated_at, title="Recorded"), *map(moment_of, callbacks[:MOST])]
    if row.settled_at is not None:
        moments.append(Moment(at=row.settled_at, title="Settled"))
    if row.announce_until is not None and row.settled_at is not None:
        said = "Its signals have not all been delivered yet."
        moments.append(Moment(at=row.announce_until, title="To be announced by", said=said))
    return sorted(moments, key=lambda moment: moment.at)


def moment_of(callback: Any) -> Moment:
    """A callback's entry: what it says, and what became of it."""
    message = decode_callback(CallbackType(callback.callback_type), bytes(callback.raw_bytes))
    facts = [
        str(message.outcome).capitalize(),
        f"{message.amount:,.2f} shillings" if message.amount is not None else None,
        f"receipt {message.receipt_number}" if message.receipt_number else None,
        f"“{message.result_desc}”" if message.result_desc else None,
    ]
    said = ", ".join(fact for fact in facts if fact)
    return Moment(
        at=callback.received_at,
        title=callback.callback_type,
        said=said,
        problem=callback.error or "",
        badge=became(callback),
        body=body(callback),
        pk=callback.pk,
    )


def became(callback: Any) -> str:
    """What became of a callback, as a badge."""
    state = callback.disposition or "open"
    resolved = ", resolved" if callback.resolved_at is not None else ""
    return badge(state, f"{state.capitalize()}{resolved}")
