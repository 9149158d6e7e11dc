"""``flask mpesa``: the core's commands on the app's gateway, by Flask's own runner."""

from __future__ import annotations

from uuid import uuid4

import pytest

pytest.importorskip("flask")
pytest.importorskip("rich")

from flask import Flask, current_app

from mpesa_core import SqliteRepository
from mpesa_core.payments.records import Key, Status
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.testing.payloads import c2b_confirmation
from mpesa_flask.cli import mpesa
from tests.cli.stored import Stored, ago, paid
from tests.flask.hosting import hearing, make_app

NAMES = [
    "sandbox",
    "doctor",
    "register-urls",
    "worker",
    "recover",
    "reconcile",
    "replay",
    "announce",
    "conflicts",
    "invoices",
]


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path / "payments.sqlite3")


@pytest.fixture
def app(stored, monkeypatch):
    """A shop whose payments are in a file, and where somebody listens."""
    monkeypatch.setenv("MPESA_DATABASE", "another.sqlite3")  # of the mpesa command, which has no say here
    monkeypatch.setenv("MPESA_GATEWAY", "another:gateway")
    monkeypatch.setenv("COLUMNS", "200")
    repository = SqliteRepository(stored.path, synchronous="OFF")
    app = make_app(repository=lambda app: repository)
    app.heard = []

    def hear(sender, transaction, **_):
        app.heard.append((current_app.name, transaction.id))

    with hearing("payment_confirmed", hear, app):
        yield app
    repository.close()


def flask(app, *arguments):
    return app.test_cli_runner().invoke(args=["mpesa", *map(str, arguments)], catch_exceptions=False)


def test_the_commands_are_listed(app):
    """All of them, without an option that names a place: the app is the place."""
    done = flask(app, "--help")
    assert 0 == done.exit_code
    assert NAMES == [
        name for name in (line.split()[0] for line in done.output.splitlines() if line.strip()) if name in NAMES
    ]
    for name in NAMES[1:]:
        said = flask(app, name, "--help").output
        assert "--gateway" not in said
        assert "--database" not in said


def test_recovering_settles_and_announces(app, stored):
    """What a process left open is gone on from, with the app's receivers in an app context."""
    row = stored.payment()
    stored.callback()
    done = flask(app, "recover")
    assert (0, True) == (done.exit_code, "1 callbacks processed" in done.output)
    assert Status.SUCCESS == stored.row(row.id).status
    assert [("shop", row.id)] == app.heard


def test_a_command_gives_the_hosts_fields(stored):
    """A payment that nobody asked for gets them from resolve_c2b in a command as in a view."""
    repository = SqliteRepository(stored.path, synchronous="OFF")
    app = make_app(repository=repository, resolve_c2b=lambda callback: {"order": callback.account_reference})
    body = c2b_confirmation(receipt="NLJ7RT61SV", reference="INV-9")
    stored.callback(callback_type="C2B_CONFIRMATION", body=body, token=None)
    assert "1 callbacks processed" in flask(app, "recover", "--unheard").output
    assert {"order": "INV-9"} == repository.find(Key.RECEIPT, ("174379", "NLJ7RT61SV")).host
    repository.close()


def test_one_sweep_of_the_worker(app, stored):
    """And the app's own gateway is left as it is."""
    stored.payment()
    stored.callback()
    assert "1 callbacks processed" in flask(app, "worker", "--once").output
    assert 1 == len(app.heard)
    with app.app_context():
        assert app.extensions["mpesa"].gateway.get(app.heard[0][1]).status == "SUCCESS"


def test_reconciling(app):
    """Nothing is due."""
    assert (0, "0 asked about, 0 settled, 0 timed out\n") == ((done := flask(app, "reconcile")).exit_code, done.output)


def test_announcing_and_replaying(app, stored):
    """By id; an unknown one is an error without a traceback."""
    row = stored.settled(announced=True)
    assert "announced" in flask(app, "announce", row.id).output
    assert [("shop", row.id)] == app.heard
    assert 0 == flask(app, "replay", stored.callback()).exit_code
    missing = flask(app, "replay", uuid4())
    assert (1, True) == (missing.exit_code, missing.output.startswith("Error: "))


def test_a_conflict_is_listed_and_dismissed(app, stored):
    """The words to go on with are those that work here."""
    stored.payment()
    callback = stored.callback(body=paid(amount=60))
    flask(app, "recover")
    said = flask(app, "conflicts").output
    assert str(callback) in said
    assert "mpesa conflicts dismiss ID" in said
    done = flask(app, "conflicts", "dismiss", callback)
    assert (0, f"dismissed: callback {callback}\n") == (done.exit_code, done.output)
    assert "No open conflicts.\n" == flask(app, "conflicts").output


def test_the_doctor_looks_at_the_app(app, stored):
    """Its settings and its store; exit status 1 where work was left undone there."""
    done = flask(app, "doctor", "--offline")
    assert 0 == done.exit_code
    assert "nothing has been waiting for over five minutes" in done.output
    assert "callback_secret is not set" in done.output
    stored.callback(received_at=ago(900), next_attempt_at=ago(900))
    done = flask(app, "doctor", "--offline")
    assert (1, True) == (done.exit_code, "open callbacks: 1" in done.output)


def test_where_nobody_listens_nothing_fires(stored):
    """The advice is the app's: connect the receivers."""
    repository = SqliteRepository(stored.path, synchronous="OFF")
    app = make_app("deaf", repository=repository)
    try:
        done = flask(app, "recover")
        assert 2 == done.exit_code
        assert "Connect the receivers" in done.output
        assert "--gateway" not in done.output
        assert 0 == flask(app, "recover", "--unheard").exit_code
    finally:
        repository.close()


@pytest.mark.parametrize(("options", "kind"), [([], "Completed"), (["--response-type", "Cancelled"], "Cancelled")])
def test_urls_are_registered_with_m_pesa(stored, options, kind):
    """Those of the app's settings, by one request."""
    daraja = LocalDaraja()
    repository = SqliteRepository(stored.path, synchronous="OFF")
    with DarajaServer(daraja) as server:
        given = {**daraja.settings(server.base_url), "callback_base_url": "http://127.0.0.1:9/pay/"}
        app = make_app(settings=given, repository=repository)
        done = flask(app, "register-urls", *options)
    repository.close()
    assert (0, "Registered the URLs of the account default.\n") == (done.exit_code, done.output)
    assert kind == daraja._mpesa.registered["174379"].response_type


def test_invoices_are_sent(stored, tmp_path):
    """Those of a file, once, however often it is sent; they are the app's."""
    daraja = LocalDaraja()
    repository = SqliteRepository(stored.path, synchronous="OFF")
    file = tmp_path / "rent.csv"
    file.write_text(
        "external_reference,full_name,phone_number,period,invoice_name,due,account_reference,amount\n"
        "E-1,Jane Doe,0722000000,November 2026,Rent,2099-12-05,A-1,1500\n"
    )
    with DarajaServer(daraja) as server:
        given = {**daraja.settings(server.base_url), "callback_base_url": "http://127.0.0.1:9/pay/"}
        app = make_app(settings=given, repository=repository)
        with app.app_context():
            app.extensions["mpesa"].gateway.opt_in_bills(email="a@b.example", official_contact="0710000000")
        assert "1 invoices are in order" in flask(app, "invoices", "send", file, "--dry-run").output
        for _ in range(2):
            assert "1 invoices: 1 sent.\n" == flask(app, "invoices", "send", file, "--unheard").output
    assert ("sent", ["E-1"]) == (
        repository.find_invoice("174379", "E-1").status,
        [each.external_reference for each in daraja.invoices],
    )
    repository.close()


def test_an_app_without_the_extension_has_no_such_commands():
    """They come with init_app."""
    assert 2 == Flask("other").test_cli_runner().invoke(args=["mpesa", "recover"]).exit_code


def test_the_command_needs_an_initialised_app():
    """And says so, as a view would be told."""
    app = Flask("other")
    app.cli.add_command(mpesa)
    assert "init_app" in str(app.test_cli_runner().invoke(args=["mpesa", "recover"]).exception)
