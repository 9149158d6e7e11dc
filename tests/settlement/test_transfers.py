"""Transfers, tax, Pochi, identity, express checkout and refunds: transactions like any other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.express_checkout import ExpressCheckoutAccepted
from mpesa_core.daraja.identity import B2CIdentityPayment
from mpesa_core.daraja.pochi import B2Pochi
from mpesa_core.errors import IdempotencyMismatch, InvalidField, OutcomeUnknown, RefundExceedsPayment
from mpesa_core.payments.records import Status, TransactionType
from tests.settlement.desk import PHONE, confirmation, payout_success, result, stk_query, stk_success

TILL = "300583"


def transferred(amount="190.00", receipt="QKA81LK5CY", conversation="AG_20261121_1"):
    return result(
        0,
        receipt,
        conversation,
        Amount=amount,
        TransCompletedTime="20221110110717",
        ReceiverPartyPublicName="000000 - Biller",
    )


def transfer(desk, **more):
    given = {"receiver": "600000", "amount": 190, "account_reference": "353353", "idempotency_key": "T", **more}
    return desk.gateway.transfer(**given)


def test_transfer_completes_once(desk):
    """A transfer to a paybill is recorded, sent once for its key, and completed once for its duplicates."""
    row = transfer(desk)
    assert transfer(desk).id == row.id
    for _ in range(3):
        desk.post("B2B_RESULT", transferred(), row.callback_token)
    settled = desk.gateway.get(row)
    assert (TransactionType.B2B, Status.SUCCESS, "QKA81LK5CY") == (
        settled.transaction_type,
        settled.status,
        settled.mpesa_receipt_number,
    )
    assert (["transfer_completed"], 1) == (desk.names(), desk.daraja.count("B2BPayment"))


@pytest.mark.parametrize("code", ["SFC_IC0003", 2001, 8006, 1])
def test_transfer_fails_for_certain(desk, code):
    """M-PESA's failure of a transfer is known, and its code reaches the receiver as it is."""
    row = transfer(desk)
    desk.post("B2B_RESULT", result(code), row.callback_token)
    [(name, arguments)] = desk.fired("transfer_failed", "transfer_completed")
    assert ("transfer_failed", code, True) == (name, arguments["result_code"], arguments["outcome_known"])


def test_transfer_to_another_receiver_is_another_transfer(desk):
    """The receiver is part of what an idempotency key stands for."""
    transfer(desk)
    with pytest.raises(IdempotencyMismatch):
        transfer(desk, receiver="600001")


def test_unknown_transfer_is_asked_about(desk):
    """A transfer whose answer is lost stays open, is never sent again, and its status is asked by our own id."""
    desk.daraja.answers["B2BPayment"] = OutcomeUnknown("lost")
    row = transfer(desk)
    desk.clock.forward(desk.settings.query_after)
    desk.gateway.reconcile()
    question = desk.daraja.sent[-1]
    assert (Status.PROCESSING, 1) == (desk.gateway.get(row).status, desk.daraja.count("B2BPayment"))
    assert row.originator_conversation_id == question.originator_conversation_id


def test_mpesas_own_id_replaces_ours(desk):
    """Where M-PESA gives a transfer an originator id of its own, that is the one that is asked by."""
    desk.daraja.answers["B2BPayment"] = accepted("10571-9-1")
    row = transfer(desk)
    assert "10571-9-1" == row.originator_conversation_id


def accepted(originator):
    return Accepted(conversation_id="AG_1", originator_conversation_id=originator, response_code="0")


def test_tax_is_a_transfer(desk):
    """A tax remittance is settled by its result like a transfer."""
    row = desk.gateway.remit_tax(amount=190, payment_registration_number="PRN1234XN", idempotency_key="K")
    desk.post("B2B_RESULT", transferred(), row.callback_token)
    assert (TransactionType.TAX, Status.SUCCESS) == (row.transaction_type, desk.gateway.get(row).status)
    assert ["transfer_completed"] == desk.names()


@pytest.mark.parametrize(
    ("more", "operation", "kind"),
    [
        ({"pochi": True}, B2Pochi, TransactionType.POCHI),
        ({"identity": ("01", "12345678")}, B2CIdentityPayment, TransactionType.B2C),
    ],
)
def test_other_payouts(desk, more, operation, kind):
    """Pochi and payouts with an identity check are payouts, and complete as such."""
    row = desk.pay(**more)
    assert isinstance(desk.daraja.sent[-1], operation)
    desk.post("B2C_RESULT", payout_success(conversation=row.conversation_id), row.callback_token)
    assert (kind, Status.SUCCESS, ["payout_completed"]) == (
        row.transaction_type,
        desk.gateway.get(row).status,
        desk.names(),
    )


def express_result(row, code="0", **more):
    return {
        "resultCode": code,
        "resultDesc": "said so",
        "amount": "71.0",
        "requestId": row.originator_conversation_id,
        **more,
    }


@pytest.mark.parametrize("with_token", [True, False])
def test_express_checkout(desk, with_token):
    """Another till pays: its flat callback finds the transaction by token or by our request id."""
    desk.daraja.answers["ExpressCheckout"] = ExpressCheckoutAccepted(code="0", status="USSD Initiated Successfully")
    row = desk.gateway.express_checkout(
        payer_till=TILL, amount=71, payment_reference="INV-1", partner_name="Duka", idempotency_key="E"
    )
    body = express_result(row, conversationID="AG_20261121_9", transactionId="RDQ01NFT1Q", status="SUCCESS")
    desk.post("B2B_EXPRESS", body, row.callback_token if with_token else None)
    settled = desk.gateway.get(row)
    assert (Status.SUCCESS, "RDQ01NFT1Q") == (settled.status, settled.mpesa_receipt_number)
    assert ["transfer_completed"] == desk.names()


def test_express_checkout_cancelled(desk):
    """The other till's refusal is a failed transfer, known."""
    desk.daraja.answers["ExpressCheckout"] = ExpressCheckoutAccepted(code="0", status="USSD Initiated Successfully")
    row = desk.gateway.express_checkout(payer_till=TILL, amount=71, payment_reference="INV-1", partner_name="Duka")
    desk.post("B2B_EXPRESS", express_result(row, "4001", paymentReference="INV-1"), row.callback_token)
    assert (Status.FAILED, "cancelled") == (desk.gateway.get(row).status, desk.gateway.get(row).reason)


def paid(desk, amount=100):
    row = desk.push(amount=amount)
    desk.post("STK", stk_success(checkout=row.checkout_request_id, amount=amount), row.callback_token)
    return desk.gateway.get(row)


def test_refund_is_a_reversal_by_default(desk):
    """refund() without more gives back by reversal."""
    refund = desk.gateway.refund(paid(desk), 40)
    assert (TransactionType.REVERSAL, Decimal(40)) == (refund.transaction_type, refund.amount)


def test_refund_as_a_payout(desk):
    """A refund as a payout reserves on the payment, completes as both, and makes it REVERSED when all of it is back."""
    payment = paid(desk)
    refund = desk.gateway.refund(payment, as_payout=True, idempotency_key="R")
    with pytest.raises(RefundExceedsPayment):
        desk.gateway.refund(payment, 1)
    desk.post("B2C_RESULT", payout_success(conversation=refund.conversation_id), refund.callback_token)
    assert Status.REVERSED == desk.gateway.get(payment).status
    assert {"payment_confirmed", "payout_completed", "payment_refunded", "reversal_completed"} == set(desk.names())
    assert 1 == len(desk.fired("payment_refunded"))


def test_failed_payout_refund_frees_its_reservation(desk):
    """A refund whose payout is known to have failed can be made again."""
    payment = paid(desk)
    refund = desk.gateway.refund(payment, as_payout=True, idempotency_key="R")
    desk.post("B2C_RESULT", result(2001, conversation=refund.conversation_id), refund.callback_token)
    assert {} == dict(desk.gateway.get(payment).reserved)
    assert desk.gateway.refund(payment).amount == payment.amount


def test_payout_refund_of_a_payment_known_by_query_alone(desk):
    """Without a receipt there is nothing to reverse, and a payout gives it back."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    with pytest.raises(InvalidField, match="receipt"):
        desk.gateway.refund(row)
    assert Status.PROCESSING == desk.gateway.refund(row, as_payout=True, idempotency_key="R").status


def test_payout_refund_needs_a_number_and_a_key(desk):
    """A masked payer cannot be paid without saying whom, and no payout is made without a key."""
    desk.post("C2B_CONFIRMATION", confirmation(receipt="RKL51ZDR4F"))
    payment = desk.repository.find("mpesa_receipt_number", ("174379", "RKL51ZDR4F"))
    with pytest.raises(InvalidField, match="idempotency_key"):
        desk.gateway.refund(payment, as_payout=True)
    with pytest.raises(InvalidField, match="phone_number"):
        desk.gateway.refund(payment, as_payout=True, idempotency_key="R")
    refund = desk.gateway.refund(payment, as_payout=True, idempotency_key="R", phone_number=PHONE)
    assert PHONE == refund.phone_number


def test_receipt_of_a_payment_that_was_given_back_is_no_new_payment(desk):
    """A push known by query alone goes back by a payout; its confirmation, late, brings its receipt and no money."""
    row = desk.push()
    desk.daraja.answers["StkQuery"] = stk_query(0)
    desk.gateway.query(row)
    refund = desk.gateway.refund(row, as_payout=True, idempotency_key="BACK-1")
    desk.post("B2C_RESULT", payout_success(conversation=refund.conversation_id), refund.callback_token)
    desk.post("C2B_CONFIRMATION", confirmation())
    desk.recover(desk.settings.adoption_grace + 1)
    kept = desk.gateway.get(row)
    assert (Status.REVERSED, "NLJ7RT61SV") == (kept.status, kept.mpesa_receipt_number)
    assert 1 == len(desk.fired("payment_confirmed"))
