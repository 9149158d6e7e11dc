"""``mpesa reconcile --from``: against the local Daraja over HTTP, for people and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.sandbox.ledger import Entry, Kind
from mpesa_core.values import to_nairobi
from tests.cli.conftest import COMMAND, environment
from tests.cli.stored import now

KEYS = {"MPESA_CONSUMER_KEY": "local-key", "MPESA_CONSUMER_SECRET": "local-secret", "MPESA_SHORT_CODE": "174379"}


@pytest.fixture
def daraja():
    """A local Daraja whose paybill is registered for pull transactions, with one payment an hour old."""
    daraja = LocalDaraja(post=lambda url, body: 200)
    daraja.register_pull()
    list_payment(daraja, "UKL1234567")
    return daraja


def list_payment(daraja, receipt, amount=100, ago=timedelta(hours=1)):
    """A customer pays, and no confirmation comes."""
    daraja.ledger.receive(
        Entry(
            receipt=receipt,
            kind=Kind.C2B,
            short_code="174379",
            amount=Decimal(amount),
            phone="254708374149",
            reference="A1",
            at=now() - ago,
        )
    )


@pytest.fixture
def pull(mpesa, stored, daraja):
    """Run ``mpesa reconcile`` with these options on the file and the local Daraja."""

    def run(*options, unheard=True, **environ):
        given = ["--database", stored.path, *(["--unheard"] if unheard else []), *options]
        return mpesa("reconcile", *given, **KEYS, **environ)

    with DarajaServer(daraja) as server:
        yield lambda *options, **more: run(*options, **{"MPESA_ENVIRONMENT": server.base_url, **more})


def test_what_was_missed_is_settled_and_told(pull):
    """The missed payment is named once, and known the next time."""
    first, second = pull("--from", "24h"), pull("--from", "24h")
    assert (0, 0, "") == (first.exit_code, second.exit_code, first.stderr)
    assert "lists 1 payments to 174379" in first.stdout
    assert "0 of them known." in first.stdout
    assert "1 missed, settled now: UKL1234567\n" in first.stdout
    assert "1 of them known." in second.stdout
    assert "missed" not in second.stdout


NAMES = (
    *("account", "short_code", "rows", "found", "missing", "settled"),
    *("ours_only", "complete", "problem", "dry_run"),
)


def test_the_report_as_json(pull):
    """Everything in the report, with times that have an offset."""
    report = json.loads(pull("--from", "24h", "--json").stdout)
    assert ("default", "174379", 1, 0, ["UKL1234567"], ["UKL1234567"], [], True, None, False) == tuple(
        report[name] for name in NAMES
    )
    assert timedelta(hours=24) == datetime.fromisoformat(report["end"]) - datetime.fromisoformat(report["start"])


def test_a_dry_run_settles_nothing(pull):
    """It needs no receivers, names what is missing, and the next dry run names it again."""
    for _ in range(2):
        done = pull("--from", "24h", "--dry-run", unheard=False)
        assert 0 == done.exit_code
        assert "1 missing here: UKL1234567\n" in done.stdout
        assert "Nothing was recorded or settled." in done.stdout


def test_somebody_has_to_hear_what_is_settled(pull):
    """A pull that settles fires signals, and is refused where nobody listens."""
    done = pull("--from", "24h", unheard=False)
    assert 2 == done.exit_code
    assert "--unheard" in done.stderr


def test_a_payment_of_ours_that_mpesa_does_not_list(pull, stored):
    """The other way round: it is named."""
    stored.payment(
        status="SUCCESS",
        transaction_type="C2B",
        mpesa_receipt_number="UKLFORGED1",
        initiated_at=now() - timedelta(hours=2),
        confirmed_at=now() - timedelta(hours=2),
    )
    assert "1 not in M-PESA's list: UKLFORGED1\n" in pull("--from", "24h").stdout


def test_times_are_nairobis(pull):
    """A time without an offset is Nairobi's, one with an offset is what it says, and the report shows Nairobi's."""
    an_hour_and_a_half_ago = now() - timedelta(hours=1, minutes=30)
    local = f"{to_nairobi(an_hour_and_a_half_ago):%Y-%m-%d %H:%M}"
    plain = pull("--from", local)
    assert f"from {local} to " in plain.stdout
    assert "lists 1 payments" in plain.stdout
    with_offset = pull("--from", an_hour_and_a_half_ago.isoformat(timespec="minutes"), "--to", "70m")
    assert f"from {local} to " in with_offset.stdout
    assert "lists 0 payments" in with_offset.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "yesterday"], "--from"),
        (["--from", "72h"], "--from: got"),
        (["--from", "2h", "--to", "3h"], "--to: got"),
        (["--from", "2h", "--to", "2126-01-01 00:00"], "--to: got"),
        (["--dry-run"], "need --from"),
        (["--json"], "need --from"),
        (["--to", "1h"], "need --from"),
        (["--account", "till"], "need --from"),
    ],
)
def test_a_wrong_option_is_named(pull, options, said):
    """Each is refused as a wrong use of the command, by its name."""
    done = pull(*options)
    assert (2, "") == (done.exit_code, done.stdout)
    assert said in " ".join(done.stderr.split())


def test_an_account_that_is_not_in_the_settings(pull):
    """It is named, and nothing is asked."""
    done = pull("--from", "2h", "--account", "nosuch")
    assert 1 == done.exit_code
    assert "nosuch" in done.stderr


def test_an_account_of_the_settings(pull, daraja):
    """The account's short code is asked about."""
    accounts = json.dumps({"shop": {"short_code": "174379"}})
    report = json.loads(pull("--from", "2h", "--json", "--account", "shop", MPESA_ACCOUNTS=accounts).stdout)
    assert ("shop", "174379") == (report["account"], report["short_code"])


def test_a_list_that_could_not_be_read_whole(pull, monkeypatch):
    """Exit status 1, what is known, and that it is to be run again."""
    from mpesa_core.errors import Busy
    from mpesa_core.gateway import Gateway

    whole = Gateway.pull

    def broken(self, start, end=None, **options):
        client, asked = self.client.send, []

        def send(operation, *, account="default"):
            asked.append(operation)
            if len(asked) > 3:
                raise Busy("too many requests", status=429)
            return client(operation, account=account)

        monkeypatch.setattr(self.client, "send", send)
        return whole(self, start, end, **options)

    monkeypatch.setattr(Gateway, "pull", broken)
    done = pull("--from", "48h")
    assert 1 == done.exit_code
    assert "Not complete, up to " in done.stdout
    assert "too many requests" in done.stdout
    assert 1 == pull("--from", "48h", "--json").exit_code


def test_long_lists_are_cut_short_for_people(pull, daraja):
    """Twenty receipts, and how many more; all of them in JSON."""
    for number in range(30):
        list_payment(daraja, f"UKM{number:07d}A", ago=timedelta(minutes=30))
    done = pull("--from", "24h", "--dry-run")
    assert "31 missing here: UKL1234567, " in done.stdout
    assert "and 11 more, see --json" in done.stdout
    assert 31 == len(json.loads(pull("--from", "24h", "--dry-run", "--json").stdout)["missing"])


def test_without_from_it_does_what_it_did(pull):
    """The plain command asks about what is due."""
    done = pull()
    assert (0, "0 asked about, 0 settled, 0 timed out\n") == (done.exit_code, done.stdout)


def test_a_bar_on_a_terminal(daraja, stored, tmp_path):
    """Where standard error is a terminal it shows how far it is; standard output holds the report alone."""
    pytest.importorskip("pty")
    ours, theirs = os.openpty()
    with DarajaServer(daraja) as server:
        done = subprocess.run(
            [*COMMAND, "reconcile", "--database", stored.path, "--unheard", "--from", "24h", "--json"],
            cwd=tmp_path,
            env=environment(**KEYS, MPESA_ENVIRONMENT=server.base_url, TERM="xterm"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=60,
        )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ["UKL1234567"] == json.loads(done.stdout)["settled"]
    assert "━" in shown
