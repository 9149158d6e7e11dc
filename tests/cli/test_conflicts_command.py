"""``mpesa conflicts``: listed with their ids whole, accepted, dismissed."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.payments.records import Disposition, Status
from tests.cli.stored import paid


@pytest.fixture
def conflict(mpesa, stored, heard):
    """A payment of 100 shillings, and a callback that tells of 60: the engine's own conflict."""
    row = stored.payment()
    callback = stored.callback(body=paid(amount=60))
    assert 0 == mpesa("recover", "--database", stored.path).exit_code
    assert Disposition.CONFLICT == stored.callback_row(callback).disposition
    assert [] == heard
    return row, callback


def test_no_conflicts(mpesa, stored):
    """Said, and exit status 0."""
    done = mpesa("conflicts", MPESA_DATABASE=str(stored.path))
    assert (0, "No open conflicts.\n") == (done.exit_code, done.stdout)


def test_a_conflict_is_listed(mpesa, stored, conflict):
    """With its id whole, when it came, the transaction as it is, what is wrong, and what can be done."""
    row, callback = conflict
    done = mpesa("conflicts", "--database", stored.path)
    lines = done.stdout.splitlines()
    received = stored.callback_row(callback).received_at
    assert (0, "") == (done.exit_code, done.stderr)
    assert f"callback     {callback}" == lines[0]
    assert f"received     {received:%Y-%m-%d %H:%M} UTC, STK" == lines[1]
    assert f"transaction  STK_PUSH of 100.00 shillings is PROCESSING (transaction {row.id})" == lines[2]
    assert lines[3].startswith("problem      ")
    assert "60" in lines[3]
    assert ["", "mpesa conflicts accept ID    settles by what it says"] == lines[4:6]


def test_a_conflict_without_a_transaction_is_listed(mpesa, stored):
    """A callback that matched nothing for days."""
    stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.CONFLICT)
    told = mpesa("conflicts", "--database", stored.path).stdout
    assert "transaction  none\nproblem      not told\n" in told


def test_a_conflict_is_accepted(mpesa, stored, conflict, heard):
    """The payment settles by what the callback says, and is announced; the list is empty then."""
    row, callback = conflict
    done = mpesa("conflicts", "accept", callback, "--database", stored.path)
    settled = stored.row(row.id)
    assert (0, "") == (done.exit_code, done.stderr)
    assert (
        done.stdout == f"accepted: STK_PUSH of 60.00 shillings is SUCCESS, receipt UKL1234567 (transaction {row.id})\n"
    )
    assert (Status.SUCCESS, Decimal(60)) == (settled.status, settled.amount)
    assert [("payment_confirmed", row.id)] == heard
    assert "No open conflicts.\n" == mpesa("conflicts", "--database", stored.path).stdout


def test_a_conflict_is_accepted_for_another_transaction(mpesa, stored, heard):
    """Which one it is about is a person's to say, where it belongs to none."""
    row = stored.payment(checkout_request_id="ws_other", callback_token=None)
    callback = stored.callback(token=None, next_attempt_at=None, processed=True, disposition=Disposition.CONFLICT)
    refused = mpesa("conflicts", "accept", callback, "--database", stored.path)
    assert (1, True) == (refused.exit_code, "say which one it is about" in refused.stderr)
    done = mpesa("conflicts", "accept", callback, "--transaction", row.id, "--database", stored.path)
    assert (0, Status.SUCCESS) == (done.exit_code, stored.row(row.id).status)


def test_a_conflict_is_dismissed(mpesa, stored, conflict, heard):
    """The payment stays as it is, and nothing is announced."""
    row, callback = conflict
    done = mpesa("conflicts", "--database", stored.path, "dismiss", callback)
    assert (0, f"dismissed: callback {callback}\n") == (done.exit_code, done.stdout)
    assert (Status.PROCESSING, {}) == (stored.row(row.id).status, stored.row(row.id).conflicts)
    assert [] == heard
    assert "No open conflicts.\n" == mpesa("conflicts", "--database", stored.path).stdout


def test_the_list_is_cut_and_says_so(mpesa, stored):
    """Fifty at the most, unless told otherwise."""
    for _ in range(3):
        stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.CONFLICT)
    told = mpesa("conflicts", "--database", stored.path, "--limit", "2").stdout
    assert 2 == told.count("callback     ")
    assert "There may be more than 2" in told
    assert "There may be more" not in mpesa("conflicts", "--database", stored.path).stdout


@pytest.mark.parametrize("command", ["accept", "dismiss"])
def test_what_is_no_open_conflict_is_refused(mpesa, stored, heard, command):
    """An unknown id, and one whose callback was simply applied: exit status 1, and where to look."""
    stored.settled(announced=True)
    applied = stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.APPLIED)
    for each in (uuid4(), applied):
        done = mpesa("conflicts", command, each, "--database", stored.path)
        assert 1 == done.exit_code
        assert f"Error: there is no open conflict {each}; `mpesa conflicts` lists them\n" == done.stderr


@pytest.mark.parametrize(
    "arguments", [["accept", "7"], ["dismiss", "7"], ["accept", str(uuid4()), "--transaction", "7"]]
)
def test_an_id_that_is_none_is_refused(mpesa, stored, heard, arguments):
    """Exit status 2, with what an id looks like."""
    done = mpesa("conflicts", *arguments, "--database", stored.path)
    assert 2 == done.exit_code
    assert "got '7', expected an id such as" in done.stderr


def test_a_failure_after_a_success_cannot_be_accepted(mpesa, stored, heard):
    """A success is undone by a reversal and by nothing else: exit status 1."""
    row = stored.settled(announced=True)
    failed = {
        "Body": {"stkCallback": {"CheckoutRequestID": row.checkout_request_id, "ResultCode": 1, "ResultDesc": "No."}}
    }
    callback = stored.callback(body=failed)
    mpesa("recover", "--database", stored.path)
    assert Disposition.CONFLICT == stored.callback_row(callback).disposition
    done = mpesa("conflicts", "accept", callback, "--database", stored.path)
    assert (1, "Error: A transaction that is SUCCESS cannot become FAILED.\n") == (done.exit_code, done.stderr)
