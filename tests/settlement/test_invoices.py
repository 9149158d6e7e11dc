"""Invoices: sent once, paid once however often the payment is reported, and announced by their own fence."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from mpesa_core.daraja.bills import BillManagerAnswer, Invoice
from mpesa_core.errors import (
    ConfigurationError,
    IdempotencyMismatch,
    InvalidField,
    NotSent,
    OutcomeUnknown,
    RequestRefused,
    TransactionNotFound,
)
from mpesa_core.gateway import AsyncGateway, Gateway
from mpesa_core.payments.invoices import InvoiceStatus
from mpesa_core.payments.records import Disposition, Key, Status, TransactionType
from mpesa_core.repository.memory import MemoryRepository
from tests.settlement.desk import PHONE, Desk, confirmation, stk_success

RECEIPT = "RJB53MYR1N"
CALLS = (
    "OptInToBillManager",
    "ChangeBillManagerOptIn",
    "SendInvoice",
    "SendInvoices",
    "CancelInvoice",
    "CancelInvoices",
    "AcknowledgeBillPayment",
)


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def desk(repository):
    desk = Desk(repository)
    for call in CALLS:
        desk.daraja.answers[call] = BillManagerAnswer(rescode="200", resmsg="Success", app_key="AG_1")
    return desk


def given(reference="E-1", amount=100, account="A-1", **more):
    return {
        "external_reference": reference,
        "full_name": "John Doe",
        "phone_number": PHONE,
        "period": "November 2026",
        "invoice_name": "Rent",
        "due": date(2026, 12, 5),
        "account_reference": account,
        "amount": amount,
        **more,
    }


def send(desk, reference="E-1", amount=100, account="A-1", **more):
    return desk.gateway.send_invoice(**given(reference, amount, account, **more))


def push(receipt=RECEIPT, amount="100", account="A-1", **more):
    return {
        "transactionId": receipt,
        "paidAmount": amount,
        "msisdn": PHONE,
        "dateCreated": "2026-11-21",
        "accountReference": account,
        "shortCode": "174379",
        **more,
    }


def dies(*arguments, **keywords):
    raise Died


def forget(desk, signal):
    """Take the deadly receiver away, as the next process would not have it."""
    desk.receivers.pop(signal)


# -- sending -------------------------------------------------------------------------------------------------------


def test_an_invoice_is_sent_once_under_its_reference(desk):
    """The same call again sends nothing, announces nothing, and returns the invoice with the host's own fields."""
    row = send(desk, order=7)
    assert row.id == send(desk, order=7).id
    assert (InvoiceStatus.SENT, desk.clock.now, {"order": 7}) == (row.status, row.sent_at, dict(row.host))
    assert (1, ["invoice_created"]) == (desk.daraja.count("SendInvoice"), desk.names())
    assert (None, {}) == (row.announce_until, dict(desk.gateway.invoice(row.id).unannounced))


def test_another_invoice_under_the_same_reference_is_refused(desk):
    """It says what differs, and nothing is sent."""
    row = send(desk)
    with pytest.raises(IdempotencyMismatch) as caught:
        send(desk, amount=101)
    assert (("amount",), row.id, "external_reference") == (
        caught.value.differences,
        caught.value.owner,
        caught.value.field,
    )
    assert 1 == desk.daraja.count("SendInvoice")


def test_a_refused_invoice_may_be_sent_again_mended(desk):
    """A refusal is kept, announces nothing, takes no payment, and gives the reference back."""
    desk.daraja.answers["SendInvoice"] = [
        RequestRefused("Invalid billedPhoneNumber", status=200, code="409"),
        BillManagerAnswer(rescode="200"),
    ]
    with pytest.raises(RequestRefused):
        send(desk, amount=90)
    refused = desk.repository.find_invoice("174379", "E-1")
    assert (InvoiceStatus.REFUSED, "Invalid billedPhoneNumber", []) == (
        refused.status,
        refused.result_desc,
        desk.names(),
    )
    desk.post("BILL_PAYMENT", push())
    assert {} == dict(desk.gateway.invoice(refused).payments)
    row = send(desk, amount=100)
    assert (refused.id, InvoiceStatus.SENT, Decimal(100), None) == (row.id, row.status, row.amount, row.result_desc)
    assert ["payment_confirmed", "invoice_created"] == desk.names()


def test_an_invoice_whose_answer_was_lost_is_sent_again_and_arrives_once(desk):
    """It is pending; the second call is refused as a duplicate, which says that the first one had arrived."""
    desk.daraja.answers["SendInvoice"] = [
        OutcomeUnknown("the answer was lost"),
        RequestRefused("externalReference already exists.", status=200, code="409"),
    ]
    assert (InvoiceStatus.PENDING, []) == (send(desk).status, desk.names())
    assert (InvoiceStatus.SENT, ["invoice_created"]) == (send(desk).status, desk.names())


def test_a_duplicate_that_is_none_of_ours_is_a_refusal(desk):
    """A first call that is refused as a duplicate has not arrived: another program's invoice has the reference."""
    desk.daraja.answers["SendInvoice"] = RequestRefused("externalReference already exists.", status=200, code="409")
    with pytest.raises(RequestRefused):
        send(desk)
    assert InvoiceStatus.REFUSED == desk.repository.find_invoice("174379", "E-1").status


def test_a_refusal_for_something_that_does_not_exist_is_no_duplicate(desk):
    """An invoice whose first answer was lost, and whose second call is refused for another reason, has not arrived."""
    desk.daraja.answers["SendInvoice"] = [
        OutcomeUnknown("the answer was lost"),
        RequestRefused("Organization short code does not exist.", status=200, code="409"),
    ]
    send(desk)
    with pytest.raises(RequestRefused):
        send(desk)
    assert (InvoiceStatus.REFUSED, []) == (desk.repository.find_invoice("174379", "E-1").status, desk.names())


def test_an_invoice_that_did_not_leave_is_sent_by_the_same_call(desk):
    """No byte left: the invoice stays pending and the same call sends it."""
    desk.daraja.answers["SendInvoice"] = [NotSent("no connection"), BillManagerAnswer(rescode="200")]
    with pytest.raises(NotSent):
        send(desk)
    assert InvoiceStatus.SENT == send(desk).status


def test_a_payment_proves_that_an_invoice_was_sent(desk):
    """The answer was lost and the customer pays: the invoice was created, and is paid, each announced once."""
    desk.daraja.answers["SendInvoice"] = OutcomeUnknown("the answer was lost")
    row = send(desk)
    desk.post("BILL_PAYMENT", push())
    assert InvoiceStatus.PAID == desk.gateway.invoice(row).status
    assert ["payment_confirmed", "invoice_created", "invoice_paid"] == desk.names()


def test_bulk_invoices(desk):
    """Invoices go out in requests of at most 1,000, what was sent before stays at home, and progress is told."""
    send(desk, "E-3")
    steps = []
    invoices = [Invoice(**given(f"E-{number}", account=f"A-{number}")) for number in range(1003)]
    invoices[3] = Invoice(**given("E-3"))
    rows = desk.gateway.send_invoices(invoices, progress=lambda done, total: steps.append((done, total)), run=1)
    assert {InvoiceStatus.SENT} == {row.status for row in rows}
    assert [each.external_reference for each in invoices] == [row.external_reference for row in rows]
    sizes = [len(each.invoices) for each in desk.daraja.sent if type(each).__name__ == "SendInvoices"]
    assert [999, 3] == sizes
    assert 1003 == len(desk.fired("invoice_created"))
    assert ((2006, 2006), 2006) == (steps[-1], max(done for done, _ in steps))
    assert sorted(steps) == steps
    again = desk.gateway.send_invoices(invoices)
    assert (rows, [999, 3]) == (
        again,
        [len(each.invoices) for each in desk.daraja.sent if type(each).__name__ == "SendInvoices"],
    )


def test_a_bulk_whose_answer_was_lost(desk):
    """All stay pending; sending them again finds out one by one which had arrived."""
    invoices = [Invoice(**given(f"E-{number}", account=f"A-{number}")) for number in range(3)]
    arrived = RequestRefused("externalReference already exists.", status=200, code="409")
    desk.daraja.answers["SendInvoices"] = [OutcomeUnknown("lost"), arrived]
    desk.daraja.answers["SendInvoice"] = [arrived, BillManagerAnswer(rescode="200"), arrived]
    steps = []
    rows = desk.gateway.send_invoices(invoices, progress=lambda *step: steps.append(step))
    assert ({InvoiceStatus.PENDING}, (6, 6)) == ({row.status for row in rows}, steps[-1])
    assert {InvoiceStatus.SENT} == {row.status for row in desk.gateway.send_invoices(invoices)}
    assert 3 == len(desk.fired("invoice_created"))


def test_a_bulk_with_an_invoice_that_is_wrong(desk):
    """It is refused as a whole, so each is sent by itself: only the wrong one is refused, with its reason."""
    invoices = [Invoice(**given(f"E-{number}")) for number in range(4)]
    wrong = RequestRefused("Invalid dueDate", status=200, code="409")
    desk.daraja.answers["SendInvoices"] = wrong
    desk.daraja.answers["SendInvoice"] = [
        BillManagerAnswer(rescode="200"),
        wrong,
        *[BillManagerAnswer(rescode="200")] * 2,
    ]
    steps = []
    rows = desk.gateway.send_invoices(invoices, progress=lambda *step: steps.append(step))
    assert ["sent", "refused", "sent", "sent"] == [row.status for row in rows]
    assert ("Invalid dueDate", (8, 8), 3) == (rows[1].result_desc, steps[-1], len(desk.fired("invoice_created")))


def test_a_bulk_of_which_nothing_is_taken(desk):
    """After a few refusals it is not the invoices: the error is raised, and the rest is sent by the same call."""
    invoices = [Invoice(**given(f"E-{number}")) for number in range(9)]
    refusal = RequestRefused("Biller is not registered", status=200, code="409")
    desk.daraja.answers |= {"SendInvoices": [refusal, BillManagerAnswer(rescode="200")], "SendInvoice": refusal}
    with pytest.raises(RequestRefused, match="not registered"):
        desk.gateway.send_invoices(invoices)
    found = [desk.repository.find_invoice("174379", f"E-{number}").status for number in range(9)]
    assert ([InvoiceStatus.REFUSED] * 3 + [InvoiceStatus.PENDING] * 6, 3) == (found, desk.daraja.count("SendInvoice"))
    assert {InvoiceStatus.SENT} == {row.status for row in desk.gateway.send_invoices(invoices)}


def test_a_bulk_of_one(desk):
    """Its refusal reaches the caller."""
    refusal = RequestRefused("Invalid dueDate", status=200, code="409")
    desk.daraja.answers |= {"SendInvoices": refusal, "SendInvoice": refusal}
    with pytest.raises(RequestRefused):
        desk.gateway.send_invoices([Invoice(**given())])


@pytest.mark.parametrize("invoices", [[], ["no invoice"], [Invoice(**given()), Invoice(**given())]])
def test_a_bulk_is_checked_before_anything_is_recorded(desk, invoices):
    """None, something else, or a reference twice: refused by name, and nothing is recorded or sent."""
    with pytest.raises(InvalidField) as caught:
        desk.gateway.send_invoices(invoices)
    assert ("invoices", [], None) == (
        caught.value.field,
        desk.daraja.sent,
        desk.repository.find_invoice("174379", "E-1"),
    )


def test_settings_go_into_the_calls(repository):
    """The base path, the key and its header reach Bill Manager, the opt-in has our callback URL, and the key is hidden."""
    desk = Desk(
        repository,
        bills_base_path="/v1/billmanager-invoice/v1/billmanager-invoice",
        bills_app_key="AG_secret",
        bills_app_key_header="app_key",
    )
    desk.daraja.answers = dict.fromkeys(CALLS, BillManagerAnswer(rescode="200", app_key="AG_new"))
    answer = desk.gateway.opt_in_bills(email="a@b.example", official_contact="0710000000")
    desk.gateway.opt_in_bills(email="a@b.example", official_contact="0710000000", change=True)
    send(desk)
    opt_in, change, invoice = desk.daraja.sent
    assert "https://shop.example/pay/bills/payment/" == opt_in.callback_url == change.callback_url
    assert ("AG_new", "change-optin-details") == (answer.app_key, change.path)
    assert ("/v1/billmanager-invoice/v1/billmanager-invoice", "AG_secret", "app_key") == (
        invoice.base_path,
        invoice.app_key,
        invoice.app_key_header,
    )
    assert "AG_secret" not in repr(invoice) + repr(desk.settings)


def test_a_repository_without_invoices(desk):
    """It may leave them out: the calls say what is missing, and a bill payment is a payment all the same."""

    class Plain:
        """The twelve operations, and no more."""

        def __init__(self, inner):
            for name in dir(inner):
                if not name.startswith("_") and "invoice" not in name and "subscription" not in name:
                    setattr(self, name, getattr(inner, name))

    plain = Desk(Plain(MemoryRepository()))
    with pytest.raises(ConfigurationError, match=r"repository: Plain keeps no invoices: it lacks add_invoice, .*"):
        send(plain)
    for call in (plain.gateway.invoice, plain.gateway.void_invoice):
        with pytest.raises(ConfigurationError, match="InvoiceRepository"):
            call(desk.gateway.new_id())
    plain.post("BILL_PAYMENT", push())
    assert (["payment_confirmed"], []) == (plain.names(), plain.daraja.sent)
    assert not plain.gateway.recover()


def test_no_such_invoice(desk):
    """An unknown id and a text that is none are told apart."""
    with pytest.raises(TransactionNotFound, match="no invoice"):
        desk.gateway.invoice(desk.gateway.new_id())
    with pytest.raises(InvalidField, match="invoice"):
        desk.gateway.invoice("E-1")


# -- payments ------------------------------------------------------------------------------------------------------


def test_a_payment_that_is_pushed_five_times(desk):
    """One transaction, one paid invoice, one signal each, one acknowledgement."""
    row = send(desk)
    pushes = [desk.post("BILL_PAYMENT", push()) for _ in range(5)]
    paid = desk.gateway.invoice(row)
    payment = desk.repository.find(Key.RECEIPT, ("174379", RECEIPT))
    assert (InvoiceStatus.PAID, {str(payment.id): "100.00"}, desk.clock.now) == (
        paid.status,
        dict(paid.payments),
        paid.paid_at,
    )
    assert (TransactionType.BILL_PAYMENT, Status.SUCCESS, row.id, "A-1") == (
        payment.transaction_type,
        payment.status,
        payment.parent_id,
        payment.account_reference,
    )
    assert ["invoice_created", "payment_confirmed", "invoice_paid"] == desk.names()
    [(_, arguments)] = desk.fired("invoice_paid")
    assert (row.id, payment.id) == (arguments["invoice"].id, arguments["transaction"].id)
    assert ["applied", *["duplicate"] * 4] == [desk.repository.get_callback(each).disposition for each in pushes]
    assert (1, {}, None) == (
        desk.daraja.count("AcknowledgeBillPayment"),
        dict(paid.unacknowledged),
        paid.next_check_at,
    )
    assert not desk.recover(3600)


def test_the_acknowledgement_tells_of_payment_and_invoice(desk):
    """It has the receipt, the amount and who paid, and of the invoice what the customer knows it by."""
    send(desk)
    desk.post("BILL_PAYMENT", push(amount="40", msisdn="254712345678"))
    told = desk.daraja.sent[-1]
    assert (RECEIPT, Decimal(40), "0712345678", "A-1", "John Doe", "Rent", "E-1") == (
        told.transaction_id,
        told.amount,
        told.phone_number,
        told.account_reference,
        told.full_name,
        told.invoice_name,
        told.external_reference,
    )


@pytest.mark.parametrize("first", ["BILL_PAYMENT", "C2B_CONFIRMATION"])
def test_a_payment_that_is_confirmed_as_c2b_too(desk, first):
    """The same receipt by push and by C2B confirmation, in either order, is one payment of the invoice."""
    row = send(desk)
    bodies = {"BILL_PAYMENT": push(), "C2B_CONFIRMATION": confirmation(RECEIPT, reference="A-1")}
    for kind in sorted(bodies, key=lambda each: each != first):
        desk.post(kind, bodies[kind])
    assert (InvoiceStatus.PAID, 1) == (desk.gateway.invoice(row).status, len(desk.gateway.invoice(row).payments))
    assert ["invoice_created", "payment_confirmed", "invoice_paid"] == desk.names()


def test_an_stk_push_to_the_invoice_pays_it(desk):
    """Its three reports are one payment, and the push may be repeated under its key afterwards."""
    row = send(desk)
    payment = desk.push(reference="A-1", idempotency_key="K")
    desk.post("BILL_PAYMENT", push())
    desk.post("STK", stk_success(receipt=RECEIPT), payment.callback_token)
    desk.post("C2B_CONFIRMATION", confirmation(RECEIPT, reference="A-1"))
    desk.recover(300)
    paid = desk.gateway.invoice(row)
    assert (InvoiceStatus.PAID, [str(payment.id)]) == (paid.status, list(paid.payments))
    assert ["invoice_created", "payment_confirmed", "invoice_paid"] == desk.names()
    assert payment.id == desk.push(reference="A-1", idempotency_key="K").id


def test_parts(desk):
    """Parts add up; the last one pays it, and only then it is announced."""
    row = send(desk)
    states = []
    for number, amount in enumerate(["30", "30.50", "39.50"]):
        desk.post("BILL_PAYMENT", push(f"RJB53MYR{number}A", amount))
        states.append(desk.gateway.invoice(row).status)
    assert [InvoiceStatus.PART_PAID, InvoiceStatus.PART_PAID, InvoiceStatus.PAID] == states
    assert (3, 1) == (len(desk.fired("payment_confirmed")), len(desk.fired("invoice_paid")))
    last = desk.repository.find(Key.RECEIPT, ("174379", "RJB53MYR2A"))
    assert last.id == desk.fired("invoice_paid")[0][1]["transaction"].id


def test_more_than_was_asked_for(desk):
    """It is paid; what comes after it stands on its own."""
    row = send(desk)
    desk.post("BILL_PAYMENT", push(amount="120"))
    desk.post("BILL_PAYMENT", push("RJB53MYR1P", "50"))
    paid = desk.gateway.invoice(row)
    assert (InvoiceStatus.PAID, ["120.00"]) == (paid.status, list(paid.payments.values()))
    later = desk.repository.find(Key.RECEIPT, ("174379", "RJB53MYR1P"))
    assert (None, 2, 1) == (later.parent_id, len(desk.fired("payment_confirmed")), len(desk.fired("invoice_paid")))


def test_the_oldest_open_invoice_of_a_reference_is_paid_first(desk):
    """August before September, although both are paid to the same account."""
    rows = []
    for reference in ("AUG", "SEP"):
        rows.append(send(desk, reference))
        desk.clock.forward(1)
    for receipt in ("RJB53MYR1A", "RJB53MYR1B"):
        desk.post("BILL_PAYMENT", push(receipt))
        states = [desk.gateway.invoice(row).status for row in rows]
        if receipt == "RJB53MYR1A":
            assert [InvoiceStatus.PAID, InvoiceStatus.SENT] == states
    assert [InvoiceStatus.PAID, InvoiceStatus.PAID] == states
    assert [row.id for row in rows] == [arguments["invoice"].id for _, arguments in desk.fired("invoice_paid")]


@pytest.mark.parametrize("more", [{"account": "A-2"}, {"shortCode": "600000"}])
def test_a_payment_of_no_invoice(desk, more):
    """Another account or another paybill: the payment stands on its own, and is no conflict."""
    row = send(desk)
    desk.post("BILL_PAYMENT", push(**more))
    assert (InvoiceStatus.SENT, ["invoice_created", "payment_confirmed"]) == (
        desk.gateway.invoice(row).status,
        desk.names(),
    )
    assert 0 == desk.daraja.count("AcknowledgeBillPayment")


def test_a_push_that_contradicts_itself(desk):
    """The same receipt with another amount changes nothing and is a conflict, once."""
    row = send(desk)
    desk.post("BILL_PAYMENT", push(amount="40"))
    for _ in range(2):
        callback = desk.post("BILL_PAYMENT", push(amount="100"))
    assert (InvoiceStatus.PART_PAID, ["40.00"]) == (
        desk.gateway.invoice(row).status,
        list(desk.gateway.invoice(row).payments.values()),
    )
    assert 1 == len(desk.fired("settlement_conflict"))
    assert Disposition.DUPLICATE == desk.repository.get_callback(callback).disposition


def test_a_payment_may_be_given_back(desk):
    """A bill payment is a payment: it can be reversed, and its invoice stays as it is."""
    row = send(desk)
    desk.post("BILL_PAYMENT", push())
    payment = desk.repository.find(Key.RECEIPT, ("174379", RECEIPT))
    refund = desk.gateway.refund(payment.id, 30)
    assert (TransactionType.REVERSAL, payment.id) == (refund.transaction_type, refund.parent_id)
    assert InvoiceStatus.PAID == desk.gateway.invoice(row).status


@pytest.mark.parametrize("copies", [1, 3])
def test_an_acknowledgement_that_fails_is_tried_again(desk, copies):
    """It undoes nothing and is tried by recovery, up to five times in all; then it is left."""
    desk.daraja.answers["AcknowledgeBillPayment"] = NotSent("no connection")
    row = send(desk)
    for _ in range(copies):
        desk.post("BILL_PAYMENT", push())
    assert (InvoiceStatus.PAID, [1]) == (
        desk.gateway.invoice(row).status,
        list(desk.gateway.invoice(row).unacknowledged.values()),
    )
    for _ in range(20):
        desk.recover(3600 * 12)
    paid = desk.gateway.invoice(row)
    assert (5, {}, None) == (desk.daraja.count("AcknowledgeBillPayment"), dict(paid.unacknowledged), paid.next_check_at)
    assert ["invoice_created", "payment_confirmed", "invoice_paid"] == desk.names()


def test_an_acknowledgement_that_succeeds_at_the_second_try(desk):
    """Once it is taken it is not sent again."""
    desk.daraja.answers["AcknowledgeBillPayment"] = [OutcomeUnknown("lost"), BillManagerAnswer(rescode="200")]
    send(desk)
    desk.post("BILL_PAYMENT", push())
    for _ in range(5):
        desk.recover(3600)
    assert 2 == desk.daraja.count("AcknowledgeBillPayment")


# -- crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["payment_confirmed", "invoice_created", "invoice_paid"])
def test_a_process_that_dies_while_it_announces(desk, signal):
    """Whatever was being announced is announced by the sweep, and everything else once."""
    desk.daraja.answers["SendInvoice"] = OutcomeUnknown("so that creating is announced with the payment")
    row = send(desk)
    desk.receivers[signal] = [dies]
    with pytest.raises(Died):
        desk.post("BILL_PAYMENT", push())
    forget(desk, signal)
    desk.signals.clear()
    desk.recover(desk.settings.announce_lease + desk.settings.callback_lease + 1)
    desk.recover(600)
    order = ["payment_confirmed", "invoice_created", "invoice_paid"]
    assert order[order.index(signal) :] == desk.names()
    paid = desk.gateway.invoice(row)
    assert (InvoiceStatus.PAID, None, {}, 1) == (
        paid.status,
        paid.announce_until,
        dict(paid.unannounced),
        len(paid.payments),
    )
    assert 1 == desk.daraja.count("AcknowledgeBillPayment")


@pytest.mark.parametrize("amount", ["60", "100"])
def test_a_payment_that_is_announced_again_stays_with_its_invoice(desk, amount):
    """It is counted once, by the invoice that counted it first, although another one of the reference is open."""
    first, second = send(desk, "AUG"), send(desk, "SEP")
    desk.receivers["payment_confirmed"] = [dies]
    with pytest.raises(Died):
        desk.post("BILL_PAYMENT", push(amount=amount))
    forget(desk, "payment_confirmed")
    desk.recover(desk.settings.announce_lease + desk.settings.callback_lease + 1)
    payment = desk.repository.find(Key.RECEIPT, ("174379", RECEIPT))
    desk.gateway.announce(payment)
    found = [len(desk.gateway.invoice(row).payments) for row in (first, second)]
    assert ([1, 0], first.id) == (found, desk.gateway.get(payment).parent_id)


class DyingStore:
    """A repository whose process dies at its n-th operation, before or after that is done."""

    def __init__(self, inner, countdown, *, after):
        self.inner, self.countdown, self.after = inner, countdown, after

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        if not callable(method):
            return method

        def operation(*arguments, **keywords):
            self.countdown -= 1
            if self.countdown == 0 and not self.after:
                raise Died
            result = method(*arguments, **keywords)
            if self.countdown == 0:
                raise Died
            return result

        return operation


@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_dies_at_any_operation(repository, after):
    """Wherever it dies between the push and the last mark, the sweep makes one payment, one paid invoice, and signals."""
    died = 0
    for step in range(1, 60):
        desk = Desk(repository)
        desk.daraja.answers = dict.fromkeys(CALLS, BillManagerAnswer(rescode="200"))
        account = f"A-{step}-{after}"
        row = send(desk, f"E-{step}-{after}", account=account)
        callback = desk.post("BILL_PAYMENT", push(f"R{step:09d}{after:d}", account=account), process=False)
        dying = Desk(DyingStore(repository, step, after=after))
        dying.clock = desk.clock
        dying.daraja, dying.signals = desk.daraja, desk.signals
        try:
            dying.gateway.process(callback)
        except Died:
            died += 1
        for _ in range(4):
            desk.recover(400)
        paid = desk.gateway.invoice(row)
        assert (InvoiceStatus.PAID, 1, None) == (paid.status, len(paid.payments), paid.announce_until), step
        for name in ("payment_confirmed", "invoice_paid"):
            assert 1 <= len(desk.fired(name)) <= 2, (step, name)
        if step > died:
            break
    assert 10 < died < 59


def test_signals_are_announced_once_while_another_worker_is_at_it(desk):
    """Who voids while invoice_created is being delivered leaves the signal to the one who is at it, in order."""

    def void(**arguments):
        desk.receivers.pop("invoice_created")
        desk.gateway.void_invoice(arguments["invoice"])

    desk.receivers["invoice_created"] = [void]
    row = send(desk)
    assert ["invoice_created", "invoice_voided"] == desk.names()
    assert (InvoiceStatus.VOIDED, None) == (row.status, row.announce_until)


# -- time ----------------------------------------------------------------------------------------------------------


def test_overdue_at_the_end_of_the_due_day_in_nairobi(desk):
    """One second before midnight it is not; at midnight the sweep marks it, and it can still be paid."""
    row = send(desk)
    midnight = datetime(2026, 12, 5, 21, tzinfo=UTC)
    assert midnight == row.due_at
    desk.clock.now = midnight - timedelta(seconds=1)
    desk.gateway.recover()
    assert InvoiceStatus.SENT == desk.gateway.invoice(row).status
    desk.clock.now = midnight
    assert 1 == desk.gateway.recover().dues
    assert InvoiceStatus.OVERDUE == desk.gateway.invoice(row).status
    assert not desk.gateway.recover()
    desk.post("BILL_PAYMENT", push(amount="60"))
    assert InvoiceStatus.OVERDUE == desk.gateway.invoice(row).status
    desk.post("BILL_PAYMENT", push("RJB53MYR1P", "40"))
    assert (InvoiceStatus.PAID, ["invoice_created", "payment_confirmed", "payment_confirmed", "invoice_paid"]) == (
        desk.gateway.invoice(row).status,
        desk.names(),
    )


def test_a_part_paid_invoice_falls_overdue(desk):
    """The due time is not forgotten over a payment."""
    row = send(desk, due=datetime(2026, 11, 22, 9, tzinfo=UTC))
    desk.post("BILL_PAYMENT", push(amount="60"))
    desk.recover(86_400)
    assert InvoiceStatus.OVERDUE == desk.gateway.invoice(row).status


# -- voiding -------------------------------------------------------------------------------------------------------


def test_an_invoice_is_voided_once(desk):
    """It is cancelled at Bill Manager, announced once, and takes no payment afterwards."""
    row = send(desk)
    for _ in range(2):
        assert InvoiceStatus.VOIDED == desk.gateway.void_invoice(row).status
    desk.post("BILL_PAYMENT", push())
    assert (1, ["invoice_created", "invoice_voided", "payment_confirmed"]) == (
        desk.daraja.count("CancelInvoice"),
        desk.names(),
    )
    assert {} == dict(desk.gateway.invoice(row).payments)


def test_a_paid_invoice_is_not_voided(desk):
    """Not even one that is paid in part: it says so before anything is sent."""
    row = send(desk)
    desk.post("BILL_PAYMENT", push(amount="1"))
    with pytest.raises(InvalidField, match="nothing is paid"):
        desk.gateway.void_invoice(row.id)
    assert 0 == desk.daraja.count("CancelInvoice")


def test_bill_managers_refusal_to_void(desk):
    """It knows of a payment that has not come yet: the invoice stays, and the error reaches the caller."""
    row = send(desk)
    words = "partially or fully paid invoices cannot be cancelled."
    desk.daraja.answers["CancelInvoice"] = RequestRefused(words, status=200, code="409")
    with pytest.raises(RequestRefused):
        desk.gateway.void_invoice(row)
    assert InvoiceStatus.SENT == desk.gateway.invoice(row).status


def test_a_void_whose_process_died(desk):
    """Bill Manager says that it is cancelled already: so it is voided."""
    row = send(desk)
    desk.daraja.answers["CancelInvoice"] = RequestRefused("Invoice is cancelled already.", status=200, code="409")
    assert InvoiceStatus.VOIDED == desk.gateway.void_invoice(row).status


def test_a_payment_that_comes_while_it_is_cancelled(desk):
    """Bill Manager cancelled it and took a payment all the same: it stays paid, and a person is told."""
    row = send(desk)

    def pay(operation):
        desk.post("BILL_PAYMENT", push())
        return BillManagerAnswer(rescode="200")

    desk.daraja.answers["CancelInvoice"] = pay
    assert InvoiceStatus.PAID == desk.gateway.void_invoice(row).status
    [(_, arguments)] = desk.fired("settlement_conflict")
    assert str(row.id) in arguments["problem"]


def test_many_are_voided_in_one_request(desk):
    """Those that are voided already are left out, one that is paid refuses all, and each is announced once."""
    rows = [send(desk, f"E-{number}", account=f"A-{number}") for number in range(4)]
    desk.gateway.void_invoice(rows[0])
    desk.post("BILL_PAYMENT", push(account="A-3"))
    with pytest.raises(InvalidField):
        desk.gateway.void_invoices(rows)
    found = desk.gateway.void_invoices([*rows[:3], rows[1].id])
    assert [InvoiceStatus.VOIDED] * 4 == [row.status for row in found]
    [operation] = [each for each in desk.daraja.sent if type(each).__name__ == "CancelInvoices"]
    assert (("E-1", "E-2"), 3) == (operation.external_references, len(desk.fired("invoice_voided")))


# -- coroutines and leases -----------------------------------------------------------------------------------------


def test_the_asynchronous_gateway(repository):
    """The same calls as coroutines end in the same rows and signals."""
    desk = Desk(repository)
    answer = BillManagerAnswer(rescode="200")

    class Client:
        """Answers as the scripted Daraja, awaited."""

        async def send(self, operation, *, account="default"):
            return answer

    gateway = AsyncGateway(desk.settings, repository, client=Client(), bus=desk, clock=desk.clock)

    async def story():
        await gateway.opt_in_bills(email="a@b.example", official_contact="0710000000")
        row = await gateway.send_invoice(**given())
        [other] = await gateway.send_invoices([Invoice(**given("E-2", account="A-2"))])
        callback = desk.post("BILL_PAYMENT", push(), process=False)
        await gateway.process(callback)
        await gateway.void_invoices([other])
        await gateway.void_invoice(other)
        await gateway.recover()
        return [(await gateway.invoice(each)).status for each in (row, other)]

    assert [InvoiceStatus.PAID, InvoiceStatus.VOIDED] == asyncio.run(story())
    assert ["invoice_created"] * 2 + ["payment_confirmed", "invoice_paid", "invoice_voided"] == desk.names()


def test_a_slow_receiver_keeps_the_lease(repository):
    """While a receiver of an invoice's signal runs, its lease is renewed, so that no sweep announces it again."""
    desk = Desk(repository, announce_lease=1.5)
    desk.daraja.answers = dict.fromkeys(CALLS, BillManagerAnswer(rescode="200"))
    desk.clock = desk.gateway.clock = lambda: datetime.now(UTC)
    gateway = Gateway(desk.settings, repository, client=desk.daraja, bus=desk, runner="inline", clock=desk.clock)
    swept = []

    def slow(**arguments):
        desk.receivers.clear()
        until = time.monotonic() + 2.2
        while time.monotonic() < until:
            swept.append(gateway.recover().dues)
            time.sleep(0.02)

    desk.receivers["invoice_created"] = [slow]
    gateway.send_invoice(**given(due=date(2999, 1, 1)))
    assert (["invoice_created"], {0}) == (desk.names(), set(swept))


def test_a_conflict_about_a_bill_payment_is_accepted(desk):
    """A push that may be one of several STK payments is settled by a person, and pays the invoice."""
    row = send(desk)
    payments = [desk.push(reference="A-1", idempotency_key=str(number)) for number in range(2)]
    callback = desk.post("BILL_PAYMENT", push())
    desk.recover(desk.settings.adoption_grace + 1)
    assert Disposition.CONFLICT == desk.repository.get_callback(callback).disposition
    settled = desk.gateway.accept(callback, transaction=payments[1])
    assert (Status.SUCCESS, RECEIPT, row.id) == (
        settled.status,
        settled.mpesa_receipt_number,
        settled.parent_id,
    )
    assert InvoiceStatus.PAID == desk.gateway.invoice(row).status
