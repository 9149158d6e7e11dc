"""``mpesa doctor``: good settings, each kind of wrong ones, and work that nobody does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.cli import doctor as doctor_module
from mpesa_core.cli.place import Place
from mpesa_core.payments.records import Disposition, Status
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from tests.cli.stored import ago, now

GOOD = {
    "MPESA_CONSUMER_KEY": "local-key",
    "MPESA_CONSUMER_SECRET": "local-secret",
    "MPESA_SHORT_CODE": "174379",
    "MPESA_PASSKEY": "passkey",
    "MPESA_INITIATOR_NAME": "testapi",
    "MPESA_SECURITY_CREDENTIAL": "ready-made",
    "MPESA_CALLBACK_BASE_URL": "https://shop.example/pay/",
    "MPESA_CALLBACK_SECRET": "a secret of more than enough characters",
}


def findings(done):
    """Each finding's verdict and what it is about, with its text."""
    found = []
    for line in done.stdout.splitlines():
        if line[:7].strip():
            found.append([line[:7].strip(), line[9:29].strip(), line[31:]])
        else:
            found[-1][2] += f" {line.strip()}"
    return [tuple(each) for each in found]


def found(done, what, verdict=None):
    """The texts about one thing."""
    return [text for each, about, text in findings(done) if about == what and verdict in (None, each)]


# --- all is well


def test_good_settings_are_all_well(mpesa, stored):
    """Settings, URLs, sources, recovery, the clock and the keys: nothing is wrong, and nothing is left out."""
    with DarajaServer(LocalDaraja()) as server:
        done = mpesa("doctor", "--database", stored.path, **{**GOOD, "MPESA_ENVIRONMENT": server.base_url})
    assert (0, "") == (done.exit_code, done.stderr)
    assert {"ok"} == {verdict for verdict, _, _ in findings(done)}
    assert {
        "settings", "account default", "callback URLs", "callback sources", "recovery", "clock", "keys, default",
    } == {about for _, about, _ in findings(done)}  # fmt: skip


def test_offline_leaves_daraja_out(mpesa):
    """Nothing is asked, and the rest is looked at."""
    done = mpesa("doctor", "--offline", **GOOD, MPESA_ENVIRONMENT="http://127.0.0.1:9")
    assert 0 == done.exit_code
    assert {"clock", "keys, default", "recovery"} == {about for each, about, _ in findings(done) if each == "skipped"}


def test_an_unreachable_daraja_is_a_warning(mpesa):
    """The keys cannot be tried where the network does not allow it; that alone is nothing wrong with the settings."""
    done = mpesa("doctor", **GOOD, MPESA_ENVIRONMENT="http://127.0.0.1:9")
    assert 0 == done.exit_code
    assert ["http://127.0.0.1:9 cannot be reached from here"] == [
        text.split(" (")[0] for text in found(done, "clock", "warning")
    ]
    assert ["Daraja cannot be reached"] == found(done, "keys, default", "skipped")


def test_every_account_is_looked_at(mpesa):
    """What a named account lacks is told under its name."""
    accounts = '{"till": {"short_code": "600000", "consumer_key": "k", "consumer_secret": "s"}}'
    done = mpesa("doctor", "--offline", MPESA_ACCOUNTS=accounts)
    assert "no STK push: passkey not set" in found(done, "account till", "warning")
    assert "no STK push: consumer_key, consumer_secret, short_code, passkey not set" in found(
        done, "account default", "warning"
    )


def test_with_nothing_set_it_says_what_cannot_be_done(mpesa):
    """Who only receives callbacks needs nothing: warnings, and exit status 0."""
    done = mpesa("doctor", "--offline")
    assert 0 == done.exit_code
    assert {"ok", "warning", "skipped"} == {verdict for verdict, _, _ in findings(done)}


# --- wrong settings


def test_every_wrong_setting_is_told_at_once(mpesa):
    """With its variable, what came and what was expected, one finding each, and no secret."""
    done = mpesa(
        "doctor",
        MPESA_SHORTCODE="174379",
        MPESA_SHORT_CODE="17",
        MPESA_READ_TIMEOUT="soon",
        MPESA_CALLBACK_TOKENS="perhaps",
        MPESA_CALLBACK_IP_ALLOWLIST="safaricom",
        MPESA_PASSKEY="  hunter2",
    )
    told = found(done, "settings", "wrong")
    assert 1 == done.exit_code
    assert 6 == len(told) == len(findings(done))
    for name in ("SHORTCODE", "SHORT_CODE", "READ_TIMEOUT", "CALLBACK_TOKENS", "CALLBACK_IP_ALLOWLIST", "PASSKEY"):
        assert any(text.startswith(f"MPESA_{name}:") for text in told), name
    assert "did you mean MPESA_SHORT_CODE?" in " ".join(told)
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("changes", "what", "said"),
    [
        ({"MPESA_CALLBACK_BASE_URL": "https://shop.example/mpesa/"}, "settings", "'mpesa'"),
        ({"MPESA_STK_CALLBACK_URL": "https://shop.example/safaricom/"}, "settings", "'safaricom'"),
        ({"MPESA_CALLBACK_BASE_URL": "http://shop.example/pay/", "MPESA_ENVIRONMENT": "production"}, "settings", "https in production"),
        ({"MPESA_SECURITY_CREDENTIAL": "", "MPESA_INITIATOR_PASSWORD": "p", "MPESA_CERTIFICATE": "nowhere.cer"},
         "certificate, default", "nowhere.cer"),
        ({"MPESA_SECURITY_CREDENTIAL": "", "MPESA_INITIATOR_PASSWORD": "p", "MPESA_CERTIFICATE": "odd.cer"},
         "certificate, default", "certificate"),
    ],
)  # fmt: skip
def test_what_daraja_would_refuse_is_wrong(mpesa, tmp_path, changes, what, said):
    """A word in a URL, plain HTTP in production, a certificate that is missing or is none."""
    pytest.importorskip("cryptography")
    (tmp_path / "odd.cer").write_text("no certificate")
    done = mpesa("doctor", "--offline", **{**GOOD, **changes})
    assert 1 == done.exit_code
    assert said in " ".join(found(done, what, "wrong"))


def test_a_certificate_that_can_be_read(mpesa, tmp_path):
    """The bundled one of the environment, or one's own, encrypts the operator's password."""
    pytest.importorskip("cryptography")
    (tmp_path / "own.cer").write_bytes(LocalDaraja().certificate)
    secret = {**GOOD, "MPESA_SECURITY_CREDENTIAL": "", "MPESA_INITIATOR_PASSWORD": "hunter2"}
    bundled = mpesa("doctor", "--offline", **secret)
    own = mpesa("doctor", "--offline", **secret, MPESA_CERTIFICATE="own.cer")
    assert (0, 0) == (bundled.exit_code, own.exit_code)
    assert "the bundled one" in found(bundled, "certificate, default", "ok")[0]
    assert "your own" in found(own, "certificate, default", "ok")[0]
    assert "hunter2" not in bundled.output + own.output


def test_cryptography_is_missing(mpesa, monkeypatch):
    """A password is of no use without it, and what to install is told."""
    monkeypatch.setattr(doctor_module, "find_spec", lambda _name: None)
    done = mpesa("doctor", "--offline", **{**GOOD, "MPESA_SECURITY_CREDENTIAL": "", "MPESA_INITIATOR_PASSWORD": "p"})
    assert 1 == done.exit_code
    assert "pip install 'mpesa-core[initiator]'" in found(done, "certificate, default", "wrong")[0]


def test_an_open_door_is_a_warning(mpesa):
    """Anybody may post where neither the source nor the token is checked."""
    done = mpesa("doctor", "--offline", MPESA_VERIFY_CALLBACK_SOURCE_IP="no", **{**GOOD, "MPESA_CALLBACK_SECRET": ""})
    assert 0 == done.exit_code
    assert found(done, "callback sources", "warning")
    assert "callback_secret is not set" in found(done, "callback URLs", "warning")[0]


def test_a_short_callback_secret_is_a_warning(mpesa):
    """A secret that can be guessed signs nothing, and is not shown."""
    done = mpesa("doctor", "--offline", **{**GOOD, "MPESA_CALLBACK_SECRET": "hunter2"})
    assert 0 == done.exit_code
    assert "callback_secret has 7 characters" in found(done, "callback URLs", "warning")[0]
    assert "hunter2" not in done.output


# --- Daraja


def test_refused_keys_are_wrong(mpesa):
    """Daraja's own words, without the keys."""
    with DarajaServer(LocalDaraja()) as server:
        done = mpesa("doctor", **{**GOOD, "MPESA_ENVIRONMENT": server.base_url, "MPESA_CONSUMER_SECRET": "hunter2"})
    assert 1 == done.exit_code
    assert found(done, "keys, default", "wrong")
    assert "hunter2" not in done.output


@contextmanager
def clock_server(stamp):
    """Daraja's host as far as its clock goes."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(404)
            if stamp is not None:
                self.send_header("Date", stamp)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("stamp", "verdict", "status"),
    [
        (f"{now() - timedelta(minutes=10):%a, %d %b %Y %H:%M:%S} GMT", "wrong", 1),
        (f"{now() + timedelta(minutes=10):%a, %d %b %Y %H:%M:%S} -0000", "wrong", 1),
        ("yesterday", "skipped", 0),
        (None, "skipped", 0),
    ],
)
def test_the_clock_is_compared(mpesa, stamp, verdict, status):
    """A timestamp that is minutes off is refused by Daraja; a time that cannot be read says nothing."""
    with clock_server(stamp) as base_url:
        done = mpesa("doctor", MPESA_ENVIRONMENT=base_url)
    assert (1, status) == (len(found(done, "clock", verdict)), done.exit_code)


# --- whether anybody recovers


def leave(stored, what, seconds):
    match what:
        case "open callbacks":
            stored.callback(next_attempt_at=ago(seconds))
        case "unannounced settlements":
            stored.payment(status=Status.SUCCESS, generation=1, announce_until=ago(seconds), idempotency_locked=True)
        case "transactions to ask about":
            stored.payment(next_check_at=ago(seconds))
        case "transactions never sent":
            stored.payment(status=Status.PENDING, next_check_at=ago(seconds))


@pytest.mark.parametrize(
    "what", ["open callbacks", "unannounced settlements", "transactions to ask about", "transactions never sent"]
)
def test_work_that_nobody_does_is_wrong(mpesa, stored, what):
    """What has waited for over five minutes is told with its number; what has just come is not."""
    leave(stored, what, 60)
    assert found(mpesa("doctor", "--offline", MPESA_DATABASE=str(stored.path)), "recovery", "ok")
    leave_more = type(stored)(stored.path.with_name("other.sqlite3"))
    leave(leave_more, what, 400)
    done = mpesa("doctor", "--offline", MPESA_DATABASE=str(leave_more.path))
    assert 1 == done.exit_code
    assert f"nobody has seen to {what}: 1." in found(done, "recovery", "wrong")[0]
    assert "mpesa worker" in done.stdout


def test_open_conflicts_are_counted(mpesa, stored):
    """They wait for a person: a warning."""
    stored.callback(next_attempt_at=None, processed=True, disposition=Disposition.CONFLICT, error="It differs.")
    done = mpesa("doctor", "--offline", MPESA_DATABASE=str(stored.path))
    assert 0 == done.exit_code
    assert ["1 open: see `mpesa conflicts`"] == found(done, "conflicts", "warning")


def test_a_file_that_is_no_database_is_wrong(mpesa, tmp_path):
    """Told in one finding, without a traceback."""
    (tmp_path / "notes.txt").write_text("These are not the payments you are looking for. " * 50)
    done = mpesa("doctor", "--offline", "--database", "notes.txt")
    assert 1 == done.exit_code
    assert "notes.txt" in found(done, "recovery", "wrong")[0]


def test_a_file_that_is_not_there_yet(mpesa, tmp_path):
    """A warning, and it is not made."""
    done = mpesa("doctor", "--offline", "--database", "later.sqlite3")
    assert (0, 1) == (done.exit_code, len(found(done, "recovery", "warning")))
    assert not (tmp_path / "later.sqlite3").exists()


def test_a_repository_that_fails_is_wrong(monkeypatch, stored):
    """A program's own repository may raise anything."""
    from mpesa_core.repository.sqlite import SqliteRepository

    def fail(*_arguments):
        raise KeyError("the table")

    monkeypatch.setattr(SqliteRepository, "due", fail)
    [finding] = [
        each for each in doctor_module.examine(Place(str(stored.path)), offline=True) if each.what == "recovery"
    ]
    assert (doctor_module.Verdict.WRONG, True) == (finding.verdict, "KeyError" in finding.detail)
