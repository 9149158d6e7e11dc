"""The IoT SIM portal: SIM cards of machines, their life cycle and their messages. No payments.

Source: the "IoT SIM Management" page of Safaricom's developer portal. A merchant needs SIM cards of that kind, and a
user of the portal. The bodies differ from call to call and are passed as they are: this module knows the paths, which
calls change something, and the envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import urlencode

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post
from mpesa_core.errors import InvalidField, RequestRefused

__all__ = ["IotAction", "IotActionCall", "IotAnswer", "IotQuestion", "IotQuestionCall"]


class IotQuestionCall(StrEnum):
    """The calls that change nothing, by the last part of their path."""

    ALL_SIMS = "allsims"
    LIFE_CYCLE_STATUS = "queryLifeCycleStatus"
    CUSTOMER_INFO = "querycustomerinfo"
    ACTIVATION_TRENDS = "getactivationtrends"
    SEARCH_MESSAGES = "searchmessages"
    FILTER_MESSAGES = "filtermessages"
    ALL_MESSAGES = "getallmessages"


class IotActionCall(StrEnum):
    """The calls that change something, by the last part of their path."""

    ACTIVATE_SIM = "simactivation"
    RENAME_ASSET = "renameasset"
    SUSPEND_OR_RESUME = "suspend_unsuspend_sub"
    SEND_MESSAGE = "sendsinglemessage"
    DELETE_MESSAGE = "deletemessage"
    DELETE_THREAD = "deleteMessageThread"


def _body(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidField("body", type(value).__name__, expected="a mapping from the page's field names to values")
    if any(isinstance(each, float) for each in value.values()):
        raise InvalidField("body", "a float", expected="text, int, bool, Decimal, lists or mappings")
    return MappingProxyType(dict(value))


def _count(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidField(field.name, value, expected="a number, 0 or more, or None")


def _question(value: object) -> IotQuestionCall:
    try:
        return IotQuestionCall(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidField("call", value, expected="one of " + ", ".join(IotQuestionCall)) from None


def _action(value: object) -> IotActionCall:
    try:
        return IotActionCall(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidField("call", value, expected="one of " + ", ".join(IotActionCall)) from None


@attrs.frozen(kw_only=True)
class IotAnswer:
    """The answer to any of the calls.

    Attributes:
        request_ref_id: Daraja's id of the request, or "".
        message: its words.
        customer_message: its words for a person.
        body: what the call's own page says; numbers with a point as Decimal. Its ``statusCode``, where there is one, is
            the portal's own ("0" for success).
    """

    request_ref_id: str = ""
    message: str = ""
    customer_message: str = ""
    body: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class _IotCall:
    body: Mapping[str, Any] = attrs.field(factory=dict, converter=_body, repr=False)
    page: int | None = attrs.field(default=None, validator=_count)
    page_size: int | None = attrs.field(default=None, validator=_count)

    needs_credential: ClassVar[bool] = False
    moves_money: ClassVar[bool]

    def _request(self, name: str) -> HttpRequest:
        pages = {"pageNo": self.page, "pageSize": self.page_size}
        query = urlencode({key: value for key, value in pages.items() if value is not None})
        return post(f"/simportal/v1/{name}" + (f"?{query}" if query else ""), dict(self.body))

    def parse(self, response: HttpResponse) -> IotAnswer:
        """The answer.

        Raises:
            DarajaError: Daraja said no, or a code that is not one of success.
            OutcomeUnknown: the answer to an action leaves open whether it was carried out.
            UnexpectedAnswer: the answer to a question cannot be understood.
        """
        answer = parse_json_answer(response, moves_money=self.moves_money)
        header, body = answer.get("header"), answer.get("body")
        header = header if isinstance(header, dict) else {}
        code, message = to_text(header.get("responseCode")), to_text(header.get("responseMessage")) or ""
        if code is None or not isinstance(body, (dict, list, type(None))):
            raise uncertain(response, "header.responseCode is missing", moves_money=self.moves_money)
        if code not in ("0", "200"):
            raise RequestRefused(without_secrets(message), status=response.status, code=without_secrets(code))
        return IotAnswer(
            request_ref_id=to_text(header.get("requestRefId")) or "",
            message=message,
            customer_message=to_text(header.get("customerMessage")) or "",
            body=body if isinstance(body, dict) else {} if body is None else {"items": body},
        )


@attrs.frozen(kw_only=True)
class IotQuestion(_IotCall):
    """Ask the IoT SIM portal.

    Attributes:
        call: which question.
        body: its fields, as its page names them (``msisdn``, ``vpnGroup``, ``username``, ...).
        page, page_size: for the calls that answer in pages, sent in the query string; or None.

    Raises:
        InvalidField: at construction, another call, or a body that JSON has no exact form for.
    """

    moves_money: ClassVar[bool] = False

    call: IotQuestionCall = attrs.field(converter=_question)

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return self._request(self.call.value)


@attrs.frozen(kw_only=True)
class IotAction(_IotCall):
    """Change something on the IoT SIM portal. Like a payment it is never repeated when its outcome is unknown.

    Attributes:
        call: which action.
        body: its fields, as its page names them.
        page, page_size: see :class:`IotQuestion`.

    Raises:
        InvalidField: at construction, another call, or a body that JSON has no exact form for.
    """

    moves_money: ClassVar[bool] = True

    call: IotActionCall = attrs.field(converter=_action)

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return self._request(self.call.value)
