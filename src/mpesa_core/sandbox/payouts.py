"""Payouts to customers: the ordinary one, to a Pochi la Biashara, and with an identity check.

Sources: the "Business To Customer (B2C)" and "Business To Pochi" pages of Safaricom's portal. No page has the identity
check: two projects that use it in production, edlugz/daraja and global-121/121-platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import checks
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Kind, Pocket

__all__ = ["PATHS", "Payouts"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/mpesa/b2c/v1/paymentrequest": (Api.B2C, "v1"),
    "/mpesa/b2c/v3/paymentrequest": (Api.B2C, "v3"),
    "/mpesa/b2cvalidate/v2/paymentrequest": (Api.B2C_IDENTITY, "v2"),
    "/mpesa/b2pochi/v1/paymentrequest": (Api.POCHI, "v1"),
}

_COMMANDS: Final = ("SalaryPayment", "BusinessPayment", "PromotionPayment")


class Payouts:
    """Takes payouts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {
            Api.B2C: self._pay,
            Api.B2C_IDENTITY: self._pay,
            Api.POCHI: self._pay,
        }

    def _pay(self, call: Call) -> HttpResponse:
        fields, desk, pochi = call.fields, self._desk, call.api is Api.POCHI
        first = call.api is Api.B2C and call.version == "v1"
        originator = "" if first else checks.matching(fields, "OriginatorConversationID", r"\S{1,128}")
        organisation, forced = desk.operator(call, "InitiatorName", "PartyA")
        # The page of the Pochi lists the commands of an ordinary payout as accepted too.
        checks.one_of(fields, "CommandID", *_COMMANDS, *(("BusinessPayToPochi",) if pochi else ()))
        amount = checks.amount(fields)
        phone = checks.phone(fields, "PartyB")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion" if first else "Occassion", shortest=0, longest=100)
        if call.api is Api.B2C_IDENTITY:
            forced = forced or self._identity(call, phone)
        order = desk.result_order(
            call,
            organisation,
            forced,
            originator=originator,
            amount=amount,
            phone=phone,
            kind=Kind.POCHI if pochi else Kind.B2C,
            source=Pocket(organisation.short_code),
            charge=organisation.payout_charge,
        )
        desk.check_originator(originator)
        desk.limits(order)
        return desk.accept_result(call, order)

    def _identity(self, call: Call, phone: str) -> Ending | None:
        """How the payout ends because of the recipient's documents; None where nothing speaks against it."""
        kind = checks.matching(call.fields, "IDType", r"\d{1,4}")
        number = checks.matching(call.fields, "IDNumber", r"[A-Za-z0-9/\-]{1,32}")
        documents = self._desk.mpesa.customer(phone).identities
        if not documents:
            return None
        if kind not in documents:
            return Ending.ID_TYPE_UNKNOWN
        return None if documents[kind] == number else Ending.ID_MISMATCH
