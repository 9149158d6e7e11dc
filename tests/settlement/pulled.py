"""M-PESA's list of the payments to a short code, as pull transactions show it, with whatever goes wrong in reading it."""

from __future__ import annotations

import json
from datetime import timedelta

import attrs

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.daraja.pull import PULL_PAGE_SIZE
from mpesa_core.values import to_nairobi
from tests.settlement.desk import START


@attrs.define
class Payment:
    """One payment of the list."""

    receipt: str
    at: object = START - timedelta(hours=1)
    amount: str = "100.00"
    reference: str = "INV-1"
    msisdn: str = "2547 ***** 149"

    def row(self):
        """As the list shows it: in Nairobi's time, with a Z that means nothing."""
        return {
            "transactionId": self.receipt,
            "trxDate": f"{to_nairobi(self.at):%Y-%m-%dT%H:%M:%SZ}",
            "msisdn": self.msisdn,
            "sender": "MPESA",
            "transactiontype": "c2b-pay-bill-debit",
            "billreference": self.reference,
            "amount": self.amount,
            "organizationname": "Shop",
        }


@attrs.define
class MpesaList:
    """Answers PullTransactions through the real parser; give it to a scripted Daraja as the answer of that class.

    Attributes:
        payments: in the order of the list.
        asked: every question.
        before: called with each question before it is answered; may change the list, or raise.
        by_offset: False for a list that shows its first page whatever is asked.
    """

    payments: list = attrs.field(factory=list)
    asked: list = attrs.field(factory=list)
    before: object = lambda question: None
    by_offset: bool = True

    def __call__(self, question):
        self.asked.append(question)
        self.before(question)
        start = question.start.replace(microsecond=0)
        inside = [each for each in self.payments if isinstance(each, dict) or start <= each.at <= question.end]
        offset = question.offset if self.by_offset else 0
        page = inside[offset : offset + PULL_PAGE_SIZE]
        rows = [each if isinstance(each, dict) else each.row() for each in page]
        body = {"ResponseRefID": "26178-1", "ResponseCode": "1000" if rows else "1001", "Response": [rows]}
        return question.parse(HttpResponse(status=200, body=json.dumps(body).encode()))
