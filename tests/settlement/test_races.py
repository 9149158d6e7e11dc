"""Races and deaths at one chosen step each: what the scheduler found once, told step by step."""

from __future__ import annotations

from random import Random

import pytest

from mpesa_core.payments.records import Status
from mpesa_core.settlement.conflicts import dismiss_conflict
from mpesa_core.settlement.effects import Deliver, StoreCall
from mpesa_core.settlement.reconciliation import reconcile
from mpesa_core.settlement.recovery import recover
from tests.settlement.mutants import MUTANTS
from tests.settlement.scenarios import push, reverse, settled_payment
from tests.settlement.script import Plan, Report
from tests.settlement.simulation import Variant, World, quiet_engine


@pytest.fixture
def world():
    with quiet_engine():
        yield World(Random(1), Variant())


def until(world, actor, reached):
    """Let one process run until it stands before an effect, and no further."""
    while not reached(actor.effect):
        world.step(actor)


def finish(world, actor):
    while actor.effect is not None:
        world.step(actor)


def before_change(name):
    """Whether an effect is the change of a transaction that writes a field."""
    return lambda effect: type(effect) is StoreCall and effect.operation == "change" and name in effect.arguments[2]


def before_signal(name):
    return lambda effect: type(effect) is Deliver and effect.signal == name


def letter(world, says, kind="stk1"):
    return next(each for each in world.letters if each.says == says and each.payment.name == kind)


def arrive(world, says, kind="stk1"):
    """A callback is recorded; the process that works on it stands before its first step."""
    post = world.open_letter(letter(world, says, kind))
    finish(world, post)
    return world.actors[-1]


def rows(world):
    return list(world.repository._transactions.values())


def two_prompts(world):
    """Two prompts that look alike, one paid; its confirmation and its callback are on their way."""
    push(world, Plan(reports=(Report("c2b"), Report("success"))))
    world.drain()
    push(world, Plan(paid=False))
    world.drain()
    return rows(world)


def test_confirmation_that_loses_a_mark_is_matched_again(world):
    """While a confirmation marks the payments that it may belong to, the callback settles one: nothing stays marked."""
    paid, other = two_prompts(world)
    confirmation = arrive(world, "c2b")
    finish(world, confirmation)
    world.pass_time(60)
    again = world.spawn("again", world.engine.process(world.repository.due_callbacks(world.now, 1)[0].id))
    until(world, again, before_change("conflicts"))
    finish(world, arrive(world, "success"))
    finish(world, again)
    assert Status.SUCCESS == world.repository.get(paid.id).status
    assert ({}, {}) == tuple(dict(world.repository.get(row.id).conflicts) for row in (paid, other))
    assert [] == list(world.repository.conflicts(10))
    assert [] == world.books.violations


def test_adoption_that_loses_its_receipt_is_matched_again(world):
    """The receipt goes to the right payment between a confirmation's look and its adoption: no conflict comes of it."""
    paid, other = two_prompts(world)
    world.pass_time(60)
    confirmation = arrive(world, "c2b")
    until(world, confirmation, lambda effect: effect.operation == "candidates")
    finish(world, arrive(world, "success"))
    finish(world, confirmation)
    assert "SFR7K00001" == world.repository.get(paid.id).mpesa_receipt_number
    assert {} == dict(world.repository.get(other.id).conflicts)
    assert [] == list(world.repository.conflicts(10))


def test_duplicate_of_an_ambiguous_confirmation_raises_it_no_second_time(world):
    """A confirmation that may belong to two payments is told of once, however often it comes."""
    push(world, Plan(reports=(Report("c2b"), Report("c2b"))))
    world.drain()
    push(world, Plan(paid=False))
    world.drain()
    works = [arrive(world, "c2b"), arrive(world, "c2b")]
    world.pass_time(60)
    for work in works:
        finish(world, work)
    assert 1 == sum(world.books.raised.values())
    assert 1 == len(world.repository.conflicts(10))


def test_second_report_of_a_taken_receipt_raises_it_no_second_time(world):
    """A callback whose receipt belongs to another transaction is one conflict, however often it comes."""
    push(world, Plan(reports=(Report("c2b_odd"), Report("success"), Report("success"))))
    world.drain()
    for says in ("c2b_odd", "success", "success"):
        finish(world, arrive(world, says))
    assert 1 == sum(world.books.raised.values())
    assert 1 == len(world.repository.conflicts(10))


def test_dismissed_conflict_lets_a_payment_that_was_never_sent_go(world):
    """What was never sent and is held by a conflict fails when the conflict is dismissed, and not before."""
    two_prompts(world)
    third = push(world, reference="INV-1")
    until(world, third, before_change("status"))
    world.crash(third, after=False)
    work = arrive(world, "c2b")
    world.pass_time(120)
    finish(world, work)
    unsent = rows(world)[-1]
    assert len(world.repository.get(unsent.id).conflicts) == 1
    assert 0 == world.run("recover", recover(world.engine)).unsent
    (conflict,) = world.repository.conflicts(10)
    person = world.spawn("person", dismiss_conflict(world.engine, conflict.id), person=True)
    finish(world, person)
    world.pass_time(120)
    assert 1 == world.run("recover", recover(world.engine)).unsent
    assert (Status.FAILED, {}) == (
        world.repository.get(unsent.id).status,
        dict(world.repository.get(unsent.id).conflicts),
    )


def test_conflict_that_was_resolved_before_it_was_kept_again_holds_nothing(world):
    """A worker that stood still keeps a conflict which a person has resolved meanwhile: the next question takes it off."""
    push(world, Plan(paid=False, reports=(Report("short"),), question="failed"))
    world.drain()
    slow = arrive(world, "short")
    until(world, slow, before_change("conflicts"))
    world.pass_time(21)
    world.run("recover", recover(world.engine))
    (conflict,) = world.repository.conflicts(10)
    finish(world, world.spawn("person", dismiss_conflict(world.engine, conflict.id), person=True))
    finish(world, slow)
    (row,) = rows(world)
    assert 1 == len(row.conflicts)
    assert [] == list(world.repository.conflicts(10))
    world.pass_time(21)
    world.run("reconcile", reconcile(world.engine))
    (row,) = rows(world)
    assert ({}, Status.FAILED) == (dict(row.conflicts), row.status)


def test_refund_that_was_called_unsent_before_it_was_reserved_counts_for_nothing(world):
    """A sweep overtakes a refund that is about to be reserved: the whole payment can still be given back."""
    payment = settled_payment(world)
    slow = reverse(world, payment.id, 100, Plan(reports=(Report("success"),)), key="slow")
    until(world, slow, before_change("reserved"))
    world.pass_time(120)
    world.run("recover", recover(world.engine))
    finish(world, slow)
    assert 1 == len(world.repository.get(payment.id).reserved)
    assert 1 == len(world.daraja.posts)
    finish(world, reverse(world, payment.id, 100, key="again"))
    assert 2 == len(world.daraja.posts)
    assert ["100.00"] == list(world.repository.get(payment.id).reserved.values())


def test_slow_receivers_of_callback_received_keep_the_fence(world):
    """The fence is renewed while the receivers of callback_received run, which come before the settlement's own signal."""
    push(world, Plan(reports=(Report("success"),)))
    world.drain()
    work = arrive(world, "success")
    until(world, work, before_signal("callback_received"))
    assert rows(world)[0].id == work.effect.transaction.id
    assert work.effect.transaction.announce_until is not None


def test_mutants_are_named_as_the_command_names_them():
    """Each mutant is found under its own name."""
    assert list(MUTANTS) == [MUTANTS[name].name for name in MUTANTS]
