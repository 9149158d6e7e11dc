"""Dynamic QR: a QR code that a customer scans with the M-PESA app, or at an agent, to pay.

Source: the "Dynamic QR Code" page of Safaricom's developer portal. A merchant needs nothing but the product on the app;
the answer is synchronous, and the payment is reported like any other to the receiving number (a C2B confirmation).
"""

from __future__ import annotations

import re
from base64 import b64decode
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post
from mpesa_core.errors import InvalidField
from mpesa_core.values import free_text, phone_number, shillings, short_code

__all__ = ["DynamicQr", "QrCode", "QrTransaction"]

_PNG = b"\x89PNG\r\n\x1a\n"


class QrTransaction(StrEnum):
    """What scanning the code does."""

    BUY_GOODS = "BG"
    WITHDRAW_AT_AGENT = "WA"
    PAY_BILL = "PB"
    SEND_MONEY = "SM"
    SEND_TO_BUSINESS = "SB"


def _merchant(value: object) -> str:
    return free_text(value, "merchant_name", shortest=1, longest=50)


def _reference(value: object) -> str:
    return free_text(value, "account_reference", shortest=1, longest=50)


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _transaction(value: object) -> QrTransaction:
    try:
        return QrTransaction(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidField("transaction", value, expected="one of BG, WA, PB, SM, SB") from None


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2000:
        raise InvalidField("size", value, expected="pixels, an int from 1 to 2000")
    return value


@attrs.frozen(kw_only=True)
class QrCode:
    """The code.

    Attributes:
        png: the image, the bytes of a PNG file.
        response_description: Daraja's words.
        response_code: "00", or an id of the conversation: it says nothing of success, the image does.
        request_id: Daraja's id of the request, or "".
    """

    png: bytes = attrs.field(repr=False)
    response_description: str = ""
    response_code: str = ""
    request_id: str = ""


@attrs.frozen(kw_only=True)
class DynamicQr:
    """Make a QR code for a payment.

    Attributes:
        merchant_name: as the customer sees it.
        account_reference: what is paid; the customer sees it.
        amount: whole shillings.
        transaction: what scanning does.
        receiver: the till, paybill, agent or phone number (SEND_MONEY, SEND_TO_BUSINESS) that gets the money.
        size: of the square image, in pixels.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    merchant_name: str = attrs.field(converter=_merchant, metadata=wire("MerchantName"))
    account_reference: str = attrs.field(converter=_reference, metadata=wire("RefNo"))
    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    transaction: QrTransaction = attrs.field(converter=_transaction, metadata=wire("TrxCode"))
    receiver: str = attrs.field(converter=str, repr=False, metadata=wire("CPI"))
    size: int = attrs.field(default=300, converter=_size)

    def __attrs_post_init__(self) -> None:
        to_phone = self.transaction in (QrTransaction.SEND_MONEY, QrTransaction.SEND_TO_BUSINESS)
        fit = phone_number(self.receiver, "receiver") if to_phone else short_code(self.receiver, "receiver")
        object.__setattr__(self, "receiver", fit)  # a converter does not see the other field

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return post("/mpesa/qrcode/v1/generate", {**to_wire(self), "Size": str(self.size)})

    def parse(self, response: HttpResponse) -> QrCode:
        """The image.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: there is no image in the answer, or it is no PNG.
        """
        body = parse_json_answer(response, moves_money=self.moves_money)
        png = _image(body.get("QRCode"))
        if png is None:
            raise uncertain(response, "QRCode holds no PNG image", moves_money=self.moves_money)
        return QrCode(
            png=png,
            response_description=to_text(body.get("ResponseDescription")) or "",
            response_code=to_text(body.get("ResponseCode")) or "",
            request_id=to_text(body.get("RequestID")) or "",
        )


def _image(value: object) -> bytes | None:
    """The bytes of base64 text, without what stands around it (the page's own sample ends with a full stop)."""
    if not isinstance(value, str):
        return None
    text = re.sub(r"[^A-Za-z0-9+/]", "", value.removeprefix("data:image/png;base64,"))
    if len(text) % 4 == 1:
        text = text[:-1]  # one character holds no byte: the text was cut
    png = b64decode(text + "=" * (-len(text) % 4))
    return png if png.startswith(_PNG) else None
