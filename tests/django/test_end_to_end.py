"""A payment through Django: from the front door to the receiver, with the callback through Django's own handler."""

from decimal import Decimal
from functools import partial
from urllib.parse import urlsplit

import pytest

pytest.importorskip("django")

from mpesa_core.payments.records import Key
from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_django import mpesa, signals
from tests.django.hosting import Transaction, post, taking_money
from tests.django.stores import Order, empty_repository

PAY = {"phone_number": "0712345678", "amount": 100, "account_reference": "INV-1"}


def note(got, name, /, sender, **given):
    got.append((name, given))


@pytest.fixture
def heard():
    """Every signal about a transaction that fires, with its arguments."""
    got = []
    receivers = {name: partial(note, got, name) for name in signals.SIGNALS}
    for name, receiver in receivers.items():
        signals.SIGNALS[name].connect(receiver, sender=Transaction, weak=False)
    yield got
    for name, receiver in receivers.items():
        signals.SIGNALS[name].disconnect(receiver, sender=Transaction)


def test_from_the_prompt_to_the_paid_order(monkeypatch, heard):
    """The callback comes through the view; the payment is settled once and its receiver gets the order."""
    with taking_money(monkeypatch) as (daraja, repository):
        payment = mpesa.stk_push(**PAY, order=41)
        assert "PROCESSING" == payment.status
        daraja.run_until_idle()
        assert "SUCCESS" == repository.get(payment.id).status
    confirmed = [given for name, given in heard if name == "payment_confirmed"]
    assert [(payment.id, 41, Decimal(100))] == [
        (given["transaction"].id, given["transaction"].host["order"], given["transaction"].amount)
        for given in confirmed
    ]


def test_a_receiver_that_raises_undoes_nothing(monkeypatch, heard):
    """The payment stays settled, M-PESA is acknowledged, and the other receivers hear of it."""

    def broken(**_):
        raise ValueError("no such order")

    signals.payment_confirmed.connect(broken, weak=False)
    try:
        with taking_money(monkeypatch) as (daraja, repository):
            payment = mpesa.stk_push(**PAY)
            daraja.run_until_idle()
            assert "SUCCESS" == repository.get(payment.id).status
            assert {200} == {posted.status for posted in daraja.posted}
    finally:
        signals.payment_confirmed.disconnect(broken)
    assert 1 == [name for name, _ in heard].count("payment_confirmed")


def test_the_same_callback_eight_times(monkeypatch, heard):
    """Duplicates are acknowledged and settle nothing again."""
    with taking_money(monkeypatch) as (daraja, repository):
        payment = mpesa.stk_push(**PAY)
        daraja.run_until_idle()
        posting = next(iter(daraja.posted)).posting
        for _ in range(7):
            assert 200 == post(urlsplit(posting.url).path, posting.body).status_code
        assert "SUCCESS" == repository.get(payment.id).status
    assert 1 == [name for name, _ in heard].count("payment_confirmed")


@pytest.fixture(params=["django_sqlite", "django_postgres"])
def alias(request):
    """Each database."""
    return request.getfixturevalue(request.param)


def test_a_customers_payment_gets_the_fields_of_the_host(monkeypatch, heard, alias):
    """What RESOLVE_C2B finds for a payment that nobody initiated is on its row when the receivers get it."""
    repository = empty_repository(alias)
    order = Order.objects.using(alias).create(name="INV-7")

    def resolve(callback):
        return {"order": Order.objects.using(alias).filter(name=callback.account_reference).first(), "note": "by hand"}

    with taking_money(monkeypatch, repository, RESOLVE_C2B=resolve):
        for receipt, reference in (("NLJ7RT61SV", "INV-7"), ("NLJ7RT61SW", "nonsense")):
            body = c2b_confirmation(receipt=receipt, reference=reference)
            assert 200 == post("/pay/c2b/confirm/", posted(body)).status_code
    told = [given["transaction"] for name, given in heard if name == "payment_confirmed"]
    assert [(order, "by hand"), (None, "by hand")] == [(row.order, row.note) for row in told]
    assert order == repository.find(Key.RECEIPT, ("174379", "NLJ7RT61SV")).order
