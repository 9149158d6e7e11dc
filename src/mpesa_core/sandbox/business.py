"""Payments to businesses: paybills, tills, payout accounts, transfers between accounts, and taxes.

Sources: the "Business Pay Bill", "Business Buy Goods", "B2C Account Top Up" and "Tax Remittance" pages of Safaricom's
portal; for the receiver's identifier type and the refused transfer, what kepas-tech/daraja-js reports from production.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import checks
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Kind, Pocket
from mpesa_core.sandbox.organisation import Organisation

__all__ = ["PATHS", "Business"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/mpesa/b2b/v1/paymentrequest": (Api.B2B, "v1"),
    "/mpesa/b2b/v1/remittax": (Api.TAX, "v1"),
}

_KRA: Final = "572572"


@attrs.frozen(kw_only=True)
class _Command:
    """What a command moves.

    Attributes:
        source: the payer's account.
        target: the receiver's.
        own: whether the receiver is the payer himself.
        receiver: what the receiver must be.
        permitted: whether M-PESA lets an API operator do it.
    """

    source: Literal["utility", "working"] = "working"
    target: Literal["utility", "working", "settlement"] = "utility"
    own: bool = False
    receiver: Literal["paybill", "till", "any"] = "any"
    permitted: bool = True


_COMMANDS: Final[Mapping[str, _Command]] = {
    "BusinessPayBill": _Command(receiver="paybill"),
    "BusinessBuyGoods": _Command(receiver="till"),
    "BusinessPayToBulk": _Command(),
    "BusinessToBusinessTransfer": _Command(target="working"),
    "BusinessTransferFromMMFToUtility": _Command(own=True),
    "DisburseFundsToBusiness": _Command(source="utility", target="working", own=True, permitted=False),
    "OrgRevenueSettlement": _Command(source="utility", target="settlement", own=True),
    "MerchantToMerchantTransfer": _Command(source="utility", receiver="till"),
    "MerchantTransferFromMerchantToWorking": _Command(source="utility", target="working", own=True),
    "MerchantServicesMMFAccountTransfer": _Command(source="utility", target="working", own=True),
    "AgencyFloatAdvance": _Command(target="working"),
}


class Business:
    """Takes payments to businesses."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.B2B: self._pay, Api.TAX: self._remit}

    def _pay(self, call: Call) -> HttpResponse:
        fields = call.fields
        name = checks.one_of(fields, "CommandID", *_COMMANDS)
        command = _COMMANDS[name]
        needed = 1 if name == "BusinessPayBill" else 0
        reference = checks.words(fields, "AccountReference", shortest=needed, longest=13)
        if checks.text(fields, "Requester"):
            checks.phone(fields, "Requester")
        return self._accept(call, command, reference, Kind.B2B)

    def _remit(self, call: Call) -> HttpResponse:
        checks.one_of(call.fields, "CommandID", "PayTaxToKRA")
        checks.one_of(call.fields, "PartyB", _KRA)
        reference = checks.words(call.fields, "AccountReference", longest=13)
        return self._accept(call, _Command(receiver="paybill"), reference, Kind.TAX)

    def _accept(self, call: Call, command: _Command, reference: str, kind: Kind) -> HttpResponse:
        fields, desk = call.fields, self._desk
        originator = checks.text(fields, "OriginatorConversationID")
        if originator:
            checks.matching(fields, "OriginatorConversationID", r"\S{1,128}")
        organisation, forced = desk.operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "SenderIdentifierType", "4")
        as_type = checks.one_of(fields, "RecieverIdentifierType", "1", "2", "4")
        amount = checks.amount(fields, cents=True)
        receiver = checks.matching(fields, "PartyB", checks.SHORT_CODE)
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occassion", shortest=0, longest=100)
        known = desk.organisations.get(receiver)
        if forced is None and not command.permitted:
            forced = Ending.NOT_PERMITTED
        if forced is None and not self._exists(command, organisation, receiver, as_type):
            forced = Ending.UNKNOWN_RECEIVER
        order = desk.result_order(
            call,
            organisation,
            forced,
            originator=originator,
            amount=amount,
            reference=reference,
            kind=kind,
            source=Pocket(organisation.short_code, command.source),
            target=None if known is None else Pocket(known.short_code, command.target),
            charge=organisation.business_charge,
            counterparty=receiver,
        )
        desk.check_originator(order.originator_conversation_id)
        return desk.accept_result(call, order)

    def _exists(self, command: _Command, payer: Organisation, receiver: str, as_type: str) -> bool:
        """Whether there is such a receiver, as an identifier of that type, for that command."""
        rules, known = self._desk.rules, self._desk.organisations.get(receiver)
        if command.own:
            return receiver == payer.short_code and as_type == "4"
        types = {"paybill": ("4",), "any": ("4",), "till": ("2",) if rules.tills_want_type_2 else ("2", "4")}
        if as_type not in types[command.receiver]:
            return False
        if known is None:
            return receiver == _KRA or not rules.strict_receivers
        till = receiver == known.till_number
        return till if command.receiver == "till" else not till
