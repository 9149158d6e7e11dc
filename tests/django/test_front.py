"""The front door: made once, from the settings, and made again when they are overridden."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("django")

from django.test import override_settings

import mpesa_django
from mpesa_core.errors import ConfigurationError, InsideTransaction
from mpesa_core.gateway import Gateway
from mpesa_core.repository.memory import MemoryRepository
from mpesa_django import front as front_module
from mpesa_django.front import Front, front, mpesa
from tests.django.hosting import MPESA, taking_money


def test_importing_needs_no_settings():
    """The package and the door itself can be imported, looked at and shown without any Django settings."""
    program = "import mpesa_django; from mpesa_django import mpesa; print(mpesa, 'stk_push' in dir(mpesa))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ("<mpesa_django.mpesa> True\n", "") == (done.stdout, done.stderr)


def test_the_package_has_the_door_and_no_other_name():
    """``from mpesa_django import mpesa`` is the front's; a wrong name is an AttributeError."""
    assert mpesa is mpesa_django.mpesa
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = mpesa_django.nothing_of_the_kind


def test_one_gateway_for_all_threads(monkeypatch):
    """Threads that come first at the same moment get the same gateway, made once."""
    made = []
    barrier = threading.Barrier(8)

    def make(_configuration):
        time.sleep(0.05)  # the others come meanwhile
        made.append(object())
        return made[-1]

    monkeypatch.setattr(front_module, "make_gateway", make)
    fresh = Front()

    def come(_):
        barrier.wait()
        return fresh.gateway

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(come, range(8)))
    assert 1 == len(made)
    assert [made[0]] * 8 == got


def test_an_override_makes_another_gateway_and_closes_the_old_one(monkeypatch):
    """Overriding MPESA closes the gateway that was made and the next use has the new settings; others are no matter."""
    front.reset()  # what a test before has left
    closed, real = [], Gateway.close
    monkeypatch.setattr(Gateway, "close", lambda gateway: closed.append(gateway.settings) or real(gateway))
    with taking_money(monkeypatch):
        first = front.gateway
        with override_settings(TIME_ZONE="Africa/Nairobi"):
            assert first is front.gateway
        with override_settings(MPESA={**MPESA, "SHORT_CODE": "600000"}):
            assert [first.settings] == closed
            assert "600000" == mpesa.settings.short_code


def test_an_account_of_the_settings(monkeypatch):
    """``mpesa.account`` is the core's, and an unknown one is refused in its words."""
    with taking_money(monkeypatch, ACCOUNTS={"till": {"SHORT_CODE": "600000"}}):
        assert isinstance(mpesa.account("till"), Gateway)
        with pytest.raises(ConfigurationError, match="tull"):
            mpesa.account("tull")


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["TRANSACTION_MODEL: not set", "CALLBACK_LOG_MODEL: not set"]),
        ({**MPESA, "INVOICE_MODEL": "tillshop.Nothing"}, ["INVOICE_MODEL: 'tillshop.Nothing' is not installed"]),
    ],
)
def test_models_that_are_missing(given, problems):
    """The first use says which model is not set or not installed."""
    with override_settings(MPESA=given), pytest.raises(ConfigurationError) as caught:
        mpesa.conflicts()
    assert len(problems) == len(caught.value.problems)
    assert all(told.startswith(problem) for problem, told in zip(problems, caught.value.problems, strict=True))


def test_inside_a_transaction_nothing_is_sent(monkeypatch):
    """What the repository refuses inside of the caller's transaction reaches the caller, before Daraja is asked."""

    class Inside(MemoryRepository):
        def add(self, draft):
            raise InsideTransaction

    with taking_money(monkeypatch, Inside()) as (daraja, _):
        with pytest.raises(InsideTransaction, match="after the commit"):
            mpesa.stk_push(phone_number="0712345678", amount=10, account_reference="INV-1")
        assert [] == list(daraja.requests)
