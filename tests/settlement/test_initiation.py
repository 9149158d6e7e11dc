"""Asking M-PESA to move money: what becomes of the row, its signal and its idempotency key."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    IdempotencyMismatch,
    InvalidField,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RefundExceedsPayment,
    RequestRefused,
    StorageUnavailable,
    TokenRefused,
    TransactionNotFound,
    UnexpectedAnswer,
)
from mpesa_core.payments.machine import Source, is_known
from mpesa_core.payments.records import Status
from mpesa_core.sandbox import LocalDaraja
from mpesa_core.settings import Account
from tests.settlement.desk import (
    PHONE,
    START,
    Desk,
    confirmation,
    payout_success,
    result,
    stk_query,
    stk_result,
    stk_success,
)

REFUSALS = [
    RequestRefused("no", status=400, code="400.002.02"),
    TokenRefused("no", status=401, code="401.002.01"),
    Busy("no", status=500, code="500.001.1001"),
]
UNKNOWNS = [OutcomeUnknown("lost"), NotYet("wait", status=500), UnexpectedAnswer("what", status=200)]
CALLS = [("push", "StkPush", "payment_failed"), ("pay", "B2CPayment", "payout_failed")]


def test_accepted_push_is_processing(desk):
    """An accepted push is PROCESSING with M-PESA's identifiers, and payment_initiated tells of it."""
    row = desk.push(order=7)
    assert (Status.PROCESSING, "ws_CO_1", "29115-1-1", {"order": 7}) == (
        row.status,
        row.checkout_request_id,
        row.merchant_request_id,
        dict(row.host),
    )
    assert ["payment_initiated"] == [name for name, _ in desk.signals]


def test_intent_is_recorded_before_the_first_byte(desk):
    """When the request leaves, the row is stored as PROCESSING already, under the token in its callback URL."""
    seen = []

    def look(operation):
        token = operation.callback_url.rstrip("/").rpartition("/")[2]
        seen.append(desk.repository.find("callback_token", token))
        return desk.daraja._accept(operation)

    desk.daraja.answers["StkPush"] = look
    desk.push()
    assert [Status.PROCESSING] == [row.status for row in seen]


@pytest.mark.parametrize(("call", "operation", "signal"), CALLS)
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_refusal_fails_for_certain(desk, call, operation, signal, error):
    """What Daraja refuses is FAILED and known, announced once, and raised with its row."""
    desk.daraja.answers[operation] = error
    with pytest.raises(type(error)) as caught:
        getattr(desk, call)()
    row = caught.value.transaction
    assert (Status.FAILED, Source.REFUSAL, error.code) == (row.status, row.settled_by, row.result_code_text)
    assert is_known(row.status, row.settled_by)
    [(_, arguments)] = desk.fired(signal)
    assert arguments["outcome_known"] is True
    assert row.announce_until is None


@pytest.mark.parametrize(("call", "operation", "signal"), CALLS)
def test_not_sent_fails_for_certain(desk, call, operation, signal):
    """What provably never left is FAILED and known, with the reason unsent."""
    desk.daraja.answers[operation] = NotSent("no route")
    with pytest.raises(NotSent) as caught:
        getattr(desk, call)()
    row = caught.value.transaction
    assert (Status.FAILED, "unsent") == (row.status, row.reason)
    [(_, arguments)] = desk.fired(signal)
    assert arguments["outcome_known"] is True


@pytest.mark.parametrize(("call", "operation", "signal"), CALLS)
@pytest.mark.parametrize("error", UNKNOWNS, ids=lambda error: type(error).__name__)
def test_unknown_stays_open(desk, call, operation, signal, error):
    """An unknown outcome leaves the row PROCESSING with a question scheduled, signals nothing and raises nothing."""
    desk.daraja.answers[operation] = error
    row = getattr(desk, call)()
    assert Status.PROCESSING == row.status
    assert row.next_check_at > START
    assert desk.names() == []


@pytest.mark.parametrize(("call", "operation", "expected"), [("push", "StkPush", None), ("pay", "B2CPayment", "open")])
def test_busy_that_may_have_done_it(desk, call, operation, expected):
    """A busy M-PESA that does not say that nothing was done fails a prompt, and leaves a payout open to be asked about."""
    desk.daraja.answers[operation] = Busy("System is busy", status=500, code="500.003.02", certain=False)
    if expected == "open":
        assert Status.PROCESSING == getattr(desk, call)().status
    else:
        with pytest.raises(Busy):
            getattr(desk, call)()


@pytest.mark.parametrize(("call", "operation", "signal"), CALLS)
@pytest.mark.parametrize("error", [None, *REFUSALS, NotSent("no route"), *UNKNOWNS], ids=lambda e: type(e).__name__)
def test_key_stays_with_its_row(desk, call, operation, signal, error):
    """Whatever became of it, the same call again with its key sends nothing, signals nothing and returns that row."""
    if error is not None:
        desk.daraja.answers[operation] = error
    key = {"idempotency_key": "K"} if call == "push" else {"key": "K"}
    try:
        first = getattr(desk, call)(**key)
    except type(error) as raised:
        first = raised.transaction
    signals = len(desk.signals)
    again = getattr(desk, call)(**key)
    assert (first.id, first.status, 1, signals) == (
        again.id,
        again.status,
        desk.daraja.count(operation),
        len(desk.signals),
    )


def test_key_with_other_parameters_is_a_mismatch(desk):
    """The same key for another amount and reference names both, and sends nothing."""
    desk.push(idempotency_key="K")
    with pytest.raises(IdempotencyMismatch) as caught:
        desk.push(amount=101, reference="INV-2", idempotency_key="K")
    assert (("amount", "account_reference"), 1) == (caught.value.differences, desk.daraja.count("StkPush"))


@pytest.mark.parametrize(
    ("settings", "missing"),
    [({"passkey": None}, "passkey"), ({"short_code": None}, "short_code"), ({"consumer_key": None}, "consumer_key")],
)
def test_missing_setting_is_told_before_anything_is_recorded(repository, settings, missing):
    """A push that the settings cannot carry names the setting, and leaves no row."""
    desk = Desk(repository, **settings)
    with pytest.raises(ConfigurationError, match=missing):
        desk.push(idempotency_key="K")
    assert desk.repository.find("idempotency_key", "K") is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"phone_number": "0202345678"}, "phone_number"),
        ({"amount": "10.50"}, "amount"),
        ({"amount": 1.0}, "amount"),
        ({"account_reference": "THIRTEEN-LONG"}, "account_reference"),
        ({"transaction_desc": ""}, "transaction_desc"),
    ],
)
def test_bad_field_is_told_before_anything_is_recorded(desk, arguments, field):
    """A value that M-PESA would refuse is refused here, by name, and leaves no row."""
    given = {"phone_number": PHONE, "amount": 1, "account_reference": "INV-1", "idempotency_key": "K", **arguments}
    with pytest.raises(InvalidField) as caught:
        desk.gateway.stk_push(**given)
    assert field == caught.value.field
    assert desk.repository.find("idempotency_key", "K") is None
    assert desk.daraja.sent == []


def test_each_request_has_its_own_token(desk):
    """Two requests never share a callback URL."""
    assert desk.push().callback_token != desk.push().callback_token


def test_payout_carries_our_own_id(desk):
    """B2C v3 sends an OriginatorConversationID that is stored before it leaves, and is not the row's id."""
    desk.daraja.answers["B2CPayment"] = OutcomeUnknown("lost")
    row = desk.pay()
    [sent] = desk.daraja.sent
    assert sent.originator_conversation_id == row.originator_conversation_id
    assert row.id.hex not in (sent.originator_conversation_id, row.callback_token)


def test_callback_that_came_before_the_answer_is_applied_in_one_sweep(desk):
    """A callback on a plain URL waits for its row's identifiers, and the next sweep applies it."""

    def callback_first(operation):
        desk.post("STK", stk_success(checkout="ws_CO_1"))
        return desk.daraja._accept(operation)

    desk.daraja.answers["StkPush"] = callback_first
    row = desk.push()
    assert Status.PROCESSING == row.status
    desk.recover()
    assert Status.SUCCESS == desk.gateway.get(row).status
    assert ["payment_confirmed"] == desk.names()


def test_late_answer_does_not_disturb_a_settled_row(desk):
    """The answer's identifiers are added to a row that its callback settled meanwhile, and nothing else changes."""

    def callback_first(operation):
        token = operation.callback_url.rstrip("/").rpartition("/")[2]
        desk.post("STK", stk_success(checkout="ws_CO_1"), token)
        return desk.daraja._accept(operation)

    desk.daraja.answers["StkPush"] = callback_first
    row = desk.push()
    assert (Status.SUCCESS, "ws_CO_1", 1) == (row.status, row.checkout_request_id, row.generation)
    assert ["payment_confirmed"] == desk.names()


def paid(desk, amount=100):
    row = desk.push(amount=amount)
    desk.post("STK", stk_success(checkout=row.checkout_request_id, amount=amount), row.callback_token)
    return desk.gateway.get(row)


def test_whole_reversal(desk):
    """A reversal of all of it makes the payment REVERSED, and says so with both transactions."""
    payment = paid(desk)
    reversal = desk.gateway.reverse(payment)
    assert {str(reversal.id): "100.00"} == dict(desk.gateway.get(payment).reserved)
    desk.post(
        "REVERSAL_RESULT", result(receipt="RV1000000X", conversation=reversal.conversation_id), reversal.callback_token
    )
    original = desk.gateway.get(payment)
    assert (Status.REVERSED, 2, None) == (original.status, original.generation, original.announce_until)
    assert ["payment_confirmed", "reversal_completed", "payment_refunded"] == desk.names()
    [(_, arguments)] = desk.fired("reversal_completed")
    assert (payment.id, reversal.id) == (arguments["transaction"].id, arguments["reversal"].id)


def test_partial_reversals_add_up(desk):
    """Two reversals of a part each: the payment is REVERSED with the second, and never more goes back than came."""
    payment = paid(desk)
    first = desk.gateway.reverse(payment, amount=40)
    desk.post("REVERSAL_RESULT", result(receipt="RV1000000X", conversation=first.conversation_id), first.callback_token)
    assert Status.SUCCESS == desk.gateway.get(payment).status
    with pytest.raises(RefundExceedsPayment) as caught:
        desk.gateway.reverse(payment, amount=61)
    assert (Decimal(100), Decimal(40), Decimal(61)) == (
        caught.value.paid,
        caught.value.reserved,
        caught.value.asked,
    )
    second = desk.gateway.reverse(payment)
    assert Decimal(60) == second.amount
    desk.post(
        "REVERSAL_RESULT", result(receipt="RV1000000Y", conversation=second.conversation_id), second.callback_token
    )
    assert Status.REVERSED == desk.gateway.get(payment).status
    assert ["payment_refunded", "payment_refunded"] == [name for name in desk.names() if name == "payment_refunded"]


@pytest.mark.parametrize("code", [1, 2001, "R000002"])
def test_failed_reversal_frees_what_it_reserved(desk, code):
    """A reversal that is known to have failed gives its reservation back, and the payment stays."""
    payment = paid(desk)
    reversal = desk.gateway.reverse(payment)
    desk.post("REVERSAL_RESULT", result(code, conversation=reversal.conversation_id), reversal.callback_token)
    original = desk.gateway.get(payment)
    assert (Status.SUCCESS, {}) == (original.status, dict(original.reserved))
    [(_, arguments)] = desk.fired("reversal_failed")
    assert (payment.id, True) == (arguments["transaction"].id, arguments["outcome_known"])


def test_unknown_reversal_keeps_its_reservation(desk):
    """While a reversal's outcome is unknown its amount stays reserved, also after its deadline."""
    payment = paid(desk)
    desk.daraja.answers["Reversal"] = OutcomeUnknown("lost")
    desk.gateway.reverse(payment)
    desk.clock.forward(desk.settings.payout_deadline + 1)
    desk.gateway.reconcile()
    with pytest.raises(RefundExceedsPayment):
        desk.gateway.reverse(payment)


def test_refused_reversal_frees_what_it_reserved(desk):
    """A reversal that Daraja refuses is known to have failed at once."""
    payment = paid(desk)
    desk.daraja.answers["Reversal"] = RequestRefused("no", status=400)
    with pytest.raises(RequestRefused):
        desk.gateway.reverse(payment)
    assert {} == dict(desk.gateway.get(payment).reserved)


def test_reversal_with_a_key_is_sent_once(desk):
    """The same reversal again with its key returns the first one, also when it reserved all of the payment."""
    payment = paid(desk)
    first = desk.gateway.reverse(payment, idempotency_key="R")
    assert first.id == desk.gateway.reverse(payment, idempotency_key="R").id
    assert 1 == desk.daraja.count("Reversal")


def test_payout_cannot_be_reversed(desk):
    """M-PESA reverses payments by customers, not payouts; the error says so."""
    payout = desk.pay()
    desk.post("B2C_RESULT", payout_success(conversation=payout.conversation_id), payout.callback_token)
    with pytest.raises(InvalidField, match="reverses no payouts"):
        desk.gateway.reverse(payout)


def test_nothing_to_reverse(desk):
    """A transaction that does not exist is told apart from one that cannot be reversed."""
    with pytest.raises(TransactionNotFound):
        desk.gateway.reverse(UUID(int=9))


def test_c2b_payment_is_reversed_too(desk):
    """A payment that the customer started is reversed like a prompted one."""
    desk.post("C2B_CONFIRMATION", confirmation(receipt="RKL51ZDR4F"))
    payment = desk.repository.find("mpesa_receipt_number", ("174379", "RKL51ZDR4F"))
    reversal = desk.gateway.reverse(payment)
    desk.post(
        "REVERSAL_RESULT", result(receipt="RV1000000X", conversation=reversal.conversation_id), reversal.callback_token
    )
    assert Status.REVERSED == desk.gateway.get(payment).status


def test_another_account_sends_from_its_own_short_code(repository):
    """gateway.account(name) pushes on that account, and its callbacks find it."""
    till = {"short_code": "600000", "till_number": "600001", "passkey": "other"}
    desk = Desk(repository, accounts={"till": Account(**till)})
    row = desk.gateway.account("till").stk_push(phone_number=PHONE, amount=5, account_reference="X")
    assert ("till", "600000") == (row.account, row.short_code)
    assert "174379" == desk.push().short_code
    with pytest.raises(ConfigurationError, match="tell"):
        desk.gateway.account("tell")


def test_refusal_after_the_money_came_is_a_conflict(desk):
    """A refusal of a request whose success is known already contradicts it, and is kept for a person."""

    def pay_then_refuse(operation):
        token = operation.callback_url.rstrip("/").rpartition("/")[2]
        desk.post("STK", stk_success(), token)
        raise RequestRefused("no", status=400, code="400.002.02")

    desk.daraja.answers["StkPush"] = pay_then_refuse
    with pytest.raises(RequestRefused) as caught:
        desk.push()
    row = desk.gateway.get(caught.value.transaction)
    assert (Status.SUCCESS, 1) == (row.status, len(row.conflicts))
    assert ["payment_confirmed", "settlement_conflict"] == desk.names()


def test_cancelled_push_frees_nothing_but_says_so(desk):
    """A customer's cancellation fires payment_failed and payment_cancelled, each once."""
    row = desk.push()
    desk.post("STK", stk_result(1032), row.callback_token)
    assert ["payment_failed", "payment_cancelled"] == desk.names()


def test_vault_that_is_down_leaves_nothing_open(repository):
    """A secret that cannot be fetched means that nothing was sent: the row is FAILED and known, not open."""

    def vault():
        raise ConnectionError("down")

    desk = Desk(repository, passkey=vault)
    desk.gateway._driver._client = DarajaClient.over(LocalDaraja(post=lambda *_: 200).handle, desk.settings)
    with pytest.raises(NotSent) as caught:
        desk.push()
    assert (Status.FAILED, "unsent") == (caught.value.transaction.status, caught.value.transaction.reason)


@pytest.mark.parametrize("key", [None, "", "  ", 7])
def test_payout_needs_a_key_that_tells_it_apart(desk, key):
    """A payout without a key, or with an empty one, is refused before anything is recorded or sent."""
    with pytest.raises(InvalidField, match="idempotency_key"):
        desk.pay(key=key)
    assert [] == desk.daraja.sent


@pytest.mark.parametrize("key", ["", " "])
def test_empty_key_is_no_key(desk, key):
    """An empty key, which two orders would share, is refused also where none is needed."""
    with pytest.raises(InvalidField, match="idempotency_key"):
        desk.push(idempotency_key=key)
    assert [] == desk.daraja.sent


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"pochi": "no"}, "pochi"),
        ({"pochi": True, "identity": ("01", "12345678")}, "pochi"),
        ({"identity": "87654321"}, "identity"),
        ({"identity": ()}, "identity"),
    ],
)
def test_whose_wallet_is_paid_is_not_guessed(desk, arguments, field):
    """A word for a flag, and a check that could not be made, are refused before a payout is recorded or sent."""
    with pytest.raises(InvalidField) as caught:
        desk.pay(**arguments)
    assert (field, []) == (caught.value.field, desk.daraja.sent)
    assert "87654321" not in str(caught.value)


def test_whether_a_refund_is_a_payout_is_not_guessed(desk):
    """A word for the flag would send a payout where a reversal was meant."""
    payment = paid(desk)
    with pytest.raises(InvalidField, match="as_payout"):
        desk.gateway.refund(payment, as_payout="no", idempotency_key="BACK-1")
    assert 1 == len(desk.daraja.sent)


@pytest.mark.parametrize(
    "call", ["get", "query", "reverse", "refund", "announce", "accept", "dismiss", "replay", "process"]
)
@pytest.mark.parametrize("named", [None, 7, "", "INV-1", b"x", [], object()])
def test_what_names_no_row_is_told(desk, call, named):
    """Whatever is given instead of a row or its id is named in the error, with what was expected."""
    with pytest.raises(InvalidField, match="its id, or its id as text"):
        getattr(desk.gateway, call)(named)


@pytest.mark.parametrize("name", [None, 7, [], "till"])
def test_an_account_that_there_is_not(desk, name):
    """Whatever names no account of the settings is told."""
    with pytest.raises(ConfigurationError, match="no such account"):
        desk.gateway.account(name)


@pytest.mark.parametrize("answer", [None, OutcomeUnknown("lost")], ids=["accepted", "unknown"])
@pytest.mark.parametrize("call", ["push", "pay"])
def test_a_store_that_fails_after_the_sending_is_no_reason_to_ask_again(desk, monkeypatch, call, answer):
    """What was sent is returned as it was sent, although the store failed just then, and settles by its callback."""
    failing = ("get", "change", "open_callbacks")

    def sent(operation):
        for name in failing:
            monkeypatch.setattr(
                desk.repository, name, lambda *_, **__: (_ for _ in ()).throw(StorageUnavailable("gone"))
            )
        if answer is not None:
            raise answer
        return desk.daraja._accept(operation)

    desk.daraja.answers = {"StkPush": sent, "B2CPayment": sent}
    row = getattr(desk, call)()
    monkeypatch.undo()
    assert (Status.PROCESSING, None, None) == (row.status, row.checkout_request_id, row.conversation_id)
    kind, body = ("STK", stk_success()) if call == "push" else ("B2C_RESULT", payout_success(amount="100"))
    desk.post(kind, body, row.callback_token)
    assert Status.SUCCESS == desk.gateway.get(row).status


def test_refund_of_a_payment_whose_receipt_came_meanwhile_is_the_same(desk):
    """The same call again gives the refund that there is, although the payment has its receipt only now."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    first = desk.gateway.refund(row, as_payout=True, idempotency_key="BACK-1")
    desk.post("C2B_CONFIRMATION", confirmation())
    assert desk.gateway.get(row).mpesa_receipt_number is not None
    assert first.id == desk.gateway.refund(row, as_payout=True, idempotency_key="BACK-1").id
    assert 1 == desk.daraja.count("B2CPayment")
