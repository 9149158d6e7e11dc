"""decide: what evidence makes of a transaction."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.daraja.codes import Outcome
from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.decide import (
    AskNow,
    Conflict,
    Duplicate,
    Enrich,
    Ignore,
    Postpone,
    Settle,
    accept,
    decide,
)
from mpesa_core.payments.machine import Source, check_transition, is_known
from mpesa_core.payments.records import Status
from tests.payments.evidence import (
    CANCELLED,
    DEADLINE,
    EXPIRED,
    FAILURE,
    NOTICE,
    NOW,
    OTHER_RECEIPT,
    PENDING,
    QUERY_EXPIRED,
    QUERY_FAILURE,
    QUERY_SUCCESS,
    RECEIPT,
    SHORT,
    UNKNOWN,
    Applied,
    row,
    success,
)

SUCCESS = success()
CONFIRMATION = success(source=Source.CONFIRMATION)
TERMINAL_EVIDENCE = [
    SUCCESS,
    QUERY_SUCCESS,
    FAILURE,
    CANCELLED,
    QUERY_FAILURE,
    EXPIRED,
    QUERY_EXPIRED,
    SHORT,
    OTHER_RECEIPT,
    CONFIRMATION,
]
ALL_EVIDENCE = [*TERMINAL_EVIDENCE, PENDING, UNKNOWN, NOTICE]


def numbered(evidence):
    """Each piece comes in a callback of its own, as in life."""
    return [attrs.evolve(piece, callback_id=UUID(int=100 + number)) for number, piece in enumerate(evidence)]


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING])
@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (SUCCESS, Status.SUCCESS),
        (QUERY_SUCCESS, Status.SUCCESS),
        (CONFIRMATION, Status.SUCCESS),
        (FAILURE, Status.FAILED),
        (CANCELLED, Status.FAILED),
        (QUERY_FAILURE, Status.FAILED),
        (EXPIRED, Status.TIMEOUT),
        (QUERY_EXPIRED, Status.TIMEOUT),
        (DEADLINE, Status.TIMEOUT),
    ],
)
def test_open_transaction_settles_as_what_is_said(status, evidence, expected):
    """An open transaction, also one that nobody sent, settles by whatever outcome comes."""
    decision = decide(row(status=status), evidence, NOW)
    assert isinstance(decision, Settle)
    assert expected == decision.status


def test_success_writes_the_proof():
    """A success by M-PESA's own word has a receipt and the time of its proof, and is asked about no more."""
    changes = decide(row(), SUCCESS, NOW).changes
    assert (RECEIPT, NOW, NOW, 1, None) == (
        changes["mpesa_receipt_number"],
        changes["confirmed_at"],
        changes["settled_at"],
        changes["generation"],
        changes["next_check_at"],
    )


def test_success_by_query_waits_for_its_receipt():
    """A query's success settles without proof, and the receipt is filled in later without a second settlement."""
    applied = Applied(row())
    applied.take(QUERY_SUCCESS)
    assert applied.transaction.confirmed_at is None
    assert isinstance(applied.take(SUCCESS), Enrich)
    assert (RECEIPT, 1) == (applied.transaction.mpesa_receipt_number, applied.transaction.generation)
    assert [Status.SUCCESS] == applied.entered


@pytest.mark.parametrize("first", [EXPIRED, DEADLINE, QUERY_FAILURE, QUERY_EXPIRED])
def test_what_is_not_known_yields_to_success(first):
    """A timeout, and a failure that a query alone told of, become SUCCESS later, and settled_at stays."""
    applied = Applied(row())
    applied.take(first)
    applied.take(SUCCESS, NOW + timedelta(hours=1))
    assert (Status.SUCCESS, 2, NOW + timedelta(seconds=5)) == (
        applied.transaction.status,
        applied.transaction.generation,
        applied.transaction.settled_at,
    )


@pytest.mark.parametrize("first", [EXPIRED, DEADLINE, QUERY_FAILURE])
def test_what_is_not_known_yields_to_a_definite_failure(first):
    """M-PESA's own failure after a guess is a settlement of its own, and is known."""
    applied = Applied(row())
    applied.take(first)
    applied.take(FAILURE)
    assert (Status.FAILED, True, 2) == (
        applied.transaction.status,
        is_known(applied.transaction.status, applied.transaction.settled_by),
        applied.transaction.generation,
    )


@pytest.mark.parametrize("later", [SUCCESS, QUERY_SUCCESS, CONFIRMATION])
def test_success_after_a_known_failure_is_a_conflict(later):
    """FAILED on M-PESA's own word is final: a success afterwards changes nothing and is kept."""
    applied = Applied(row())
    applied.take(FAILURE)
    before = applied.transaction
    assert isinstance(applied.take(later), Conflict)
    assert before == attrs.evolve(applied.transaction, conflicts={})


def test_failure_after_success_is_a_conflict():
    """M-PESA's own failure after a success changes nothing and is kept."""
    applied = Applied(row())
    applied.take(SUCCESS)
    assert isinstance(applied.take(FAILURE), Conflict)
    assert Status.SUCCESS == applied.transaction.status


@pytest.mark.parametrize("weak", [QUERY_FAILURE, QUERY_EXPIRED, EXPIRED, DEADLINE, NOTICE, PENDING, UNKNOWN])
@pytest.mark.parametrize("proof", [SUCCESS, QUERY_SUCCESS])
def test_weak_evidence_never_contradicts_success(proof, weak):
    """A query's failure, an expiry or a notice says nothing against a success."""
    applied = Applied(row())
    applied.take(proof)
    assert isinstance(applied.take(weak), (Ignore, Duplicate))


@pytest.mark.parametrize(
    "wrong",
    [
        SHORT,
        success(amount=Decimal("100.01")),
        success(short_code="600000"),
        success(reference="INV-2"),
        success(phone_number="254711111111"),
        success(checkout_request_id="ws_CO_2"),
    ],
)
@pytest.mark.parametrize("standing", [None, DEADLINE, QUERY_FAILURE, QUERY_SUCCESS, FAILURE])
def test_what_was_not_asked_for_is_never_settled(wrong, standing):
    """Another amount, short code, reference, phone number or identifier than asked is a conflict in every state."""
    applied = Applied(row())
    if standing is not None:
        applied.take(standing)
    before = applied.transaction
    assert isinstance(applied.take(wrong), Conflict)
    assert before == attrs.evolve(applied.transaction, conflicts={})


def test_masked_phone_is_no_contradiction():
    """A number that M-PESA masks or hashes cannot disagree."""
    assert isinstance(decide(row(), success(phone_number="2547 ***** 149"), NOW), Settle)


@pytest.mark.parametrize("evidence", [SUCCESS, QUERY_SUCCESS, FAILURE, EXPIRED])
def test_open_conflict_holds_the_transaction(evidence):
    """While a conflict is open nothing settles by itself, and what came is kept with it."""
    applied = Applied(row())
    applied.take(SHORT)
    assert isinstance(applied.take(evidence), Conflict)
    assert Status.PROCESSING == applied.transaction.status


def test_deadline_waits_for_the_person():
    """Time running out is no new contradiction: an open conflict is left to a person."""
    applied = Applied(row())
    applied.take(SHORT)
    assert isinstance(applied.take(DEADLINE), Ignore)


def test_conflict_is_raised_once():
    """A duplicate of a contradiction says the same, and raises nothing more; the callback itself, tried again, does."""
    applied = Applied(row())
    first, second = numbered([SHORT, SHORT])
    assert isinstance(applied.take(first), Conflict)
    assert isinstance(applied.take(second), Duplicate)
    assert isinstance(applied.take(first), Conflict)


@pytest.mark.parametrize("evidence", [SUCCESS, FAILURE])
def test_nothing_settles_while_unannounced(evidence):
    """A generation that is not announced yet puts new evidence back; duplicates and enrichment need not wait."""
    until = NOW + timedelta(seconds=60)
    fenced = row(status=Status.TIMEOUT, settled_by=Source.DEADLINE, generation=1, announce_until=until)
    assert Postpone(until) == decide(fenced, evidence, NOW)
    settled = row(status=Status.SUCCESS, settled_by=Source.QUERY, generation=1, announce_until=until)
    assert isinstance(decide(settled, SUCCESS, NOW), Enrich)


@pytest.mark.parametrize("evidence", [UNKNOWN, NOTICE])
@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.TIMEOUT])
def test_what_says_nothing_certain_is_asked_about(status, evidence):
    """A queue-timeout notice and an undocumented code settle nothing; the question is due at once."""
    settled_by = Source.DEADLINE if status is Status.TIMEOUT else None
    assert AskNow(review=evidence.review) == decide(row(status=status, settled_by=settled_by), evidence, NOW)


def test_notice_counts_where_the_host_says_so():
    """With on_queue_timeout="timeout" the notice settles as TIMEOUT, which is not known."""
    decision = decide(row(), NOTICE, NOW, on_queue_timeout="timeout")
    assert (Status.TIMEOUT, False) == (decision.status, is_known(decision.status, decision.changes["settled_by"]))


@pytest.mark.parametrize("size", [2, 3])
def test_order_does_not_matter_for_any_small_multiset(size):
    """Every order of every multiset of evidence ends the same way; a contradiction is open in every order (about 10,000 orders)."""
    orders = 0
    for chosen in itertools.combinations_with_replacement(ALL_EVIDENCE, size):
        ends = set()
        for order in itertools.permutations(numbered(chosen)):
            applied = Applied(row())
            for piece in order:
                applied.take(piece)
            ends.add(end_of(applied))
            assert applied.entered.count(Status.SUCCESS) <= 1
            orders += 1
        assert_one_end(ends, chosen)
    assert orders >= {2: 100, 3: 2000}[size]


@given(st.lists(st.sampled_from(ALL_EVIDENCE), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_order_does_not_matter(chosen, random):
    """Hypothesis shuffles larger multisets: one end, or an open conflict whatever came first."""
    ends = set()
    for _ in range(6):
        pieces = numbered(chosen)
        random.shuffle(pieces)
        applied = Applied(row())
        for piece in pieces:
            applied.take(piece)
        ends.add(end_of(applied))
    assert_one_end(ends, chosen)


def end_of(applied):
    end = applied.transaction
    return (end.status, is_known(end.status, end.settled_by), end.mpesa_receipt_number, bool(end.conflicts))


def assert_one_end(ends, chosen):
    if any(conflicted for *_, conflicted in ends):
        assert all(conflicted for *_, conflicted in ends), (ends, [piece.says for piece in chosen])
    else:
        assert 1 == len(ends), (ends, [piece.says for piece in chosen])


@given(st.lists(st.sampled_from([*ALL_EVIDENCE, DEADLINE]), max_size=8))
def test_every_step_is_in_the_table(chosen):
    """Whatever comes, each settlement is an arrow of the machine, settled_at is set once, and a receipt never changes."""
    applied = Applied(row())
    for piece in numbered(chosen):
        before = applied.transaction
        decision = applied.take(piece)
        after = applied.transaction
        if isinstance(decision, Settle):
            check_transition(before.status, before.settled_by, after.status, piece.source)
            assert before.generation + 1 == after.generation
        assert before.settled_at in (None, after.settled_at)
        assert before.mpesa_receipt_number in (None, after.mpesa_receipt_number)
        if after.status == Status.SUCCESS:
            assert any(one.outcome is Outcome.SUCCESS and one.amount in (None, after.amount) for one in chosen)


def test_person_accepts_a_late_success_with_the_amount_that_came():
    """An accepted conflict settles with what really came, so that the books stay true."""
    applied = Applied(row())
    applied.take(SHORT)
    decision = accept(applied.transaction, SHORT, NOW)
    assert (Status.SUCCESS, Decimal("50.00"), Source.PERSON) == (
        decision.status,
        decision.changes["amount"],
        decision.changes["settled_by"],
    )


def test_person_cannot_accept_a_failure_after_success():
    """SUCCESS is undone by a reversal and by nothing else, also on a person's word."""
    applied = Applied(row())
    applied.take(SUCCESS)
    with pytest.raises(IllegalTransition):
        accept(applied.transaction, FAILURE, NOW)
