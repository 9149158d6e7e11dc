"""Questions about customers and businesses: Hakikisha, organisation info, IMSI and SIM swap.

Sources: the "IMSI" and "Swap" pages of Safaricom's portal; for Hakikisha and organisation info the copies of its 2026
pages in kepas-tech/daraja-js.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import ENDINGS, Api, Ending
from mpesa_core.values import to_nairobi

__all__ = ["PATHS", "Lookups"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/mpesa/b2c/hakikisha/v1/hakikisha": (Api.HAKIKISHA, "v1"),
    "/sfcverify/v1/query/info": (Api.ORGANISATION_INFO, "v1"),
    "/imsi/v1/checkATI": (Api.IMSI, "v1"),
    "/imsi/v2/checkATI": (Api.SIM_SWAP, "v2"),
}

_THREE_MONTHS: Final = timedelta(days=90)
_LONG_AGO: Final = date(1900, 1, 1)
"""What stands for more than three months ago."""


class Lookups:
    """Answers at once from what is known of customers and organisations."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {
            Api.HAKIKISHA: self._hakikisha,
            Api.ORGANISATION_INFO: self._organisation,
            Api.IMSI: self._imsi,
            Api.SIM_SWAP: self._imsi,
        }

    def _hakikisha(self, call: Call) -> HttpResponse:
        header, asked = _object(call.fields, "header"), _object(call.fields, "body")
        told = {
            "requestID": checks.matching(header, "requestID", r"\S{1,128}"),
            "timestamp": checks.matching(header, "timestamp", r"\d{10,13}"),
        }
        phone = checks.phone(asked, "msisdn")
        if checks.matching(asked, "shortcode", checks.SHORT_CODE) not in self._desk.organisations:
            raise checks.invalid("shortcode")
        if call.behaviour.ending is Ending.NOT_A_CUSTOMER:
            _, words = ENDINGS[Api.HAKIKISHA][Ending.NOT_A_CUSTOMER]
            refused = {**told, "status": "400", "message": "Error"}
            return bodies.json_response(400, {"header": refused, "body": {"message": words}})
        customer = self._desk.mpesa.customer(phone)
        names = {
            "firstName": customer.first_name,
            "middleName": _masked(customer.middle_name),
            "lastName": _masked(customer.last_name),
        }
        return bodies.json_response(200, {"header": {**told, "status": "200", "message": "Success"}, "body": names})

    def _organisation(self, call: Call) -> HttpResponse:
        kind = checks.one_of(call.fields, "IdentifierType", "2", "4")
        number = checks.matching(call.fields, "Identifier", checks.SHORT_CODE)
        found = self._desk.organisations.get(number)
        if found is not None and (kind == "2") != (number == found.till_number):
            found = None
        words = "Invalid Identifier"
        return bodies.json_response(
            200,
            {
                "ConversationID": self._desk.mpesa.identifiers.request_id(),
                "ResponseCode": "4000" if found else "1",
                "ResponseMessage": "Success" if found else words,
                "DetailedMessage": "Request received successfully" if found else words,
                "OrganizationShortCode": number if found else "",
                "OrganizationName": found.name if found else "",
                "ChargeProfileID": "20013" if found else "",
            },
        )

    def _imsi(self, call: Call) -> HttpResponse:
        phone = checks.phone(call.fields, "customerNumber")
        customer, today = self._desk.mpesa.customer(phone), to_nairobi(call.now).date()
        swap = customer.last_swap
        if swap is None or today - swap > _THREE_MONTHS:
            swap = _LONG_AGO
        told = {
            "requestRefID": self._desk.mpesa.identifiers.request_id(),
            "responseCode": "200",
            "responseDesc": "Success",
        }
        if call.api is Api.SIM_SWAP:
            return bodies.json_response(200, {**told, "lastSwapDate": f"{swap:%d-%m-%Y} 00:00"})
        digest = hashlib.sha256(f"{phone} {customer.last_swap}".encode()).hexdigest()
        found = {
            "imsi": f"{int(digest, 16) % 10**16:016}",
            "lastSwapDate": f"{swap:%d-%m-%Y}",
            "msisdnRegistrationDate": f"{customer.registered_on:%d-%m-%Y}",
            "customerNumber": phone,
        }
        return bodies.json_response(200, {**told, **found})


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    if not isinstance(found, Mapping):
        raise Refused(400, "400.002.05", "Invalid Request Payload")
    return found


def _masked(name: str) -> str:
    return f"{name[:1]}******" if name else ""
