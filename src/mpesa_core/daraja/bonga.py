"""Lipa na Bonga: customers pay with their Bonga points.

Source: copies of the portal's 2026 pages in kepas-tech/daraja-js. A merchant needs the product on the app; in the
sandbox a redemption is answered 404 with nothing in it. The payment itself is reported on the C2B confirmation URL.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_decimal, to_text, to_wire, wire
from mpesa_core.daraja.codes import Family, Outcome, explain, outcome_of
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post, setting
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.values import phone_number, reference, shillings

__all__ = ["BongaRedemption", "BongaValue", "CalculateBongaPoints", "RedeemBongaPoints"]


def _points(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1_000_000_000:
        raise InvalidField("points", value, expected="a number of points, 1 or more")
    return value


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _rate(value: object) -> Decimal:
    rate = None if isinstance(value, bool) else to_decimal(value)
    if rate is None or not 0 < rate < 1000:
        expected = "the rate of the calculation, shillings for a point, as Decimal or text"
        raise InvalidField("conversion_rate", value, expected=expected, remedy="A float is not exact.")
    return rate


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _account(value: object) -> str:
    return reference(value, "account_reference", longest=20)


@attrs.frozen(kw_only=True)
class BongaValue:
    """What points are worth.

    Attributes:
        amount: in shillings.
        points: that were asked about.
        rate: shillings for a point.
    """

    amount: Decimal
    points: int
    rate: Decimal


@attrs.frozen(kw_only=True)
class BongaRedemption:
    """The redemption was taken; the payment comes as a C2B confirmation.

    Attributes:
        request_ref_id: Daraja's id of the request, or "".
        message: its words.
        customer_message: its words for the customer.
    """

    request_ref_id: str = ""
    message: str = ""
    customer_message: str = ""


@attrs.frozen(kw_only=True)
class CalculateBongaPoints:
    """Ask what points are worth.

    Attributes:
        points: how many.

    Raises:
        InvalidField: at construction, less than one.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    points: int = attrs.field(converter=_points)

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return post("/v1/lipa/na/bonga/calculate-points", {"points": str(self.points)})

    def parse(self, response: HttpResponse) -> BongaValue:
        """The value.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without a code or without numbers.
        """
        answer = parse_json_answer(response, moves_money=self.moves_money)
        _check(response, answer, moves_money=self.moves_money)
        body = answer.get("body")
        body = body if isinstance(body, dict) else {}
        amount, points, rate = (to_decimal(body.get(each)) for each in ("amount", "points", "rate"))
        if amount is None or points is None or rate is None or points != self.points:
            raise uncertain(response, "amount, points or rate is missing", moves_money=self.moves_money)
        return BongaValue(amount=amount, points=int(points), rate=rate)


@attrs.frozen(kw_only=True)
class RedeemBongaPoints:
    """Let a customer pay the account's paybill with points.

    Attributes:
        phone_number: the customer's; any Kenyan form.
        amount: whole shillings.
        points: how many points are redeemed.
        conversion_rate: from :class:`BongaValue`; Decimal or text, sent as a number.
        account_reference: what is paid, at most 20 characters.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = False

    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("msisdn"))
    amount: Decimal = attrs.field(converter=_amount, metadata=wire("amount"))
    points: int = attrs.field(converter=_points, metadata=wire("bongaPoints"))
    conversion_rate: Decimal = attrs.field(converter=_rate, metadata=wire("conversionRate"))
    account_reference: str = attrs.field(converter=_account, metadata=wire("accountNumber"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        short_code = setting(context, "short_code", "RedeemBongaPoints")
        return post("/v1/lipa/na/bonga/redeem-paybill", {"shortCode": short_code, **to_wire(self)})

    def parse(self, response: HttpResponse) -> BongaRedemption:
        """The acceptance.

        Raises:
            DarajaError: Daraja said no.
            OutcomeUnknown: the answer leaves open what becomes of the redemption.
        """
        answer = parse_json_answer(response, moves_money=self.moves_money)
        header = _check(response, answer, moves_money=self.moves_money)
        return BongaRedemption(
            request_ref_id=to_text(header.get("requestRefId")) or "",
            message=to_text(header.get("responseMessage")) or "",
            customer_message=to_text(header.get("customerMessage")) or "",
        )


def _check(response: HttpResponse, answer: dict[str, Any], *, moves_money: bool) -> dict[str, Any]:
    """The header of an answer whose code is one of success."""
    header = answer.get("header")
    header = header if isinstance(header, dict) else {}
    code = to_text(header.get("responseCode")) or ""
    if code in ("200", "6000"):
        return header
    words = to_text(header.get("responseMessage")) or "no description"
    if outcome_of(code, Family.BONGA) is Outcome.FAILED:
        hint = explain(code, Family.BONGA).meaning
        raise RequestRefused(without_secrets(words), status=response.status, code=code, hint=hint)
    raise uncertain(response, words, moves_money=moves_money, code=without_secrets(code))
