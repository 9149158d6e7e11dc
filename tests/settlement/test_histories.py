"""The histories that lose or double money elsewhere: each one a test, on every repository."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal, localcontext
from uuid import uuid4

import pytest

from mpesa_core.errors import DuplicateKey, NotYet, OutcomeUnknown, RefundExceedsPayment, StorageRefused
from mpesa_core.payments.machine import Source, is_known
from mpesa_core.payments.records import Disposition, Key, Status, TransactionDraft, TransactionType
from tests.settlement.desk import (
    Desk,
    confirmation,
    payout_success,
    result,
    stk_query,
    stk_result,
    stk_success,
)

RECEIPT = "NLJ7RT61SV"


def dispositions(desk, *callbacks):
    return [desk.repository.get_callback(each).disposition for each in callbacks]


def only_one_settlement(desk, row, signal="payment_confirmed"):
    """Settled once, announced once, nothing open."""
    settled = desk.gateway.get(row)
    assert (Status.SUCCESS, None) == (settled.status, settled.announce_until)
    assert 1 == len(desk.fired(signal))
    assert [] == list(desk.repository.due_callbacks(desk.clock() + timedelta(days=1), 10))
    return settled


# -- one callback, many times --------------------------------------------------------------------------------------


def test_duplicate_in_sequence(desk):
    """The same callback a thousand times: one settlement, one signal, a thousand bodies kept."""
    row = desk.push()
    callbacks = [desk.post("STK", stk_success(), row.callback_token) for _ in range(1000)]
    settled = only_one_settlement(desk, row)
    assert 1 == settled.generation
    assert dispositions(desk, *callbacks) == [Disposition.APPLIED, *[Disposition.DUPLICATE] * 999]


def test_duplicate_a_month_later(desk):
    """A duplicate thirty days later changes nothing and is logged as one."""
    row = desk.push()
    desk.post("STK", stk_success(), row.callback_token)
    before = desk.gateway.get(row)
    desk.clock.forward(30 * 86400)
    late = desk.post("STK", stk_success(), row.callback_token)
    assert [Disposition.DUPLICATE] == dispositions(desk, late)
    assert before == only_one_settlement(desk, row)


def test_replay_of_a_stored_callback(desk):
    """Replaying a callback that settled its transaction settles nothing again."""
    row = desk.push()
    callback = desk.post("STK", stk_success(), row.callback_token)
    before = desk.gateway.get(row)
    desk.gateway.replay(callback)
    assert before == only_one_settlement(desk, row)


# -- the answer and the callback -----------------------------------------------------------------------------------


def test_stk_answer_lost_after_acceptance(desk):
    """The push was accepted and its answer lost: the callback finds its row by the token, and settles it."""
    desk.daraja.answers["StkPush"] = OutcomeUnknown("the answer was lost")
    row = desk.push()
    assert row.checkout_request_id is None
    desk.post("STK", stk_success(), row.callback_token)
    assert "ws_CO_1" == only_one_settlement(desk, row).checkout_request_id


def test_stk_answer_lost_and_nothing_ever_comes(desk):
    """Without identifiers nothing can be asked: at its deadline the payment is TIMEOUT, and that is not known."""
    desk.daraja.answers["StkPush"] = OutcomeUnknown("the answer was lost")
    row = desk.push()
    desk.clock.forward(desk.settings.stk_deadline + 1)
    desk.gateway.reconcile()
    [(_, arguments)] = desk.fired("payment_failed")
    assert (Status.TIMEOUT, False) == (desk.gateway.get(row).status, arguments["outcome_known"])
    assert desk.gateway.get(row).announce_until is None


@pytest.mark.parametrize("with_token", [True, False])
def test_callback_before_the_answer(desk, with_token):
    """The callback is here before the push's own answer: it is applied within one sweep, once."""

    def early(operation):
        token = operation.callback_url.rstrip("/").rpartition("/")[2] if with_token else None
        desk.post("STK", stk_success(), token)
        return desk.daraja._accept(operation)

    desk.daraja.answers["StkPush"] = early
    row = desk.push()
    desk.recover()
    only_one_settlement(desk, row)


# -- one receipt, two reports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("msisdn", ["2547 ***** 149", "254708374149", "25470****149"])
def test_c2b_after_the_stk_callback(desk, msisdn):
    """The C2B confirmation of a payment that its STK callback settled is a duplicate."""
    row = desk.push()
    desk.post("STK", stk_success(), row.callback_token)
    second = desk.post("C2B_CONFIRMATION", confirmation(msisdn=msisdn))
    assert [Disposition.DUPLICATE] == dispositions(desk, second)
    only_one_settlement(desk, row)


def test_c2b_before_the_stk_callback(desk):
    """The C2B confirmation comes first: it waits for the STK callback, and then it is a duplicate."""
    row = desk.push()
    desk.post("C2B_CONFIRMATION", confirmation())
    assert Status.PROCESSING == desk.gateway.get(row).status
    desk.post("STK", stk_success(), row.callback_token)
    desk.recover(5)
    only_one_settlement(desk, row)


def test_c2b_instead_of_the_stk_callback(desk):
    """The STK callback never comes: when the grace is over the confirmation settles the push."""
    row = desk.push()
    desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    settled = only_one_settlement(desk, row)
    assert (RECEIPT, Source.CONFIRMATION) == (settled.mpesa_receipt_number, settled.settled_by)
    late = desk.post("STK", stk_success(), row.callback_token)
    assert [Disposition.DUPLICATE] == dispositions(desk, late)
    only_one_settlement(desk, row)


def test_c2b_for_a_till_has_no_reference(desk):
    """A till's confirmation names no account: it still finds its push."""
    row = desk.push()
    desk.post("C2B_CONFIRMATION", confirmation(reference=""))
    desk.recover(desk.settings.adoption_grace + 1)
    only_one_settlement(desk, row)


def test_c2b_of_another_customer_is_a_payment_of_its_own(desk):
    """The same amount and reference from another phone is not the push's."""
    row = desk.push()
    desk.post("C2B_CONFIRMATION", confirmation(msisdn="2547 ***** 150"))
    own = desk.repository.find(Key.RECEIPT, ("174379", RECEIPT))
    assert (TransactionType.C2B, Status.SUCCESS) == (own.transaction_type, own.status)
    assert Status.PROCESSING == desk.gateway.get(row).status


def test_c2b_that_nobody_initiated(repository):
    """A customer's own payment is created settled, with the host's fields, and confirmed once for its duplicates."""
    desk = Desk(repository)
    desk.gateway._driver._resolve_c2b = lambda callback: {"order": callback.account_reference}
    callbacks = [desk.post("C2B_CONFIRMATION", confirmation(reference=" any CASE  20 chars")) for _ in range(3)]
    row = desk.repository.find(Key.RECEIPT, ("174379", RECEIPT))
    only_one_settlement(desk, row)
    assert {"order": row.account_reference} == dict(row.host)
    assert [Disposition.APPLIED, Disposition.DUPLICATE, Disposition.DUPLICATE] == dispositions(desk, *callbacks)


def test_host_hook_that_fails_loses_no_payment(repository):
    """A resolve_c2b that raises puts the confirmation back; when it is mended the payment settles."""
    desk = Desk(repository)
    desk.gateway._driver._resolve_c2b = lambda callback: 1 / 0
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    assert "ZeroDivisionError" in desk.repository.get_callback(callback).error
    desk.gateway._driver._resolve_c2b = lambda callback: {}
    desk.recover(10)
    only_one_settlement(desk, desk.repository.find(Key.RECEIPT, ("174379", RECEIPT)))


# -- questions and callbacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(["callback", "confirmation"])))
def test_query_success_then_both(desk, order):
    """A query says success, and then the callback and the confirmation come: one signal, and the receipt is filled in."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    assert Status.SUCCESS == desk.gateway.query(row).status
    assert desk.gateway.get(row).confirmed_at is None
    for report in order:
        if report == "callback":
            desk.post("STK", stk_success(), row.callback_token)
        else:
            desk.post("C2B_CONFIRMATION", confirmation())
    settled = only_one_settlement(desk, row)
    assert (RECEIPT, 1) == (settled.mpesa_receipt_number, settled.generation)
    assert settled.confirmed_at is not None


def test_callback_that_never_comes_is_asked_about(desk):
    """A lost callback: the first sweep after query_after asks, and the answer settles."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.reconcile()
    assert 0 == desk.daraja.count("StkQuery")
    desk.clock.forward(desk.settings.query_after)
    desk.gateway.reconcile()
    only_one_settlement(desk, row)


@pytest.mark.parametrize("code", ["4999", 4999, "987654"])
def test_still_processing_settles_nothing(desk, code):
    """Answers that mean "not yet", or nothing that anybody knows, leave the payment open and ask again later."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(code, "The transaction is still under processing")
    for _ in range(3):
        desk.clock.forward(60)
        desk.gateway.reconcile()
    kept = desk.gateway.get(row)
    assert Status.PROCESSING == kept.status
    assert kept.next_check_at > desk.clock()


def test_one_payment_answers_in_every_way_in_turn(desk):
    """Too early, being processed, still processing and then paid: the one terminal answer settles."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = [
        NotYet("does not exist", status=500),
        NotYet("being processed", status=500),
        OutcomeUnknown("timeout"),
        stk_query(4999),
        stk_query(0),
    ]
    for _ in range(5):
        desk.clock.forward(400)
        if desk.gateway.get(row).status == Status.PROCESSING:
            desk.gateway.query(row)
    only_one_settlement(desk, row)


def test_payout_is_asked_about_and_its_status_settles(desk):
    """A payout whose answer and result are lost is asked about by our own id, and the status result settles it."""
    desk.daraja.answers["B2CPayment"] = OutcomeUnknown("lost")
    row = desk.pay()
    desk.clock.forward(desk.settings.query_after)
    desk.gateway.reconcile()
    assert (1, 1) == (desk.daraja.count("B2CPayment"), desk.daraja.count("TransactionStatus"))
    body = result(
        0,
        "SG632NMUAB",
        "AG_question",
        "question",
        ReceiptNo="SG632NMUAB",
        TransactionStatus="Completed",
        Amount=100,
        **{"Originator Conversation ID": row.originator_conversation_id, "Conversation ID": "AG_payout"},
    )
    desk.post("STATUS_RESULT", body, row.callback_token)
    settled = only_one_settlement(desk, row, "payout_completed")
    assert ("SG632NMUAB", "AG_payout") == (settled.mpesa_receipt_number, settled.conversation_id)


@pytest.mark.parametrize("code", [2032, 25, "SFC_IC0003", 2001])
def test_failed_question_says_nothing_of_the_payout(desk, code):
    """A status question that fails (not found, bad parameter, no right) leaves the payout open."""
    row = desk.pay()
    desk.post("STATUS_RESULT", result(code, "XXX0000000", "AG_q", "q"), row.callback_token)
    assert Status.PROCESSING == desk.gateway.get(row).status
    assert desk.names() == []


# -- payouts and notices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("notice", "result"), ("result", "notice")])
@pytest.mark.parametrize("crash", [False, True])
def test_queue_timeout_notice_and_result(desk, order, crash):
    """The notice and the result race: the result decides in both orders, also when the announcer dies in between."""
    row = desk.pay()
    if crash:
        desk.receivers["payout_completed"] = [die_once()]
    for what in order:
        body = payout_success() if what == "result" else {"OriginatorConversationID": row.originator_conversation_id}
        kind = "B2C_RESULT" if what == "result" else "B2C_TIMEOUT"
        try:
            desk.post(kind, body, row.callback_token)
        except Died:
            desk.signals.clear()
    if crash:
        desk.recover(desk.settings.announce_lease + 1)
    only_one_settlement(desk, row, "payout_completed")
    assert ["payout_completed"] == desk.names()


@pytest.mark.parametrize("later", ["success", "failure"])
@pytest.mark.parametrize("crash", [False, True])
def test_notice_as_an_outcome_yields_to_the_result(repository, later, crash):
    """With on_queue_timeout="timeout" the notice is payout_failed, unknown; the result follows as late, nothing lost."""
    desk = Desk(repository, on_queue_timeout="timeout")
    row = desk.pay()
    if crash:
        desk.receivers["payout_failed"] = [die_once()]
    try:
        desk.post("B2C_TIMEOUT", {"OriginatorConversationID": row.originator_conversation_id}, row.callback_token)
    except Died:
        desk.signals.clear()
    body = payout_success() if later == "success" else result(2001)
    desk.post("B2C_RESULT", body, row.callback_token)
    desk.recover(desk.settings.announce_lease + 1)
    signals = desk.fired("payout_failed", "payout_completed")
    last = "payout_completed" if later == "success" else "payout_failed"
    assert ["payout_failed", last] == [name for name, _ in signals]
    assert (False, True) == (signals[0][1]["outcome_known"], signals[1][1]["late"])
    assert 2 == desk.gateway.get(row).generation


def test_notice_makes_the_question_due(desk):
    """A queue-timeout notice settles nothing; the status question goes out with the next sweep."""
    row = desk.pay()
    desk.post("B2C_TIMEOUT", {"OriginatorConversationID": row.originator_conversation_id})
    desk.gateway.reconcile()
    assert (Status.PROCESSING, 1) == (desk.gateway.get(row).status, desk.daraja.count("TransactionStatus"))


# -- late, after having been given up ------------------------------------------------------------------------------


@pytest.mark.parametrize("given_up", ["deadline", "expired"])
@pytest.mark.parametrize("crash", [False, True])
def test_late_success_after_timeout(desk, given_up, crash):
    """A success after TIMEOUT is a settlement of its own with late=True, though the first announcer died."""
    row = given_up_payment(desk, given_up, crash)
    desk.post("STK", stk_success(), row.callback_token)
    desk.recover(desk.settings.announce_lease + 1)
    [(_, failed)] = desk.fired("payment_failed")
    [(_, confirmed)] = desk.fired("payment_confirmed")
    assert (False, True) == (failed["outcome_known"], confirmed["late"])
    assert (Status.SUCCESS, 2) == (desk.gateway.get(row).status, desk.gateway.get(row).generation)


@pytest.mark.parametrize("given_up", ["deadline", "expired"])
def test_late_failure_after_timeout(desk, given_up):
    """A definite failure after TIMEOUT makes it known, with a signal of its own."""
    row = given_up_payment(desk, given_up, crash=False)
    desk.post("STK", stk_result(1, "no funds"), row.callback_token)
    signals = [arguments for _, arguments in desk.fired("payment_failed")]
    assert [(False, False), (True, True)] == [(each["outcome_known"], each["late"]) for each in signals]
    settled = desk.gateway.get(row)
    assert (Status.FAILED, True) == (settled.status, is_known(settled.status, settled.settled_by))


def test_timeout_is_asked_about_until_the_horizon(desk):
    """What timed out is asked about ever more rarely, and not after the horizon."""
    row = given_up_payment(desk, "deadline", crash=False)
    desk.daraja.answers["StkQuery"] = NotYet("wait", status=500)
    asked = []
    for _ in range(2000):
        desk.clock.forward(600)
        if desk.gateway.reconcile().asked:
            asked.append(desk.clock())
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert asked[-1] - row.initiated_at <= timedelta(seconds=desk.settings.horizon)
    assert desk.gateway.get(row).next_check_at is None


def test_success_after_failed_on_mpesas_word(desk):
    """A success after M-PESA's own failure is kept as a conflict: nothing moves, and a person is told."""
    row = desk.push()
    desk.post("STK", stk_result(1, "no funds"), row.callback_token)
    later = desk.post("STK", stk_success(), row.callback_token)
    assert [Disposition.CONFLICT] == dispositions(desk, later)
    assert Status.FAILED == desk.gateway.get(row).status
    assert ["payment_failed", "payment_denied", "settlement_conflict"] == desk.names()


def test_success_after_failed_by_query(desk):
    """A failure that only a query told of yields to the callback's success."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(1032, "cancelled")
    desk.gateway.query(row)
    [(_, failed)] = desk.fired("payment_failed")
    desk.post("STK", stk_success(), row.callback_token)
    assert failed["outcome_known"] is False
    assert (Status.SUCCESS, 2) == (desk.gateway.get(row).status, desk.gateway.get(row).generation)


# -- contradictions ------------------------------------------------------------------------------------------------


def test_other_amount_then_query_success(desk):
    """An amount that differs is a conflict, and a query that says success afterwards does not settle past it."""
    row = desk.push()
    desk.post("STK", stk_success(amount=99), row.callback_token)
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    kept = desk.gateway.get(row)
    assert (Status.PROCESSING, Decimal(100)) == (kept.status, kept.amount)
    assert [] == desk.fired("payment_confirmed")
    assert {"settlement_conflict"} == set(desk.names())


def test_query_success_then_other_amount(desk):
    """The other order: the settlement by query stands, and the contradiction is open."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    desk.post("STK", stk_success(amount=99), row.callback_token)
    kept = desk.gateway.get(row)
    assert (Status.SUCCESS, 1, None) == (kept.status, len(kept.conflicts), kept.mpesa_receipt_number)
    assert ["payment_confirmed", "settlement_conflict"] == desk.names()


def test_receipt_of_another_payment(desk):
    """A receipt that settled another payment settles nothing more; the body is kept as a conflict."""
    first, second = desk.push(), desk.push(reference="INV-2")
    desk.post("STK", stk_success(), first.callback_token)
    stolen = desk.post("STK", stk_success(checkout="ws_CO_2"), second.callback_token)
    assert [Disposition.CONFLICT] == dispositions(desk, stolen)
    assert Status.PROCESSING == desk.gateway.get(second).status
    assert 1 == len(desk.fired("payment_confirmed"))


def test_forged_success_is_verified_first(repository):
    """With verify_before_settle a success callback settles nothing that M-PESA, when asked, does not confirm."""
    desk = Desk(repository, verify_before_settle=True)
    row = desk.push()
    desk.daraja.answers["StkQuery"] = [stk_query(4999), stk_query(0)]
    desk.post("STK", stk_success(), row.callback_token)
    assert (Status.PROCESSING, []) == (desk.gateway.get(row).status, desk.names())
    desk.recover(10)
    assert RECEIPT == only_one_settlement(desk, row).mpesa_receipt_number


def test_forged_success_that_mpesa_denies(repository):
    """With verify_before_settle a success that M-PESA denies is a conflict."""
    desk = Desk(repository, verify_before_settle=True)
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(1032, "cancelled")
    desk.post("STK", stk_success(), row.callback_token)
    assert [] == desk.fired("payment_confirmed")
    assert 1 == len(desk.fired("settlement_conflict"))


def test_success_is_verified_by_the_id_that_it_names(repository):
    """With verify_before_settle a callback of a payment whose answer was lost says what M-PESA is to be asked about."""
    desk = Desk(repository, verify_before_settle=True)
    desk.daraja.answers["StkPush"] = OutcomeUnknown("the answer was lost")
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.post("STK", stk_success(), row.callback_token)
    assert RECEIPT == only_one_settlement(desk, row).mpesa_receipt_number


def test_success_that_names_another_payment_is_not_verified_by_it(repository):
    """With verify_before_settle a callback that names another payment's id is a conflict, and M-PESA is not asked."""
    desk = Desk(repository, verify_before_settle=True)
    desk.push()
    desk.daraja.answers["StkPush"] = OutcomeUnknown("the answer was lost")
    row = desk.push(reference="INV-2")
    callback = desk.post("STK", stk_success(), row.callback_token)
    assert [Disposition.CONFLICT] == dispositions(desk, callback)
    assert (Status.PROCESSING, 0) == (desk.gateway.get(row).status, desk.daraja.count("StkQuery"))


def test_a_confirmation_reads_no_old_failures(desk, monkeypatch):
    """Payments that were asked for long before the customer paid are not even read: a till has ever more of them."""
    desk.push()
    desk.recover(desk.settings.unsent_after)
    read = []
    found = desk.repository.candidates

    def candidates(*arguments):
        read.extend(found(*arguments))
        return read

    monkeypatch.setattr(desk.repository, "candidates", candidates)
    desk.clock.forward(86_400)
    desk.post("C2B_CONFIRMATION", {**confirmation(reference=""), "TransTime": "20261122120005"})
    assert ([], 1) == (read, len(desk.fired("payment_confirmed")))


def test_payments_do_not_depend_on_the_hosts_arithmetic(desk):
    """A host that computes with six digits has its payments settled, and not a cent too much of them given back."""
    with localcontext(prec=6):
        row = desk.push(amount=1_234_567)
        desk.post("STK", stk_success(amount=1_234_567), row.callback_token)
        typed = desk.post("C2B_CONFIRMATION", confirmation(receipt="NLJ7RT61SX", amount="123456.78", reference="X"))
        assert [Disposition.APPLIED] == dispositions(desk, typed)
        assert Status.SUCCESS == desk.gateway.get(row).status
        desk.gateway.reverse(row, amount=1_234_566)
        with pytest.raises(RefundExceedsPayment):
            desk.gateway.reverse(row, amount=2)
        assert Decimal(1) == desk.gateway.reverse(row).amount


def test_a_payment_that_the_store_refuses_comes_before_a_person(desk, monkeypatch):
    """It keeps no other from being settled, is tried again for days, and is then a conflict that says why."""
    refused = StorageRefused("order_id must not be empty")
    row = desk.push()
    typed = desk.post("C2B_CONFIRMATION", confirmation(reference="X", receipt="NLJ7RT61SX"), process=False)
    desk.post("STK", stk_success(), row.callback_token, process=False)
    with monkeypatch.context() as refusing:
        refusing.setattr(desk.repository, "add", lambda _draft: (_ for _ in ()).throw(refused))
        desk.recover()
        assert (Status.SUCCESS, [None]) == (desk.gateway.get(row).status, dispositions(desk, typed))
        desk.recover(desk.settings.unmatched_after)
    assert ([Disposition.CONFLICT], 1) == (dispositions(desk, typed), desk.names().count("settlement_conflict"))
    assert "order_id must not be empty" in desk.repository.get_callback(typed).error
    assert "NLJ7RT61SX" == desk.gateway.accept(typed).mpesa_receipt_number


@pytest.mark.parametrize("wrong", ["STK", "B2C_RESULT", "REVERSAL_RESULT"])
def test_callback_on_another_products_url(desk, wrong):
    """A body of one product posted with the token of another product's transaction settles nothing."""
    row = desk.pay() if wrong == "STK" else desk.push()
    body = stk_success(checkout="ws_CO_none") if wrong == "STK" else payout_success(conversation="AG_none")
    callback = desk.post(wrong, body, row.callback_token)
    assert [Disposition.UNMATCHED] == dispositions(desk, callback)
    assert Status.PROCESSING == desk.gateway.get(row).status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"Body": 1}', b"\xff\xfe", b"<html>"])
def test_unreadable_body_is_kept(desk, caplog, body):
    """A body that nobody can read is closed as unreadable, with its bytes, changes nothing, and is told in the log."""
    row = desk.push()
    callback = desk.post("STK", body, row.callback_token)
    stored = desk.repository.get_callback(callback)
    assert (Disposition.UNREADABLE, body) == (stored.disposition, bytes(stored.raw_bytes))
    assert f"Callback {callback} (STK) cannot be read" in caplog.text
    assert Status.PROCESSING == desk.gateway.get(row).status


def test_balance_is_announced(desk):
    """A balance result reaches its signal with the raw payload and the accounts read from it."""
    desk.gateway.account_balance()
    body = result(
        0,
        "OA90000000",
        AccountBalance="Working Account|KES|346568.83|6186.83|340382.00|0.00&Float Account|KES|0.00|0.00|0.00|0.00",
        BOCompletedTime=20200109125710,
    )
    callback = desk.post("BALANCE_RESULT", body)
    [(_, arguments)] = desk.fired("balance_received")
    assert body == arguments["raw_payload"]
    assert Decimal("6186.83") == arguments["balances"][0].available
    assert [Disposition.APPLIED] == dispositions(desk, callback)


# -- crashes between settling and announcing -----------------------------------------------------------------------


class Died(BaseException):
    """The process is gone: nothing catches it."""


def die_once():
    left = [True]

    def receiver(**arguments):
        if left:
            left.pop()
            raise Died

    return receiver


def given_up_payment(desk, how, crash):
    row = desk.push()
    if crash:
        desk.receivers["payment_failed"] = [die_once()]
    try:
        if how == "expired":
            desk.post("STK", stk_result(1037, "DS timeout"), row.callback_token)
        else:
            desk.daraja.answers["StkQuery"] = NotYet("wait", status=500)
            desk.clock.forward(desk.settings.stk_deadline + 1)
            desk.gateway.reconcile()
    except Died:
        desk.signals.clear()
    return row


def test_crash_in_a_receiver_announces_again(desk):
    """A process that dies in a receiver leaves the fence up; when its lease lapses, the same generation is announced again."""
    row = desk.push()
    desk.receivers["payment_confirmed"] = [die_once()]
    with pytest.raises(Died):
        desk.post("STK", stk_success(), row.callback_token)
    assert desk.gateway.get(row).idempotency_locked
    assert not desk.recover(desk.settings.announce_lease - 1).announced
    assert 1 == desk.recover(2).announced
    [first, second] = [arguments["transaction"] for _, arguments in desk.fired("payment_confirmed")]
    assert (first.id, first.generation) == (second.id, second.generation)
    assert not desk.gateway.get(row).idempotency_locked


def test_announce_fires_again_on_request(desk):
    """announce(id) fires a settled transaction's signals once more, for a receiver that was mended."""
    row = desk.push()
    desk.post("STK", stk_success(), row.callback_token)
    desk.gateway.announce(str(row.id))
    assert 2 == len(desk.fired("payment_confirmed"))
    assert desk.gateway.get(row).announce_until is None


def test_unsent_row_is_swept(desk):
    """A row that was recorded and never sent (its process died) is FAILED and known, when it is old enough."""

    class Gone(BaseException):
        pass

    real = desk.repository.change
    desk.repository.change = lambda *arguments: (_ for _ in ()).throw(Gone())
    with pytest.raises(Gone):
        desk.push(idempotency_key="K")
    desk.repository.change = real
    row = desk.repository.find("idempotency_key", "K")
    assert Status.PENDING == row.status
    assert not desk.recover(desk.settings.unsent_after - 1).unsent
    assert 1 == desk.recover(2).unsent
    [(_, arguments)] = desk.fired("payment_failed")
    assert (Status.FAILED, "unsent", True) == (
        desk.gateway.get(row).status,
        desk.gateway.get(row).reason,
        arguments["outcome_known"],
    )
    assert 0 == desk.daraja.count("StkPush")


def test_two_identical_calls_with_one_key_and_the_first_answer_lost(desk):
    """The first call's answer is lost, the second has the same key: one request, and the callback settles it."""
    desk.daraja.answers["StkPush"] = OutcomeUnknown("lost")
    first = desk.push(idempotency_key="K")
    second = desk.push(idempotency_key="K")
    assert (first.id, 1) == (second.id, desk.daraja.count("StkPush"))
    desk.post("STK", stk_success(), first.callback_token)
    only_one_settlement(desk, first)


def test_imported_row_settles_like_a_sent_one(desk):
    """Evidence for a PENDING row that the host made by hand counts as for PROCESSING."""
    draft = TransactionDraft(
        id=uuid4(),
        transaction_type=TransactionType.STK_PUSH,
        short_code="174379",
        amount=Decimal(100),
        checkout_request_id="ws_CO_imported",
        initiated_at=desk.clock(),
    )
    desk.repository.add(draft)
    desk.post("STK", stk_success(checkout="ws_CO_imported"))
    only_one_settlement(desk, desk.repository.get(draft.id))


def test_next_months_payment_is_not_swallowed_by_one_without_a_receipt(desk):
    """A push that succeeded by query alone, and a month later the same amount to the same account: two payments."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.clock.forward(60)
    desk.gateway.reconcile()
    desk.clock.forward(30 * 86400)
    desk.post("C2B_CONFIRMATION", {**confirmation(receipt="RKTQDM7W6S"), "TransTime": "20261221120005"})
    desk.recover(desk.settings.adoption_grace + 1)
    first, second = (arguments["transaction"] for _, arguments in desk.fired("payment_confirmed"))
    assert (row.id, "RKTQDM7W6S") == (first.id, second.mpesa_receipt_number)
    assert None is desk.gateway.get(row).mpesa_receipt_number


def test_host_field_that_is_taken_does_not_turn_for_ever(desk, monkeypatch):
    """A store in which a field of the host's is unique refuses a C2B payment: it is put back, and becomes a conflict."""
    adds = []

    def taken(draft):
        adds.append(draft)
        raise DuplicateKey("order_id", None)

    monkeypatch.setattr(desk.repository, "add", taken)
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    assert (1, None) == (len(adds), desk.repository.get_callback(callback).disposition)
    desk.recover(desk.settings.unmatched_after)
    assert [callback] == [each.id for each in desk.gateway.conflicts()]


def test_confirmation_with_a_time_of_another_year(desk):
    """A confirmation whose time is years off still finds its push: money is matched by what is certain."""
    row = desk.push()
    desk.post("C2B_CONFIRMATION", {**confirmation(), "TransTime": "20191122063845"})
    desk.recover(desk.settings.adoption_grace + 1)
    only_one_settlement(desk, row)
