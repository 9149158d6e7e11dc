"""The SDK's own operations of the further products against the local Daraja: every answer is typed, every callback read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.b2b import B2BCommand
from mpesa_core.daraja.bills import BillManagerAnswer, ChangeInvoice, ChangeInvoices, acknowledge_bill_push
from mpesa_core.daraja.bonga import BongaRedemption, BongaValue
from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.express_checkout import ExpressCheckoutAccepted
from mpesa_core.daraja.hakikisha import CustomerName
from mpesa_core.daraja.imsi import ImsiAnswer, SimSwapAnswer
from mpesa_core.daraja.iot import IotAction, IotActionCall, IotAnswer, IotQuestion, IotQuestionCall
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.daraja.organisation import Organisation as Found
from mpesa_core.daraja.pull import PullPage, PullRegistered
from mpesa_core.daraja.qr import QrCode, QrTransaction
from mpesa_core.daraja.ratiba import FREQUENCIES, Frequency, RatibaEdition, StandingOrderAccepted
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import OutcomeUnknown, RequestRefused, TokenRefused
from mpesa_core.sandbox import Answer, Behaviour, Customer, Ending, Rules
from mpesa_core.settings import Settings
from tests.daraja import products as make

URLS = {"result_url": "https://shop.example/pay/result", "timeout_url": "https://shop.example/pay/timeout"}


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


BUSINESS = [
    *[make.b2b(command=command, receiver="174379") for command in B2BCommand if "Transfer" in command],
    make.b2b(),
    make.b2b(command=B2BCommand.BUY_GOODS, receiver_type="2"),
    make.b2b(originator_conversation_id="mine-1", requester="0700000000", occasion="Rent"),
    make.top_up(),
    make.tax(),
]


@pytest.mark.parametrize("operation", BUSINESS, ids=lambda each: str(getattr(each, "command", "tax")))
def test_payments_to_businesses(world, client, operation):
    """Each is accepted as the SDK sends it, and its result is read as this payment's success, or as a refusal."""
    answer = client.send(operation)
    assert isinstance(answer, Accepted)
    callback = last(world, CallbackType.B2B_RESULT)
    if callback.outcome is Outcome.SUCCESS:
        (entry,) = world.daraja.ledger.entries
        assert (entry.receipt, entry.amount, "353353", entry.at) == (
            callback.receipt_number,
            callback.amount,
            callback.account_reference,
            callback.occurred_at,
        )
    else:
        assert Outcome.FAILED is callback.outcome
        assert () == world.daraja.ledger.entries
    assert (answer.conversation_id, None) == (callback.correlation_id, callback.problem)


def test_which_payments_to_businesses_are_paid(world, client):
    """All but the transfers to tills, of which there is none here, are paid."""
    codes = []
    for operation in BUSINESS:
        client.send(operation)
        codes.append((str(getattr(operation, "command", "tax")), last(world, CallbackType.B2B_RESULT).result_code))
    assert {"MerchantToMerchantTransfer"} == {command for command, code in codes if code != 0}


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.WRONG_PIN, 2001),
        (Ending.UNKNOWN_RECEIVER, "SFC_IC0003"),
        (Ending.LOCKED_CREDENTIAL, 8006),
        (Ending.NO_FUNDS, 1),
    ],
)
@pytest.mark.parametrize("operation", [make.b2b(), make.top_up(), make.tax()], ids=("b2b", "top_up", "tax"))
def test_failures_are_read(world, client, operation, ending, code):
    """A failure is one, with its code, and without a receipt."""
    world.daraja.when(Behaviour(ending=ending))
    client.send(operation)
    callback = last(world, CallbackType.B2B_RESULT)
    assert (Outcome.FAILED, code, None, None) == (
        callback.outcome,
        callback.result_code,
        callback.receipt_number,
        callback.problem,
    )


def test_a_lost_answer_and_its_question(world, client):
    """After a lost answer the payment is asked about by the SDK's own id, and is found."""
    world.daraja.script(Behaviour(answer=Answer.LOST, deliver=()))
    with pytest.raises(OutcomeUnknown):
        client.send(make.b2b(originator_conversation_id="mine-1"))
    world.daraja.run_until_idle()
    client.send(TransactionStatus(originator_conversation_id="mine-1", **URLS))
    callback = last(world, CallbackType.STATUS_RESULT)
    assert (Outcome.SUCCESS, "mine-1", Decimal(239)) == (
        callback.outcome,
        callback.originator_conversation_id,
        callback.amount,
    )


def test_payouts(make_world):
    """Pochi and the identity check are accepted and read, the mismatch too."""
    world = make_world(customers=[Customer(phone="254700000012", identities={"01": "00000000"})])
    client = connect(world)
    assert isinstance(client.send(make.pochi()), Accepted)
    assert Outcome.SUCCESS is last(world, CallbackType.B2C_RESULT).outcome
    assert isinstance(client.send(make.identity(originator_conversation_id="id-1")), Accepted)
    assert Outcome.SUCCESS is last(world, CallbackType.B2C_RESULT).outcome
    for changes, code in (({"id_number": "11111111"}, "R003"), ({"id_type": "05"}, "R002")):
        client.send(make.identity(originator_conversation_id=f"id-{code}", **changes))
        callback = last(world, CallbackType.B2C_RESULT)
        assert (Outcome.FAILED, code) == (callback.outcome, callback.result_code)
    with pytest.raises(OutcomeUnknown):
        client.send(make.pochi())


def test_express_checkout(world, client):
    """Accepted, and read as paid, or as cancelled."""
    answer = client.send(make.express())
    assert isinstance(answer, ExpressCheckoutAccepted)
    callback = last(world, CallbackType.B2B_EXPRESS)
    assert (Outcome.SUCCESS, make.express().request_id, Decimal(100)) == (
        callback.outcome,
        callback.correlation_id,
        callback.amount,
    )
    assert world.daraja.ledger.get(callback.receipt_number) is not None
    world.daraja.when(Behaviour(ending=Ending.CANCEL))
    client.send(make.express(request_id="r-2"))
    callback = last(world, CallbackType.B2B_EXPRESS)
    assert (Outcome.CANCELLED, 4001, "r-2") == (callback.outcome, callback.result_code, callback.correlation_id)


@pytest.mark.parametrize("transaction", list(QrTransaction))
def test_qr(client, transaction):
    """Every kind of code is an image."""
    phone = transaction in (QrTransaction.SEND_MONEY, QrTransaction.SEND_TO_BUSINESS)
    answer = client.send(make.qr(transaction=transaction, receiver="0722000000" if phone else "373132"))
    assert isinstance(answer, QrCode)
    assert 100 < len(answer.png)


def test_bill_manager(world, client):
    """From the opt-in to the receipt."""
    url = "http://my.server.com/bar/callback"
    world.replies[url] = HttpResponse(status=200, body=dumps(acknowledge_bill_push()))
    opted = client.send(make.opt_in())
    assert isinstance(opted, BillManagerAnswer)
    key = {"app_key": opted.app_key}
    with pytest.raises(RequestRefused) as caught:
        client.send(make.opt_in())
    assert "409" == caught.value.code
    client.send(make.change_opt_in(callback_url=url, **key))
    client.send(make.send_invoice(**key))
    client.send(make.send_invoices(**key, app_key_header="app_key"))
    with pytest.raises(RequestRefused):
        client.send(make.send_invoice())
    client.send(
        ChangeInvoice(invoice=make.invoice(amount=900), base_path="/v1/billmanager-invoice/v1/billmanager-invoice")
    )
    client.send(ChangeInvoices(invoices=make.send_invoices().invoices))
    for operation in (
        make.cancel_invoice(external_reference="1107"),
        make.cancel_invoices(external_references=["967"]),
    ):
        assert "200" == client.send(operation).rescode
    payment = world.daraja.customer_pays_bill("#9932340", 500)
    callback = last(world, CallbackType.BILL_PAYMENT)
    assert (Outcome.SUCCESS, payment.receipt, Decimal(500), "174379", "1ASD678H") == (
        callback.outcome,
        callback.receipt_number,
        callback.amount,
        callback.short_code,
        callback.account_reference,
    )
    with pytest.raises(RequestRefused) as caught:
        client.send(make.cancel_invoice(external_reference="#9932340"))
    assert "409" == caught.value.code
    client.send(make.acknowledge(transaction_id=payment.receipt, amount=500, paid_on=date(2026, 10, 6)))
    (pushed,) = world.daraja.bill_payments
    assert (1, True, True) == (pushed.tries, pushed.acknowledged, pushed.receipted)


@pytest.mark.parametrize(
    ("edition", "frequency"), [(edition, each) for edition in RatibaEdition for each in FREQUENCIES[edition]]
)
def test_standing_orders(world, client, edition, frequency):
    """Every frequency of both editions is accepted, and the customer's agreement is read."""
    operation = make.standing_order if edition is RatibaEdition.EDITION_2025 else make.standing_order_2026
    answer = client.send(operation(frequency=frequency))
    assert isinstance(answer, StandingOrderAccepted)
    callback = last(world, CallbackType.STANDING_ORDER)
    assert (Outcome.SUCCESS, answer.response_ref_id, None) == (
        callback.outcome,
        callback.response_ref_id,
        callback.problem,
    )
    (order,) = world.daraja.standing_orders
    assert (order.id, edition.value, FREQUENCIES[edition][frequency]) == (
        callback.standing_order_id,
        order.edition,
        order.frequency,
    )
    world.register()
    world.daraja.run_standing_order(callback.standing_order_id)
    charge = last(world, CallbackType.C2B_CONFIRMATION)
    assert (Outcome.SUCCESS, "Test", order.amount) == (charge.outcome, charge.account_reference, charge.amount)


def test_standing_orders_that_are_refused(world, client):
    """A duplicate name is read from the callback, and somebody else's short code from the answer."""
    for _ in range(2):
        client.send(make.standing_order())
    callback = last(world, CallbackType.STANDING_ORDER)
    assert (Outcome.FAILED, 1050) == (callback.outcome, callback.result_code)
    with pytest.raises(RequestRefused, match="BusinessShortCode"):
        connect(world, short_code="600000").send(make.standing_order())


def test_a_till_takes_standing_orders(world):
    """An account with a till asks for its till."""
    settings = Settings(**world.daraja.settings(organisation=world.till))
    client = DarajaClient.over(world.daraja.handle, settings, clock=lambda: world.now)
    for frequency, operation in ((Frequency.DAILY, make.standing_order), (Frequency.MONTHLY, make.standing_order_2026)):
        client.send(operation(frequency=frequency))
        assert Outcome.SUCCESS is last(world, CallbackType.STANDING_ORDER).outcome


def test_pulled_transactions(world, client):
    """Registered once or twice, nothing, and then rows in pages, each read as the payment that it is."""
    assert [False, True] == [client.send(make.register_pull()).already for _ in range(2)]
    assert isinstance(client.send(make.register_pull()), PullRegistered)
    span = {"start": world.now - timedelta(hours=1), "end": world.now + timedelta(seconds=1)}
    page = client.send(make.pull(**span))
    assert isinstance(page, PullPage)
    assert ((), "1001") == (page.rows, page.code)
    for number in range(101):
        world.daraja.customer_pays(amount=number + 1, reference=f"A-{number}")
    pages = [client.send(make.pull(**span, offset=offset)) for offset in (0, 100)]
    assert [True, False] == [each.may_have_more for each in pages]
    rows = [row for each in pages for row in each.rows]
    assert [entry.receipt for entry in world.daraja.ledger.entries] == [row.receipt_number for row in rows]
    assert {Outcome.SUCCESS} == {row.outcome for row in rows}
    assert (world.now.replace(microsecond=0), "A-0", Decimal(1), "254708374149") == (
        rows[0].occurred_at,
        rows[0].account_reference,
        rows[0].amount,
        rows[0].phone_number,
    )


def test_unregistered_pull(world, client):
    """A short code that was never registered is refused."""
    with pytest.raises(RequestRefused):
        client.send(make.pull(start=datetime(2026, 10, 6, tzinfo=UTC), end=datetime(2026, 10, 7, tzinfo=UTC)))


def test_lookups(make_world):
    """Names, organisations, SIM cards and points are read."""
    known = Customer(phone="254722000000", first_name="john", last_name="Maina", last_swap=date(2026, 9, 1))
    world = make_world(customers=[known])
    client = connect(world)
    name = client.send(make.hakikisha())
    assert isinstance(name, CustomerName)
    assert ("john", "M******") == (name.first_name, name.last_name)
    world.daraja.script(Behaviour(ending=Ending.NOT_A_CUSTOMER), api="hakikisha")
    with pytest.raises(RequestRefused, match="does not exist"):
        client.send(make.hakikisha())
    found = client.send(make.organisation(identifier="600200", identifier_type="2"))
    assert isinstance(found, Found)
    assert "Kiosk" == found.name
    with pytest.raises(RequestRefused, match="Invalid Identifier"):
        client.send(make.organisation())
    card = client.send(make.imsi())
    assert isinstance(card, ImsiAnswer)
    assert (date(2026, 9, 1), date(2019, 1, 1), False) == (card.last_swap, card.registered_on, card.swapped_long_ago)
    swap = client.send(make.swap(phone_number="0711111111"))
    assert isinstance(swap, SimSwapAnswer)
    assert (None, True) == (swap.last_swap, swap.swapped_long_ago)
    value = client.send(make.calculate())
    assert isinstance(value, BongaValue)
    assert (Decimal(8), Decimal("0.2")) == (value.amount, value.rate)


def test_bonga_redemption(world, client):
    """Taken, and read as a payment; a short code of somebody else's is refused."""
    world.register()
    assert isinstance(client.send(make.redeem()), BongaRedemption)
    callback = last(world, CallbackType.C2B_CONFIRMATION)
    assert (Outcome.SUCCESS, Decimal(50), "test") == (callback.outcome, callback.amount, callback.account_reference)
    with pytest.raises(RequestRefused):
        connect(world, short_code="600000").send(make.redeem())


@pytest.mark.parametrize("call", [*IotQuestionCall, *IotActionCall])
def test_iot(client, call):
    """Every call of the portal is answered."""
    kind = IotQuestion if isinstance(call, IotQuestionCall) else IotAction
    assert isinstance(client.send(kind(call=call, body={"msisdn": "300000020111"}, page=1, page_size=5)), IotAnswer)


def test_iot_refusals(client):
    """A missing number is a refusal."""
    with pytest.raises(RequestRefused):
        client.send(IotQuestion(call=IotQuestionCall.LIFE_CYCLE_STATUS))


@pytest.mark.parametrize(
    ("api", "operation"),
    [("express_checkout", make.express()), ("bills_opt_in", make.opt_in()), ("b2c_identity", make.identity())],
)
def test_missing_products(make_world, api, operation):
    """A product that the app lacks is a refusal, and nothing is carried out."""
    world = make_world(rules=Rules(missing=frozenset({api})))
    with pytest.raises((RequestRefused, TokenRefused)):
        connect(world).send(operation)
    world.daraja.run_until_idle()
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    "operation",
    [make.b2b(), make.express(), make.standing_order(), make.redeem(), make.register_pull(), make.send_invoice()],
    ids=lambda each: type(each).__name__,
)
def test_a_revoked_token_is_renewed(world, client, operation):
    """Each product's refusal of a token is understood: a new one is fetched, and the call goes through."""
    world.opt_in()
    client.send(make.imsi())
    world.daraja.revoke_tokens()
    assert client.send(operation) is not None


def test_an_identity_check_is_taken_and_moves_nothing(world, client):
    """It is accepted like a push; nothing is posted, and no money moves."""
    answer = client.send(make.check_identity())
    assert "0" == answer.response_code
    assert [] == world.daraja.run_until_idle()
    assert () == world.daraja.ledger.entries
