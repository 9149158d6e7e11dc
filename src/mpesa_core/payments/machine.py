"""The state machine: where a transaction may go, and on whose word. One table; anything not in it is illegal.

::

    PENDING ──> PROCESSING ──> SUCCESS ──> REVERSED
       │             ├──────> FAILED   (known, or concluded from a query)
       │             └──────> TIMEOUT  (never known)
       └── the same three, for evidence that matches a row which nobody sent

    not known (TIMEOUT; FAILED concluded from a query) ──> SUCCESS, or FAILED and known; TIMEOUT also ──> FAILED by a
    query FAILED and known ──> SUCCESS only when a person accepts it

What is known only grows: PROCESSING < TIMEOUT < FAILED by a query < FAILED and known | SUCCESS. So the order in which
pieces of evidence arrive does not matter, and two that contradict each other meet at the top, as a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.records import Status

__all__ = ["OPEN", "TERMINAL", "TRANSITIONS", "Source", "check_transition", "is_known"]


class Source(StrEnum):
    """What evidence comes from, and what a settled row's ``settled_by`` names."""

    CALLBACK = "callback"
    """M-PESA's own result."""
    CONFIRMATION = "confirmation"
    """A C2B confirmation, or a row of pull transactions: it names a receipt."""
    QUERY = "query"
    """An answer to a question of ours (STK query, transaction status)."""
    NOTICE = "notice"
    """A queue-timeout notice: no outcome."""
    DEADLINE = "deadline"
    """Time ran out."""
    UNSENT = "unsent"
    """Provably, no byte left."""
    REFUSAL = "refusal"
    """Daraja refused the request when it was made."""
    REVERSAL = "reversal"
    """A reversal of ours gave all of it back."""
    PERSON = "person"
    """A person accepted a conflict."""


OPEN: Final = frozenset({Status.PENDING, Status.PROCESSING})
TERMINAL: Final = frozenset({Status.SUCCESS, Status.FAILED, Status.TIMEOUT, Status.REVERSED})

_CERTAIN = frozenset(
    {Source.CALLBACK, Source.CONFIRMATION, Source.UNSENT, Source.REFUSAL, Source.PERSON, Source.REVERSAL}
)


def is_known(status: str, settled_by: str | None) -> bool:
    """Whether it is M-PESA's last word: SUCCESS and REVERSED always, FAILED unless a query said it, TIMEOUT never."""
    if status in (Status.SUCCESS, Status.REVERSED):
        return True
    return status == Status.FAILED and settled_by in _CERTAIN


TRANSITIONS: Final[Mapping[tuple[Status, bool], frozenset[tuple[Status, bool]]]] = {
    (status, known): frozenset(targets)
    for (status, known), targets in {
        (Status.PENDING, False): {
            (Status.PROCESSING, False),
            (Status.SUCCESS, True),
            (Status.FAILED, True),
            (Status.FAILED, False),
            (Status.TIMEOUT, False),
        },
        (Status.PROCESSING, False): {
            (Status.SUCCESS, True),
            (Status.FAILED, True),
            (Status.FAILED, False),
            (Status.TIMEOUT, False),
        },
        (Status.TIMEOUT, False): {(Status.SUCCESS, True), (Status.FAILED, True), (Status.FAILED, False)},
        (Status.FAILED, False): {(Status.SUCCESS, True), (Status.FAILED, True)},
        (Status.FAILED, True): set[tuple[Status, bool]](),
        (Status.SUCCESS, True): {(Status.REVERSED, True)},
        (Status.REVERSED, True): set[tuple[Status, bool]](),
    }.items()
}
"""From (status, known) to every (status, known) that evidence may take it to."""

_ACCEPTED: Final = frozenset({((Status.FAILED, True), (Status.SUCCESS, True))})
"""What a person may do beyond the table."""


def check_transition(status: str, settled_by: str | None, target: Status, source: Source) -> None:
    """Check a transition against the table.

    Args:
        status: where the transaction stands.
        settled_by: what that rests on.
        target: where it is to go.
        source: on whose word.

    Raises:
        IllegalTransition: it is not in the table.
    """
    here = (Status(status), is_known(status, settled_by))
    there = (target, is_known(target, source))
    if there in TRANSITIONS[here] or (source is Source.PERSON and (here, there) in _ACCEPTED):
        return
    raise IllegalTransition(status, target)
