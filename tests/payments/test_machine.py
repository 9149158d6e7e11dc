"""The machine's table."""

from __future__ import annotations

import itertools

import pytest

from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.machine import OPEN, TERMINAL, TRANSITIONS, Source, check_transition, is_known
from mpesa_core.payments.records import Status

STANDINGS = [
    (Status.PENDING, None),
    (Status.PROCESSING, None),
    (Status.SUCCESS, Source.CALLBACK),
    (Status.SUCCESS, Source.QUERY),
    (Status.FAILED, Source.CALLBACK),
    (Status.FAILED, Source.QUERY),
    (Status.FAILED, Source.UNSENT),
    (Status.TIMEOUT, Source.DEADLINE),
    (Status.REVERSED, Source.REVERSAL),
]

LEGAL = {
    (Status.PENDING, Status.PROCESSING),
    *itertools.product(OPEN, (Status.SUCCESS, Status.FAILED, Status.TIMEOUT)),
    (Status.TIMEOUT, Status.SUCCESS),
    (Status.TIMEOUT, Status.FAILED),
    (Status.FAILED, Status.SUCCESS),
    (Status.FAILED, Status.FAILED),
    (Status.SUCCESS, Status.REVERSED),
}


def legal(status: Status, settled_by: Source | None, target: Status, source: Source) -> bool:
    try:
        check_transition(status, settled_by, target, source)
    except IllegalTransition:
        return False
    return True


@pytest.mark.parametrize(("status", "settled_by"), STANDINGS)
@pytest.mark.parametrize("target", list(Status))
@pytest.mark.parametrize("source", list(Source))
def test_only_the_drawn_arrows_exist(status, settled_by, target, source):
    """Every legal transition is one of the picture's arrows, whoever says so."""
    if legal(status, settled_by, target, source):
        assert (status, target) in LEGAL


@pytest.mark.parametrize(
    ("settled_by", "source", "expected"),
    [
        (Source.QUERY, Source.CALLBACK, True),
        (Source.QUERY, Source.QUERY, True),
        (Source.CALLBACK, Source.CALLBACK, False),
        (Source.CALLBACK, Source.QUERY, False),
        (Source.UNSENT, Source.CALLBACK, False),
        (Source.REFUSAL, Source.CONFIRMATION, False),
        (Source.CALLBACK, Source.PERSON, True),
    ],
)
def test_failure_yields_to_success_only_while_it_is_not_known(settled_by, source, expected):
    """FAILED becomes SUCCESS when a query alone had said so, or when a person accepts it."""
    assert expected is legal(Status.FAILED, settled_by, Status.SUCCESS, source)


@pytest.mark.parametrize("target", [status for status in Status if status is not Status.REVERSED])
@pytest.mark.parametrize("source", list(Source))
def test_success_is_undone_by_a_reversal_alone(target, source):
    """Nothing but REVERSED follows SUCCESS, not even on a person's word."""
    assert not legal(Status.SUCCESS, Source.CALLBACK, target, source)


def test_what_is_known_only_grows():
    """No arrow leads from a known standing to one that is not known."""
    lost = [(here, there) for here, targets in TRANSITIONS.items() for there in targets if here[1] and not there[1]]
    assert lost == []


def test_table_knows_every_standing():
    """Each status has its row in the table, and open and terminal cover them all."""
    assert {(status, is_known(status, by)) for status, by in STANDINGS} == set(TRANSITIONS)
    assert OPEN | TERMINAL == set(Status)


def test_refusal_names_both_ends():
    """An illegal transition says where the transaction stands and where it was to go."""
    with pytest.raises(IllegalTransition, match="SUCCESS cannot become FAILED"):
        check_transition(Status.SUCCESS, Source.CALLBACK, Status.FAILED, Source.CALLBACK)
