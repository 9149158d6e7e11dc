"""``mpesa sandbox``: a local Daraja as a process, with the settings that it tells a program to use."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import contextmanager

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.cli import local
from mpesa_core.errors import RequestRefused
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import LocalDaraja, Organisation
from mpesa_core.settings import Settings
from tests.cli.conftest import ended


def told_settings(process):
    """The environment that the command tells one to set."""
    environ = {}
    for line in process.stdout:
        found = re.fullmatch(r"  export (MPESA_[A-Z_]+)=('?)(.*)\2\n", line)
        if found:
            environ[found[1]] = found[3]
        elif environ:
            return environ
    raise AssertionError("no settings were told")


def interrupted(process):
    """What was told since, after Ctrl-C."""
    told = ended(process, signal.SIGINT)
    assert 0 == process.returncode
    return told


@contextmanager
def gateway_on(environ):
    """A program that uses it, on what it was told."""
    with Gateway(Settings.from_environ(environ), MemoryRepository(), runner="inline") as gateway:
        yield gateway


def test_a_program_uses_it(start, tmp_path):
    """It answers a token, an STK push and a payout over HTTP, obeys magic numbers, and leaves no file behind."""
    sandbox = start("sandbox", "--port", "0")
    with gateway_on(told_settings(sandbox)) as gateway:
        pushed = gateway.stk_push(phone_number="0708374149", amount=1, account_reference="INV-1")
        paid = gateway.payout(phone_number="0708374149", amount=10, idempotency_key="a")
        assert pushed.checkout_request_id
        assert paid.conversation_id
        cut_off = gateway.stk_push(phone_number="254700000026", amount=1, account_reference="INV-2")
    assert (Status.PROCESSING, None) == (cut_off.status, cut_off.checkout_request_id)
    told = interrupted(sandbox)
    assert "  254700000026    paid; the answer is cut off\n" in told
    assert "Traceback" not in told
    assert [] == list(tmp_path.iterdir())


def test_it_tells_what_it_is_asked(start):
    """Each call with its status and Daraja's error code, and each callback with what became of it."""
    sandbox = start("sandbox", "--port", "0")
    environ = {**told_settings(sandbox), "MPESA_CALLBACK_BASE_URL": "http://127.0.0.1:9/pay/"}
    with gateway_on(environ) as gateway:
        gateway.stk_push(phone_number="0708374149", amount=1, account_reference="INV-1")
    with gateway_on({**environ, "MPESA_PASSKEY": "another"}) as gateway, pytest.raises(RequestRefused):
        gateway.stk_push(phone_number="0708374149", amount=1, account_reference="INV-1")
    news = []
    for line in sandbox.stdout:
        news += re.findall(r"^[0-9:]{8}  (.*)\n", line)
        if len(news) == 5:
            break
    assert "asked   oauth                200" in news
    assert "asked   stk_push             200" in news
    assert "asked   stk_push             500 500.001.1001" in news
    assert any(line.startswith("posted  stk_push callback    ConnectionRefusedError") for line in news)
    interrupted(sandbox)


def test_the_certificate_is_written_where_it_is_asked_for(start, tmp_path):
    """And is told with the operator's password, which the program then encrypts with it."""
    pytest.importorskip("cryptography")
    sandbox = start("sandbox", "--port", "0", "--certificate", "local.cer")
    environ = told_settings(sandbox)
    assert str(tmp_path / "local.cer") == environ["MPESA_CERTIFICATE"]
    assert "MPESA_SECURITY_CREDENTIAL" not in environ
    with gateway_on(environ) as gateway:
        assert gateway.payout(phone_number="0708374149", amount=10, idempotency_key="a").conversation_id
    interrupted(sandbox)


def test_a_till_has_a_store_number():
    """The settings name both."""
    daraja = LocalDaraja([Organisation(short_code="600000", till_number="700000")])
    told = set(local._exports(daraja, "http://127.0.0.1:8070", None))
    assert {"export MPESA_SHORT_CODE=600000", "export MPESA_TILL_NUMBER=700000"} <= told


def test_a_port_that_is_taken(mpesa):
    """Exit status 1, with the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = mpesa("sandbox", "--port", port)
    assert 1 == done.exit_code
    assert f"Error: Port {port} cannot be used (Address already in use); choose another with --port.\n" == done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--port", "70000"], 2, "70000"),
        (["--short-code", "shop"], 2, "got 'shop', expected 5 to 7 digits."),
        (["--till", "12"], 2, "got '12', expected 5 to 7 digits."),
        (["--port", "0", "--certificate", "missing/local.cer"], 1, "missing/local.cer cannot be written"),
    ],
)
def test_wrong_options_are_refused(mpesa, arguments, status, said):
    """With what came and what was expected."""
    if "--certificate" in arguments:
        pytest.importorskip("cryptography")
    done = mpesa("sandbox", *arguments)
    assert status == done.exit_code
    assert said in done.stderr
