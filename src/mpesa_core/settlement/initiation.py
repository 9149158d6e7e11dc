"""Asking M-PESA to move money: recorded before it leaves, sent at most once.

What becomes of the row, its signal and its idempotency key:

==================  ==========================  =================================  ===============================
what happened       the row                     its signal                         the caller gets
==================  ==========================  =================================  ===============================
accepted            PROCESSING, with M-PESA's   ``payment_initiated`` (STK)        the row
                    identifiers
refused by Daraja   FAILED, known               ``…_failed(outcome_known=True)``   the error, with ``.transaction``
provably not sent   FAILED, known, ``unsent``   ``…_failed(outcome_known=True)``   ``NotSent``, with ``.transaction``
unknown             PROCESSING, asked about     none yet                           the row
==================  ==========================  =================================  ===============================

The idempotency key stays with its row in every case: the same call again sends nothing and returns that row, as it
stands. To try again after a failure that is known, use a new key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mpesa_core.daraja.b2b import B2BPayment
from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.express import StkPush
from mpesa_core.daraja.express_checkout import ExpressCheckout
from mpesa_core.daraja.identity import B2CIdentityPayment
from mpesa_core.daraja.pochi import B2Pochi
from mpesa_core.daraja.tax import TaxRemittance
from mpesa_core.errors import InvalidField
from mpesa_core.payments.records import TransactionRecord, TransactionType
from mpesa_core.routes import callback_urls
from mpesa_core.settlement.effects import Procedure, deliver
from mpesa_core.settlement.refunds import Refunds
from mpesa_core.settlement.sending import APP_KEYS, OPERATOR_KEYS
from mpesa_core.values import flag

__all__ = ["Initiation"]


class Initiation(Refunds):
    """The procedures that move money."""

    def stk_push(
        self,
        *,
        phone_number: object,
        amount: object,
        account_reference: str,
        transaction_desc: str,
        account: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Prompt a customer for a payment. See :meth:`mpesa_core.gateway.Gateway.stk_push`."""
        token = self._token()
        operation = StkPush(
            phone_number=phone_number,
            amount=amount,
            account_reference=account_reference,
            transaction_desc=transaction_desc,
            callback_url=callback_urls(self._settings, CallbackType.STK, token),
        )
        draft = self._draft(
            TransactionType.STK_PUSH,
            account,
            self._account(account, "stk_push", (*APP_KEYS, "passkey")),
            token,
            idempotency_key,
            host,
            phone_number=operation.phone_number,
            amount=operation.amount,
            account_reference=operation.account_reference,
            transaction_desc=operation.transaction_desc,
        )
        row, accepted = yield from self._record_and_send(draft, operation)
        if accepted:
            yield from deliver("payment_initiated", {"transaction": row})
        return row

    def payout(
        self,
        *,
        phone_number: object,
        amount: object,
        command: str,
        remarks: str,
        occasion: str,
        version: int,
        account: str,
        idempotency_key: str,
        host: Mapping[str, Any],
        identity: tuple[str, str] | None = None,
        pochi: bool = False,
    ) -> Procedure[TransactionRecord]:
        """Send money to a customer. See :meth:`mpesa_core.gateway.Gateway.payout`."""
        if flag(pochi, "pochi") and identity is not None:
            remedy = "Leave one of them out: M-PESA compares no identity with a business wallet's."
            raise InvalidField("pochi", pochi, expected="False beside identity", remedy=remedy)
        token = self._token()
        originator = None if version == 1 and not pochi and identity is None else self._new_id().hex
        given: dict[str, Any] = {
            "phone_number": phone_number,
            "amount": amount,
            "remarks": remarks,
            "originator_conversation_id": originator,
            **self._result_urls(CallbackType.B2C_RESULT, token),
        }
        operation: B2CPayment | B2Pochi | B2CIdentityPayment
        if pochi:
            operation = B2Pochi(**given, occasion=occasion)
        elif identity is not None:
            if not isinstance(identity, (tuple, list)) or len(identity) != 2:
                raise InvalidField("identity", type(identity), expected='a pair such as ("01", "12345678")')
            operation = B2CIdentityPayment(**given, command=command, id_type=identity[0], id_number=identity[1])
        else:
            operation = B2CPayment(**given, command=command, occasion=occasion, version=version)
        draft = self._draft(
            TransactionType.POCHI if pochi else TransactionType.B2C,
            account,
            self._account(account, "payout", OPERATOR_KEYS),
            token,
            idempotency_key,
            host,
            phone_number=operation.phone_number,
            amount=operation.amount,
            account_reference=occasion,
            transaction_desc=remarks,
            originator_conversation_id=originator,
        )
        row, _ = yield from self._record_and_send(draft, operation)
        return row

    def transfer(
        self,
        *,
        receiver: str,
        amount: object,
        command: str,
        account_reference: str | None,
        receiver_type: Literal["2", "4"],
        requester: object | None,
        remarks: str,
        account: str,
        idempotency_key: str,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Send money to another business. See :meth:`mpesa_core.gateway.Gateway.transfer`."""
        token, originator = self._token(), self._new_id().hex
        operation = B2BPayment(
            receiver=receiver,
            amount=amount,
            command=command,
            account_reference=account_reference,
            receiver_type=receiver_type,
            requester=requester,
            remarks=remarks,
            originator_conversation_id=originator,
            **self._result_urls(CallbackType.B2B_RESULT, token),
        )
        draft = self._draft(
            TransactionType.B2B,
            account,
            self._account(account, "transfer", OPERATOR_KEYS),
            token,
            idempotency_key,
            host,
            phone_number=operation.receiver,
            amount=operation.amount,
            account_reference=operation.account_reference or "",
            transaction_desc=operation.command,
            originator_conversation_id=originator,
        )
        row, _ = yield from self._record_and_send(draft, operation)
        return row

    def remit_tax(
        self,
        *,
        amount: object,
        payment_registration_number: str,
        remarks: str,
        account: str,
        idempotency_key: str,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Pay tax. See :meth:`mpesa_core.gateway.Gateway.remit_tax`."""
        token = self._token()
        operation = TaxRemittance(
            amount=amount,
            payment_registration_number=payment_registration_number,
            remarks=remarks,
            **self._result_urls(CallbackType.B2B_RESULT, token),
        )
        draft = self._draft(
            TransactionType.TAX,
            account,
            self._account(account, "remit_tax", OPERATOR_KEYS),
            token,
            idempotency_key,
            host,
            amount=operation.amount,
            account_reference=operation.payment_registration_number,
            transaction_desc=remarks,
        )
        row, _ = yield from self._record_and_send(draft, operation)
        return row

    def express_checkout(
        self,
        *,
        payer_till: str,
        amount: object,
        payment_reference: str,
        partner_name: str,
        account: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Ask another business's till to pay us. See :meth:`mpesa_core.gateway.Gateway.express_checkout`."""
        token, request_id = self._token(), self._new_id().hex
        operation = ExpressCheckout(
            payer_till=payer_till,
            amount=amount,
            payment_reference=payment_reference,
            partner_name=partner_name,
            request_id=request_id,
            callback_url=callback_urls(self._settings, CallbackType.B2B_EXPRESS, token),
        )
        draft = self._draft(
            TransactionType.B2B_EXPRESS,
            account,
            self._account(account, "express_checkout", APP_KEYS),
            token,
            idempotency_key,
            host,
            phone_number=operation.payer_till,
            amount=operation.amount,
            account_reference=operation.payment_reference,
            transaction_desc=operation.partner_name,
            originator_conversation_id=request_id,
        )
        row, _ = yield from self._record_and_send(draft, operation)
        return row
