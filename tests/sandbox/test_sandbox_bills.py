"""Bill Manager: opt-ins, invoices, cancellations, and payments that are posted until they are acknowledged."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Delivery, Ending, Kind, Rules


@pytest.fixture
def biller(world):
    """A world whose paybill has opted in, and acknowledges what is posted to it."""
    world.opt_in()
    return world


@pytest.fixture
def acknowledges(biller, reply):
    """The same, and it acknowledges."""
    biller.replies["https://shop.example/pay/bills"] = reply(resmsg="Success", rescode="200")
    return biller


def said(answer):
    """HTTP status, rescode and sentence of an answer."""
    status, body = answer
    return status, body["rescode"], body.get("Status_Message", "")


def refused(answer):
    status, body = answer
    assert (200, "409") == (status, body["rescode"])
    return body["Status_Message"]


def acknowledgement(world, receipt, **changes):
    fields = {
        "paymentDate": "2026-10-06",
        "paidAmount": "800",
        "accountReference": "A-1",
        "transactionId": receipt,
        "phoneNumber": "0722000000",
        "fullName": "John Doe",
        "invoiceName": "School Fees",
        "externalReference": "E-1",
    }
    return world.bills("reconciliation", fields, **changes)


def test_opting_in(world):
    """It answers with a key, once; changes need an opt-in first."""
    assert "Biller is not registered" == refused(world.opt_in("change-optin-details"))
    assert "Biller is not registered" == refused(world.invoice())
    status, answer = world.opt_in()
    assert (200, "200", "Success") == (status, answer["rescode"], answer["resmsg"])
    assert answer["app_key"]
    assert "Biller already Registered" == refused(world.opt_in())
    changed = world.opt_in("change-optin-details", sendReminders=1, callbackurl=..., callbackUrl="https://x.example/b")
    assert (200, {"resmsg": "Success", "rescode": "200"}) == changed
    assert "Invalid consumer key or shortcode" == refused(world.opt_in(shortcode="600000"))


@pytest.mark.parametrize("field", ["email", "officialContact", "sendReminders", "callbackurl"])
def test_opt_in_fields_are_checked(world, field):
    """Each field is refused by its name, in Bill Manager's own form."""
    assert (200, "400", f"Bad Request - Invalid {field}") == said(world.opt_in(**{field: "x"}))


def test_an_invoice(biller):
    """It is kept as it was sent, once under its external reference."""
    assert (200, "200", "Invoice sent successfully") == said(biller.invoice())
    (invoice,) = biller.daraja.invoices
    assert ("E-1", "A-1", Decimal(800), Decimal(0), "174379", True) == (
        invoice.external_reference,
        invoice.account_reference,
        invoice.amount,
        invoice.paid,
        invoice.short_code,
        invoice.open,
    )
    assert "externalReference already exists." == refused(biller.invoice())
    assert 1 == len(biller.daraja.invoices)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("externalReference", "", "400"),
        ("billedFullName", ..., "400"),
        ("billedPeriod", ..., "400"),
        ("invoiceName", ..., "400"),
        ("accountReference", ..., "400"),
        ("amount", "2,000", "400"),
        ("amount", "0", "400"),
        ("billedPhoneNumber", "254722000000", "409"),
        ("dueDate", "12.10.2026", "409"),
        ("dueDate", "2026-13-01", "409"),
    ],
)
def test_invoice_fields_are_checked(biller, field, value, code):
    """Each field is refused by its name; phone and day are of the family of conflicts."""
    status, answer = biller.invoice(**{field: value})
    assert (200, code) == (status, answer["rescode"])
    assert field in answer["Status_Message"]
    assert () == biller.daraja.invoices


@pytest.mark.parametrize("items", [[{"itemName": "food"}], [{"amount": "1"}], ["food"], "food"])
def test_invoice_items_are_checked(biller, items):
    """A line needs a name and an amount."""
    assert "400" == biller.invoice(invoiceItems=items)[1]["rescode"]


def test_many_invoices(biller):
    """All are taken, or none: up to 1,000, each reference once, and none that is known."""
    many = [biller.invoice_fields(externalReference=f"B-{number}") for number in range(1000)]
    assert (200, "200", "Invoice sent successfully") == said(biller.bills("bulk-invoicing", many))
    assert 1000 == len(biller.daraja.invoices)
    fresh = [biller.invoice_fields(externalReference=f"C-{number}") for number in range(1001)]
    assert "400" == biller.bills("bulk-invoicing", fresh)[1]["rescode"]
    assert "400" == biller.bills("bulk-invoicing", [])[1]["rescode"]
    for pair in ([fresh[0], fresh[0]], [fresh[0], many[0]]):
        assert "externalReference already exists." == refused(biller.bills("bulk-invoicing", pair))
    assert 400 == biller.bills("bulk-invoicing", {})[0]
    assert 1000 == len(biller.daraja.invoices)


def test_cancelling(biller):
    """One or many are cancelled, what is unknown or cancelled is not, and a list is all or nothing."""
    for number in range(3):
        biller.invoice(externalReference=f"E-{number}")
    answer = biller.bills("cancel-single-invoice", {"externalReference": "E-0"})
    assert (200, "200", "Invoice cancelled successfuly.") == said(answer)
    assert [] == answer[1]["errors"]
    pair = [{"externalReference": "E-1"}, {"externalReference": "E-0"}]
    assert "Invoice is cancelled already." == refused(biller.bills("cancel-bulk-invoices", pair))
    assert [True, False, False] == [each.cancelled for each in biller.daraja.invoices]
    pair[1] = {"externalReference": "E-2"}
    assert "200" == biller.bills("cancel-bulk-invoice", pair)[1]["rescode"]
    assert [True] * 3 == [each.cancelled for each in biller.daraja.invoices]
    assert "Invoice does not exist." == refused(biller.bills("cancel-single-invoice", {"externalReference": "E-9"}))


@pytest.mark.parametrize("amount", [None, 1])
def test_what_is_paid_cannot_be_cancelled(biller, amount):
    """Neither in whole nor in part; nor changed."""
    biller.invoice()
    biller.daraja.customer_pays_bill("E-1", amount)
    text = "partially or fully paid invoices cannot be cancelled."
    assert text == refused(biller.bills("cancel-single-invoice", {"externalReference": "E-1"}))
    assert "partially or fully paid invoices cannot be changed." == refused(biller.invoice("change-invoice"))


def test_changing(biller):
    """An unpaid invoice is replaced, one or many; an unknown one is not."""
    biller.invoice()
    assert "200" == biller.invoice("change-invoice", amount="900")[1]["rescode"]
    assert "200" == biller.bills("change-invoices", [biller.invoice_fields(amount="950")])[1]["rescode"]
    assert [Decimal(950)] == [each.amount for each in biller.daraja.invoices]
    assert "Invoice does not exist." == refused(biller.invoice("change-invoice", externalReference="E-9"))


def test_a_bill_is_paid(acknowledges):
    """Money comes in to the account, and is posted once, as it is acknowledged."""
    acknowledges.invoice()
    payment = acknowledges.daraja.customer_pays_bill("E-1")
    acknowledges.daraja.run_until_idle()
    (entry,) = acknowledges.daraja.ledger.entries
    assert (Kind.C2B, Decimal(800), "A-1", "254722000000") == (entry.kind, entry.amount, entry.reference, entry.phone)
    expected = {
        "transactionId": payment.receipt,
        "paidAmount": "800",
        "msisdn": "254722000000",
        "dateCreated": "2026-10-06",
        "accountReference": "A-1",
        "shortCode": "174379",
    }
    assert [expected] == acknowledges.bodies("/bills")
    (pushed,) = acknowledges.daraja.bill_payments
    assert (1, True, False, "E-1") == (pushed.tries, pushed.acknowledged, pushed.receipted, pushed.external_reference)
    assert not acknowledges.daraja.invoices[0].open


def test_part_payments(acknowledges):
    """Parts add up, by either reference, until the invoice is paid; then the account's next one is."""
    acknowledges.invoice()
    acknowledges.invoice(externalReference="E-2")
    acknowledges.daraja.customer_pays_bill("E-1", "300.50")
    acknowledges.daraja.customer_pays_bill("A-1", 100)
    acknowledges.daraja.customer_pays_bill("A-1")
    acknowledges.daraja.customer_pays_bill("A-1", 10)
    acknowledges.daraja.run_until_idle()
    assert [Decimal(800), Decimal(10)] == [each.paid for each in acknowledges.daraja.invoices]
    assert ["300.50", "100", "399.50", "10"] == [each["paidAmount"] for each in acknowledges.bodies("/bills")]


def test_a_payment_without_an_invoice(acknowledges):
    """A customer may pay to any account; what he pays must then be said."""
    acknowledges.daraja.customer_pays_bill("OTHER", 5, phone="0711111111")
    acknowledges.daraja.run_until_idle()
    assert ("OTHER", "254711111111") == tuple(
        acknowledges.bodies("/bills")[0][name] for name in ("accountReference", "msisdn")
    )
    with pytest.raises(KeyError, match="say what amount"):
        acknowledges.daraja.customer_pays_bill("OTHER")


@pytest.mark.parametrize(
    "answer", [500, lambda reply: reply(rescode="500"), lambda reply: reply(), lambda reply: 200, OSError]
)
def test_it_is_posted_five_times(biller, reply, answer):
    """Until it is acknowledged with rescode "200" it comes again, a minute later each time, and then no more."""
    biller.invoice()

    def respond(body):
        if answer is OSError:
            raise ConnectionRefusedError
        return answer(reply) if callable(answer) else answer

    biller.replies["https://shop.example/pay/bills"] = respond
    biller.daraja.customer_pays_bill("E-1")
    posted = biller.daraja.run_until_idle()
    assert [0, 60, 120, 180, 240] == [(each.at - posted[0].at).total_seconds() for each in posted]
    assert 1 == len({body for _, body in biller.received})
    (pushed,) = biller.daraja.bill_payments
    assert (5, False) == (pushed.tries, pushed.acknowledged)


def test_it_is_posted_until_it_is_acknowledged(make_world, reply):
    """The third try is acknowledged, and the last; how often and how fast are house rules."""
    world = make_world(rules=Rules(bill_tries=4, bill_retry_after=5))
    world.opt_in()
    answers = iter([500, 500])
    world.replies["https://shop.example/pay/bills"] = lambda body: next(answers, None) or reply(rescode=200)
    world.daraja.customer_pays_bill("ANY", 5)
    posted = world.daraja.run_until_idle()
    assert [0, 5, 10] == [(each.at - posted[0].at).total_seconds() for each in posted]
    assert world.daraja.bill_payments[0].acknowledged


def test_deliveries(acknowledges):
    """Twice, late, not at all, of another amount: as for any callback, and each of them is known to the ledger."""
    acknowledges.daraja.script(
        Behaviour(deliver=(Delivery(copies=2, delay=3),)),
        Behaviour(deliver=()),
        Behaviour(deliver=(Delivery(amount=Decimal(1)),)),
        Behaviour(deliver=(Delivery(raw=b"{"),)),
        api="bill_payment",
    )
    for amount in (10, 20, 30, 40):
        acknowledges.daraja.customer_pays_bill("ANY", amount)
    acknowledges.daraja.run_until_idle()
    assert [b'"1"', b"{", b'"10"', b'"10"'] == [
        next((text for text in (b'"10"', b'"1"') if text in body), body) for _, body in acknowledges.received
    ]
    assert Decimal(100) == acknowledges.daraja.ledger.total(Kind.C2B)


def test_he_does_not_pay_after_all(acknowledges):
    """Nothing moves and nothing is posted."""
    payment = acknowledges.daraja.customer_pays_bill("ANY", 5, behaviour=Behaviour(ending=Ending.NO_FUNDS))
    assert not payment.paid
    assert [] == acknowledges.daraja.run_until_idle()
    assert () == acknowledges.daraja.ledger.entries


def test_without_an_opt_in_nothing_is_posted(world):
    """The money comes in all the same."""
    assert world.daraja.customer_pays_bill("ANY", 5).paid
    assert [] == world.daraja.run_until_idle()
    assert 1 == len(world.daraja.ledger.entries)


def test_a_payment_is_acknowledged(acknowledges):
    """The biller's own acknowledgement is recorded, of a payment that there was, with its amount."""
    acknowledges.invoice()
    receipt = acknowledges.daraja.customer_pays_bill("E-1").receipt
    assert "Payment does not exist." == refused(acknowledgement(acknowledges, "RJB53MYR1N"))
    assert "Payment does not exist." == refused(acknowledgement(acknowledges, receipt, paidAmount="1"))
    assert not acknowledges.daraja.bill_payments[0].receipted
    assert (200, {"resmsg": "Success", "rescode": "200"}) == acknowledgement(acknowledges, receipt)
    assert acknowledges.daraja.bill_payments[0].receipted
    for field in ("paymentDate", "transactionId", "phoneNumber", "fullName", "invoiceName", "externalReference"):
        assert "400" == acknowledgement(acknowledges, receipt, **{field: ...})[1]["rescode"]


def test_two_billers(world):
    """The key in either header says whose invoice it is; a wrong one is nobody's."""
    keys = [world.opt_in()[1]["app_key"], world.opt_in(shortcode="600100")[1]["app_key"]]
    token = {"authorization": f"Bearer {world.token}", "content-type": "application/json"}
    import json

    for number, (header, key) in enumerate((("appKey", keys[0]), ("app_key", keys[1]), ("appKey", "wrong"))):
        body = json.dumps(world.invoice_fields(externalReference=f"K-{number}")).encode()
        world.raw("POST", "/v1/billmanager-invoice/single-invoicing", {**token, header: key}, body)
    assert ["174379", "600100"] == [each.short_code for each in world.daraja.invoices]
