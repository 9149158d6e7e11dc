"""M-PESA Ratiba: standing orders that a customer agrees to on the phone.

Source: the "M-PESA Ratiba" page of Safaricom's portal, as it was to 2025 and as SDKs have it since 2026; the envelope
of its refusals is that of a capture.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api
from mpesa_core.sandbox.orders import Order, StandingOrder

__all__ = ["PATHS", "StandingOrders"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/standingorder/v1/createStandingOrderExternal": (Api.STANDING_ORDER, "v1")
}

_TYPES: Final[Mapping[str, tuple[str, bool]]] = {
    "Standing Order Customer Pay Bill": ("2025", False),
    "Standing Order Customer Pay Marchant": ("2025", True),
    "Standing Order Customer Pay Merchant": ("2025", True),
    "Standing Order Pay Bill Ext-Third Party": ("2026", False),
    "Standing Order Merchant Payment Ext-Third Party": ("2026", True),
}
"""The edition of each transaction type, and whether a till is paid."""

_MOST_FREQUENCY: Final = {"2025": 8, "2026": 9}
_OWN_CODE: Final = "Value in field 'BusinessShortCode' can only be what was issued for this application"


class StandingOrders:
    """Takes standing orders."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.STANDING_ORDER: self._create}

    def _create(self, call: Call) -> HttpResponse:
        try:
            order = self._order(call)
        except Refused as refused:
            raise self._in_its_envelope(call, refused) from None
        self._desk.accept(call, order)
        accepted = "Request accepted for processing"
        return bodies.json_response(
            200,
            {
                "ResponseHeader": {
                    "responseRefID": order.conversation_id,
                    "responseCode": "200",
                    "responseDescription": accepted,
                    "ResultDesc": "The service request is processed successfully.",
                },
                "ResponseBody": {"responseDescription": accepted, "responseCode": "200"},
            },
        )

    def _order(self, call: Call) -> Order:
        fields, mpesa = call.fields, self._desk.mpesa
        name = checks.matching(fields, "StandingOrderName", r"[A-Za-z0-9 ._/\-]{1,100}")
        start, end = _day(fields, "StartDate"), _day(fields, "EndDate")
        if end < start:
            raise checks.invalid("EndDate")
        code = checks.matching(fields, "BusinessShortCode", checks.SHORT_CODE)
        edition, till = _TYPES[checks.one_of(fields, "TransactionType", *_TYPES)]
        organisation = self._desk.organisations.get(code)
        if organisation is None:
            raise Refused(400, "400", _OWN_CODE)
        if code != (organisation.till_number if till else organisation.short_code):
            raise checks.invalid("TransactionType")
        checks.one_of(fields, "ReceiverPartyIdentifierType", "2" if till else "4")
        amount = checks.amount(fields)
        phone = checks.phone(fields, "PartyA")
        url = checks.url(fields, "CallBackURL")
        reference = checks.words(fields, "AccountReference", longest=12)
        checks.words(fields, "TransactionDesc", longest=13)
        frequency = checks.matching(fields, "Frequency", f"[1-{_MOST_FREQUENCY[edition]}]")
        own_id = ""
        if edition == "2026" and "CustomStoId" in fields:
            own_id = checks.matching(fields, "CustomStoId", r"\S{1,128}")
        return Order(
            api=Api.STANDING_ORDER,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=fields,
            url=url,
            amount=amount,
            phone=phone,
            reference=reference,
            request_id=own_id or mpesa.identifiers.request_id(),
            conversation_id=mpesa.identifiers.request_id(),
            standing_order=StandingOrder(
                id="",
                name=name,
                phone=phone,
                short_code=organisation.short_code,
                till=till,
                amount=amount,
                reference=reference,
                frequency=frequency,
                edition=edition,
                start=start,
                end=end,
            ),
        )

    def _in_its_envelope(self, call: Call, refused: Refused) -> Refused:
        field = refused.message.rpartition(" Invalid ")[2]
        words = refused.message if refused.message == _OWN_CODE else f"Value in field '{field}' is invalid"
        body = {
            "requestRefId": self._desk.mpesa.identifiers.request_id(),
            "responseMessage": words,
            "responseCode": 400,
            "timestamp": f"{call.now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        return Refused(400, "400", words, body=body)


def _day(fields: Mapping[str, Any], field: str) -> date:
    value = checks.matching(fields, field, r"\d{8}")
    try:
        return datetime.strptime(value, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise checks.invalid(field) from None
