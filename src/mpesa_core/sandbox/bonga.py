"""Lipa na Bonga: what points are worth, and payments with them.

Source: the copies of the portal's 2026 pages in kepas-tech/daraja-js.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Subject
from mpesa_core.sandbox.delivery import Posted
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api
from mpesa_core.values import to_nairobi

__all__ = ["PATHS", "Bonga"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/v1/lipa/na/bonga/calculate-points": (Api.BONGA_CALCULATE, "v1"),
    "/v1/lipa/na/bonga/redeem-paybill": (Api.BONGA_REDEEM, "v1"),
}


class Bonga:
    """Takes questions about points, and redemptions: the payment then comes in like any other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.BONGA_CALCULATE: self._calculate, Api.BONGA_REDEEM: self._redeem}

    def _calculate(self, call: Call) -> HttpResponse:
        points = self._field(call, "points", r"[1-9]\d{0,8}")
        rate = self._desk.rules.bonga_rate
        worth = {"amount": f"{(int(points) * rate).normalize():f}", "points": points, "rate": f"{rate:f}"}
        header = self._header(call, 200, "Success", "Request executed successfully.")
        return bodies.json_response(200, {"header": header, "body": worth})

    def _redeem(self, call: Call) -> HttpResponse:
        desk = self._desk
        phone = self._field(call, "msisdn", r"254[17]\d{8}")
        amount = Decimal(self._field(call, "amount", r"[1-9]\d{0,8}"))
        self._field(call, "bongaPoints", r"[1-9]\d{0,8}")
        rate = call.fields.get("conversionRate")
        if isinstance(rate, bool) or not isinstance(rate, (int, Decimal)) or rate <= 0:
            raise self._refused(call, 6006, "conversionRate is missing or invalid")
        code = self._field(call, "shortCode", checks.SHORT_CODE)
        organisation = desk.organisations.get(code)
        if organisation is None or organisation.short_code != code:
            raise self._refused(call, 6005, "shortCode is not one of this application")
        account = self._field(call, "accountNumber", r".{1,20}")
        subject = Subject(phone=phone, amount=amount, reference=account, short_code=code)
        behaviour = call.behaviour

        def pay(at: datetime) -> list[Posted]:
            first_name = desk.mpesa.customer(phone).first_name
            return desk.mpesa.take_c2b(
                organisation, at, subject, till=False, first_name=first_name, behaviour=behaviour
            )[1]

        wait = desk.rules.decide_after if behaviour.after is None else behaviour.after
        desk.courier.outbox.step(call.now + timedelta(seconds=wait), pay)
        header = self._header(call, 200, "Operation Successfully.", "Operation Successfully.")
        return bodies.json_response(200, {"header": header, "body": None})

    def _field(self, call: Call, name: str, pattern: str) -> str:
        try:
            return checks.matching(call.fields, name, pattern)
        except Refused:
            raise self._refused(call, 6006, f"{name} is missing or invalid") from None

    def _refused(self, call: Call, code: int, words: str) -> Refused:
        body = {"header": self._header(call, code, words, words), "body": None}
        return Refused(200, str(code), words, body=body)

    def _header(self, call: Call, code: int, message: str, for_customers: str) -> dict[str, Any]:
        return {
            "requestRefId": self._desk.mpesa.identifiers.request_id(),
            "responseCode": code,
            "responseMessage": message,
            "customerMessage": for_customers,
            "timestamp": to_nairobi(call.now).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        }
