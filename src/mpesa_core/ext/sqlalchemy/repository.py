"""The repository on SQLAlchemy: rows are detached instances of the host's mapped classes.

Each operation has a session of its own and is one transaction, committed when it returns. A row is changed by one
``UPDATE`` of the columns that change, if its version is still the one that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, and_, or_
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session, sessionmaker

from mpesa_core.errors import DuplicateKey, InvalidField, MpesaError
from mpesa_core.ext.sqlalchemy.joint import JointChanges
from mpesa_core.ext.sqlalchemy.models import CallbackMixin, InvoiceMixin, SubscriptionMixin, TransactionMixin
from mpesa_core.ext.sqlalchemy.table import Change, NotTogether, Table, equals
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRecord
from mpesa_core.payments.records import (
    UNIQUE_KEYS,
    CallbackDraft,
    CallbackRecord,
    Disposition,
    Key,
    Status,
    Sweep,
    TransactionDraft,
    TransactionRecord,
    TransactionType,
)
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRecord
from mpesa_core.repository.protocol import InvoiceRepository, JointChange, SubscriptionRepository
from mpesa_core.repository.rows import (
    CALLBACK,
    CALLBACK_CHANGES,
    INVOICE,
    SUBSCRIPTION,
    TRANSACTION,
    TRANSACTION_CHANGES,
    Kind,
    check_names,
    plain,
    receipt_pair,
)
from mpesa_core.repository.texts import key_text

__all__ = ["SqlAlchemyRepository"]

_OLDEST: Final = ("initiated_at", "id")
_INVOICE_OPERATIONS: Final = frozenset(name for name in vars(InvoiceRepository) if not name.startswith("_"))
_SUBSCRIPTION_OPERATIONS: Final = frozenset(name for name in vars(SubscriptionRepository) if not name.startswith("_"))
_JOINT_OPERATIONS: Final = frozenset(name for name in vars(JointChange) if not name.startswith("_"))


class SqlAlchemyRepository:
    """Transactions and callbacks, and invoices and subscriptions where they have a model, by SQLAlchemy.

    Rows are instances of the models, each read anew, detached and complete: no later change shows in them. Keys of a
    draft's ``host`` are columns of the host's own, by the name of their attribute (``order_id=7``).

    Any number of threads may share it. It never touches a session of the host's: call it outside of your transactions,
    or commit them before.

    Every operation raises:

    - StorageBusy: a lock, a deadlock, a serialization failure, or no free connection; nothing was changed.
    - StorageRefused: the database refused the row, for a column of your own; nothing was changed.
    - StorageUnavailable: the connection was lost, or a table is missing.
    - InvalidField: a value of a wrong type, or a name that is no field.

    Args:
        engine_or_sessionmaker: where the rows are. For SQLite see :func:`~mpesa_core.ext.sqlalchemy.prepare_sqlite`.
        transaction_model: a mapped class with :class:`~mpesa_core.ext.sqlalchemy.TransactionMixin`.
        callback_model: one with :class:`~mpesa_core.ext.sqlalchemy.CallbackMixin`.
        invoice_model: one with :class:`~mpesa_core.ext.sqlalchemy.InvoiceMixin`; without it there are no invoices.
        subscription_model: one with :class:`~mpesa_core.ext.sqlalchemy.SubscriptionMixin`; likewise.

    Raises:
        ConfigurationError: an argument is something else.
    """

    def __init__(
        self,
        engine_or_sessionmaker: Engine | sessionmaker[Any],
        *,
        transaction_model: type[Any],
        callback_model: type[Any],
        invoice_model: type[Any] | None = None,
        subscription_model: type[Any] | None = None,
    ) -> None:
        bind = engine_or_sessionmaker
        by_themselves = tuple((key.value,) for key in UNIQUE_KEYS if key is not Key.RECEIPT)
        unique = (*by_themselves, (Key.RECEIPT.value, "short_code"))
        self._transactions = Table[TransactionRecord](transaction_model, TransactionMixin, TRANSACTION, unique, bind)
        self._callbacks = Table[CallbackRecord](callback_model, CallbackMixin, CALLBACK, (), bind)
        if self._transactions.database.is_one_with(self._callbacks.database):
            self._joint = JointChanges(self._transactions, self._callbacks)
        if invoice_model is not None:
            reference = ("external_reference", "short_code")
            self._invoices = Table[InvoiceRecord](invoice_model, InvoiceMixin, INVOICE, (reference,), bind)
        if subscription_model is not None:
            unique = (("idempotency_key",), ("callback_token",), ("request_id",))
            self._subscriptions = Table[SubscriptionRecord](
                subscription_model, SubscriptionMixin, SUBSCRIPTION, unique, bind
            )

    def __repr__(self) -> str:
        return f"<SqlAlchemyRepository {self._transactions.model.__name__}>"

    def __getattribute__(self, name: str) -> Any:
        # An operation of what has no model is not there, as the protocols want it.
        if name in _INVOICE_OPERATIONS and "_invoices" not in vars(self):
            raise AttributeError(f"{name}: there are no invoices; give the repository an invoice_model.")
        if name in _SUBSCRIPTION_OPERATIONS and "_subscriptions" not in vars(self):
            raise AttributeError(f"{name}: there are no subscriptions; give the repository a subscription_model.")
        if name in _JOINT_OPERATIONS and "_joint" not in vars(self):
            raise AttributeError(f"{name}: transactions and callbacks are in different databases.")
        return super().__getattribute__(name)

    # Callbacks

    def add_callback(self, draft: CallbackDraft) -> UUID:
        """Record a callback; committed when it returns. The same id again changes nothing and returns the id."""
        try:
            self._callbacks.put(draft)
        except DuplicateKey:
            return draft.id
        return draft.id

    def get_callback(self, callback_id: UUID) -> CallbackRecord | None:
        """The callback, or None."""
        return self._callbacks.first(id=callback_id)

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        """Apply the changes if ``next_attempt_at`` is still what was expected; whether it was so."""
        check_names(changes, CALLBACK_CHANGES)
        return self._callbacks.change_where(callback_id, "next_attempt_at", _moment(expected_next_attempt), changes)

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRecord]:
        """Callbacks whose ``next_attempt_at`` is not after ``now``, in the order of it."""
        return self._callbacks.due("next_attempt_at", now, limit)

    def open_callbacks(
        self, *, token: str | None = None, correlation_ids: Sequence[str] = ()
    ) -> Sequence[CallbackRecord]:
        """The callbacks that are not closed and have that token, or one of those correlation ids, oldest first."""
        if token is None and not correlation_ids:
            return []
        model = self._callbacks.model
        found = []
        if correlation_ids:
            found.append(model.correlation_id.in_(correlation_ids))
        if token is not None:
            found.append(model.token == token)
        return self._callbacks.all(or_(*found), model.next_attempt_at.is_not(None), order=("received_at", "id"))

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRecord]:
        """Callbacks with the disposition ``conflict`` that nobody resolved, oldest first, from after that one on."""
        model = self._callbacks.model
        where = [equals(model.disposition, Disposition.CONFLICT), model.resolved_at.is_(None)]
        last = self.get_callback(after) if after is not None else None
        if last is not None:
            where.append(_later(model.received_at, last.received_at, model.id, last.id))
        return self._callbacks.all(*where, order=("received_at", "id"), limit=limit)

    # Transactions

    def add(self, draft: TransactionDraft) -> TransactionRecord:
        """Record a transaction, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        return self._transactions.add(draft)

    def get(self, transaction_id: UUID) -> TransactionRecord | None:
        """The transaction, or None."""
        return self._transactions.first(id=transaction_id)

    def find(self, key: Key, value: str | tuple[str, str]) -> TransactionRecord | None:
        """The transaction with that key, or None (the oldest, where several have it)."""
        if Key(key) is Key.RECEIPT:
            short_code, receipt = receipt_pair(value)
            return self._transactions.first(_OLDEST, short_code=short_code, mpesa_receipt_number=receipt)
        return self._transactions.first(_OLDEST, **{Key(key).value: value})

    def change(self, transaction_id: UUID, version: int, changes: Mapping[str, Any]) -> TransactionRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Only the columns in ``changes`` are written.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        return self._transactions.change_version(transaction_id, version, changes)

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> TransactionRecord | None:
        """:meth:`change` and :meth:`change_callback` together: both, or neither.

        It is there where both are in one database.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        check_names(closing, CALLBACK_CHANGES)
        expected = _moment(expected_next_attempt)
        return self._joint.change(transaction_id, version, changes, callback_id, expected, closing)

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[TransactionRecord]:
        """The transactions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        pending = equals(self._transactions.model.status, Status.PENDING)
        if Sweep(sweep) is Sweep.UNANNOUNCED:
            return self._transactions.due("announce_until", now, limit)
        return self._transactions.due("next_check_at", now, limit, pending if sweep == Sweep.UNSENT else ~pending)

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[TransactionRecord]:
        """STK_PUSH transactions of that short code and amount (by value) that have no receipt, oldest first."""
        model = self._transactions.model
        where = [
            equals(model.transaction_type, TransactionType.STK_PUSH),
            model.mpesa_receipt_number.is_(None),
            model.short_code == short_code,
            model.amount == plain("amount", Kind.MONEY, amount),
        ]
        if reference is not None:
            where.append(model.account_reference == reference)
        if since is not None:
            where.append(model.initiated_at >= plain("since", Kind.TIME, since))
        return self._transactions.all(*where, order=("initiated_at", "id"))

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Sequence[TransactionRecord]:
        """The transactions of a short code with a receipt whose ``confirmed_at`` is in the span, in the order of it."""
        span = (plain("start", Kind.TIME, start), plain("end", Kind.TIME, end))
        model = self._transactions.model
        where = [
            model.short_code == short_code,
            model.mpesa_receipt_number.is_not(None),
            model.confirmed_at.between(*span),
        ]
        last = self.get(after) if after is not None else None
        if last is not None and last.confirmed_at is not None:
            where.append(_later(model.confirmed_at, last.confirmed_at, model.id, last.id))
        return self._transactions.all(*where, order=("confirmed_at", "id"), limit=limit)

    def latest(self, limit: int, before: UUID | None = None) -> Sequence[TransactionRecord]:
        """Transactions in the order in which they were recorded, the last one first, from before that one on."""
        return self._transactions.latest("initiated_at", limit, before)

    def latest_callbacks(self, limit: int, before: UUID | None = None) -> Sequence[CallbackRecord]:
        """Callbacks likewise."""
        return self._callbacks.latest("received_at", limit, before)

    # Several at once

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several of ``find`` and of the changes, with few statements and one commit.

        Where one of them cannot be done along with the others, each is done by itself.
        """
        together = partial(self._together, calls=calls)
        try:
            return self._transactions.database.write(together, _by_themselves)
        except NotTogether:
            return [_attempted(getattr(self, name), arguments) for name, arguments in calls]

    def _together(self, session: Session, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        if not self._transactions.database.is_one_with(self._callbacks.database):
            raise NotTogether
        wanted = {index: arguments for index, (name, arguments) in enumerate(calls) if name == "find"}
        changes = {index: _parts(name, arguments) for index, (name, arguments) in enumerate(calls) if name != "find"}
        try:
            results = self._find_all(session, wanted)
            results |= self._change_all(session, changes)
        except (InvalidField, StatementError) as error:
            if isinstance(error, DBAPIError) and not isinstance(error, (IntegrityError, DataError)):
                raise
            raise NotTogether from error  # by itself, the one that is wrong is refused, and no other
        return [results[index] for index in range(len(calls))]

    def _find_all(self, session: Session, wanted: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        results: dict[int, Any] = {}
        for key in {Key(each[0]) for each in wanted.values()}:
            values = {index: each[1] for index, each in wanted.items() if each[0] == key}
            if key is Key.RECEIPT or len(set(values.values())) < len(values) or not all(map(_is_kept, values.values())):
                raise NotTogether  # a pair; one row for two, each of which has to have its own; or a shortened key
            found = self._transactions.read_all(session, key.value, values.values(), _OLDEST)
            results |= {index: found.get(value) for index, value in values.items()}
        return results

    def _change_all(
        self, session: Session, wanted: Mapping[int, tuple[Change | None, Change | None]]
    ) -> dict[int, Any]:
        callbacks = {index: each for index, (_, each) in wanted.items() if each is not None}
        rows = {index: each for index, (each, _) in wanted.items() if each is not None}
        for each in callbacks.values():
            check_names(each[2], CALLBACK_CHANGES)
        for each in rows.values():
            check_names(each[2], TRANSACTION_CHANGES)
        # Callbacks first, as one that is changed along with its payment.
        attempts = self._callbacks.lock_all(session, "next_attempt_at", {each[0] for each in callbacks.values()})
        versions = self._transactions.lock_all(session, "version", {each[0] for each in rows.values()})
        won = set()
        for index, changes in wanted.items():
            held = [(now, each) for now, each in zip((versions, attempts), changes, strict=True) if each is not None]
            if all(each[0] in now and now[each[0]] == each[1] for now, each in held):
                won.add(index)
                for now, each in held:
                    del now[each[0]]  # of two changes of one row, the first
        self._callbacks.change_all(
            session, "next_attempt_at", [each for index, each in callbacks.items() if index in won]
        )
        self._transactions.change_all(session, "version", [each for index, each in rows.items() if index in won])
        read = self._transactions.read_all(session, "id", {each[0] for index, each in rows.items() if index in won})
        changed = {index: read[each[0]] if index in won else None for index, each in rows.items()}
        return {index: index in won for index in callbacks} | changed

    # Invoices

    def add_invoice(self, draft: InvoiceDraft) -> InvoiceRecord:
        """Record an invoice, with version 1.

        Raises:
            DuplicateKey: the ``external_reference`` is taken in its short code, or the ``id``; nothing is changed.
        """
        return self._invoices.add(draft)

    def get_invoice(self, invoice_id: UUID) -> InvoiceRecord | None:
        """The invoice, or None."""
        return self._invoices.first(id=invoice_id)

    def find_invoice(self, short_code: str, external_reference: str) -> InvoiceRecord | None:
        """The invoice of a short code with that reference, or None."""
        return self._invoices.first(short_code=short_code, external_reference=external_reference)

    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Sequence[InvoiceRecord]:
        """The invoices of a short code that are paid to that reference and have one of the statuses, oldest first."""
        model = self._invoices.model
        where = [
            model.short_code == short_code,
            model.account_reference == account_reference,
            model.status.in_(list(map(str, statuses))),
        ]
        return self._invoices.all(*where, order=("created_at", "id"))

    def change_invoice(self, invoice_id: UUID, version: int, changes: Mapping[str, Any]) -> InvoiceRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a reference in the changes is taken by another invoice; nothing is changed.
        """
        return self._invoices.change_version(invoice_id, version, changes)

    def due_invoices(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[InvoiceRecord]:
        """The invoices of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._invoices.due(_swept(sweep), now, limit)

    # Subscriptions

    def add_subscription(self, draft: SubscriptionDraft) -> SubscriptionRecord:
        """Record a subscription, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        return self._subscriptions.add(draft)

    def get_subscription(self, subscription_id: UUID) -> SubscriptionRecord | None:
        """The subscription, or None."""
        return self._subscriptions.first(id=subscription_id)

    def find_subscription(self, key: SubscriptionKey, value: str) -> SubscriptionRecord | None:
        """The subscription with that key, or None (the oldest, where several have it)."""
        return self._subscriptions.first(("created_at", "id"), **{SubscriptionKey(key).value: value})

    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Sequence[SubscriptionRecord]:
        """The subscriptions of a short code that pay that amount to that reference, oldest first."""
        model = self._subscriptions.model
        where = [
            model.short_code == short_code,
            model.account_reference == account_reference,
            model.amount == plain("amount", Kind.MONEY, amount),
        ]
        return self._subscriptions.all(*where, order=("created_at", "id"))

    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> SubscriptionRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another subscription; nothing is changed.
        """
        return self._subscriptions.change_version(subscription_id, version, changes)

    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[SubscriptionRecord]:
        """The subscriptions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._subscriptions.due(_swept(sweep), now, limit)


def _moment(expected: datetime | None) -> datetime | None:
    return None if expected is None else plain("expected_next_attempt", Kind.TIME, expected)


def _is_kept(text: str) -> bool:
    """Whether a key is stored as it is."""
    return key_text(text) == text


def _parts(name: str, arguments: tuple[Any, ...]) -> tuple[Change | None, Change | None]:
    """What a call changes: of a transaction, and of a callback."""
    if name == "change":
        return cast("Change", arguments), None
    callback = arguments if name == "change_callback" else arguments[3:]
    changed: Change = (callback[0], _moment(callback[1]), callback[2])
    return (None, changed) if name == "change_callback" else (cast("Change", arguments[:3]), changed)


def _by_themselves(_session: Session) -> None:
    raise NotTogether


def _attempted(operation: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return operation(*arguments)
    except MpesaError as error:
        return error


def _later(column: Any, moment: datetime, ids: Any, last: UUID) -> ColumnElement[bool]:
    """What comes after a row, in the order of a time and then of the id."""
    return or_(column > moment, and_(column == moment, ids > last))


_SWEPT: Final = {Sweep.UNANNOUNCED: "announce_until", Sweep.TO_ASK: "next_check_at"}


def _swept(sweep: Sweep) -> str:
    column = _SWEPT.get(Sweep(sweep))
    if column is None:
        raise InvalidField("sweep", sweep, expected="UNANNOUNCED or TO_ASK")
    return column
