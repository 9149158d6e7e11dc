"""What is reported about an order: the bytes of its callback, true or as the behaviour would have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from mpesa_core.sandbox import bodies, business_bodies, checks
from mpesa_core.sandbox.behaviour import Delivery
from mpesa_core.sandbox.customers import Customer
from mpesa_core.sandbox.endings import ENDINGS, Api
from mpesa_core.sandbox.identifiers import Identifiers
from mpesa_core.sandbox.ledger import Ledger
from mpesa_core.sandbox.orders import Order
from mpesa_core.sandbox.organisation import Rules

__all__ = ["Reports"]

_RESULT_PRODUCTS: Final = {
    Api.B2C: "b2c",
    Api.B2C_IDENTITY: "b2c",
    Api.POCHI: "b2c",
    Api.REVERSAL: "reversal",
    Api.BALANCE: "ab",
}
_BUSINESS: Final = (Api.B2B, Api.TAX)
_CUSTOMERS: Final = (Api.B2C, Api.B2C_IDENTITY, Api.POCHI)
_ACCOUNTS: Final = {
    "working": "Working Account",
    "utility": "Utility Account",
    "settlement": "Organization Settlement Account",
}

_Parameters = Sequence[Mapping[str, Any]] | Mapping[str, Any] | None
_Items = Sequence[Mapping[str, Any]] | Mapping[str, Any]


@attrs.frozen(kw_only=True)
class _Told:
    """What one callback says."""

    code: int | str
    description: str
    amount: Decimal
    receipt: str
    at: datetime


class Reports:
    """Writes callbacks.

    Args:
        ledger: for the balances that results tell.
        identifiers: for the dummy receipts of failures.
        customer: looks up a customer by phone number.
        business: the public name of a business by short code or till.
        rules: the house rules.
    """

    def __init__(
        self,
        ledger: Ledger,
        identifiers: Identifiers,
        *,
        customer: Callable[[str], Customer],
        business: Callable[[str], str],
        rules: Rules,
    ) -> None:
        self._ledger = ledger
        self._identifiers = identifiers
        self._customer = customer
        self._business = business
        self._rules = rules

    def callback(self, order: Order, delivery: Delivery, at: datetime) -> bytes:
        """The bytes of a callback about a decided order."""
        if delivery.raw is not None:
            return delivery.raw
        code, description = order.code, order.description
        if delivery.says is not None:
            code, description = ENDINGS[order.api][delivery.says]
        assert code is not None
        amount = order.amount if delivery.amount is None else delivery.amount
        receipt = delivery.receipt or order.receipt
        told = _Told(code=code, description=description, amount=amount, receipt=receipt, at=at)
        if order.api is Api.STK_PUSH:
            return bodies.dumps(self._stk(order, told))
        if order.api is Api.EXPRESS_CHECKOUT:
            return bodies.dumps(self._express(order, told))
        if order.api is Api.STANDING_ORDER:
            return bodies.dumps(self._standing_order(order, told))
        return bodies.dumps(self._result(order, told))

    def _stk(self, order: Order, told: _Told) -> Mapping[str, Any]:
        masked = self._rules.mask_stk_phone
        phone: int | str = f"{order.phone[:6]}***{order.phone[-3:]}" if masked else int(order.phone)
        return bodies.stk_callback(
            merchant_request_id=order.merchant_request_id,
            checkout_request_id=order.checkout_request_id,
            code=told.code,
            description=told.description,
            paid=(told.amount, told.receipt, told.at, phone) if told.code == 0 else None,
        )

    @staticmethod
    def _express(order: Order, told: _Told) -> Mapping[str, Any]:
        return business_bodies.express_checkout(
            code=told.code,
            description=told.description,
            amount=told.amount,
            request_id=order.request_id,
            reference=order.reference,
            paid=(order.conversation_id, told.receipt) if told.code == 0 else None,
        )

    @staticmethod
    def _standing_order(order: Order, told: _Told) -> Mapping[str, Any]:
        references = {"response_ref": order.conversation_id, "request_ref": order.request_id}
        if told.code != 0:
            return business_bodies.standing_order_refused(**references, code=told.code, phone=order.phone)
        assert order.standing_order is not None
        return business_bodies.standing_order_agreed(
            **references,
            description=told.description,
            schedule=told.receipt,
            phone=order.phone,
            edition=order.standing_order.edition,
        )

    def _result(self, order: Order, told: _Told) -> Mapping[str, Any]:
        parameters, reference_items = self._details(order, told)
        # A failed payout's TransactionID looks like a receipt; the other products show a dummy.
        money = order.api in (*_CUSTOMERS, *_BUSINESS, Api.REVERSAL)
        real = order.api in (Api.B2C, Api.B2C_IDENTITY) or (money and told.code == 0)
        return bodies.result(
            code=told.code,
            description=told.description,
            originator_conversation_id=order.originator_conversation_id,
            conversation_id=order.conversation_id,
            transaction_id=told.receipt if real else self._identifiers.dummy_receipt(told.at),
            parameters=parameters,
            reference_item=reference_items,
            as_text=order.api in _BUSINESS and told.code == 0,
        )

    def _details(self, order: Order, told: _Told) -> tuple[_Parameters, _Items]:
        """Parameters and reference items of a result."""
        if order.api in _BUSINESS:
            return self._business_details(order, told)
        item: Mapping[str, Any] = {"Key": "Occasion"}
        if order.api is Api.STATUS:
            if occasion := checks.text(order.fields, "Occasion"):
                item = {**item, "Value": occasion}
        else:
            item = bodies.internal_results_url(_RESULT_PRODUCTS[order.api])
        if told.code == 8006:
            # Captured failures for a locked password do carry parameters, each product in its own way.
            if order.api is Api.BALANCE:
                return bodies.locked_balance_parameters(moment=told.at), {"Key": "QueueTimeoutURL"}
            if order.api is Api.POCHI:
                item = {"Key": "QueueTimeoutURL", "Value": order.timeout_url}
            if order.api in _CUSTOMERS:
                return {"Key": "CreditPartyName", "Value": self._customer(order.phone).public_name}, item
        if told.code != 0:
            return None, item
        balances = self._ledger.balances(order.organisation.short_code)
        if order.api in _CUSTOMERS:
            parameters = bodies.b2c_parameters(
                amount=told.amount,
                receipt=told.receipt,
                phone=order.phone,
                name=self._customer(order.phone).name,
                moment=told.at,
                balances=balances,
            )
            return parameters, item
        if order.api is Api.REVERSAL:
            parameters = bodies.reversal_parameters(
                amount=told.amount,
                original=order.reference,
                customer=self._customer(order.phone).public_name,
                organisation=self._business(order.organisation.short_code),
                moment=told.at,
                balances=balances,
            )
            return parameters, item
        return order.parameters, item

    def _business_details(self, order: Order, told: _Told) -> tuple[_Parameters, _Items]:
        command = checks.text(order.fields, "CommandID")
        parameters, reference_items = business_bodies.b2b_details(
            told.code,
            reference=checks.text(order.fields, "AccountReference"),
            timeout_url=order.timeout_url,
            to_bulk=command == "BusinessPayToBulk",
            moment=told.at,
        )
        if told.code != 0:
            return parameters, reference_items
        account = order.source.account if order.source is not None else "working"
        balances = self._ledger.balances(order.organisation.short_code)
        charge = f"Business Pay Bill Charge|KES|{order.charge:.2f}" if order.charge else ""
        paid = business_bodies.b2b_parameters(
            amount=told.amount,
            account=_ACCOUNTS[account],
            balance=getattr(balances, account),
            charge=charge,
            receiver=self._business(order.counterparty),
            moment=told.at,
        )
        return paid, reference_items
