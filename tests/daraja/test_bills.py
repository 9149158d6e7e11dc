"""Bill Manager: what is refused before it is sent, its configurable path and key, and its own codes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from mpesa_core.daraja.bills import BillItem, ChangeInvoice, ChangeInvoices, OptInToBillManager
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import InvalidField, OutcomeUnknown, RequestRefused, UnexpectedAnswer
from tests.daraja import products as make
from tests.daraja.requested import body_of, context


@pytest.mark.parametrize(
    ("maker", "field", "value"),
    [
        (make.opt_in, "email", "nobody"),
        (make.opt_in, "email", "a@b@c.example"),
        (make.opt_in, "official_contact", "0201234567"),
        (make.opt_in, "logo", "two\nlines"),
        (make.opt_in, "callback_url", "https://shop.example/mpesa"),
        (make.opt_in, "base_path", "no-slash"),
        (make.opt_in, "base_path", "/a b"),
        (make.opt_in, "base_path", "//evil.example"),
        (make.opt_in, "app_key", "two\nlines"),
        (make.opt_in, "app_key", ""),
        (make.opt_in, "app_key_header", "a: b"),
        (make.invoice, "external_reference", ""),
        (make.invoice, "external_reference", "x" * 51),
        (make.invoice, "full_name", "\n"),
        (make.invoice, "phone_number", "12"),
        (make.invoice, "period", ""),
        (make.invoice, "invoice_name", None),
        (make.invoice, "due", "2021-10-12"),
        (make.invoice, "due", datetime(2021, 10, 12)),
        (make.invoice, "account_reference", "x" * 51),
        (make.invoice, "amount", 0),
        (make.invoice, "amount", 1.5),
        (make.invoice, "items", [{"itemName": "food"}]),
        (make.invoice, "items", None),
        (make.invoice, "items", 7),
        (make.opt_in, "send_reminders", "no"),
        (make.send_invoice, "invoice", {"amount": 1}),
        (make.send_invoices, "invoices", []),
        (make.send_invoices, "invoices", [make.invoice()] * 2),
        (make.send_invoices, "invoices", [make.invoice(external_reference=str(each)) for each in range(1001)]),
        (make.cancel_invoice, "external_reference", ""),
        (make.cancel_invoices, "external_references", "113"),
        (make.cancel_invoices, "external_references", ["113", "113"]),
        (make.cancel_invoices, "external_references", []),
        (make.acknowledge, "transaction_id", "x"),
        (make.acknowledge, "paid_on", "2021-10-01"),
        (make.acknowledge, "phone_number", "12"),
        (make.acknowledge, "amount", "much"),
    ],
)
def test_what_bill_manager_would_refuse_is_not_sent(maker, field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        maker(**{field: value})
    assert field == caught.value.field


def test_a_thousand_invoices_are_one_call():
    """The documented limit itself is allowed."""
    invoices = [make.invoice(external_reference=str(each)) for each in range(1000)]
    assert 1000 == len(json.loads(make.send_invoices(invoices=invoices).build(context()).body))


@pytest.mark.parametrize("field", ["name", "amount"])
def test_a_line_of_an_invoice_is_checked(field):
    """An empty name and a float amount are refused."""
    with pytest.raises(InvalidField) as caught:
        BillItem(**{"name": "food", "amount": 1, field: "" if field == "name" else 1.5})
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("due", "text"),
    [
        (date(2021, 10, 12), "2021-10-12"),
        (datetime(2021, 10, 12, 20, 59, 59, tzinfo=UTC), "2021-10-12 23:59:59.00"),
        (datetime(2021, 10, 12, 21, tzinfo=UTC), "2021-10-13 00:00:00.00"),
    ],
)
def test_a_due_day_is_nairobis(due, text):
    """A moment late in the evening of UTC is due on Nairobi's next day."""
    assert text == make.invoice(due=due).wire_form()["dueDate"]


def test_a_payment_is_acknowledged_for_nairobis_day():
    """The day of an aware datetime is the day in Nairobi."""
    operation = make.acknowledge(paid_on=datetime(2021, 9, 30, 21, 30, tzinfo=UTC))
    assert "2021-10-01" == body_of(operation.build(context()))["paymentDate"]


@pytest.mark.parametrize(("wanted", "opt_in", "change"), [(True, "1", 1), (False, "0", 0)])
def test_reminders_are_text_in_one_call_and_a_number_in_the_other(wanted, opt_in, change):
    """As the two samples have it."""
    first = body_of(make.opt_in(send_reminders=wanted, logo=None).build(context()))
    assert opt_in == first["sendReminders"]
    assert "logo" not in first
    assert change == body_of(make.change_opt_in(send_reminders=wanted).build(context()))["sendReminders"]


def test_the_doubled_path_of_the_go_live_mail_can_be_set():
    """A base path is taken as it is, but for a slash at its end."""
    doubled = "/v1/billmanager-invoice/v1/billmanager-invoice"
    assert f"{doubled}/optin" == make.opt_in(base_path=doubled + "/").build(context()).path


@pytest.mark.parametrize(("extra", "header"), [({}, "appKey"), ({"app_key_header": "app_key"}, "app_key")])
def test_the_key_of_the_opt_in_goes_into_a_header(extra, header):
    """Under the name that is set, and in no repr."""
    operation = make.cancel_invoice(app_key="AG_secret_KJ", **extra)
    assert "AG_secret_KJ" == operation.build(context()).headers[header]
    assert "AG_secret_KJ" not in repr(operation)


def test_the_uncertain_paths_are_there():
    """Changing an invoice is the same body on another path."""
    one, many = ChangeInvoice(invoice=make.invoice()), ChangeInvoices(invoices=[make.invoice()])
    assert "/v1/billmanager-invoice/change-invoice" == one.build(context()).path
    assert "/v1/billmanager-invoice/change-invoices" == many.build(context()).path
    assert make.send_invoice().build(context()).body == one.build(context()).body


def test_the_answer_of_an_opt_in_keeps_its_key_to_itself():
    """The key is there to be read, and not in the repr."""
    answer = HttpResponse(status=200, body=b'{"app_key": "AG_secret_KJ", "resmsg": "Success", "rescode": "200"}')
    found = make.opt_in().parse(answer)
    assert isinstance(make.opt_in(), OptInToBillManager)
    assert "AG_secret_KJ" == found.app_key
    assert "AG_secret_KJ" not in repr(found)


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize("code", ['"409"', "409"])
def test_the_code_in_the_answer_counts_and_not_the_status(status, code):
    """The HTTP status of a conflict is not documented; its rescode is."""
    body = f'{{"Status_Message": "Biller already Registered", "resmsg": "Action Forbidden", "rescode": {code}}}'
    with pytest.raises(RequestRefused) as caught:
        make.opt_in().parse(HttpResponse(status=status, body=body.encode()))
    assert ("409", status) == (caught.value.code, caught.value.status)


def test_a_gateway_timeout_leaves_an_invoice_open_and_a_cancellation_unanswered():
    """What asks for money is unknown; a question may be asked again."""
    fault = b'{"fault":{"faultstring":"Gateway Timeout","detail":{"errorcode":"messaging.adaptors.http.flow.GatewayTimeout"}}}'
    with pytest.raises(OutcomeUnknown):
        make.send_invoice().parse(HttpResponse(status=504, body=fault))
    with pytest.raises(UnexpectedAnswer):
        make.cancel_invoice().parse(HttpResponse(status=504, body=fault))
