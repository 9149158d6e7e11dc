"""Daraja's calls: what each checks, and what it answers when it has accepted.

Sources: the pages of Safaricom's portal for each product; where these and captured traffic differ, what was captured.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import attrs

from mpesa_core.daraja.operation import HttpRequest, HttpResponse
from mpesa_core.sandbox import bodies, checks, credentials
from mpesa_core.sandbox.behaviour import ENDINGS, Api, Behaviour, Ending, QueryAnswer
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Choices, Subject
from mpesa_core.sandbox.delivery import Courier, Posted, Posting
from mpesa_core.sandbox.mpesa import Mpesa, Order, Registration
from mpesa_core.sandbox.organisation import Organisation, Rules

__all__ = ["PATHS", "Call", "Calls", "spike_arrest", "token_refusal"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/oauth/v1/generate": (Api.OAUTH, "v1"),
    "/mpesa/stkpush/v1/processrequest": (Api.STK_PUSH, "v1"),
    "/mpesa/stkpushquery/v1/query": (Api.STK_QUERY, "v1"),
    "/mpesa/c2b/v1/registerurl": (Api.C2B_REGISTER, "v1"),
    "/mpesa/c2b/v2/registerurl": (Api.C2B_REGISTER, "v2"),
    "/mpesa/c2b/v1/simulate": (Api.C2B_SIMULATE, "v1"),
    "/mpesa/c2b/v2/simulate": (Api.C2B_SIMULATE, "v2"),
    "/mpesa/b2c/v1/paymentrequest": (Api.B2C, "v1"),
    "/mpesa/b2c/v3/paymentrequest": (Api.B2C, "v3"),
    "/mpesa/reversal/v1/request": (Api.REVERSAL, "v1"),
    "/mpesa/transactionstatus/v1/query": (Api.STATUS, "v1"),
    "/mpesa/accountbalance/v1/query": (Api.BALANCE, "v1"),
}
"""Every path that is served: which call, in which version."""

_SHORT_CODE: Final = r"\d{5,7}"


@attrs.define(kw_only=True)
class Call:
    """A request under way, and what is to become of it."""

    api: Api | None
    version: str
    now: datetime
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    behaviour: Behaviour = attrs.field(factory=Behaviour)
    order: Order | None = None
    accepted: bool = False
    refusal: Refused | None = None
    response: HttpResponse | None = None
    early: list[Posting] = attrs.field(factory=list)


class Calls:
    """Takes calls and answers them. Its methods are called with the courier's lock held.

    Args:
        mpesa: what is behind.
        courier: takes simulated payments along.
        choices: the behaviours, for the payments that simulations make.
        organisations: by short code and till.
        keys: consumer key and secret.
        rules: the house rules.

    Attributes:
        credential: the ready-made SecurityCredential that is accepted from everyone.
        tokens: the access tokens that are good, and until when.
    """

    def __init__(
        self,
        mpesa: Mpesa,
        courier: Courier,
        choices: Choices,
        organisations: Mapping[str, Organisation],
        *,
        keys: tuple[str, str],
        rules: Rules,
    ) -> None:
        self.credential = mpesa.identifiers.credential()
        self.tokens: dict[str, datetime] = {}
        self._mpesa = mpesa
        self._courier = courier
        self._choices = choices
        self._organisations = organisations
        self._keys = keys
        self._rules = rules
        self._queried: deque[datetime] = deque()
        self._calls: Mapping[Api, Callable[[Call], HttpResponse]] = {
            Api.STK_PUSH: self._stk_push,
            Api.STK_QUERY: self._stk_query,
            Api.C2B_REGISTER: self._c2b_register,
            Api.C2B_SIMULATE: self._c2b_simulate,
            Api.B2C: self._b2c,
            Api.REVERSAL: self._reversal,
            Api.STATUS: self._status,
            Api.BALANCE: self._balance,
        }

    def answer(self, api: Api, call: Call, request: HttpRequest) -> HttpResponse:
        """Carry a call out.

        Raises:
            Refused: it is not taken.
        """
        if api is Api.OAUTH:
            return self._token(request, call.now)
        self._check_token(request, api, call.now)
        return self._calls[api](call)

    def subject(self, api: Api, fields: Mapping[str, Any]) -> Subject:
        """What a request is about, as far as it can be told."""
        if api is Api.STK_QUERY:
            push = self._mpesa.pushes.get(checks.text(fields, "CheckoutRequestID"))
            if push is None:
                return Subject()
            code = push.organisation.short_code
            return Subject(phone=push.phone, amount=push.amount, reference=push.reference, short_code=code)
        try:
            amount: Decimal | None = checks.amount(fields, cents=True)
        except Refused:
            amount = None
        phone = {Api.STK_PUSH: "PhoneNumber", Api.B2C: "PartyB", Api.C2B_SIMULATE: "Msisdn"}.get(api, "")
        reference = {
            Api.STK_PUSH: "AccountReference",
            Api.B2C: "OriginatorConversationID",
            Api.C2B_SIMULATE: "BillRefNumber",
        }.get(api, "TransactionID")
        codes = ("BusinessShortCode", "ShortCode", "ReceiverParty", "PartyA")
        named = (self._organisations.get(checks.text(fields, name)) for name in codes)
        organisation = next(filter(None, named), None)
        entry = self._mpesa.ledger.get(checks.text(fields, "TransactionID"))
        return Subject(
            phone=checks.text(fields, phone) if entry is None else entry.phone,
            amount=amount,
            reference=checks.text(fields, reference),
            short_code=organisation.short_code if organisation else None,
        )

    def _token(self, request: HttpRequest, now: datetime) -> HttpResponse:
        checks.grant_type(request.path.partition("?")[2])
        if checks.basic_credentials(request) != (self._keys):
            raise Refused(400, "400.008.01", "Bad Request - invalid credentials")
        if self._rules.new_token_revokes:
            self.tokens.clear()
        token = self._mpesa.identifiers.token()
        self.tokens[token] = now + timedelta(seconds=self._rules.token_lifetime)
        lifetime: int | str = int(self._rules.token_lifetime)
        if self._rules.expires_in_as_text:
            lifetime = str(lifetime)
        return bodies.json_response(200, {"access_token": token, "expires_in": lifetime})

    def _check_token(self, request: HttpRequest, api: Api, now: datetime) -> None:
        token = checks.bearer_token(request)
        until = self.tokens.get(token)
        if until is None or until <= now:
            raise token_refusal(api, token)

    def _check_password(self, fields: Mapping[str, Any]) -> Organisation:
        code = checks.matching(fields, "BusinessShortCode", _SHORT_CODE)
        stamp = checks.timestamp(fields)
        password = checks.matching(fields, "Password", r".+")
        organisation = self._organisations.get(code)
        if organisation is None or organisation.short_code != code:
            raise Refused(500, "500.001.1001", "Merchant does not exist")
        if password != base64.b64encode(f"{code}{organisation.passkey}{stamp}".encode()).decode():
            raise Refused(500, "500.001.1001", "[MerchantValidate] - Wrong credentials")
        return organisation

    def _operator(self, call: Call, name_field: str, code_field: str) -> tuple[Organisation, Ending | None]:
        """The organisation, and how whatever this operator asks ends: a wrong password is found out afterwards."""
        name = checks.matching(call.fields, name_field, r".{1,64}")
        credential = checks.matching(call.fields, "SecurityCredential", r"[A-Za-z0-9+/]{2,}={0,2}")
        organisation = self._organisations.get(checks.matching(call.fields, code_field, _SHORT_CODE))
        if organisation is None:
            raise checks.invalid(code_field)
        known = credential == self.credential
        if not known and credentials.can_decrypt():
            known = credentials.decrypt(credential) == organisation.initiator_password.encode()
        return organisation, None if known and name == organisation.initiator_name else Ending.WRONG_PIN

    def _stk_push(self, call: Call) -> HttpResponse:
        fields = call.fields
        organisation = self._check_password(fields)
        kind = checks.one_of(fields, "TransactionType", "CustomerPayBillOnline", "CustomerBuyGoodsOnline")
        till = kind == "CustomerBuyGoodsOnline"
        if till and organisation.till_number is None:
            raise checks.invalid("TransactionType")
        amount = checks.amount(fields)
        checks.phone(fields, "PartyA")
        receiver = checks.matching(fields, "PartyB", _SHORT_CODE)
        phone = checks.phone(fields, "PhoneNumber")
        url = checks.url(fields, "CallBackURL")
        reference = checks.words(fields, "AccountReference", longest=12)
        checks.words(fields, "TransactionDesc", longest=13, called="Remarks")
        open_prompt = self._mpesa.prompts.get(phone)
        if open_prompt is not None and open_prompt.decided_at is None:
            lapses = open_prompt.at + timedelta(seconds=self._rules.prompt_lifetime)
            if call.now < lapses:
                text = "Unable to lock subscriber, a transaction is already in process for the current subscriber"
                raise Refused(500, "500.001.1001", text)
        order = Order(
            api=Api.STK_PUSH,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=fields,
            url=url,
            amount=amount,
            phone=phone,
            reference=reference,
            merchant_request_id=self._mpesa.identifiers.request_id(),
            checkout_request_id=self._mpesa.identifiers.checkout_request_id(call.now, phone),
            originator_conversation_id=self._mpesa.identifiers.request_id(),
            conversation_id=self._mpesa.identifiers.conversation_id(call.now),
        )
        if receiver != (organisation.till_number if till else organisation.short_code):
            order.forced = Ending.NOT_PERMITTED
        call.order = order
        call.early = self._mpesa.accept(order)
        return bodies.json_response(
            200,
            {
                "MerchantRequestID": order.merchant_request_id,
                "CheckoutRequestID": order.checkout_request_id,
                "ResponseCode": "0",
                "ResponseDescription": "Success. Request accepted for processing",
                "CustomerMessage": "Success. Request accepted for processing",
            },
        )

    def _stk_query(self, call: Call) -> HttpResponse:
        organisation = self._check_password(call.fields)
        identifier = checks.matching(call.fields, "CheckoutRequestID", r".{1,100}")
        limit = self._rules.queries_per_minute
        while self._queried and call.now - self._queried[0] >= timedelta(minutes=1):
            self._queried.popleft()
        if limit is not None and len(self._queried) >= limit:
            left = timedelta(minutes=1) - (call.now - self._queried[0])
            return spike_arrest(retry_after=max(1, int(left.total_seconds())))
        self._queried.append(call.now)
        push = self._mpesa.pushes.get(identifier)
        visible = timedelta(seconds=self._rules.query_visible_after)
        if push is None or push.organisation is not organisation or call.now - push.at < visible:
            return self._interim(self._rules.unknown_query, identifier, push)
        turn, push.queries = push.queries, push.queries + 1
        if turn < len(push.behaviour.query):
            return self._interim(push.behaviour.query[turn], identifier, push)
        says = push.behaviour.query_says
        if says is Ending.NEVER or (says is None and push.decided_at is None):
            return self._interim(self._rules.pending_query, identifier, push)
        code, description = (push.code, push.description) if says is None else ENDINGS[Api.STK_PUSH][says]
        return _query_answer(push, str(code), description)

    def _interim(self, answer: QueryAnswer, identifier: str, push: Order | None) -> HttpResponse:
        match answer:
            case QueryAnswer.SPIKE_ARREST:
                return spike_arrest(retry_after=12)
            case QueryAnswer.STILL_PROCESSING if push is not None:
                return _query_answer(push, "4999", "The transaction is still under processing")
            case QueryAnswer.BEING_PROCESSED:
                return bodies.error(500, "500.001.1001", "The transaction is being processed", identifier)
            case QueryAnswer.INVALID_ID:
                text, request_id = "Bad Request - Invalid CheckoutRequestID", self._mpesa.identifiers.request_id()
                return bodies.error(400, "400.002.02", text, request_id)
            case QueryAnswer.NO_TRANSACTION:
                return bodies.error(404, "01", "No transaction found", None)
            case _:
                request_id = self._mpesa.identifiers.request_id()
                return bodies.error(500, "500.001.1001", "The transaction does not Exist", request_id)

    def _c2b_register(self, call: Call) -> HttpResponse:
        fields = call.fields
        code = checks.matching(fields, "ShortCode", _SHORT_CODE)
        response_type = checks.one_of(fields, "ResponseType", "Completed", "Cancelled")
        confirmation = checks.url(fields, "ConfirmationURL")
        validation = checks.url(fields, "ValidationURL")
        organisation = self._organisations.get(code)
        if organisation is None:
            raise Refused(400, "400.003.02", "Bad Request - Kindly use your own ShortCode")
        if self._rules.register_once and organisation.short_code in self._mpesa.registered:
            raise Refused(500, "500.003.1001", "Urls are already registered.")
        self._mpesa.registered[organisation.short_code] = Registration(
            version=call.version,
            response_type=response_type,
            confirmation_url=confirmation,
            validation_url=validation,
        )
        return bodies.json_response(
            200,
            {
                "OriginatorCoversationID": self._mpesa.identifiers.request_id(),
                "ResponseCode": "0" if call.version == "v1" else "00000000",
                "ResponseDescription": "success" if call.version == "v1" else "Success",
            },
        )

    def _c2b_simulate(self, call: Call) -> HttpResponse:
        fields = call.fields
        organisation = self._organisations.get(checks.matching(fields, "ShortCode", _SHORT_CODE))
        if organisation is None:
            raise checks.invalid("ShortCode")
        command = checks.one_of(fields, "CommandID", "CustomerPayBillOnline", "CustomerBuyGoodsOnline")
        till = command == "CustomerBuyGoodsOnline"
        if till and organisation.till_number is None:
            raise checks.invalid("CommandID")
        amount = checks.amount(fields, cents=True)
        phone = checks.phone(fields, "Msisdn")
        reference = "" if till else checks.matching(fields, "BillRefNumber", r".{1,20}")
        subject = Subject(phone=phone, amount=amount, reference=reference, short_code=organisation.short_code)
        behaviour = self._choices.choose(Api.C2B, subject, use=True)

        def pay(at: datetime) -> list[Posted]:
            payment = self._mpesa.take_c2b(organisation, at, subject, till=till, first_name="JANE", behaviour=behaviour)
            return payment[1]

        wait = self._rules.decide_after if behaviour.after is None else behaviour.after
        self._courier.outbox.step(call.now + timedelta(seconds=wait), pay)
        originator = {"OriginatorCoversationID": self._mpesa.identifiers.request_id()}
        if call.version == "v1":
            conversation = {"ConversationID": self._mpesa.identifiers.conversation_id(call.now)}
            return bodies.json_response(200, {**conversation, **originator, "ResponseDescription": bodies.ACCEPTED})
        return bodies.json_response(200, {**originator, "ResponseCode": "0", "ResponseDescription": bodies.ACCEPTED})

    def _b2c(self, call: Call) -> HttpResponse:
        fields = call.fields
        originator = ""
        if call.version == "v3":
            originator = checks.matching(fields, "OriginatorConversationID", r"\S{1,128}")
        organisation, forced = self._operator(call, "InitiatorName", "PartyA")
        checks.one_of(fields, "CommandID", "SalaryPayment", "BusinessPayment", "PromotionPayment")
        amount = checks.amount(fields)
        phone = checks.phone(fields, "PartyB")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        occasion = "Occasion" if call.version == "v1" else "Occassion"
        checks.words(fields, occasion, shortest=0, longest=100)
        order = self._result_order(call, organisation, forced, originator=originator, amount=amount, phone=phone)
        if originator in self._mpesa.originators:
            raise Refused(500, "500.002.1001", "Duplicate OriginatorConversationID.")
        if amount < self._rules.payout_minimum:
            order.overruled = (2, "Declined due to limit rule: less than the minimum transaction amount.")
        elif amount > self._rules.transaction_limit:
            order.overruled = (3, "Declined due to limit rule: greater than the maximum transaction amount.")
        return self._accept_result(call, order)

    def _reversal(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "TransactionReversal")
        receipt = checks.matching(fields, "TransactionID", r"[A-Z0-9]{8,12}")
        organisation, forced = self._operator(call, "Initiator", "ReceiverParty")
        checks.one_of(fields, "RecieverIdentifierType", "11", "4")
        amount = checks.amount(fields, cents=True)
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion", shortest=0, longest=100)
        entry = self._mpesa.ledger.get(receipt)
        phone = entry.phone if entry is not None else ""
        order = self._result_order(call, organisation, forced, amount=amount, phone=phone, reference=receipt)
        return self._accept_result(call, order)

    def _status(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "TransactionStatusQuery")
        receipt = checks.text(fields, "TransactionID")
        asked = checks.text(fields, "OriginalConversationID") or checks.text(fields, "OriginatorConversationID")
        if not receipt and not asked:
            raise checks.invalid("TransactionID")
        organisation, forced = self._operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "IdentifierType", "1", "2", "4")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion", shortest=0, longest=100)
        originator = asked if asked and self._rules.status_echoes_originator else ""
        order = self._result_order(call, organisation, forced, originator=originator, reference=receipt or asked)
        return self._accept_result(call, order)

    def _balance(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "AccountBalance")
        organisation, forced = self._operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "IdentifierType", "1", "2", "4")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        return self._accept_result(call, self._result_order(call, organisation, forced))

    def _result_order(
        self,
        call: Call,
        organisation: Organisation,
        forced: Ending | None,
        *,
        originator: str = "",
        amount: Decimal = Decimal(0),
        phone: str = "",
        reference: str = "",
    ) -> Order:
        assert call.api is not None
        return Order(
            api=call.api,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=call.fields,
            timeout_url=checks.url(call.fields, "QueueTimeOutURL"),
            url=checks.url(call.fields, "ResultURL"),
            amount=amount,
            phone=phone,
            reference=reference,
            originator_conversation_id=originator or self._mpesa.identifiers.request_id(),
            conversation_id=self._mpesa.identifiers.conversation_id(call.now),
            forced=forced,
        )

    def _accept_result(self, call: Call, order: Order) -> HttpResponse:
        call.order = order
        call.early = self._mpesa.accept(order)
        description = bodies.ACCEPTED.rstrip(".") if order.api is Api.BALANCE else bodies.ACCEPTED
        return bodies.json_response(
            200,
            {
                "ConversationID": order.conversation_id,
                "OriginatorConversationID": order.originator_conversation_id,
                "ResponseCode": "0",
                "ResponseDescription": description,
            },
        )


def token_refusal(api: Api, token: str) -> Refused:
    """Every product refuses a token in its own way."""
    if api in (Api.STK_PUSH, Api.STK_QUERY):
        return Refused(404, "404.001.03", "Invalid Access Token")
    if api in (Api.C2B_REGISTER, Api.C2B_SIMULATE):
        return Refused(400, "400.003.01", "Invalid Access Token")
    if api is Api.OAUTH:
        return Refused(400, "400.008.01", "Bad Request - invalid credentials")
    return Refused(401, "401.002.01", f"Error Occurred - Invalid Access Token - {token}")


def spike_arrest(*, retry_after: int) -> HttpResponse:
    """The gateway's own refusal of too many requests; ``retry_after`` is seconds."""
    rate = "MessageRate{messagesPerPeriod=5, periodInMicroseconds=60000000, maxBurstMessageCount=1.0}"
    text = f"Spike arrest violation. Allowed rate : {rate}"
    return bodies.gateway_fault(429, text, "policies.ratelimit.SpikeArrestViolation", retry_after=retry_after)


def _query_answer(push: Order, code: str, description: str) -> HttpResponse:
    return bodies.json_response(
        200,
        {
            "ResponseCode": "0",
            "ResponseDescription": "The service request has been accepted successsfully",
            "MerchantRequestID": push.merchant_request_id,
            "CheckoutRequestID": push.checkout_request_id,
            "ResultCode": code,
            "ResultDesc": description,
        },
    )
