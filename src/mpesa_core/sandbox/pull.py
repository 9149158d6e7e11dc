"""Pull transactions: what came in within the last 48 hours, from the ledger.

Source: the "Pull Transactions" page of Safaricom's portal; the size of a page from kepas-tech/daraja-js.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api
from mpesa_core.sandbox.ledger import Entry, Kind
from mpesa_core.sandbox.organisation import Organisation
from mpesa_core.values import NAIROBI, to_nairobi

__all__ = ["PATHS", "Pull"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/pulltransactions/v1/register": (Api.PULL_REGISTER, "v1"),
    "/pulltransactions/v1/query": (Api.PULL_QUERY, "v1"),
}

_WINDOW: Final = timedelta(hours=48)
_PAGE: Final = 100
_MOMENT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d{1,2}):(\d\d)(?::(\d\d)\d*)?", re.ASCII)
"""``2020-08-16 10:10:000`` is an official sample's."""


class Pull:
    """Registers short codes, and lists their payments.

    Attributes:
        registered: the short codes.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.registered: set[str] = set()
        self.calls: Mapping[Api, Handler] = {Api.PULL_REGISTER: self._register, Api.PULL_QUERY: self._query}

    def _organisation(self, call: Call) -> Organisation:
        code = checks.text(call.fields, "ShortCode")
        organisation = self._desk.organisations.get(code)
        if organisation is None or organisation.short_code != code:
            raise Refused(400, "400.001", "Bad Request - Invalid ShortCode")
        return organisation

    def _register(self, call: Call) -> HttpResponse:
        fields, code = call.fields, self._organisation(call).short_code
        checks.one_of(fields, "RequestType", "Pull")
        checks.matching(fields, "NominatedNumber", r"(254|0)[17]\d{8}")
        checks.url(fields, "CallBackURL")
        told = {"ResponseRefID": self._desk.mpesa.identifiers.request_id()}
        if code in self.registered:
            # Keys with a space in them, as in the only published answer of this kind.
            words = "ShortCode already Registered"
            told |= {"Response Status": "1001", "ShortCode": code, "Response Description": words}
            return bodies.json_response(200, told)
        self.registered.add(code)
        words = "Shortcode Registered Successfully"
        told |= {"ResponseStatus": "1000", "ShortCode": code, "ResponseDescription": words}
        return bodies.json_response(200, told)

    def _query(self, call: Call) -> HttpResponse:
        fields, organisation = call.fields, self._organisation(call)
        if organisation.short_code not in self.registered:
            raise Refused(400, "400.001", "Bad Request - Invalid ShortCode")
        start, end = _moment(fields, "StartDate"), _moment(fields, "EndDate")
        if end < start:
            raise checks.invalid("EndDate")
        offset = int(checks.matching(fields, "OffSetValue", r"\d{1,9}"))
        start = max(start, call.now - _WINDOW)
        found = [
            entry
            for entry in self._desk.mpesa.ledger.entries
            if entry.kind in (Kind.C2B, Kind.STK_PUSH)
            and entry.short_code == organisation.short_code
            and start <= entry.at.replace(microsecond=0) <= end
        ]
        rows = [self._row(entry, organisation) for entry in found[offset : offset + _PAGE]]
        return bodies.json_response(
            200,
            {
                "ResponseRefID": self._desk.mpesa.identifiers.request_id(),
                "ResponseCode": "1000" if rows else "1001",
                "ResponseMessage": "Success" if rows else "Null",
                "Response": [rows],
            },
        )

    def _row(self, entry: Entry, organisation: Organisation) -> dict[str, Any]:
        masked = self._desk.rules.mask_pulled_phone
        return {
            "transactionId": entry.receipt,
            "trxDate": f"{to_nairobi(entry.at):%Y-%m-%dT%H:%M:%SZ}",  # local time, whatever the Z says
            "msisdn": bodies.masked_phone(entry.phone) if masked else int(entry.phone),
            "sender": "MPESA",
            "transactiontype": "c2b-pay-bill-debit",
            "billreference": entry.reference,
            "amount": f"{entry.amount:.2f}",
            "organizationname": organisation.name,
        }


def _moment(fields: Mapping[str, Any], field: str) -> datetime:
    found = _MOMENT.fullmatch(checks.text(fields, field))
    if found is None:
        raise checks.invalid(field)
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=NAIROBI)
    except ValueError:
        raise checks.invalid(field) from None
    return local.astimezone(UTC)
