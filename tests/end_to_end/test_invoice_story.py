"""The invoice's story over HTTP: sent, paid in parts, acknowledged, overdue and voided, however M-PESA's posts come."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from mpesa_core.daraja.bills import BillItem, Invoice, SendInvoice
from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.payments.invoices import InvoiceStatus
from mpesa_core.sandbox import Answer, Behaviour
from tests.end_to_end.town import SERVERS, WAYS, Town


@pytest.fixture
def town(repository):
    with Town(repository) as town:
        town.gateway.opt_in_bills(email="shop@example.com", official_contact="0710000000")
        yield town


def given(town, reference, amount=800, **more):
    return {
        "external_reference": reference,
        "full_name": "Jane Doe",
        "phone_number": "0722000000",
        "period": "November 2026",
        "invoice_name": "School fees",
        "due": town.clock().date() + timedelta(days=7),
        "account_reference": f"A-{reference}",
        "amount": amount,
        "items": [BillItem(name="food", amount=amount - 100), BillItem(name="water", amount=100)],
        **more,
    }


@pytest.mark.parametrize("way", WAYS)
def test_an_invoice_is_paid_in_two_parts(town, way):
    """Whatever happens to the posts: two payments, one paid invoice, one signal of each kind, two receipts for the customer."""
    row = town.gateway.send_invoice(**given(town, "E-1"), pupil=12)
    assert InvoiceStatus.SENT == row.status
    town.daraja.customer_pays_bill("E-1", 300)
    town.deliver(way)
    assert InvoiceStatus.PART_PAID == town.gateway.invoice(row).status
    town.daraja.customer_pays_bill("E-1")
    town.deliver(way)
    paid = town.gateway.invoice(row)
    assert (InvoiceStatus.PAID, [Decimal(300), Decimal(500)], 12) == (
        paid.status,
        sorted(Decimal(amount) for amount in paid.payments.values()),
        town.own(paid, "pupil"),
    )
    assert {"invoice_created": 1, "payment_confirmed": 2, "invoice_paid": 1} == town.counts
    assert [True, True] == [push.receipted for push in town.daraja.bill_payments]
    assert [True, True] == [push.acknowledged for push in town.daraja.bill_payments] or way == "raced"
    assert 2 == town.daraja.count("bills_acknowledge")
    assert sum(entry.amount for entry in town.daraja.ledger.entries) == 800
    assert not town.gateway.recover()
    with pytest.raises(InvalidField, match="nothing is paid"):
        town.gateway.void_invoice(row)


@pytest.mark.parametrize("repository", SERVERS, indirect=True)
def test_an_invoice_on_a_server(town):
    """The same on PostgreSQL and MariaDB, where posts that race are at work at the same moment."""
    test_an_invoice_is_paid_in_two_parts(town, "raced")


@pytest.mark.parametrize("way", WAYS)
def test_a_payment_that_is_confirmed_by_c2b_as_well(town, way):
    """Bill Manager's push and the C2B confirmation of one receipt are one payment, whichever comes first."""
    row = town.gateway.send_invoice(**given(town, "E-1"))
    receipt = town.daraja.customer_pays_bill("E-1").receipt
    [push] = town.daraja.take_pending()
    confirmation = {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": f"{town.clock() + timedelta(hours=3):%Y%m%d%H%M%S}",
        "TransAmount": "800.00",
        "BusinessShortCode": "174379",
        "BillRefNumber": "A-E-1",
        "MSISDN": "2547 ***** 000",
        "FirstName": "JANE",
    }
    posts = [(town.base_url + "c2b/confirm/", dumps(confirmation)), (push.url, push.body)]
    for url, body in posts if way in WAYS[::2] else posts[::-1]:
        for _ in range(3 if way == "doubled" else 1):
            town.post(url, body)
    town.finish()
    assert InvoiceStatus.PAID == town.gateway.invoice(row).status
    assert {"invoice_created": 1, "payment_confirmed": 1, "invoice_paid": 1} == town.counts


def test_five_tries_in_vain_and_a_second_payment(town):
    """All five tries of a push are lost: the invoice waits; another payment of it is counted by itself."""
    row = town.gateway.send_invoice(**given(town, "E-1"))
    town.daraja.customer_pays_bill("E-1", 300)
    town.failures = 5
    town.daraja.run_until_idle()
    town.finish()
    assert (5, InvoiceStatus.SENT) == (town.daraja.bill_payments[0].tries, town.gateway.invoice(row).status)
    town.daraja.customer_pays_bill("E-1")
    town.deliver("as it should be")
    assert InvoiceStatus.PART_PAID == town.gateway.invoice(row).status


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_that_is_lost(town, accepted):
    """Sending it again sends it once: Bill Manager knows it by its reference."""
    town.daraja.script(Behaviour(answer=Answer.LOST, accepted=accepted), api="bills_invoice")
    assert InvoiceStatus.PENDING == town.gateway.send_invoice(**given(town, "E-1")).status
    assert InvoiceStatus.SENT == town.gateway.send_invoice(**given(town, "E-1")).status
    assert (["E-1"], {"invoice_created": 1}) == (
        [invoice.external_reference for invoice in town.daraja.invoices],
        town.counts,
    )


def test_many_invoices_whose_answer_is_lost(town):
    """A second call finds out which had arrived, and sends the rest."""
    invoices = [Invoice(**given(town, f"E-{number}")) for number in range(30)]
    town.daraja.script(Behaviour(answer=Answer.LOST), api="bills_invoices")
    assert {InvoiceStatus.PENDING} == {row.status for row in town.gateway.send_invoices(invoices[:10])}
    rows = town.gateway.send_invoices(invoices)
    assert ({InvoiceStatus.SENT}, 30) == ({row.status for row in rows}, len(town.daraja.invoices))
    assert {"invoice_created": 30} == town.counts


def test_many_invoices_of_which_one_is_wrong(town):
    """Another program has sent an invoice under one of the references: that one is refused, and the others arrive."""
    invoices = [Invoice(**given(town, f"E-{number}")) for number in range(5)]
    town.gateway.client.send(SendInvoice(invoice=invoices[2]))
    rows = town.gateway.send_invoices(invoices)
    assert ["sent", "sent", "refused", "sent", "sent"] == [row.status for row in rows]
    assert ("Conflict. externalReference already exists.", 5) == (rows[2].result_desc, len(town.daraja.invoices))


def test_voided_and_overdue(town):
    """One is cancelled at Bill Manager, one falls overdue and is paid late, and what is refused says why."""
    voided, overdue, *rest = town.gateway.send_invoices([Invoice(**given(town, f"E-{number}")) for number in range(4)])
    town.gateway.void_invoice(voided)
    town.gateway.void_invoices(rest)
    assert ["E-0", "E-2", "E-3"] == [each.external_reference for each in town.daraja.invoices if each.cancelled]
    town.skip(days=9)
    town.gateway.recover()
    assert InvoiceStatus.OVERDUE == town.gateway.invoice(overdue).status
    town.daraja.customer_pays_bill("E-1")
    town.deliver("as it should be")
    assert InvoiceStatus.PAID == town.gateway.invoice(overdue).status
    assert {"invoice_created": 4, "invoice_voided": 3, "payment_confirmed": 1, "invoice_paid": 1} == town.counts
    town.daraja.customer_pays_bill("E-1", 1)
    with pytest.raises(InvalidField):
        town.gateway.void_invoices([overdue])


def test_bill_manager_knows_of_a_payment_that_has_not_come(town):
    """Voiding is refused, and the payment is taken in when it comes."""
    row = town.gateway.send_invoice(**given(town, "E-1", due=date(2030, 1, 1)))
    town.daraja.customer_pays_bill("E-1", 5)
    with pytest.raises(RequestRefused, match="partially or fully paid"):
        town.gateway.void_invoice(row)
    town.deliver("as it should be")
    assert InvoiceStatus.PART_PAID == town.gateway.invoice(row).status
