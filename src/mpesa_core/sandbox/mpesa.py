"""What is behind Daraja: who is asked, what is decided, what moves, and what is reported about it.

:class:`Mpesa` is given orders that Daraja has accepted. Its methods are called with the courier's lock held, except
where they say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.behaviour import Behaviour, Delivery
from mpesa_core.sandbox.choices import Subject
from mpesa_core.sandbox.customers import Customer
from mpesa_core.sandbox.delivery import Courier, Outbox, Posted, Posting
from mpesa_core.sandbox.endings import ENDINGS, Api, Ending
from mpesa_core.sandbox.findings import payment_status
from mpesa_core.sandbox.identifiers import Identifiers
from mpesa_core.sandbox.ledger import Declined, Entry, Kind, Ledger
from mpesa_core.sandbox.orders import Order, StandingOrder
from mpesa_core.sandbox.organisation import Organisation, Rules
from mpesa_core.sandbox.reports import Reports

__all__ = ["CustomerPayment", "Mpesa", "Registration"]


@attrs.frozen(kw_only=True)
class CustomerPayment:
    """How a customer's own payment went.

    Attributes:
        receipt: its TransID; the application saw it at validation even where nothing was paid.
        paid: whether money moved; the confirmation is then on its way.
        code: the code that it was rejected or failed with, or None.
        validated: whether the application's own answer decided; None where it was not asked, False where it failed or
            was late, so that the registered ResponseType decided.
    """

    receipt: str
    paid: bool
    code: str | None = None
    validated: bool | None = None


@attrs.frozen(kw_only=True)
class Registration:
    """Where an organisation wants to be told of its customers' payments."""

    version: str
    response_type: str
    confirmation_url: str = attrs.field(repr=False)
    validation_url: str = attrs.field(repr=False)


class Mpesa:
    """The accounts, the prompts and the customers.

    Args:
        courier: takes the callbacks along, and has the lock and the clock.
        organisations: whose accounts there are.
        customers: about whom something is known.
        rules: the house rules.
        seed: of the identifiers.

    Attributes:
        ledger: what moved.
        identifiers: the source of receipts and ids.
        registered: the C2B URLs, by short code.
        pushes: STK pushes by CheckoutRequestID.
        prompts: the last push to each phone.
        originators: payouts, payments to businesses and reversals by OriginatorConversationID.
        organisations: by short code and till.
        customers: by phone number.
        standing_orders: by M-PESA's id.
    """

    def __init__(
        self,
        courier: Courier,
        organisations: Iterable[Organisation],
        customers: Iterable[Customer],
        *,
        rules: Rules,
        seed: int | None,
    ) -> None:
        self.rules = rules
        self.ledger = Ledger()
        self.identifiers = Identifiers(seed)
        self.registered: dict[str, Registration] = {}
        self.pushes: dict[str, Order] = {}
        self.prompts: dict[str, Order] = {}
        self.originators: dict[str, Order] = {}
        self.organisations: dict[str, Organisation] = {}
        self.customers = {customer.phone: customer for customer in customers}
        self.standing_orders: dict[str, StandingOrder] = {}
        self._by_receipt: dict[str, Order] = {}
        self._courier = courier
        self._reports = Reports(
            self.ledger, self.identifiers, customer=self.customer, business=self.public_name, rules=rules
        )
        for organisation in organisations:
            self.ledger.open(organisation.short_code, utility=organisation.utility, working=organisation.working)
            self.organisations[organisation.short_code] = organisation
            if organisation.till_number is not None:
                self.organisations[organisation.till_number] = organisation

    def customer(self, phone: str) -> Customer:
        """Who has that number; someone ordinary where nothing is known."""
        return self.customers.get(phone) or Customer(phone=phone)

    def public_name(self, code: str) -> str:
        """Number and name of a business, which may be one that has no books here."""
        organisation = self.organisations.get(code)
        return f"{code} - {organisation.name if organisation is not None else 'Another Business'}"

    def accept(self, order: Order) -> list[Posting]:
        """Take an order on, and decide it at its time.

        Returns:
            the callbacks that are to come before the answer; where there are such, it is decided at once.
        """
        if order.checkout_request_id:
            self.pushes[order.checkout_request_id] = self.prompts[order.phone] = order
        if order.timeout_url and order.api not in (Api.STATUS, Api.BALANCE):
            self.originators[order.originator_conversation_id] = order
        behaviour = order.behaviour
        wait = self.rules.decide_after if behaviour.after is None else behaviour.after
        if behaviour.after is None and behaviour.ending is Ending.EXPIRE and order.forced is None:
            wait = self.rules.prompt_lifetime
        due = order.at + timedelta(seconds=wait)

        def decide(at: datetime) -> list[Posted]:
            self._decide(order, at)
            return []

        if any(delivery.early for delivery in behaviour.deliver):
            return self._decide(order, order.at)
        self._courier.decisions.step(due, decide)
        return []

    def _decide(self, order: Order, at: datetime) -> list[Posting]:
        """Decide an order, move the money, and plan its callbacks; returns those that come before the answer."""
        behaviour = order.behaviour
        endings = ENDINGS[order.api]
        order.receipt = self.identifiers.receipt(at)
        certain = order.forced is not None or order.overruled is not None or behaviour.code is not None
        if behaviour.ending is Ending.NEVER and not certain:
            forged = [each for each in behaviour.deliver if each.says is not None or each.raw is not None]
            return self._plan(order, at, forged)
        if order.forced is not None:
            order.code, order.description = endings[order.forced]
        elif order.overruled is not None:
            order.code, order.description = order.overruled
        elif behaviour.code is not None:
            order.code, order.description = behaviour.code, behaviour.description or ""
        else:
            order.code, order.description = endings[behaviour.ending]
        if order.code == 0:
            try:
                self._carry_out(order, at)
            except Declined as declined:
                order.code, order.description = endings[declined.ending]
            else:
                self._tell_receiver(order, at)
        order.decided_at = at
        return self._plan(order, at, behaviour.deliver)

    def _carry_out(self, order: Order, at: datetime) -> None:
        if order.api in (Api.STATUS, Api.BALANCE):
            order.parameters = self._findings(order, at)
            return
        if order.standing_order is not None:
            self._agree(order, order.standing_order)
            return
        assert order.kind is not None
        entry = Entry(
            receipt=order.receipt,
            kind=order.kind,
            short_code=order.organisation.short_code,
            amount=order.amount,
            phone=order.phone,
            counterparty=order.counterparty,
            reference=order.reference,
            at=at,
            checkout_request_id=order.checkout_request_id or None,
            originator_conversation_id=order.originator_conversation_id,
            conversation_id=order.conversation_id,
            original_receipt=order.reference if order.kind is Kind.REVERSAL else None,
        )
        if order.kind is Kind.REVERSAL:
            self.ledger.give_back(entry)
        else:
            self.ledger.transfer(entry, source=order.source, target=order.target, charge=order.charge)
        self._by_receipt[order.receipt] = order

    def _agree(self, order: Order, wanted: StandingOrder) -> None:
        """The customer agrees to a standing order.

        Raises:
            Declined: he has one of that name.
        """
        names = {each.name for each in self.standing_orders.values() if each.phone == wanted.phone}
        if wanted.name in names:
            raise Declined(Ending.DUPLICATE_NAME)
        self.standing_orders[order.receipt] = attrs.evolve(wanted, id=order.receipt)

    def _findings(self, order: Order, at: datetime) -> list[dict[str, Any]]:
        """The answer to a question.

        Raises:
            Declined: nothing is known of that payment.
        """
        owner = order.organisation
        if order.api is Api.BALANCE:
            return bodies.balance_parameters(balances=self.ledger.balances(owner.short_code), moment=at)
        receipt = checks.text(order.fields, "TransactionID")
        entry = self.ledger.get(receipt) if receipt else None
        about = self._by_receipt.get(receipt) if receipt else self.originators.get(order.reference)
        if about is not None and entry is None:
            entry = self.ledger.get(about.receipt)
        owners = {entry.short_code} if entry is not None else set()
        if about is not None:
            owners.add(about.organisation.short_code)
        if owners != {owner.short_code}:
            raise Declined(Ending.UNKNOWN_RECEIPT)
        return payment_status(owner, entry, about, customer=self.customer, business=self.public_name)

    def _plan(self, order: Order, at: datetime, deliveries: Sequence[Delivery]) -> list[Posting]:
        behaviour = order.behaviour
        last = at + timedelta(seconds=max((each.delay for each in deliveries), default=0.0))
        if behaviour.also_c2b == "before":
            self._plan_c2b_report(order, at)
        if behaviour.queue_timeout == "before":
            self._plan_notice(order, at)
        early = Outbox()
        for delivery in deliveries:
            outbox = early if delivery.early else self._courier.outbox
            body = self._reports.callback(order, delivery, at)
            for _ in range(delivery.copies):
                outbox.post(
                    at if delivery.early else at + timedelta(seconds=delivery.delay),
                    order.url,
                    body,
                    about=f"{order.api} result" if order.timeout_url else f"{order.api} callback",
                    correlation=order.checkout_request_id or order.request_id or order.conversation_id,
                )
        if behaviour.queue_timeout == "after":
            self._plan_notice(order, last)
        if behaviour.also_c2b == "after":
            self._plan_c2b_report(order, last)
        self._courier.changed.notify_all()
        return early.take_all_postings()

    def _plan_notice(self, order: Order, due: datetime) -> None:
        """The queue timeout notice: the request itself, sent back, or the Result that some SDKs expect instead."""
        if not order.timeout_url:
            return
        body: Mapping[str, Any] = order.fields
        if order.behaviour.queue_timeout_as_result:
            body = bodies.timeout_result(
                originator_conversation_id=order.originator_conversation_id,
                conversation_id=order.conversation_id,
                transaction_id=self.identifiers.dummy_receipt(due),
            )
        self._courier.outbox.post(
            due,
            order.timeout_url,
            bodies.dumps(body),
            about=f"{order.api} queue timeout",
            correlation=order.conversation_id,
        )

    def _plan_c2b_report(self, order: Order, due: datetime) -> None:
        owner = order.organisation
        registration = self.registered.get(owner.short_code)
        if order.api is not Api.STK_PUSH or order.code != 0 or registration is None:
            return
        till = checks.text(order.fields, "TransactionType") == "CustomerBuyGoodsOnline"
        body = self._c2b_body(
            owner,
            registration,
            due,
            receipt=order.receipt,
            amount=order.amount,
            phone=order.phone,
            reference="" if till else order.reference,
            till=till,
            first_name="JANE",
            third_party_id="",
            confirmed=True,
        )
        url = registration.confirmation_url
        self._courier.outbox.post(due, url, bodies.dumps(body), about="c2b confirmation", correlation=order.receipt)

    def _tell_receiver(self, order: Order, at: datetime) -> None:
        """A business that is paid by another one, and has registered its URLs, hears of it as of any payment."""
        target, payer = order.target, order.organisation
        registration = self.registered.get(target.short_code) if target is not None else None
        if order.api is not Api.B2B or target is None or registration is None or target.short_code == payer.short_code:
            return
        body = bodies.c2b(
            transaction_type="Organization To Organization Transfer",
            receipt=order.receipt,
            moment=at,
            amount=order.amount,
            short_code=target.short_code,
            reference=order.reference,
            balance=self.ledger.balances(target.short_code).utility,
            third_party_id="",
            msisdn=payer.short_code,
            first_name=payer.name,
        )
        url = registration.confirmation_url
        self._courier.outbox.post(at, url, bodies.dumps(body), about="c2b confirmation", correlation=order.receipt)

    def _c2b_body(
        self,
        organisation: Organisation,
        registration: Registration,
        at: datetime,
        *,
        receipt: str,
        amount: Decimal,
        phone: str,
        reference: str,
        till: bool,
        first_name: str,
        third_party_id: str,
        confirmed: bool,
    ) -> dict[str, Any]:
        kind = "Customer Merchant Payment" if till else "Pay Bill"
        return bodies.c2b(
            transaction_type=kind if confirmed else "",
            receipt=receipt,
            moment=at,
            amount=amount,
            short_code=organisation.short_code,
            reference=reference,
            balance=self.ledger.balances(organisation.short_code).utility if confirmed else None,
            third_party_id=third_party_id,
            msisdn=bodies.hashed_phone(phone) if registration.version == "v1" else bodies.masked_phone(phone),
            first_name=first_name,
        )

    def take_c2b(
        self,
        organisation: Organisation,
        at: datetime,
        subject: Subject,
        *,
        till: bool,
        first_name: str,
        behaviour: Behaviour,
    ) -> tuple[CustomerPayment, list[Posted]]:
        """A customer's own payment, and the validation that was posted for it.

        Called without the lock held: the validation URL is asked in between.
        """
        with self._courier.changed:
            registration = self.registered.get(organisation.short_code)
            receipt = self.identifiers.receipt(at)
        amount, phone, reference = subject.amount or Decimal(0), subject.phone or "", subject.reference or ""
        told: dict[str, Any] = {
            "receipt": receipt,
            "amount": amount,
            "phone": phone,
            "reference": reference,
            "till": till,
            "first_name": first_name,
        }
        validations: list[Posted] = []
        validated, third_party_id = None, ""
        if registration is not None and organisation.external_validation:
            body = self._c2b_body(organisation, registration, at, **told, third_party_id="", confirmed=False)
            code, third_party_id = self._validate(registration, receipt, bodies.dumps(body), at, validations)
            validated = code is not None
            rejected = registration.response_type == "Cancelled" if code is None else code != "0"
            if rejected:
                return CustomerPayment(receipt=receipt, paid=False, code=code, validated=validated), validations
        if behaviour.ending is not Ending.PAY or behaviour.code not in (None, 0):
            code = str(behaviour.code) if behaviour.code is not None else None
            return CustomerPayment(receipt=receipt, paid=False, code=code, validated=validated), validations
        with self._courier.changed:
            self.ledger.receive(
                Entry(
                    receipt=receipt,
                    kind=Kind.C2B,
                    short_code=organisation.short_code,
                    amount=amount,
                    phone=phone,
                    reference=reference,
                    at=at,
                    originator_conversation_id=self.identifiers.request_id(),
                    conversation_id=self.identifiers.conversation_id(at),
                )
            )
            for delivery in behaviour.deliver if registration is not None else ():
                assert registration is not None
                changed = {**told, "amount": delivery.amount or amount, "receipt": delivery.receipt or receipt}
                body = self._c2b_body(
                    organisation, registration, at, **changed, third_party_id=third_party_id, confirmed=True
                )
                raw = bodies.dumps(body) if delivery.raw is None else delivery.raw
                for _ in range(delivery.copies):
                    due = at + timedelta(seconds=delivery.delay)
                    url = registration.confirmation_url
                    self._courier.outbox.post(due, url, raw, about="c2b confirmation", correlation=receipt)
            self._courier.changed.notify_all()
        return CustomerPayment(receipt=receipt, paid=True, validated=validated), validations

    def _validate(
        self, registration: Registration, receipt: str, body: bytes, at: datetime, validations: list[Posted]
    ) -> tuple[str | None, str]:
        """The application's answer to a validation: code and ThirdPartyTransID; no code where it failed or was late."""
        plan = Outbox()
        plan.post(at, registration.validation_url, body, about="c2b validation", correlation=receipt)
        before = self._courier.clock()
        posted, answer = self._courier.send(plan.take_all_postings()[0], at)
        validations.append(posted)
        late = (self._courier.clock() - before).total_seconds() > self.rules.validation_deadline
        if late or answer is None or answer.status != 200:
            return None, ""
        try:
            parsed = json.loads(answer.body, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None, ""
        code = parsed.get("ResultCode") if isinstance(parsed, dict) else None
        if not isinstance(code, (str, int)) or isinstance(code, bool):
            return None, ""
        return str(code), checks.text(parsed, "ThirdPartyTransID")
