"""What people are shown: what waits, what is late, what was last, what is searched for, and no full phone number."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from mpesa_core import Account, MemoryRepository, Settings
from mpesa_core.overview import overview
from mpesa_core.payments.records import Disposition, Status, TransactionType
from mpesa_core.testing.contract import NOON, callback_draft, transaction_draft

SETTINGS = Settings(short_code="600000", accounts={"till": Account(short_code="600111", till_number="600222")})


def later(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def repository():
    return MemoryRepository()


def seen(repository, **asked):
    return overview(repository, SETTINGS, NOON, **asked)


def test_an_empty_repository(repository):
    """Nothing waits, nothing is late, nothing was searched for."""
    found = seen(repository)
    assert ([], [], [], [], []) == (
        found.conflicts,
        found.waiting,
        found.open_callbacks,
        found.transactions,
        found.callbacks,
    )
    assert (None, 0, NOON) == (found.found, found.overdue, found.at)


@pytest.mark.parametrize(
    ("fields", "waits_for", "overdue"),
    [
        ({"status": Status.PENDING, "next_check_at": later(5)}, "to be sent", False),
        ({"status": Status.PROCESSING, "next_check_at": later(86_400)}, "the first answer", False),
        ({"status": Status.TIMEOUT, "next_check_at": later(-59)}, "a better answer", False),
        ({"status": Status.TIMEOUT, "next_check_at": later(-61)}, "a better answer", True),
        ({"status": Status.SUCCESS, "announce_until": later(-3600)}, "to be announced", True),
        (
            {"status": Status.FAILED, "announce_until": later(30), "next_check_at": later(-3600)},
            "to be announced",
            False,
        ),
    ],
)
def test_what_a_transaction_waits_for(repository, fields, waits_for, overdue):
    """It says what is still to be done, by when, and whether somebody should have done it a minute ago."""
    row = repository.add(transaction_draft(**fields))
    found = seen(repository)
    (line,) = found.waiting
    expected = fields.get("announce_until") or fields["next_check_at"]
    assert (row.id, waits_for, expected, overdue) == (line.id, line.waits_for, line.waits_until, line.overdue)
    assert int(overdue) == found.overdue


def test_what_is_done_waits_for_nothing(repository):
    """A settled and announced transaction, a closed callback: among the last ones, and nowhere else."""
    repository.add(transaction_draft(status=Status.SUCCESS))
    repository.add_callback(callback_draft(next_attempt_at=None))
    found = seen(repository)
    assert ([], []) == (found.waiting, found.open_callbacks)
    assert [(None, None, False)] == [(row.waits_for, row.waits_until, row.overdue) for row in found.transactions]
    assert [(None, False)] == [(row.waits_until, row.overdue) for row in found.callbacks]


def test_first_what_is_due_first(repository):
    """What waits comes in the order in which it is due, whatever it waits for."""
    third = repository.add(transaction_draft(status=Status.PENDING, next_check_at=later(3)))
    first = repository.add(transaction_draft(status=Status.TIMEOUT, next_check_at=later(1)))
    second = repository.add(transaction_draft(status=Status.SUCCESS, announce_until=later(2)))
    assert [first.id, second.id, third.id] == [line.id for line in seen(repository).waiting]
    assert [first.id, second.id] == [line.id for line in seen(repository, limit=2).waiting]


def test_callbacks_that_wait_and_conflicts(repository):
    """An open callback has its next attempt, a conflict its reason; a resolved one is no longer among them."""
    waits = callback_draft(next_attempt_at=later(-100))
    repository.add_callback(waits)
    conflict, resolved = callback_draft(next_attempt_at=later(0)), callback_draft(next_attempt_at=later(0))
    changes = {"next_attempt_at": None, "disposition": Disposition.CONFLICT, "error": "0712345678 paid 5, not 7"}
    for draft, more in ((conflict, {}), (resolved, {"resolved_at": later(0)})):
        repository.add_callback(draft)
        repository.change_callback(draft.id, later(0), {**changes, **more})
    found = seen(repository)
    assert [(waits.id, "open", True)] == [(line.id, line.disposition, line.overdue) for line in found.open_callbacks]
    assert [(conflict.id, "conflict", "07…678 paid 5, not 7")] == [
        (line.id, line.disposition, line.problem) for line in found.conflicts
    ]
    assert 1 == found.overdue


def test_no_full_phone_number(repository):
    """Neither in its own field nor in what a customer typed, what M-PESA said, or why something was put back."""
    full = "254712345678"
    repository.add(
        transaction_draft(
            transaction_type=TransactionType.C2B,
            status=Status.FAILED,
            phone_number=full,
            account_reference="rent 0712345678",
            result_code_text="17",
            result_desc=f"no such customer {full}",
        )
    )
    repository.add_callback(callback_draft(next_attempt_at=later(5)))
    found = seen(repository)
    (line,) = found.transactions
    assert ("2547…678", "rent 07…678", "17: no such customer 2547…678") == (
        line.phone_number,
        line.account_reference,
        line.said,
    )
    assert "12345678" not in repr(attrs.asdict(found))


def test_the_last_ones_page_by_page(repository):
    """Each page goes on before the last one of the page before."""
    drafts = [transaction_draft(initiated_at=later(index)) for index in range(3)]
    calls = [callback_draft(received_at=later(index)) for index in range(3)]
    for draft, call in zip(drafts, calls, strict=True):
        repository.add(draft)
        repository.add_callback(call)
    page = seen(repository, limit=2)
    assert [drafts[2].id, drafts[1].id] == [line.id for line in page.transactions]
    further = seen(repository, limit=2, transactions_before=drafts[1].id, callbacks_before=calls[1].id)
    assert ([drafts[0].id], [calls[0].id]) == (
        [line.id for line in further.transactions],
        [line.id for line in further.callbacks],
    )


@pytest.mark.parametrize("short_code", ["600000", "600111", "600222"])
def test_what_is_searched_for(repository, short_code):
    """A transaction is found by its id, its keys and its receipt at any of the accounts; by its callback token never."""
    row = repository.add(
        transaction_draft(
            status=Status.SUCCESS,
            short_code=short_code,
            mpesa_receipt_number="NLJ7RT61SV",
            idempotency_key="order-7",
            checkout_request_id="ws_CO_7",
            conversation_id="AG_7",
            originator_conversation_id="ours-7",
            callback_token="secret",
        )
    )
    for text in (str(row.id), " order-7 ", "ws_CO_7", "AG_7", "ours-7", "nlj7rt61sv"):
        assert [row.id] == [line.id for line in seen(repository, search=text).found], text
    for text in ("secret", "order", str(uuid4()), "  ", "\x00", "%"):
        assert [] == seen(repository, search=text).found, text


def test_a_repository_that_lists_nothing():
    """What waits is shown all the same; the last ones are unknown, which is not the same as none."""

    class Plain:
        def __init__(self, kept):
            self._kept = kept

        def __getattr__(self, name):
            if name.startswith("latest"):
                raise AttributeError(name)
            return getattr(self._kept, name)

    repository = MemoryRepository()
    repository.add(transaction_draft(next_check_at=later(1)))
    found = seen(Plain(repository))
    assert (1, None, None) == (len(found.waiting), found.transactions, found.callbacks)
