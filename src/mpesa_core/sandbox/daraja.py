"""The local Daraja: one function from request to response, with books of its own.

``daraja.handle(request)`` answers as Safaricom's sandbox does, so the same object serves as an HTTP transport in a test
and, with :class:`~mpesa_core.sandbox.server.DarajaServer`, as a real server on loopback. Callbacks go out through an
injected ``post``, when :meth:`LocalDaraja.deliver_due` or :meth:`LocalDaraja.run_until_idle` is called (the server
delivers by itself).
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from mpesa_core.daraja.operation import HttpRequest, HttpResponse
from mpesa_core.sandbox import bodies, checks, credentials
from mpesa_core.sandbox.behaviour import (
    ENDINGS,
    MAGIC_AMOUNTS,
    MAGIC_PHONES,
    Answer,
    Api,
    Behaviour,
    Delivery,
    Ending,
    QueryAnswer,
)
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.delivery import Outbox, Post, Posted, Posting, Step, post_over_http
from mpesa_core.sandbox.identifiers import Identifiers
from mpesa_core.sandbox.ledger import Declined, Entry, Kind, Ledger
from mpesa_core.values import money, phone_number

__all__ = ["CustomerPayment", "LocalDaraja", "LostAnswer", "NoConnection", "Organisation", "Rules", "SeenRequest"]


class LostAnswer(ConnectionResetError):  # noqa: N818 - it names a state
    """The connection dropped before the answer came; to a client it is not known whether the request was carried out.

    Attributes:
        accepted: whether it was, which only a test may look at.
    """

    def __init__(self, *, accepted: bool) -> None:
        self.accepted = accepted
        super().__init__("the connection was closed without an answer")


class NoConnection(ConnectionRefusedError):  # noqa: N818 - it names a state
    """The connection was refused, so that no byte of the request left."""


@attrs.frozen(kw_only=True)
class Organisation:
    """A short code and its operator, as M-PESA knows them.

    Attributes:
        short_code: the paybill, or a till's store number.
        till_number: the till, where it has one.
        name: what customers see.
        passkey: for STK passwords; by default the one that Safaricom publishes for its sandbox's 174379.
        initiator_name, initiator_password: the API operator's.
        utility, working: opening balances in shillings; payments come into the utility account and payouts leave it.
        payout_charge: M-PESA's charge for a payout, in shillings.
        external_validation: whether the registered validation URL is called (Safaricom switches it on when asked).
    """

    short_code: str = "174379"
    till_number: str | None = None
    name: str = "Duka Limited"
    passkey: str = attrs.field(default="bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919", repr=False)
    initiator_name: str = "testapi"
    initiator_password: str = attrs.field(default="Safaricom999!*!", repr=False)
    utility: Decimal = Decimal(1_000_000)
    working: Decimal = Decimal(1_000_000)
    payout_charge: Decimal = Decimal(0)
    external_validation: bool = True


@attrs.frozen(kw_only=True)
class Rules:
    """House rules. Durations are seconds, amounts shillings.

    Attributes:
        token_lifetime: of an access token.
        new_token_revokes: a new token ends the one before (source: the portal's FAQ).
        expires_in_as_text: send ``expires_in`` as text, as older answers do.
        decide_after: from a request to its decision, where the behaviour does not say.
        prompt_lifetime: of an STK prompt; until it has passed or was answered, the phone takes no other.
        payout_minimum, transaction_limit: outside of these a payout is accepted and then fails with code 2 or 3.
        query_visible_after: until then a query about a push is told ``unknown_query``.
        unknown_query: the answer about a CheckoutRequestID that is unknown, or not yet visible.
        pending_query: the answer about an undecided push.
        queries_per_minute: STK queries that are let through; None for no limit (Safaricom's sandbox: 5).
        register_once: a second C2B registration of a short code is refused, as in production.
        status_echoes_originator: acknowledge a status question with the OriginatorConversationID that was asked about.
        mask_stk_phone: STK callbacks show the phone number masked, as text.
        validation_deadline: how long the answer to a C2B validation may take.
    """

    token_lifetime: float = 3599.0
    new_token_revokes: bool = True
    expires_in_as_text: bool = False
    decide_after: float = 0.0
    prompt_lifetime: float = 60.0
    payout_minimum: Decimal = Decimal(10)
    transaction_limit: Decimal = Decimal(250_000)
    query_visible_after: float = 0.0
    unknown_query: QueryAnswer = QueryAnswer.DOES_NOT_EXIST
    pending_query: QueryAnswer = QueryAnswer.STILL_PROCESSING
    queries_per_minute: int | None = None
    register_once: bool = False
    status_echoes_originator: bool = False
    mask_stk_phone: bool = False
    validation_deadline: float = 8.0


@attrs.frozen(kw_only=True)
class SeenRequest:
    """A request that arrived.

    Attributes:
        at: when, aware.
        api: which call; None for an unknown path.
        method, path: as they came.
        accepted: whether it was carried out (for a question: taken).
        status: the HTTP status that the caller got; None where the answer was lost.
        error_code: Daraja's error code, or None.
        originator_conversation_id, checkout_request_id: of the payment that it asked for or asked about, where known.
        fields: the body, without password and credential.
    """

    at: datetime
    api: Api | None
    method: str
    path: str = attrs.field(repr=False)
    accepted: bool
    status: int | None
    error_code: str | None = None
    originator_conversation_id: str | None = None
    checkout_request_id: str | None = attrs.field(default=None, repr=False)
    fields: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class CustomerPayment:
    """How a customer's own payment went.

    Attributes:
        receipt: its TransID; the application saw it at validation even where nothing was paid.
        paid: whether money moved; the confirmation is then on its way.
        code: the code that it was rejected or failed with, or None.
        validated: whether the application's own answer decided; None where it was not asked, False where it failed or
            was late, so that the registered ResponseType decided.
    """

    receipt: str
    paid: bool
    code: str | None = None
    validated: bool | None = None


@attrs.frozen(kw_only=True)
class _Registration:
    version: str
    response_type: str
    confirmation_url: str = attrs.field(repr=False)
    validation_url: str = attrs.field(repr=False)


@attrs.define(kw_only=True, eq=False)
class _Rule:
    behaviour: Behaviour
    apis: frozenset[Api]
    phone: str | None
    amount: Decimal | None
    reference: str | None
    short_code: str | None
    left: int | None


@attrs.define(kw_only=True, eq=False)
class _Order:
    """Something that Daraja accepted and will decide on."""

    api: Api
    organisation: Organisation
    behaviour: Behaviour
    at: datetime
    fields: Mapping[str, Any] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    timeout_url: str = attrs.field(default="", repr=False)
    amount: Decimal = Decimal(0)
    phone: str = attrs.field(default="", repr=False)
    reference: str = ""
    merchant_request_id: str = ""
    checkout_request_id: str = attrs.field(default="", repr=False)
    originator_conversation_id: str = ""
    conversation_id: str = ""
    forced: Ending | None = None
    overruled: tuple[int | str, str] | None = None
    code: int | str | None = None
    description: str = ""
    receipt: str = ""
    parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    decided_at: datetime | None = None
    queries: int = 0


@attrs.define(kw_only=True)
class _Call:
    """A request under way, and what is to become of it."""

    api: Api | None
    version: str
    now: datetime
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    behaviour: Behaviour = attrs.field(factory=Behaviour)
    order: _Order | None = None
    accepted: bool = False
    refusal: Refused | None = None
    response: HttpResponse | None = None
    early: list[Posting] = attrs.field(factory=list)


_MONEY: Final = frozenset({Api.STK_PUSH, Api.B2C, Api.REVERSAL, Api.C2B})

_PATHS: Final[Mapping[str, tuple[Api, str]]] = {
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

_RESULT_PRODUCTS: Final = {Api.B2C: "b2c", Api.REVERSAL: "reversal", Api.BALANCE: "ab"}
_SECRETS: Final = ("Password", "SecurityCredential")
_SHORT_CODE: Final = r"\d{5,7}"
_STATUS_WORDS: Final = {
    Ending.PAY: "Completed",
    Ending.CANCEL: "Cancelled",
    Ending.EXPIRE: "Expired",
    Ending.NEVER: "Pending Authorized",
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LocalDaraja:
    """Safaricom's Daraja and the M-PESA behind it, in memory. Safe to use from any number of threads.

    Args:
        organisations: who has a short code here; one, 174379 with the published sandbox passkey, where none is given.
        consumer_key: the app's key; every organisation is reached with the same one.
        consumer_secret: the app's secret.
        behaviour: what becomes of a request where no rule says otherwise.
        magic: obey :data:`MAGIC_PHONES` and :data:`MAGIC_AMOUNTS` where no rule says otherwise.
        rules: the house rules.
        post: posts the callbacks. It is called without any lock held, so it may call back into this object.
        clock: the present moment, aware.
        sleep: waits for so many seconds, for ``Behaviour.answer_after``.
        seed: makes identifiers and receipts repeatable; None makes them random.
    """

    def __init__(
        self,
        organisations: Iterable[Organisation] = (),
        *,
        consumer_key: str = "local-key",
        consumer_secret: str = "local-secret",  # noqa: S107 - the pretend M-PESA's own
        behaviour: Behaviour | None = None,
        magic: bool = False,
        rules: Rules | None = None,
        post: Post = post_over_http,
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self.organisations = tuple(organisations) or (Organisation(),)
        self.consumer_key = consumer_key
        self.consumer_secret = consumer_secret
        self.behaviour = behaviour or Behaviour()
        self.rules = rules or Rules()
        self.ledger = Ledger()
        self._magic = magic
        self._post = post
        self._clock = clock
        self._sleep = sleep
        self._changed = threading.Condition(threading.RLock())
        self._identifiers = Identifiers(seed)
        self._by_code: dict[str, Organisation] = {}
        self._issued = self._identifiers.credential()
        self._tokens: dict[str, datetime] = {}
        self._choices: list[_Rule] = []
        self._decisions = Outbox()
        self._outbox = Outbox()
        self._orders: list[_Order] = []
        self._pushes: dict[str, _Order] = {}
        self._originators: dict[str, _Order] = {}
        self._by_receipt: dict[str, _Order] = {}
        self._prompts: dict[str, _Order] = {}
        self._registered: dict[str, _Registration] = {}
        self._queried: deque[datetime] = deque()
        self._seen: list[SeenRequest] = []
        self._posted: list[Posted] = []
        self._calls: Mapping[Api, Callable[[_Call], HttpResponse]] = {
            Api.STK_PUSH: self._stk_push,
            Api.STK_QUERY: self._stk_query,
            Api.C2B_REGISTER: self._c2b_register,
            Api.C2B_SIMULATE: self._c2b_simulate,
            Api.B2C: self._b2c,
            Api.REVERSAL: self._reversal,
            Api.STATUS: self._status,
            Api.BALANCE: self._balance,
        }
        for organisation in self.organisations:
            self.ledger.open(organisation.short_code, utility=organisation.utility, working=organisation.working)
            for code in (organisation.short_code, organisation.till_number):
                if code is not None:
                    self._by_code[code] = organisation

    # What an application's settings need.

    @property
    def certificate(self) -> bytes:
        """The certificate (PEM) that encrypts operators' passwords, for ``Settings.certificate``.

        Raises:
            ModuleNotFoundError: ``cryptography`` is not installed; use :attr:`security_credential`.
        """
        return credentials.certificate()

    @property
    def security_credential(self) -> str:
        """A ready-made SecurityCredential, good for every organisation here, for ``Settings.security_credential``."""
        return self._issued

    def settings(self, base_url: str = "http://localhost", organisation: Organisation | None = None) -> dict[str, Any]:
        """Arguments for :class:`~mpesa_core.settings.Settings` with which an application is an organisation's.

        Args:
            base_url: where this Daraja is reached.
            organisation: whose; the first one by default.
        """
        owner = organisation or self.organisations[0]
        given: dict[str, Any] = {
            "environment": base_url,
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
            "short_code": owner.short_code,
            "till_number": owner.till_number,
            "passkey": owner.passkey,
            "initiator_name": owner.initiator_name,
        }
        if credentials.can_decrypt():
            return {**given, "initiator_password": owner.initiator_password, "certificate": self.certificate}
        return {**given, "security_credential": self.security_credential}

    # Choosing what happens.

    def when(
        self,
        behaviour: Behaviour,
        *,
        api: Api | str | Iterable[Api | str] | None = None,
        phone: str | None = None,
        amount: Decimal | int | str | None = None,
        reference: str | None = None,
        short_code: str | None = None,
        times: int | None = None,
    ) -> None:
        """Do this with the requests that match; a later rule goes before an earlier one.

        Args:
            behaviour: what to do. A rule whose ending a call does not know is passed over for that call.
            api: the calls; None for all that move money. For the payment that follows a C2B simulation say ``c2b``.
            phone: the customer's, in any form; for a question: of the payment that it is about.
            amount: in shillings.
            reference: the account reference; for a reversal the receipt; for a payout its OriginatorConversationID.
            short_code: the organisation's short code or till.
            times: how many requests; None for all. Requests that are refused do not count.
        """
        self._add_rules(
            [behaviour],
            api=api,
            phone=phone,
            amount=amount,
            reference=reference,
            short_code=short_code,
            times=times,
        )

    def script(
        self,
        *behaviours: Behaviour,
        api: Api | str | Iterable[Api | str] | None = None,
        phone: str | None = None,
        amount: Decimal | int | str | None = None,
        reference: str | None = None,
        short_code: str | None = None,
    ) -> None:
        """Do these with the next requests that match, in turn; the arguments are those of :meth:`when`."""
        self._add_rules(
            behaviours, api=api, phone=phone, amount=amount, reference=reference, short_code=short_code, times=1
        )

    def forget_rules(self) -> None:
        """Take back every rule that :meth:`when` and :meth:`script` made."""
        with self._changed:
            self._choices.clear()

    def _add_rules(
        self,
        behaviours: Iterable[Behaviour],
        *,
        api: Api | str | Iterable[Api | str] | None,
        phone: str | None,
        amount: Decimal | int | str | None,
        reference: str | None,
        short_code: str | None,
        times: int | None,
    ) -> None:
        apis = _MONEY if api is None else frozenset(map(Api, [api] if isinstance(api, str) else api))
        normal_phone = None if phone is None else phone_number(phone)
        normal_amount = None if amount is None else money(amount)
        organisation = None if short_code is None else self._by_code[short_code].short_code
        added = [
            _Rule(
                behaviour=behaviour,
                apis=apis,
                phone=normal_phone,
                amount=normal_amount,
                reference=reference,
                short_code=organisation,
                left=times,
            )
            for behaviour in behaviours
        ]
        with self._changed:
            self._choices[:0] = added

    # What happened.

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """Every request that arrived, in order; those whose connection was refused did not."""
        with self._changed:
            return tuple(self._seen)

    def count(
        self, api: Api | str, *, accepted: bool | None = None, originator_conversation_id: str | None = None
    ) -> int:
        """How many requests of a call arrived.

        Args:
            api: which call.
            accepted: only those that were, or were not, carried out.
            originator_conversation_id: only those of this payout.
        """
        return sum(
            seen.api == api
            and accepted in (None, seen.accepted)
            and originator_conversation_id in (None, seen.originator_conversation_id)
            for seen in self.requests
        )

    @property
    def posted(self) -> tuple[Posted, ...]:
        """Every callback and validation that was posted, in order."""
        with self._changed:
            return tuple(self._posted)

    def pending(self) -> tuple[Posting, ...]:
        """The callbacks that are yet to be posted, in order of time, of what has been decided by now."""
        with self._changed:
            self._settle(self._clock())
            return self._outbox.postings

    def take_pending(self) -> tuple[Posting, ...]:
        """The same, taken out: they are not posted, and are the caller's to deliver in any way."""
        with self._changed:
            self._settle(self._clock())
            return tuple(self._outbox.take_all_postings())

    def next_due(self) -> datetime | None:
        """When something happens next, or None."""
        with self._changed:
            firsts = (self._decisions.first, self._outbox.first)
            return min((item.due for item in firsts if item is not None), default=None)

    def wait(self, timeout: float) -> None:
        """Block until something is due or was added, or so many seconds have passed. For a thread that delivers."""
        with self._changed:
            due = self.next_due()
            left = timeout if due is None else min(timeout, (due - self._clock()).total_seconds())
            if left > 0:
                self._changed.wait(left)

    def wake(self) -> None:
        """Let everyone who waits look again."""
        with self._changed:
            self._changed.notify_all()

    # Making it happen.

    def deliver_due(self, now: datetime | None = None) -> list[Posted]:
        """Decide and post what is due.

        Args:
            now: until when; the clock's present moment by default.

        Returns:
            what was posted.
        """
        moment = now or self._clock()
        posted: list[Posted] = []
        while (item := self._take(moment)) is not None:
            posted += self._run(item, moment)
        return posted

    def deliver_next(self) -> bool:
        """Decide what is due and post one callback; False where none is due. Several threads may deliver like this."""
        item = self._take(self._clock())
        if item is None:
            return False
        self._run(item, self._clock())
        return True

    def run_until_idle(self, *, seed: int | None = None, limit: int = 10_000) -> list[Posted]:
        """Decide and post everything that lies ahead, without waiting: each at the time that it is due.

        Args:
            seed: post what is ready in an order shuffled with this seed, instead of in order of time.
            limit: posts after which something must be going in circles.

        Returns:
            what was posted.

        Raises:
            RuntimeError: the limit was reached.
        """
        shuffle = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable on purpose
        posted: list[Posted] = []
        while True:
            if shuffle is None:
                item = self._take(None)
                batch = [] if item is None else [item]
            else:
                batch = self._take_shuffled(shuffle)
            if not batch:
                return posted
            for each in batch:
                posted += self._run(each, each.due)
            if len(posted) > limit:
                raise RuntimeError(
                    f"posted {len(posted)} callbacks and there are still more; something goes in circles"
                )

    def customer_pays(
        self,
        *,
        amount: Decimal | int | str,
        short_code: str | None = None,
        reference: str = "",
        phone: str = "254708374149",
        first_name: str = "JANE",
        behaviour: Behaviour | None = None,
    ) -> CustomerPayment:
        """A customer pays by himself: the validation URL is asked at once, and the confirmation is then on its way.

        Args:
            amount: shillings.
            short_code: paybill or till (or its store number); the first organisation's by default.
            reference: the account that he types, for a paybill.
            phone: his, in any form.
            first_name: his.
            behaviour: instead of what the rules for ``c2b`` say. An ending other than PAY means that he does not pay
                after all, although the validation was asked.

        Raises:
            KeyError: there is no such short code.
        """
        code = short_code or self.organisations[0].short_code
        organisation = self._by_code[code]
        till = code == organisation.till_number
        with self._changed:
            now = self._clock()
            normal, shillings = phone_number(phone), money(amount)
            chosen = behaviour or self._choose(Api.C2B, normal, shillings, reference, organisation, use=True)
        return self._take_c2b(
            organisation,
            now,
            amount=shillings,
            phone=normal,
            reference="" if till else reference,
            till=till,
            first_name=first_name,
            behaviour=chosen,
            validations=[],
        )

    def register_urls(
        self,
        *,
        confirmation_url: str,
        validation_url: str,
        short_code: str | None = None,
        response_type: Literal["Completed", "Cancelled"] = "Completed",
        version: Literal["v1", "v2"] = "v2",
    ) -> None:
        """Register C2B URLs without a request; the version decides how callbacks show the phone: v1 hash, v2 mask."""
        organisation = self._by_code[short_code or self.organisations[0].short_code]
        with self._changed:
            self._registered[organisation.short_code] = _Registration(
                version=version,
                response_type=response_type,
                confirmation_url=confirmation_url,
                validation_url=validation_url,
            )

    def revoke_tokens(self) -> None:
        """End every access token."""
        with self._changed:
            self._tokens.clear()

    # From request to response.

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request.

        Raises:
            LostAnswer: the connection drops without an answer.
            NoConnection: the connection is refused; the request is not even seen.
        """
        with self._changed:
            now = self._clock()
            self._settle(now)
            api, version = _PATHS.get(request.path.partition("?")[0], (None, ""))
            call = _Call(api=api, version=version, now=now)
            try:
                self._serve(call, request)
            except Refused as refusal:
                call.refusal = refusal
                request_id = self._identifiers.request_id()
                call.response = bodies.error(refusal.status, refusal.code, refusal.message, request_id)
            unseen = call.response is None and call.behaviour.answer is Answer.NO_CONNECTION and not call.accepted
            if not unseen:
                self._note(request, call)
            self._changed.notify_all()
        for posting in call.early:
            self._send(posting, posting.due)
        if call.behaviour.answer_after > 0:
            self._sleep(call.behaviour.answer_after)
        if call.response is None:
            raise NoConnection("connection refused") if unseen else LostAnswer(accepted=call.accepted)
        return call.response

    def _serve(self, call: _Call, request: HttpRequest) -> None:
        """Carry the request out, and answer it as its behaviour has it.

        Raises:
            Refused: Daraja does not take it. Then no rule was used up by it.
        """
        api = call.api
        if api is None:
            raise Refused(404, "404.001.01", "Resource not found")
        if request.method != ("GET" if api is Api.OAUTH else "POST"):
            raise Refused(405, "405.001", f"{request.method} Method Not Allowed")
        if api is not Api.OAUTH:
            call.fields = checks.body(request)
        phone, amount, reference, organisation = self._matching_key(api, call.fields)
        call.behaviour = self._choose(api, phone, amount, reference, organisation, use=False)
        if call.behaviour.carried_out:
            if api is Api.OAUTH:
                call.response = self._token(request, call.now)
            else:
                self._check_token(request, api, call.now)
                call.response = self._calls[api](call)
            call.accepted = True
        self._choose(api, phone, amount, reference, organisation, use=True)
        if call.behaviour.answer is not Answer.NORMAL:
            call.response = self._disguise(api, call, request)

    def _matching_key(
        self, api: Api, fields: Mapping[str, Any]
    ) -> tuple[str, Decimal | None, str, Organisation | None]:
        """Phone, amount, reference and organisation of a request, as far as they can be told."""
        if api is Api.STK_QUERY:
            push = self._pushes.get(checks.text(fields, "CheckoutRequestID"))
            return (push.phone, push.amount, push.reference, push.organisation) if push else ("", None, "", None)
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
        organisation = next(
            (self._by_code[code] for name in codes if (code := checks.text(fields, name)) in self._by_code), None
        )
        found = checks.text(fields, phone)
        receipt = checks.text(fields, "TransactionID")
        entry = self.ledger.get(receipt) if receipt else None
        if entry is not None:
            found = entry.phone
        return found, amount, checks.text(fields, reference), organisation

    def _choose(
        self,
        api: Api,
        phone: str,
        amount: Decimal | None,
        reference: str,
        organisation: Organisation | None,
        *,
        use: bool,
    ) -> Behaviour:
        for rule in self._choices:
            if (
                api in rule.apis
                and rule.left != 0
                and rule.phone in (None, phone)
                and rule.amount in (None, amount)
                and rule.reference in (None, reference)
                and rule.short_code in (None, organisation and organisation.short_code)
                and rule.behaviour.fits(api)
            ):
                if use and rule.left is not None:
                    rule.left -= 1
                return rule.behaviour
        if api not in _MONEY:
            return Behaviour()
        if self._magic:
            for found in (MAGIC_PHONES.get(phone), MAGIC_AMOUNTS.get(amount) if amount is not None else None):
                if found is not None and found[1].fits(api):
                    return found[1]
        return self.behaviour if self.behaviour.fits(api) else Behaviour()

    def _note(self, request: HttpRequest, call: _Call) -> None:
        fields, order = call.fields, call.order
        originator = order.originator_conversation_id if order else checks.text(fields, "OriginatorConversationID")
        checkout = order.checkout_request_id if order else checks.text(fields, "CheckoutRequestID")
        self._seen.append(
            SeenRequest(
                at=call.now,
                api=call.api,
                method=request.method,
                path=request.path,
                accepted=call.accepted,
                status=call.response.status if call.response else None,
                error_code=call.refusal.code if call.refusal else None,
                originator_conversation_id=originator or None,
                checkout_request_id=checkout or None,
                fields={name: value for name, value in fields.items() if name not in _SECRETS},
            )
        )

    def _disguise(self, api: Api, call: _Call, request: HttpRequest) -> HttpResponse | None:
        """What the caller gets instead of the normal answer; None for none."""
        match call.behaviour.answer:
            case Answer.LOST | Answer.NO_CONNECTION:
                return None
            case Answer.TRUNCATED:
                whole = call.response.body if call.response else b'{"requestId":"","errorCode":""}'
                headers = {"content-type": "application/json", "content-length": str(len(whole))}
                return HttpResponse(status=200, headers=headers, body=whole[: call.behaviour.truncate_at])
            case Answer.GARBAGE:
                return HttpResponse(status=200, headers={"content-type": "application/json"}, body=b"\x00\xff not json")
            case Answer.EMPTY:
                return HttpResponse(status=200)
            case Answer.SPIKE_ARREST:
                return _spike_arrest(retry_after=12)
            case Answer.UNAVAILABLE:
                return bodies.firewall_page(503)
            case Answer.FORBIDDEN:
                return bodies.firewall_page(403)
            case Answer.GATEWAY_TIMEOUT:
                code = "messaging.adaptors.http.flow.GatewayTimeout"
                return bodies.gateway_fault(504, "Gateway Timeout", code, reason="TARGET_READ_TIMEOUT")
            case Answer.UNAUTHORIZED:
                refusal = _token_refusal(api, (checks.header(request, "authorization") or "").partition(" ")[2])
            case Answer.SYSTEM_BUSY:
                refusal = Refused(500, "500.003.02", "System is busy. Please try again in few minutes.")
            case _:
                code = {Api.STK_PUSH: "500.001.1001", Api.STK_QUERY: "500.001.1001"}.get(api, "500.003.1001")
                refusal = Refused(500, code, "Internal Server Error")
        return bodies.error(refusal.status, refusal.code, refusal.message, self._identifiers.request_id())

    # Tokens, passwords and credentials.

    def _token(self, request: HttpRequest, now: datetime) -> HttpResponse:
        checks.grant_type(request.path.partition("?")[2])
        if checks.basic_credentials(request) != (self.consumer_key, self.consumer_secret):
            raise Refused(400, "400.008.01", "Bad Request - invalid credentials")
        if self.rules.new_token_revokes:
            self._tokens.clear()
        token = self._identifiers.token()
        self._tokens[token] = now + timedelta(seconds=self.rules.token_lifetime)
        lifetime: int | str = int(self.rules.token_lifetime)
        if self.rules.expires_in_as_text:
            lifetime = str(lifetime)
        return bodies.json_response(200, {"access_token": token, "expires_in": lifetime})

    def _check_token(self, request: HttpRequest, api: Api, now: datetime) -> None:
        token = checks.bearer_token(request)
        until = self._tokens.get(token)
        if until is None or until <= now:
            raise _token_refusal(api, token)

    def _check_password(self, fields: Mapping[str, Any]) -> Organisation:
        code = checks.matching(fields, "BusinessShortCode", _SHORT_CODE)
        stamp = checks.timestamp(fields)
        password = checks.matching(fields, "Password", r".+")
        organisation = self._by_code.get(code)
        if organisation is None or organisation.short_code != code:
            raise Refused(500, "500.001.1001", "Merchant does not exist")
        if password != base64.b64encode(f"{code}{organisation.passkey}{stamp}".encode()).decode():
            raise Refused(500, "500.001.1001", "[MerchantValidate] - Wrong credentials")
        return organisation

    def _operator(self, call: _Call, name_field: str, code_field: str) -> tuple[Organisation, Ending | None]:
        """The organisation, and how whatever this operator asks ends: a wrong password is found out afterwards."""
        name = checks.matching(call.fields, name_field, r".{1,64}")
        credential = checks.matching(call.fields, "SecurityCredential", r"[A-Za-z0-9+/]{2,}={0,2}")
        organisation = self._by_code.get(checks.matching(call.fields, code_field, _SHORT_CODE))
        if organisation is None:
            raise checks.invalid(code_field)
        known = credential == self._issued
        if not known and credentials.can_decrypt():
            known = credentials.decrypt(credential) == organisation.initiator_password.encode()
        return organisation, None if known and name == organisation.initiator_name else Ending.WRONG_PIN

    # The calls.

    def _stk_push(self, call: _Call) -> HttpResponse:
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
        open_prompt = self._prompts.get(phone)
        if open_prompt is not None and open_prompt.decided_at is None:
            lapses = open_prompt.at + timedelta(seconds=self.rules.prompt_lifetime)
            if call.now < lapses:
                text = "Unable to lock subscriber, a transaction is already in process for the current subscriber"
                raise Refused(500, "500.001.1001", text)
        order = _Order(
            api=Api.STK_PUSH,
            organisation=organisation,
            behaviour=call.behaviour,
            at=call.now,
            fields=fields,
            url=url,
            amount=amount,
            phone=phone,
            reference=reference,
            merchant_request_id=self._identifiers.request_id(),
            checkout_request_id=self._identifiers.checkout_request_id(call.now, phone),
            originator_conversation_id=self._identifiers.request_id(),
            conversation_id=self._identifiers.conversation_id(call.now),
        )
        if receiver != (organisation.till_number if till else organisation.short_code):
            order.forced = Ending.NOT_PERMITTED
        self._prompts[phone] = self._pushes[order.checkout_request_id] = order
        self._accept(call, order)
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

    def _stk_query(self, call: _Call) -> HttpResponse:
        organisation = self._check_password(call.fields)
        identifier = checks.matching(call.fields, "CheckoutRequestID", r".{1,100}")
        limit = self.rules.queries_per_minute
        while self._queried and call.now - self._queried[0] >= timedelta(minutes=1):
            self._queried.popleft()
        if limit is not None and len(self._queried) >= limit:
            left = timedelta(minutes=1) - (call.now - self._queried[0])
            return _spike_arrest(retry_after=max(1, int(left.total_seconds())))
        self._queried.append(call.now)
        push = self._pushes.get(identifier)
        visible = timedelta(seconds=self.rules.query_visible_after)
        if push is None or push.organisation is not organisation or call.now - push.at < visible:
            return self._interim(self.rules.unknown_query, identifier, push)
        turn, push.queries = push.queries, push.queries + 1
        if turn < len(push.behaviour.query):
            return self._interim(push.behaviour.query[turn], identifier, push)
        says = push.behaviour.query_says
        if says is Ending.NEVER or (says is None and push.decided_at is None):
            return self._interim(self.rules.pending_query, identifier, push)
        code, description = (push.code, push.description) if says is None else ENDINGS[Api.STK_PUSH][says]
        return _query_answer(push, str(code), description)

    def _interim(self, answer: QueryAnswer, identifier: str, push: _Order | None) -> HttpResponse:
        match answer:
            case QueryAnswer.SPIKE_ARREST:
                return _spike_arrest(retry_after=12)
            case QueryAnswer.STILL_PROCESSING if push is not None:
                return _query_answer(push, "4999", "The transaction is still under processing")
            case QueryAnswer.BEING_PROCESSED:
                return bodies.error(500, "500.001.1001", "The transaction is being processed", identifier)
            case QueryAnswer.INVALID_ID:
                text, request_id = "Bad Request - Invalid CheckoutRequestID", self._identifiers.request_id()
                return bodies.error(400, "400.002.02", text, request_id)
            case QueryAnswer.NO_TRANSACTION:
                return bodies.error(404, "01", "No transaction found", None)
            case _:
                request_id = self._identifiers.request_id()
                return bodies.error(500, "500.001.1001", "The transaction does not Exist", request_id)

    def _c2b_register(self, call: _Call) -> HttpResponse:
        fields = call.fields
        code = checks.matching(fields, "ShortCode", _SHORT_CODE)
        response_type = checks.one_of(fields, "ResponseType", "Completed", "Cancelled")
        confirmation = checks.url(fields, "ConfirmationURL")
        validation = checks.url(fields, "ValidationURL")
        organisation = self._by_code.get(code)
        if organisation is None:
            raise Refused(400, "400.003.02", "Bad Request - Kindly use your own ShortCode")
        if self.rules.register_once and organisation.short_code in self._registered:
            raise Refused(500, "500.003.1001", "Urls are already registered.")
        self._registered[organisation.short_code] = _Registration(
            version=call.version,
            response_type=response_type,
            confirmation_url=confirmation,
            validation_url=validation,
        )
        return bodies.json_response(
            200,
            {
                "OriginatorCoversationID": self._identifiers.request_id(),
                "ResponseCode": "0" if call.version == "v1" else "00000000",
                "ResponseDescription": "success" if call.version == "v1" else "Success",
            },
        )

    def _c2b_simulate(self, call: _Call) -> HttpResponse:
        fields = call.fields
        organisation = self._by_code.get(checks.matching(fields, "ShortCode", _SHORT_CODE))
        if organisation is None:
            raise checks.invalid("ShortCode")
        command = checks.one_of(fields, "CommandID", "CustomerPayBillOnline", "CustomerBuyGoodsOnline")
        till = command == "CustomerBuyGoodsOnline"
        if till and organisation.till_number is None:
            raise checks.invalid("CommandID")
        amount = checks.amount(fields, cents=True)
        phone = checks.phone(fields, "Msisdn")
        reference = "" if till else checks.matching(fields, "BillRefNumber", r".{1,20}")
        behaviour = self._choose(Api.C2B, phone, amount, reference, organisation, use=True)

        def pay(at: datetime) -> list[Posted]:
            validations: list[Posted] = []
            self._take_c2b(
                organisation,
                at,
                amount=amount,
                phone=phone,
                reference=reference,
                till=till,
                first_name="JANE",
                behaviour=behaviour,
                validations=validations,
            )
            return validations

        wait = self.rules.decide_after if behaviour.after is None else behaviour.after
        self._outbox.step(call.now + timedelta(seconds=wait), pay)
        originator = {"OriginatorCoversationID": self._identifiers.request_id()}
        if call.version == "v1":
            conversation = {"ConversationID": self._identifiers.conversation_id(call.now)}
            return bodies.json_response(200, {**conversation, **originator, "ResponseDescription": bodies.ACCEPTED})
        return bodies.json_response(200, {**originator, "ResponseCode": "0", "ResponseDescription": bodies.ACCEPTED})

    def _b2c(self, call: _Call) -> HttpResponse:
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
        if originator in self._originators:
            raise Refused(500, "500.002.1001", "Duplicate OriginatorConversationID.")
        if amount < self.rules.payout_minimum:
            order.overruled = (2, "Declined due to limit rule: less than the minimum transaction amount.")
        elif amount > self.rules.transaction_limit:
            order.overruled = (3, "Declined due to limit rule: greater than the maximum transaction amount.")
        return self._accept_result(call, order)

    def _reversal(self, call: _Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "TransactionReversal")
        receipt = checks.matching(fields, "TransactionID", r"[A-Z0-9]{8,12}")
        organisation, forced = self._operator(call, "Initiator", "ReceiverParty")
        checks.one_of(fields, "RecieverIdentifierType", "11", "4")
        amount = checks.amount(fields, cents=True)
        checks.words(fields, "Remarks", shortest=2, longest=100)
        checks.words(fields, "Occasion", shortest=0, longest=100)
        entry = self.ledger.get(receipt)
        phone = entry.phone if entry is not None else ""
        order = self._result_order(call, organisation, forced, amount=amount, phone=phone, reference=receipt)
        return self._accept_result(call, order)

    def _status(self, call: _Call) -> HttpResponse:
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
        originator = asked if asked and self.rules.status_echoes_originator else ""
        order = self._result_order(call, organisation, forced, originator=originator, reference=receipt or asked)
        return self._accept_result(call, order)

    def _balance(self, call: _Call) -> HttpResponse:
        fields = call.fields
        checks.one_of(fields, "CommandID", "AccountBalance")
        organisation, forced = self._operator(call, "Initiator", "PartyA")
        checks.one_of(fields, "IdentifierType", "1", "2", "4")
        checks.words(fields, "Remarks", shortest=2, longest=100)
        return self._accept_result(call, self._result_order(call, organisation, forced))

    def _result_order(
        self,
        call: _Call,
        organisation: Organisation,
        forced: Ending | None,
        *,
        originator: str = "",
        amount: Decimal = Decimal(0),
        phone: str = "",
        reference: str = "",
    ) -> _Order:
        assert call.api is not None
        return _Order(
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
            originator_conversation_id=originator or self._identifiers.request_id(),
            conversation_id=self._identifiers.conversation_id(call.now),
            forced=forced,
        )

    def _accept_result(self, call: _Call, order: _Order) -> HttpResponse:
        if order.api in (Api.B2C, Api.REVERSAL):
            self._originators[order.originator_conversation_id] = order
        self._accept(call, order)
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

    # Decisions.

    def _accept(self, call: _Call, order: _Order) -> None:
        """Take an order on, and decide it at its time: now, where a callback is to come before the answer."""
        call.order = order
        self._orders.append(order)
        behaviour = order.behaviour
        wait = self.rules.decide_after if behaviour.after is None else behaviour.after
        if behaviour.after is None and behaviour.ending is Ending.EXPIRE and order.forced is None:
            wait = self.rules.prompt_lifetime
        due = call.now + timedelta(seconds=wait)

        def decide(at: datetime) -> list[Posted]:
            self._decide(order, at)
            return []

        if any(delivery.early for delivery in behaviour.deliver):
            call.early += self._decide(order, call.now)
        else:
            self._decisions.step(due, decide)

    def _settle(self, until: datetime | None) -> None:
        """Take every decision that is due, without posting anything."""
        while (step := self._decisions.first) is not None and (until is None or step.due <= until):
            self._decisions.take()
            assert isinstance(step, Step)
            step.run(step.due)

    def _decide(self, order: _Order, at: datetime) -> list[Posting]:
        """Decide an order, move the money, and plan its callbacks; returns those that come before the answer."""
        behaviour = order.behaviour
        if (
            order.forced is None
            and order.overruled is None
            and behaviour.ending is Ending.NEVER
            and behaviour.code is None
        ):
            if behaviour.queue_timeout is not None:
                self._plan_notice(order, at)
            return []
        order.receipt = self._identifiers.receipt(at)
        endings = ENDINGS[order.api]
        if order.forced is not None:
            order.code, order.description = endings[order.forced]
        elif order.overruled is not None:
            order.code, order.description = order.overruled
        elif behaviour.code is not None:
            order.code, order.description = behaviour.code, behaviour.description or ""
        else:
            order.code, order.description = endings[behaviour.ending]
        if order.code == 0:
            try:
                self._carry_out(order, at)
            except Declined as declined:
                order.code, order.description = endings[declined.ending]
        order.decided_at = at
        return self._plan(order, at)

    def _carry_out(self, order: _Order, at: datetime) -> None:
        if order.api in (Api.STATUS, Api.BALANCE):
            order.parameters = self._findings(order, at)
            return
        owner = order.organisation
        kind = {Api.STK_PUSH: Kind.STK_PUSH, Api.B2C: Kind.B2C, Api.REVERSAL: Kind.REVERSAL}[order.api]
        entry = Entry(
            receipt=order.receipt,
            kind=kind,
            short_code=owner.short_code,
            amount=order.amount,
            phone=order.phone,
            reference=order.reference,
            at=at,
            checkout_request_id=order.checkout_request_id or None,
            originator_conversation_id=order.originator_conversation_id,
            conversation_id=order.conversation_id,
            original_receipt=order.reference if order.api is Api.REVERSAL else None,
        )
        if order.api is Api.STK_PUSH:
            self.ledger.receive(entry)
        elif order.api is Api.B2C:
            self.ledger.pay_out(entry, charge=owner.payout_charge)
        else:
            self.ledger.give_back(entry)
        self._by_receipt[order.receipt] = order

    def _findings(self, order: _Order, at: datetime) -> list[dict[str, Any]]:
        """The answer to a question.

        Raises:
            Declined: nothing is known of that payment.
        """
        if order.api is Api.BALANCE:
            balances = self.ledger.balances(order.organisation.short_code)
            return bodies.balance_parameters(balances=balances, moment=at)
        owner = order.organisation
        receipt = checks.text(order.fields, "TransactionID")
        entry = self.ledger.get(receipt) if receipt else None
        about = self._by_receipt.get(receipt) if receipt else self._originators.get(order.reference)
        if about is not None and entry is None:
            entry = self.ledger.get(about.receipt)
        owners = {entry.short_code} if entry is not None else set()
        if about is not None:
            owners.add(about.organisation.short_code)
        if owners != {owner.short_code}:
            raise Declined(Ending.UNKNOWN_RECEIPT)
        says = about.behaviour.query_says if about is not None else None
        if says is not None:
            status = _STATUS_WORDS.get(says, "Declined")
        elif entry is not None:
            status = "Completed"
        else:
            status = "Pending Authorized" if about is None or about.decided_at is None else "Declined"
        source = entry if entry is not None else about
        assert source is not None
        organisation, customer = f"{owner.short_code} - {owner.name}", f"{source.phone} - JANE DOE"
        incoming = entry is not None and entry.incoming
        return bodies.status_parameters(
            receipt=entry.receipt if entry is not None and status == "Completed" else None,
            status=status,
            amount=source.amount,
            reason="Pay Bill Online" if incoming else _reason(about),
            initiated=about.at if about is not None else source.at,
            finalised=entry.at if entry is not None else about.decided_at if about is not None else None,
            debit_party=customer if incoming else organisation,
            credit_party=organisation if incoming else customer,
            account="MMF Account For Customer" if incoming else "Utility Account",
            originator_conversation_id=source.originator_conversation_id or "",
            conversation_id=source.conversation_id or "",
        )

    # Callbacks.

    def _plan(self, order: _Order, at: datetime) -> list[Posting]:
        behaviour = order.behaviour
        last = at + timedelta(seconds=max((each.delay for each in behaviour.deliver), default=0.0))
        if behaviour.also_c2b == "before":
            self._plan_c2b_report(order, at)
        if behaviour.queue_timeout == "before":
            self._plan_notice(order, at)
        early = Outbox()
        for delivery in behaviour.deliver:
            outbox = early if delivery.early else self._outbox
            body = self._told(order, delivery, at)
            for _ in range(delivery.copies):
                outbox.post(
                    at if delivery.early else at + timedelta(seconds=delivery.delay),
                    order.url,
                    body,
                    about=f"{order.api} callback" if order.api is Api.STK_PUSH else f"{order.api} result",
                    correlation=order.checkout_request_id or order.conversation_id,
                )
        if behaviour.queue_timeout == "after":
            self._plan_notice(order, last)
        if behaviour.also_c2b == "after":
            self._plan_c2b_report(order, last)
        self._changed.notify_all()
        return early.take_all_postings()

    def _told(self, order: _Order, delivery: Delivery, at: datetime) -> bytes:
        """The bytes of a callback about an order."""
        if delivery.raw is not None:
            return delivery.raw
        code, description = order.code, order.description
        if delivery.says is not None:
            code, description = ENDINGS[order.api][delivery.says]
        assert code is not None
        amount = order.amount if delivery.amount is None else delivery.amount
        receipt = delivery.receipt or order.receipt
        if order.api is Api.STK_PUSH:
            phone = f"{order.phone[:6]}***{order.phone[-3:]}" if self.rules.mask_stk_phone else int(order.phone)
            return bodies.dumps(
                bodies.stk_callback(
                    merchant_request_id=order.merchant_request_id,
                    checkout_request_id=order.checkout_request_id,
                    code=code,
                    description=description,
                    paid=(amount, receipt, at, phone) if code == 0 else None,
                )
            )
        parameters, item = self._result_details(order, code, amount, receipt, at)
        real = order.api is Api.B2C or (order.api is Api.REVERSAL and code == 0)
        return bodies.dumps(
            bodies.result(
                code=code,
                description=description,
                originator_conversation_id=order.originator_conversation_id,
                conversation_id=order.conversation_id,
                transaction_id=receipt if real else self._identifiers.dummy_receipt(at),
                parameters=parameters,
                reference_item=item,
            )
        )

    def _result_details(
        self, order: _Order, code: int | str, amount: Decimal, receipt: str, at: datetime
    ) -> tuple[Sequence[Mapping[str, Any]] | Mapping[str, Any] | None, Mapping[str, Any]]:
        """Parameters and reference item of a result."""
        owner = order.organisation
        item: Mapping[str, Any] = {"Key": "Occasion"}
        if order.api is Api.STATUS:
            if occasion := checks.text(order.fields, "Occasion"):
                item = {**item, "Value": occasion}
        else:
            item = bodies.internal_results_url(_RESULT_PRODUCTS[order.api])
        if code == 8006:
            # Captured failures for a locked password do carry parameters, each product in its own way.
            if order.api is Api.BALANCE:
                return bodies.locked_balance_parameters(moment=at), {"Key": "QueueTimeoutURL"}
            if order.api is Api.B2C:
                return {"Key": "CreditPartyName", "Value": order.phone}, item
        if code != 0:
            return None, item
        balances = self.ledger.balances(owner.short_code)
        if order.api is Api.B2C:
            parameters = bodies.b2c_parameters(
                amount=amount, receipt=receipt, phone=order.phone, name="JANE DOE", moment=at, balances=balances
            )
            return parameters, item
        if order.api is Api.REVERSAL:
            parameters = bodies.reversal_parameters(
                amount=amount,
                original=order.reference,
                customer=f"{order.phone} - JANE DOE",
                organisation=f"{owner.short_code} - {owner.name}",
                moment=at,
                balances=balances,
            )
            return parameters, item
        return order.parameters, item

    def _plan_notice(self, order: _Order, due: datetime) -> None:
        """The queue timeout notice: the request itself, sent back, or the Result that some SDKs expect instead."""
        if not order.timeout_url:
            return
        body: Mapping[str, Any] = order.fields
        if order.behaviour.queue_timeout_as_result:
            body = bodies.timeout_result(
                originator_conversation_id=order.originator_conversation_id,
                conversation_id=order.conversation_id,
                transaction_id=self._identifiers.dummy_receipt(due),
            )
        self._outbox.post(
            due,
            order.timeout_url,
            bodies.dumps(body),
            about=f"{order.api} queue timeout",
            correlation=order.conversation_id,
        )

    def _plan_c2b_report(self, order: _Order, due: datetime) -> None:
        owner = order.organisation
        registration = self._registered.get(owner.short_code)
        if order.api is not Api.STK_PUSH or order.code != 0 or registration is None:
            return
        till = checks.text(order.fields, "TransactionType") == "CustomerBuyGoodsOnline"
        body = self._c2b_body(
            owner,
            registration,
            due,
            receipt=order.receipt,
            amount=order.amount,
            phone=order.phone,
            reference="" if till else order.reference,
            till=till,
            first_name="JANE",
            third_party_id="",
            confirmed=True,
        )
        url = registration.confirmation_url
        self._outbox.post(due, url, bodies.dumps(body), about="c2b confirmation", correlation=order.receipt)

    def _c2b_body(
        self,
        organisation: Organisation,
        registration: _Registration,
        at: datetime,
        *,
        receipt: str,
        amount: Decimal,
        phone: str,
        reference: str,
        till: bool,
        first_name: str,
        third_party_id: str,
        confirmed: bool,
    ) -> dict[str, Any]:
        kind = "Customer Merchant Payment" if till else "Pay Bill"
        return bodies.c2b(
            transaction_type=kind if confirmed else "",
            receipt=receipt,
            moment=at,
            amount=amount,
            short_code=organisation.short_code,
            reference=reference,
            balance=self.ledger.balances(organisation.short_code).utility if confirmed else None,
            third_party_id=third_party_id,
            msisdn=bodies.hashed_phone(phone) if registration.version == "v1" else bodies.masked_phone(phone),
            first_name=first_name,
        )

    def _take_c2b(
        self,
        organisation: Organisation,
        at: datetime,
        *,
        amount: Decimal,
        phone: str,
        reference: str,
        till: bool,
        first_name: str,
        behaviour: Behaviour,
        validations: list[Posted],
    ) -> CustomerPayment:
        """A customer's own payment. Called without the lock: the validation URL is asked in between."""
        with self._changed:
            registration = self._registered.get(organisation.short_code)
            receipt = self._identifiers.receipt(at)
        told: dict[str, Any] = {
            "receipt": receipt,
            "amount": amount,
            "phone": phone,
            "reference": reference,
            "till": till,
            "first_name": first_name,
        }
        validated, third_party_id = None, ""
        if registration is not None and organisation.external_validation:
            body = self._c2b_body(organisation, registration, at, **told, third_party_id="", confirmed=False)
            code, third_party_id = self._validate(registration, receipt, bodies.dumps(body), at, validations)
            validated = code is not None
            rejected = registration.response_type == "Cancelled" if code is None else code != "0"
            if rejected:
                return CustomerPayment(receipt=receipt, paid=False, code=code, validated=validated)
        if behaviour.ending is not Ending.PAY or behaviour.code not in (None, 0):
            code = str(behaviour.code) if behaviour.code is not None else None
            return CustomerPayment(receipt=receipt, paid=False, code=code, validated=validated)
        with self._changed:
            self.ledger.receive(
                Entry(
                    receipt=receipt,
                    kind=Kind.C2B,
                    short_code=organisation.short_code,
                    amount=amount,
                    phone=phone,
                    reference=reference,
                    at=at,
                    originator_conversation_id=self._identifiers.request_id(),
                    conversation_id=self._identifiers.conversation_id(at),
                )
            )
            for delivery in behaviour.deliver if registration is not None else ():
                assert registration is not None
                changed = {**told, "amount": delivery.amount or amount, "receipt": delivery.receipt or receipt}
                body = self._c2b_body(
                    organisation, registration, at, **changed, third_party_id=third_party_id, confirmed=True
                )
                raw = bodies.dumps(body) if delivery.raw is None else delivery.raw
                for _ in range(delivery.copies):
                    due = at + timedelta(seconds=delivery.delay)
                    url = registration.confirmation_url
                    self._outbox.post(due, url, raw, about="c2b confirmation", correlation=receipt)
            self._changed.notify_all()
        return CustomerPayment(receipt=receipt, paid=True, validated=validated)

    def _validate(
        self, registration: _Registration, receipt: str, body: bytes, at: datetime, validations: list[Posted]
    ) -> tuple[str | None, str]:
        """The application's answer to a validation: code and ThirdPartyTransID; no code where it failed or was late."""
        plan = Outbox()
        plan.post(at, registration.validation_url, body, about="c2b validation", correlation=receipt)
        before = self._clock()
        posted, answer = self._send(plan.take_all_postings()[0], at)
        validations.append(posted)
        late = (self._clock() - before).total_seconds() > self.rules.validation_deadline
        if late or answer is None or answer.status != 200:
            return None, ""
        try:
            parsed = json.loads(answer.body, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None, ""
        code = parsed.get("ResultCode") if isinstance(parsed, dict) else None
        if not isinstance(code, (str, int)) or isinstance(code, bool):
            return None, ""
        return str(code), checks.text(parsed, "ThirdPartyTransID")

    # Posting.

    def _take(self, until: datetime | None) -> Posting | Step | None:
        """The next thing to post or to run, once the decisions before it are taken."""
        with self._changed:
            while True:
                decision, item = self._decisions.first, self._outbox.first
                if decision is not None and (item is None or decision.due <= item.due):
                    if until is not None and decision.due > until:
                        return None
                    self._settle(decision.due)
                    continue
                if item is None or (until is not None and item.due > until):
                    return None
                return self._outbox.take()

    def _take_shuffled(self, shuffle: random.Random) -> list[Posting | Step]:
        with self._changed:
            self._settle(None)
            batch: list[Posting | Step] = [*self._outbox.take_all_steps()] or [*self._outbox.take_all_postings()]
            shuffle.shuffle(batch)
            return batch

    def _run(self, item: Posting | Step, at: datetime) -> list[Posted]:
        return item.run(item.due) if isinstance(item, Step) else [self._send(item, at)[0]]

    def _send(self, posting: Posting, at: datetime) -> tuple[Posted, HttpResponse | None]:
        """Post, without the lock held, and note it."""
        error, answer = None, None
        try:
            came = self._post(posting.url, posting.body)
            answer = came if isinstance(came, HttpResponse) else HttpResponse(status=came)
        except OSError as problem:
            error = f"{type(problem).__name__}: {problem}"
        posted = Posted(posting=posting, at=at, status=None if answer is None else answer.status, error=error)
        with self._changed:
            self._posted.append(posted)
        return posted, answer


def _reason(order: _Order | None) -> str:
    if order is None or order.api is not Api.B2C:
        return "Transaction Reversal via API"
    words = {"SalaryPayment": "Salary Payment", "PromotionPayment": "Promotion Payment"}
    return f"{words.get(checks.text(order.fields, 'CommandID'), 'Business Payment')} via API"


def _token_refusal(api: Api, token: str) -> Refused:
    """Every product refuses a token in its own way."""
    if api in (Api.STK_PUSH, Api.STK_QUERY):
        return Refused(404, "404.001.03", "Invalid Access Token")
    if api in (Api.C2B_REGISTER, Api.C2B_SIMULATE):
        return Refused(400, "400.003.01", "Invalid Access Token")
    if api is Api.OAUTH:
        return Refused(400, "400.008.01", "Bad Request - invalid credentials")
    return Refused(401, "401.002.01", f"Error Occurred - Invalid Access Token - {token}")


def _spike_arrest(*, retry_after: int) -> HttpResponse:
    rate = "MessageRate{messagesPerPeriod=5, periodInMicroseconds=60000000, maxBurstMessageCount=1.0}"
    text = f"Spike arrest violation. Allowed rate : {rate}"
    return bodies.gateway_fault(429, text, "policies.ratelimit.SpikeArrestViolation", retry_after=retry_after)


def _query_answer(push: _Order, code: str, description: str) -> HttpResponse:
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
