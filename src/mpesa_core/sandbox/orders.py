"""What Daraja has accepted and M-PESA will decide on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.sandbox.behaviour import Behaviour
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Kind, Pocket
from mpesa_core.sandbox.organisation import Organisation

__all__ = ["Order", "StandingOrder"]


@attrs.frozen(kw_only=True)
class StandingOrder:
    """A standing order that a customer agreed to.

    Attributes:
        id: M-PESA's id of the schedule, which the callback told.
        name: unique for the customer.
        phone: the customer.
        short_code: the organisation (for a till: its store number).
        till: whether its till is paid.
        amount: shillings, each time.
        reference: the account reference.
        frequency: Daraja's number, of the edition.
        edition: "2025" or "2026".
        start, end: the first and the last day.
    """

    id: str
    name: str
    phone: str = attrs.field(repr=False)
    short_code: str
    till: bool
    amount: Decimal
    reference: str
    frequency: str
    edition: str
    start: date
    end: date


@attrs.define(kw_only=True, eq=False)
class Order:
    """Something that Daraja accepted and will decide on.

    Attributes:
        api: which call.
        organisation: whose.
        behaviour: what becomes of it.
        at: when it was accepted.
        fields: the request.
        url, timeout_url: where its callback, and the notice of a queue timeout, go.
        amount, phone, reference: in shillings; the customer's, or ""; the account reference, or what else names it.
        merchant_request_id, checkout_request_id, originator_conversation_id, conversation_id: its identifiers.
        request_id: the caller's own, where the product has one.
        kind, source, target, charge, counterparty: the movement that it asks for; see :meth:`Ledger.transfer`.
        standing_order: the standing order that it asks for.
        forced, overruled: an ending, or a code with its words, that no behaviour changes.
        code, description, receipt, parameters, decided_at: the decision.
        queries: how many STK queries asked about it.
    """

    api: Api
    organisation: Organisation
    behaviour: Behaviour
    at: datetime
    fields: Mapping[str, Any] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    timeout_url: str = attrs.field(default="", repr=False)
    amount: Decimal = Decimal(0)
    phone: str = attrs.field(default="", repr=False)
    reference: str = ""
    merchant_request_id: str = ""
    checkout_request_id: str = attrs.field(default="", repr=False)
    request_id: str = ""
    originator_conversation_id: str = ""
    conversation_id: str = ""
    kind: Kind | None = None
    source: Pocket | None = None
    target: Pocket | None = None
    charge: Decimal = Decimal(0)
    counterparty: str = ""
    standing_order: StandingOrder | None = None
    forced: Ending | None = None
    overruled: tuple[int | str, str] | None = None
    code: int | str | None = None
    description: str = ""
    receipt: str = ""
    parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    decided_at: datetime | None = None
    queries: int = 0
