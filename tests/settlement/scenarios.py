"""The stories that the scheduler tells in every order: what is asked for, what Daraja makes of it, who else is about."""

from __future__ import annotations

from decimal import Decimal

import attrs

from mpesa_core.errors import MpesaError
from mpesa_core.payments.records import Status, TransactionType
from mpesa_core.settlement.conflicts import accept_conflict, dismiss_conflict
from mpesa_core.settlement.effects import StoreCall
from tests.settlement.script import SHORT_BY, Plan, Report
from tests.settlement.simulation import SETTINGS

__all__ = ["OPTIONS", "SCENARIOS"]

AMOUNT = Decimal("100.00")
LATE = 200.0
"""Seconds: after an STK push's deadline (180)."""
VERY_LATE = 330.0
"""After a payout's deadline (300)."""

SCENARIOS = {}
OPTIONS = {}
"""Settings of scenarios whose host has chosen other ones."""


def scenario(tell):
    SCENARIOS[tell.__name__] = tell
    return tell


def option(**changes):
    def choose(tell):
        OPTIONS[tell.__name__] = attrs.evolve(SETTINGS, **changes)
        return tell

    return choose


# -- what hosts do ---------------------------------------------------------------------------------------------------


def push(world, *plans, reference="INV-1", key=None, name="push"):
    world.daraja.plans["STK"].extend(plans)
    procedure = world.initiation.stk_push(
        phone_number="254708374149",
        amount=100,
        account_reference=reference,
        transaction_desc="Order",
        account="default",
        idempotency_key=key,
        host={"order": 7},
    )
    return world.spawn(name, procedure)


def pay(world, *plans, key="pay-1", version=3):
    world.daraja.plans["B2C"].extend(plans)
    procedure = world.initiation.payout(
        phone_number="254708374149",
        amount=100,
        command="BusinessPayment",
        remarks="Wages",
        occasion="",
        version=version,
        account="default",
        idempotency_key=key,
        host={},
    )
    return world.spawn("pay", procedure)


def reverse(world, payment_id, amount, *plans, key=None):
    world.daraja.plans["REVERSAL"].extend(plans)
    procedure = world.initiation.reverse(
        transaction=payment_id, amount=amount, remarks="Returned", idempotency_key=key, host={}
    )
    return world.spawn("reverse", procedure)


def ask(world, row_id):
    """The host asks what became of a payment (``Gateway.query``)."""
    world.spawn("ask", _ask(world, row_id))


def _ask(world, row_id):
    row = yield from world.engine.store.get(row_id)
    answer = yield from world.engine.questions.ask(row)
    if answer is not None:
        yield from world.engine.process(answer)


def prompted(world, *plans):
    """A push that was accepted, and whose process has ended, before the race begins."""
    push(world, *plans)
    world.drain()
    return next(iter(world.repository._transactions))


def person(world, rounds=6):
    """Somebody who looks at the open conflicts now and then, and accepts or dismisses what he sees."""
    world.people = True
    world.spawn("person", _decide(world, rounds), person=True)


def _decide(world, rounds):
    for _ in range(rounds):
        listed = yield StoreCall("conflicts", (10,))
        for callback in listed:
            accepts = world.rng.random() < 0.7
            try:
                if accepts:
                    yield from accept_conflict(world.engine, callback.id)
                else:
                    yield from dismiss_conflict(world.engine, callback.id)
            except MpesaError:
                continue  # it cannot be accepted, or somebody else was there first


def settled_payment(world):
    """A payment that is made, with its receipt, before the story begins."""
    push(world, Plan(reports=(Report("success"),)))
    world.drain()
    world.open_letter(world.letters[0])
    world.drain()
    (row,) = world.repository._transactions.values()
    assert row.status == Status.SUCCESS
    assert row.announce_until is None
    return row


def some(world, *reports):
    """Those that were not lost on the way."""
    return tuple(report for report in reports if world.rng.random() < 0.75)


def moment(world, *seconds):
    return world.rng.choice(seconds)


# -- STK push ---------------------------------------------------------------------------------------------------------


@scenario
def duplicates(world):
    """One success, three times, to one worker, two or none."""
    jobs = [world.rng.choice((0, 1, 1, 2)) for _ in range(3)]
    push(world, Plan(reports=tuple(Report("success", jobs=each, plain=world.rng.random() < 0.3) for each in jobs)))


@scenario
def answer_lost(world):
    """The push is accepted and its answer is lost; the callback finds its row by the token alone."""
    push(world, Plan(answer="lost", reports=some(world, Report("success"), Report("success", 5.0))))


@scenario
def callback_first(world):
    """The callback comes before the answer, without a token: it waits for the identifiers."""
    reports = (Report("success", plain=True), Report("success", plain=True, jobs=0))
    push(world, Plan(reports=reports))


@scenario
def c2b_and_stk(world):
    """One receipt told by the STK callback and by a C2B confirmation, in either order, and both twice."""
    reports = some(world, Report("success", moment(world, 0, 5)), Report("success", 60.0), Report("success", LATE))
    twice = some(world, Report("c2b", moment(world, 0, 5, 60)), Report("c2b", moment(world, 0, LATE)))
    push(world, Plan(reports=reports + twice, question=world.rng.choice(("success", "pending", "error"))))


@scenario
def c2b_and_failure(world):
    """A query says that it failed, and the confirmation shows that it was paid."""
    reports = (Report("c2b", moment(world, 0, 40, LATE)), *some(world, Report("success", LATE)))
    push(world, Plan(reports=reports, question="cancelled"))


@scenario
def query_then_both(world):
    """A query says success, then the callback and the confirmation come."""
    push(world, Plan(reports=some(world, Report("success", 60.0), Report("c2b", 60.0), Report("success", LATE))))


@scenario
def late_success(world):
    """Nothing is known by the deadline; the success comes afterwards."""
    reports = (Report("success", LATE), *some(world, Report("success", LATE + 20)))
    push(world, Plan(reports=reports, question=world.rng.choice(("pending", "error", "expired", "failed"))))


@scenario
def late_failure(world):
    """Nothing is known by the deadline; the failure comes afterwards."""
    reports = (Report("cancelled", LATE), *some(world, Report("cancelled", LATE)))
    push(world, Plan(paid=False, reports=reports, question=world.rng.choice(("pending", "expired", "failed"))))


@scenario
def success_after_failed(world):
    """M-PESA says that it failed, and then that it succeeded, or the other way round; each perhaps twice."""
    when = moment(world, 0, 0, 60)
    reports = (Report("failed", moment(world, 0, 0, 60)), Report("success", when))
    reports += some(world, Report("failed", 5.0), Report("success", when))
    push(world, Plan(reports=reports, question=world.rng.choice(("success", "pending", "failed"))))


@scenario
def success_after_failed_and_a_person(world):
    """The same, and somebody decides what is true."""
    success_after_failed(world)
    person(world)
    if world.rng.random() < 0.3:
        person(world)


@scenario
def query_races_callback(world):
    """The host asks at the very moment at which the callback comes; they may say different things."""
    paid = world.rng.random() < 0.6
    reports = (Report("success" if paid else "cancelled"), *some(world, Report("success" if paid else "cancelled")))
    question = world.rng.choice(("failed", "expired", "success" if paid else "cancelled"))
    row_id = prompted(world, Plan(paid=paid, reports=reports, question=question))
    ask(world, row_id)
    if world.rng.random() < 0.3:
        ask(world, row_id)


@scenario
def amount_differs(world):
    """The callback tells of another amount, and a query says success; the mismatch is never settled quietly."""
    reports = (Report("short", moment(world, 0, 5, 30)), *some(world, Report("short", 5.0)))
    push(world, Plan(amount=AMOUNT - SHORT_BY, reports=reports, decided=moment(world, 0, 60)))


@scenario
def amount_differs_and_is_asked_about(world):
    """The same, and the host asks at that very moment."""
    reports = (Report("short"), *some(world, Report("short")))
    ask(world, prompted(world, Plan(amount=AMOUNT - SHORT_BY, reports=reports)))


@scenario
def amount_differs_and_a_person(world):
    """The same, and somebody accepts what really came, or does not."""
    amount_differs(world)
    person(world)


@scenario
def other_receipt(world):
    """Two successes with two receipts for one push."""
    push(
        world, Plan(reports=(Report("success"), Report("other", moment(world, 0, 30)), *some(world, Report("success"))))
    )


@scenario
def same_key(world):
    """Two identical calls with one idempotency key, in two processes; the first one's answer is lost."""
    answer = world.rng.choice(("lost", "lost", "accepts", "vanishes"))
    plan = Plan(answer=answer, reports=some(world, Report("success"), Report("success", 5.0)))
    push(world, plan, key="order-7", name="push-a")
    push(world, key="order-7", name="push-b")


@scenario
def refused(world):
    """Daraja refuses, or no byte leaves, or nobody knows whether one did."""
    push(world, Plan(answer=world.rng.choice(("refuses", "busy", "unsent", "vanishes")), paid=False), key="order-7")
    push(world, key="order-7")


@scenario
def refused_and_paid(world):
    """Daraja's answer is a refusal, and the customer pays all the same."""
    reports = (Report("success", moment(world, 0, 0, 60)), *some(world, Report("success"), Report("success", LATE)))
    push(world, Plan(answer="belies", reports=reports))


@scenario
def unheard(world):
    """The callback never comes; the questions find out."""
    question = world.rng.choice(("success", "failed", "cancelled", "expired", "pending"))
    push(
        world, Plan(paid=question in ("success", "pending"), question=question, decided=moment(world, 0, 60, 150, LATE))
    )


@option(verify_before_settle=True)
@scenario
def verified(world):
    """The host asks M-PESA itself before a callback's success settles; M-PESA may not know, or deny it."""
    paid = world.rng.random() < 0.8
    reports = (Report("success"), *some(world, Report("success"), Report("success", 60.0), Report("c2b", 60.0)))
    if not paid:
        reports = tuple(report for report in reports if report.says != "c2b")
    question = world.rng.choice(("success", "success", "pending", "error")) if paid else "cancelled"
    push(world, Plan(paid=paid, reports=reports, question=question, decided=moment(world, 0, 60)))


@scenario
def undocumented(world):
    """A code that nobody has documented settles nothing; a question does."""
    reports = (Report("unknown"), *some(world, Report("unknown"), Report("success", 60.0)))
    push(world, Plan(reports=reports))


# -- C2B ----------------------------------------------------------------------------------------------------------------


@scenario
def c2b_alone(world):
    """A payment that nobody asked for, confirmed three times at once."""
    reports = tuple(Report("c2b", jobs=world.rng.choice((0, 1, 2))) for _ in range(3))
    world.daraja.pay_by_hand("hand", 100, "INV-9", reports)


@scenario
def c2b_two_candidates(world):
    """Two prompts that look alike and one confirmation; the callbacks of either, both or none of them come."""
    world.adopting = True
    first = Plan(
        reports=some(world, Report("c2b", moment(world, 0, 30)), Report("success", moment(world, 0, 60, LATE)))
    )
    paid = world.rng.random() < 0.5
    says = "success" if paid else "cancelled"
    second = Plan(paid=paid, reports=some(world, Report(says, moment(world, 0, 60, LATE))), question=says)
    push(world, first, name="push-a")
    push(world, second, name="push-b")


@scenario
def c2b_by_hand_beside_a_prompt(world):
    """The customer lets the prompt go, and pays the same bill by himself."""
    world.adopting = True
    push(
        world,
        Plan(paid=False, reports=some(world, Report("cancelled", moment(world, 0, 10, 60))), question="cancelled"),
    )
    world.daraja.pay_by_hand("hand", 100, "INV-1", (Report("c2b", moment(world, 0, 30)), Report("c2b", 50.0)))


@scenario
def c2b_unlike(world):
    """The confirmation of an STK payment does not look like it, so the receipt is taken when the callback comes."""
    reports = (Report("c2b_odd"), Report("success", moment(world, 0, 5)), *some(world, Report("success", 10.0)))
    push(world, Plan(reports=reports, question=world.rng.choice(("success", "pending"))))


# -- payouts --------------------------------------------------------------------------------------------------------------


@scenario
def payout(world):
    """A payout whose result comes twice, late, or never."""
    says = world.rng.choice(("success", "success", "failed"))
    reports = some(world, Report(says), Report(says, moment(world, 0, 60)), Report(says, VERY_LATE))
    plan = Plan(
        paid=says == "success",
        answer=world.rng.choice(("accepts", "lost")),
        reports=reports,
        question=says,
        decided=moment(world, 0, 60, VERY_LATE),
    )
    pay(world, plan, version=world.rng.choice((1, 3, 3)))


@scenario
def payout_answer_lost(world):
    """A payout whose answer is lost, twice asked for with one key; its outcome is found by asking."""
    answer = world.rng.choice(("lost", "lost", "vanishes"))
    reports = some(world, Report("success", moment(world, 60, VERY_LATE)))
    plan = Plan(answer=answer, reports=reports, paid=answer == "lost", status_lost=world.rng.choice((0, 1, 2)))
    pay(world, plan)
    pay(world)


@scenario
def notice_and_result(world):
    """A queue-timeout notice and the result race, and perhaps the deadline with them."""
    when = moment(world, 0, 0, 30, VERY_LATE)
    says = world.rng.choice(("success", "failed"))
    reports = (Report("notice", moment(world, 0, 0, 30)), Report(says, when), *some(world, Report("notice", when)))
    plan = Plan(paid=says == "success", reports=reports, question=world.rng.choice((says, "pending", "error")))
    pay(world, plan)


@option(on_queue_timeout="timeout")
@scenario
def notice_is_timeout(world):
    """The host takes the notice for a timeout; the result makes the outcome known later, or had made it known before."""
    notice_and_result(world)


@scenario
def payout_contradicted(world):
    """A payout's results contradict each other."""
    reports = (Report("success", moment(world, 0, 60)), Report("failed", moment(world, 0, 60)))
    pay(world, Plan(reports=reports + some(world, Report("failed", 5.0)), question="success"))


# -- reversals ------------------------------------------------------------------------------------------------------------


@scenario
def reversal(world):
    """A reversal of all or part, whose result comes twice."""
    row = settled_payment(world)
    says = world.rng.choice(("success", "success", "failed"))
    answer = world.rng.choice(("accepts", "accepts", "lost", "refuses", "unsent"))
    reports = (Report(says, moment(world, 0, 10)), *some(world, Report(says), Report(says, VERY_LATE)))
    plan = Plan(answer=answer, paid=says == "success", reports=reports, question=says)
    reverse(world, row.id, world.rng.choice((None, 100, 40)), plan, key="back-1")


@scenario
def reversals_race(world):
    """Two reversals at once: two halves, two wholes, or a half and a whole."""
    row = settled_payment(world)
    for name in ("one", "two"):
        says = world.rng.choice(("success", "success", "failed"))
        reports = (Report(says, moment(world, 0, 10)), *some(world, Report(says)))
        plan = Plan(paid=says == "success", reports=reports, question=says)
        reverse(world, row.id, world.rng.choice((None, 60, 50, 40)), plan, key=name)


@scenario
def reversal_released(world):
    """A reversal fails for certain and releases what it had reserved; another one takes it."""
    row = settled_payment(world)
    failing = Plan(
        answer=world.rng.choice(("accepts", "refuses", "unsent")),
        paid=False,
        reports=(Report("failed"),),
        question="failed",
    )
    reverse(world, row.id, 100, failing, Plan(reports=some(world, Report("success"), Report("success"))), key="first")
    world.spawn("later", _reverse_again(world, row.id))


def _reverse_again(world, payment_id, looks=40):
    """Somebody who waits for the first reversal to fail, for a while, and then asks for another."""
    for _ in range(looks):
        yield StoreCall("get", (payment_id,))
        rows = world.repository._transactions.values()
        reversals = [row for row in rows if row.transaction_type == TransactionType.REVERSAL]
        if reversals and all(row.status == Status.FAILED for row in reversals):
            break
    yield from world.initiation.reverse(
        transaction=payment_id, amount=100, remarks="Returned", idempotency_key="again", host={}
    )


@scenario
def reversal_unknown(world):
    """A reversal of which nothing is heard stays reserved, and what came in is not given back twice."""
    row = settled_payment(world)
    plan = Plan(
        answer=world.rng.choice(("accepts", "lost")),
        reports=some(world, Report("notice"), Report("success", VERY_LATE)),
    )
    reverse(world, row.id, 70, plan, key="first")
    reverse(world, row.id, 70, key="second")


# -- anything -------------------------------------------------------------------------------------------------------------


@scenario
def anything(world):
    """Any reports at any time, any answer to the request and to the questions."""
    rng = world.rng
    words = ["success", "success", "c2b", "cancelled", "failed", "expired", "unknown"]
    reports = tuple(
        Report(rng.choice(words), moment(world, 0, 0, 10, 60, LATE), rng.choice((0, 1, 2)), rng.random() < 0.2)
        for _ in range(rng.choice((0, 1, 2, 3, 4)))
    )
    plan = Plan(
        answer=rng.choice(("accepts", "accepts", "lost")),
        reports=reports,
        question=rng.choice(("success", "success", "pending", "error", "failed", "expired")),
        decided=moment(world, 0, 60, LATE),
    )
    push(world, plan, key=rng.choice((None, "order-7")))
