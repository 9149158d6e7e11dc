"""What every outgoing call shares: a JSON POST, the account's settings that it needs, and the result URLs."""

from __future__ import annotations

import re
from typing import Any

import attrs

from mpesa_core.daraja.codec import dumps, wire
from mpesa_core.daraja.operation import Context, HttpRequest
from mpesa_core.errors import ConfigurationError, InvalidField
from mpesa_core.values import callback_url, free_text

__all__ = ["ResultUrls", "originator_id", "post", "receipt", "setting"]

_WHAT_TO_DO = {
    "short_code": "your paybill, or your till's store (head office) number",
    "till_number": "the till's own number",
    "passkey": "the STK push passkey of the short code, from the developer portal",
    "initiator_name": "the API operator's user name on the M-PESA organisation portal",
    "security_credential": (
        "the API operator's encrypted password; set initiator_password and the SDK encrypts it with the environment's "
        "certificate"
    ),
}


def post(path: str, body: Any) -> HttpRequest:
    """A POST of JSON; the client adds the host and the access token."""
    return HttpRequest(path=path, headers={"Content-Type": "application/json"}, body=dumps(body))


def setting(context: Context, name: str, call: str) -> str:
    """A setting of the account that a call cannot do without.

    Args:
        context: the account and the moment.
        name: the field of :class:`~mpesa_core.daraja.operation.Context`.
        call: the operation's name, for the error.

    Raises:
        ConfigurationError: the account has none; the text names the setting and says what it is.
    """
    value = getattr(context, name)
    if not value:
        raise ConfigurationError([f"{name}: not set, and {call} needs it: {_WHAT_TO_DO[name]}."])
    return str(value)


def receipt(value: object, field: str = "transaction_id") -> str:
    """An M-PESA receipt that we send, in upper case: ``NLJ7RT61SV``.

    Raises:
        InvalidField: not 8 to 20 letters and digits.
    """
    text = value.strip().upper() if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Z0-9]{8,20}", text):
        raise InvalidField(field, value, expected="an M-PESA receipt such as NLJ7RT61SV")
    return text


def originator_id(value: object, field: str = "originator_conversation_id") -> str:
    """An OriginatorConversationID: 1 to 128 letters, digits and ``_ - .``.

    Raises:
        InvalidField: anything else.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,128}", text):
        raise InvalidField(field, value, expected="1 to 128 letters, digits and _ - .")
    return text


def _remarks(value: object) -> str:
    return free_text(value, "remarks", shortest=2, longest=100)


def _result_url(value: object) -> str:
    return callback_url(value, "result_url")


def _timeout_url(value: object) -> str:
    return callback_url(value, "timeout_url")


@attrs.frozen(kw_only=True)
class ResultUrls:
    """The base of the calls whose outcome comes later, as a result posted to a URL.

    Attributes:
        result_url: where the outcome is posted.
        timeout_url: where a notice is posted when the request lay in M-PESA's queue for too long. It is not an outcome.
        remarks: 2 to 100 characters (letters, digits, spaces, ``- . /``); M-PESA wants some always.
    """

    remarks: str = attrs.field(default="None given", converter=_remarks, metadata=wire("Remarks"))
    timeout_url: str = attrs.field(converter=_timeout_url, repr=False, metadata=wire("QueueTimeOutURL"))
    result_url: str = attrs.field(converter=_result_url, repr=False, metadata=wire("ResultURL"))
