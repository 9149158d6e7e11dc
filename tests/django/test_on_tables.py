"""The whole adapter on real tables: the settings' own repository, Django's handler, ATOMIC_REQUESTS."""

from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

pytest.importorskip("django")

from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client, TestCase

from mpesa_core.errors import InsideTransaction
from mpesa_django import mpesa, signals
from mpesa_django.default_models.models import MpesaCallbackLog as CallbackLog
from mpesa_django.default_models.models import MpesaTransaction as Transaction
from tests.django.hosting import ON_TABLES, post, taking_money

PAY = {"phone_number": "0712345678", "amount": 100, "account_reference": "INV-1"}


@pytest.fixture(scope="module")
def tables():
    """The default models, migrated into the default database."""
    call_command("migrate", verbosity=0)
    yield
    call_command("migrate", "default_models", "zero", verbosity=0)


@pytest.fixture
def daraja(monkeypatch, tables):
    """The local Daraja, with nothing in the tables."""
    models = {
        "TRANSACTION_MODEL": "default_models.MpesaTransaction",
        "CALLBACK_LOG_MODEL": "default_models.MpesaCallbackLog",
    }
    Transaction.objects.all().delete()
    CallbackLog.objects.all().delete()
    with taking_money(monkeypatch, ON_TABLES, **models) as (daraja, _):
        yield daraja


@pytest.fixture
def heard():
    """The transactions that payment_confirmed told of."""
    got = []

    def note(sender, transaction, **_):
        got.append((sender, transaction))

    signals.payment_confirmed.connect(note)
    yield got
    signals.payment_confirmed.disconnect(note)


def test_from_the_prompt_to_the_receiver(daraja, heard):
    """The row is settled in its table, its callback is kept, and the receiver gets the model's instance."""
    payment = mpesa.stk_push(**PAY)
    daraja.run_until_idle()
    ((sender, told),) = heard
    assert (Transaction, Transaction, payment.id) == (sender, type(told), told.id)
    kept = Transaction.objects.get()
    assert ("SUCCESS", Decimal(100), 1, False) == (kept.status, kept.amount, kept.generation, kept.idempotency_locked)
    callback = CallbackLog.objects.get()
    assert ("STK", "applied", True, kept.id) == (
        callback.callback_type,
        callback.disposition,
        callback.processed,
        callback.related_transaction_id,
    )


def test_the_same_callback_eight_times(daraja, heard):
    """Eight bodies are kept, one settlement is made, one signal fires."""
    mpesa.stk_push(**PAY)
    daraja.run_until_idle()
    posting = next(iter(daraja.posted)).posting
    for _ in range(7):
        assert 200 == post(urlsplit(posting.url).path, posting.body).status_code
    assert (8, 1, 1) == (CallbackLog.objects.count(), len(heard), Transaction.objects.get().generation)
    assert {bytes(posting.body)} == {bytes(row.raw_bytes) for row in CallbackLog.objects.all()}


def test_a_receivers_sql_error_undoes_nothing(daraja, heard):
    """Under ATOMIC_REQUESTS a receiver whose SQL fails, even inside a transaction of its own, undoes neither row."""

    def broken(**_):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    signals.payment_confirmed.connect(broken)
    try:
        mpesa.stk_push(**PAY)
        daraja.run_until_idle()
    finally:
        signals.payment_confirmed.disconnect(broken)
    assert {200} == {posted.status for posted in daraja.posted}
    assert ("SUCCESS", None) == (Transaction.objects.get().status, Transaction.objects.get().announce_until)
    assert ["applied"] == [row.disposition for row in CallbackLog.objects.all()]
    assert 1 == len(heard)


def test_inside_a_transaction_nothing_is_sent(daraja):
    """A payment that a rollback would forget is refused before a row or a byte of it."""
    with transaction.atomic(), pytest.raises(InsideTransaction, match="rollback would forget"):
        mpesa.stk_push(**PAY)
    assert (0, 0) == (Transaction.objects.count(), daraja.count("stk_push"))


def test_on_commit_sends_after_the_commit(daraja, heard):
    """The payment is recorded with the caller's rows, and nothing leaves before they are committed."""
    with transaction.atomic():
        payment = mpesa.stk_push(**PAY, on_commit=True)
        assert ("PENDING", 0) == (Transaction.objects.get().status, daraja.count("stk_push"))
    assert ("PROCESSING", 1) == (Transaction.objects.get().status, daraja.count("stk_push"))
    daraja.run_until_idle()
    assert ("SUCCESS", payment.id) == (Transaction.objects.get().status, heard[0][1].id)


def test_on_commit_and_a_rollback(daraja):
    """What the caller rolls back was never asked for: no row, no byte, also where only a savepoint is rolled back."""

    def undone():
        with transaction.atomic():
            mpesa.stk_push(**PAY, on_commit=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undone()
    with transaction.atomic(), pytest.raises(ZeroDivisionError):
        undone()
    assert (0, 0) == (Transaction.objects.count(), daraja.count("stk_push"))


def test_on_commit_with_a_key_that_was_used(daraja):
    """The first call's row is returned, and the payment is sent once, for calls in one transaction and in two."""
    for _ in range(2):
        with transaction.atomic():
            first = mpesa.stk_push(**PAY, idempotency_key="order-1", on_commit=True)
            again = mpesa.stk_push(**PAY, idempotency_key="order-1", on_commit=True)
            assert first.id == again.id
    assert (1, 1) == (Transaction.objects.count(), daraja.count("stk_push"))


def test_on_commit_outside_of_a_transaction(daraja):
    """There is nothing to wait for, so it is sent at once."""
    assert "PROCESSING" == mpesa.stk_push(**PAY, on_commit=True).status


def test_on_commit_under_atomic_requests(daraja):
    """In a view that Django runs in a transaction, the prompt is sent when the view is done."""
    answer = Client().get("/buy/")
    assert (b"PENDING 0", 1) == (answer.content, daraja.count("stk_push"))


def test_on_commit_in_a_testcase(daraja):
    """The transaction of a TestCase is not the caller's; one inside of it is, and its hooks are Django's to run."""

    class Case(TestCase):
        def test_it(self):
            assert "PROCESSING" == mpesa.stk_push(**PAY, on_commit=True).status
            with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
                payment = mpesa.stk_push(**PAY, on_commit=True)
                assert "PENDING" == payment.status
            assert "PROCESSING" == mpesa.get(payment.id).status

    result = Case("test_it").run()
    assert [] == result.errors + result.failures


def test_a_death_between_the_commit_and_the_sending(daraja, monkeypatch):
    """What was committed and not sent is never sent: the sweep settles it as FAILED, unsent."""
    with transaction.atomic():
        payment = mpesa.stk_push(**PAY, on_commit=True)
        connection.run_on_commit.clear()  # the process is gone with what it was about to do
    monkeypatch.setattr(mpesa.engine, "clock", lambda: payment.initiated_at + timedelta(minutes=3))
    mpesa.recover()
    row = Transaction.objects.get()
    assert ("FAILED", "unsent", 0) == (row.status, row.reason, daraja.count("stk_push"))


def test_a_callback_is_kept_whatever_the_caller_rolls_back(daraja):
    """What is posted while the program is inside a transaction cannot be durable, and is not acknowledged."""
    mpesa.stk_push(**PAY)
    with transaction.atomic():
        assert 503 == post("/pay/stk/callback/", b'{"Body": {}}').status_code
    assert 0 == CallbackLog.objects.count()
