"""The invariants, checked on what a trial left behind: the rows, their history, and what the processes told."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpesa_core.payments.machine import OPEN, TERMINAL, TRANSITIONS, is_known
from mpesa_core.payments.records import Status
from tests.faults.places import Place
from tests.faults.record import Record
from tests.faults.stories import Payment

__all__ = ["unannounced", "violations"]

SIGNALS = {
    ("STK_PUSH", "SUCCESS"): "payment_confirmed",
    ("STK_PUSH", "FAILED"): "payment_failed",
    ("STK_PUSH", "TIMEOUT"): "payment_failed",
    ("C2B", "SUCCESS"): "payment_confirmed",
    ("B2C", "SUCCESS"): "payout_completed",
    ("B2C", "FAILED"): "payout_failed",
    ("B2C", "TIMEOUT"): "payout_failed",
    ("REVERSAL", "SUCCESS"): "payment_refunded",
    ("REVERSAL", "FAILED"): "reversal_failed",
    ("REVERSAL", "TIMEOUT"): "reversal_failed",
    ("STK_PUSH", "REVERSED"): "reversal_completed",
}
"""Which signal announces a settlement, written from the design."""


def unannounced(place: Place) -> list[str]:
    """Which settlements (``id/generation``) have their fence up."""
    rows = place.transactions()
    return [f"{row['id']}/{row['generation']}" for row in rows if row["announce_until"] is not None]


def violations(place: Place, record: Record, payments: Sequence[Payment]) -> Iterator[str]:
    """Every invariant that does not hold, with what is wrong; at the end of a trial, after the last sweep."""
    told = record.read()
    rows = {row["id"]: row for row in place.transactions()}
    callbacks = place.callbacks()
    history = place.history()
    signals = [line for line in told if line["what"] == "signal"]
    yield from (f"{line['rule']}: {line['detail']}" for line in told if line["what"] == "violation")
    yield from _kept(told, callbacks)
    yield from _transitions(history)
    yield from _announced(history, rows, signals, told)
    yield from _money(rows, told, payments)
    yield from _nothing_stuck(rows, callbacks)
    yield from _justified(rows, callbacks, told)
    yield from _ends(rows, callbacks, told, payments)


def _kept(told: Sequence[Mapping[str, Any]], callbacks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    acked = collections.Counter(line["digest"] for line in told if line["what"] == "acked")
    kept = collections.Counter(hashlib.sha256(row["raw_bytes"]).hexdigest() for row in callbacks)
    for digest, count in acked.items():
        if kept[digest] < count:
            yield f"I1 kept: {count} bodies {digest[:8]} were acknowledged and {kept[digest]} are kept"


def _transitions(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    successes: collections.Counter[str] = collections.Counter()
    generations: dict[str, int] = collections.defaultdict(int)
    for line in history:
        name = f"{line['id']} {line['was']} -> {line['status']}"
        if line["status"] in TERMINAL:
            if line["generation"] != generations[line["id"]] + 1:
                yield f"I2 at most once: {name} is generation {line['generation']} after {generations[line['id']]}"
            generations[line["id"]] = line["generation"]
        successes[line["id"]] += line["status"] == Status.SUCCESS
        here = (Status(line["was"]), is_known(line["was"], line["was_by"]))
        there = (Status(line["status"]), is_known(line["status"], line["settled_by"]))
        if there not in TRANSITIONS[here]:
            yield f"I3 monotone: {name} is no transition of the machine"
    yield from (f"I2 at most once: {key} became SUCCESS {count} times" for key, count in successes.items() if count > 1)


def _announced(
    history: Sequence[Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    signals: Sequence[Mapping[str, Any]],
    told: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    # A crash after a signal and before its mark, or a lease that lapsed, may cost one delivery more; nothing else may.
    allowed: collections.Counter[str] = collections.Counter()
    for line in told:
        if line["what"] == "window":
            allowed.update(line["settlements"])
    delivered = collections.Counter((line["name"], line.get("id"), line.get("generation")) for line in signals)
    expected = set()
    for line in history:
        if line["status"] not in TERMINAL:
            continue
        key, generation = line["id"], line["generation"]
        signal = SIGNALS[rows[key]["transaction_type"], line["status"]]
        expected.add((signal, key, generation))
        count = delivered[signal, key, generation]
        most = 1 + allowed[f"{key}/{generation}"]
        if not 1 <= count:
            yield f"I4 announced: {signal} of {key}, generation {generation}, was never delivered"
        elif count > most:
            yield f"I5 announced once: {signal} of {key}, generation {generation}: {count} times, expected {most}"
    for line in signals:
        # One that was stopped for long may be overtaken by the next settlement, and then tells of an earlier one.
        if "seen" in line and not (line["seen"][0] in TERMINAL and line["seen"][1] >= line["generation"]):
            yield f"I6 after commit: {line['name']} told of {line['status']}, another connection saw {line['seen']}"
        told_of = (line["name"], line.get("id"), line.get("generation"))
        if line["name"] in SIGNALS.values() and told_of not in expected:
            yield f"I9 no invention: {line['name']} of generation {line['generation']} announces no settlement"


def _money(
    rows: Mapping[str, Mapping[str, Any]], told: Sequence[Mapping[str, Any]], payments: Sequence[Payment]
) -> Iterator[str]:
    counted = [
        row
        for row in rows.values()
        if row["status"] in (Status.SUCCESS, Status.REVERSED) and row["transaction_type"] != "REVERSAL"
    ]
    booked = sum(row["amount"] for row in counted)
    by_receipt = sum({row["mpesa_receipt_number"]: row["amount"] for row in counted}.values())
    sent = collections.Counter(line["key"] for line in told if line["what"] == "sent")
    ledger = sum(
        payment.amount for payment in payments if payment.story.paid and (sent[payment.key] or _by_itself(payment))
    )
    if not booked == by_receipt <= ledger:
        yield f"I7 money: {booked} booked, {by_receipt} by receipts, {ledger} moved at M-PESA"
    yield from (f"promise 5: {key} was sent {count} times" for key, count in sent.items() if count > 1)


def _by_itself(payment: Payment) -> bool:
    return payment.story.flow == "C2B"


def _nothing_stuck(rows: Mapping[str, Mapping[str, Any]], callbacks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows.values():
        if row["announce_until"] is not None:
            yield f"I8 nothing stuck: {row['id']} has its fence up"
        if row["status"] in OPEN and not row["conflicts"]:
            yield f"I8 nothing stuck: {row['id']} is {row['status']} past its deadline"
    for callback in callbacks:
        if callback["next_attempt_at"] is not None:
            yield f"I8 nothing stuck: callback {callback['id']} ({callback['callback_type']}) is open"


def _justified(
    rows: Mapping[str, Mapping[str, Any]], callbacks: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    sent = {line["key"] for line in told if line["what"] == "sent"}
    said = collections.defaultdict(list)
    for callback in callbacks:
        said[callback["related_transaction_id"]].append(callback["callback_type"])
    for row in rows.values():
        match row["settled_by"]:
            case "callback" | "confirmation" | "notice":
                justified = bool(said[row["id"]])
            case "unsent":
                justified = row["idempotency_key"] not in sent
            case "reversal":
                justified = bool(row["reserved"])
            case "deadline":
                justified = row["status"] == Status.TIMEOUT
            case _:
                justified = row["status"] in OPEN
        if not justified:
            yield f"I9 no invention: {row['id']} is {row['status']} by {row['settled_by']}"


def _ends(
    rows: Mapping[str, Mapping[str, Any]],
    callbacks: Sequence[Mapping[str, Any]],
    told: Sequence[Mapping[str, Any]],
    payments: Sequence[Payment],
) -> Iterator[str]:
    sent = {line["key"] for line in told if line["what"] == "sent"}
    announced = {line.get("callback") for line in told if line.get("name") == "settlement_conflict"}
    ours = collections.defaultdict(list)
    for row in rows.values():
        for key in (row["idempotency_key"], row["mpesa_receipt_number"]):
            ours[key].append(row)
    for payment in payments:
        story = payment.story
        found = ours[payment.key] or ours[payment.receipt]
        if _by_itself(payment) or payment.key in sent:
            ends = {row["status"] for row in found}
            expected = set(story.ends)
            if story.reversed and f"BACK-{payment.number}" not in sent:
                expected = {Status.SUCCESS}
            if len(found) != 1 or not ends <= expected:
                yield f"I10 order-free: {payment.key} ended as {ends}, expected {expected}"
                continue
            [row] = found
            if bool(row["conflicts"]) != story.conflict:
                yield f"I10 order-free: {payment.key}: conflicts {row['conflicts']}, expected {story.conflict}"
            if row["generation"] > story.generations:
                yield f"I10 order-free: {payment.key}: generation {row['generation']}, {story.generations} at most"
        else:
            for row in found:
                if (row["status"], row["reason"]) not in ((Status.FAILED, "unsent"), (Status.TIMEOUT, "expired")):
                    yield f"I9 no invention: {payment.key} was never sent and is {row['status']} ({row['reason']})"
    for callback in callbacks:
        if callback["disposition"] == "conflict" and callback["id"] not in announced:
            yield f"promise 6: the conflict {callback['id']} was never announced"
