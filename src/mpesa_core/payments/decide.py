"""What a piece of evidence makes of a transaction: one pure function from both to a decision.

The engine carries the decision out by compare-and-set; if it loses, it reads again and decides again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs

from mpesa_core.daraja.codes import Outcome
from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.machine import OPEN, Source, check_transition, is_known
from mpesa_core.payments.records import Status, TransactionRecord

__all__ = [
    "SEVERAL",
    "AskNow",
    "Conflict",
    "Decision",
    "Duplicate",
    "Enrich",
    "Evidence",
    "Ignore",
    "Postpone",
    "Settle",
    "accept",
    "decide",
]


@attrs.frozen(kw_only=True)
class Evidence:
    """What somebody says about a transaction.

    Attributes:
        source: who says it.
        outcome: what it says.
        code: M-PESA's code where it is a number.
        code_text: the same as text, or None.
        description: M-PESA's words, or ours for a deadline.
        reason: ``cancelled``, ``expired``, ``denied``, ...: derived from the code.
        receipt: proof of payment, or None.
        amount: shillings, or None where it is not said.
        phone_number, short_code, reference: as said, or None.
        checkout_request_id, merchant_request_id, conversation_id, originator_conversation_id: as said, or None.
        raw: the parsed body.
        callback_id: the recorded callback that says it, or None.
        problem: what in it could not be read, or was told in two ways.
        review: a person should look at it: a code that nobody has documented, or a problem.
    """

    source: Source
    outcome: Outcome
    code: int | None = None
    code_text: str | None = None
    description: str | None = None
    reason: str | None = None
    receipt: str | None = None
    amount: Decimal | None = None
    phone_number: str | None = attrs.field(default=None, repr=False)
    short_code: str | None = None
    reference: str | None = None
    checkout_request_id: str | None = attrs.field(default=None, repr=False)
    merchant_request_id: str | None = None
    conversation_id: str | None = None
    originator_conversation_id: str | None = None
    raw: Any = attrs.field(default=None, repr=False)
    callback_id: UUID | None = None
    problem: str | None = None
    review: bool = False

    @property
    def says(self) -> str:
        """A fingerprint of what it says, the same for every duplicate of it."""
        if self.outcome is Outcome.SUCCESS:
            amount = "-" if self.amount is None else f"{self.amount:.2f}"
            return f"success:{self.receipt or '-'}:{amount}"
        return f"{self.outcome}:{self.code_text or '-'}"


@attrs.frozen
class Settle:
    """Enter a terminal status: a settlement, with a generation and a signal of its own."""

    status: Status
    changes: Mapping[str, Any]


@attrs.frozen
class Enrich:
    """Fill in what is now known (a receipt, identifiers) without a second settlement."""

    changes: Mapping[str, Any]


@attrs.frozen
class AskNow:
    """The outcome is open; the question about it is due at once. ``review``: and a person should see what came."""

    review: bool = False


@attrs.frozen
class Postpone:
    """A generation is still unannounced: put the evidence back until then."""

    until: datetime


@attrs.frozen
class Conflict:
    """A contradiction: change nothing, keep it open for a person.

    Attributes:
        fingerprint: what it says; its duplicates have the same.
        problem: one sentence for the person.
    """

    fingerprint: str
    problem: str


@attrs.frozen
class Duplicate:
    """Nothing new."""


@attrs.frozen
class Ignore:
    """It says nothing that changes anything (still processing, or weak against proof)."""


Decision = Settle | Enrich | AskNow | Postpone | Conflict | Duplicate | Ignore

_STATUS_OF: Final[Mapping[Outcome, Status]] = {
    Outcome.SUCCESS: Status.SUCCESS,
    Outcome.FAILED: Status.FAILED,
    Outcome.CANCELLED: Status.FAILED,
    Outcome.EXPIRED: Status.TIMEOUT,
}
SEVERAL: Final = "several:"
"""How the fingerprint of a confirmation begins that may belong to several payments; its receipt follows."""
_OUR_OWN: Final = (Source.DEADLINE, Source.UNSENT, Source.REFUSAL)
"""What no callback says."""
_IDENTIFIERS: Final = (
    "checkout_request_id",
    "merchant_request_id",
    "conversation_id",
    "originator_conversation_id",
)
_VISIBLE_PHONE = re.compile(r"254[17]\d{8}\Z")


def decide(row: TransactionRecord, evidence: Evidence, now: datetime, *, on_queue_timeout: str = "ask") -> Decision:
    """What this evidence makes of this transaction.

    Args:
        row: the transaction as it was read.
        evidence: what somebody says about it.
        now: the time, aware.
        on_queue_timeout: ``ask``, or ``timeout`` for hosts that want the notice to count as an outcome.

    Returns:
        The decision. A Settle or Enrich holds exactly the fields to change, but for the announcer's lease.
    """
    decision = _judge(row, evidence, now, on_queue_timeout)
    if isinstance(decision, Settle):
        if row.conflicts and evidence.source in _OUR_OWN:
            return Ignore()  # it is not in the log where a person would find it; the sweeps come to it again
        if row.conflicts:
            decision = Conflict(evidence.says, "It came while an open conflict holds the transaction.")
        elif row.announce_until is not None:
            return Postpone(row.announce_until)
    if isinstance(decision, Conflict):
        known = row.conflicts.get(decision.fingerprint)
        if known is not None and known.get("callback") != str(evidence.callback_id):
            return Duplicate()
    return decision


def _judge(row: TransactionRecord, evidence: Evidence, now: datetime, on_queue_timeout: str) -> Decision:  # noqa: PLR0911 - one return for each rule
    known = is_known(row.status, row.settled_by)
    target = _STATUS_OF.get(evidence.outcome)
    if evidence.source is Source.NOTICE and on_queue_timeout == "timeout" and row.status in OPEN:
        target = Status.TIMEOUT
    if target is None:
        if known or evidence.source is Source.QUERY:
            return Ignore()
        return AskNow(review=evidence.review)
    problem = _mismatch(row, evidence) if target is Status.SUCCESS else _other_payment(row, evidence)
    if problem:
        return Conflict(evidence.says, problem)
    if row.status in OPEN:
        return _settle(row, evidence, target, now)
    if target is Status.SUCCESS:
        if row.status == Status.FAILED and known:
            return Conflict(evidence.says, "M-PESA said before that it failed, and says now that it succeeded.")
        if not known:
            return _settle(row, evidence, target, now)
        if row.mpesa_receipt_number is None and evidence.receipt:
            return Enrich({**_proof(row, evidence, now), **_no_candidate(row)})
        return Duplicate()
    weak = evidence.source in (Source.QUERY, Source.DEADLINE, Source.NOTICE)
    if row.status in (Status.SUCCESS, Status.REVERSED):
        if weak or target is Status.TIMEOUT:
            return Ignore()
        return Conflict(evidence.says, "It had succeeded before, and M-PESA says now that it failed.")
    if known or target is Status.TIMEOUT:
        return Duplicate()
    if weak and row.status == Status.FAILED:
        return Duplicate()
    return _settle(row, evidence, target, now)


def _settle(row: TransactionRecord, evidence: Evidence, target: Status, now: datetime) -> Settle:
    check_transition(row.status, row.settled_by, target, evidence.source)
    changes: dict[str, Any] = {
        "status": target,
        "settled_by": evidence.source,
        "result_code": evidence.code,
        "result_code_text": evidence.code_text,
        "result_desc": evidence.description,
        "reason": None if target is Status.SUCCESS else evidence.reason,
        "raw_callback_payload": evidence.raw,
        "generation": row.generation + 1,
        **_identifiers(row, evidence),
    }
    if row.settled_at is None:
        changes["settled_at"] = now
    if target is Status.SUCCESS and evidence.receipt:
        changes["mpesa_receipt_number"] = evidence.receipt
        changes["confirmed_at"] = now
    if is_known(target, evidence.source):
        changes["next_check_at"] = None
    return Settle(target, changes)


def _proof(row: TransactionRecord, evidence: Evidence, now: datetime) -> dict[str, Any]:
    return {
        "mpesa_receipt_number": evidence.receipt,
        "confirmed_at": now,
        "raw_callback_payload": evidence.raw,
        **_identifiers(row, evidence),
    }


def _no_candidate(row: TransactionRecord) -> dict[str, Any]:
    """With a receipt it is no longer one of several payments that a confirmation may belong to."""
    left = {said: entry for said, entry in row.conflicts.items() if not said.startswith(SEVERAL)}
    return {"conflicts": left} if len(left) < len(row.conflicts) else {}


def _identifiers(row: TransactionRecord, evidence: Evidence) -> dict[str, Any]:
    said = {name: getattr(evidence, name) for name in _IDENTIFIERS}
    return {name: value for name, value in said.items() if value and getattr(row, name) is None}


def _other_payment(row: TransactionRecord, evidence: Evidence) -> str | None:
    for name in ("checkout_request_id", "conversation_id"):
        ours, said = getattr(row, name), getattr(evidence, name)
        if ours and said and ours != said:
            return f"It names another {name} than ours."
    return None


def _mismatch(row: TransactionRecord, evidence: Evidence) -> str | None:
    if evidence.amount is not None and evidence.amount != row.amount:
        return f"The amount is {evidence.amount}, and {row.amount} was asked for."
    if row.mpesa_receipt_number and evidence.receipt and row.mpesa_receipt_number != evidence.receipt:
        return f"The receipt is {evidence.receipt}, and {row.mpesa_receipt_number} settled it."
    if evidence.short_code and row.short_code and evidence.short_code != row.short_code:
        return f"The short code is {evidence.short_code}, and {row.short_code} was asked for."
    if evidence.reference and row.account_reference and evidence.reference != row.account_reference:
        return "The reference is not the one that was asked for."
    said, ours = evidence.phone_number or "", row.phone_number or ""
    if _VISIBLE_PHONE.match(said) and _VISIBLE_PHONE.match(ours) and said != ours:
        return "The phone number is not the one that was asked for."
    return _other_payment(row, evidence)


def accept(row: TransactionRecord, evidence: Evidence, now: datetime) -> Settle | Enrich:
    """What a person's acceptance of a conflict makes of the transaction.

    The amount becomes what really came, so that the books stay true.

    Raises:
        IllegalTransition: the conflict cannot be accepted (a code that says nothing certain; a failure after a success,
            which is undone by a reversal and by nothing else); it can be dismissed.
    """
    by_person = attrs.evolve(evidence, source=Source.PERSON)
    if evidence.outcome is Outcome.SUCCESS and row.status == Status.SUCCESS:
        if row.mpesa_receipt_number is not None or not evidence.receipt:
            check_transition(row.status, row.settled_by, Status.SUCCESS, Source.PERSON)
        changes = _proof(row, by_person, now)
        return Enrich({**changes, **_amount(evidence)})
    target = _STATUS_OF.get(evidence.outcome)
    if target is None:
        raise IllegalTransition(row.status, evidence.outcome)
    settle = _settle(row, by_person, target, now)
    return Settle(settle.status, {**settle.changes, **(_amount(evidence) if target is Status.SUCCESS else {})})


def _amount(evidence: Evidence) -> dict[str, Any]:
    return {} if evidence.amount is None else {"amount": evidence.amount}
