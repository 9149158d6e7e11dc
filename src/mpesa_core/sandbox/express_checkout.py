"""B2B express checkout: another business is prompted, at its till's nominated number, to pay a paybill.

Source: the "B2B Express Checkout" page of Safaricom's portal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api
from mpesa_core.sandbox.ledger import Kind, Pocket
from mpesa_core.sandbox.orders import Order

__all__ = ["PATHS", "ExpressCheckouts"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {"/v1/ussdpush/get-msisdn": (Api.EXPRESS_CHECKOUT, "v1")}


class ExpressCheckouts:
    """Takes express checkouts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.EXPRESS_CHECKOUT: self._prompt}

    def _prompt(self, call: Call) -> HttpResponse:
        fields, desk = call.fields, self._desk
        payer = checks.matching(fields, "primaryShortCode", checks.SHORT_CODE)
        receiver = checks.matching(fields, "receiverShortCode", checks.SHORT_CODE)
        organisation = desk.organisations.get(receiver)
        if organisation is None or organisation.short_code != receiver:
            raise checks.invalid("receiverShortCode")
        amount = checks.amount(fields, "amount")
        reference = checks.matching(fields, "paymentRef", r".{1,50}")
        url = checks.url(fields, "callbackUrl")
        checks.matching(fields, "partnerName", r".{1,50}")
        request_id = checks.matching(fields, "RequestRefID", r"\S{1,128}")
        known = desk.organisations.get(payer)
        order = Order(
            api=Api.EXPRESS_CHECKOUT,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=fields,
            url=url,
            amount=amount,
            reference=reference,
            request_id=request_id,
            originator_conversation_id=desk.mpesa.identifiers.request_id(),
            conversation_id=desk.mpesa.identifiers.conversation_id(call.now),
            kind=Kind.EXPRESS_CHECKOUT,
            source=None if known is None else Pocket(known.short_code, "working"),
            target=Pocket(organisation.short_code),
            counterparty=payer,
        )
        desk.accept(call, order)
        return bodies.json_response(200, {"code": "0", "status": "USSD Initiated Successfully"})
