"""The SDK's own client, operations and decoder against the local Daraja."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.balance import AccountBalance
from mpesa_core.daraja.c2b import RegisterUrls, SimulateC2B
from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.express import StkPush, StkQuery
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import Busy, NotSent, NotYet, OutcomeUnknown
from mpesa_core.sandbox import Answer, Behaviour, DarajaServer, QueryAnswer
from mpesa_core.settings import Settings

URLS = {"result_url": "https://shop.example/pay/result", "timeout_url": "https://shop.example/pay/timeout"}


def stk_push(amount=100):
    return StkPush(
        amount=amount,
        phone_number="0712345678",
        callback_url="https://shop.example/pay/stk",
        account_reference="INV-1",
    )


def payout(identifier="p-1"):
    return B2CPayment(amount=200, phone_number="0712345678", originator_conversation_id=identifier, **URLS)


def connect(world, **changes):
    settings = {**world.daraja.settings(), "send_retries": 0, **changes}
    return DarajaClient.over(world.daraja.handle, Settings(**settings), clock=lambda: world.now, sleep=lambda _: None)


@pytest.fixture
def client(world):
    """A client whose other end is the world's local Daraja."""
    return connect(world)


def last(world, kind):
    world.daraja.run_until_idle()
    return decode_callback(kind, world.received[-1][1])


def test_push_and_query(world, client):
    """The SDK's push is accepted as it is, and callback and query are read as paid."""
    answer = client.send(stk_push())
    callback = last(world, CallbackType.STK)
    (entry,) = world.daraja.ledger.entries
    assert (Outcome.SUCCESS, entry.receipt, Decimal(100)) == (
        callback.outcome,
        callback.receipt_number,
        callback.amount,
    )
    assert answer.checkout_request_id == callback.correlation_id
    assert Outcome.SUCCESS is client.send(StkQuery(checkout_request_id=answer.checkout_request_id)).outcome


def test_a_till(world):
    """An account with a till pushes to the till."""
    settings = Settings(**world.daraja.settings(organisation=world.till))
    DarajaClient.over(world.daraja.handle, settings, clock=lambda: world.now).send(stk_push())
    assert Outcome.SUCCESS is last(world, CallbackType.STK).outcome


def test_payout_status_reversal_balance(world, client):
    """Every call with a credential is accepted, and its result read."""
    client.send(payout())
    assert Outcome.SUCCESS is last(world, CallbackType.B2C_RESULT).outcome
    client.send(TransactionStatus(originator_conversation_id="p-1", **URLS))
    status = last(world, CallbackType.STATUS_RESULT)
    assert (Outcome.SUCCESS, "p-1") == (status.outcome, status.originator_conversation_id)
    receipt = world.daraja.customer_pays(amount=70).receipt
    client.send(Reversal(transaction_id=receipt, amount=70, **URLS))
    assert Outcome.SUCCESS is last(world, CallbackType.REVERSAL_RESULT).outcome
    client.send(AccountBalance(**URLS))
    balances = {each.name: each.available for each in last(world, CallbackType.BALANCE_RESULT).balances}
    assert Decimal("999800.00") == balances["Utility Account"]


def test_c2b(world, client):
    """Registration and simulation are accepted, and the confirmation is read."""
    urls = {"confirmation_url": "https://shop.example/c", "validation_url": "https://shop.example/v"}
    for version in (1, 2):
        client.send(RegisterUrls(version=version, **urls))
        client.send(SimulateC2B(amount=30, phone_number="0712345678", account_reference="A-1", version=version))
        callback = last(world, CallbackType.C2B_CONFIRMATION)
        assert (Outcome.SUCCESS, Decimal(30)) == (callback.outcome, callback.amount)
        assert callback.receipt_number is not None


def test_without_cryptography(world, monkeypatch):
    """Where passwords cannot be encrypted, the sandbox offers a ready-made credential and takes no other."""
    monkeypatch.setattr("mpesa_core.sandbox.credentials.can_decrypt", lambda: False)
    assert "security_credential" in world.daraja.settings()
    connect(world).send(payout())
    assert Outcome.SUCCESS is last(world, CallbackType.B2C_RESULT).outcome


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour(answer=Answer.LOST), OutcomeUnknown),
        (Behaviour(answer=Answer.LOST, accepted=False), OutcomeUnknown),
        (Behaviour(answer=Answer.TRUNCATED), OutcomeUnknown),
        (Behaviour(answer=Answer.GARBAGE), OutcomeUnknown),
        (Behaviour(answer=Answer.EMPTY), OutcomeUnknown),
        (Behaviour(answer=Answer.GATEWAY_TIMEOUT), OutcomeUnknown),
        (Behaviour(answer=Answer.INTERNAL_ERROR), OutcomeUnknown),
        (Behaviour(answer=Answer.INTERNAL_ERROR, accepted=True), OutcomeUnknown),
        (Behaviour(answer=Answer.UNAVAILABLE), OutcomeUnknown),
        (Behaviour(answer=Answer.SPIKE_ARREST), Busy),
        (Behaviour(answer=Answer.NO_CONNECTION), NotSent),
    ],
)
def test_faults_become_the_errors_of_the_sdk(world, client, behaviour, error):
    """Each fault is the error that says what a caller may do, and the payout is posted once at most."""
    world.daraja.when(behaviour)
    with pytest.raises(error):
        client.send(payout())
    assert world.daraja.count("b2c") <= 1
    world.daraja.run_until_idle()
    assert behaviour.carried_out == bool(world.daraja.ledger.entries)


def test_pending_queries_become_not_yet(world, client):
    """What Daraja says of a push that is under way is NotYet, or a pending answer."""
    world.daraja.when(Behaviour(query=(QueryAnswer.DOES_NOT_EXIST, QueryAnswer.STILL_PROCESSING)))
    query = StkQuery(checkout_request_id=client.send(stk_push()).checkout_request_id)
    with pytest.raises(NotYet):
        client.send(query)
    assert Outcome.PENDING is client.send(query).outcome
    assert Outcome.SUCCESS is client.send(query).outcome


def test_over_real_http(world):
    """The same over a socket: a payout whose answer is lost is unknown, and was posted once."""
    world.daraja.script(Behaviour(answer=Answer.LOST), Behaviour())
    with (
        DarajaServer(world.daraja) as server,
        DarajaClient(Settings(**world.daraja.settings(server.base_url))) as client,
    ):
        with pytest.raises(OutcomeUnknown):
            client.send(payout())
        client.send(payout("p-2"))
    assert 1 == world.daraja.count("b2c", originator_conversation_id="p-1")
