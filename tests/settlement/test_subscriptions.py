"""Subscriptions: agreed to on the phone, charged by confirmations, and stopped where only the host can know of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest

from mpesa_core.daraja.ratiba import StandingOrderAccepted
from mpesa_core.errors import (
    ConfigurationError,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidField,
    NotSent,
    OutcomeUnknown,
    RequestRefused,
    TransactionNotFound,
)
from mpesa_core.payments.records import Disposition, Key, TransactionType
from mpesa_core.payments.subscriptions import SubscriptionStatus
from mpesa_core.repository.memory import MemoryRepository
from tests.settlement.desk import PHONE, Desk, confirmation

REFERENCE = "0acc0239-20fa-4a52-8b9d-9bd64c0465c3"


class Died(BaseException):
    """The process is gone."""


def at(repository, **settings):
    desk = Desk(repository, **{"ratiba_edition": "2025", **settings})
    desk.daraja.answers["CreateStandingOrder"] = StandingOrderAccepted(response_ref_id=REFERENCE, response_code="200")
    return desk


@pytest.fixture
def desk(repository):
    return at(repository)


def create(desk, **more):
    given = {
        "name": "Gym",
        "start": date(2026, 11, 21),
        "end": date(2027, 11, 20),
        "amount": 500,
        "frequency": "monthly",
        "phone_number": PHONE,
        "account_reference": "GYM-1",
        **more,
    }
    return desk.gateway.create_subscription(**given)


def agreed(order="SC8F2IQMH5", reference=REFERENCE, request=REFERENCE, msisdn="254******149"):
    items = {"TransactionID": order, "responseCode": "0", "Status": "OKAY", "Msisdn": msisdn}
    return {
        "responseHeader": {
            "responseRefID": reference,
            "requestRefID": request,
            "responseCode": "0",
            "responseDescription": "The service request is processed successfully",
        },
        "responseBody": {"responseData": [{"name": name, "value": value} for name, value in items.items()]},
    }


def declined(code="1032", reference=REFERENCE):
    items = {"TransactionID": "0000000000", "responseCode": code, "Status": "ERROR", "Msisdn": "*********149"}
    return {
        "ResponseHeader": {
            "responseRefID": reference,
            "requestRefID": "c8c2bb31-3b3a-402e-84fc-21ef35161e48",
            "responseCode": code,
            "responseDescription": "Error",
        },
        "ResponseBody": {"ResponseData": [{"Name": name, "Value": value} for name, value in items.items()]},
    }


def charge(receipt="SKL1AB23CD", amount="500.00", reference="GYM-1", paid_at="20261121120005", **more):
    return {**confirmation(receipt, amount, reference, **more), "TransTime": paid_at}


def active(desk, **more):
    row = create(desk, **more)
    desk.post("STANDING_ORDER", agreed(), row.callback_token)
    return desk.gateway.subscription(row)


def charged_by(desk):
    return [(each["subscription"].id, each["transaction"].id) for _, each in desk.fired("subscription_charged")]


# -- asking --------------------------------------------------------------------------------------------------------


def test_a_customer_is_asked_once_for_a_key(desk):
    """The intent is recorded with the host's fields and a token of its own; the same key sends nothing again."""
    row = create(desk, idempotency_key="K", member=7)
    assert row.id == create(desk, idempotency_key="K", member=7).id
    [operation] = desk.daraja.sent
    assert f"https://shop.example/pay/ratiba/callback/{row.callback_token}/" == operation.callback_url
    assert (SubscriptionStatus.PENDING, REFERENCE, {"member": 7}, []) == (
        row.status,
        row.response_ref_id,
        dict(row.host),
        desk.names(),
    )
    with pytest.raises(IdempotencyMismatch) as caught:
        create(desk, idempotency_key="K", amount=600)
    assert (("amount",), "subscription") == (caught.value.differences, caught.value.kind)


@pytest.mark.parametrize("key", ["", " ", 7])
def test_empty_key_is_no_key(desk, key):
    """An empty key, which two customers would share, is refused before anything is recorded or sent."""
    with pytest.raises(InvalidField, match="idempotency_key"):
        create(desk, idempotency_key=key)
    assert [] == desk.daraja.sent


def test_the_edition_has_no_default(repository):
    """Without it nothing is recorded or sent: the wrong table takes money at the wrong times."""
    desk = at(repository, ratiba_edition=None)
    with pytest.raises(ConfigurationError, match="ratiba_edition: not set"):
        create(desk)
    assert [] == desk.daraja.sent


@pytest.mark.parametrize(("edition", "own_id"), [("2025", False), ("2026", True)])
def test_the_edition_that_is_set(repository, edition, own_id):
    """It is sent by it, and kept; that of 2026 carries an id of our own, which is not the row's."""
    desk = at(repository, ratiba_edition=edition)
    row = create(desk)
    [operation] = desk.daraja.sent
    assert (edition, edition, own_id) == (operation.edition, row.edition, operation.custom_id is not None)
    assert (operation.custom_id, False) == (row.request_id, row.id.hex == row.request_id)


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (NotSent("no connection"), True),
        (RequestRefused("Value in field 'Amount' is invalid", status=400, code="400"), True),
        (OutcomeUnknown("the answer was lost"), False),
    ],
)
def test_what_becomes_of_the_call(desk, error, known):
    """What is known to have failed is failed, and announced once; what is unknown stays pending."""
    desk.daraja.answers["CreateStandingOrder"] = error
    if known:
        with pytest.raises(type(error)):
            create(desk, idempotency_key="K")
    else:
        create(desk, idempotency_key="K")
    row = create(desk, idempotency_key="K")
    wanted = SubscriptionStatus.FAILED if known else SubscriptionStatus.PENDING
    assert (wanted, ["subscription_failed"] * known, 1) == (row.status, desk.names(), len(desk.daraja.sent))


def test_a_repository_without_subscriptions(desk):
    """The calls say what is missing; callbacks and payments are taken all the same."""

    class Plain:
        """Invoices, and no subscriptions."""

        def __init__(self, inner):
            for name in dir(inner):
                if not name.startswith("_") and "subscription" not in name:
                    setattr(self, name, getattr(inner, name))

    plain = at(Plain(MemoryRepository()))
    for call in (lambda: create(plain), lambda: plain.gateway.record_disabled(desk.gateway.new_id())):
        with pytest.raises(ConfigurationError, match=r"Plain keeps no subscriptions: .*\(SubscriptionRepository\)"):
            call()
    callback = plain.post("STANDING_ORDER", agreed())
    plain.post("C2B_CONFIRMATION", charge())
    assert (Disposition.APPLIED, ["payment_confirmed"]) == (
        plain.repository.get_callback(callback).disposition,
        plain.names(),
    )


def test_no_such_subscription(desk):
    """An unknown id and a text that is none are told apart."""
    with pytest.raises(TransactionNotFound, match="no subscription"):
        desk.gateway.subscription(desk.gateway.new_id())
    with pytest.raises(TransactionNotFound):
        desk.gateway.record_cancelled(desk.gateway.new_id())
    with pytest.raises(InvalidField, match="subscription"):
        desk.gateway.subscription("Gym")


# -- the answer ----------------------------------------------------------------------------------------------------


def test_the_customer_agrees(desk):
    """However often it is said, it is active and announced once."""
    row = create(desk)
    callbacks = [desk.post("STANDING_ORDER", agreed(), row.callback_token) for _ in range(5)]
    now = desk.gateway.subscription(row)
    assert (SubscriptionStatus.ACTIVE, "SC8F2IQMH5", desk.clock.now, "0") == (
        now.status,
        now.standing_order_id,
        now.settled_at,
        now.result_code_text,
    )
    assert (["subscription_created"], None) == (desk.names(), now.announce_until)
    assert [Disposition.APPLIED, *[Disposition.DUPLICATE] * 4] == [
        desk.repository.get_callback(each).disposition for each in callbacks
    ]


@pytest.mark.parametrize("code", ["1032", "1037", "2001", "1050", "1051"])
def test_the_customer_does_not_agree(desk, code):
    """The failure's own spelling is read, and the reason reaches the receiver."""
    row = create(desk)
    for _ in range(2):
        desk.post("STANDING_ORDER", declined(code), row.callback_token)
    [(_, arguments)] = desk.fired("subscription_failed")
    assert (SubscriptionStatus.FAILED, int(code), row.id) == (
        desk.gateway.subscription(row).status,
        arguments["result_code"],
        arguments["subscription"].id,
    )
    desk.post("C2B_CONFIRMATION", charge())
    assert [] == charged_by(desk)


def test_the_answer_finds_its_subscription_without_a_token(repository):
    """By our own id where the edition has one, else by the acceptance's reference."""
    desk = at(repository, callback_tokens=False, ratiba_edition="2026")
    row = create(desk)
    assert row.callback_token is None
    desk.post("STANDING_ORDER", agreed(reference="another", request=row.request_id))
    assert SubscriptionStatus.ACTIVE == desk.gateway.subscription(row).status


def test_the_answer_that_comes_before_the_acceptance(repository):
    """It waits in the log, and is taken in once the reference is known."""
    desk = at(repository, callback_tokens=False)

    def early(operation):
        desk.post("STANDING_ORDER", agreed())
        return StandingOrderAccepted(response_ref_id=REFERENCE, response_code="200")

    desk.daraja.answers["CreateStandingOrder"] = early
    row = create(desk)
    desk.recover()
    assert SubscriptionStatus.ACTIVE == desk.gateway.subscription(row).status


def test_an_answer_to_nothing(desk):
    """It becomes a conflict when it has matched nothing for too long."""
    callback = desk.post("STANDING_ORDER", agreed())
    assert Disposition.UNMATCHED == desk.repository.get_callback(callback).disposition
    desk.recover(desk.settings.unmatched_after + 1)
    assert (Disposition.CONFLICT, 1) == (
        desk.repository.get_callback(callback).disposition,
        len(desk.fired("settlement_conflict")),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (agreed(), declined()),
        (declined(), agreed()),
        (agreed(), agreed("SC8F2IQMH6")),
        (agreed(), agreed(msisdn="254******150")),
        (None, agreed(msisdn="254******150")),
        (None, declined("9999")),
    ],
)
def test_a_contradiction_changes_nothing_and_is_told_once(desk, first, second):
    """Its duplicates are duplicates, and a person may dismiss it."""
    row = create(desk)
    if first is not None:
        desk.post("STANDING_ORDER", first, row.callback_token)
    before = desk.gateway.subscription(row)
    callbacks = [desk.post("STANDING_ORDER", second, row.callback_token) for _ in range(3)]
    after = desk.gateway.subscription(row)
    assert (before.status, before.standing_order_id, 1) == (
        after.status,
        after.standing_order_id,
        len(desk.fired("settlement_conflict")),
    )
    assert [Disposition.CONFLICT, Disposition.DUPLICATE, Disposition.DUPLICATE] == [
        desk.repository.get_callback(each).disposition for each in callbacks
    ]
    assert callbacks[:1] == [each.id for each in desk.gateway.conflicts()]
    with pytest.raises(IllegalTransition):
        desk.gateway.accept(callbacks[0])
    desk.gateway.dismiss(callbacks[0])
    assert [] == desk.gateway.conflicts()


# -- its payments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("msisdn", ["2547 ***** 149", PHONE, hashlib.sha256(PHONE.encode()).hexdigest(), ""])
def test_a_payment_of_a_subscription(desk, msisdn):
    """It is a C2B payment that belongs to the subscription, announced once as both, however often it is confirmed."""
    row = active(desk)
    for _ in range(5):
        desk.post("C2B_CONFIRMATION", charge(msisdn=msisdn))
    payment = desk.repository.find(Key.RECEIPT, ("174379", "SKL1AB23CD"))
    assert (TransactionType.C2B, row.id) == (payment.transaction_type, payment.parent_id)
    assert ["subscription_created", "payment_confirmed", "subscription_charged"] == desk.names()
    assert [(row.id, payment.id)] == charged_by(desk)


def test_each_payment_is_a_payment(desk):
    """Month after month, in any order of their arrival."""
    row = active(desk)
    for month in ("03", "01", "02"):
        desk.post("C2B_CONFIRMATION", charge(f"SKL1AB23C{month[1]}", paid_at=f"2027{month}21120000"))
    assert [row.id] * 3 == [subscription for subscription, _ in charged_by(desk)]
    assert 3 == len({payment for _, payment in charged_by(desk)})


@pytest.mark.parametrize(
    "more",
    [
        {"amount": "501.00"},
        {"reference": "GYM-2"},
        {"short": "600000"},
        {"msisdn": "254712345678"},
        {"msisdn": "2547 ***** 150"},
        {"paid_at": "20261120235959"},
    ],
)
def test_a_payment_that_is_none_of_its_own(desk, more):
    """Another amount, account, paybill, customer, or a day before the first: a payment by itself."""
    active(desk)
    desk.post("C2B_CONFIRMATION", charge(**more))
    assert ["subscription_created", "payment_confirmed"] == desk.names()


def test_a_payment_before_the_answer(desk):
    """It waits for the customer's answer, and is then a payment of the subscription, in the order of the signals."""
    row = create(desk)
    desk.post("C2B_CONFIRMATION", charge())
    assert [] == desk.names()
    desk.post("STANDING_ORDER", agreed(), row.callback_token)
    desk.recover(5)
    assert ["subscription_created", "payment_confirmed", "subscription_charged"] == desk.names()


def test_a_payment_whose_answer_is_a_refusal(desk):
    """The customer declined the order and paid by himself: a payment of its own."""
    row = create(desk)
    desk.post("C2B_CONFIRMATION", charge())
    desk.post("STANDING_ORDER", declined(), row.callback_token)
    desk.recover(5)
    assert ["subscription_failed", "payment_confirmed"] == desk.names()


def test_a_payment_instead_of_the_answer(desk):
    """The answer never comes: after the grace the payment proves that the order is active."""
    row = create(desk)
    desk.post("C2B_CONFIRMATION", charge())
    desk.recover(desk.settings.adoption_grace + 1)
    assert ["subscription_created", "payment_confirmed", "subscription_charged"] == desk.names()
    late = desk.post("STANDING_ORDER", agreed(), row.callback_token)
    now = desk.gateway.subscription(row)
    assert (SubscriptionStatus.ACTIVE, "SC8F2IQMH5", Disposition.APPLIED) == (
        now.status,
        now.standing_order_id,
        desk.repository.get_callback(late).disposition,
    )
    assert 1 == len(desk.fired("subscription_created"))


def test_payments_of_several_customers(desk):
    """One account reference for everybody: the phone tells them apart, and where it cannot be seen nobody is guessed."""
    first = create(desk)
    second = create(desk, phone_number="254712345678")
    for row in (first, second):
        desk.post("STANDING_ORDER", agreed(msisdn=""), row.callback_token)
    desk.post("C2B_CONFIRMATION", charge("SKL1AB23C1", msisdn="254712345678"))
    desk.post("C2B_CONFIRMATION", charge("SKL1AB23C2", msisdn="2547 ***** 149"))
    desk.post("C2B_CONFIRMATION", charge("SKL1AB23C3", msisdn=""))
    assert ([second.id, first.id], 3) == (
        [subscription for subscription, _ in charged_by(desk)],
        len(desk.fired("payment_confirmed")),
    )


def test_a_process_that_dies_in_a_receiver_of_the_payment(desk):
    """payment_confirmed and subscription_charged fire again, under the payment's fence."""
    active(desk)
    died = []

    def dies(**arguments):
        died.append(arguments)
        if len(died) == 1:
            raise Died

    desk.receivers["subscription_charged"] = [dies]
    with pytest.raises(Died):
        desk.post("C2B_CONFIRMATION", charge())
    desk.recover(desk.settings.announce_lease + desk.settings.callback_lease)
    assert ["subscription_created", *["payment_confirmed", "subscription_charged"] * 2] == desk.names()
    assert not desk.recover(600)


@pytest.mark.parametrize("signal", ["subscription_created", "subscription_failed"])
def test_a_process_that_dies_while_it_announces_the_answer(desk, signal):
    """The sweep announces it; nothing else is announced twice."""
    row = create(desk)
    died = []

    def dies(**arguments):
        died.append(arguments)
        if len(died) == 1:
            raise Died

    desk.receivers[signal] = [dies]
    body = agreed() if signal == "subscription_created" else declined()
    with pytest.raises(Died):
        desk.post("STANDING_ORDER", body, row.callback_token)
    for _ in range(3):
        desk.recover(desk.settings.announce_lease + 1)
    assert [signal, signal] == desk.names()
    assert (None, 0) == (
        desk.gateway.subscription(row).announce_until,
        len(desk.repository.due_callbacks(desk.clock.now + timedelta(days=1), 10)),
    )


def test_announcing_a_payment_again(desk):
    """A mended receiver of subscription_charged gets it by the payment's id."""
    row = active(desk)
    desk.post("C2B_CONFIRMATION", charge())
    payment = desk.repository.find(Key.RECEIPT, ("174379", "SKL1AB23CD"))
    desk.gateway.announce(payment)
    assert [(row.id, payment.id)] * 2 == charged_by(desk)


# -- its end -------------------------------------------------------------------------------------------------------


def test_what_the_host_records(desk):
    """Disabled, then cancelled: each announced once, nothing is sent, and cancelled is for good."""
    row = active(desk)
    desk.daraja.sent.clear()
    for _ in range(2):
        assert SubscriptionStatus.DISABLED == desk.gateway.record_disabled(row).status
    for _ in range(2):
        assert SubscriptionStatus.CANCELLED == desk.gateway.record_cancelled(row.id).status
    assert (["subscription_created", "subscription_disabled", "subscription_cancelled"], []) == (
        desk.names(),
        desk.daraja.sent,
    )
    with pytest.raises(IllegalTransition, match="A subscription that is cancelled cannot become disabled"):
        desk.gateway.record_disabled(row)


@pytest.mark.parametrize("record", ["record_disabled", "record_cancelled"])
def test_a_payment_made_before_it_was_stopped(desk, record):
    """It is reported late, and is a payment of the subscription all the same."""
    row = active(desk)
    desk.clock.forward(86_400)
    stopped = getattr(desk.gateway, record)(row)
    desk.post("C2B_CONFIRMATION", charge(paid_at="20261122115959"))
    assert [row.id] == [subscription for subscription, _ in charged_by(desk)]
    assert stopped.status == desk.gateway.subscription(row).status


def test_a_payment_made_after_it_was_disabled(desk):
    """The customer has enabled it again: the payment shows it."""
    row = active(desk)
    desk.gateway.record_disabled(row)
    desk.post("C2B_CONFIRMATION", charge(paid_at="20261221120000"))
    assert ([row.id], SubscriptionStatus.ACTIVE) == (
        [subscription for subscription, _ in charged_by(desk)],
        desk.gateway.subscription(row).status,
    )


def test_a_payment_made_after_it_was_cancelled(desk):
    """The customer pays by himself: a payment of its own."""
    row = active(desk)
    desk.gateway.record_cancelled(row)
    desk.post("C2B_CONFIRMATION", charge(paid_at="20261221120000"))
    assert ([], SubscriptionStatus.CANCELLED) == (charged_by(desk), desk.gateway.subscription(row).status)


@pytest.mark.parametrize("answer", [True, False])
def test_it_ends_with_its_last_day(desk, answer):
    """At midnight in Nairobi after it, with or without an answer; a payment of that day may come later."""
    row = active(desk) if answer else create(desk)
    desk.clock.now = datetime(2027, 11, 20, 20, 59, 59, tzinfo=UTC)
    desk.gateway.recover()
    assert SubscriptionStatus.ENDED != desk.gateway.subscription(row).status
    desk.clock.forward(1)
    assert 1 == desk.gateway.recover().dues
    assert SubscriptionStatus.ENDED == desk.gateway.subscription(row).status
    desk.post("C2B_CONFIRMATION", charge(paid_at="20271120235900"))
    desk.post("C2B_CONFIRMATION", charge("SKL1AB23CE", paid_at="20271121000100"))
    assert 1 == len(charged_by(desk))
    with pytest.raises(IllegalTransition):
        desk.gateway.record_disabled(row)
    assert not desk.recover(86_400)
