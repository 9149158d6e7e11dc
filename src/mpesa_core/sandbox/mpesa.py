"""What is behind Daraja: who is asked, what is decided, what moves, and what is reported about it.

:class:`Mpesa` is given orders that Daraja has accepted. Its methods are called with the courier's lock held, except
where they say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import attrs

from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.behaviour import ENDINGS, Api, Behaviour, Delivery, Ending
from mpesa_core.sandbox.choices import Subject
from mpesa_core.sandbox.delivery import Courier, Outbox, Posted, Posting
from mpesa_core.sandbox.identifiers import Identifiers
from mpesa_core.sandbox.ledger import Declined, Entry, Kind, Ledger
from mpesa_core.sandbox.organisation import Organisation, Rules

__all__ = ["CustomerPayment", "Mpesa", "Order", "Registration"]

_RESULT_PRODUCTS: Final = {Api.B2C: "b2c", Api.REVERSAL: "reversal", Api.BALANCE: "ab"}
_STATUS_WORDS: Final = {
    Ending.PAY: "Completed",
    Ending.CANCEL: "Cancelled",
    Ending.EXPIRE: "Expired",
    Ending.NEVER: "Pending Authorized",
}


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


@attrs.define(kw_only=True, eq=False)
class Order:
    """Something that Daraja accepted and will decide on."""

    api: Api
    organisation: Organisation
    behaviour: Behaviour
    at: datetime
    fields: Mapping[str, Any] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    timeout_url: str = attrs.field(default="", repr=False)
    amount: Decimal = Decimal(0)
    phone: str = attrs.field(default="", repr=False)
    reference: str = ""
    merchant_request_id: str = ""
    checkout_request_id: str = attrs.field(default="", repr=False)
    originator_conversation_id: str = ""
    conversation_id: str = ""
    forced: Ending | None = None
    overruled: tuple[int | str, str] | None = None
    code: int | str | None = None
    description: str = ""
    receipt: str = ""
    parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    decided_at: datetime | None = None
    queries: int = 0


class Mpesa:
    """The accounts, the prompts and the customers.

    Args:
        courier: takes the callbacks along, and has the lock and the clock.
        organisations: whose accounts there are.
        rules: the house rules.
        seed: of the identifiers.

    Attributes:
        ledger: what moved.
        identifiers: the source of receipts and ids.
        registered: the C2B URLs, by short code.
        pushes: STK pushes by CheckoutRequestID.
        prompts: the last push to each phone.
        originators: payouts and reversals by OriginatorConversationID.
    """

    def __init__(
        self, courier: Courier, organisations: Iterable[Organisation], *, rules: Rules, seed: int | None
    ) -> None:
        self.rules = rules
        self.ledger = Ledger()
        self.identifiers = Identifiers(seed)
        self.registered: dict[str, Registration] = {}
        self.pushes: dict[str, Order] = {}
        self.prompts: dict[str, Order] = {}
        self.originators: dict[str, Order] = {}
        self._by_receipt: dict[str, Order] = {}
        self._courier = courier
        for organisation in organisations:
            self.ledger.open(organisation.short_code, utility=organisation.utility, working=organisation.working)

    def accept(self, order: Order) -> list[Posting]:
        """Take an order on, and decide it at its time.

        Returns:
            the callbacks that are to come before the answer; where there are such, it is decided at once.
        """
        if order.checkout_request_id:
            self.pushes[order.checkout_request_id] = self.prompts[order.phone] = order
        if order.api in (Api.B2C, Api.REVERSAL):
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
        order.decided_at = at
        return self._plan(order, at, behaviour.deliver)

    def _carry_out(self, order: Order, at: datetime) -> None:
        if order.api in (Api.STATUS, Api.BALANCE):
            order.parameters = self._findings(order, at)
            return
        owner = order.organisation
        kind = {Api.STK_PUSH: Kind.STK_PUSH, Api.B2C: Kind.B2C, Api.REVERSAL: Kind.REVERSAL}[order.api]
        entry = Entry(
            receipt=order.receipt,
            kind=kind,
            short_code=owner.short_code,
            amount=order.amount,
            phone=order.phone,
            reference=order.reference,
            at=at,
            checkout_request_id=order.checkout_request_id or None,
            originator_conversation_id=order.originator_conversation_id,
            conversation_id=order.conversation_id,
            original_receipt=order.reference if order.api is Api.REVERSAL else None,
        )
        if order.api is Api.STK_PUSH:
            self.ledger.receive(entry)
        elif order.api is Api.B2C:
            self.ledger.pay_out(entry, charge=owner.payout_charge)
        else:
            self.ledger.give_back(entry)
        self._by_receipt[order.receipt] = order

    def _findings(self, order: Order, at: datetime) -> list[dict[str, Any]]:
        """The answer to a question.

        Raises:
            Declined: nothing is known of that payment.
        """
        if order.api is Api.BALANCE:
            balances = self.ledger.balances(order.organisation.short_code)
            return bodies.balance_parameters(balances=balances, moment=at)
        owner = order.organisation
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
        says = about.behaviour.query_says if about is not None else None
        if says is not None:
            status = _STATUS_WORDS.get(says, "Declined")
        elif entry is not None:
            status = "Completed"
        else:
            status = "Pending Authorized" if about is None or about.decided_at is None else "Declined"
        source = entry if entry is not None else about
        assert source is not None
        organisation, customer = f"{owner.short_code} - {owner.name}", f"{source.phone} - JANE DOE"
        incoming = entry is not None and entry.incoming
        return bodies.status_parameters(
            receipt=entry.receipt if entry is not None and status == "Completed" else None,
            status=status,
            amount=source.amount,
            reason="Pay Bill Online" if incoming else _reason(about),
            initiated=about.at if about is not None else source.at,
            finalised=entry.at if entry is not None else about.decided_at if about is not None else None,
            debit_party=customer if incoming else organisation,
            credit_party=organisation if incoming else customer,
            account="MMF Account For Customer" if incoming else "Utility Account",
            originator_conversation_id=source.originator_conversation_id or "",
            conversation_id=source.conversation_id or "",
        )

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
            body = self._told(order, delivery, at)
            for _ in range(delivery.copies):
                outbox.post(
                    at if delivery.early else at + timedelta(seconds=delivery.delay),
                    order.url,
                    body,
                    about=f"{order.api} callback" if order.api is Api.STK_PUSH else f"{order.api} result",
                    correlation=order.checkout_request_id or order.conversation_id,
                )
        if behaviour.queue_timeout == "after":
            self._plan_notice(order, last)
        if behaviour.also_c2b == "after":
            self._plan_c2b_report(order, last)
        self._courier.changed.notify_all()
        return early.take_all_postings()

    def _told(self, order: Order, delivery: Delivery, at: datetime) -> bytes:
        """The bytes of a callback about an order."""
        if delivery.raw is not None:
            return delivery.raw
        code, description = order.code, order.description
        if delivery.says is not None:
            code, description = ENDINGS[order.api][delivery.says]
        assert code is not None
        amount = order.amount if delivery.amount is None else delivery.amount
        receipt = delivery.receipt or order.receipt
        if order.api is Api.STK_PUSH:
            phone = f"{order.phone[:6]}***{order.phone[-3:]}" if self.rules.mask_stk_phone else int(order.phone)
            return bodies.dumps(
                bodies.stk_callback(
                    merchant_request_id=order.merchant_request_id,
                    checkout_request_id=order.checkout_request_id,
                    code=code,
                    description=description,
                    paid=(amount, receipt, at, phone) if code == 0 else None,
                )
            )
        parameters, item = self._result_details(order, code, amount, receipt, at)
        real = order.api is Api.B2C or (order.api is Api.REVERSAL and code == 0)
        return bodies.dumps(
            bodies.result(
                code=code,
                description=description,
                originator_conversation_id=order.originator_conversation_id,
                conversation_id=order.conversation_id,
                transaction_id=receipt if real else self.identifiers.dummy_receipt(at),
                parameters=parameters,
                reference_item=item,
            )
        )

    def _result_details(
        self, order: Order, code: int | str, amount: Decimal, receipt: str, at: datetime
    ) -> tuple[Sequence[Mapping[str, Any]] | Mapping[str, Any] | None, Mapping[str, Any]]:
        """Parameters and reference item of a result."""
        owner = order.organisation
        item: Mapping[str, Any] = {"Key": "Occasion"}
        if order.api is Api.STATUS:
            if occasion := checks.text(order.fields, "Occasion"):
                item = {**item, "Value": occasion}
        else:
            item = bodies.internal_results_url(_RESULT_PRODUCTS[order.api])
        if code == 8006:
            # Captured failures for a locked password do carry parameters, each product in its own way.
            if order.api is Api.BALANCE:
                return bodies.locked_balance_parameters(moment=at), {"Key": "QueueTimeoutURL"}
            if order.api is Api.B2C:
                return {"Key": "CreditPartyName", "Value": f"{order.phone} - JANE DOE"}, item
        if code != 0:
            return None, item
        balances = self.ledger.balances(owner.short_code)
        if order.api is Api.B2C:
            parameters = bodies.b2c_parameters(
                amount=amount, receipt=receipt, phone=order.phone, name="JANE DOE", moment=at, balances=balances
            )
            return parameters, item
        if order.api is Api.REVERSAL:
            parameters = bodies.reversal_parameters(
                amount=amount,
                original=order.reference,
                customer=f"{order.phone} - JANE DOE",
                organisation=f"{owner.short_code} - {owner.name}",
                moment=at,
                balances=balances,
            )
            return parameters, item
        return order.parameters, item

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


def _reason(order: Order | None) -> str:
    if order is None or order.api is not Api.B2C:
        return "Transaction Reversal via API"
    words = {"SalaryPayment": "Salary Payment", "PromotionPayment": "Promotion Payment"}
    return f"{words.get(checks.text(order.fields, 'CommandID'), 'Business Payment')} via API"
