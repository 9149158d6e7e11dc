"""Whatever comes, in whatever order: every pair of result codes, and every order of what M-PESA may say."""

from __future__ import annotations

import itertools
import logging
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.codes import RESULT_CODES, Family, Outcome
from mpesa_core.errors import NotYet
from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.records import Disposition, Key, Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import Api, Behaviour
from mpesa_core.sandbox.ledger import Kind
from tests import trials
from tests.faults.shop import Shop
from tests.settlement.desk import (
    Desk,
    confirmation,
    payout_success,
    result,
    stk_query,
    stk_result,
    stk_success,
)


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of conflicts are on purpose here."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


# -- every ordered pair of result codes (rows 3, 4 and 5) --------------------------------------------------------------

FLOWS = {
    "STK": (Family.STK, CallbackType.STK),
    "B2C": (Family.B2C, CallbackType.B2C_RESULT),
    "REVERSAL": (Family.REVERSAL, CallbackType.REVERSAL_RESULT),
}


def body_of(flow, code, row):
    if flow == "STK":
        checkout = row.checkout_request_id
        return stk_success(checkout) if code == 0 else stk_result(code, "said so", checkout)
    conversation = row.conversation_id
    if flow == "B2C":
        return payout_success(conversation=conversation) if code == 0 else result(code, "XXX0000000", conversation)
    return result(code, "REV1234567" if code == 0 else "XXX0000000", conversation)


def asked_for(desk, flow):
    if flow == "STK":
        return desk.push()
    if flow == "B2C":
        return desk.pay()
    payment = desk.push()
    desk.post("STK", stk_success(payment.checkout_request_id), payment.callback_token)
    return desk.gateway.reverse(payment)


@pytest.mark.faults
@pytest.mark.parametrize("flow", FLOWS)
def test_every_ordered_pair_of_result_codes(flow):
    """Two results that follow each other: a success stays or is a conflict, and no contradiction is silent."""
    family, callback_type = FLOWS[flow]
    codes = [*dict.fromkeys(each.code for each in RESULT_CODES if family in each.families), 424242, "SFC_NONE"]
    assert 0 in codes
    for first, second in itertools.product(codes, repeat=2):
        desk = Desk(MemoryRepository())
        row = asked_for(desk, flow)
        desk.signals.clear()
        outcomes, callbacks = [], []
        for code in (first, second):
            body = body_of(flow, code, row)
            outcomes.append(decode_callback(callback_type, dumps(body)).outcome)
            callbacks.append(desk.post(callback_type, body, row.callback_token))
            desk.clock.forward(30 * 86_400)
        settled = desk.gateway.get(row)
        kinds = {{Outcome.CANCELLED: Outcome.FAILED}.get(outcome, outcome) for outcome in outcomes}
        message = f"{flow}: {first} then {second}: {outcomes} -> {settled.status}, {dict(settled.conflicts)}"
        certain = kinds & {Outcome.SUCCESS, Outcome.FAILED}
        if len(certain) == 2:
            stands = Status.SUCCESS if outcomes[0] is Outcome.SUCCESS else Status.FAILED
            assert (stands, 1) == (settled.status, len(settled.conflicts)), message
            assert Disposition.CONFLICT == desk.repository.get_callback(callbacks[1]).disposition, message
            assert "settlement_conflict" in desk.names(), message
            continue
        expected = Status.PROCESSING
        if certain:
            expected = Status.SUCCESS if Outcome.SUCCESS in certain else Status.FAILED
        elif Outcome.EXPIRED in kinds:
            expected = Status.TIMEOUT
        assert (expected, {}) == (settled.status, dict(settled.conflicts)), message
        late = outcomes[0] is Outcome.EXPIRED and bool(certain)
        generations = (expected not in OPEN) + late
        assert generations == settled.generation, message
        if first == second and certain:
            assert Disposition.DUPLICATE == desk.repository.get_callback(callbacks[1]).disposition, message


# -- every order of every small multiset (row 8) -----------------------------------------------------------------------


def stk_alphabet(number):
    checkout, receipt = f"ws_CO_{number}", f"RCT{number:07d}"
    return {
        "paid": ("STK", stk_success(checkout, receipt=receipt)),
        "denied": ("STK", stk_result(1, "no funds", checkout)),
        "cancelled": ("STK", stk_result(1032, "cancelled", checkout)),
        "expired": ("STK", stk_result(1019, "expired", checkout)),
        "less": ("STK", stk_success(checkout, 99, receipt)),
        "c2b": ("C2B_CONFIRMATION", confirmation(receipt, "100.00", f"N{number}")),
        "rubbish": ("STK", b'{"Body":{"stkCallback":'),
        "query paid": stk_query(0, checkout=checkout),
        "query cancelled": stk_query(1032, checkout=checkout),
        "deadline": None,
    }


def payout_alphabet(number):
    conversation, receipt = f"AG_20261121_{number}", f"RCT{number:07d}"

    def status(word):
        return result(
            0,
            receipt,
            "AG_q",
            "q",
            ReceiptNo=receipt,
            TransactionStatus=word,
            Amount=100,
            **{"Conversation ID": conversation},
        )

    return {
        "paid": ("B2C_RESULT", payout_success(100, receipt, conversation)),
        "failed": ("B2C_RESULT", result(2001, "XXX0000000", conversation)),
        "less": ("B2C_RESULT", payout_success(99, receipt, conversation)),
        "notice": ("B2C_TIMEOUT", {"OriginatorConversationID": "O"}),
        "status completed": ("STATUS_RESULT", status("Completed")),
        "status pending": ("STATUS_RESULT", status("Pending")),
        "status unknown": ("STATUS_RESULT", result(2032, "XXX0000000", "AG_q", "q")),
        "deadline": None,
    }


def final(desk, row, number):
    """What is known in the end, and whether a person has to look."""
    settled = desk.gateway.get(row)
    if settled.conflicts:
        return ("open conflict",)
    booked = desk.repository.find(Key.RECEIPT, ("174379", f"RCT{number:07d}"))
    own = booked is not None and booked.id != row.id
    return (
        settled.status,
        is_known(settled.status, settled.settled_by),
        settled.mpesa_receipt_number in (None, f"RCT{number:07d}") and bool(settled.mpesa_receipt_number),
        settled.amount,
        settled.announce_until,
        own,
    )


def play(desk, flow, order):
    number = sum(type(each).__name__ in ("StkPush", "B2CPayment") for each in desk.daraja.sent) + 1
    desk.daraja.answers["StkQuery"] = NotYet("wait", status=500)
    row = desk.push(reference=f"N{number}") if flow == "STK" else desk.pay(key=f"N{number}")
    known = int((row.checkout_request_id or row.conversation_id).rpartition("_")[2])
    alphabet = (stk_alphabet if flow == "STK" else payout_alphabet)(known)
    if flow == "STK":
        paid_at = (desk.clock() + timedelta(hours=3, seconds=5)).strftime("%Y%m%d%H%M%S")  # in Nairobi
        reported = {**confirmation(f"RCT{known:07d}", "100.00", f"N{number}"), "TransTime": paid_at}
        alphabet["c2b"] = ("C2B_CONFIRMATION", reported)
    for name in order:
        what = alphabet[name]
        if name == "deadline":
            desk.clock.forward(desk.settings.stk_deadline if flow == "STK" else desk.settings.payout_deadline)
            desk.gateway.reconcile()
        elif isinstance(what, tuple):
            desk.post(*what, None if what[0] == "C2B_CONFIRMATION" else row.callback_token)
        else:
            desk.daraja.answers["StkQuery"] = what
            desk.gateway.query(row)
            desk.daraja.answers["StkQuery"] = NotYet("wait", status=500)
    desk.recover(200)
    return row, known


@pytest.mark.faults
@pytest.mark.parametrize("flow", ["STK", "B2C"])
def test_order_does_not_matter(flow):
    """The same things in any order end the same; what contradicts itself is an open conflict in every order."""
    names = list((stk_alphabet if flow == "STK" else payout_alphabet)(1))
    multisets = [multiset for size in (2, 3, 4) for multiset in itertools.combinations_with_replacement(names, size)]
    trials.rng("orders", flow).shuffle(multisets)
    played = 0
    for multiset in multisets:
        if played >= trials.scaled(6500 if flow == "STK" else 3500):
            break
        desk = Desk(MemoryRepository())
        ends = {}
        for order in sorted(set(itertools.permutations(multiset))):
            row, number = play(desk, flow, order)
            ends.setdefault(final(desk, row, number), order)
            played += 1
        if "c2b" in multiset and {"denied", "cancelled"} & set(multiset):
            # A customer who cancels the prompt and then pays by himself looks like one whose cancellation is wrong.
            # If the confirmation came when the prompt was given up, it was taken for the prompt's: a person has to look.
            # Otherwise it is a payment of its own. Either way the money is counted once.
            ends.pop(("open conflict",), None)
            assert all(end[0] == Status.FAILED and end[-1] for end in ends), f"{multiset}: {ends}"
            continue
        assert 1 == len(ends), f"{multiset} ends differently: {ends}"
        assert [] == list(desk.repository.due_callbacks(desk.clock(), 10))


# -- what differs from what was asked for (row 28) -----------------------------------------------------------------------


@given(
    flow=st.sampled_from(["STK", "B2C", "C2B first", "query first"]),
    amount=st.integers(1, 250_000).filter(lambda amount: amount != 100),
    copies=st.integers(1, 3),
)
@settings(max_examples=trials.scaled(150))
def test_another_amount_settles_nothing(flow, amount, copies):
    """A success with another amount is never counted as paid, in no flow; a person is told, once for its duplicates."""
    desk = Desk(MemoryRepository())
    row = desk.pay() if flow == "B2C" else desk.push()
    if flow == "query first":
        desk.daraja.answers["StkQuery"] = stk_query(0)
        desk.gateway.query(row)
    if flow == "C2B first":
        desk.post("C2B_CONFIRMATION", confirmation(amount=f"{amount}.00"))
    body = payout_success(amount) if flow == "B2C" else stk_success(amount=amount)
    for _ in range(copies):
        desk.post("B2C_RESULT" if flow == "B2C" else "STK", body, row.callback_token)
    desk.recover(200)
    kept = desk.gateway.get(row)
    assert kept.mpesa_receipt_number is None
    assert 100 == kept.amount
    assert (Status.SUCCESS if flow == "query first" else Status.PROCESSING) == kept.status
    assert 1 == len(desk.fired("settlement_conflict"))
    assert 1 == len(kept.conflicts)


@given(phone=st.integers(700_000_000, 799_999_999).filter(lambda phone: phone != 708_374_149), masked=st.booleans())
@settings(max_examples=trials.scaled(100))
def test_another_phone_settles_nothing_quietly(phone, masked):
    """A success that shows another phone number is a conflict; one that is masked says nothing against it."""
    desk = Desk(MemoryRepository())
    row = desk.push()
    desk.post("STK", stk_success(phone="0708 *** 149" if masked else int(f"254{phone}")), row.callback_token)
    assert (Status.SUCCESS if masked else Status.PROCESSING) == desk.gateway.get(row).status
    assert (not masked) == bool(desk.fired("settlement_conflict"))


@given(short_code=st.integers(10_000, 9_999_999).map(str).filter(lambda code: code != "174379"))
@settings(max_examples=trials.scaled(100))
def test_another_short_code_settles_nothing(short_code):
    """A confirmation for another short code pays no push of ours, though amount, reference and phone agree."""
    desk = Desk(MemoryRepository())
    row = desk.push()
    desk.post("C2B_CONFIRMATION", confirmation(short=short_code, msisdn="254708374149"))
    desk.recover(200)
    assert Status.PROCESSING == desk.gateway.get(row).status


# -- what never arrives (row 7) ------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("dropped", [0.1, 0.3, 0.5, 0.9, 1.0])
def test_callbacks_that_never_arrive(dropped):
    """M-PESA's posts are dropped, 10 to 100 %: after the deadline and one sweep nothing is pending, and the books agree."""
    generator = trials.rng("dropped", dropped)
    shop = Shop(MemoryRepository)
    shop.lost = lambda url: "/status/" not in url and generator.random() < dropped
    for number in range(1, 41):
        shop.push(number, f"INV-{number}", idempotency_key=f"INV-{number}")
        shop.daraja.run_until_idle()
        shop.pay(1000 + number, f"PAY-{number}")
    shop.sweep(31)
    shop.sweep(shop.settings.stk_deadline)
    rows = [
        shop.repository.find("idempotency_key", f"{kind}-{number}")
        for kind in ("INV", "PAY")
        for number in range(1, 41)
    ]
    assert set() == {row.status for row in rows} & OPEN
    assert {Status.SUCCESS} == {row.status for row in rows}
    assert sum(range(1, 41)) == shop.daraja.ledger.total(Kind.STK_PUSH) == sum(row.amount for row in rows[:40])
    assert 80 == len(shop.fired("payment_confirmed", "payout_completed"))


def test_nothing_at_all_arrives():
    """Where even the answers to questions are lost, the deadline ends it: unknown, said so, and nobody pays again."""
    shop = Shop(MemoryRepository)
    shop.lost = lambda url: True
    shop.daraja.when(Behaviour(deliver=()), api=Api.STATUS)
    rows = [shop.pay(key=f"PAY-{number}") for number in range(5)]
    shop.sweep(shop.settings.payout_deadline + 1)
    assert [Status.TIMEOUT] * 5 == [shop.gateway.get(row).status for row in rows]
    assert [False] * 5 == [arguments["outcome_known"] for _, arguments in shop.fired("payout_failed")]
    shop.lost = lambda url: False
    shop.daraja.forget_rules()
    shop.sweep(30_000)
    assert [Status.SUCCESS] * 5 == [shop.gateway.get(row).status for row in rows]
    assert 5 == shop.daraja.count(Api.B2C)
