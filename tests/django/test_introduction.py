"""What a host is told to write, word for word: its models, settings, URLs and receivers, from migrations to receivers."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from mpesa_django.models import AbstractMpesaCallbackLog, AbstractMpesaTransaction
from tests.django.projects import MODELS, make_app, make_project, manage, run

ORDERS = """
from django.db import models

class Seller(models.Model):
    balance = models.DecimalField(max_digits=12, decimal_places=2, default=0)

    def record_payout(self, amount):
        self.balance -= amount
        self.save()

class Order(models.Model):
    reference = models.CharField(max_length=20, unique=True)
    status = models.CharField(max_length=10, default="OPEN")
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT)

    def mark_paid(self):
        self.status = "PAID"
        self.save()
"""
APPS = """
from django.apps import AppConfig

class MyAppConfig(AppConfig):
    name = "myapp"

    def ready(self):
        import myapp.receivers  # noqa: F401
"""
TASKS = """
class Task:
    def __init__(self):
        self.delayed = []

    def delay(self, *arguments):
        self.delayed.append(arguments)

send_sms, notify_finance = Task(), Task()
"""
RECEIVERS = """
from django.dispatch import receiver
from mpesa_django.signals import (
    payment_confirmed, payment_failed,
    payout_completed, payout_failed,
)
from mpesa_django.signals import c2b_validation_received

from myapp.tasks import notify_finance, send_sms
from orders.models import Order

@receiver(payment_confirmed)
def on_payment_confirmed(sender, transaction, **kwargs):
    "Credit the customer's order when payment is confirmed."
    order = transaction.order
    order.mark_paid()

@receiver(payment_failed)
def on_payment_failed(sender, transaction, result_code, result_desc, **kwargs):
    "Notify the customer when payment fails."
    send_sms.delay(
        transaction.phone_number,
        f"Payment failed: {result_desc}. Please try again.",
    )

@receiver(payout_completed)
def on_payout_completed(sender, transaction, **kwargs):
    "Update seller balance after payout."
    seller = transaction.order.seller
    seller.record_payout(transaction.amount)

@receiver(payout_failed)
def on_payout_failed(sender, transaction, result_code, result_desc, **kwargs):
    "Alert finance team on failed payout."
    notify_finance.delay(transaction.id, result_code, result_desc)

@receiver(c2b_validation_received)
def validate_payment(sender, raw_payload, **kwargs):
    bill_ref = raw_payload.get("BillRefNumber", "")
    if not Order.objects.filter(reference=bill_ref, status="OPEN").exists():
        return {"ResultCode": "C2B00012", "ResultDesc": "Invalid reference"}
    # Return None or a success dict to accept
    return {"ResultCode": 0, "ResultDesc": "Accepted"}
"""
URLS = """
from django.urls import include, path

urlpatterns = [path("mpesa/", include("mpesa_django.urls"))]
"""
STORY = """
import django

django.setup()
from django.contrib.auth.models import User
from django.test import Client

from mpesa_core.testing.payloads import b2c_success, c2b_confirmation, posted, result, stk_result, stk_success
from mpesa_django import mpesa
from myapp.models import MpesaCallbackLog, MpesaTransaction
from myapp.tasks import notify_finance, send_sms
from orders.models import Order, Seller


def post(path, body, peer="196.201.214.200"):
    client = Client(enforce_csrf_checks=True, REMOTE_ADDR=peer)
    answer = client.post(f"/mpesa/{path}", posted(body), content_type="application/json")
    mpesa.runner.wait(10)
    return answer.status_code, str(answer.json()["ResultCode"]) if answer.status_code == 200 else None


def status(row):
    row.refresh_from_db()
    return row.status


order = Order.objects.create(reference="INV-1", seller=Seller.objects.create())
asked = {"phone_number": "254708374149", "amount": 100, "order": order}
asked |= {"status": "PROCESSING", "initiated_by": User.objects.create(username="till")}
paid = MpesaTransaction.objects.create(transaction_type="STK_PUSH", checkout_request_id="ws_CO_1", **asked)
cancelled = MpesaTransaction.objects.create(transaction_type="STK_PUSH", checkout_request_id="ws_CO_2", **asked)
sent = MpesaTransaction.objects.create(transaction_type="B2C", conversation_id="AG_1", **asked)
refused = MpesaTransaction.objects.create(transaction_type="B2C", conversation_id="AG_2", **asked)
wanted = c2b_confirmation(receipt="NLJ7RT61SX")
unwanted = c2b_confirmation(reference="INV-9")

assert (403, None) == post("stk/callback/", stk_success("ws_CO_1"), peer="203.0.113.9")
assert "PROCESSING" == status(paid)
assert (200, "0") == post("c2b/validate/", wanted)
assert (200, "C2B00012") == post("c2b/validate/", unwanted)
for _ in range(2):
    assert (200, "0") == post("stk/callback/", stk_success("ws_CO_1"))
    assert (200, "0") == post("stk/callback/", stk_result(1032, "Request cancelled by user", "ws_CO_2"))
    assert (200, "0") == post("b2c/result/", b2c_success(conversation="AG_1"))
    assert (200, "0") == post("b2c/result/", result(2001, conversation="AG_2", originator="10571-1-2"))
    assert (200, "0") == post("b2c/timeout/", {"nothing": "that is known"})
    assert (200, "0") == post("c2b/confirm/", wanted)
assert ["SUCCESS", "FAILED", "SUCCESS", "FAILED"] == [status(row) for row in (paid, cancelled, sent, refused)]
order.refresh_from_db()
assert ("PAID", -100) == (order.status, order.seller.balance)
assert [("254708374149", "Payment failed: Request cancelled by user. Please try again.")] == send_sms.delayed
assert [(refused.id, 2001, "It failed.")] == notify_finance.delayed
assert (0, "NLJ7RT61SV", "till") == (paid.result_code, paid.mpesa_receipt_number, paid.initiated_by.username)
assert "ws_CO_1" == paid.raw_callback_payload["Body"]["stkCallback"]["CheckoutRequestID"]
assert paid.settled_at >= paid.initiated_at and not paid.idempotency_locked
by_customer = MpesaTransaction.objects.get(mpesa_receipt_number="NLJ7RT61SX")
assert ("C2B", "SUCCESS", None) == (by_customer.transaction_type, by_customer.status, by_customer.order)
log = MpesaCallbackLog.objects.filter(related_transaction_id=paid.id)
assert [("STK", "196.201.214.200", True, None)] * 2 == list(log.values_list("callback_type", "source_ip", "processed", "error"))
assert 15 == MpesaCallbackLog.objects.count()
mpesa.close()
print("told")
"""

FIELDS = {
    AbstractMpesaTransaction: "id transaction_type status checkout_request_id merchant_request_id conversation_id "
    "originator_conversation_id mpesa_receipt_number phone_number amount account_reference transaction_desc result_code "
    "result_desc raw_callback_payload initiated_at settled_at idempotency_locked",
    AbstractMpesaCallbackLog: "id callback_type source_ip raw_body related_transaction_id processed error received_at",
}


@pytest.mark.parametrize("model", FIELDS)
def test_a_host_finds_the_fields_that_are_promised(model):
    """Each by its name; identifiers that are idempotency keys are unique, and what may be unknown is null."""
    fields = {field.name: field for field in model._meta.get_fields()}
    assert set() == set(FIELDS[model].split()) - fields.keys()
    unique = {name for name in ("checkout_request_id", "conversation_id") if name in fields}
    assert all(fields[name].unique and fields[name].null for name in unique)


def test_what_is_told_to_a_host_works_as_written(tmp_path):
    """Each callback is acknowledged, settled and announced once, refused from elsewhere, and validated by a receiver."""
    folder = make_project(
        tmp_path, "orders", "myapp.apps.MyAppConfig", ROOT_URLCONF="project_urls", ALLOWED_HOSTS=["testserver"]
    )
    make_app(folder, "orders", models=ORDERS)
    make_app(folder, "myapp", models=MODELS, apps=APPS, receivers=RECEIVERS, tasks=TASKS)
    (folder / "project_urls.py").write_text(URLS)
    (folder / "story.py").write_text(STORY)
    manage(folder, "makemigrations")
    manage(folder, "migrate")
    assert "no issues" in manage(folder, "check", "--fail-level", "WARNING")
    assert "told\n" == run(folder, "story.py")
