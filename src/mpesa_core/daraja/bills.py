"""Bill Manager: invoices sent by text message, paid to the paybill, and acknowledged with a receipt.

Source: the "Bill Manager" page of Safaricom's developer portal. A merchant needs the product on the app (without it
every call is answered 401) and opts in once with a paybill. Customers then get reminders seven days and three days
before the due day, and on it. Each payment is posted to the ``callback_url`` of the opt-in (callback type
BILL_PAYMENT), up to five times; answer it, then send an :class:`AcknowledgeBillPayment`, so that the customer gets
the receipt.

Where the sources disagree, an argument decides: ``base_path`` (a go-live mail lists it doubled:
``/v1/billmanager-invoice/v1/billmanager-invoice``), and ``app_key`` with ``app_key_header`` (the page says that the key
of the opt-in goes into a header, and spells its name in two ways).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_acceptance
from mpesa_core.daraja.codec import dumps, to_wire, wire
from mpesa_core.daraja.literals import amount_text, day, line_of_text, local_phone
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import receipt, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import callback_url, flag, money, phone_number, to_nairobi

__all__ = [
    "BILLS_BASE_PATH",
    "AcknowledgeBillPayment",
    "BillItem",
    "BillManagerAnswer",
    "CancelInvoice",
    "CancelInvoices",
    "ChangeBillManagerOptIn",
    "ChangeInvoice",
    "ChangeInvoices",
    "Invoice",
    "OptInToBillManager",
    "SendInvoice",
    "SendInvoices",
    "acknowledge_bill_push",
]

BILLS_BASE_PATH = "/v1/billmanager-invoice"
_MOST_INVOICES = 1000


def acknowledge_bill_push() -> dict[str, str]:
    """The reply to a payment that is posted to the ``callback_url``; until it comes, M-PESA posts it again."""
    return {"resmsg": "Success", "rescode": "200"}


@attrs.frozen(kw_only=True)
class BillManagerAnswer:
    """It was done.

    Attributes:
        rescode: "200".
        resmsg: Bill Manager's word.
        status_message: its sentence, or "".
        app_key: of an opt-in: the key that later calls are to carry; else None.
    """

    rescode: str = attrs.field(metadata=wire("rescode"))
    resmsg: str = attrs.field(default="", metadata=wire("resmsg"))
    status_message: str = attrs.field(default="", metadata=wire("Status_Message"))
    app_key: str | None = attrs.field(default=None, repr=False, metadata=wire("app_key"))


def _base_path(value: object) -> str:
    text = value.rstrip("/") if isinstance(value, str) else ""
    if not re.fullmatch(r"(?:/[A-Za-z0-9_.\-]+)+", text):
        raise InvalidField("base_path", value, expected=f"a path such as {BILLS_BASE_PATH}")
    return text


def _header_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_\-]{1,64}", value):
        raise InvalidField("app_key_header", value, expected="the name of an HTTP header")
    return value


def _app_key(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,256}", value):
        raise InvalidField("app_key", "…", expected="the app_key of the opt-in's answer")
    return value


@attrs.frozen(kw_only=True)
class _BillManagerCall:
    """The base of every call.

    Attributes:
        base_path: the path that all calls have in common.
        app_key: the key that the opt-in was answered with, or None to send none.
        app_key_header: the header that carries it.
    """

    path: ClassVar[str]
    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    base_path: str = attrs.field(default=BILLS_BASE_PATH, converter=_base_path)
    app_key: str | None = attrs.field(default=None, converter=_app_key, repr=False)
    app_key_header: str = attrs.field(default="appKey", converter=_header_name)

    def _body(self, context: Context) -> Any:  # noqa: ARG002 - two of the calls need the account
        return to_wire(self)

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code (the two calls that opt in).
        """
        headers = {"Content-Type": "application/json"}
        if self.app_key is not None:
            headers[self.app_key_header] = self.app_key
        return HttpRequest(path=f"{self.base_path}/{self.path}", headers=headers, body=dumps(self._body(context)))

    def parse(self, response: HttpResponse) -> BillManagerAnswer:
        """The answer, whose ``rescode`` is what counts; raises as
        :func:`~mpesa_core.daraja.answers.parse_acceptance` says.
        """  # noqa: D205 - one sentence
        return parse_acceptance(
            response,
            BillManagerAnswer,
            moves_money=self.moves_money,
            code_name="rescode",
            accepted=frozenset({"200"}),
        )


def _email(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+", text) or len(text) > 254:
        raise InvalidField("email", value, expected="an e-mail address")
    return text


def _reminders(value: object) -> bool:
    return flag(value, "send_reminders")


def _contact(value: object) -> str:
    return local_phone(phone_number(value, "official_contact"))


def _logo(value: object) -> str | None:
    return None if value in (None, "") else line_of_text(value, "logo", longest=100_000)


def _url(value: object) -> str:
    return callback_url(value, "callback_url")


@attrs.frozen(kw_only=True)
class OptInToBillManager(_BillManagerCall):
    """Register the account's paybill with Bill Manager, once. The answer holds the ``app_key``: keep it.

    Attributes:
        email: the business's, shown on invoices.
        official_contact: its phone number, any Kenyan form.
        send_reminders: whether customers are reminded.
        logo: an image, as the page leaves open; or None.
        callback_url: where payments are posted (callback type BILL_PAYMENT).
        base_path, app_key, app_key_header: see the module.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    path: ClassVar[str] = "optin"

    email: str = attrs.field(converter=_email, metadata=wire("email"))
    official_contact: str = attrs.field(converter=_contact, repr=False, metadata=wire("officialContact"))
    send_reminders: bool = attrs.field(default=True, converter=_reminders)
    logo: str | None = attrs.field(default=None, converter=_logo, repr=False, metadata=wire("logo"))
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("callbackurl"))

    def _body(self, context: Context) -> Any:
        return {
            "shortcode": setting(context, "short_code", type(self).__name__),
            "sendReminders": "1" if self.send_reminders else "0",
            **to_wire(self),
        }


@attrs.frozen(kw_only=True)
class ChangeBillManagerOptIn(OptInToBillManager):
    """Change the details of the opt-in; arguments as there."""

    path: ClassVar[str] = "change-optin-details"

    def _body(self, context: Context) -> Any:
        return {**super()._body(context), "sendReminders": 1 if self.send_reminders else 0}


def _external(value: object) -> str:
    return line_of_text(value, "external_reference", longest=50)


def _full_name(value: object) -> str:
    return line_of_text(value, "full_name", longest=100)


def _phone(value: object) -> str:
    return local_phone(phone_number(value, "phone_number"))


def _period(value: object) -> str:
    return line_of_text(value, "period", longest=50)


def _invoice_name(value: object) -> str:
    return line_of_text(value, "invoice_name", longest=100)


def _account(value: object) -> str:
    return line_of_text(value, "account_reference", longest=50)


def _amount(value: object) -> Decimal:
    return money(value, "amount")


def _item_name(value: object) -> str:
    return line_of_text(value, "name", longest=100)


def _due(value: object) -> date:
    return value if isinstance(value, datetime) and value.tzinfo is not None else day(value, "due")


def _items(value: object) -> tuple[BillItem, ...]:
    items = tuple(value) if isinstance(value, Iterable) else ()
    if not isinstance(value, Iterable) or not all(isinstance(each, BillItem) for each in items):
        raise InvalidField("items", value, expected="BillItem objects, or none")
    return items


@attrs.frozen(kw_only=True)
class BillItem:
    """One line of an invoice.

    Attributes:
        name: what it is for.
        amount: in shillings.
    """

    name: str = attrs.field(converter=_item_name)
    amount: Decimal = attrs.field(converter=_amount)


@attrs.frozen(kw_only=True)
class Invoice:
    """An invoice.

    Attributes:
        external_reference: your own, unique: Bill Manager refuses a second invoice under it.
        full_name: of whoever is billed.
        phone_number: of whoever is billed; any Kenyan form, sent as 07….
        period: what is billed for, such as "August 2021".
        invoice_name: as the customer sees it.
        due: a day; or an aware datetime, sent in Nairobi's time.
        account_reference: what the customer pays to at the paybill.
        amount: in shillings.
        items: its lines, or none.

    Raises:
        InvalidField: at construction, a value that Bill Manager would refuse.
    """

    external_reference: str = attrs.field(converter=_external)
    full_name: str = attrs.field(converter=_full_name, repr=False)
    phone_number: str = attrs.field(converter=_phone, repr=False)
    period: str = attrs.field(converter=_period)
    invoice_name: str = attrs.field(converter=_invoice_name)
    due: date = attrs.field(converter=_due)
    account_reference: str = attrs.field(converter=_account)
    amount: Decimal = attrs.field(converter=_amount)
    items: tuple[BillItem, ...] = attrs.field(default=(), converter=_items)

    def wire_form(self) -> dict[str, Any]:
        """The invoice as the wire has it."""
        due = self.due
        return {
            "externalReference": self.external_reference,
            "billedFullName": self.full_name,
            "billedPhoneNumber": self.phone_number,
            "billedPeriod": self.period,
            "invoiceName": self.invoice_name,
            "dueDate": f"{to_nairobi(due):%Y-%m-%d %H:%M:%S}.00" if isinstance(due, datetime) else due.isoformat(),
            "accountReference": self.account_reference,
            "amount": amount_text(self.amount),
            "invoiceItems": [{"itemName": each.name, "amount": amount_text(each.amount)} for each in self.items],
        }


def _invoice(value: object) -> Invoice:
    if not isinstance(value, Invoice):
        raise InvalidField("invoice", value, expected="an Invoice")
    return value


def _invoices(value: Iterable[Invoice]) -> tuple[Invoice, ...]:
    invoices = tuple(_invoice(each) for each in value)
    _check_references("invoices", [each.external_reference for each in invoices])
    return invoices


def _references(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise InvalidField("external_references", value, expected="several references, in a list")
    references = tuple(line_of_text(each, "external_references", longest=50) for each in value)
    _check_references("external_references", references)
    return references


def _check_references(field: str, references: Iterable[str]) -> None:
    listed = list(references)
    if not 1 <= len(listed) <= _MOST_INVOICES:
        raise InvalidField(field, f"{len(listed)} of them", expected=f"1 to {_MOST_INVOICES}")
    twice = sorted({each for each in listed if listed.count(each) > 1}) if len(set(listed)) != len(listed) else []
    if twice:
        raise InvalidField(field, twice, expected="each external_reference once")


@attrs.frozen(kw_only=True)
class SendInvoice(_BillManagerCall):
    """Send one invoice.

    After :class:`~mpesa_core.errors.OutcomeUnknown` it may be sent again by hand, with the same ``external_reference``:
    a refusal as a duplicate then says that the first one arrived.

    Attributes:
        invoice: what is sent.
        base_path, app_key, app_key_header: see the module.
    """

    path: ClassVar[str] = "single-invoicing"
    moves_money: ClassVar[bool] = True  # the customer pays what is asked for: never ask twice by accident

    invoice: Invoice = attrs.field(converter=_invoice)

    def _body(self, context: Context) -> Any:  # noqa: ARG002 - see the base
        return self.invoice.wire_form()


@attrs.frozen(kw_only=True)
class ChangeInvoice(SendInvoice):
    """Replace an invoice that was sent. Not certain: one SDK lists the path, no page describes it."""

    path: ClassVar[str] = "change-invoice"


@attrs.frozen(kw_only=True)
class SendInvoices(_BillManagerCall):
    """Send up to 1,000 invoices at once.

    Attributes:
        invoices: what is sent.
        base_path, app_key, app_key_header: see the module.

    Raises:
        InvalidField: at construction, none or too many, or an ``external_reference`` twice.
    """

    path: ClassVar[str] = "bulk-invoicing"
    moves_money: ClassVar[bool] = True

    invoices: tuple[Invoice, ...] = attrs.field(converter=_invoices)

    def _body(self, context: Context) -> Any:  # noqa: ARG002 - see the base
        return [each.wire_form() for each in self.invoices]


@attrs.frozen(kw_only=True)
class ChangeInvoices(SendInvoices):
    """Replace invoices that were sent. Not certain: one SDK lists the path, no page describes it."""

    path: ClassVar[str] = "change-invoices"


@attrs.frozen(kw_only=True)
class CancelInvoice(_BillManagerCall):
    """Cancel an invoice; one that is paid, in whole or in part, is refused (``RequestRefused``, code 409).

    Attributes:
        external_reference: of the invoice.
        base_path, app_key, app_key_header: see the module.
    """

    path: ClassVar[str] = "cancel-single-invoice"

    external_reference: str = attrs.field(converter=_external, metadata=wire("externalReference"))


@attrs.frozen(kw_only=True)
class CancelInvoices(_BillManagerCall):
    """Cancel up to 1,000 invoices at once.

    The page calls the path ``cancel-bulk-invoices``, go-live mails ``cancel-bulk-invoice``: where yours says so, use a
    subclass with that ``path``.

    Attributes:
        external_references: of the invoices.
        base_path, app_key, app_key_header: see the module.
    """

    path: ClassVar[str] = "cancel-bulk-invoices"

    external_references: tuple[str, ...] = attrs.field(converter=_references)

    def _body(self, context: Context) -> Any:  # noqa: ARG002 - see the base
        return [{"externalReference": each} for each in self.external_references]


def _paid_on(value: object) -> date:
    return day(value, "paid_on")


def _transaction_id(value: object) -> str:
    return receipt(value, "transaction_id")


@attrs.frozen(kw_only=True)
class AcknowledgeBillPayment(_BillManagerCall):
    """Say that a payment was taken into your books, so that the customer gets the receipt.

    Attributes:
        transaction_id: the receipt of the payment that was posted to you.
        amount: what was paid, in shillings.
        paid_on: the day, or an aware datetime.
        account_reference: what was paid to.
        phone_number: who paid; any Kenyan form, sent as 07….
        full_name: of whoever paid.
        invoice_name: of the invoice.
        external_reference: of the invoice.
        base_path, app_key, app_key_header: see the module.
    """

    path: ClassVar[str] = "reconciliation"

    transaction_id: str = attrs.field(converter=_transaction_id, metadata=wire("transactionId"))
    amount: Decimal = attrs.field(converter=_amount)
    paid_on: date = attrs.field(converter=_paid_on)
    account_reference: str = attrs.field(converter=_account, metadata=wire("accountReference"))
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("phoneNumber"))
    full_name: str = attrs.field(converter=_full_name, repr=False, metadata=wire("fullName"))
    invoice_name: str = attrs.field(converter=_invoice_name, metadata=wire("invoiceName"))
    external_reference: str = attrs.field(converter=_external, metadata=wire("externalReference"))

    def _body(self, context: Context) -> Any:  # noqa: ARG002 - see the base
        return {"paymentDate": self.paid_on.isoformat(), "paidAmount": amount_text(self.amount), **to_wire(self)}
