"""M-PESA Express (STK push): asks a customer's phone for the PIN, and asks what became of it.

Source: the "M-PESA Express Simulate" and "M-PESA Express Query" pages of Safaricom's developer portal; for the identity
check of the first Daraja, which is on none of its pages, the public PHP package SmoDav/mpesa.
"""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_acceptance, parse_json_answer, uncertain
from mpesa_core.daraja.callbacks import StkQueryAnswer, stk_query_answer
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post, setting
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.values import callback_url, daraja_timestamp, free_text, phone_number, reference, shillings

__all__ = ["CheckIdentity", "StkPush", "StkPushAccepted", "StkQuery", "StkQueryAnswer"]


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _payer(value: object) -> str | None:
    return None if value is None else phone_number(value, "payer_number")


def _reference(value: object) -> str:
    return reference(value, "account_reference", longest=12)


def _description(value: object) -> str:
    return free_text(value, "transaction_desc", shortest=1, longest=13)


def _url(value: object) -> str:
    return callback_url(value, "callback_url")


def _checkout(value: object) -> str:
    text = to_text(value, longest=255) if isinstance(value, str) else None
    if text is None:
        raise InvalidField("checkout_request_id", type(value).__name__, expected="the CheckoutRequestID of a push")
    return text


def _credentials(context: Context, call: str) -> dict[str, str]:
    """The short code with its password: base64 of short code, passkey and Nairobi time."""
    short_code = setting(context, "short_code", call)
    passkey = setting(context, "passkey", call)
    timestamp = daraja_timestamp(context.now)
    password = b64encode(f"{short_code}{passkey}{timestamp}".encode()).decode()
    return {"BusinessShortCode": short_code, "Password": password, "Timestamp": timestamp}


@attrs.frozen(kw_only=True)
class StkPushAccepted:
    """The push was accepted, and the phone may ring now; nothing is paid yet.

    Attributes:
        merchant_request_id: Daraja's id of the request.
        checkout_request_id: what the callback and the query know the payment by. Its last digits may be those of the
            phone number.
        response_code: "0".
        response_description: Daraja's words.
        customer_message: its words for the customer.
    """

    merchant_request_id: str = attrs.field(metadata=wire("MerchantRequestID"))
    checkout_request_id: str = attrs.field(repr=False, metadata=wire("CheckoutRequestID"))
    response_code: str = attrs.field(metadata=wire("ResponseCode"))
    response_description: str = attrs.field(default="", metadata=wire("ResponseDescription"))
    customer_message: str = attrs.field(default="", metadata=wire("CustomerMessage"))


@attrs.frozen(kw_only=True)
class StkPush:
    """Ask a customer to pay by entering the PIN on the phone.

    An account with a ``till_number`` is paid as buy goods, with its short code as the store number; any other as a
    paybill.

    Attributes:
        phone_number: whose phone rings; any Kenyan form, kept as ``2547…``/``2541…``.
        amount: whole shillings, at least 1.
        account_reference: at most 12 characters; the customer sees it.
        transaction_desc: at most 13 characters. Documented as optional, but without it the push is refused.
        callback_url: where the outcome is posted.
        payer_number: who pays, where it is not the phone that rings.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = False

    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PhoneNumber"))
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("CallBackURL"))
    account_reference: str = attrs.field(converter=_reference, metadata=wire("AccountReference"))
    transaction_desc: str = attrs.field(default="Payment", converter=_description, metadata=wire("TransactionDesc"))
    payer_number: str | None = attrs.field(default=None, converter=_payer, repr=False)

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code or passkey.
        """
        credentials = _credentials(context, "StkPush")
        to_till = bool(context.till_number)
        body: dict[str, Any] = {
            **credentials,
            "TransactionType": "CustomerBuyGoodsOnline" if to_till else "CustomerPayBillOnline",
            "PartyA": self.payer_number or self.phone_number,
            "PartyB": context.till_number if to_till else credentials["BusinessShortCode"],
            **to_wire(self),
        }
        return post("/mpesa/stkpush/v1/processrequest", body)

    def parse(self, response: HttpResponse) -> StkPushAccepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, StkPushAccepted, moves_money=self.moves_money)


@attrs.frozen(kw_only=True)
class StkQuery:
    """Ask what became of a push. The answer has neither receipt nor amount.

    Asking too early is answered with :class:`~mpesa_core.errors.NotYet`; wait 20 to 30 seconds after the push.

    Attributes:
        checkout_request_id: of the push.

    Raises:
        InvalidField: at construction, an empty or overlong id.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    checkout_request_id: str = attrs.field(converter=_checkout, repr=False, metadata=wire("CheckoutRequestID"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code or passkey.
        """
        return post("/mpesa/stkpushquery/v1/query", {**_credentials(context, "StkQuery"), **to_wire(self)})

    def parse(self, response: HttpResponse) -> StkQueryAnswer:
        """What became of the push; an outcome PENDING or UNKNOWN settles nothing.

        Raises:
            NotYet: still being processed, or asked too early.
            RequestRefused: the question was refused.
            UnexpectedAnswer: it cannot be understood, or is about another push.
        """
        body = parse_json_answer(response, moves_money=False)
        answer = stk_query_answer(body)
        if answer.checkout_request_id not in (None, self.checkout_request_id):
            raise uncertain(response, "the answer is about another push", moves_money=False)
        if body.get("ResultCode") is None:
            code = to_text(body.get("ResponseCode"))
            if code in (None, "0"):
                raise uncertain(response, "ResultCode is missing", moves_money=False)
            raise RequestRefused(
                answer.result_desc or "the question was refused", status=response.status, code=code or ""
            )
        return answer


@attrs.frozen(kw_only=True)
class CheckIdentity:
    """Ask a customer to confirm by the PIN that the phone is theirs; nothing is paid (legacy).

    It has the shape of a push, with the transaction type ``CheckIdentity``. Safaricom documents it no more and may
    refuse it, and what it posts to the callback URL is not known: keep the body, and read it yourself.

    Attributes:
        phone_number: whose phone rings; any Kenyan form, kept as ``2547…``/``2541…``.
        callback_url: where the outcome is posted; an URL of your own, none of the SDK's paths.
        transaction_desc: at most 13 characters.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PhoneNumber"))
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("CallBackURL"))
    transaction_desc: str = attrs.field(default="Identity", converter=_description, metadata=wire("TransactionDesc"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, passkey or initiator_name.
        """
        body: dict[str, Any] = {
            "Initiator": setting(context, "initiator_name", "CheckIdentity"),
            **_credentials(context, "CheckIdentity"),
            "TransactionType": "CheckIdentity",
            **to_wire(self),
        }
        return post("/mpesa/checkidentity/v1/processrequest", body)

    def parse(self, response: HttpResponse) -> StkPushAccepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, StkPushAccepted, moves_money=self.moves_money)
