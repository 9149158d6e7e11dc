"""What a person does about a conflict."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from mpesa_core.errors import DuplicateKey, IllegalTransition, InvalidField, OutcomeUnknown, TransactionNotFound
from mpesa_core.payments.machine import Source
from mpesa_core.payments.records import Disposition, Key, Status, TransactionType
from tests.settlement.desk import confirmation, result, stk_query, stk_result, stk_success


def underpaid(desk):
    row = desk.push()
    callback = desk.post("STK", stk_success(amount=50), row.callback_token)
    return row, callback


def test_underpayment_is_kept_and_announced_once(desk):
    """Another amount than asked settles nothing; its duplicates raise it no second time, and both bodies are kept."""
    row, first = underpaid(desk)
    second = desk.post("STK", stk_success(amount=50), row.callback_token)
    kept = desk.gateway.get(row)
    assert (Status.PROCESSING, 1, ["settlement_conflict"]) == (kept.status, len(kept.conflicts), desk.names())
    dispositions = [desk.repository.get_callback(each).disposition for each in (first, second)]
    assert [Disposition.CONFLICT, Disposition.DUPLICATE] == dispositions
    assert [first] == [each.id for each in desk.gateway.conflicts()]


def test_accepting_settles_with_what_came(desk):
    """Accepting an underpayment settles it with the amount that really came, and resolves the conflict."""
    _, callback = underpaid(desk)
    settled = desk.gateway.accept(callback)
    assert (Status.SUCCESS, Decimal("50.00"), Source.PERSON, {}, None) == (
        settled.status,
        settled.amount,
        settled.settled_by,
        dict(settled.conflicts),
        settled.announce_until,
    )
    assert ["settlement_conflict", "payment_confirmed"] == desk.names()
    assert [] == list(desk.gateway.conflicts())


def test_accepting_resolves_what_was_held(desk):
    """What came while the conflict was open is resolved with it."""
    row, callback = underpaid(desk)
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    assert Status.PROCESSING == desk.gateway.get(row).status
    assert 2 == len(desk.gateway.conflicts())
    desk.gateway.accept(callback)
    assert [] == list(desk.gateway.conflicts())


def test_success_after_failure_is_accepted_by_a_person(desk):
    """A success after M-PESA's own failure is a conflict, and one call accepts it."""
    row = desk.push()
    desk.post("STK", stk_result(1, "no funds"), row.callback_token)
    late = desk.post("STK", stk_success(), row.callback_token)
    assert Status.FAILED == desk.gateway.get(row).status
    settled = desk.gateway.accept(late)
    assert (Status.SUCCESS, "NLJ7RT61SV", 2) == (settled.status, settled.mpesa_receipt_number, settled.generation)
    assert ["payment_failed", "payment_denied", "settlement_conflict", "payment_confirmed"] == desk.names()


def test_failure_after_success_can_only_be_dismissed(desk):
    """A success is undone by nothing but a reversal; its contradiction is dismissed."""
    row = desk.push()
    desk.post("STK", stk_success(), row.callback_token)
    failure = desk.post("STK", stk_result(1), row.callback_token)
    with pytest.raises(IllegalTransition):
        desk.gateway.accept(failure)
    desk.gateway.dismiss(failure)
    kept = desk.gateway.get(row)
    assert (Status.SUCCESS, {}, []) == (kept.status, dict(kept.conflicts), list(desk.gateway.conflicts()))


def test_dismissing_lets_the_transaction_go_on(desk):
    """After a dismissed conflict an open transaction settles by itself again."""
    row, callback = underpaid(desk)
    desk.gateway.dismiss(callback)
    desk.post("STK", stk_success(receipt="NLJ7RT61SX"), row.callback_token)
    assert Status.SUCCESS == desk.gateway.get(row).status


@pytest.mark.parametrize("act", ["accept", "dismiss"])
def test_only_open_conflicts_can_be_resolved(desk, act):
    """A callback that is no open conflict, or does not exist, is refused by name."""
    _, callback = underpaid(desk)
    getattr(desk.gateway, act)(callback)
    for nothing in (callback, UUID(int=5)):
        with pytest.raises(TransactionNotFound, match=str(nothing)):
            getattr(desk.gateway, act)(nothing)


def test_receipt_of_another_transaction_cannot_be_accepted(desk):
    """One receipt is one settlement, also on a person's word."""
    first, second = desk.push(), desk.push()
    desk.post("STK", stk_success(), first.callback_token)
    stolen = desk.post("STK", stk_success(checkout="ws_CO_2"), second.callback_token)
    kept = desk.gateway.get(second)
    assert (Status.PROCESSING, 1) == (kept.status, len(kept.conflicts))
    with pytest.raises(DuplicateKey):
        desk.gateway.accept(stolen)


def test_ambiguous_confirmation_waits_for_a_person(desk):
    """A confirmation that fits two open pushes is nobody's until a person says whose."""
    first, second = desk.push(), desk.push()
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    assert [1, 1] == [len(desk.gateway.get(each).conflicts) for each in (first, second)]
    assert ["settlement_conflict"] == desk.names()
    settled = desk.gateway.accept(callback, transaction=second)
    assert (second.id, Status.SUCCESS, "NLJ7RT61SV") == (settled.id, settled.status, settled.mpesa_receipt_number)


def test_ambiguous_confirmation_frees_the_other_payment(desk):
    """When a person has said whose a confirmation is, the other payment is no longer held by it."""
    first, second = desk.push(), desk.push()
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    desk.gateway.accept(callback, transaction=second)
    desk.post("STK", stk_success(receipt="NLJ7RT61SX"), first.callback_token)
    assert Status.SUCCESS == desk.gateway.get(first).status


def test_ambiguous_confirmation_may_be_a_payment_of_its_own(desk):
    """Accepted for no transaction, a confirmation becomes a C2B payment."""
    desk.push(), desk.push()
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    settled = desk.gateway.accept(callback)
    assert (TransactionType.C2B, Status.SUCCESS) == (settled.transaction_type, settled.status)
    assert settled.id == desk.repository.find(Key.RECEIPT, ("174379", "NLJ7RT61SV")).id


def test_what_never_matches_becomes_a_conflict(desk):
    """A result that belongs to nothing waits in the log, and after some days it is shown to a person."""
    callback = desk.post("B2C_RESULT", result(conversation="AG_20261121_none", originator="none"))
    assert Disposition.UNMATCHED == desk.repository.get_callback(callback).disposition
    for _ in range(30):
        desk.recover(desk.settings.unmatched_after / 20)
    assert [callback] == [each.id for each in desk.gateway.conflicts()]
    assert ["settlement_conflict"] == desk.names()
    with pytest.raises(TransactionNotFound, match="which one"):
        desk.gateway.accept(callback)


def test_unknown_code_is_asked_about_and_shown(desk):
    """A code that nobody has documented settles nothing; M-PESA is asked at once and a person sees it."""
    row = desk.push()
    callback = desk.post("STK", stk_result(987654, "Something new"), row.callback_token)
    assert [callback] == [each.id for each in desk.gateway.conflicts()]
    assert Status.PROCESSING == desk.gateway.get(row).status
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.reconcile()
    assert Status.SUCCESS == desk.gateway.get(row).status


def reversal(desk):
    payment = desk.push()
    desk.post("STK", stk_success(checkout=payment.checkout_request_id), payment.callback_token)
    return desk.gateway.reverse(payment)


def transfer(desk):
    return desk.gateway.transfer(receiver="600000", amount=190, account_reference="353353", idempotency_key="T")


@pytest.mark.parametrize("code", [987654, "SFC_NEW01", None, True])
@pytest.mark.parametrize(
    ("kind", "send"), [("B2C_RESULT", lambda desk: desk.pay()), ("REVERSAL_RESULT", reversal), ("B2B_RESULT", transfer)]
)
def test_unknown_code_of_what_went_out_is_shown(desk, kind, send, code):
    """Money that was sent with a code that nobody has documented is neither gone nor free: a person sees it."""
    row = send(desk)
    desk.signals.clear()
    body = result(code, "SKL1234567", row.conversation_id, row.originator_conversation_id)
    callback = desk.post(kind, body, row.callback_token)
    assert [callback] == [each.id for each in desk.gateway.conflicts()]
    assert (Status.PROCESSING, ["settlement_conflict"]) == (desk.gateway.get(row).status, desk.names())


def test_replayed_conflict_is_seen_again(desk):
    """A dismissed conflict that is replayed holds its transaction again, and so a person finds it again."""
    row, callback = underpaid(desk)
    desk.gateway.dismiss(callback)
    desk.gateway.replay(callback)
    assert [callback] == [each.id for each in desk.gateway.conflicts()]
    desk.gateway.accept(callback)
    assert (Status.SUCCESS, {}) == (desk.gateway.get(row).status, desk.gateway.get(row).conflicts)


def test_accepting_what_another_callback_holds_settles(desk):
    """A callback that found nobody for days, accepted for a payment that another one with the same words holds."""
    desk.daraja.answers["StkPush"] = OutcomeUnknown("the answer was lost")
    row = desk.push()
    lost = desk.post("STK", stk_success(amount=60))
    desk.recover(desk.settings.unmatched_after)
    holder = desk.post("STK", stk_success(amount=60), row.callback_token)
    assert {lost, holder} == {each.id for each in desk.gateway.conflicts()}
    settled = desk.gateway.accept(lost, transaction=row)
    assert (Status.SUCCESS, Decimal(60)) == (settled.status, settled.amount)
    assert [] == list(desk.gateway.conflicts())


def test_accepting_for_another_payment_frees_the_one_that_was_held(desk):
    """A callback with one payment's token and another's id, accepted for the other: neither is held any more."""
    held, other = desk.push(), desk.push()
    callback = desk.post("STK", stk_success(checkout="ws_CO_2"), held.callback_token)
    assert 1 == len(desk.gateway.get(held).conflicts)
    assert Status.SUCCESS == desk.gateway.accept(callback, transaction=other).status
    assert {} == desk.gateway.get(held).conflicts


def test_accepting_again_what_was_accepted_halfway(desk, monkeypatch):
    """A process that died after it had recorded the accepted payment: accepting again resolves it, and counts once."""
    first, second = desk.push(), desk.push()
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    with monkeypatch.context() as dying:
        dying.setattr(desk.repository, "change_callback", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk.gateway.accept(callback)
    assert 1 == len(desk.gateway.conflicts())
    settled = desk.gateway.accept(callback)
    desk.recover(desk.settings.announce_lease)
    assert (TransactionType.C2B, Status.SUCCESS) == (settled.transaction_type, settled.status)
    assert (["settlement_conflict", "payment_confirmed"], []) == (desk.names(), list(desk.gateway.conflicts()))
    assert [{}, {}] == [desk.gateway.get(each).conflicts for each in (first, second)]


def test_payment_is_not_accepted_for_a_payout(desk):
    """A customer's payment settles no payout, also on a person's word."""
    payout = desk.pay()
    desk.push(), desk.push()
    callback = desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    with pytest.raises(InvalidField, match="B2C"):
        desk.gateway.accept(callback, transaction=payout)
    assert Status.PROCESSING == desk.gateway.get(payout).status
