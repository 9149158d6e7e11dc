"""The local Daraja: one function from request to response, with books of its own.

``daraja.handle(request)`` answers as Safaricom's sandbox does, so the same object serves as an HTTP transport in a test
and, with :class:`~mpesa_core.sandbox.server.DarajaServer`, as a real server on loopback. Callbacks go out through an
injected ``post``, when :meth:`LocalDaraja.deliver_due` or :meth:`LocalDaraja.run_until_idle` is called (the server
delivers by itself).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from mpesa_core.daraja.operation import HttpRequest, HttpResponse
from mpesa_core.errors import NotSent, OutcomeUnknown
from mpesa_core.sandbox import bodies, checks, credentials
from mpesa_core.sandbox.behaviour import Answer, Behaviour
from mpesa_core.sandbox.bills import BillInvoice, BillPaymentPush
from mpesa_core.sandbox.calls import PATHS, Calls
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Choices, Subject
from mpesa_core.sandbox.customers import Customer
from mpesa_core.sandbox.delivery import Courier, Post, post_over_http
from mpesa_core.sandbox.desk import Call, Desk
from mpesa_core.sandbox.disguises import disguise
from mpesa_core.sandbox.endings import Api
from mpesa_core.sandbox.ledger import Ledger
from mpesa_core.sandbox.mpesa import CustomerPayment, Mpesa, Registration
from mpesa_core.sandbox.orders import StandingOrder
from mpesa_core.sandbox.organisation import Organisation, Rules
from mpesa_core.sandbox.subjects import subject_of
from mpesa_core.values import money, phone_number

__all__ = ["LocalDaraja", "LostAnswer", "NoConnection", "SeenRequest"]


class LostAnswer(OutcomeUnknown):
    """The connection dropped before the answer came; to a client it is not known whether the request was carried out.

    Attributes:
        accepted: whether it was, which only a test may look at.
    """

    def __init__(self, *, accepted: bool) -> None:
        self.accepted = accepted
        super().__init__("The connection was closed without an answer.")


class NoConnection(NotSent):
    """The connection was refused, so that no byte of the request left."""


@attrs.frozen(kw_only=True)
class SeenRequest:
    """A request that arrived.

    Attributes:
        at: when, aware.
        api: which call; None for an unknown path.
        method, path: as they came.
        accepted: whether it was carried out (for a question: taken).
        status: the HTTP status that the caller got; None where the answer was lost.
        error_code: Daraja's error code, or None.
        originator_conversation_id, checkout_request_id: of the payment that it asked for or asked about, where known.
        fields: the body, without password and credential; a list stands under ``items``.
    """

    at: datetime
    api: Api | None
    method: str
    path: str = attrs.field(repr=False)
    accepted: bool
    status: int | None
    error_code: str | None = None
    originator_conversation_id: str | None = None
    checkout_request_id: str | None = attrs.field(default=None, repr=False)
    fields: Mapping[str, Any] = attrs.field(repr=False)


_LISTED: Final = (Api.BILLS_INVOICES, Api.BILLS_CHANGE_INVOICES, Api.BILLS_CANCEL_MANY)
_SECRETS: Final = ("Password", "SecurityCredential")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LocalDaraja(Courier):
    """Safaricom's Daraja and the M-PESA behind it, in memory. Safe to use from any number of threads.

    Args:
        organisations: who has a short code here; one, 174379 with the published sandbox passkey, where none is given.
        customers: about whom more is known than that they exist.
        consumer_key: the app's key; every organisation is reached with the same one.
        consumer_secret: the app's secret.
        behaviour: what becomes of a request where no rule says otherwise.
        magic: obey :data:`MAGIC_PHONES` and :data:`MAGIC_AMOUNTS` where no rule says otherwise.
        rules: the house rules.
        post: posts the callbacks. It is called without any lock held, so it may call back into this object.
        clock: the present moment, aware.
        sleep: waits for so many seconds, for ``Behaviour.answer_after``.
        seed: makes identifiers and receipts repeatable; None makes them random.
    """

    def __init__(
        self,
        organisations: Iterable[Organisation] = (),
        *,
        customers: Iterable[Customer] = (),
        consumer_key: str = "local-key",
        consumer_secret: str = "local-secret",  # noqa: S107 - the pretend M-PESA's own
        behaviour: Behaviour | None = None,
        magic: bool = False,
        rules: Rules | None = None,
        post: Post = post_over_http,
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        super().__init__(post=post, clock=clock)
        self.organisations = tuple(organisations) or (Organisation(),)
        self.consumer_key = consumer_key
        self.consumer_secret = consumer_secret
        self._sleep = sleep
        self._seen: list[SeenRequest] = []
        house_rules = rules or Rules()
        self._mpesa = Mpesa(self, self.organisations, customers, rules=house_rules, seed=seed)
        self._organisations = self._mpesa.organisations
        self._choices = Choices(behaviour or Behaviour(), magic=magic)
        self._desk = Desk(self._mpesa, self, self._choices, self._organisations, rules=house_rules)
        self._calls = Calls(self._desk, keys=(consumer_key, consumer_secret))

    @property
    def ledger(self) -> Ledger:
        """What really moved."""
        return self._mpesa.ledger

    # What an application's settings need.

    @property
    def certificate(self) -> bytes:
        """The certificate (PEM) that encrypts operators' passwords, for ``Settings.certificate``.

        Raises:
            ModuleNotFoundError: ``cryptography`` is not installed; use :attr:`security_credential`.
        """
        return credentials.certificate()

    @property
    def security_credential(self) -> str:
        """A ready-made SecurityCredential, good for every organisation here, for ``Settings.security_credential``."""
        return self._desk.credential

    def settings(self, base_url: str = "http://localhost", organisation: Organisation | None = None) -> dict[str, Any]:
        """Arguments for :class:`~mpesa_core.settings.Settings` with which an application is an organisation's.

        Args:
            base_url: where this Daraja is reached.
            organisation: whose; the first one by default.
        """
        owner = organisation or self.organisations[0]
        given: dict[str, Any] = {
            "environment": base_url,
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
            "short_code": owner.short_code,
            "till_number": owner.till_number,
            "passkey": owner.passkey,
            "initiator_name": owner.initiator_name,
        }
        if credentials.can_decrypt():
            return {**given, "initiator_password": owner.initiator_password, "certificate": self.certificate}
        return {**given, "security_credential": self.security_credential}

    # Choosing what happens.

    def when(
        self,
        behaviour: Behaviour,
        *,
        api: Api | str | Iterable[Api | str] | None = None,
        phone: str | None = None,
        amount: Decimal | int | str | None = None,
        reference: str | None = None,
        short_code: str | None = None,
        times: int | None = None,
    ) -> None:
        """Do this with the requests that match; a later rule goes before an earlier one.

        Args:
            behaviour: what to do. A rule whose ending a call does not know is passed over for that call.
            api: the calls; None for all that move money. For the payment that follows a C2B simulation say ``c2b``.
            phone: the customer's, in any form; for a question: of the payment that it is about.
            amount: in shillings.
            reference: the account reference; for a reversal the receipt; for a payout its OriginatorConversationID.
            short_code: the organisation's short code or till.
            times: how many requests; None for all. Requests that are refused do not count.
        """
        subject = self._subject(phone, amount, reference, short_code)
        with self.changed:
            self._choices.add([behaviour], subject, apis=api, times=times)

    def script(
        self,
        *behaviours: Behaviour,
        api: Api | str | Iterable[Api | str] | None = None,
        phone: str | None = None,
        amount: Decimal | int | str | None = None,
        reference: str | None = None,
        short_code: str | None = None,
    ) -> None:
        """Do these with the next requests that match, in turn; the arguments are those of :meth:`when`."""
        subject = self._subject(phone, amount, reference, short_code)
        with self.changed:
            self._choices.add(behaviours, subject, apis=api, times=1)

    def _subject(
        self, phone: str | None, amount: Decimal | int | str | None, reference: str | None, short_code: str | None
    ) -> Subject:
        return Subject(
            phone=None if phone is None else phone_number(phone),
            amount=None if amount is None else money(amount),
            reference=reference,
            short_code=None if short_code is None else self._organisations[short_code].short_code,
        )

    def forget_rules(self) -> None:
        """Take back every rule that :meth:`when` and :meth:`script` made."""
        with self.changed:
            self._choices.clear()

    # What happened.

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """Every request that arrived, in order; those whose connection was refused did not."""
        with self.changed:
            return tuple(self._seen)

    def count(
        self, api: Api | str, *, accepted: bool | None = None, originator_conversation_id: str | None = None
    ) -> int:
        """How many requests of a call arrived.

        Args:
            api: which call.
            accepted: only those that were, or were not, carried out.
            originator_conversation_id: only those of this payout.
        """
        return sum(
            seen.api == api
            and accepted in (None, seen.accepted)
            and originator_conversation_id in (None, seen.originator_conversation_id)
            for seen in self.requests
        )

    # What nobody asked for.

    def customer_pays(
        self,
        *,
        amount: Decimal | int | str,
        short_code: str | None = None,
        reference: str = "",
        phone: str = "254708374149",
        first_name: str = "JANE",
        behaviour: Behaviour | None = None,
    ) -> CustomerPayment:
        """A customer pays by himself: the validation URL is asked at once, and the confirmation is then on its way.

        Args:
            amount: shillings.
            short_code: paybill or till (or its store number); the first organisation's by default.
            reference: the account that he types, for a paybill.
            phone: his, in any form.
            first_name: his.
            behaviour: instead of what the rules for ``c2b`` say. An ending other than PAY means that he does not pay
                after all, although the validation was asked.

        Raises:
            KeyError: there is no such short code.
        """
        code = short_code or self.organisations[0].short_code
        organisation = self._organisations[code]
        till = code == organisation.till_number
        subject = self._subject(phone, amount, "" if till else reference, code)
        with self.changed:
            now = self.clock()
            chosen = behaviour or self._choices.choose(Api.C2B, subject, use=True)
        payment, _ = self._mpesa.take_c2b(
            organisation, now, subject, till=till, first_name=first_name, behaviour=chosen
        )
        return payment

    def customer_pays_bill(
        self,
        reference: str,
        amount: Decimal | int | str | None = None,
        *,
        short_code: str | None = None,
        phone: str | None = None,
        behaviour: Behaviour | None = None,
    ) -> CustomerPayment:
        """A customer pays an invoice, whole or in part; Bill Manager then posts it until it is acknowledged.

        Args:
            reference: the invoice's external reference, else its account reference (the oldest open one is paid).
            amount: shillings; what is left of the invoice by default.
            short_code: the biller's; the invoice's, or the first organisation's, by default.
            phone: the customer's, in any form; who is billed by default.
            behaviour: instead of what the rules for ``bill_payment`` say; its deliveries are the posts, each of which
                is tried again until it is acknowledged.

        Raises:
            KeyError: there is no such short code; or no such invoice, where no amount is given.
        """
        with self.changed:
            invoice = self._calls.bills.find(reference, short_code)
            if invoice is None and amount is None:
                raise KeyError(f"no invoice has the reference {reference!r}; say what amount is paid to that account")
            code = invoice.short_code if invoice is not None else short_code or self.organisations[0].short_code
            account = invoice.account_reference if invoice is not None else reference
            paid = money(invoice.amount - invoice.paid if amount is None and invoice is not None else amount)
            payer = phone_number(phone or (invoice.phone if invoice is not None else "254708374149"))
            subject = Subject(phone=payer, amount=paid, reference=account, short_code=code)
            return self._calls.bills.take(
                self._organisations[code],
                invoice,
                self.clock(),
                account=account,
                amount=paid,
                phone=payer,
                behaviour=behaviour or self._choices.choose(Api.BILL_PAYMENT, subject, use=True),
            )

    @property
    def invoices(self) -> tuple[BillInvoice, ...]:
        """Every invoice at Bill Manager, in the order in which they came."""
        with self.changed:
            return tuple(self._calls.bills.invoices.values())

    @property
    def bill_payments(self) -> tuple[BillPaymentPush, ...]:
        """Every payment that Bill Manager told its biller of, with what came of it."""
        with self.changed:
            return tuple(self._calls.bills.payments.values())

    @property
    def standing_orders(self) -> tuple[StandingOrder, ...]:
        """Every standing order that a customer agreed to."""
        with self.changed:
            self.settle(self.clock())
            return tuple(self._mpesa.standing_orders.values())

    def run_standing_order(
        self, reference: str | None = None, *, phone: str | None = None, behaviour: Behaviour | None = None
    ) -> CustomerPayment:
        """A standing order takes its payment, which is reported as any other: validated, and then confirmed.

        Args:
            reference: its id, name or account reference; None where there is one only.
            phone: the customer's, in any form, where several have such an order.
            behaviour: instead of what the rules for ``c2b`` say.

        Raises:
            LookupError: no standing order is meant, or several are.
        """
        payer = None if phone is None else phone_number(phone)
        found = [
            order
            for order in self.standing_orders
            if reference in (None, order.id, order.name, order.reference) and payer in (None, order.phone)
        ]
        if len(found) != 1:
            raise LookupError(f"expected one standing order with the reference {reference!r}, found {len(found)}")
        order = found[0]
        organisation = self._organisations[order.short_code]
        return self.customer_pays(
            amount=order.amount,
            short_code=organisation.till_number if order.till else order.short_code,
            reference=order.reference,
            phone=order.phone,
            first_name=self._mpesa.customer(order.phone).first_name,
            behaviour=behaviour,
        )

    def register_pull(self, short_code: str | None = None) -> None:
        """Register a short code for pulled transactions without a request; the first organisation's by default.

        Raises:
            KeyError: there is no such short code.
        """
        with self.changed:
            code = self._organisations[short_code or self.organisations[0].short_code].short_code
            self._calls.pull.registered.add(code)

    def register_urls(
        self,
        *,
        confirmation_url: str,
        validation_url: str,
        short_code: str | None = None,
        response_type: Literal["Completed", "Cancelled"] = "Completed",
        version: Literal["v1", "v2"] = "v2",
    ) -> None:
        """Register C2B URLs without a request; the version decides how callbacks show the phone: v1 hash, v2 mask."""
        organisation = self._organisations[short_code or self.organisations[0].short_code]
        with self.changed:
            self._mpesa.registered[organisation.short_code] = Registration(
                version=version,
                response_type=response_type,
                confirmation_url=confirmation_url,
                validation_url=validation_url,
            )

    def revoke_tokens(self) -> None:
        """End every access token."""
        with self.changed:
            self._calls.tokens.clear()

    # From request to response.

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request.

        Raises:
            LostAnswer: the connection drops without an answer.
            NoConnection: the connection is refused; the request is not even seen.
        """
        with self.changed:
            now = self.clock()
            self.settle(now)
            api, version = PATHS.get(request.path.partition("?")[0], (None, ""))
            headers = {name.lower(): value for name, value in request.headers.items()}
            call = Call(api=api, version=version, now=now, headers=headers)
            try:
                self._serve(call, request)
            except Refused as refusal:
                call.refusal = refusal
                request_id = self._mpesa.identifiers.request_id()
                call.response = bodies.error(refusal.status, refusal.code, refusal.message, request_id)
                if refusal.body is not None:
                    call.response = bodies.json_response(refusal.status, refusal.body)
            unseen = call.response is None and call.behaviour.answer is Answer.NO_CONNECTION and not call.accepted
            if not unseen:
                self._note(request, call)
            self.changed.notify_all()
        for posting in call.early:
            self.send(posting, posting.due)
        if call.behaviour.answer_after > 0:
            self._sleep(call.behaviour.answer_after)
        if call.response is None:
            raise NoConnection("The connection was refused.") if unseen else LostAnswer(accepted=call.accepted)
        return call.response

    def _serve(self, call: Call, request: HttpRequest) -> None:
        """Carry the request out, and answer it as its behaviour has it.

        Raises:
            Refused: Daraja does not take it. Then no rule was used up by it.
        """
        api = call.api
        if api is None:
            raise Refused(404, "404.001.01", "Resource not found")
        if request.method != ("GET" if api is Api.OAUTH else "POST"):
            raise Refused(405, "405.001", f"{request.method} Method Not Allowed")
        if api is not Api.OAUTH:
            call.fields = checks.body(request, listed=api in _LISTED)
        subject = subject_of(api, call.fields, self._mpesa)
        call.behaviour = self._choices.choose(api, subject, use=False)
        if call.behaviour.carried_out:
            call.response = self._calls.answer(api, call, request)
            call.accepted = True
        self._choices.choose(api, subject, use=True)
        if call.behaviour.answer is not Answer.NORMAL:
            token = (checks.header(request, "authorization") or "").partition(" ")[2]
            call.response = disguise(api, call, token=token, request_id=self._mpesa.identifiers.request_id())

    def _note(self, request: HttpRequest, call: Call) -> None:
        fields, order = call.fields, call.order
        originator = order.originator_conversation_id if order else checks.text(fields, "OriginatorConversationID")
        checkout = order.checkout_request_id if order else checks.text(fields, "CheckoutRequestID")
        self._seen.append(
            SeenRequest(
                at=call.now,
                api=call.api,
                method=request.method,
                path=request.path,
                accepted=call.accepted,
                status=call.response.status if call.response else None,
                error_code=call.refusal.code if call.refusal else None,
                originator_conversation_id=originator or None,
                checkout_request_id=checkout or None,
                fields={name: value for name, value in fields.items() if name not in _SECRETS},
            )
        )
