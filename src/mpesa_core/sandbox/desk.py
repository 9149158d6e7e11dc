"""What all calls have in common: the request under way, the operator who signs it, and its acceptance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks, credentials
from mpesa_core.sandbox.behaviour import Behaviour
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Choices
from mpesa_core.sandbox.delivery import Courier, Posting
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Kind, Pocket
from mpesa_core.sandbox.mpesa import Mpesa
from mpesa_core.sandbox.orders import Order
from mpesa_core.sandbox.organisation import Organisation, Rules

__all__ = ["Call", "Desk", "Handler"]


@attrs.define(kw_only=True)
class Call:
    """A request under way, and what is to become of it."""

    api: Api | None
    version: str
    now: datetime
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    behaviour: Behaviour = attrs.field(factory=Behaviour)
    order: Order | None = None
    accepted: bool = False
    refusal: Refused | None = None
    response: HttpResponse | None = None
    early: list[Posting] = attrs.field(factory=list)


Handler = Callable[[Call], HttpResponse]
"""Checks a call, carries it out and answers it; raises Refused where it is not taken."""


class Desk:
    """Where calls are taken. Its methods are called with the courier's lock held.

    Args:
        mpesa: what is behind.
        courier: takes along what is posted.
        choices: the behaviours.
        organisations: by short code and till.
        rules: the house rules.

    Attributes:
        credential: the ready-made SecurityCredential that is accepted from everyone.
    """

    def __init__(
        self,
        mpesa: Mpesa,
        courier: Courier,
        choices: Choices,
        organisations: Mapping[str, Organisation],
        *,
        rules: Rules,
    ) -> None:
        self.credential = mpesa.identifiers.credential()
        self.mpesa = mpesa
        self.courier = courier
        self.choices = choices
        self.organisations = organisations
        self.rules = rules

    def operator(self, call: Call, name_field: str, code_field: str) -> tuple[Organisation, Ending | None]:
        """The organisation, and how whatever this operator asks ends: a wrong password is found out afterwards.

        Raises:
            Refused: a field is missing, or the short code is nobody's.
        """
        name = checks.matching(call.fields, name_field, r".{1,64}")
        credential = checks.matching(call.fields, "SecurityCredential", r"[A-Za-z0-9+/]{2,}={0,2}")
        organisation = self.organisations.get(checks.matching(call.fields, code_field, checks.SHORT_CODE))
        if organisation is None:
            raise checks.invalid(code_field)
        known = credential == self.credential
        if not known and credentials.can_decrypt():
            known = credentials.decrypt(credential) == organisation.initiator_password.encode()
        return organisation, None if known and name == organisation.initiator_name else Ending.WRONG_PIN

    def result_order(
        self,
        call: Call,
        organisation: Organisation,
        forced: Ending | None,
        *,
        originator: str = "",
        amount: Decimal = Decimal(0),
        phone: str = "",
        reference: str = "",
        kind: Kind | None = None,
        source: Pocket | None = None,
        target: Pocket | None = None,
        charge: Decimal = Decimal(0),
        counterparty: str = "",
    ) -> Order:
        """The order of a call whose outcome is posted to ResultURL.

        Raises:
            Refused: one of the two URLs is not accepted.
        """
        assert call.api is not None
        return Order(
            api=call.api,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=call.fields,
            timeout_url=checks.url(call.fields, "QueueTimeOutURL"),
            url=checks.url(call.fields, "ResultURL"),
            amount=amount,
            phone=phone,
            reference=reference,
            originator_conversation_id=originator or self.mpesa.identifiers.request_id(),
            conversation_id=self.mpesa.identifiers.conversation_id(call.now),
            kind=kind,
            source=source,
            target=target,
            charge=charge,
            counterparty=counterparty,
            forced=forced,
        )

    def check_originator(self, originator: str) -> None:
        """An OriginatorConversationID is used once.

        Raises:
            Refused: it was used.
        """
        if originator in self.mpesa.originators:
            raise Refused(500, "500.002.1001", "Duplicate OriginatorConversationID.")

    def accept(self, call: Call, order: Order) -> None:
        """Take an order on."""
        call.order = order
        call.early = self.mpesa.accept(order)

    def accept_result(self, call: Call, order: Order) -> HttpResponse:
        """Take an order on whose outcome is posted to ResultURL, and acknowledge it."""
        self.accept(call, order)
        description = bodies.ACCEPTED.rstrip(".") if order.api is Api.BALANCE else bodies.ACCEPTED
        return bodies.json_response(
            200,
            {
                "ConversationID": order.conversation_id,
                "OriginatorConversationID": order.originator_conversation_id,
                "ResponseCode": "0",
                "ResponseDescription": description,
            },
        )

    def limits(self, order: Order) -> None:
        """Below the minimum and above the limit, a payout to a customer is accepted and then fails."""
        if order.amount < self.rules.payout_minimum:
            order.overruled = (2, "Declined due to limit rule: less than the minimum transaction amount.")
        elif order.amount > self.rules.transaction_limit:
            order.overruled = (3, "Declined due to limit rule: greater than the maximum transaction amount.")
