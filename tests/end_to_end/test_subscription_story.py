"""The subscription's story over HTTP: agreed to, charged, disabled and cancelled, however M-PESA's posts come."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mpesa_core.errors import RequestRefused
from mpesa_core.payments.records import Key
from mpesa_core.payments.subscriptions import SubscriptionStatus
from mpesa_core.sandbox import Answer, Behaviour, Ending
from mpesa_core.settings import Account
from tests.end_to_end.town import SERVERS, WAYS, Town

PHONE = "254708374149"
ONCE = [way for way in WAYS if way != "lost at first"]
"""M-PESA posts a customer's answer and a confirmation once: what is lost has tests of its own below."""


@pytest.fixture(params=["2025", "2026"])
def town(repository, request):
    accounts = {"other": Account(short_code="600000")}
    with Town(repository, ratiba_edition=request.param, accounts=accounts) as town:
        yield town


def create(town, name="Gym", phone=PHONE, **more):
    given = {
        "name": name,
        "start": town.clock().date(),
        "end": town.clock().date() + timedelta(days=400),
        "amount": 500,
        "frequency": "monthly",
        "phone_number": phone,
        "account_reference": "GYM-1",
        **more,
    }
    return town.gateway.create_subscription(**given)


def charges(town):
    return [
        (each["subscription"].id, each["transaction"].mpesa_receipt_number)
        for each in town.fired("subscription_charged")
    ]


@pytest.mark.parametrize("way", ONCE)
def test_agreed_and_charged(town, way):
    """Whatever happens to the posts: agreed once, and each debit one payment and one charge of the subscription."""
    row = create(town, member=7)
    town.deliver(way)
    assert SubscriptionStatus.ACTIVE == town.gateway.subscription(row).status
    [order] = town.daraja.standing_orders
    assert (order.id, order.edition) == (
        town.gateway.subscription(row).standing_order_id,
        town.gateway.subscription(row).edition,
    )
    receipts = []
    for _ in range(3):
        town.skip(days=30)
        receipts.append(town.daraja.run_standing_order("Gym").receipt)
        town.deliver(way)
    assert sorted((row.id, receipt) for receipt in receipts) == sorted(charges(town))
    assert {"subscription_created": 1, "payment_confirmed": 3, "subscription_charged": 3} == town.counts
    assert [row.id] * 3 == [town.repository.find(Key.RECEIPT, ("174379", each)).parent_id for each in receipts]
    assert 7 == town.own(town.gateway.subscription(row), "member")
    assert not town.gateway.recover()


@pytest.mark.parametrize("repository", SERVERS, indirect=True)
def test_a_subscription_on_a_server(town):
    """The same on PostgreSQL and MariaDB, where posts that race are at work at the same moment."""
    test_agreed_and_charged(town, "raced")


def test_the_debit_before_the_answer(town):
    """The first confirmation overtakes the answer: it waits for it."""
    row = create(town)
    [answer] = town.daraja.take_pending()
    town.daraja.run_standing_order("Gym")
    for posting in (*town.daraja.take_pending(), answer):
        town.daraja.send(posting, town.clock())
    town.finish()
    assert {"subscription_created": 1, "payment_confirmed": 1, "subscription_charged": 1} == town.counts
    names = [name for name, _ in town.heard]
    assert ["subscription_created", "payment_confirmed", "subscription_charged"] == names
    assert SubscriptionStatus.ACTIVE == town.gateway.subscription(row).status


def test_the_answer_is_lost(town):
    """The first debit proves that the customer agreed."""
    row = create(town)
    assert 1 == len(town.daraja.take_pending())
    town.skip(days=1)
    town.daraja.run_standing_order("Gym")
    town.deliver("as it should be")
    assert SubscriptionStatus.ACTIVE == town.gateway.subscription(row).status
    assert {"subscription_created": 1, "payment_confirmed": 1, "subscription_charged": 1} == town.counts


def test_the_debit_is_lost_and_pulled(town):
    """A confirmation that never came is found in M-PESA's own list, and is a charge of the subscription, once."""
    town.daraja.register_pull()
    row = create(town)
    town.deliver("as it should be")
    receipt = town.daraja.run_standing_order("Gym").receipt
    assert 1 == len([each for each in town.daraja.take_pending() if "confirm" in each.url])
    town.skip(hours=1)
    for _ in range(2):
        town.gateway.pull(town.clock() - timedelta(hours=3))
        town.finish()
    assert [(row.id, receipt)] == charges(town)
    assert 1 == town.counts["payment_confirmed"]


@pytest.mark.parametrize("way", ONCE[:4])
def test_declined(town, way):
    """The customer presses no: failed, once, and a payment of the customer's own is no charge."""
    town.daraja.script(Behaviour(ending=Ending.CANCEL))
    row = create(town)
    town.deliver(way)
    assert SubscriptionStatus.FAILED == town.gateway.subscription(row).status
    town.daraja.customer_pays(amount=500, reference="GYM-1", phone=PHONE)
    town.deliver(way)
    assert {"subscription_failed": 1, "payment_confirmed": 1} == town.counts
    [failed] = town.fired("subscription_failed")
    assert 1032 == failed["result_code"]


def test_a_name_that_is_taken(town):
    """M-PESA ends a second order of the same name in 1050, which fails that subscription and not the first."""
    first = create(town)
    town.deliver("as it should be")
    second = create(town)
    town.deliver("as it should be")
    assert [SubscriptionStatus.ACTIVE, SubscriptionStatus.FAILED] == [
        town.gateway.subscription(row).status for row in (first, second)
    ]
    assert "1050" == town.gateway.subscription(second).result_code_text


def test_the_acceptance_is_lost(town):
    """It is asked for once; the answer finds it by its token."""
    town.daraja.script(Behaviour(answer=Answer.LOST))
    row = create(town, idempotency_key="K")
    assert row.id == create(town, idempotency_key="K").id
    town.deliver("as it should be")
    assert (SubscriptionStatus.ACTIVE, 1) == (town.gateway.subscription(row).status, len(town.daraja.standing_orders))


def test_refused(town):
    """Daraja refuses a short code that is not the app's: failed for certain, with its words."""
    town.gateway = town.gateway.account("other")
    with pytest.raises(RequestRefused, match="BusinessShortCode"):
        create(town)
    assert {"subscription_failed": 1} == town.counts


def test_several_members_of_one_gym(town):
    """One account reference for all: each debit is its own customer's, whom the mask or the hash tells."""
    phones = ("254708374149", "254712345678", "254798765432")
    rows = [create(town, phone=phone) for phone in phones]
    town.deliver("shuffled")
    receipts = [town.daraja.run_standing_order("Gym", phone=phone).receipt for phone in phones]
    town.deliver("shuffled")
    assert sorted(zip([row.id for row in rows], receipts, strict=True)) == sorted(charges(town))


def test_what_the_customer_does_in_the_menu(town):
    """The host records it, nothing is sent, and a debit that is made afterwards shows that it is on again."""
    row = create(town)
    town.deliver("as it should be")
    asked = len(town.daraja.requests)
    town.gateway.record_disabled(row)
    assert asked == len(town.daraja.requests)
    town.skip(days=30)
    town.daraja.run_standing_order("Gym")
    town.deliver("doubled")
    assert SubscriptionStatus.ACTIVE == town.gateway.subscription(row).status
    town.gateway.record_cancelled(row)
    assert {
        "subscription_created": 1,
        "subscription_disabled": 1,
        "payment_confirmed": 1,
        "subscription_charged": 1,
        "subscription_cancelled": 1,
    } == town.counts
