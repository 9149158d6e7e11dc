"""B2B express checkout: asks another business, at its till's nominated number, to pay your paybill (a USSD prompt).

Source: the "B2B Express Checkout" page of Safaricom's developer portal. A merchant needs the product on the app
(without it every call is answered 401), and the payer's till a nominated number, which alone can approve.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.codes import Family, Outcome, explain, outcome_of
from mpesa_core.daraja.literals import amount_text, line_of_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import originator_id, post, setting
from mpesa_core.errors import RequestRefused
from mpesa_core.values import callback_url, free_text, shillings, short_code

__all__ = ["ExpressCheckout", "ExpressCheckoutAccepted"]


def _payer(value: object) -> str:
    return short_code(value, "payer_till")


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _reference(value: object) -> str:
    return free_text(value, "payment_reference", shortest=1, longest=50)


def _url(value: object) -> str:
    return callback_url(value, "callback_url")


def _partner(value: object) -> str:
    return line_of_text(value, "partner_name", longest=50)


def _request_id(value: object) -> str:
    return originator_id(value, "request_id")


@attrs.frozen(kw_only=True)
class ExpressCheckoutAccepted:
    """The prompt is on its way; nothing is paid yet. The answer has no id: the callback carries your ``request_id``.

    Attributes:
        code: "0".
        status: Daraja's words.
    """

    code: str
    status: str = ""


@attrs.frozen(kw_only=True)
class ExpressCheckout:
    """Ask the business behind a till to pay the account's paybill.

    Attributes:
        payer_till: the till that pays, 5 to 7 digits.
        amount: whole shillings.
        payment_reference: 1 to 50 letters, digits, spaces and ``- . /``; the payer sees it.
        partner_name: your name, as the payer sees it.
        callback_url: where the outcome is posted (callback type B2B_EXPRESS).
        request_id: your own id, unique; the callback's ``requestId``. Keep it before sending: the answer has no other
            id.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = False

    payer_till: str = attrs.field(converter=_payer, metadata=wire("primaryShortCode"))
    amount: Decimal = attrs.field(converter=_amount)
    payment_reference: str = attrs.field(converter=_reference, metadata=wire("paymentRef"))
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("callbackUrl"))
    partner_name: str = attrs.field(converter=_partner, metadata=wire("partnerName"))
    request_id: str = attrs.field(converter=_request_id, metadata=wire("RequestRefID"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        body = {
            "receiverShortCode": setting(context, "short_code", "ExpressCheckout"),
            "amount": amount_text(self.amount),
            **to_wire(self),
        }
        return post("/v1/ussdpush/get-msisdn", body)

    def parse(self, response: HttpResponse) -> ExpressCheckoutAccepted:
        """The acceptance.

        Raises:
            RequestRefused: a code that the page lists as a failure: nobody is prompted.
            DarajaError: Daraja said no in another way.
            OutcomeUnknown: the answer leaves open whether the payer is prompted.
        """
        body = parse_json_answer(response, moves_money=self.moves_money)
        code, status = to_text(body.get("code")) or "", to_text(body.get("status")) or ""
        if code == "0":
            return ExpressCheckoutAccepted(code=code, status=status)
        if outcome_of(code, Family.EXPRESS) is Outcome.FAILED:
            hint = explain(code, Family.EXPRESS).meaning
            raise RequestRefused(without_secrets(status), status=response.status, code=code, hint=hint)
        raise uncertain(response, status or "code is missing", moves_money=self.moves_money, code=without_secrets(code))
