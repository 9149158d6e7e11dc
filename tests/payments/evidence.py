"""Evidence for the tests, and a transaction that takes it in as the engine would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import attrs

from mpesa_core.daraja.codes import Outcome
from mpesa_core.payments.decide import Conflict, Duplicate, Enrich, Evidence, Settle, decide
from mpesa_core.payments.machine import Source
from mpesa_core.payments.records import Status, Transaction, TransactionType

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
RECEIPT = "NLJ7RT61SV"


def row(**changes):
    fields = {
        "id": UUID(int=1),
        "transaction_type": TransactionType.STK_PUSH,
        "status": Status.PROCESSING,
        "short_code": "174379",
        "phone_number": "254708374149",
        "amount": Decimal("100.00"),
        "account_reference": "INV-1",
        "initiated_at": NOW,
        "checkout_request_id": "ws_CO_1",
    }
    return Transaction(**{**fields, **changes})


def says(source, outcome, **fields):
    return Evidence(source=source, outcome=outcome, **fields)


def success(receipt=RECEIPT, amount=Decimal("100.00"), source=Source.CALLBACK, **fields):
    return says(source, Outcome.SUCCESS, receipt=receipt, amount=amount, code=0, code_text="0", **fields)


QUERY_SUCCESS = says(Source.QUERY, Outcome.SUCCESS, code=0, code_text="0")
FAILURE = says(Source.CALLBACK, Outcome.FAILED, code=1, code_text="1", reason="denied")
CANCELLED = says(Source.CALLBACK, Outcome.CANCELLED, code=1032, code_text="1032", reason="cancelled")
QUERY_FAILURE = says(Source.QUERY, Outcome.CANCELLED, code=1032, code_text="1032", reason="cancelled")
EXPIRED = says(Source.CALLBACK, Outcome.EXPIRED, code=1037, code_text="1037", reason="expired")
QUERY_EXPIRED = says(Source.QUERY, Outcome.EXPIRED, code=1037, code_text="1037", reason="expired")
PENDING = says(Source.QUERY, Outcome.PENDING, code=4999, code_text="4999")
UNKNOWN = says(Source.CALLBACK, Outcome.UNKNOWN, code=987654, code_text="987654", review=True)
NOTICE = says(Source.NOTICE, Outcome.UNKNOWN)
DEADLINE = says(Source.DEADLINE, Outcome.EXPIRED, reason="expired")
SHORT = success(amount=Decimal("50.00"), receipt="NLJ7RT61SX")
OTHER_RECEIPT = success(receipt="NLJ7RT61SY")


@attrs.define
class Applied:
    """A transaction with its history; ``take`` is what the engine does with one decision when nobody interferes."""

    transaction: Transaction
    entered: list = attrs.field(factory=list)
    conflicts: int = 0

    def take(self, evidence: Evidence, now: datetime = NOW + timedelta(seconds=5)):
        decision = decide(self.transaction, evidence, now)
        if isinstance(decision, (Settle, Enrich)):
            changed = {**decision.changes, "version": self.transaction.version + 1}
            if isinstance(decision, Settle):
                self.entered.append(decision.status)
            self.transaction = attrs.evolve(self.transaction, **changed)
        if isinstance(decision, Conflict):
            self.conflicts += 1
            open_ones = {**self.transaction.conflicts, decision.fingerprint: {"callback": str(evidence.callback_id)}}
            self.transaction = attrs.evolve(self.transaction, conflicts=open_ones)
        assert not (isinstance(decision, Duplicate) and self.transaction.status == Status.PENDING)
        return decision
