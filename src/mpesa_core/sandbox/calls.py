"""Daraja's calls: what each checks, and what it answers when it has accepted.

Sources: the pages of Safaricom's portal for each product; where these and captured traffic differ, what was captured.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from mpesa_core.daraja.operation import HttpRequest, HttpResponse
from mpesa_core.sandbox import (
    bills,
    bodies,
    bonga,
    business,
    checks,
    express_checkout,
    iot,
    lookups,
    payouts,
    pull,
    qr,
    ratiba,
)
from mpesa_core.sandbox.behaviour import QueryAnswer
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.choices import Subject
from mpesa_core.sandbox.delivery import Posted
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.disguises import product_refusal, spike_arrest, token_refusal
from mpesa_core.sandbox.endings import ENDINGS, Api, Ending
from mpesa_core.sandbox.ledger import Kind, Pocket
from mpesa_core.sandbox.mpesa import Registration
from mpesa_core.sandbox.orders import Order
from mpesa_core.sandbox.organisation import Organisation

__all__ = ["PATHS", "Calls"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {
    "/oauth/v1/generate": (Api.OAUTH, "v1"),
    "/mpesa/stkpush/v1/processrequest": (Api.STK_PUSH, "v1"),
    "/mpesa/stkpushquery/v1/query": (Api.STK_QUERY, "v1"),
    "/mpesa/checkidentity/v1/processrequest": (Api.CHECK_IDENTITY, "v1"),
    "/mpesa/c2b/v1/registerurl": (Api.C2B_REGISTER, "v1"),
    "/mpesa/c2b/v2/registerurl": (Api.C2B_REGISTER, "v2"),
    "/mpesa/c2b/v1/simulate": (Api.C2B_SIMULATE, "v1"),
    "/mpesa/c2b/v2/simulate": (Api.C2B_SIMULATE, "v2"),
    "/mpesa/reversal/v1/request": (Api.REVERSAL, "v1"),
    "/mpesa/transactionstatus/v1/query": (Api.STATUS, "v1"),
    "/mpesa/accountbalance/v1/query": (Api.BALANCE, "v1"),
    **payouts.PATHS,
    **business.PATHS,
    **express_checkout.PATHS,
    **qr.PATHS,
    **lookups.PATHS,
    **bonga.PATHS,
    **iot.PATHS,
    **bills.PATHS,
    **ratiba.PATHS,
    **pull.PATHS,
}
"""Every path that is served: which call, in which version."""


class Calls:
    """Takes calls and answers them. Its methods are called with the courier's lock held.

    Args:
        desk: what all calls have in common.
        keys: consumer key and secret.

    Attributes:
        tokens: the access tokens that are good, and until when.
        bills: Bill Manager.
        pull: the registrations for pulled transactions.
    """

    def __init__(self, desk: Desk, *, keys: tuple[str, str]) -> None:
        self.tokens: dict[str, datetime] = {}
        self._desk = desk
        self._mpesa = desk.mpesa
        self._organisations = desk.organisations
        self._rules = desk.rules
        self._keys = keys
        self._queried: deque[datetime] = deque()
        self.bills = bills.Bills(desk)
        self.pull = pull.Pull(desk)
        self._calls: Mapping[Api, Handler] = {
            Api.STK_PUSH: self._stk_push,
            Api.STK_QUERY: self._stk_query,
            Api.CHECK_IDENTITY: self._check_identity,
            Api.C2B_REGISTER: self._c2b_register,
            Api.C2B_SIMULATE: self._c2b_simulate,
            Api.REVERSAL: self._reversal,
            Api.STATUS: self._status,
            Api.BALANCE: self._balance,
            **payouts.Payouts(desk).calls,
            **business.Business(desk).calls,
            **express_checkout.ExpressCheckouts(desk).calls,
            **qr.QrCodes(desk).calls,
            **lookups.Lookups(desk).calls,
            **bonga.Bonga(desk).calls,
            **iot.Iot(desk).calls,
            **self.bills.calls,
            **ratiba.StandingOrders(desk).calls,
            **self.pull.calls,
        }

    def answer(self, api: Api, call: Call, request: HttpRequest) -> HttpResponse:
        """Carry a call out.

        Raises:
            Refused: it is not taken.
        """
        if api is Api.OAUTH:
            return self._token(request, call.now)
        self._check_token(request, api, call.now)
        if api in self._rules.missing:
            raise product_refusal(api)
        return self._calls[api](call)

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
        code = checks.matching(fields, "BusinessShortCode", checks.SHORT_CODE)
        stamp = checks.timestamp(fields)
        password = checks.matching(fields, "Password", r".+")
        organisation = self._organisations.get(code)
        if organisation is None or organisation.short_code != code:
            raise Refused(500, "500.001.1001", "Merchant does not exist")
        if password != base64.b64encode(f"{code}{organisation.passkey}{stamp}".encode()).decode():
            raise Refused(500, "500.001.1001", "[MerchantValidate] - Wrong credentials")
        return organisation

    def _stk_push(self, call: Call) -> HttpResponse:
        fields = call.fields
        organisation = self._check_password(fields)
        kind = checks.one_of(fields, "TransactionType", "CustomerPayBillOnline", "CustomerBuyGoodsOnline")
        till = kind == "CustomerBuyGoodsOnline"
        if till and organisation.till_number is None:
            raise checks.invalid("TransactionType")
        amount = checks.amount(fields)
        checks.phone(fields, "PartyA")
        receiver = checks.matching(fields, "PartyB", checks.SHORT_CODE)
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
            kind=Kind.STK_PUSH,
            target=Pocket(organisation.short_code),
        )
        if receiver != (organisation.till_number if till else organisation.short_code):
            order.forced = Ending.NOT_PERMITTED
        self._desk.accept(call, order)
        return _accepted(order.merchant_request_id, order.checkout_request_id)

    def _check_identity(self, call: Call) -> HttpResponse:
        """Taken, and nothing comes of it: what M-PESA would post is not known."""
        fields = call.fields
        checks.matching(fields, "Initiator", r".+")
        self._check_password(fields)
        checks.one_of(fields, "TransactionType", "CheckIdentity")
        phone = checks.phone(fields, "PhoneNumber")
        checks.url(fields, "CallBackURL")
        checks.words(fields, "TransactionDesc", longest=13, called="Remarks")
        identifiers = self._mpesa.identifiers
        return _accepted(identifiers.request_id(), identifiers.checkout_request_id(call.now, phone))

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
        code = checks.matching(fields, "ShortCode", checks.SHORT_CODE)
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
        organisation = self._organisations.get(checks.matching(fields, "ShortCode", checks.SHORT_CODE))
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
        behaviour = self._desk.choices.choose(Api.C2B, subject, use=True)

        def pay(at: datetime) -> list[Posted]:
            payment = self._mpesa.take_c2b(organisation, at, subject, till=till, first_name="JANE", behaviour=behaviour)
            return payment[1]

        wait = self._rules.decide_after if behaviour.after is None else behaviour.after
        self._desk.courier.outbox.step(call.now + timedelta(seconds=wait), pay)
        originator = {"OriginatorCoversationID": self._mpesa.identifiers.request_id()}
        if call.version == "v1":
            conversation = {"ConversationID": self._mpesa.identifiers.conversation_id(call.now)}
            return bodies.json_response(200, {**conversation, **originator, "ResponseDescription": bodies.ACCEPTED})
        return bodies.json_response(200, {**originator, "ResponseCode": "0", "ResponseDescription": bodies.ACCEPTED})

    def _reversal(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "TransactionReversal")
        receipt = checks.matching(fields, "TransactionID", r"[A-Z0-9]{8,12}")
        organisation, forced = self._desk.operator(call, "Initiator", "ReceiverParty")
        checks.one_of(fields, "RecieverIdentifierType", "11", "4")
        amount = checks.amount(fields, cents=True)
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion", shortest=0, longest=100)
        entry = self._mpesa.ledger.get(receipt)
        phone = entry.phone if entry is not None else ""
        order = self._desk.result_order(
            call, organisation, forced, amount=amount, phone=phone, reference=receipt, kind=Kind.REVERSAL
        )
        return self._desk.accept_result(call, order)

    def _status(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "TransactionStatusQuery")
        receipt = checks.text(fields, "TransactionID")
        asked = checks.text(fields, "OriginalConversationID") or checks.text(fields, "OriginatorConversationID")
        if not receipt and not asked:
            raise checks.invalid("TransactionID")
        organisation, forced = self._desk.operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "IdentifierType", "1", "2", "4")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion", shortest=0, longest=100)
        originator = asked if asked and self._rules.status_echoes_originator else ""
        order = self._desk.result_order(call, organisation, forced, originator=originator, reference=receipt or asked)
        return self._desk.accept_result(call, order)

    def _balance(self, call: Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "AccountBalance")
        organisation, forced = self._desk.operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "IdentifierType", "1", "2", "4")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        return self._desk.accept_result(call, self._desk.result_order(call, organisation, forced))


def _accepted(merchant_request_id: str, checkout_request_id: str) -> HttpResponse:
    return bodies.json_response(
        200,
        {
            "MerchantRequestID": merchant_request_id,
            "CheckoutRequestID": checkout_request_id,
            "ResponseCode": "0",
            "ResponseDescription": "Success. Request accepted for processing",
            "CustomerMessage": "Success. Request accepted for processing",
        },
    )


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
