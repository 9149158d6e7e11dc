"""``mpesa recover``, ``reconcile``, ``replay`` and ``announce``, and ``worker --once``, on a real SQLite file."""

from __future__ import annotations

from uuid import uuid4

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Disposition, Status
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import Behaviour, DarajaServer, LocalDaraja
from mpesa_core.settings import Settings
from tests.cli.stored import ago

RECOVERING = [["recover"], ["worker", "--once"]]


@pytest.mark.parametrize("command", RECOVERING)
def test_a_lapsed_settlement_is_announced(mpesa, stored, heard, command):
    """Its announcer is gone: the signal fires here, once, and the fence is down."""
    row = stored.settled(announced=False)
    done = mpesa(*command, MPESA_DATABASE=str(stored.path))
    assert (0, "") == (done.exit_code, done.stderr)
    assert "0 callbacks processed, 1 announced late, 0 never sent" in done.stdout
    assert [("payment_confirmed", row.id)] == heard
    assert stored.row(row.id).announce_until is None
    assert "0 callbacks processed, 0 announced late" in mpesa(*command, MPESA_DATABASE=str(stored.path)).stdout


@pytest.mark.parametrize("command", RECOVERING)
def test_an_open_callback_is_processed(mpesa, stored, heard, command):
    """It was acknowledged, and whoever received it died: the payment settles now."""
    row = stored.payment()
    stored.callback()
    done = mpesa(*command, "--database", stored.path)
    assert (0, True) == (done.exit_code, "1 callbacks processed" in done.stdout)
    assert (Status.SUCCESS, "UKL1234567") == (stored.row(row.id).status, stored.row(row.id).mpesa_receipt_number)
    assert [("payment_confirmed", row.id)] == heard


def test_what_was_never_sent_has_failed(mpesa, stored, heard):
    """A payment that was recorded, and whose sender died before the first byte."""
    row = stored.payment(status=Status.PENDING, next_check_at=ago(1), checkout_request_id=None)
    assert "1 never sent" in mpesa("recover", "--database", stored.path).stdout
    assert [("payment_failed", row.id)] == heard


def test_a_callback_that_never_came_is_asked_about(mpesa, stored, heard):
    """Settings come from the environment, and the answer from M-PESA settles."""
    daraja = LocalDaraja(behaviour=Behaviour(deliver=()))
    with DarajaServer(daraja) as server:
        given = {
            **daraja.settings(server.base_url),
            "callback_base_url": "http://127.0.0.1:9/pay/",
            "query_after": 0.01,
        }
        repository = SqliteRepository(stored.path)
        with Gateway(Settings(**given), repository, runner="inline") as gateway:
            row = gateway.stk_push(phone_number="0708374149", amount=1, account_reference="INV-1")
        repository.close()
        names = ("environment", "consumer_key", "consumer_secret", "short_code", "passkey")
        environ = {f"MPESA_{name.upper()}": given[name] for name in names}
        done = mpesa("reconcile", MPESA_DATABASE=str(stored.path), **environ)
    assert (0, "1 asked about, 1 settled, 0 timed out\n") == (done.exit_code, done.stdout)
    assert Status.SUCCESS == stored.row(row.id).status
    assert [("payment_confirmed", row.id)] == heard


def test_time_runs_out(mpesa, stored, heard):
    """Nobody can be asked, and the deadline is over: it is known to be unknown."""
    row = stored.payment(initiated_at=ago(3600), next_check_at=ago(60))
    done = mpesa("reconcile", "--database", stored.path, MPESA_ENVIRONMENT="http://127.0.0.1:9")
    assert (0, "1 asked about, 0 settled, 1 timed out\n") == (done.exit_code, done.stdout)
    assert Status.TIMEOUT == stored.row(row.id).status
    assert [("payment_failed", row.id)] == heard


def test_a_limit_is_kept(mpesa, stored, heard):
    """No more transactions than were asked for."""
    for number in range(3):
        stored.payment(
            initiated_at=ago(3600), next_check_at=ago(60), checkout_request_id=f"ws_{number}", callback_token=None
        )
    command = ["reconcile", "--database", stored.path, "--limit", "2"]
    assert "2 asked about" in mpesa(*command, MPESA_ENVIRONMENT="http://127.0.0.1:9").stdout
    assert 2 == len(heard)


# --- replay


def test_a_callback_is_replayed(mpesa, stored, heard):
    """One that was closed as unreadable by an older version, say, is decided anew."""
    row = stored.payment()
    callback = stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.UNREADABLE)
    done = mpesa("replay", callback, "--database", stored.path)
    told = f"applied: STK_PUSH of 100.00 shillings is SUCCESS, receipt UKL1234567 (transaction {row.id})\n"
    assert (0, told) == (done.exit_code, done.stdout)
    assert Disposition.APPLIED == stored.callback_row(callback).disposition


def test_a_settled_payment_is_not_settled_twice(mpesa, stored, heard):
    """Replaying what settled it is a duplicate."""
    row = stored.settled(announced=True)
    callback = stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.APPLIED)
    done = mpesa("replay", callback, "--database", stored.path)
    assert (0, True) == (done.exit_code, done.stdout.startswith("duplicate: STK_PUSH of 100.00 shillings is SUCCESS"))
    assert [] == heard
    assert 1 == stored.row(row.id).generation


def test_a_callback_that_matches_nothing_is_put_back(mpesa, stored, heard):
    """It says until when, and why."""
    done = mpesa("replay", stored.callback(), "--database", stored.path)
    assert 0 == done.exit_code
    assert done.stdout.startswith("put back until ")
    assert "it matches no transaction yet" in done.stdout


def test_a_callback_that_is_no_callback(mpesa, stored, heard):
    """What it could not be read for is told."""
    done = mpesa("replay", stored.callback(body=[1, 2]), "--database", stored.path)
    assert 0 == done.exit_code
    assert done.stdout.startswith("unreadable: ")


def test_another_worker_has_it(mpesa, stored, heard, monkeypatch):
    """Exit status 1: it was not replayed."""
    monkeypatch.setattr(Gateway, "replay", lambda *_arguments: None)
    done = mpesa("replay", uuid4(), "--database", stored.path)
    assert (1, "Error: Another worker has that callback at this moment; try again.\n") == (done.exit_code, done.stderr)


# --- announce


def test_a_settled_payment_is_announced_again(mpesa, stored, heard):
    """For a receiver that was mended."""
    row = stored.settled(announced=True)
    done = mpesa("announce", row.id, "--database", stored.path)
    assert (0, [("payment_confirmed", row.id)]) == (done.exit_code, heard)
    assert done.stdout.startswith("announced: STK_PUSH of 100.00 shillings is SUCCESS")


def test_an_open_payment_has_nothing_to_announce(mpesa, stored, heard):
    """Exit status 1, with how it stands."""
    done = mpesa("announce", stored.payment().id, "--database", stored.path)
    assert (1, []) == (done.exit_code, heard)
    assert "'PROCESSING'" in done.stderr


# --- ids


@pytest.mark.parametrize("command", ["replay", "announce"])
def test_an_id_that_is_none_is_refused(mpesa, stored, heard, command):
    """Exit status 2, with what an id looks like."""
    done = mpesa(command, "INV-1", "--database", stored.path)
    assert 2 == done.exit_code
    assert "got 'INV-1', expected an id such as" in done.stderr


@pytest.mark.parametrize("command", ["replay", "announce"])
def test_an_id_of_nothing_is_told(mpesa, stored, heard, command):
    """Exit status 1, with the id."""
    nobody = uuid4()
    done = mpesa(command, nobody, "--database", stored.path)
    assert (1, True) == (
        done.exit_code,
        f"there is no {'callback' if command == 'replay' else 'transaction'} {nobody}" in done.stderr,
    )
