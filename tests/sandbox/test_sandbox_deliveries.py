from __future__ import annotations

import json
import threading
from datetime import timedelta
from decimal import Decimal

import pytest

from mpesa_core.sandbox import MAGIC_AMOUNTS, MAGIC_PHONES, MALFORMED, Api, Behaviour, Delivery, Ending, Rules
from mpesa_core.sandbox.behaviour import ENDINGS


def codes(world):
    return [body["Body"]["stkCallback"]["ResultCode"] for body in world.bodies("/stk")]


def test_copies(world):
    """Copies are the same bytes, and the money moved once."""
    world.daraja.when(Behaviour(deliver=(Delivery(copies=3),)))
    world.push()
    world.daraja.run_until_idle()
    assert 3 == len(world.received)
    assert 1 == len(set(world.received)) == len(world.daraja.ledger.entries)


def test_delay(world):
    """A delayed callback is pending until its time, while the money has moved."""
    world.daraja.when(Behaviour(deliver=(Delivery(delay=30),)))
    world.push()
    assert [] == world.daraja.deliver_due()
    (pending,) = world.daraja.pending()
    assert world.now + timedelta(seconds=30) == pending.due == world.daraja.next_due()
    assert 1 == len(world.daraja.ledger.entries)
    world.wait(30)
    assert 1 == len(world.daraja.deliver_due())
    assert world.daraja.next_due() is None


def test_time_can_be_given(world):
    """deliver_due takes a time other than the clock's."""
    world.daraja.when(Behaviour(after=5, deliver=(Delivery(delay=30),)))
    world.push()
    assert [] == world.daraja.deliver_due(world.now + timedelta(seconds=34))
    assert 1 == len(world.daraja.deliver_due(world.now + timedelta(seconds=35)))


def test_the_decision_takes_its_time(world):
    """Nothing moves before the customer decides."""
    world.daraja.when(Behaviour(after=10))
    checkout = world.push()[1]["CheckoutRequestID"]
    assert () == world.daraja.ledger.entries
    assert "4999" == world.query(checkout)[1]["ResultCode"]
    world.wait(10)
    assert "0" == world.query(checkout)[1]["ResultCode"]
    assert world.now == world.daraja.ledger.entries[0].at


def test_early(world):
    """An early callback is posted before the request is answered, and the application may call back from it."""
    world.daraja.when(Behaviour(deliver=(Delivery(early=True), Delivery(delay=1))))
    order = []

    def receive(body):
        checkout = json.loads(body)["Body"]["stkCallback"]["CheckoutRequestID"]
        order.append(world.query(checkout)[1]["ResultCode"])
        return 200

    world.replies["https://shop.example/pay/stk"] = receive
    world.push()
    order.append("answered")
    assert ["0", "answered"] == order
    world.daraja.run_until_idle()
    assert 2 == len(world.received)


def test_out_of_order(world):
    """Delays put callbacks of different payments out of order."""
    world.daraja.script(Behaviour(deliver=(Delivery(delay=9),)), Behaviour(deliver=(Delivery(delay=3),)))
    first, second = (world.push()[1]["CheckoutRequestID"] for _ in range(2))
    world.daraja.run_until_idle()
    told = [body["Body"]["stkCallback"]["CheckoutRequestID"] for body in world.bodies("/stk")]
    assert [second, first] == told


def test_shuffled(make_world):
    """A seed gives an order of its own, the same one each time, and nothing is lost or added."""
    orders = []
    for seed in (None, 1, 1, 2):
        world = make_world()
        for _ in range(20):
            world.push()
        world.daraja.run_until_idle(seed=seed)
        orders.append([body["Body"]["stkCallback"]["CheckoutRequestID"] for body in world.bodies("/stk")])
    straight, one, again, two = orders
    assert one == again
    assert straight != one != two
    assert sorted(straight) == sorted(one) == sorted(two)


def test_never(world):
    """Without deliveries nothing comes, and the money moved all the same."""
    world.daraja.when(Behaviour(deliver=()))
    world.push()
    assert [] == world.daraja.run_until_idle()
    assert 1 == len(world.daraja.ledger.entries)


def test_malformed_wrong_amount_and_wrong_receipt(world):
    """A body may be broken off, or tell of another amount or receipt than the ledger's."""
    deliver = (Delivery(raw=MALFORMED), Delivery(amount=Decimal("1.5")), Delivery(receipt="UJ6AAAAAAA"))
    world.daraja.when(Behaviour(deliver=deliver))
    world.push()
    world.daraja.run_until_idle()
    broken, amount, receipt = (body for _, body in world.received)
    assert MALFORMED == broken
    assert b'"Amount","Value":1.50' in amount
    assert b"UJ6AAAAAAA" in receipt
    assert Decimal(100) == world.daraja.ledger.entries[0].amount


def test_contradictions(world):
    """A callback may say otherwise than the truth, in either direction."""
    world.daraja.script(
        Behaviour(deliver=(Delivery(says=Ending.CANCEL), Delivery())),
        Behaviour(ending=Ending.CANCEL, deliver=(Delivery(), Delivery(says=Ending.PAY))),
        Behaviour(ending=Ending.NEVER, deliver=(Delivery(), Delivery(says=Ending.PAY))),
    )
    for phone in ("254712345678", "254712345679", "254712345670"):
        world.push(PhoneNumber=phone)
    world.daraja.run_until_idle()
    assert [1032, 0, 1032, 0, 0] == codes(world)
    assert 1 == len(world.daraja.ledger.entries)


def test_what_the_receiver_says_is_noted(world):
    """The status of each delivery is kept, and a receiver that is down is no error here."""

    def down(_):
        raise ConnectionRefusedError("nobody there")

    replies = iter([down, 503, 204])
    world.replies["https://shop.example/pay/stk"] = lambda body: (
        answer(body) if callable(answer := next(replies)) else answer
    )
    world.daraja.when(Behaviour(deliver=(Delivery(copies=3),)))
    world.push()
    posted = world.daraja.run_until_idle()
    assert [None, 503, 204] == [each.status for each in posted]
    assert [False, False, True] == [each.acknowledged for each in posted]
    assert "ConnectionRefusedError" in posted[0].error
    assert posted == list(world.daraja.posted)


def test_pending_callbacks_can_be_taken(world):
    """A test may take the callbacks and deliver them in its own way."""
    world.push()
    (taken,) = world.daraja.take_pending()
    assert b"stkCallback" in taken.body
    assert [] == world.daraja.run_until_idle()


def test_going_in_circles_is_noticed(world):
    """An application that answers each callback with another request runs into the limit."""
    world.replies["https://shop.example/pay/stk"] = lambda _: world.push()[0]
    world.push()
    with pytest.raises(RuntimeError, match="goes in circles"):
        world.daraja.run_until_idle(limit=50)


def test_rules_match_what_they_name(world):
    """Phone, amount, reference, short code and call choose; the newest rule goes first; times counts down."""
    for name, value in (
        ("phone", "0711111111"),
        ("amount", 77),
        ("reference", "BAD"),
        ("short_code", "600200"),
    ):
        world.daraja.when(Behaviour(ending=Ending.CANCEL), **{name: value})
    world.push()
    world.push(PhoneNumber="254711111111")
    world.push(Amount="77")
    world.push(AccountReference="BAD")
    world.call("/mpesa/stkpush/v1/processrequest", world.till_fields())
    world.daraja.run_until_idle()
    assert [0, 1032, 1032, 1032, 1032] == codes(world)
    world.received.clear()
    world.daraja.when(Behaviour(ending=Ending.NO_FUNDS), amount=77, times=1)
    world.push(Amount="77")
    world.push(Amount="77")
    world.daraja.forget_rules()
    world.push(Amount="77")
    world.daraja.run_until_idle()
    assert [1, 1032, 0] == codes(world)


def test_a_rule_that_cannot_happen_is_passed_over(world):
    """A payout cannot be cancelled by a customer, so that rule does not touch it."""
    world.daraja.when(Behaviour(ending=Ending.CANCEL))
    world.payout()
    world.daraja.run_until_idle()
    assert [0] == [result["ResultCode"] for result in world.results("b2c")]


def test_a_default_behaviour(make_world):
    """Where no rule matches, the default given at the start applies."""
    world = make_world(behaviour=Behaviour(ending=Ending.UNREACHABLE))
    world.push()
    world.daraja.run_until_idle()
    assert [1037] == codes(world)


def test_the_sandbox_has_a_pace(make_world):
    """decide_after is the pace of everything that does not say otherwise."""
    world = make_world(rules=Rules(decide_after=3))
    world.push()
    world.wait(2)
    assert [] == world.daraja.deliver_due()
    world.wait(1)
    assert 1 == len(world.daraja.deliver_due())


def test_magic_numbers_are_off_by_default(world):
    """A test's own numbers never provoke anything by accident."""
    world.push(PhoneNumber="254700000001", Amount="1032")
    world.daraja.run_until_idle()
    assert [0] == codes(world)


def test_magic_amounts_are_result_codes(make_world):
    """Amounts end as the code that they spell, and a magic phone goes before."""
    world = make_world(magic=True)
    world.push(Amount="1032")
    world.push(Amount="2001")
    world.push(Amount="1032", PhoneNumber="254700000004")
    world.daraja.run_until_idle()
    assert [1032, 2001, 1] == codes(world)


@pytest.mark.parametrize("phone", sorted(MAGIC_PHONES))
def test_every_magic_phone_does_something(make_world, phone):
    """Each magic phone number changes what happens to a push or to a payout."""
    seen = []
    for number in ("254712345678", phone):
        world = make_world(magic=True)
        world.register()
        for request in (
            lambda world=world, number=number: world.push(PhoneNumber=number),
            lambda world=world, number=number: world.payout(PartyB=number),
        ):
            try:
                status = request()[0]
            except Exception as error:
                status = type(error).__name__
            seen.append((status, len(world.received)))
            checkout = next(iter(world.daraja._mpesa.pushes), "")
            if checkout:
                seen[-1] = (*seen[-1], [world.query(checkout)[1].get("ResultCode") for _ in range(4)])
            world.daraja.deliver_due()
            seen.append([body.replace(number.encode(), b"") for _, body in world.received])
            seen[-1] = [(len(body), b'"ResultCode":0' in body) for body in seen[-1]]
            seen.append(len(world.daraja.posted))
    half = len(seen) // 2
    assert seen[:half] != seen[half:]


def test_magic_says_what_it_does():
    """Every magic number has words for a person, and an ending that some call knows."""
    for text, behaviour in (*MAGIC_PHONES.values(), *MAGIC_AMOUNTS.values()):
        assert text
        assert any(behaviour.fits(api) for api in (Api.STK_PUSH, Api.B2C))


def test_endings_name_a_code_each():
    """Every call's endings have different codes or texts, and PAY is zero everywhere."""
    for endings in ENDINGS.values():
        assert 0 == endings[Ending.PAY][0]
        assert len(set(endings.values())) == len(endings)


def test_many_threads(make_world):
    """Eight threads pay out with overlapping ids, and each id is paid once; the balances are the sum of the entries."""
    world = make_world()
    world.push()
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for number in range(25):
            world.payout(OriginatorConversationID=f"t{number}", Amount="10")
            world.daraja.deliver_next()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.daraja.run_until_idle()
    assert 200 == world.daraja.count("b2c")
    assert 25 == world.daraja.count("b2c", accepted=True) == len(world.results("b2c"))
    assert Decimal(1_000_000 + 100 - 250) == world.daraja.ledger.balances("174379").utility
