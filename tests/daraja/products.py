"""One ordinary operation of each of the further products, for tests to change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from mpesa_core.daraja.b2b import B2BCommand, B2BPayment
from mpesa_core.daraja.bills import (
    AcknowledgeBillPayment,
    BillItem,
    CancelInvoice,
    CancelInvoices,
    ChangeBillManagerOptIn,
    Invoice,
    OptInToBillManager,
    SendInvoice,
    SendInvoices,
)
from mpesa_core.daraja.bonga import CalculateBongaPoints, RedeemBongaPoints
from mpesa_core.daraja.express import CheckIdentity
from mpesa_core.daraja.express_checkout import ExpressCheckout
from mpesa_core.daraja.hakikisha import Hakikisha
from mpesa_core.daraja.identity import B2CIdentityPayment
from mpesa_core.daraja.imsi import CheckImsi, CheckSimSwap
from mpesa_core.daraja.iot import IotQuestion, IotQuestionCall
from mpesa_core.daraja.organisation import QueryOrganisation
from mpesa_core.daraja.pochi import B2Pochi
from mpesa_core.daraja.pull import PullTransactions, RegisterPull
from mpesa_core.daraja.qr import DynamicQr, QrTransaction
from mpesa_core.daraja.ratiba import CreateStandingOrder, Frequency
from mpesa_core.daraja.tax import TaxRemittance


def urls(path: str) -> dict[str, str]:
    """The two URLs of a result."""
    return {"result_url": f"https://mydomain.com/{path}/result/", "timeout_url": f"https://mydomain.com/{path}/queue/"}


def b2b(**changes: Any) -> B2BPayment:
    """A payment to a paybill."""
    fields = {"receiver": "000000", "amount": 239, "account_reference": "353353", "remarks": "OK"}
    return B2BPayment(**{**fields, **urls("b2b/businessbuygoods"), **changes})


def top_up(**changes: Any) -> B2BPayment:
    """A top-up of a payout account."""
    both = {"result_url": "https://mydomain/path/result", "timeout_url": "https://mydomain/path/timeout"}
    return b2b(command=B2BCommand.PAY_TO_BULK, receiver="600000", requester="0708374149", **{**both, **changes})


def tax(**changes: Any) -> TaxRemittance:
    """A tax."""
    fields = {"amount": 239, "payment_registration_number": "353353", "remarks": "OK"}
    return TaxRemittance(**{**fields, **urls("b2b/remittax"), **changes})


def pochi(**changes: Any) -> B2Pochi:
    """A payout to a Pochi."""
    fields = {
        "originator_conversation_id": "600997_Test_32et3241ed8yu",
        "amount": 10,
        "phone_number": "0700000012",
        "remarks": "remarked",
        "occasion": "ChristmasPay",
        "result_url": "https://mydomain.com/path",
        "timeout_url": "https://mydomain.com/path",
    }
    return B2Pochi(**{**fields, **changes})


def identity(**changes: Any) -> B2CIdentityPayment:
    """A payout with an identity check."""
    fields = {
        "originator_conversation_id": "600997_Test_32et3241ed8yu",
        "amount": 10,
        "phone_number": "0700000012",
        "remarks": "No remarks",
        "id_number": "00000000",
        "result_url": "https://mydomain.com/result",
        "timeout_url": "https://mydomain.com/timeout",
    }
    return B2CIdentityPayment(**{**fields, **changes})


def express(**changes: Any) -> ExpressCheckout:
    """A prompt to another business."""
    fields = {
        "payer_till": "000001",
        "amount": 100,
        "payment_reference": "paymentRef",
        "callback_url": "https://mydomain.com/result",
        "partner_name": "Vendor",
        "request_id": "550e8400-e29b-41d4-a716-446655440000",
    }
    return ExpressCheckout(**{**fields, **changes})


def qr(**changes: Any) -> DynamicQr:
    """A QR code for a till."""
    fields = {
        "merchant_name": "TEST SUPERMARKET",
        "account_reference": "Invoice Test",
        "amount": 1,
        "transaction": QrTransaction.BUY_GOODS,
        "receiver": "373132",
    }
    return DynamicQr(**{**fields, **changes})


def opt_in(**changes: Any) -> OptInToBillManager:
    """An opt-in."""
    fields = {"email": "youremail@gmail.com", "official_contact": "0710000000", "logo": "image"}
    return OptInToBillManager(**{**fields, "callback_url": "http://my.server.com/bar/callback", **changes})


def change_opt_in(**changes: Any) -> ChangeBillManagerOptIn:
    """A change of an opt-in."""
    fields = {"email": "youremail@gmail.com", "official_contact": "0710000000", "logo": "image"}
    return ChangeBillManagerOptIn(**{**fields, "callback_url": "http://my.server.com/bar", **changes})


def invoice(**changes: Any) -> Invoice:
    """An invoice with two lines."""
    fields = {
        "external_reference": "#9932340",
        "full_name": "John Doe",
        "phone_number": "+254 700 000 000",
        "period": "August 2021",
        "invoice_name": "Jentrys",
        "due": date(2021, 10, 12),
        "account_reference": "1ASD678H",
        "amount": 800,
        "items": [BillItem(name="food", amount=700), BillItem(name="water", amount=100)],
    }
    return Invoice(**{**fields, **changes})


def send_invoice(**changes: Any) -> SendInvoice:
    """One invoice, sent."""
    return SendInvoice(**{"invoice": invoice(), **changes})


def send_invoices(**changes: Any) -> SendInvoices:
    """The two invoices of the published sample, sent."""
    due = datetime(2021, 9, 14, 21, tzinfo=UTC)  # midnight in Nairobi
    both = {"phone_number": "0722000000", "invoice_name": "Jentrys ", "due": due, "amount": 2000}
    items = [BillItem(name="food", amount=1000), BillItem(name="water", amount=1000)]
    one = invoice(**both, external_reference="1107", account_reference="A1", items=items)
    two = invoice(**both, external_reference="967", account_reference="Balboa45", items=())
    return SendInvoices(**{"invoices": [one, two], **changes})


def cancel_invoice(**changes: Any) -> CancelInvoice:
    """One invoice, cancelled."""
    return CancelInvoice(**{"external_reference": "113", **changes})


def cancel_invoices(**changes: Any) -> CancelInvoices:
    """Two invoices, cancelled."""
    return CancelInvoices(**{"external_references": ["113", "114"], **changes})


def acknowledge(**changes: Any) -> AcknowledgeBillPayment:
    """A bill's payment, acknowledged."""
    fields = {
        "transaction_id": "PJB53MYR1N",
        "amount": 800,
        "paid_on": date(2021, 10, 1),
        "account_reference": "Balboa95",
        "phone_number": "254710000000",
        "full_name": "John Doe",
        "invoice_name": "School Fees",
        "external_reference": "955",
    }
    return AcknowledgeBillPayment(**{**fields, **changes})


def standing_order(**changes: Any) -> CreateStandingOrder:
    """A standing order of the edition of 2025."""
    fields = {
        "name": "Test Standing Order",
        "start": date(2024, 9, 5),
        "end": date(2025, 9, 5),
        "amount": 4500,
        "frequency": Frequency.DAILY,
        "edition": "2025",
        "phone_number": "0708374149",
        "account_reference": "Test",
        "transaction_desc": "Test",
        "callback_url": "https://mydomain.com/pat",
    }
    return CreateStandingOrder(**{**fields, **changes})


def standing_order_2026(**changes: Any) -> CreateStandingOrder:
    """A standing order of the edition of 2026."""
    fields = {
        "name": "mpesa_Ratiba_test_Name",
        "start": date(2026, 8, 7),
        "end": date(2028, 4, 7),
        "amount": 500,
        "frequency": Frequency.MONTHLY,
        "edition": "2026",
        "callback_url": "https://mydomain.com/path",
        "custom_id": "06aae68f-7d5a-4b44-a22d-8aa77126689b",
    }
    return standing_order(**{**fields, **changes})


def register_pull(**changes: Any) -> RegisterPull:
    """The registration for pull transactions."""
    return RegisterPull(**{"nominated_number": "+254722000000", "callback_url": "https://domain/path", **changes})


def pull(**changes: Any) -> PullTransactions:
    """A query of pull transactions, of the published span."""
    start, end = datetime(2020, 8, 4, 5, 36, tzinfo=UTC), datetime(2020, 8, 16, 7, 10, tzinfo=UTC)
    return PullTransactions(**{"start": start, "end": end, **changes})


def imsi(**changes: Any) -> CheckImsi:
    """The IMSI of a number."""
    return CheckImsi(**{"phone_number": "0722000000", **changes})


def swap(**changes: Any) -> CheckSimSwap:
    """The last swap of a number's SIM card."""
    return CheckSimSwap(**{"phone_number": "0722000000", **changes})


def check_identity(**changes: Any) -> CheckIdentity:
    """Whose phone it is."""
    fields = {"phone_number": "0722000000", "callback_url": "https://shop.example/identity/"}
    return CheckIdentity(**{**fields, **changes})


def hakikisha(**changes: Any) -> Hakikisha:
    """The name behind a number."""
    fields = {"phone_number": "0722000000", "request_id": "06aae68f-7d5a-4b44-a22d-8aa77126689b"}
    return Hakikisha(**{**fields, **changes})


def organisation(**changes: Any) -> QueryOrganisation:
    """The name behind a paybill."""
    return QueryOrganisation(**{"identifier": "666677", **changes})


def calculate(**changes: Any) -> CalculateBongaPoints:
    """What 40 points are worth."""
    return CalculateBongaPoints(**{"points": 40, **changes})


def redeem(**changes: Any) -> RedeemBongaPoints:
    """A payment with points."""
    fields = {"phone_number": "0722000000", "amount": 50, "points": 20, "account_reference": "test"}
    return RedeemBongaPoints(**{**fields, "conversion_rate": Decimal("0.2"), **changes})


def iot(**changes: Any) -> IotQuestion:
    """The life cycle of a SIM card."""
    body = {"msisdn": "300000020***", "vpnGroup": "1-225560081***_VPN", "username": "user@safaricom.co.ke"}
    return IotQuestion(**{"call": IotQuestionCall.LIFE_CYCLE_STATUS, "body": body, **changes})
