"""The IoT SIM portal: every call is answered with success, in the one form that is published.

Source: the "IoT SIM Management" page of Safaricom's portal, which shows the answer of few calls; the others get its
envelope, and no particulars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api
from mpesa_core.values import to_nairobi

__all__ = ["PATHS", "Iot"]

_OF_ONE_SIM: Final = ("queryLifeCycleStatus", "querycustomerinfo", "simactivation", "suspend_unsuspend_sub")
_OTHERS: Final = (
    "allsims",
    "getactivationtrends",
    "renameasset",
    "searchmessages",
    "filtermessages",
    "getallmessages",
    "sendsinglemessage",
    "deletemessage",
    "deleteMessageThread",
)

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    f"/simportal/v1/{name}": (Api.IOT, name) for name in (*_OF_ONE_SIM, *_OTHERS)
}
"""The last part of the path stands where others have a version."""


class Iot:
    """Answers for the SIM cards of machines."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.IOT: self._answer}

    def _answer(self, call: Call) -> HttpResponse:
        if call.version in _OF_ONE_SIM and not checks.text(call.fields, "msisdn"):
            words = "Bad Request - Invalid msisdn"
            raise Refused(400, "400", words, body={"header": self._header(call, 400, words, words), "body": None})
        done: dict[str, Any] = {"desc": "Operation successfull", "statusCode": "0"}
        if call.version == "queryLifeCycleStatus":
            done["status"] = "Active"
        header = self._header(call, 200, "Success", "Operation Successfull")
        return bodies.json_response(200, {"header": header, "body": done})

    def _header(self, call: Call, code: int, message: str, for_people: str) -> dict[str, Any]:
        return {
            "requestRefId": self._desk.mpesa.identifiers.request_id(),
            "responseCode": code,
            "responseMessage": message,
            "customerMessage": for_people,
            "timestamp": to_nairobi(call.now).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        }
