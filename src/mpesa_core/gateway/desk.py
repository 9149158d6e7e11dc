"""What both gateways share: the procedures, before anybody runs them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from mpesa_core.callback_tokens import fixed_token
from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.balance import AccountBalance
from mpesa_core.daraja.c2b import RegisterUrls, RegisterUrlsAnswer
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.pull import PullRegistered, RegisterPull
from mpesa_core.dues import keeps
from mpesa_core.errors import InvalidField, MpesaError, TransactionNotFound
from mpesa_core.payments.records import CallbackRecord, TransactionRecord
from mpesa_core.repository.protocol import JointChange, missing_operations
from mpesa_core.routes import callback_urls
from mpesa_core.settings import Settings
from mpesa_core.settlement.effects import Procedure, StoreCall, send
from mpesa_core.settlement.engine import Engine, Verdict
from mpesa_core.settlement.initiation import Initiation
from mpesa_core.settlement.pulling import PullReport, pull
from mpesa_core.signals import Reply
from mpesa_core.values import flag, row_id

__all__ = ["Amount", "Desk", "Identified", "PhoneNumber", "utc_now"]

Identified = TransactionRecord | UUID | str
"""A transaction: its row, its id, or its id as text."""
Amount = int | Decimal | str
"""Shillings, exact: no float."""
PhoneNumber = str | int
"""A Kenyan mobile number in any form."""


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


class Desk:
    """What both gateways share: the procedures, before anybody runs them."""

    def __init__(
        self,
        settings: Settings,
        repository: object,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        account: str = "default",
        *,
        batches: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        joint = not missing_operations(repository, JointChange)
        self.engine = Engine(settings, clock, new_id, **keeps(repository), batches=batches, joint=joint)
        self._store = repository
        self._initiation = Initiation(self.engine, new_id)
        self._account_name = account

    def account(self, name: str) -> Self:
        """This gateway on another of the settings' accounts: ``gateway.account("till").stk_push(...)``.

        Raises:
            ConfigurationError: there is no such account.
        """
        self.settings.account(name)
        other = copy.copy(self)
        other._account_name = name  # noqa: SLF001 - our own copy
        return other

    def _stk_push(self, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.stk_push(account=self._account_name, **given)

    def _payout(self, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.payout(account=self._account_name, **given)

    def _reverse(self, transaction: Identified, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.reverse(transaction=row_id(transaction, "transaction"), **given)

    def _refund(
        self,
        transaction: Identified,
        *,
        as_payout: bool,
        phone_number: object | None,
        idempotency_key: str | None,
        **given: Any,
    ) -> Procedure[TransactionRecord]:
        if not flag(as_payout, "as_payout"):
            return self._initiation.reverse(
                transaction=row_id(transaction, "transaction"), idempotency_key=idempotency_key, **given
            )
        if idempotency_key is None:
            remedy = "A payout sent twice does not come back."
            raise InvalidField("idempotency_key", None, expected="a key of yours for a payout", remedy=remedy)
        return self._initiation.refund_by_payout(
            transaction=row_id(transaction, "transaction"),
            phone_number=phone_number,
            idempotency_key=idempotency_key,
            **given,
        )

    def _transfer(self, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.transfer(account=self._account_name, **given)

    def _remit_tax(self, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.remit_tax(account=self._account_name, **given)

    def _express_checkout(self, **given: Any) -> Procedure[TransactionRecord]:
        return self._initiation.express_checkout(account=self._account_name, **given)

    def _query(self, transaction: Identified) -> Procedure[TransactionRecord]:
        row = yield from self.engine.store.get(row_id(transaction, "transaction"))
        if row is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        answer = yield from self.engine.questions.ask(row)
        if answer is not None:
            yield from self.engine.process(answer)
        return (yield from self.engine.store.get(row.id)) or row

    def _account_balance(self, remarks: str) -> Procedure[Accepted]:
        question = AccountBalance(
            remarks=remarks,
            result_url=callback_urls(self.settings, CallbackType.BALANCE_RESULT, self._fixed_token("balance")),
            timeout_url=callback_urls(self.settings, CallbackType.BALANCE_TIMEOUT, self._fixed_token("balance")),
        )
        answer: Accepted = yield from send(question, self._account_name)
        return answer

    def _register_urls(self, response_type: str, version: int) -> Procedure[RegisterUrlsAnswer]:
        registration = RegisterUrls(
            response_type=response_type,
            version=version,
            confirmation_url=callback_urls(self.settings, CallbackType.C2B_CONFIRMATION, self._fixed_token("c2b")),
            validation_url=callback_urls(self.settings, CallbackType.C2B_VALIDATION, self._fixed_token("c2b")),
        )
        answer: RegisterUrlsAnswer = yield from send(registration, self._account_name)
        return answer

    def _register_pull(self, nominated_number: object, url: str | None) -> Procedure[PullRegistered]:
        if url is None:  # nothing is known to be posted there, and what is posted to this one is kept
            url = callback_urls(self.settings, CallbackType.C2B_CONFIRMATION, self._fixed_token("c2b"))
        answer: PullRegistered = yield from send(
            RegisterPull(nominated_number=nominated_number, callback_url=url), self._account_name
        )
        return answer

    def _pull(self, repository: object, start: datetime, end: datetime | None, **options: Any) -> Procedure[PullReport]:
        scans = callable(getattr(repository, "settled_between", None))
        return pull(self.engine, self._account_name, start, end, scans=scans, **options)

    def _fixed_token(self, product: str) -> str | None:
        """The token of URLs that no transaction owns; only where tokens are signed: any other would prove nothing."""
        secret = self.settings.callback_secret
        if secret is None:
            return None
        short_code = self.settings.account(self._account_name).short_code or ""
        return fixed_token(secret.reveal(), f"{product}:{short_code}")

    def _announce(self, transaction: Identified) -> Procedure[TransactionRecord]:
        row = yield from self.engine.store.get(row_id(transaction, "transaction"))
        if row is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        if row.generation == 0:
            raise InvalidField(
                "transaction", row.status, expected="a settled transaction; there is nothing to announce yet"
            )
        parent = (yield from self.engine.store.get(row.parent_id)) if row.parent_id is not None else None
        yield from self.engine.fire(row, parent)
        return row

    def _conflicts(self, limit: int, after: UUID | None) -> Procedure[Sequence[CallbackRecord]]:
        found: Sequence[CallbackRecord] = yield StoreCall("conflicts", (limit, after))
        return found

    def _replay(self, callback_id: UUID) -> Procedure[Verdict | None]:
        callback = yield from self.engine.store.get_callback(callback_id)
        if callback is None:
            raise TransactionNotFound(f"there is no callback {callback_id}")
        again: dict[str, Any] = {
            "next_attempt_at": self.clock(),
            "processed": False,
            "disposition": None,
            "error": None,
            "resolved_at": None,  # where it is a conflict again, a person has to see it again
        }
        yield from self.engine.store.change_callback(callback.id, callback.next_attempt_at, again)
        return (yield from self.engine.process(callback.id))

    def _rejection(self, replies: Sequence[Reply]) -> Mapping[str, Any] | None:
        for reply in replies:
            if isinstance(reply.value, Mapping) and str(reply.value.get("ResultCode", "0")) != "0":
                return reply.value
        for reply in replies:
            if reply.error is not None:
                raise MpesaError("a receiver of c2b_validation_received failed")
        return next((reply.value for reply in replies if isinstance(reply.value, Mapping)), None)
