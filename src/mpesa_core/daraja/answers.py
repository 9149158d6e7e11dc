"""Answers to our requests: which are an acceptance, which a refusal, and which say nothing certain.

Daraja, its gateway and the firewall before it say no in ten shapes; each is recognised here and becomes one of the
errors of :mod:`mpesa_core.errors`, classified by :func:`mpesa_core.daraja.codes.classify_error`. Tokens and phone
numbers are taken out of every text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from mpesa_core.daraja.codec import from_wire, loads, to_text, wire
from mpesa_core.daraja.codes import ErrorClass, explain_error
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import (
    Busy,
    DarajaError,
    MpesaError,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    UnexpectedAnswer,
)
from mpesa_core.values import redact

__all__ = [
    "Accepted",
    "parse_acceptance",
    "parse_answer",
    "parse_json_answer",
    "refusal",
    "uncertain",
    "without_secrets",
]

T = TypeVar("T")

_ACCEPTED = frozenset({"0", "00000000"})
"""The ResponseCodes of an acceptance ("Register URL" answers with eight zeros)."""

_AFTER_TOKEN = re.compile(r"(?i)\b(token|bearer)\b(\s*(?:[-:=]|is)?\s*)(?=\S*\d)[^\s\"',;]{8,}")
_LOOKS_SECRET = re.compile(
    r"(?<![\w/])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*\d)(?!ws_CO_|AG_)[A-Za-z0-9+/]{20,}={0,2}"
)


def without_secrets(text: str) -> str:
    """Words from outside, fit for a log line: no token, credential or whole phone number, one line, 300 characters.

    Daraja puts the token into its text: "Error Occurred - Invalid Access Token - <token>" (source: its
    "Account Balance" page).
    """
    line = " ".join(text[:2000].split())
    line = "".join(each if each.isprintable() else "\ufffd" for each in line)
    line = _LOOKS_SECRET.sub("…", _AFTER_TOKEN.sub(r"\1\2…", line))
    line = redact(line)
    return line if len(line) <= 300 else line[:299] + "…"


@attrs.frozen(kw_only=True)
class _Refusal:
    """What an error envelope says; every part "" where it says nothing."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def refusal(body: Any) -> tuple[str, str, str] | None:
    """The code, message and request id of a body that is one of Daraja's error envelopes; None for any other body.

    Recognised: ``errorCode``/``errorMessage``, with or without ``requestId`` and in PascalCase; the gateway's
    ``fault``; a SOAP fault in JSON; a standing order's ``responseCode``/``responseMessage``; Bill Manager's
    ``rescode``/``resmsg``; and ``header``/``body`` pairs. The last three are also forms of success: those with a code
    of success are no error.
    """
    found = _refusal(body) if isinstance(body, dict) else None
    return (found.code, found.message, found.request_id) if found else None


def _refusal(body: Mapping[str, Any]) -> _Refusal | None:
    texts = {key.lower(): to_text(value, longest=4096) or "" for key, value in body.items()}
    request_id = texts.get("requestid") or texts.get("requestrefid") or ""
    if "errorcode" in texts or "errormessage" in texts:
        return _Refusal(code=texts.get("errorcode", ""), message=texts.get("errormessage", ""), request_id=request_id)
    if isinstance(fault := body.get("fault"), dict):
        detail = fault.get("detail")
        code = to_text(detail.get("errorcode")) if isinstance(detail, dict) else None
        return _Refusal(code=code or "", message=to_text(fault.get("faultstring")) or "gateway fault")
    if isinstance(envelope := body.get("Envelope"), dict):
        return _soap_fault(envelope)
    if isinstance(header := body.get("header"), dict):
        inside = {key.lower(): to_text(value) or "" for key, value in header.items()}
        code = inside.get("responsecode") or inside.get("status") or ""
        message = inside.get("responsemessage") or inside.get("message") or inside.get("customermessage") or ""
        request_id = inside.get("requestrefid") or inside.get("requestid") or ""
        return _Refusal(code=code, message=message, request_id=request_id) if _is_error_number(code) else None
    code = texts.get("rescode") or texts.get("responsecode") or ""
    if not _is_error_number(code):
        return None
    words = ("resmsg", "status_message", "responsemessage", "responsedescription")
    message = ". ".join(dict.fromkeys(filter(None, map(texts.get, words))))
    return _Refusal(code=code, message=message, request_id=request_id)


def _soap_fault(envelope: Mapping[str, Any]) -> _Refusal:
    inner = envelope.get("Body")
    fault = inner.get("Fault") if isinstance(inner, dict) else None
    fault = fault if isinstance(fault, dict) else {}
    return _Refusal(
        code=to_text(fault.get("faultcode")) or "", message=to_text(fault.get("faultstring")) or "SOAP fault"
    )


def _is_error_number(code: str) -> bool:
    """Whether it is an HTTP status of an error (these three envelopes put one where others have "0")."""
    return re.fullmatch(r"[45]\d\d", code, re.ASCII) is not None


def parse_json_answer(response: HttpResponse, *, moves_money: bool) -> dict[str, Any]:
    """The JSON object of an answer that is no error.

    Args:
        response: as it came.
        moves_money: an answer that says nothing certain is then :class:`~mpesa_core.errors.OutcomeUnknown`.

    Raises:
        TokenRefused, RequestRefused, NotYet, Busy: Daraja said no.
        OutcomeUnknown: moves_money, and the answer leaves open whether it was carried out: a server error, HTML, an
            empty or broken body.
        UnexpectedAnswer: not moves_money, and the same.
    """
    try:
        body = loads(response.body)
    except ValueError as error:
        body, trouble = None, str(error)
    else:
        trouble = "" if isinstance(body, dict) else f"expected a JSON object, got {type(body).__name__}"
    found = _refusal(body) if isinstance(body, dict) else None
    if found is None and 200 <= response.status < 300 and isinstance(body, dict):
        return body
    if found is None:
        found = _Refusal(message=trouble or "the answer has none of Daraja's known forms")
        if 200 <= response.status < 300:
            raise uncertain(response, found.message, moves_money=moves_money)
        found = attrs.evolve(found, message=f"{found.message}{_page_words(response.body)}")
    raise _error(response, found, moves_money=moves_money)


def _page_words(body: bytes) -> str:
    """The visible words of a page that is no JSON, such as the firewall's; "" for none."""
    page = body[:65_536].decode("utf-8", errors="replace")
    words = " ".join(re.sub(r"<[^<>]*>", " ", page).split())
    return f": {words[:200]}" if words else ""


def uncertain(response: HttpResponse, trouble: str, *, moves_money: bool, code: str | None = None) -> MpesaError:
    """The error of an answer that says nothing certain: OutcomeUnknown if money may move, else UnexpectedAnswer."""
    words = f"HTTP {response.status}{' ' + code if code else ''}: {without_secrets(trouble)}"
    if moves_money:
        text = f"Daraja's answer leaves open whether the request was carried out: {words}. Ask; never send it again."
        return OutcomeUnknown(text, status=response.status, code=code or None)
    return UnexpectedAnswer(f"Daraja's answer could not be understood: {words}", status=response.status)


_ERRORS: Mapping[ErrorClass, type[DarajaError]] = {
    ErrorClass.TOKEN: TokenRefused,
    ErrorClass.REFUSED: RequestRefused,
    ErrorClass.BUSY: Busy,
    ErrorClass.NOT_YET: NotYet,
}


def _error(response: HttpResponse, found: _Refusal, *, moves_money: bool) -> MpesaError:
    status = response.status
    if status < 400 and re.match(r"[45]\d\d(?!\d)", found.code, re.ASCII):
        status = int(found.code[:3])  # a refusal in an answer that the gateway let through as 200
    explained = explain_error(status, found.code, found.message)
    kind = explained.error_class or ErrorClass.UNKNOWN
    # "Being processed" said of a request that moves money is no refusal: it may be this very request.
    if kind is ErrorClass.UNKNOWN or (moves_money and kind is ErrorClass.NOT_YET):
        return uncertain(response, found.message, moves_money=moves_money, code=without_secrets(found.code))
    return _ERRORS[kind](
        without_secrets(found.message),
        status=response.status,
        code=without_secrets(found.code)[:64],
        request_id=found.request_id[:255],
        hint=f"{explained.meaning} {explained.remedy}".strip(),
        retry_after=_retry_after(response),
        certain=explained.certain or kind is not ErrorClass.BUSY,
    )


def _retry_after(response: HttpResponse) -> float | None:
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else None


def parse_answer(response: HttpResponse, answer: type[T], *, moves_money: bool) -> T:
    """An answer of a class whose fields carry their wire names.

    Raises:
        MpesaError: as :func:`parse_json_answer` says; a required field that is missing or empty is no certain answer.
    """
    return _read(response, parse_json_answer(response, moves_money=moves_money), answer, moves_money=moves_money)


def _read(response: HttpResponse, body: Mapping[str, Any], answer: type[T], *, moves_money: bool) -> T:
    try:
        return from_wire(answer, body)
    except ValueError as error:
        raise uncertain(response, str(error), moves_money=moves_money) from None


def parse_acceptance(
    response: HttpResponse,
    answer: type[T],
    *,
    moves_money: bool,
    code_name: str = "ResponseCode",
    code_required: bool = True,
    accepted: frozenset[str] = _ACCEPTED,
) -> T:
    """The answer of a call that is accepted by a code, ``ResponseCode`` "0" (or eight zeros) by default.

    Args:
        response: as it came.
        answer: the class to read, whose fields carry their wire names.
        moves_money: see :func:`parse_json_answer`.
        code_name: the key of the code.
        code_required: an answer without the code says nothing certain; False for those that have been seen without it.
        accepted: the codes of an acceptance.

    Raises:
        RequestRefused: another code.
        MpesaError: as :func:`parse_json_answer` says; a code or a required field that is missing or empty is no certain
            answer.
    """
    body = parse_json_answer(response, moves_money=moves_money)
    code = to_text(body.get(code_name))
    if code is None and (code_required or body.get(code_name) is not None):
        raise uncertain(response, f"{code_name} is missing or unreadable", moves_money=moves_money)
    if code is not None and code not in accepted:
        words = to_text(body.get("ResponseDescription")) or "no description"
        raise RequestRefused(without_secrets(words), status=response.status, code=without_secrets(code)[:64])
    return _read(response, body, answer, moves_money=moves_money)


@attrs.frozen(kw_only=True)
class Accepted:
    """A payout, reversal or question was accepted; its outcome comes later as a result, or never.

    Attributes:
        conversation_id: M-PESA's id of the request; the result carries it.
        originator_conversation_id: the requester's id of it (ours in B2C v3, else made by Daraja).
        response_code: "0".
        response_description: Daraja's words.
    """

    conversation_id: str = attrs.field(metadata=wire("ConversationID"))
    originator_conversation_id: str = attrs.field(metadata=wire("OriginatorConversationID", "OriginatorCoversationID"))
    response_code: str = attrs.field(metadata=wire("ResponseCode"))
    response_description: str = attrs.field(default="", metadata=wire("ResponseDescription"))
