"""The fixtures and payloads that programs use in their own tests."""

from __future__ import annotations

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.callbacks import CallbackType, Unreadable, decode_callback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.payments.records import Status
from mpesa_core.sandbox import Behaviour, Delivery, Ending
from mpesa_core.settings import Settings
from mpesa_core.testing import payloads
from mpesa_core.webhooks import WebhookRequest

pytest_plugins = ["mpesa_core.testing.fixtures"]


def push(mpesa, amount=100):
    return mpesa.stk_push(phone_number="0712345678", amount=amount, account_reference="INV-1")


def test_payment_settles_when_it_is_delivered(mpesa, local_daraja):
    """The local Daraja's callback reaches the gateway in the same process, when the test says so."""
    payment = push(mpesa)
    assert Status.PROCESSING == mpesa.get(payment).status
    local_daraja.run_until_idle()
    assert Status.SUCCESS == mpesa.get(payment).status


def test_behaviour_is_chosen_by_the_test(mpesa, local_daraja):
    """A test chooses what the customer does, and that the callback comes twice."""
    local_daraja.script(Behaviour(ending=Ending.CANCEL, deliver=(Delivery(copies=2),)), api="stk_push")
    payment = push(mpesa)
    local_daraja.run_until_idle()
    assert (Status.FAILED, "cancelled") == (mpesa.get(payment).status, mpesa.get(payment).reason)


def test_payout_and_balance_need_nothing_more(mpesa, local_daraja):
    """The local Daraja's operator is set up, with cryptography or without."""
    payout = mpesa.payout(phone_number="0712345678", amount=50, idempotency_key="P")
    local_daraja.run_until_idle()
    assert Status.SUCCESS == mpesa.get(payout).status


def test_bodies_of_ones_own(mpesa, mpesa_webhooks):
    """A body made by the payload builders settles a payment through the webhooks."""
    payment = push(mpesa)
    body = payloads.posted(payloads.stk_success(payment.checkout_request_id, phone=254712345678))
    path = f"stk/callback/{payment.callback_token}"
    response = mpesa_webhooks.receive(WebhookRequest(method="POST", path=path, body=body, peer="196.201.214.200"))
    response.after()
    assert (200, Status.SUCCESS) == (response.status, mpesa.get(payment).status)


def test_server_is_reached_over_http(daraja_server, local_daraja):
    """The server fixture serves the same Daraja on loopback."""
    with DarajaClient(Settings(**local_daraja.settings(daraja_server.base_url))) as client:
        client.check_keys()
    assert 1 == local_daraja.count("oauth")


@pytest.mark.parametrize(
    ("callback_type", "body", "outcome"),
    [
        (CallbackType.STK, payloads.stk_success(), Outcome.SUCCESS),
        (CallbackType.STK, payloads.stk_result(1032), Outcome.CANCELLED),
        (CallbackType.C2B_CONFIRMATION, payloads.c2b_confirmation(), Outcome.SUCCESS),
        (CallbackType.B2C_RESULT, payloads.b2c_success(), Outcome.SUCCESS),
        (CallbackType.B2C_RESULT, payloads.result(2001), Outcome.FAILED),
    ],
)
def test_payloads_decode(callback_type, body, outcome):
    """Each builder's body is read as what it says it is."""
    message = decode_callback(callback_type, payloads.posted(body))
    assert not isinstance(message, Unreadable)
    assert outcome is message.outcome
