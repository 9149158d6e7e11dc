"""What M-PESA posts to us: bytes in, a frozen typed callback out, for every type and for any bytes.

:func:`decode_callback` never raises. What it cannot read becomes :class:`Unreadable`; a success whose facts (amount,
receipt, identifiers) are there but cannot be read, or contradict each other, has the outcome UNKNOWN and says why in
``problem``. Nothing that is left out, renamed or mistyped turns into a success: that takes M-PESA's own code for it.

Sources: the pages of Safaricom's developer portal on each product, and captured callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.daraja.answers import refusal
from mpesa_core.daraja.balance import read_balances
from mpesa_core.daraja.codec import (
    loads,
    phone_of_party,
    to_code,
    to_decimal,
    to_identifier,
    to_phone,
    to_receipt,
    to_shillings,
    to_text,
)
from mpesa_core.daraja.codes import ErrorClass, Family, Outcome, classify_error, outcome_of, transaction_status_outcome
from mpesa_core.daraja.messages import (
    BalanceCallback,
    BillPayment,
    C2BCallback,
    Callback,
    CallbackType,
    ExpressCallback,
    PullRow,
    ResultCallback,
    StandingOrderCallback,
    StatusCallback,
    StkCallback,
    StkQueryAnswer,
    TimeoutNotice,
    Unreadable,
)
from mpesa_core.daraja.plain import read_plain
from mpesa_core.values import from_nairobi

__all__ = [
    "BalanceCallback",
    "BillPayment",
    "C2BCallback",
    "Callback",
    "CallbackType",
    "ExpressCallback",
    "PullRow",
    "ResultCallback",
    "StandingOrderCallback",
    "StatusCallback",
    "StkCallback",
    "StkQueryAnswer",
    "TimeoutNotice",
    "Unreadable",
    "decode_callback",
    "stk_query_answer",
]


class _Unfit(Exception):  # noqa: N818 - it never leaves this module
    """The body does not have the type's shape."""


def _blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


class _Facts:
    """Named values, and what went wrong in reading them. A name without a value, or with a blank one, says nothing."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.problems: list[str] = []
        self._values = values
        self._repeated: dict[str, list[Any]] = {}

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, Any]]) -> _Facts:
        """Of names that may repeat."""
        facts = cls(dict(pairs))
        if len(facts._values) != len(pairs):
            told: dict[str, list[Any]] = {}
            for name, value in pairs:
                if not _blank(value):
                    told.setdefault(name, []).append(value)
            facts._values = {name: values[0] for name, values in told.items()}
            facts._repeated = {name: values[1:] for name, values in told.items() if len(values) > 1}
        return facts

    def first(self, *names: str) -> Any:
        """The first value under the first of the names that has one, or None."""
        for name in names:
            value = self._values.get(name)
            if not _blank(value):
                return value
        return None

    def has(self, *names: str) -> bool:
        """Whether one of the names has a value."""
        return self.first(*names) is not None

    def certain(self, read: Callable[[Any], Any], *names: str) -> Any:
        """What all values under the names say alike; None, and a problem, if one is unreadable or they differ."""
        found: list[Any] = []
        for name in names:
            value = self._values.get(name)
            if not _blank(value):
                found.append(read(value))
                if self._repeated:
                    found += map(read, self._repeated.get(name, ()))
        if not found:
            return None
        if None in found:
            self.problems.append(f"{names[0]} cannot be read")
            return None
        if len(found) > 1 and any(each != found[0] for each in found):
            self.problems.append(f"{names[0]} is told in different ways")
            return None
        return found[0]

    def amount(self, *names: str) -> Decimal | None:
        """Shillings with two decimals."""
        found: Decimal | None = self.certain(to_shillings, *names)
        return found

    def identifier(self, *names: str) -> str | None:
        """Text that a row is found by."""
        found: str | None = self.certain(to_identifier, *names)
        return found

    def receipt(self, *names: str) -> str | None:
        """A receipt that is no dummy."""
        found: str | None = self.certain(to_receipt, *names)
        return found or None

    def text(self, *names: str) -> str | None:
        """Any text; one that cannot be read is no problem."""
        return to_text(self.first(*names))

    def phone(self, *names: str) -> str | None:
        """A phone number as sent."""
        return to_phone(self.first(*names))

    def moment(self, *names: str) -> datetime | None:
        """A time."""
        return from_nairobi(self.first(*names))


def _judged(outcome: Outcome, problems: list[str], contradiction: str | None = None) -> tuple[Outcome, str | None]:
    """The outcome that stands: a yes with unreadable facts is UNKNOWN, and so is a no with the facts of a yes."""
    if contradiction is not None and outcome not in (Outcome.SUCCESS, Outcome.PENDING):
        problems.append(contradiction)
        outcome = Outcome.UNKNOWN
    elif problems and outcome is Outcome.SUCCESS:
        outcome = Outcome.UNKNOWN
    return outcome, "; ".join(problems) or None


def _object_in(body: Any, *path: str) -> dict[str, Any]:
    """The object under that path.

    Raises:
        _Unfit: there is none.
    """
    found = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise _Unfit(f"expected an object under {'.'.join(path)}" if path else "expected a JSON object")
    return found


def _lowered(body: Any, what: str) -> dict[str, Any]:
    """An object with its keys in lower case: flat callbacks are spelt in more than one way.

    Raises:
        _Unfit: no object, or two keys that differ in case only.
    """
    found = _object_in(body)
    lowered = {key.lower(): value for key, value in found.items()}
    if len(lowered) != len(found):
        raise _Unfit(f"two keys of {what} differ in case only")
    return lowered


def _pairs(container: Any, list_name: str, key: str, value: str) -> tuple[tuple[tuple[str, Any], ...], bool]:
    """The items of a list of named values, and whether something in it was no such item.

    The list may be missing, one object instead of a list, or stand without the object around it.
    """
    items = container.get(list_name) if isinstance(container, dict) else container
    if isinstance(items, dict):
        items = [items] if items else []
    if _blank(items):
        return (), False
    if not isinstance(items, list):
        return (), True
    named = [item for item in items if isinstance(item, dict) and isinstance(item.get(key), str)]
    return tuple((item[key].strip(), item.get(value)) for item in named), len(named) != len(items)


def _stk(kind: CallbackType, body: Any) -> Callback:
    told = _object_in(body, "Body", "stkCallback")
    pairs, odd = _pairs(told.get("CallbackMetadata"), "Item", "Name", "Value")
    envelope, items = _Facts(told), _Facts.of(pairs)
    code, description = to_code(told.get("ResultCode")), envelope.text("ResultDesc")
    checkout = envelope.identifier("CheckoutRequestID")
    receipt, amount = items.receipt("MpesaReceiptNumber"), items.amount("Amount")
    outcome, problem = _judged(
        outcome_of(code, Family.STK, description=description or ""),
        [*(["CallbackMetadata cannot be read"] if odd else []), *envelope.problems, *items.problems],
        "a receipt without the code of a success" if receipt else None,
    )
    return StkCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=checkout,
        result_code=code,
        result_desc=description,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=items.phone("PhoneNumber"),
        occurred_at=items.moment("TransactionDate"),
        checkout_request_id=checkout,
        merchant_request_id=envelope.text("MerchantRequestID"),
        raw=body,
        problem=problem,
    )


def stk_query_answer(body: Any) -> StkQueryAnswer:
    """What the JSON of an STK query's answer says, error envelopes among them; never raises.

    Only ResponseCode "0" with ResultCode "0" is a success. An error that says "being processed" is PENDING, any other
    UNKNOWN: an error is an answer to the question, not an outcome of the payment.
    """
    if not isinstance(body, dict):
        return StkQueryAnswer(callback_type=CallbackType.STK_QUERY, raw=body, problem="expected a JSON object")
    refused = refusal(body)
    if refused is not None:
        code, message, _ = refused
        early = classify_error(500, code, message) is ErrorClass.NOT_YET
        return StkQueryAnswer(
            callback_type=CallbackType.STK_QUERY,
            outcome=Outcome.PENDING if early else Outcome.UNKNOWN,
            result_desc=message or None,
            raw=body,
            problem="the question was answered with an error",
        )
    facts = _Facts(body)
    result, response = to_code(body.get("ResultCode")), to_text(body.get("ResponseCode"))
    description = facts.text("ResultDesc")
    checkout = facts.identifier("CheckoutRequestID")
    problems = facts.problems if response == "0" else [*facts.problems, "ResponseCode is not 0"]
    outcome, problem = _judged(
        outcome_of(result, Family.STK, from_query=True, description=description or ""),
        problems,
        None if response == "0" else "an outcome in an answer that was not accepted",
    )
    return StkQueryAnswer(
        callback_type=CallbackType.STK_QUERY,
        outcome=outcome,
        correlation_id=checkout,
        result_code=result,
        result_desc=description or facts.text("ResponseDescription"),
        checkout_request_id=checkout,
        merchant_request_id=facts.text("MerchantRequestID"),
        response_code=response,
        raw=body,
        problem=problem,
    )


def _stk_query(_: CallbackType, body: Any) -> Callback:
    return stk_query_answer(_object_in(body))


def _paid(facts: _Facts, receipt: str | None, amount: Decimal | None) -> tuple[Outcome, str | None]:
    """The outcome of a report that has no result code: its receipt and its amount are what it says."""
    if facts.has("resultcode"):
        facts.problems.append("a result code, which such a report does not have")
    if receipt is None:
        facts.problems.append("no receipt")
    if amount is None or amount <= 0:
        facts.problems.append("no amount that could have been paid")
    return _judged(Outcome.SUCCESS, list(dict.fromkeys(facts.problems)))


def _c2b(kind: CallbackType, body: Any) -> Callback:
    facts = _Facts(_lowered(body, "a C2B payment"))
    if not facts.has("transid"):
        raise _Unfit("a C2B payment without TransID")
    receipt, amount = facts.receipt("transid"), facts.amount("transamount")
    short_code = facts.identifier("businessshortcode")
    reference = facts.identifier("billrefnumber")
    if short_code is None:
        facts.problems.append("no BusinessShortCode")
    outcome, problem = _paid(facts, receipt, amount)
    if kind is CallbackType.C2B_VALIDATION:
        outcome = Outcome.PENDING
    return C2BCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=receipt,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=facts.phone("msisdn"),
        short_code=short_code,
        account_reference=reference,
        occurred_at=facts.moment("transtime"),
        raw=body,
        problem=problem,
        transaction_id=receipt,
        transaction_type=facts.text("transactiontype"),
        third_party_id=facts.text("thirdpartytransid"),
        first_name=facts.text("firstname"),
        middle_name=facts.text("middlename"),
        last_name=facts.text("lastname"),
        org_balance=to_decimal(facts.first("orgaccountbalance")),
        invoice_number=facts.text("invoicenumber"),
    )


_FAMILIES: Mapping[CallbackType, Family] = {
    CallbackType.B2C_RESULT: Family.B2C,
    CallbackType.B2B_RESULT: Family.B2B,
    CallbackType.REVERSAL_RESULT: Family.REVERSAL,
    CallbackType.STATUS_RESULT: Family.STATUS,
    CallbackType.BALANCE_RESULT: Family.BALANCE,
}

_COMPLETED_TIME = ("TransactionCompletedDateTime", "TransCompletedTime", "TransactionCompletedTime")
"""Only a transaction that was carried out has one of these; a failure has BOCompletedTime at most."""


@attrs.frozen(kw_only=True)
class _Result:
    """The envelope that results share, read once."""

    envelope: _Facts
    parameters: _Facts
    pairs: tuple[tuple[str, Any], ...]
    references: tuple[tuple[str, Any], ...]
    code: int | str | None
    description: str | None
    outcome: Outcome
    odd: list[str]


def _read_result(kind: CallbackType, body: Any) -> _Result:
    told = _object_in(body, "Result")
    pairs, odd = _pairs(told.get("ResultParameters"), "ResultParameter", "Key", "Value")
    references, _ = _pairs(told.get("ReferenceData"), "ReferenceItem", "Key", "Value")
    envelope = _Facts(told)
    code, description = to_code(told.get("ResultCode")), envelope.text("ResultDesc")
    outcome = outcome_of(code, _FAMILIES[kind], description=description or "")
    problems = ["ResultParameters cannot be read"] if odd else []
    if to_code(told.get("ResultType")) == 1:
        # "Waiting for further messages": whatever the code is, it is not the last word.
        problems.append("ResultType 1: further messages follow")
        outcome = Outcome.PENDING
    return _Result(
        envelope=envelope,
        parameters=_Facts.of(pairs),
        pairs=pairs,
        references=references,
        code=code,
        description=description,
        outcome=outcome,
        odd=problems,
    )


def _result(kind: CallbackType, body: Any) -> Callback:
    told = _read_result(kind, body)
    envelope, parameters = told.envelope, told.parameters
    conversation = envelope.identifier("ConversationID")
    originator = envelope.identifier("OriginatorConversationID")
    transaction, named = envelope.receipt("TransactionID"), parameters.receipt("TransactionReceipt")
    amount = parameters.amount("TransactionAmount", "Amount")
    problems = [*told.odd, *envelope.problems, *parameters.problems]
    if named and transaction and named != transaction:
        problems.append("TransactionReceipt and TransactionID differ")
    if parameters.has("TransactionStatus", "AccountBalance"):
        problems.append("it answers a question, and is not the result of a payment")
    carried_out = bool(named) or parameters.has(*_COMPLETED_TIME)
    outcome, problem = _judged(
        told.outcome, problems, "the particulars of a success without its code" if carried_out else None
    )
    party = parameters.text("ReceiverPartyPublicName", "CreditPartyPublicName")
    references = _Facts.of(told.references)
    return ResultCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=conversation or originator,
        result_code=told.code,
        result_desc=told.description,
        receipt_number=(named or transaction) if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=phone_of_party(party),
        account_reference=references.text("BillReferenceNumber"),
        occurred_at=parameters.moment(*_COMPLETED_TIME, "BOCompletedTime"),
        conversation_id=conversation,
        originator_conversation_id=originator,
        raw=body,
        problem=problem,
        transaction_id=envelope.text("TransactionID"),
        parameters=told.pairs,
        reference_items=told.references,
        original_transaction_id=parameters.text("OriginalTransactionID"),
        party_name=party,
    )


def _status(kind: CallbackType, body: Any) -> Callback:
    told = _read_result(kind, body)
    parameters = told.parameters
    status = parameters.certain(to_text, "TransactionStatus")
    outcome = Outcome.UNKNOWN
    if told.outcome is Outcome.SUCCESS:
        outcome = transaction_status_outcome(status)
    question = told.envelope.identifier("ConversationID")
    conversation = parameters.identifier("ConversationID", "Conversation ID")
    originator = parameters.identifier("OriginatorConversationID", "Originator Conversation ID")
    receipt, amount = parameters.receipt("ReceiptNo"), parameters.amount("Amount")
    outcome, problem = _judged(outcome, [*told.odd, *parameters.problems])
    party = parameters.text("CreditPartyName")
    return StatusCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=conversation or originator or question,
        result_code=told.code,
        result_desc=told.description,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=phone_of_party(party) or phone_of_party(parameters.text("DebitPartyName")),
        occurred_at=parameters.moment("FinalisedTime", "FinalizedTime"),
        conversation_id=conversation,
        originator_conversation_id=originator,
        raw=body,
        problem=problem,
        transaction_id=receipt,
        parameters=told.pairs,
        reference_items=told.references,
        party_name=party,
        transaction_status=status,
        question_conversation_id=question,
        reason_type=parameters.text("ReasonType"),
    )


def _balance(kind: CallbackType, body: Any) -> Callback:
    told = _read_result(kind, body)
    conversation = told.envelope.identifier("ConversationID")
    originator = told.envelope.identifier("OriginatorConversationID")
    listed = told.parameters.certain(lambda value: to_text(value, longest=8192), "AccountBalance")
    balances = read_balances(listed) if isinstance(listed, str) else ()
    problems = [*told.odd, *told.envelope.problems, *told.parameters.problems]
    if told.outcome is Outcome.SUCCESS and not balances:
        problems.append("no AccountBalance")
    outcome, problem = _judged(told.outcome, problems)
    return BalanceCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=conversation or originator,
        result_code=told.code,
        result_desc=told.description,
        occurred_at=told.parameters.moment("BOCompletedTime"),
        conversation_id=conversation,
        originator_conversation_id=originator,
        raw=body,
        problem=problem,
        transaction_id=told.envelope.text("TransactionID"),
        parameters=told.pairs,
        reference_items=told.references,
        balances=balances,
    )


def _timeout(kind: CallbackType, body: Any) -> Callback:
    """Either form: our own request posted back, or a result; M-PESA documents neither."""
    whole = _object_in(body)
    inner = whole.get("Result")
    facts = _Facts(inner if isinstance(inner, dict) else whole)
    conversation = facts.identifier("ConversationID")
    originator = facts.identifier("OriginatorConversationID")
    return TimeoutNotice(
        callback_type=kind,
        outcome=Outcome.UNKNOWN,
        correlation_id=conversation or originator,
        result_code=to_code(facts.first("ResultCode")),
        result_desc=facts.text("ResultDesc"),
        conversation_id=conversation,
        originator_conversation_id=originator,
        raw=body,
        notice=True,
        problem="; ".join(facts.problems) or None,
    )


def _express(kind: CallbackType, body: Any) -> Callback:
    facts = _Facts(_lowered(body, "an express checkout"))
    if not facts.has("requestid", "resultcode"):
        raise _Unfit("an express checkout without requestId and resultCode")
    code, description = to_code(facts.first("resultcode")), facts.text("resultdesc")
    request, conversation = facts.identifier("requestid"), facts.identifier("conversationid")
    receipt, amount = facts.receipt("transactionid"), facts.amount("amount")
    status = facts.text("status")
    if status is not None and status.upper() != "SUCCESS":
        facts.problems.append("status is not SUCCESS")
    outcome, problem = _judged(
        outcome_of(code, Family.EXPRESS, description=description or ""),
        facts.problems,
        "a receipt without the code of a success" if receipt else None,
    )
    return ExpressCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=request,
        result_code=code,
        result_desc=description,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        conversation_id=conversation,
        raw=body,
        problem=problem,
        payment_reference=facts.text("paymentreference"),
    )


def _bill(kind: CallbackType, body: Any) -> Callback:
    facts = _Facts(_lowered(body, "a bill payment"))
    if not facts.has("transactionid"):
        raise _Unfit("a bill payment without transactionId")
    receipt, amount = facts.receipt("transactionid"), facts.amount("paidamount")
    short_code, reference = facts.identifier("shortcode"), facts.identifier("accountreference")
    outcome, problem = _paid(facts, receipt, amount)
    return BillPayment(
        callback_type=kind,
        outcome=outcome,
        correlation_id=receipt,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=facts.phone("msisdn"),
        short_code=short_code,
        account_reference=reference,
        occurred_at=facts.moment("datecreated"),
        raw=body,
        problem=problem,
    )


def _standing_order(kind: CallbackType, body: Any) -> Callback:
    whole = _lowered(body, "a standing order")
    header = _Facts(_lowered(whole.get("responseheader"), "the header"))
    inside = _lowered(whole.get("responsebody") or {}, "the body")
    data = inside.get("responsedata")
    items = [_lowered(item, "the data") for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    named = [(item["name"].lower(), item.get("value")) for item in items if isinstance(item.get("name"), str)]
    facts = _Facts.of([("responsecode", header.first("responsecode")), *named])
    code = facts.certain(to_code, "responsecode")
    request, response = header.identifier("requestrefid"), header.identifier("responserefid")
    statuses = [text.upper() for name, value in named if name == "status" and (text := to_text(value))]
    problems = [*facts.problems, *header.problems]
    if not isinstance(data, list) or len(named) != len(data):
        problems.append("responseData cannot be read")
    if any(each not in ("OKAY", "ACTIVE") for each in statuses):
        problems.append("status is not OKAY")
    outcome, problem = _judged(outcome_of(code, Family.RATIBA), problems)
    return StandingOrderCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=request or response,
        result_code=code,
        result_desc=header.text("responsedescription"),
        phone_number=facts.phone("msisdn"),
        raw=body,
        problem=problem,
        standing_order_id=facts.receipt("transactionid"),
        request_ref_id=request,
        response_ref_id=response,
        status=statuses[0] if statuses else None,
    )


def _pull(kind: CallbackType, body: Any) -> Callback:
    facts = _Facts(_lowered(body, "a pulled transaction"))
    if not facts.has("transactionid"):
        raise _Unfit("a pulled transaction without transactionId")
    receipt, amount = facts.receipt("transactionid"), facts.amount("amount")
    short_code, reference = facts.identifier("shortcode"), facts.identifier("billreference")
    outcome, problem = _paid(facts, receipt, amount)
    return PullRow(
        callback_type=kind,
        outcome=outcome,
        correlation_id=receipt,
        receipt_number=receipt if outcome is Outcome.SUCCESS else None,
        amount=amount,
        phone_number=facts.phone("msisdn"),
        short_code=short_code,
        account_reference=reference,
        occurred_at=facts.moment("trxdate"),
        raw=body,
        problem=problem,
        transaction_type=facts.text("transactiontype"),
        sender=facts.text("sender"),
        organization_name=facts.text("organizationname"),
    )


_DECODERS: Mapping[CallbackType, Callable[[CallbackType, Any], Callback]] = {
    CallbackType.STK: _stk,
    CallbackType.C2B_VALIDATION: _c2b,
    CallbackType.C2B_CONFIRMATION: _c2b,
    CallbackType.B2C_RESULT: _result,
    CallbackType.B2C_TIMEOUT: _timeout,
    CallbackType.REVERSAL_RESULT: _result,
    CallbackType.REVERSAL_TIMEOUT: _timeout,
    CallbackType.BALANCE_RESULT: _balance,
    CallbackType.BALANCE_TIMEOUT: _timeout,
    CallbackType.STATUS_RESULT: _status,
    CallbackType.STATUS_TIMEOUT: _timeout,
    CallbackType.B2B_RESULT: _result,
    CallbackType.B2B_TIMEOUT: _timeout,
    CallbackType.B2B_EXPRESS: _express,
    CallbackType.BILL_PAYMENT: _bill,
    CallbackType.STANDING_ORDER: _standing_order,
    CallbackType.STK_QUERY: _stk_query,
    CallbackType.PULL: _pull,
}

_SECRETS = frozenset({"securitycredential", "password", "passkey", "initiatorpassword", "access_token"})


def _may_hold_credentials(body: bytes) -> bool:
    """Whether one of their names may be in the text: in its own letters, or spelt by escapes or beyond ASCII."""
    if b"\\" in body or not body.isascii():
        return True
    lowered = body.decode().lower()  # text is searched faster than bytes are; one word after the other, than by any()
    return "password" in lowered or "passkey" in lowered or "securitycredential" in lowered or "access_token" in lowered


def _without_credentials(value: Any) -> None:
    """Blot out the credentials in a parsed body, in place: a queue-timeout notice posts our own request back."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key.lower() in _SECRETS:
                value[key] = "…"
            else:
                _without_credentials(each)
    elif isinstance(value, list):
        for each in value:
            _without_credentials(each)


def decode_callback(callback_type: CallbackType | str, body: bytes) -> Callback:
    """What a callback says.

    Args:
        callback_type: where it came in; as text it may be anything.
        body: its bytes, of any kind and size.

    Returns:
        The callback; :class:`Unreadable` where the type is unknown or the body is not what the type looks like. Nothing
        is ever raised, and the time it takes is proportional to the body: depth and the length of numbers are bounded.
    """
    try:
        kind = callback_type if isinstance(callback_type, CallbackType) else CallbackType(callback_type)
    except ValueError:
        return Unreadable(problem="unknown callback type")
    found = read_plain(kind, body)
    if found is not None:
        return found
    raw = None
    try:
        raw = loads(body)
        if _may_hold_credentials(body):
            _without_credentials(raw)
        return _DECODERS[kind](kind, raw)
    except (_Unfit, ValueError) as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - the promise is that nothing is raised; the body is kept for a person
        problem = f"{type(error).__name__} in reading it"
    return Unreadable(callback_type=kind, raw=raw, notice=kind.endswith("_TIMEOUT"), problem=problem)
