"""A local Daraja with a clock that stands still, an application that only listens, and well-formed requests to change."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mpesa_core.daraja.operation import HttpRequest, HttpResponse
from mpesa_core.sandbox import LocalDaraja, Organisation

START = datetime(2026, 10, 6, 6, 50, tzinfo=UTC)
TIMESTAMP = "20261006095000"


class World:
    """One local Daraja, with its application's end."""

    def __init__(self, organisations, **options):
        self.now = START
        self.received = []
        self.replies = {}
        self.slept = []
        self.daraja = LocalDaraja(
            organisations, post=self.post, clock=lambda: self.now, sleep=self.slept.append, seed=7, **options
        )
        self.paybill, self.till = self.daraja.organisations[:2]
        self.token = None

    def post(self, url, body):
        self.received.append((url, body))
        reply = self.replies.get(url, 200)
        return reply(body) if callable(reply) else reply

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    def bodies(self, end=""):
        """The JSON bodies that came to URLs with this end."""
        return [json.loads(body, parse_float=Decimal) for url, body in self.received if url.endswith(end)]

    def raw(self, method, path, headers=None, body=b""):
        return self.daraja.handle(HttpRequest(method=method, path=path, headers=headers or {}, body=body))

    def oauth(self, key="local-key", secret="local-secret", query="grant_type=client_credentials"):
        basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
        return self.raw("GET", f"/oauth/v1/generate?{query}", {"Authorization": f"Basic {basic}"})

    def send(self, path, fields, *, token=None):
        """The response to an authorised POST."""
        if token is None:
            if self.token is None:
                self.token = json.loads(self.oauth().body)["access_token"]
            token = self.token
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return self.raw("POST", path, headers, json.dumps(fields).encode())

    def call(self, path, fields, *, token=None):
        """Status and JSON of an authorised POST."""
        response = self.send(path, fields, token=token)
        return response.status, json.loads(response.body, parse_float=Decimal)

    def _password(self, code, passkey):
        return base64.b64encode(f"{code}{passkey}{TIMESTAMP}".encode()).decode()

    def push_fields(self, **changes):
        fields = {
            "BusinessShortCode": "174379",
            "Password": self._password("174379", self.paybill.passkey),
            "Timestamp": TIMESTAMP,
            "TransactionType": "CustomerPayBillOnline",
            "Amount": 100,
            "PartyA": "254712345678",
            "PartyB": "174379",
            "PhoneNumber": "254712345678",
            "CallBackURL": "https://shop.example/pay/stk",
            "AccountReference": "INV-1",
            "TransactionDesc": "Shoes",
        }
        return self._changed(fields, changes)

    def till_fields(self, **changes):
        return self.push_fields(
            BusinessShortCode="600100",
            Password=self._password("600100", self.till.passkey),
            TransactionType="CustomerBuyGoodsOnline",
            PartyB="600200",
            **changes,
        )

    @staticmethod
    def _changed(fields, changes):
        changed = {**fields, **changes}
        return {name: value for name, value in changed.items() if value is not ...}

    def push(self, **changes):
        return self.call("/mpesa/stkpush/v1/processrequest", self.push_fields(**changes))

    def query(self, checkout, **changes):
        fields = {
            "BusinessShortCode": "174379",
            "Password": self._password("174379", self.paybill.passkey),
            "Timestamp": TIMESTAMP,
            "CheckoutRequestID": checkout,
        }
        return self.call("/mpesa/stkpushquery/v1/query", self._changed(fields, changes))

    def register(self, version="v2", **changes):
        fields = {
            "ShortCode": "174379",
            "ResponseType": "Completed",
            "ConfirmationURL": "https://shop.example/pay/confirm",
            "ValidationURL": "https://shop.example/pay/validate",
        }
        return self.call(f"/mpesa/c2b/{version}/registerurl", self._changed(fields, changes))

    def simulate(self, version="v2", **changes):
        fields = {
            "ShortCode": 174379,
            "CommandID": "CustomerPayBillOnline",
            "Amount": 50,
            "Msisdn": 254712345678,
            "BillRefNumber": "INV-2",
        }
        return self.call(f"/mpesa/c2b/{version}/simulate", self._changed(fields, changes))

    def _result_fields(self, product):
        return {
            "SecurityCredential": self.daraja.security_credential,
            "Remarks": "ok",
            "QueueTimeOutURL": f"https://shop.example/pay/{product}/timeout",
            "ResultURL": f"https://shop.example/pay/{product}/result",
        }

    def payout_fields(self, version="v3", **changes):
        fields = {
            **self._result_fields("b2c"),
            "InitiatorName": "testapi",
            "CommandID": "BusinessPayment",
            "Amount": "200",
            "PartyA": "174379",
            "PartyB": "254712345678",
        }
        if version == "v3":
            fields["OriginatorConversationID"] = "payout-1"
        return self._changed(fields, changes)

    def payout(self, version="v3", **changes):
        return self.call(f"/mpesa/b2c/{version}/paymentrequest", self.payout_fields(version, **changes))

    def reverse(self, receipt, **changes):
        fields = {
            **self._result_fields("reversal"),
            "Initiator": "testapi",
            "CommandID": "TransactionReversal",
            "TransactionID": receipt,
            "Amount": 100,
            "ReceiverParty": "174379",
            "RecieverIdentifierType": "11",
        }
        return self.call("/mpesa/reversal/v1/request", self._changed(fields, changes))

    def status(self, **changes):
        fields = {
            **self._result_fields("status"),
            "Initiator": "testapi",
            "CommandID": "TransactionStatusQuery",
            "PartyA": "174379",
            "IdentifierType": "4",
        }
        return self.call("/mpesa/transactionstatus/v1/query", self._changed(fields, changes))

    def balance(self, **changes):
        fields = {
            **self._result_fields("balance"),
            "Initiator": "testapi",
            "CommandID": "AccountBalance",
            "PartyA": "174379",
            "IdentifierType": "4",
        }
        return self.call("/mpesa/accountbalance/v1/query", self._changed(fields, changes))

    def identity_payout(self, **changes):
        fields = {"OriginatorConversationID": "id-1", "IDType": "01", "IDNumber": "12345678"}
        return self.call("/mpesa/b2cvalidate/v2/paymentrequest", self.payout_fields(**{**fields, **changes}))

    def pochi(self, **changes):
        fields = {"OriginatorConversationID": "pochi-1", "CommandID": "BusinessPayToPochi", "Occassion": "Gift"}
        return self.call("/mpesa/b2pochi/v1/paymentrequest", self.payout_fields(**{**fields, **changes}))

    def pay_business(self, path="paymentrequest", **changes):
        fields = {
            **self._result_fields("b2b"),
            "Initiator": "testapi",
            "CommandID": "BusinessPayBill",
            "SenderIdentifierType": "4",
            "RecieverIdentifierType": "4",
            "Amount": "239",
            "PartyA": "174379",
            "PartyB": "600000",
            "AccountReference": "353353",
            "Requester": "254700000000",
        }
        return self.call(f"/mpesa/b2b/v1/{path}", self._changed(fields, changes))

    def remit(self, **changes):
        fields = {"CommandID": "PayTaxToKRA", "PartyB": "572572", "AccountReference": "PRN1234XN", "Requester": ...}
        return self.pay_business("remittax", **{**fields, **changes})

    def prompt_business(self, **changes):
        fields = {
            "primaryShortCode": "000001",
            "receiverShortCode": "174379",
            "amount": "71",
            "paymentRef": "paymentRef",
            "callbackUrl": "https://shop.example/pay/express",
            "partnerName": "Vendor",
            "RequestRefID": "r-1",
        }
        return self.call("/v1/ussdpush/get-msisdn", self._changed(fields, changes))

    def bills(self, name, fields, **changes):
        """A call of Bill Manager, with an object changed or with a list as it is."""
        body = self._changed(fields, changes) if isinstance(fields, dict) else fields
        return self.call(f"/v1/billmanager-invoice/{name}", body)

    def opt_in(self, name="optin", **changes):
        fields = {
            "shortcode": "174379",
            "email": "shop@shop.example",
            "officialContact": "0710000000",
            "sendReminders": "1",
            "callbackurl": "https://shop.example/pay/bills",
        }
        return self.bills(name, fields, **changes)

    def invoice_fields(self, **changes):
        fields = {
            "externalReference": "E-1",
            "billedFullName": "John Doe",
            "billedPhoneNumber": "0722000000",
            "billedPeriod": "August 2026",
            "invoiceName": "School Fees",
            "dueDate": "2026-10-12",
            "accountReference": "A-1",
            "amount": "800",
            "invoiceItems": [{"itemName": "food", "amount": "700"}, {"itemName": "water", "amount": "100"}],
        }
        return self._changed(fields, changes)

    def invoice(self, name="single-invoicing", **changes):
        return self.bills(name, self.invoice_fields(**changes))

    def standing_order(self, **changes):
        fields = {
            "StandingOrderName": "Rent",
            "StartDate": "20261101",
            "EndDate": "20271101",
            "BusinessShortCode": "174379",
            "TransactionType": "Standing Order Customer Pay Bill",
            "ReceiverPartyIdentifierType": "4",
            "Amount": "4500",
            "PartyA": "254708374149",
            "CallBackURL": "https://shop.example/pay/standing",
            "AccountReference": "FLAT-1",
            "TransactionDesc": "Rent",
            "Frequency": "4",
        }
        return self.call("/standingorder/v1/createStandingOrderExternal", self._changed(fields, changes))

    def register_pull(self, **changes):
        fields = {
            "ShortCode": "174379",
            "RequestType": "Pull",
            "NominatedNumber": "0722000000",
            "CallBackURL": "https://shop.example/pay/pull",
        }
        return self.call("/pulltransactions/v1/register", self._changed(fields, changes))

    def pull(self, **changes):
        fields = {
            "ShortCode": "174379",
            "StartDate": "2026-10-05 09:50:00",
            "EndDate": "2026-10-06 23:59:59",
            "OffSetValue": "0",
        }
        return self.call("/pulltransactions/v1/query", self._changed(fields, changes))

    def results(self, product):
        """The Result objects that came for a product."""
        return [body["Result"] for body in self.bodies(f"{product}/result")]


def items(result):
    """A result's parameters as a dict."""
    found = result["ResultParameters"]["ResultParameter"]
    return {item["Key"]: item.get("Value") for item in found}


@pytest.fixture
def make_world():
    """Makes a world with options of one's own: a paybill 174379, and a till 600200 whose store number is 600100."""

    def make(**options):
        shops = (Organisation(), Organisation(short_code="600100", till_number="600200", name="Kiosk", passkey="k"))
        return World(shops, **options)

    return make


@pytest.fixture
def world(make_world):
    """A world as it is by default."""
    return make_world()


@pytest.fixture
def parameters():
    """Reads a result's parameters as a dict."""
    return items


@pytest.fixture
def reply():
    """Makes an application's HTTP 200 answer from JSON."""

    def make(**fields):
        return HttpResponse(status=200, body=json.dumps(fields).encode())

    return make
