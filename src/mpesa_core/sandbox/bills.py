"""Bill Manager: opt-ins, invoices, and payments that are posted until they are acknowledged.

Source: the "Bill Manager" page of Safaricom's portal. Where a reply's HTTP status is not documented it is 200, as the
page says that ``rescode`` is what counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import attrs

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, business_bodies, checks
from mpesa_core.sandbox.behaviour import Behaviour
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.delivery import Posted
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Entry, Kind
from mpesa_core.sandbox.mpesa import CustomerPayment
from mpesa_core.sandbox.organisation import Organisation

__all__ = ["PATHS", "BillInvoice", "BillPaymentPush", "Bills"]

_NAMES: Final[Mapping[str, Api]] = {
    "optin": Api.BILLS_OPT_IN,
    "change-optin-details": Api.BILLS_CHANGE_OPT_IN,
    "single-invoicing": Api.BILLS_INVOICE,
    "bulk-invoicing": Api.BILLS_INVOICES,
    "change-invoice": Api.BILLS_CHANGE_INVOICE,
    "change-invoices": Api.BILLS_CHANGE_INVOICES,
    "cancel-single-invoice": Api.BILLS_CANCEL,
    "cancel-bulk-invoices": Api.BILLS_CANCEL_MANY,
    "cancel-bulk-invoice": Api.BILLS_CANCEL_MANY,
    "reconciliation": Api.BILLS_ACKNOWLEDGE,
}
_PREFIX: Final = "/v1/billmanager-invoice"
PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    f"{prefix}/{name}": (api, "v1") for prefix in (_PREFIX, _PREFIX * 2) for name, api in _NAMES.items()
}
"""Under the documented prefix and, as a go-live mail lists them, under the doubled one."""

_MOST_INVOICES: Final = 1000
_LINE: Final = r"[^\x00-\x1f]{1,100}"
_PHONE: Final = r"0[17]\d{8}"
_DUE: Final = r"(\d{4}-\d\d-\d\d)( \d\d:\d\d:\d\d(\.\d+)?)?"


@attrs.frozen(kw_only=True)
class BillInvoice:
    """An invoice at Bill Manager.

    Attributes:
        external_reference: the biller's own, unique.
        short_code: the biller's.
        account_reference: what the customer pays to.
        amount, paid: shillings: what is asked for, and what was paid of it.
        phone: who is billed, ``07…``.
        cancelled: whether it was.
        fields: the invoice as it was sent.
    """

    external_reference: str
    short_code: str
    account_reference: str
    amount: Decimal
    paid: Decimal = Decimal(0)
    phone: str = attrs.field(repr=False)
    cancelled: bool = False
    fields: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def open(self) -> bool:
        """Whether something is left to pay."""
        return not self.cancelled and self.paid < self.amount


@attrs.frozen(kw_only=True)
class BillPaymentPush:
    """A payment that Bill Manager tells the biller of.

    Attributes:
        receipt: M-PESA's.
        external_reference: of the invoice that it pays; "" where it is none.
        account_reference: what was paid to.
        amount: shillings.
        tries: how often it was posted.
        acknowledged: whether the biller answered with rescode "200".
        receipted: whether the biller's own acknowledgement came, so that the customer gets a receipt.
    """

    receipt: str
    external_reference: str
    account_reference: str
    amount: Decimal
    tries: int = 0
    acknowledged: bool = False
    receipted: bool = False


@attrs.frozen(kw_only=True)
class _OptIn:
    app_key: str
    url: str = attrs.field(repr=False)


class Bills:
    """Keeps invoices, and posts payments.

    Attributes:
        invoices: by external reference.
        payments: by receipt.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._opt_ins: dict[str, _OptIn] = {}
        self.invoices: dict[str, BillInvoice] = {}
        self.payments: dict[str, BillPaymentPush] = {}
        handlers: Mapping[Api, Handler] = {
            Api.BILLS_OPT_IN: self._opt_in,
            Api.BILLS_CHANGE_OPT_IN: self._change_opt_in,
            Api.BILLS_INVOICE: self._send,
            Api.BILLS_INVOICES: self._send,
            Api.BILLS_CHANGE_INVOICE: self._change,
            Api.BILLS_CHANGE_INVOICES: self._change,
            Api.BILLS_CANCEL: self._cancel,
            Api.BILLS_CANCEL_MANY: self._cancel,
            Api.BILLS_ACKNOWLEDGE: self._acknowledge,
        }
        self.calls: Mapping[Api, Handler] = {api: _checked(handler) for api, handler in handlers.items()}

    # Calls.

    def _opt_in(self, call: Call) -> HttpResponse:
        code = self._biller(call).short_code
        opt_in = self._details(call, self._desk.mpesa.identifiers.conversation_id(call.now))
        if code in self._opt_ins:
            raise _conflict("Biller already Registered", "Action Forbidden")
        self._opt_ins[code] = opt_in
        return bodies.json_response(200, {"app_key": opt_in.app_key, "resmsg": "Success", "rescode": "200"})

    def _change_opt_in(self, call: Call) -> HttpResponse:
        code = self._biller(call).short_code
        known = self._opt_ins.get(code)
        if known is None:
            raise _conflict("Biller is not registered", "Action Forbidden")
        self._opt_ins[code] = self._details(call, known.app_key)
        return bodies.json_response(200, {"resmsg": "Success", "rescode": "200"})

    def _biller(self, call: Call) -> Organisation:
        code = checks.matching(call.fields, "shortcode", checks.SHORT_CODE)
        organisation = self._desk.organisations.get(code)
        if organisation is None or organisation.short_code != code:
            raise _conflict("Invalid consumer key or shortcode", "Action Forbidden")
        return organisation

    def _details(self, call: Call, app_key: str) -> _OptIn:
        fields = call.fields
        checks.matching(fields, "email", r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+")
        checks.matching(fields, "officialContact", _PHONE)
        checks.one_of(fields, "sendReminders", "0", "1")
        # One copy of the page spells it callbackUrl.
        url = checks.url(fields, "callbackUrl" if "callbackUrl" in fields else "callbackurl")
        return _OptIn(app_key=app_key, url=url)

    def _owner(self, call: Call) -> str:
        """The short code whose invoices are meant: the one of the key, else the one that opted in last."""
        key = call.headers.get("appkey") or call.headers.get("app_key")
        codes = [code for code, opt_in in self._opt_ins.items() if key in (None, opt_in.app_key)]
        if not codes:
            raise _conflict("Biller is not registered", "Action Forbidden")
        return codes[-1]

    def _invoices(self, call: Call) -> dict[str, BillInvoice]:
        code = self._owner(call)
        found: dict[str, BillInvoice] = {}
        for fields in _objects(call):
            invoice = _invoice(fields, code)
            if invoice.external_reference in found:
                raise _duplicate(invoice.external_reference)
            found[invoice.external_reference] = invoice
        return found

    def _send(self, call: Call) -> HttpResponse:
        invoices = self._invoices(call)
        for reference in invoices:
            if reference in self.invoices:
                raise _duplicate(reference)
        self.invoices.update(invoices)
        return _done("Invoice sent successfully")

    def _change(self, call: Call) -> HttpResponse:
        invoices = self._invoices(call)
        for reference in invoices:
            self._unpaid(reference, "changed")
        self.invoices.update(invoices)
        return _done("Invoice updated successfully")

    def _cancel(self, call: Call) -> HttpResponse:
        self._owner(call)
        wanted = [checks.matching(fields, "externalReference", _LINE) for fields in _objects(call)]
        invoices = [self._unpaid(reference, "cancelled") for reference in wanted]  # all of them, or none
        for invoice in invoices:
            self.invoices[invoice.external_reference] = attrs.evolve(invoice, cancelled=True)
        return _done("Invoice cancelled successfuly.", errors=[])  # the page's own spelling

    def _unpaid(self, reference: str, done: str) -> BillInvoice:
        invoice = self.invoices.get(reference)
        if invoice is None:
            raise _conflict("Invoice does not exist.", "Conflict", errors=[reference])
        if invoice.paid:
            raise _conflict(f"partially or fully paid invoices cannot be {done}.", "Conflict", errors=[])
        if invoice.cancelled:
            raise _conflict("Invoice is cancelled already.", "Conflict", errors=[reference])
        return invoice

    def _acknowledge(self, call: Call) -> HttpResponse:
        fields = call.fields
        self._owner(call)
        checks.matching(fields, "paymentDate", _DUE)
        amount = checks.amount(fields, "paidAmount", cents=True)
        receipt = checks.matching(fields, "transactionId", r"[A-Z0-9]{8,20}")
        checks.matching(fields, "phoneNumber", _PHONE)
        for name in ("accountReference", "fullName", "invoiceName", "externalReference"):
            checks.matching(fields, name, _LINE)
        payment = self.payments.get(receipt)
        if payment is None or payment.amount != amount:
            raise _conflict("Payment does not exist.", "Conflict", errors=[])
        self.payments[receipt] = attrs.evolve(payment, receipted=True)
        return bodies.json_response(200, {"resmsg": "Success", "rescode": "200"})

    # Payments.

    def find(self, reference: str, short_code: str | None) -> BillInvoice | None:
        """The invoice with that external reference, else the oldest open one with that account reference."""
        named = self.invoices.get(reference)
        if named is not None and short_code in (None, named.short_code):
            return named
        mine = (each for each in self.invoices.values() if short_code in (None, each.short_code))
        return next((each for each in mine if each.open and each.account_reference == reference), None)

    def take(
        self,
        organisation: Organisation,
        invoice: BillInvoice | None,
        at: datetime,
        *,
        account: str,
        amount: Decimal,
        phone: str,
        behaviour: Behaviour,
    ) -> CustomerPayment:
        """A customer's payment comes in, and is posted to the biller."""
        desk, receipt = self._desk, self._desk.mpesa.identifiers.receipt(at)
        if behaviour.ending is not Ending.PAY or behaviour.code not in (None, 0):
            return CustomerPayment(
                receipt=receipt, paid=False, code=None if behaviour.code is None else str(behaviour.code)
            )
        entry = Entry(
            receipt=receipt,
            kind=Kind.C2B,
            short_code=organisation.short_code,
            amount=amount,
            phone=phone,
            reference=account,
            at=at,
            originator_conversation_id=desk.mpesa.identifiers.request_id(),
            conversation_id=desk.mpesa.identifiers.conversation_id(at),
        )
        desk.mpesa.ledger.receive(entry)
        if invoice is not None:
            paid = attrs.evolve(invoice, paid=invoice.paid + amount)
            self.invoices[invoice.external_reference] = paid
        self.payments[receipt] = BillPaymentPush(
            receipt=receipt,
            external_reference=invoice.external_reference if invoice is not None else "",
            account_reference=account,
            amount=amount,
        )
        self._plan(entry, behaviour)
        return CustomerPayment(receipt=receipt, paid=True)

    def _plan(self, entry: Entry, behaviour: Behaviour) -> None:
        opt_in = self._opt_ins.get(entry.short_code)
        for delivery in behaviour.deliver if opt_in is not None else ():
            assert opt_in is not None
            told = business_bodies.bill_payment(
                receipt=delivery.receipt or entry.receipt,
                amount=delivery.amount or entry.amount,
                phone=entry.phone,
                moment=entry.at,
                reference=entry.reference,
                short_code=entry.short_code,
            )
            raw = bodies.dumps(told) if delivery.raw is None else delivery.raw
            for _ in range(delivery.copies):
                due = entry.at + timedelta(seconds=delivery.delay)
                self._post(due, opt_in.url, raw, entry.receipt, self._desk.rules.bill_tries)
        self._desk.courier.changed.notify_all()

    def _post(self, due: datetime, url: str, raw: bytes, receipt: str, tries_left: int) -> None:
        """Post a payment, and once more after a while where it is not acknowledged."""

        def then(posted: Posted, answer: HttpResponse | None) -> None:
            payment = self.payments[receipt]
            acknowledged = _acknowledged(answer)
            self.payments[receipt] = attrs.evolve(
                payment, tries=payment.tries + 1, acknowledged=payment.acknowledged or acknowledged
            )
            if not acknowledged and tries_left > 1:
                again = posted.at + timedelta(seconds=self._desk.rules.bill_retry_after)
                self._post(again, url, raw, receipt, tries_left - 1)

        self._desk.courier.outbox.post(due, url, raw, about="bill payment", correlation=receipt, then=then)


def _checked(handler: Handler) -> Handler:
    """The handler, with the usual refusal of a field in Bill Manager's own form."""

    def handle(call: Call) -> HttpResponse:
        try:
            return handler(call)
        except Refused as refused:
            if refused.body is not None or refused.code != "400.002.02":
                raise
            raise _answer(refused.message, "Bad Request", "400") from None

    return handle


def _objects(call: Call) -> Sequence[Mapping[str, Any]]:
    """The objects that a call is about: those of its list, or the one that it is."""
    listed = call.fields.get("items") if call.api is not None and call.api.endswith(("many", "invoices")) else None
    if listed is None:
        return [call.fields]
    if not 1 <= len(listed) <= _MOST_INVOICES:
        raise _answer(f"Expected 1 to {_MOST_INVOICES} invoices, got {len(listed)}", "Bad Request", "400")
    found: Sequence[Mapping[str, Any]] = listed
    return found


def _invoice(fields: Mapping[str, Any], code: str) -> BillInvoice:
    reference = checks.matching(fields, "externalReference", _LINE)
    for name in ("billedFullName", "billedPeriod", "invoiceName"):
        checks.matching(fields, name, _LINE)
    if not re.fullmatch(_PHONE, checks.text(fields, "billedPhoneNumber"), re.ASCII):
        raise _conflict("Invalid billedPhoneNumber", "Conflict", errors=[reference])
    day = re.fullmatch(_DUE, checks.text(fields, "dueDate"), re.ASCII)
    if day is None or not _is_day(day[1]):
        raise _conflict("Invalid dueDate", "Conflict", errors=[reference])
    items = fields.get("invoiceItems") or []
    for item in items if isinstance(items, list) else [{}]:
        item_fields = item if isinstance(item, Mapping) else {}
        checks.matching(item_fields, "itemName", _LINE)
        checks.amount(item_fields, "amount", cents=True)
    return BillInvoice(
        external_reference=reference,
        short_code=code,
        account_reference=checks.matching(fields, "accountReference", _LINE),
        amount=checks.amount(fields, "amount", cents=True),
        phone=checks.text(fields, "billedPhoneNumber"),
        fields=fields,
    )


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - only its form is looked at
    except ValueError:
        return False
    return True


def _acknowledged(answer: HttpResponse | None) -> bool:
    """Whether the biller answered with rescode "200"."""
    if answer is None or answer.status != 200:
        return False
    try:
        parsed = json.loads(answer.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and checks.text(parsed, "rescode") == "200"


def _done(words: str, **more: Any) -> HttpResponse:
    return bodies.json_response(200, {"Status_Message": words, "resmsg": "Success", "rescode": "200", **more})


def _answer(words: str, kind: str, code: str, *, errors: list[str] | None = None) -> Refused:
    body: dict[str, Any] = {"Status_Message": words, "resmsg": kind, "rescode": code}
    return Refused(200, code, words, body=body if errors is None else {**body, "errors": errors})


def _conflict(words: str, kind: str, *, errors: list[str] | None = None) -> Refused:
    return _answer(words, kind, "409", errors=errors)


def _duplicate(reference: str) -> Refused:
    return _conflict("externalReference already exists.", "Conflict", errors=[reference])
