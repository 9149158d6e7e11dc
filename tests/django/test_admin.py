"""The admin, as a browser meets it: Django's test client on the default models, a local Daraja behind the deeds."""

import json
import uuid
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest

pytest.importorskip("django")

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from mpesa_core.sandbox import Behaviour, Ending
from mpesa_django import mpesa
from mpesa_django.default_models.models import MpesaCallbackLog as CallbackLog
from mpesa_django.default_models.models import MpesaInvoice as Invoice
from mpesa_django.default_models.models import MpesaSubscription as Subscription
from mpesa_django.default_models.models import MpesaTransaction as Transaction
from tests.django.hosting import ON_TABLES, post, taking_money

PAY = {"phone_number": "0712345678", "amount": 100, "account_reference": "INV-1"}
EVERYTHING = ("view_mpesatransaction", "change_mpesatransaction", "reverse_mpesatransaction")
EVERYTHING += ("view_mpesacallbacklog", "change_mpesacallbacklog", "view_mpesainvoice", "view_mpesasubscription")


@pytest.fixture(scope="module")
def tables():
    """The default models, and those of Django's own that the admin needs, migrated into the default database."""
    call_command("migrate", verbosity=0)
    yield
    call_command("migrate", "default_models", "zero", verbosity=0)


@pytest.fixture
def daraja(monkeypatch, tables):
    """The local Daraja, with nothing in the tables."""
    for model in (Transaction, CallbackLog, Invoice, Subscription, LogEntry, User):
        model.objects.all().delete()
    models = {
        "TRANSACTION_MODEL": "default_models.MpesaTransaction",
        "CALLBACK_LOG_MODEL": "default_models.MpesaCallbackLog",
    }
    with taking_money(monkeypatch, ON_TABLES, **models) as (daraja, _):
        yield daraja


def logged_in(*permissions):
    user = User.objects.create(username=f"u{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(daraja):
    """A client of somebody who may do everything."""
    return logged_in(*EVERYTHING)


def paid(daraja, **given):
    payment = mpesa.stk_push(**{**PAY, **given})
    daraja.run_until_idle()
    return Transaction.objects.get(pk=payment.pk)


def failed_then_paid(daraja):
    """A payment that M-PESA called cancelled, with a success that came afterwards in open conflict with it."""
    daraja.when(Behaviour(ending=Ending.CANCEL), api="stk_push")
    payment = paid(daraja)
    success = {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": payment.merchant_request_id,
                "CheckoutRequestID": payment.checkout_request_id,
                "ResultCode": 0,
                "ResultDesc": "The service request is processed successfully.",
                "CallbackMetadata": {
                    "Item": [
                        {"Name": "Amount", "Value": 100.00},
                        {"Name": "MpesaReceiptNumber", "Value": "SKL0000001"},
                        {"Name": "TransactionDate", "Value": 20261125101010},
                        {"Name": "PhoneNumber", "Value": 254712345678},
                    ]
                },
            }
        }
    }
    post(f"/pay/stk/callback/{payment.callback_token}", json.dumps(success).encode())
    return Transaction.objects.get(pk=payment.pk), CallbackLog.objects.get(disposition="conflict")


def page(row, deed="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{deed}", args=[row.pk])


def listed(model, client, **query):
    answer = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), query)
    assert 200 == answer.status_code
    return list(answer.context_data["cl"].result_list), unescape(answer.content.decode())


def read(client, address, **given):
    answer = client.get(address, **given)
    assert 200 == answer.status_code
    return " ".join(unescape(answer.content.decode()).split())


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_the_list_masks_phone_numbers_and_says_the_status_in_words(daraja, staff):
    """A row shows its amount, receipt and status as text, and no whole phone number, typed as a reference or not."""
    payment = paid(daraja, account_reference="0712345678")
    rows, text = listed(Transaction, staff)
    assert [payment] == rows
    assert '<span class="mpesa-badge mpesa-success">Success</span>' in text
    assert payment.mpesa_receipt_number in text
    assert "2547…678" in text
    assert "712345678" not in text


@pytest.mark.parametrize(
    "term",
    [
        "0712345678",
        "+254 712 345 678",
        "254712345678",
        "inv-1",
        "{mpesa_receipt_number}",
        "{checkout_request_id}",
        "{merchant_request_id}",
        "{id}",
        "order-77",
    ],
)
def test_a_payment_is_found_by(daraja, staff, term):
    """Its phone number in any form, its receipt, its reference, and every identifier of it."""
    payment = paid(daraja, idempotency_key="order-77")
    paid(daraja, phone_number="0722000000", account_reference="OTHER")
    assert [payment] == listed(Transaction, staff, q=term.format(**vars(payment)))[0]


def test_a_callback_is_found_by_its_identifiers(daraja, staff):
    """By the identifier that M-PESA gave it, and by its transaction's id."""
    payment = paid(daraja)
    callback = CallbackLog.objects.get()
    assert [callback] == listed(CallbackLog, staff, q=payment.checkout_request_id)[0]
    assert [callback] == listed(CallbackLog, staff, q=str(payment.pk))[0]
    assert [] == listed(CallbackLog, staff, q="ws_CO_nothing")[0]


def test_what_needs_a_look(daraja, staff):
    """The filters find what is in conflict, what is open past its deadline, and what was not announced; no more."""
    held, callback = failed_then_paid(daraja)
    daraja.when(Behaviour(), api="stk_push")
    fine = paid(daraja, account_reference="FINE")
    waiting = mpesa.stk_push(**{**PAY, "account_reference": "LATE"})
    fresh = mpesa.stk_push(**{**PAY, "account_reference": "FRESH"})
    deadline = timedelta(seconds=mpesa.settings.stk_deadline)
    Transaction.objects.filter(pk=waiting.pk).update(initiated_at=waiting.initiated_at - deadline)
    Transaction.objects.filter(pk=fine.pk).update(announce_until=fine.settled_at, idempotency_locked=True)
    found = {name: listed(Transaction, staff, attention=name) for name in ("conflict", "late", "unannounced")}
    assert {"conflict": [held.pk], "late": [waiting.pk], "unannounced": [fine.pk]} == {
        name: [row.pk for row in rows] for name, (rows, _) in found.items()
    }
    assert '<span class="mpesa-badge mpesa-late">Waits too long</span>' in found["late"][1]
    assert '<span class="mpesa-badge mpesa-conflict">Conflict</span>' in found["conflict"][1]
    assert [callback] == listed(CallbackLog, staff, attention="conflict")[0]
    assert [] == listed(CallbackLog, staff, attention="open")[0]
    assert "Waits too long</span>" not in read(staff, page(fresh))


def test_the_page_of_a_payment_tells_its_story(daraja, staff):
    """The timeline has the callbacks that name the payment, related or not, each with its body to the digit."""
    payment = paid(daraja)
    stranger = b'{"Body":{"stkCallback":{"CheckoutRequestID":"%s","ResultCode":1032}}}'
    CallbackLog.objects.create(
        callback_type="STK",
        raw_bytes=stranger % payment.checkout_request_id.encode(),
        raw_body=None,
        correlation_id=payment.checkout_request_id,
    )
    CallbackLog.objects.create(callback_type="STK", raw_bytes=b"not JSON at all", token=payment.callback_token)
    CallbackLog.objects.create(callback_type="STK", raw_bytes=b"of somebody else", correlation_id="ws_CO_other")
    text = read(staff, page(payment))
    assert ["Recorded", "STK", "Settled", "STK", "STK"] == [
        moment.title for moment, _ in staff.get(page(payment)).context_data["timeline"]
    ]
    assert "254712345678" in text
    assert '"Name": "MpesaReceiptNumber"' in text
    assert "not JSON at all" in text
    assert "of somebody else" not in text
    assert payment.callback_token not in text


def test_what_somebody_typed_is_no_markup(daraja, staff):
    """Neither a customer's reference nor a body that anybody may post is taken for HTML."""
    payment = paid(daraja)
    hostile = "<script>alert(1)</script>"
    Transaction.objects.update(account_reference=hostile, result_desc=hostile, conflicts={"x": {"problem": hostile}})
    CallbackLog.objects.update(raw_body={hostile: hostile}, error=hostile, headers={hostile: hostile})
    callback = CallbackLog.objects.get()
    lists = [reverse(f"admin:default_models_{name}_changelist") for name in ("mpesatransaction", "mpesacallbacklog")]
    pages = [page(payment), page(payment, "reverse"), page(callback), page(callback, "accept")]
    for address in (*lists, *pages):
        text = staff.get(address).content.decode()
        assert hostile not in text, address
        assert "&lt;script&gt;alert(1)" in text or "\\u003Cscript" in text, address


def test_a_longer_list_asks_no_more_questions(daraja, staff):
    """The database is asked as often for twenty rows as for one."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def questions(model):
        with CaptureQueriesContext(connection) as asked:
            listed(model, staff)
        return len(asked)

    paid(daraja)
    for model in (Transaction, CallbackLog):
        listed(model, staff)
        before = questions(model)
        row = model.objects.get()
        for _ in range(19):
            unique = {field.name: None for field in model._meta.fields if field.unique}
            unique |= {"pk": uuid.uuid4(), "mpesa_receipt_number": None}
            for name, value in unique.items():
                setattr(row, name, value)
            row.save(force_insert=True)
        assert before == questions(model)


def test_a_failure_is_explained(daraja, staff):
    """The page says what the code means and what to tell the customer; that of a success has nothing to explain."""
    assert "Why: code" not in read(staff, page(paid(daraja)))
    daraja.when(Behaviour(ending=Ending.CANCEL), api="stk_push")
    text = read(staff, page(paid(daraja)))
    assert "Why: code 1032" in text
    assert "To the customer:" in text


@pytest.mark.parametrize("model", [Transaction, CallbackLog, Invoice, Subscription])
def test_nothing_can_be_written(daraja, model):
    """Not even by a superuser: no row is added, changed or deleted by a form."""
    row = paid(daraja) if model is Transaction else CallbackLog.objects.create(callback_type="STK", raw_bytes=b"")
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    rows, text = listed(model, root)
    assert "delete_selected" not in text
    assert 403 == root.get(reverse(f"admin:default_models_{model._meta.model_name}_add")).status_code
    if row in rows:
        assert 403 == root.post(page(row), {"status": "SUCCESS", "disposition": ""}).status_code
        assert 403 == root.post(page(row, "delete"), {"post": "yes"}).status_code
        assert 'name="_save"' not in read(root, page(row))


def test_the_body_of_a_callback_is_shown_to_the_digit():
    """An amount keeps its noughts, and text keeps its letters."""
    from mpesa_django.admin.showing import pretty

    assert '{\n  "Amount": 10.00,\n  "Name": "Wanjikũ"\n}' == pretty({"Amount": Decimal("10.00"), "Name": "Wanjikũ"})


def test_asking_settles(daraja, staff):
    """A payment whose callback never came is settled by the answer; who asked stands in its history."""
    daraja.when(Behaviour(deliver=()), api="stk_push")
    payment = paid(daraja)
    assert "PROCESSING" == payment.status
    answer = staff.post(page(payment, "ask"), follow=True)
    payment.refresh_from_db()
    assert "SUCCESS" == payment.status
    assert ["M-PESA was asked: STK_PUSH of 100.00 shillings is SUCCESS"] == [
        text.split(" (")[0] for text in told(answer)
    ]
    assert [str(payment.pk)] == [entry.object_id for entry in LogEntry.objects.all()]


def test_asking_about_several(daraja, staff):
    """The action of the list asks about each that was selected."""
    daraja.when(Behaviour(deliver=()), api="stk_push")
    payments = [paid(daraja), paid(daraja, account_reference="INV-2")]
    address = reverse("admin:default_models_mpesatransaction_changelist")
    chosen = {"action": "ask_mpesa", "_selected_action": [str(payment.pk) for payment in payments]}
    assert 2 == len(told(staff.post(address, chosen, follow=True)))
    assert {"SUCCESS"} == {payment.status for payment in Transaction.objects.all()}


def test_reversing_asks_first_and_sends_once(daraja, staff):
    """The page names the payment; what it posts reverses it, and the same post again sends nothing more."""
    payment = paid(daraja)
    answer = staff.get(page(payment, "reverse"))
    assert payment.mpesa_receipt_number in answer.content.decode()
    assert 0 == daraja.count("reversal")
    form = {"amount": "40", "remarks": "Sent too much", "key": str(answer.context_data["form"]["key"].value())}
    for _ in range(2):
        answer = staff.post(page(payment, "reverse"), form, follow=True)
        assert told(answer)[0].startswith("Asked M-PESA to give it back: REVERSAL of 40.00 shillings")
    assert 1 == daraja.count("reversal")
    daraja.run_until_idle()
    (reversal,) = Transaction.objects.filter(parent_id=payment.pk)
    assert ("SUCCESS", Decimal(40), "Sent too much") == (reversal.status, reversal.amount, reversal.transaction_desc)
    assert "REVERSAL of 40.00" in read(staff, page(payment))
    assert page(payment) in read(staff, page(reversal))


def test_what_cannot_be_reversed_is_not(daraja, staff):
    """A bad form is shown again, more than is left is refused in the core's words, a failure has no such page."""
    payment = paid(daraja)
    assert 'class="errorlist"' in staff.post(page(payment, "reverse"), {"remarks": ""}).content.decode()
    form = {"amount": "101", "remarks": "All of it", "key": str(uuid.uuid4())}
    assert "101.00" in told(staff.post(page(payment, "reverse"), form, follow=True))[0]
    daraja.when(Behaviour(ending=Ending.CANCEL), api="stk_push")
    failure = paid(daraja, account_reference="INV-2")
    assert page(failure, "reverse") not in read(staff, page(failure))
    assert "Only a payment" in told(staff.post(page(failure, "reverse"), form, follow=True))[0]
    assert 0 == daraja.count("reversal")


def test_a_conflict_is_accepted(daraja, staff):
    """The payment's page shows it; accepting asks first, then settles by what the callback says."""
    payment, callback = failed_then_paid(daraja)
    assert "Open conflict" in read(staff, page(payment))
    assert page(callback) in read(staff, page(payment))
    assert page(callback, "accept") in read(staff, page(callback))
    assert "SKL0000001" in read(staff, page(callback, "accept"))
    payment.refresh_from_db()
    assert "FAILED" == payment.status
    answer = staff.post(page(callback, "accept"), follow=True)
    payment.refresh_from_db()
    assert ("SUCCESS", "SKL0000001", {}) == (payment.status, payment.mpesa_receipt_number, payment.conflicts)
    assert told(answer)[0].startswith("Accepted: STK_PUSH of 100.00 shillings is SUCCESS")
    assert page(callback, "accept") not in read(staff, page(callback))


def test_a_conflict_is_dismissed(daraja, staff):
    """After a confirmation it is resolved without effect; a second time there is none to dismiss."""
    payment, callback = failed_then_paid(daraja)
    read(staff, page(callback, "dismiss"))
    assert ["Dismissed: nothing was settled by it."] == told(staff.post(page(callback, "dismiss"), follow=True))
    payment.refresh_from_db()
    assert ("FAILED", {}) == (payment.status, payment.conflicts)
    assert "no open conflict" in told(staff.post(page(callback, "dismiss"), follow=True))[0]


def test_a_callback_is_processed_again(daraja, staff):
    """From its page and from the list; what is settled is not settled twice."""
    payment = paid(daraja)
    callback = CallbackLog.objects.get()
    answer = staff.post(page(callback, "reprocess"), follow=True)
    assert told(answer)[0].startswith("Processed again:")
    chosen = {"action": "reprocess", "_selected_action": [str(callback.pk)]}
    staff.post(reverse("admin:default_models_mpesacallbacklog_changelist"), chosen)
    payment.refresh_from_db()
    callback.refresh_from_db()
    assert (1, True) == (payment.generation, callback.processed)
    assert 2 == LogEntry.objects.count()


def test_deeds_want_a_post_and_a_row(daraja, staff):
    """A link that somebody follows does nothing, and an id that is none is not found."""
    payment = paid(daraja)
    assert 405 == staff.get(page(payment, "ask")).status_code
    assert 404 == staff.post(page(Transaction(pk=uuid.uuid4()), "ask")).status_code
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(User.objects.get())
    assert 403 == guarded.post(page(payment, "reverse"), {}).status_code


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ((), set()),
        (("view_mpesatransaction", "view_mpesacallbacklog"), set()),
        (("view_mpesatransaction", "change_mpesatransaction"), {"ask"}),
        (("view_mpesatransaction", "reverse_mpesatransaction"), {"reverse"}),
        (("view_mpesacallbacklog", "change_mpesacallbacklog"), {"reprocess", "accept", "dismiss"}),
    ],
)
def test_each_deed_has_its_permission(daraja, permissions, allowed):
    """Who may only look can do nothing; to ask, to reverse and to judge callbacks are three permissions."""
    payment, callback = failed_then_paid(daraja)
    client = logged_in(*permissions)
    deeds = {"ask": payment, "reverse": payment, "reprocess": callback, "accept": callback, "dismiss": callback}
    refused = {deed for deed, row in deeds.items() if client.post(page(row, deed)).status_code == 403}
    assert allowed == deeds.keys() - refused
    if allowed <= {"reverse"}:
        payment.refresh_from_db()
        assert "FAILED" == payment.status


def test_invoices_and_subscriptions_are_shown(daraja, staff):
    """Both have a list with the status in words, and a page."""
    now = mpesa.clock()
    invoice = Invoice.objects.create(
        short_code="174379",
        external_reference="2026-11",
        account_reference="FLAT4",
        phone_number="254712345678",
        amount=10,
        due_at=now,
    )
    subscription = Subscription.objects.create(
        short_code="174379",
        name="Rent",
        account_reference="FLAT4",
        phone_number="254712345678",
        amount=10,
        start_on=now.date(),
        end_on=now.date(),
        frequency="4",
        edition="1",
    )
    for row in (invoice, subscription):
        rows, text = listed(type(row), staff)
        assert [row] == rows
        assert "712345678" not in text
        assert '<span class="mpesa-badge mpesa-pending">Pending</span>' in text
        assert "254712345678" in read(staff, page(row))


def test_a_long_timeline_is_cut_and_says_so(daraja, staff):
    """A hundred callbacks are shown, and the page says that there are more."""
    payment = paid(daraja)
    rows = [
        CallbackLog(callback_type="STK", raw_bytes=b"{}", related_transaction_id=payment.pk, disposition="duplicate")
        for _ in range(100)
    ]
    assert "Only the first" not in read(staff, page(payment))
    CallbackLog.objects.bulk_create(rows)
    assert "Only the first 100 callbacks" in read(staff, page(payment))
    assert 102 == len(staff.get(page(payment)).context_data["timeline"])


def test_no_action_on_more_than_a_page(daraja, staff):
    """Who selects everything there is by a slip asks nothing."""
    CallbackLog.objects.bulk_create([CallbackLog(callback_type="STK", raw_bytes=b"{}") for _ in range(51)])
    chosen = {"action": "reprocess", "select_across": "1", "index": "0"}
    chosen["_selected_action"] = [str(CallbackLog.objects.first().pk)]
    address = reverse("admin:default_models_mpesacallbacklog_changelist")
    assert ["Select at most 50; nothing was done."] == told(staff.post(address, chosen, follow=True))
    assert not LogEntry.objects.exists()


def test_a_callbacks_page_is_linked_for_those_who_may_see_it(daraja, staff):
    """The timeline links the callback; for somebody without its permission it does not."""
    payment, callback = paid(daraja), CallbackLog.objects.get()
    assert page(callback) in read(staff, page(payment))
    text = read(logged_in("view_mpesatransaction"), page(payment))
    assert page(callback) not in text
    assert page(payment, "ask") not in text
    assert page(payment, "reverse") not in text


@pytest.mark.parametrize("database", ["django_sqlite", "django_postgres", "django_mariadb"])
def test_the_questions_suit_every_database(request, database):
    """The filters, the search and the timeline ask what each database understands."""
    from django.contrib import admin

    from mpesa_django.admin import MpesaTransactionAdmin
    from mpesa_django.admin.attention import TransactionAttention
    from tests.django.stores import Transaction as OfAHost
    from tests.django.stores import empty_repository

    alias = request.getfixturevalue(database)
    empty_repository(alias)
    now = mpesa.clock()
    rows = OfAHost._base_manager.using(alias)
    given = {"transaction_type": "STK_PUSH", "status": "PROCESSING", "phone_number": "254712345678"}
    held = rows.create(**given, conflicts={"success:-:-": {"callback": None, "problem": "It contradicts."}})
    late = rows.create(**given, initiated_at=now - timedelta(days=1), account_reference="INV-7")
    lapsed = rows.create(**{**given, "status": "SUCCESS"}, announce_until=now - timedelta(hours=1))
    page_of_all = MpesaTransactionAdmin(OfAHost, admin.site)

    def filtered(choice):
        asked = TransactionAttention(None, {"attention": [choice]}, OfAHost, page_of_all)
        return [row.pk for row in asked.queryset(None, rows.all())]

    def searched(term):
        return {row.pk for row in page_of_all.get_search_results(None, rows.all(), term)[0]}

    assert [[held.pk], [late.pk], [lapsed.pk]] == [filtered(each) for each in ("conflict", "late", "unannounced")]
    assert [{late.pk}, {held.pk}] == [searched("inv-7"), searched(str(held.pk))]
    assert {held.pk, late.pk, lapsed.pk} == searched("0712 345 678")


def test_a_host_adds_what_is_its_own(daraja):
    """Its own fields come first on the page, and its own fieldsets replace ours."""
    from django.contrib import admin

    from mpesa_django.admin import MpesaTransactionAdmin
    from tests.django.stores import Transaction as OfAHost

    class OfTheHost(MpesaTransactionAdmin):
        list_display = (*MpesaTransactionAdmin.list_display, "order")

    site = admin.AdminSite()
    assert ("Your fields", {"fields": ("order", "note")}) == OfTheHost(OfAHost, site).get_fieldsets(None)[0]
    OfTheHost.fieldsets = [("Mine", {"fields": ("note",)})]
    assert [("Mine", {"fields": ("note",)})] == OfTheHost(OfAHost, site).get_fieldsets(None)
    assert [] == [error for error in OfTheHost(OfAHost, site).check() if "order" not in error.msg]
