"""Invoices and subscriptions at the front door: the calls that :class:`~mpesa_core.gateway.Gateway` has for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from mpesa_core.daraja.bills import BillItem, BillManagerAnswer, Invoice
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.ratiba import Frequency
from mpesa_core.errors import ConfigurationError
from mpesa_core.payments.invoices import InvoiceRecord
from mpesa_core.payments.subscriptions import SubscriptionRecord, SubscriptionStatus
from mpesa_core.repository.protocol import InvoiceRepository, SubscriptionRepository, missing_operations
from mpesa_core.routes import callback_urls
from mpesa_core.settings import Settings
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Engine
from mpesa_core.settlement.invoicing import Invoicing, Progress
from mpesa_core.settlement.subscribing import Subscribing
from mpesa_core.values import row_id

__all__ = ["AsyncDuesGateway", "DuesDesk", "DuesGateway", "keeps"]

T = TypeVar("T")
IdentifiedInvoice = InvoiceRecord | UUID | str
"""An invoice: its row, its id, or its id as text."""
IdentifiedSubscription = SubscriptionRecord | UUID | str
"""A subscription: its row, its id, or its id as text."""

_OPTIONAL: Final = {"invoices": InvoiceRepository, "subscriptions": SubscriptionRepository}


def keeps(repository: object) -> dict[str, bool]:
    """Whether a repository keeps invoices, and subscriptions; what the engine is told."""
    return {kind: not missing_operations(repository, protocol) for kind, protocol in _OPTIONAL.items()}


class DuesDesk:
    """What both gateways share: the procedures, before anybody runs them."""

    settings: Settings
    engine: Engine
    _store: object
    new_id: Callable[[], UUID]
    _account_name: str

    @abstractmethod
    def _fixed_token(self, product: str) -> str | None: ...

    def _invoicing(self) -> Invoicing:
        self._require("invoices")
        return Invoicing(self.engine, self.new_id)

    def _subscribing(self) -> Subscribing:
        self._require("subscriptions")
        return Subscribing(self.engine, self.new_id)

    def _require(self, kind: str) -> None:
        missing = missing_operations(self._store, _OPTIONAL[kind])
        if missing:
            problem = (
                f"repository: {type(self._store).__name__} keeps no {kind}: it lacks {', '.join(missing)}; give it "
                f"those operations ({_OPTIONAL[kind].__name__}), or use MemoryRepository or SqliteRepository"
            )
            raise ConfigurationError([problem])

    def _opt_in_bills(self, change: bool, **given: Any) -> Procedure[BillManagerAnswer]:
        url = callback_urls(self.settings, CallbackType.BILL_PAYMENT, self._fixed_token("bills"))
        invoicing = Invoicing(self.engine, self.new_id)  # keeps nothing: who keeps no invoices gets the payments too
        return invoicing.opt_in(self._account_name, change=change, callback_url=url, **given)

    def _send_invoice(self, host: dict[str, Any], **given: Any) -> Procedure[InvoiceRecord]:
        return self._invoicing().send_one(Invoice(**given), self._account_name, host)

    def _send_invoices(
        self, invoices: Iterable[Invoice], progress: Progress | None, host: dict[str, Any]
    ) -> Procedure[list[InvoiceRecord]]:
        return self._invoicing().send_many(tuple(invoices), self._account_name, host, progress)

    def _void_invoice(self, invoice: IdentifiedInvoice) -> Procedure[InvoiceRecord]:
        return self._invoicing().void(row_id(invoice, "invoice"))

    def _void_invoices(self, invoices: Iterable[IdentifiedInvoice]) -> Procedure[list[InvoiceRecord]]:
        return self._invoicing().void_many([row_id(each, "invoice") for each in invoices])

    def _read_invoice(self, invoice: IdentifiedInvoice) -> Procedure[InvoiceRecord]:
        return self._invoicing().read(row_id(invoice, "invoice"))

    def _create_subscription(self, **given: Any) -> Procedure[SubscriptionRecord]:
        return self._subscribing().create(account=self._account_name, **given)

    def _record(
        self, subscription: IdentifiedSubscription, target: SubscriptionStatus
    ) -> Procedure[SubscriptionRecord]:
        return self._subscribing().record(row_id(subscription, "subscription"), target)

    def _read_subscription(self, subscription: IdentifiedSubscription) -> Procedure[SubscriptionRecord]:
        return self._subscribing().read(row_id(subscription, "subscription"))


class DuesGateway(DuesDesk):
    """The calls of :class:`~mpesa_core.gateway.Gateway` for invoices and subscriptions.

    A repository may leave either out (see :mod:`mpesa_core.repository.protocol`); its calls are then a
    ConfigurationError that says what is missing.
    """

    @abstractmethod
    def _run(self, procedure: Procedure[T]) -> T: ...

    # -- invoices --------------------------------------------------------------------------------------------------

    def opt_in_bills(
        self,
        *,
        email: str,
        official_contact: object,
        send_reminders: bool = True,
        logo: str | None = None,
        change: bool = False,
    ) -> BillManagerAnswer:
        """Register the account's paybill with Bill Manager, once; payments of invoices are then posted to us.

        Args:
            email: the business's, shown on invoices.
            official_contact: its phone number, any Kenyan form.
            send_reminders: whether customers are reminded, seven days and three days before the due day and on it.
            logo: an image, or None.
            change: change the details of an earlier opt-in.

        Returns:
            The answer; its ``app_key`` belongs into the settings (``bills_app_key``).

        Raises:
            InvalidField, ConfigurationError: nothing was sent.
            NotSent, DarajaError, UnexpectedAnswer: as any question.
        """
        return self._run(
            self._opt_in_bills(
                change,
                email=email,
                official_contact=official_contact,
                send_reminders=send_reminders,
                logo=logo,
            )
        )

    def send_invoice(
        self,
        *,
        external_reference: str,
        full_name: str,
        phone_number: object,
        period: str,
        invoice_name: str,
        due: date | datetime,
        account_reference: str,
        amount: object,
        items: Iterable[BillItem] = (),
        **host: Any,
    ) -> InvoiceRecord:
        """Send an invoice to a customer's phone, through Bill Manager.

        Args:
            external_reference: your own, unique. The same call again with it sends nothing and returns the same
                invoice, unless its fate is unknown (``pending``): then it is sent again, and arrives once.
            full_name: of whoever is billed.
            phone_number: of whoever is billed; any Kenyan form.
            period: what is billed for, such as "August 2021".
            invoice_name: as the customer sees it.
            due: a day in Nairobi, or an aware datetime; afterwards the invoice is overdue.
            account_reference: what the customer pays to at the paybill. A payment to it goes to the oldest open invoice
                that has it.
            amount: in shillings.
            items: its lines.
            host: fields of your own, kept with the invoice.

        Returns:
            The invoice, ``sent``; ``pending`` where the answer was lost.

        Raises:
            InvalidField, ConfigurationError: before anything is recorded or sent.
            IdempotencyMismatch: the reference belongs to an invoice with other details.
            RequestRefused: Bill Manager refused it; it is ``refused``, and may be sent again, mended.
            NotSent, TokenRefused, Busy: it was not sent; the same call again sends it.
        """
        return self._run(
            self._send_invoice(
                host,
                external_reference=external_reference,
                full_name=full_name,
                phone_number=phone_number,
                period=period,
                invoice_name=invoice_name,
                due=due,
                account_reference=account_reference,
                amount=amount,
                items=items,
            )
        )

    def send_invoices(
        self, invoices: Iterable[Invoice], *, progress: Progress | None = None, **host: Any
    ) -> list[InvoiceRecord]:
        """Send many invoices, up to 1,000 in each request. What was sent before is not sent again.

        Where Bill Manager refuses a request, its invoices are sent one by one, so that only those that are wrong are
        refused.

        Args:
            invoices: :class:`~mpesa_core.daraja.bills.Invoice` objects, with the arguments of :meth:`send_invoice`.
            progress: called with how many steps are done and how many there are: two for each invoice, one when it is
                recorded and one when its fate is.
            host: fields of your own, kept with each invoice.

        Returns:
            The invoices, in their order: ``sent``; ``refused``, with ``result_desc``; ``pending`` where an answer was
            lost.

        Raises:
            InvalidField: none, something that is no Invoice, or a reference twice; nothing was recorded.
            RequestRefused: not one of the first few was taken. The rest was not tried; call again.
            ConfigurationError, IdempotencyMismatch, NotSent, TokenRefused, Busy: as :meth:`send_invoice`. What was sent
                before stands, and the same call again goes on from there.
        """
        return self._run(self._send_invoices(invoices, progress, host))

    def void_invoice(self, invoice: IdentifiedInvoice) -> InvoiceRecord:
        """Cancel an invoice at Bill Manager; afterwards it cannot be paid. One that is voided already stays so.

        Args:
            invoice: its row or id.

        Raises:
            TransactionNotFound: no such invoice.
            InvalidField: something is paid of it, or Bill Manager never had it.
            RequestRefused: Bill Manager refused; also where it knows of a payment that has not reached us yet.
            NotSent, TokenRefused, Busy, UnexpectedAnswer: nothing is known to be cancelled; call again.
        """
        return self._run(self._void_invoice(invoice))

    def void_invoices(self, invoices: Iterable[IdentifiedInvoice]) -> list[InvoiceRecord]:
        """Cancel many invoices, up to 1,000 in each request; raises as :meth:`void_invoice`, before anything is sent.

        Args:
            invoices: their rows or ids.

        Returns:
            The invoices, in their order.
        """
        return self._run(self._void_invoices(invoices))

    def invoice(self, invoice: IdentifiedInvoice) -> InvoiceRecord:
        """The invoice as it is now.

        Raises:
            TransactionNotFound: no such invoice.
        """
        return self._run(self._read_invoice(invoice))

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def create_subscription(
        self,
        *,
        name: str,
        start: date,
        end: date,
        amount: object,
        frequency: Frequency | str,
        phone_number: object,
        account_reference: str,
        transaction_desc: str = "Payment",
        idempotency_key: str | None = None,
        **host: Any,
    ) -> SubscriptionRecord:
        """Ask a customer to agree to a standing order (M-PESA Ratiba), which pays the same amount again and again.

        Args:
            name: what the customer sees; M-PESA refuses a second one of the same name for a customer.
            start: the first day, in Nairobi.
            end: the last day.
            amount: of each payment, whole shillings.
            frequency: ``daily``, ``weekly``, ``monthly``, ...; see :class:`~mpesa_core.daraja.ratiba.Frequency`. The
                setting ``ratiba_edition`` says by which table it is sent.
            phone_number: who pays; any Kenyan form.
            account_reference: at most 12 characters; with the amount and the phone number it is what its payments are
                recognised by.
            transaction_desc: at most 13 characters.
            idempotency_key: yours; the same call again with it sends nothing and returns the same subscription.
            host: fields of your own, kept with the subscription.

        Returns:
            The subscription, ``pending``: a signal says what the customer answered.

        Raises:
            InvalidField, ConfigurationError: before anything is recorded or sent.
            IdempotencyMismatch: the key belongs to a subscription with other details.
            NotSent, RequestRefused, TokenRefused, Busy: it ``failed`` for certain.
        """
        return self._run(
            self._create_subscription(
                name=name,
                start=start,
                end=end,
                amount=amount,
                frequency=frequency,
                phone_number=phone_number,
                account_reference=account_reference,
                transaction_desc=transaction_desc,
                idempotency_key=idempotency_key,
                host=host,
            )
        )

    def record_disabled(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """Record that the customer disabled the standing order in the M-PESA menu; fires ``subscription_disabled``.

        M-PESA has no call that disables one, and does not report it: nothing is sent. A payment that is made afterwards
        shows that the customer has enabled it again.

        Raises:
            TransactionNotFound: no such subscription.
            IllegalTransition: it failed, ended, or was cancelled.
        """
        return self._run(self._record(subscription, SubscriptionStatus.DISABLED))

    def record_cancelled(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """Record that the customer cancelled the standing order in the M-PESA menu; fires ``subscription_cancelled``.

        M-PESA has no call that cancels one, and does not report it: nothing is sent.

        Raises:
            TransactionNotFound: no such subscription.
            IllegalTransition: it failed or ended.
        """
        return self._run(self._record(subscription, SubscriptionStatus.CANCELLED))

    def subscription(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """The subscription as it is now.

        Raises:
            TransactionNotFound: no such subscription.
        """
        return self._run(self._read_subscription(subscription))


class AsyncDuesGateway(DuesDesk):
    """The same calls with coroutines. Each is documented on :class:`DuesGateway`."""

    @abstractmethod
    async def _arun(self, procedure: Procedure[T]) -> T: ...

    async def opt_in_bills(
        self,
        *,
        email: str,
        official_contact: object,
        send_reminders: bool = True,
        logo: str | None = None,
        change: bool = False,
    ) -> BillManagerAnswer:
        """See :meth:`DuesGateway.opt_in_bills`."""
        return await self._arun(
            self._opt_in_bills(
                change,
                email=email,
                official_contact=official_contact,
                send_reminders=send_reminders,
                logo=logo,
            )
        )

    async def send_invoice(
        self,
        *,
        external_reference: str,
        full_name: str,
        phone_number: object,
        period: str,
        invoice_name: str,
        due: date | datetime,
        account_reference: str,
        amount: object,
        items: Iterable[BillItem] = (),
        **host: Any,
    ) -> InvoiceRecord:
        """See :meth:`DuesGateway.send_invoice`."""
        return await self._arun(
            self._send_invoice(
                host,
                external_reference=external_reference,
                full_name=full_name,
                phone_number=phone_number,
                period=period,
                invoice_name=invoice_name,
                due=due,
                account_reference=account_reference,
                amount=amount,
                items=items,
            )
        )

    async def send_invoices(
        self, invoices: Iterable[Invoice], *, progress: Progress | None = None, **host: Any
    ) -> list[InvoiceRecord]:
        """See :meth:`DuesGateway.send_invoices`."""
        return await self._arun(self._send_invoices(invoices, progress, host))

    async def void_invoice(self, invoice: IdentifiedInvoice) -> InvoiceRecord:
        """See :meth:`DuesGateway.void_invoice`."""
        return await self._arun(self._void_invoice(invoice))

    async def void_invoices(self, invoices: Iterable[IdentifiedInvoice]) -> list[InvoiceRecord]:
        """See :meth:`DuesGateway.void_invoices`."""
        return await self._arun(self._void_invoices(invoices))

    async def invoice(self, invoice: IdentifiedInvoice) -> InvoiceRecord:
        """See :meth:`DuesGateway.invoice`."""
        return await self._arun(self._read_invoice(invoice))

    async def create_subscription(
        self,
        *,
        name: str,
        start: date,
        end: date,
        amount: object,
        frequency: Frequency | str,
        phone_number: object,
        account_reference: str,
        transaction_desc: str = "Payment",
        idempotency_key: str | None = None,
        **host: Any,
    ) -> SubscriptionRecord:
        """See :meth:`DuesGateway.create_subscription`."""
        return await self._arun(
            self._create_subscription(
                name=name,
                start=start,
                end=end,
                amount=amount,
                frequency=frequency,
                phone_number=phone_number,
                account_reference=account_reference,
                transaction_desc=transaction_desc,
                idempotency_key=idempotency_key,
                host=host,
            )
        )

    async def record_disabled(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """See :meth:`DuesGateway.record_disabled`."""
        return await self._arun(self._record(subscription, SubscriptionStatus.DISABLED))

    async def record_cancelled(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """See :meth:`DuesGateway.record_cancelled`."""
        return await self._arun(self._record(subscription, SubscriptionStatus.CANCELLED))

    async def subscription(self, subscription: IdentifiedSubscription) -> SubscriptionRecord:
        """See :meth:`DuesGateway.subscription`."""
        return await self._arun(self._read_subscription(subscription))
