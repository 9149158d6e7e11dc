"""What a request is about, as far as it can be told: the fields of each call that name phone, amount and reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from mpesa_core.sandbox import checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Subject
from mpesa_core.sandbox.endings import Api
from mpesa_core.sandbox.mpesa import Mpesa

__all__ = ["subject_of"]


@attrs.frozen(kw_only=True)
class _Names:
    phone: str = ""
    amount: str = "Amount"
    reference: str = "TransactionID"


_NAMES: Final[Mapping[Api, _Names]] = {
    Api.STK_PUSH: _Names(phone="PhoneNumber", reference="AccountReference"),
    Api.C2B_SIMULATE: _Names(phone="Msisdn", reference="BillRefNumber"),
    Api.B2C: _Names(phone="PartyB", reference="OriginatorConversationID"),
    Api.B2C_IDENTITY: _Names(phone="PartyB", reference="OriginatorConversationID"),
    Api.POCHI: _Names(phone="PartyB", reference="OriginatorConversationID"),
    Api.B2B: _Names(reference="AccountReference"),
    Api.TAX: _Names(reference="AccountReference"),
    Api.EXPRESS_CHECKOUT: _Names(amount="amount", reference="paymentRef"),
    Api.STANDING_ORDER: _Names(phone="PartyA", reference="AccountReference"),
    Api.BONGA_REDEEM: _Names(phone="msisdn", amount="amount", reference="accountNumber"),
    Api.HAKIKISHA: _Names(phone="msisdn"),
    Api.IMSI: _Names(phone="customerNumber"),
    Api.SIM_SWAP: _Names(phone="customerNumber"),
    Api.BILLS_INVOICE: _Names(amount="amount", reference="externalReference"),
    Api.BILLS_CHANGE_INVOICE: _Names(amount="amount", reference="externalReference"),
    Api.BILLS_CANCEL: _Names(reference="externalReference"),
    Api.BILLS_ACKNOWLEDGE: _Names(amount="paidAmount", reference="externalReference"),
}
_CODES: Final = (
    "BusinessShortCode",
    "ShortCode",
    "ReceiverParty",
    "PartyA",
    "receiverShortCode",
    "shortCode",
    "shortcode",
)


def subject_of(api: Api, fields: Mapping[str, Any], mpesa: Mpesa) -> Subject:
    """What a request is about; for a question: what the payment is about that it asks for."""
    if api is Api.STK_QUERY:
        push = mpesa.pushes.get(checks.text(fields, "CheckoutRequestID"))
        if push is None:
            return Subject()
        code = push.organisation.short_code
        return Subject(phone=push.phone, amount=push.amount, reference=push.reference, short_code=code)
    inner = fields.get("body")
    if api is Api.HAKIKISHA and isinstance(inner, Mapping):
        fields = inner
    names = _NAMES.get(api, _Names())
    try:
        amount = checks.amount(fields, names.amount, cents=True)
    except Refused:
        amount = None
    named = (mpesa.organisations.get(checks.text(fields, name)) for name in _CODES)
    organisation = next(filter(None, named), None)
    entry = mpesa.ledger.get(checks.text(fields, "TransactionID"))
    return Subject(
        phone=checks.text(fields, names.phone) if entry is None else entry.phone,
        amount=amount,
        reference=checks.text(fields, names.reference),
        short_code=organisation.short_code if organisation else None,
    )
