"""Pull transactions: the payments to a short code in the last 48 hours, for those whose callback never came.

Source: the "Pull Transactions" page of Safaricom's developer portal. A merchant registers the short code once (with a
nominated number, which gets a text message) and can then query. Only payments from customers are listed, and nothing
that names an STK push: rows are matched by their receipt.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.callbacks import Callback, CallbackType, decode_callback
from mpesa_core.daraja.codec import dumps, loads, to_text, to_wire, wire
from mpesa_core.daraja.literals import local_phone
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post, setting
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.values import callback_url, phone_number, to_nairobi

__all__ = ["PULL_PAGE_SIZE", "PULL_WINDOW", "PullPage", "PullRegistered", "PullTransactions", "RegisterPull"]

PULL_WINDOW = timedelta(hours=48)
"""How far back payments can be had; a query further back finds nothing, which proves nothing."""

PULL_PAGE_SIZE = 100
"""Rows of one answer; a full page may have another one after it."""


def _nominated(value: object) -> str:
    return phone_number(value, "nominated_number")


def _url(value: object) -> str:
    return callback_url(value, "callback_url")


@attrs.frozen(kw_only=True)
class PullRegistered:
    """The short code is registered.

    Attributes:
        already: it was before.
        reference: Daraja's id of the request, or "".
        description: its words.
    """

    already: bool
    reference: str = ""
    description: str = ""


@attrs.frozen(kw_only=True)
class RegisterPull:
    """Register the account's short code for pull transactions.

    Attributes:
        nominated_number: the phone number on record for the short code; any Kenyan form.
        callback_url: asked for by the page; what is posted there is not documented.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    nominated_number: str = attrs.field(converter=_nominated, repr=False)
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("CallBackURL"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        body = {
            "ShortCode": setting(context, "short_code", "RegisterPull"),
            "RequestType": "Pull",
            "NominatedNumber": local_phone(self.nominated_number),
            **to_wire(self),
        }
        return post("/pulltransactions/v1/register", body)

    def parse(self, response: HttpResponse) -> PullRegistered:
        """The answer; that it was registered already is no error.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without a status.
        """
        body = parse_json_answer(response, moves_money=self.moves_money)
        said = {key.replace(" ", "").lower(): to_text(value) or "" for key, value in body.items()}
        status, description = said.get("responsestatus", ""), said.get("responsedescription", "")
        if not status:
            raise uncertain(response, "ResponseStatus is missing", moves_money=self.moves_money)
        if status not in ("1000", "1001"):
            raise RequestRefused(without_secrets(description), status=response.status, code=without_secrets(status))
        return PullRegistered(
            already=status == "1001", reference=said.get("responserefid", ""), description=description
        )


@attrs.frozen(kw_only=True)
class PullPage:
    """The payments of one page, in the order that they came in.

    Attributes:
        rows: each as :func:`~mpesa_core.daraja.callbacks.decode_callback` reads it: a
            :class:`~mpesa_core.daraja.callbacks.PullRow`, or an ``Unreadable`` where a row made no sense.
        reference: Daraja's id of the request, or "".
        code: "1000" with rows, "1001" or "500" without.
        message: its words.
    """

    rows: tuple[Callback, ...] = ()
    reference: str = ""
    code: str = ""
    message: str = ""

    def recordings(self, short_code: str) -> tuple[bytes, ...]:
        """The JSON of each row, to be recorded like a callback of the type PULL.

        Args:
            short_code: that was asked about; the rows do not name it, and a recording must.
        """
        rows = (row.raw for row in self.rows)
        return tuple(dumps({**row, "shortCode": short_code} if isinstance(row, dict) else row) for row in rows)

    @property
    def may_have_more(self) -> bool:
        """Whether the page is full, so that the next offset is worth asking for."""
        return len(self.rows) >= PULL_PAGE_SIZE


def _moment(value: object, field: str) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidField(field, value, expected="a datetime with a time zone, such as datetime.now(UTC)")
    return value


def _start(value: object) -> datetime:
    return _moment(value, "start")


def _end(value: object) -> datetime:
    return _moment(value, "end")


def _offset(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidField("offset", value, expected="a number of rows, 0 or more")
    return value


@attrs.frozen(kw_only=True)
class PullTransactions:
    """Ask for the payments to the account's short code in a span of time.

    Daraja keeps them for 48 hours (:data:`PULL_WINDOW`): that a payment is not among the rows proves nothing about an
    older one.

    Attributes:
        start, end: aware; sent in Nairobi's time, to the second.
        offset: how many rows to skip, in steps of :data:`PULL_PAGE_SIZE`.

    Raises:
        InvalidField: at construction, a naive time, an end that is not after the start, a negative offset.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    start: datetime = attrs.field(converter=_start)
    end: datetime = attrs.field(converter=_end)
    offset: int = attrs.field(default=0, converter=_offset)

    def __attrs_post_init__(self) -> None:
        if self.end <= self.start:
            raise InvalidField("end", self.end, expected=f"a time after start, {self.start}")

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        body = {
            "ShortCode": setting(context, "short_code", "PullTransactions"),
            "StartDate": f"{to_nairobi(self.start):%Y-%m-%d %H:%M:%S}",
            "EndDate": f"{to_nairobi(self.end):%Y-%m-%d %H:%M:%S}",
            "OffSetValue": str(self.offset),
        }
        return post("/pulltransactions/v1/query", body)

    def parse(self, response: HttpResponse) -> PullPage:
        """The page; an empty one where there are no payments.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without its code, or one that announces rows and has none.
        """
        body = _empty_for_short_code(response) or parse_json_answer(response, moves_money=self.moves_money)
        code, message = to_text(body.get("ResponseCode")) or "", to_text(body.get("ResponseMessage")) or ""
        if not code:
            raise uncertain(response, "ResponseCode is missing", moves_money=self.moves_money)
        if code not in ("1000", "1001", "500"):
            raise RequestRefused(without_secrets(message), status=response.status, code=without_secrets(code))
        rows = _rows(body.get("Response"))
        if rows is None or (code == "1000" and not rows):
            raise uncertain(response, f"code {code}, and no readable rows in Response", moves_money=self.moves_money)
        return PullPage(
            rows=tuple(decode_callback(CallbackType.PULL, dumps(row)) for row in rows),
            reference=to_text(body.get("ResponseRefID")) or to_text(body.get("RequestID")) or "",
            code=code,
            message=message,
        )


def _empty_for_short_code(response: HttpResponse) -> dict[str, Any] | None:
    """The body with the code "500", in which it means "no transactions for that short code" and no server error."""
    if response.status != 200:
        return None
    try:
        body = loads(response.body)
    except ValueError:
        return None
    is_it = isinstance(body, dict) and to_text(body.get("ResponseCode")) == "500" and not _rows(body.get("Response"))
    return body if is_it else None


def _rows(value: Any) -> list[Any] | None:
    """The rows of a list of lists (as documented) or of a plain list; [] for nothing, None for what is unreadable."""
    if value in (None, "", "[]", "[[]]"):
        return []
    if not isinstance(value, list):
        return None
    rows: list[Any] = []
    for each in value:
        rows += each if isinstance(each, list) else [each]
    return rows
