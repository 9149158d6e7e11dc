"""The repository on Django's ORM: rows are instances of the host's models.

Each operation is a transaction of its own, committed when it returns. A row is locked (``select_for_update``) and then
changed by one ``UPDATE`` of the columns that change, if its version is still the one that was read.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from mpesa_core.errors import DuplicateKey, InvalidField, MpesaError, StorageRefused
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRecord
from mpesa_core.payments.records import (
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
from mpesa_core.repository.rows import (
    CALLBACK,
    CALLBACK_CHANGES,
    INVOICE,
    SUBSCRIPTION,
    TRANSACTION,
    Kind,
    check_names,
    plain,
    receipt_pair,
)
from mpesa_django.batches import NotTogether, Pair, change_all
from mpesa_django.operations import Database
from mpesa_django.several import Several
from mpesa_django.statements import Change, Statements

__all__ = ["DjangoRepository"]

_Model = type[models.Model]
_R = TypeVar("_R")

_OLDEST: Final = ("initiated_at", "pk")
_INVOICE_OPERATIONS: Final = frozenset(
    {"add_invoice", "get_invoice", "find_invoice", "payable_invoices", "change_invoice", "due_invoices"}
)
_SUBSCRIPTION_OPERATIONS: Final = frozenset(
    {
        "add_subscription",
        "get_subscription",
        "find_subscription",
        "charging_subscriptions",
        "change_subscription",
        "due_subscriptions",
    }
)


class DjangoRepository:
    """Transactions and callbacks, and invoices and subscriptions where they have a model, in Django's database.

    Rows are instances of the models, each read anew. Keys of a draft's ``host`` are fields of the host's own
    (``order=order``).

    Every operation raises:

    - StorageBusy: a lock, a deadlock or a serialization failure; nothing was changed.
    - StorageRefused: the database refused the row, for a field of your own; nothing was changed.
    - StorageUnavailable: the connection was lost, or a table is missing.
    - InvalidField: a value of a wrong type, or a name that is no field.

    What writes raises InsideTransaction where the caller has a transaction open, but for the one of a ``TestCase``.

    Args:
        transaction_model: of :class:`~mpesa_django.models.AbstractMpesaTransaction`.
        callback_model: of :class:`~mpesa_django.models.AbstractMpesaCallbackLog`.
        invoice_model: of :class:`~mpesa_django.models.AbstractMpesaInvoice`; without it there are no invoices.
        subscription_model: of :class:`~mpesa_django.models.AbstractMpesaSubscription`; likewise.
        using: the alias of the database; None asks the routers.
    """

    def __init__(
        self,
        transaction_model: _Model,
        callback_model: _Model,
        invoice_model: _Model | None = None,
        subscription_model: _Model | None = None,
        *,
        using: str | None = None,
    ) -> None:
        self._transactions = _Table[TransactionRecord](
            transaction_model,
            TRANSACTION,
            (*((key.value,) for key in Key if key not in _NOT_BY_ITSELF), (Key.RECEIPT.value, "short_code")),
            using,
        )
        self._callbacks = _Table[CallbackRecord](callback_model, CALLBACK, (), using)
        if invoice_model is not None:
            self._invoices = _Table[InvoiceRecord](
                invoice_model, INVOICE, (("external_reference", "short_code"),), using
            )
        if subscription_model is not None:
            unique = (("idempotency_key",), ("callback_token",), ("request_id",))
            self._subscriptions = _Table[SubscriptionRecord](subscription_model, SUBSCRIPTION, unique, using)

    def __repr__(self) -> str:
        return f"<DjangoRepository {self._transactions.label}>"

    def __getattribute__(self, name: str) -> Any:
        # An operation of what is not there is not there, as the protocols want it.
        if name in _INVOICE_OPERATIONS and "_invoices" not in vars(self):
            raise AttributeError(f"{name}: there are no invoices; give the repository an invoice_model.")
        if name in _SUBSCRIPTION_OPERATIONS and "_subscriptions" not in vars(self):
            raise AttributeError(f"{name}: there are no subscriptions; give the repository a subscription_model.")
        if name == "batch" and not self._batches():
            raise AttributeError(
                f"{name}: it is offered on PostgreSQL, in one database and where each model has a table."
            )
        if name == "change_with_callback" and not self._is_one_database():
            raise AttributeError(
                f"{name}: transactions and callbacks are in two databases, without a commit in common."
            )
        return super().__getattribute__(name)

    def _is_one_database(self) -> bool:
        return self._transactions.database.alias == self._callbacks.database.alias

    def _batches(self) -> bool:
        connection = self._transactions.database.connection
        tables = (self._transactions, self._callbacks)
        return self._is_one_database() and all(each.statements.serve(connection) for each in tables)

    # Transactions of the caller's

    def in_transaction(self) -> bool:
        """Whether the caller has a transaction open in the transactions' database, but for that of a ``TestCase``."""
        return self._transactions.database.in_transaction()

    def within_transaction(self) -> DjangoRepository:
        """This repository, with transactions recorded as a part of the caller's own database transaction."""
        joining = copy.copy(self)
        joining._transactions = self._transactions.joining()  # noqa: SLF001 - our own copy
        return joining

    def after_commit(self, work: Callable[[], object]) -> None:
        """Have something done once the caller's transaction is committed."""
        transaction.on_commit(work, using=self._transactions.database.alias)

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
        return self._callbacks.first(pk=callback_id)

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        """Apply the changes if ``next_attempt_at`` is still what was expected; whether it was so."""
        return self._callbacks.won(self._callback_change(callback_id, expected_next_attempt, changes))

    def _callback_change(self, callback_id: UUID, expected: datetime | None, changes: Mapping[str, Any]) -> Change:
        check_names(changes, CALLBACK_CHANGES)
        moment = None if expected is None else plain("expected_next_attempt", Kind.TIME, expected)
        return self._callbacks.wanted(callback_id, "next_attempt_at", moment, changes)

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRecord]:
        """Callbacks whose ``next_attempt_at`` is not after ``now``, in the order of it."""
        return self._callbacks.due("next_attempt_at", now, limit)

    def open_callbacks(
        self, *, token: str | None = None, correlation_ids: Sequence[str] = ()
    ) -> Sequence[CallbackRecord]:
        """The callbacks that are not closed and have that token, or one of those correlation ids, oldest first."""
        if token is None and not correlation_ids:
            return []
        found = Q(correlation_id__in=list(correlation_ids))
        if token is not None:
            found |= Q(token=token)
        return self._callbacks.all(found, Q(next_attempt_at__isnull=False), order=("received_at", "pk"))

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRecord]:
        """Callbacks with the disposition ``conflict`` that nobody resolved, oldest first, from after that one on."""
        where = [Q(disposition=Disposition.CONFLICT.value, resolved_at=None)]
        last = self.get_callback(after) if after is not None else None
        if last is not None:
            where.append(Q(received_at__gt=last.received_at) | Q(received_at=last.received_at, pk__gt=last.id))
        return self._callbacks.all(*where, order=("received_at", "pk"), limit=limit)

    # Transactions

    def add(self, draft: TransactionDraft) -> TransactionRecord:
        """Record a transaction, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        return self._transactions.add(draft)

    def get(self, transaction_id: UUID) -> TransactionRecord | None:
        """The transaction, or None."""
        return self._transactions.first(pk=transaction_id)

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
        return self._transactions.change_version(self._transactions.wanted_version(transaction_id, version, changes))

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> TransactionRecord | None:
        """``change`` and ``change_callback`` in one commit, both or neither; None where one of them was lost.

        There is no such operation where the two are in different databases.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        change = self._transactions.wanted_version(transaction_id, version, changes)
        closed = self._callback_change(callback_id, expected_next_attempt, closing)
        return self._transactions.change_version(change, (self._callbacks, closed))

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[TransactionRecord]:
        """The transactions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        pending = Q(status=Status.PENDING.value)
        if Sweep(sweep) is Sweep.UNANNOUNCED:
            return self._transactions.due("announce_until", now, limit)
        return self._transactions.due("next_check_at", now, limit, pending if sweep == Sweep.UNSENT else ~pending)

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[TransactionRecord]:
        """STK_PUSH transactions of that short code and amount (by value) that have no receipt, oldest first."""
        where = Q(transaction_type=TransactionType.STK_PUSH.value, mpesa_receipt_number=None, short_code=short_code)
        where &= Q(amount=plain("amount", Kind.MONEY, amount))
        if reference is not None:
            where &= Q(account_reference=reference)
        if since is not None:
            where &= Q(initiated_at__gte=plain("since", Kind.TIME, since))
        return self._transactions.all(where, order=("initiated_at", "pk"))

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Sequence[TransactionRecord]:
        """The transactions of a short code with a receipt whose ``confirmed_at`` is in the span, in the order of it."""
        span = (plain("start", Kind.TIME, start), plain("end", Kind.TIME, end))
        where = [Q(short_code=short_code, mpesa_receipt_number__isnull=False, confirmed_at__range=span)]
        last = self.get(after) if after is not None else None
        if last is not None and last.confirmed_at is not None:
            where.append(Q(confirmed_at__gt=last.confirmed_at) | Q(confirmed_at=last.confirmed_at, pk__gt=last.id))
        return self._transactions.all(*where, order=("confirmed_at", "pk"), limit=limit)

    # Several at once

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several of ``find`` and of the changes, with few statements and one commit; on PostgreSQL alone.

        Where one of them cannot be done along with the others, each is done by itself.
        """
        with contextlib.suppress(NotTogether, StorageRefused):
            database = self._transactions.database
            return database.write(database.connection, partial(self._together, calls), _by_themselves)
        return [_attempted(getattr(self, name), arguments) for name, arguments in calls]

    def _together(self, calls: Sequence[tuple[str, tuple[Any, ...]]], connection: BaseDatabaseWrapper) -> list[Any]:
        changes = {index: self._pair(*call) for index, call in enumerate(calls) if call[0] != "find"}
        results = change_all(connection, self._transactions.several, self._callbacks.several, changes)
        for key in {Key(arguments[0]) for name, arguments in calls if name == "find"}:
            wanted = {index: each[1][1] for index, each in enumerate(calls) if each[0] == "find" and each[1][0] == key}
            if key is Key.RECEIPT:
                results |= {index: self.find(key, value) for index, value in wanted.items()}
            else:
                found = self._transactions.several.find(connection, key.value, list(wanted.values()), _OLDEST)
                results |= dict(zip(wanted, found, strict=True))
        return [results[index] for index in range(len(calls))]

    def _pair(self, name: str, arguments: tuple[Any, ...]) -> Pair:
        try:
            row = self._transactions.wanted_version(*arguments[:3]) if name != "change_callback" else None
            call = self._callback_change(*arguments[-3:]) if name != "change" else None
        except InvalidField:
            raise NotTogether from None  # by itself it is refused, and no other
        if not all(table.plain(each) for table, each in ((self._transactions, row), (self._callbacks, call)) if each):
            raise NotTogether
        return row, call

    # Invoices

    def add_invoice(self, draft: InvoiceDraft) -> InvoiceRecord:
        """Record an invoice, with version 1.

        Raises:
            DuplicateKey: the ``external_reference`` is taken in its short code, or the ``id``; nothing is changed.
        """
        return self._invoices.add(draft)

    def get_invoice(self, invoice_id: UUID) -> InvoiceRecord | None:
        """The invoice, or None."""
        return self._invoices.first(pk=invoice_id)

    def find_invoice(self, short_code: str, external_reference: str) -> InvoiceRecord | None:
        """The invoice of a short code with that reference, or None."""
        return self._invoices.first(short_code=short_code, external_reference=external_reference)

    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Sequence[InvoiceRecord]:
        """The invoices of a short code that are paid to that reference and have one of the statuses, oldest first."""
        where = Q(short_code=short_code, account_reference=account_reference, status__in=list(map(str, statuses)))
        return self._invoices.all(where, order=("created_at", "pk"))

    def change_invoice(self, invoice_id: UUID, version: int, changes: Mapping[str, Any]) -> InvoiceRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a reference in the changes is taken by another invoice; nothing is changed.
        """
        return self._invoices.change_version(self._invoices.wanted_version(invoice_id, version, changes))

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
        return self._subscriptions.first(pk=subscription_id)

    def find_subscription(self, key: SubscriptionKey, value: str) -> SubscriptionRecord | None:
        """The subscription with that key, or None (the oldest, where several have it)."""
        return self._subscriptions.first(("created_at", "pk"), **{SubscriptionKey(key).value: value})

    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Sequence[SubscriptionRecord]:
        """The subscriptions of a short code that pay that amount to that reference, oldest first."""
        where = Q(short_code=short_code, account_reference=account_reference)
        where &= Q(amount=plain("amount", Kind.MONEY, amount))
        return self._subscriptions.all(where, order=("created_at", "pk"))

    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> SubscriptionRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another subscription; nothing is changed.
        """
        return self._subscriptions.change_version(self._subscriptions.wanted_version(subscription_id, version, changes))

    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[SubscriptionRecord]:
        """The subscriptions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._subscriptions.due(_swept(sweep), now, limit)


def _by_themselves(_connection: BaseDatabaseWrapper) -> None:
    raise NotTogether


def _attempted(operation: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return operation(*arguments)
    except MpesaError as error:
        return error


_NOT_BY_ITSELF: Final = (Key.ORIGINATOR_CONVERSATION_ID, Key.RECEIPT)
_SWEPT: Final = {Sweep.UNANNOUNCED: "announce_until", Sweep.TO_ASK: "next_check_at"}


def _swept(sweep: Sweep) -> str:
    column = _SWEPT.get(Sweep(sweep))
    if column is None:
        raise InvalidField("sweep", sweep, expected="UNANNOUNCED or TO_ASK")
    return column


class _LostError(Exception):
    """What undoes a change whose companion came too late."""


class _Table(Generic[_R]):
    """One of the models, and what is done with its rows.

    Args:
        model: the host's.
        kinds: of the core's fields.
        unique: what one row alone may have, each as the fields that make it; DuplicateKey names the first one of them.
        using: the alias, or None.
    """

    def __init__(
        self, model: _Model, kinds: Mapping[str, Kind], unique: tuple[tuple[str, ...], ...], using: str | None
    ) -> None:
        self._model = model
        self._kinds = kinds
        self._unique = unique
        self.database = Database(model, using)
        self.statements = Statements(model)
        self.several = Several(model)
        self._changeable = frozenset(kinds) - {"id", "version"}
        self._drafted = tuple(name for name in kinds if name not in ("version", "host", "attempts", "resolved_at"))

    def joining(self) -> _Table[_R]:
        """The same, writing as a part of the caller's transaction."""
        other = copy.copy(self)
        other.database = self.database.joining()
        return other

    @property
    def label(self) -> str:
        return self._model._meta.label  # noqa: SLF001 - Django's public interface

    def _rows(self, alias: str) -> models.QuerySet[models.Model]:
        return self._model._base_manager.using(alias)  # noqa: SLF001 - the manager that hides no row

    # What is read

    def all(self, *where: Q, order: tuple[str, ...], limit: int | None = None) -> list[_R]:
        def work(connection: BaseDatabaseWrapper) -> list[Any]:
            rows = self._rows(connection.alias).filter(*where).order_by(*order)
            return list(rows if limit is None else rows[: max(limit, 0)])

        return self.database.read(work)

    def first(self, order: tuple[str, ...] = ("pk",), **values: Any) -> _R | None:
        """The first row, in an order, whose fields have those values; or None."""

        def work(connection: BaseDatabaseWrapper) -> Any:
            if self.statements.serve(connection):
                return self.statements.first(connection, order, values)
            return self._rows(connection.alias).filter(**values).order_by(*order).first()

        row: _R | None = self.database.read(work)
        return row

    def due(self, name: str, now: datetime, limit: int, *where: Q) -> list[_R]:
        due = Q((f"{name}__lte", plain("now", Kind.TIME, now)))
        return self.all(due, *where, order=(name, "pk"), limit=limit)

    # What is written

    def add(self, draft: Any) -> _R:
        # As it is kept, with nothing of the caller's in it.
        row: _R = self._put(draft, lambda alias: self._rows(alias).get(pk=draft.id))
        return row

    def put(self, draft: Any) -> None:
        self._put(draft, None)

    def _put(self, draft: Any, then: Callable[[str], Any] | None) -> Any:
        values = self._values({name: getattr(draft, name) for name in self._drafted}, getattr(draft, "host", {}))
        connection = self.database.connection
        at_once = then is None and self.statements.adds(connection, self._kinds)

        def work(connection: BaseDatabaseWrapper) -> Any:
            if at_once:
                return self.statements.add(connection, values)
            self._model(**values).save(force_insert=True, using=connection.alias)
            return then(connection.alias) if then is not None else None

        return self.database.write(connection, work, self._refusing(draft.id, values), one_statement=at_once)

    def wanted(self, row_id: UUID, name: str, expected: object, changes: Mapping[str, Any]) -> Change:
        """A change of the row as it is written, if its field of that name is still what was expected."""
        host = changes.get("host", {})
        core = {each: value for each, value in changes.items() if each != "host"}
        return Change(row_id, name, expected, self._values(core, host))

    def wanted_version(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> Change:
        """A change of the row if it has that version still, which goes up by one."""
        check_names(changes, self._changeable)
        return self.wanted(row_id, "version", version, changes)

    def change_version(self, change: Change, along: tuple[_Table[Any], Change] | None = None) -> _R | None:
        """Change the row; the row as it is now, or None where it was lost.

        Args:
            change: of the version.
            along: a change of another table in the same database, which is made too, or neither of the two.
        """
        connection = self.database.connection
        at_once = self.serves(connection, change) and (along is None or along[0].serves(connection, along[1]))

        def work(connection: BaseDatabaseWrapper) -> Any:
            if at_once:
                besides = (along[0].statements, along[1]) if along is not None else None
                return self.statements.change(connection, change, besides)
            if not self.changed(connection, change):
                return None
            if along is not None and not along[0].changed(connection, along[1]):
                raise _LostError
            return self._rows(connection.alias).get(pk=change.row_id)

        refused = self._refusing(change.row_id, change.values)
        try:
            row: _R | None = self.database.write(connection, work, refused, one_statement=at_once)
        except _LostError:
            return None
        return row

    def won(self, change: Change) -> bool:
        """Change the row; whether it was changed."""
        connection = self.database.connection
        at_once = self.serves(connection, change)

        def work(connection: BaseDatabaseWrapper) -> bool:
            return self.statements.won(connection, change) if at_once else self.changed(connection, change)

        refused = self._refusing(change.row_id, change.values)
        return self.database.write(connection, work, refused, one_statement=at_once)

    def serves(self, connection: BaseDatabaseWrapper, change: Change) -> bool:
        """Whether the change is one statement there."""
        return self.statements.serve(connection) and self.plain(change)

    def plain(self, change: Change) -> bool:
        """Whether it changes the core's fields alone: the host's may be given as Django has them, an instance, say."""
        return change.values.keys() <= self._kinds.keys()

    def changed(self, connection: BaseDatabaseWrapper, change: Change) -> bool:
        """By the ORM, in a transaction: whether the row was changed."""
        rows = self._rows(connection.alias).filter(Q((change.name, change.expected)), pk=change.row_id)
        if connection.features.has_select_for_update and not rows.select_for_update().exists():
            return False
        written = dict(change.values)
        if change.name == "version":
            written["version"] = models.F("version") + 1
        return bool(rows.update(**written)) if written else rows.exists()

    def _values(self, core: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: plain(name, self._kinds[name], value) for name, value in core.items()}
        if not host:
            return values
        own = [field for field in self._model._meta.concrete_fields if field.name not in self._kinds]  # noqa: SLF001
        allowed = {name for field in own for name in (field.name, field.attname)}
        for name, value in host.items():
            if name not in allowed:
                near = difflib.get_close_matches(str(name), sorted(allowed), 1)
                raise InvalidField(
                    "host",
                    name,
                    expected=f"a field of your own on {self.label}: {', '.join(sorted(allowed)) or 'it has none'}",
                    remedy=f"Did you mean {near[0]!r}?" if near else "",
                )
            values[name] = value
        return values

    def _refusing(self, row_id: UUID, values: Mapping[str, Any]) -> Callable[[BaseDatabaseWrapper], None]:
        """Raise DuplicateKey for the key among the values that another row has; return where there is none."""

        def refused(connection: BaseDatabaseWrapper) -> None:
            alias = connection.alias
            present = self._rows(alias).filter(pk=row_id).first()
            if "id" in values and present is not None:
                raise DuplicateKey("id", row_id)
            for names in self._unique:
                wanted = {name: values[name] if name in values else getattr(present, name, None) for name in names}
                if None not in wanted.values() and any(name in values for name in names):
                    owner = self._rows(alias).filter(**wanted).exclude(pk=row_id).values_list("pk", flat=True).first()
                    if owner is not None:
                        raise DuplicateKey(names[0], owner)

        return refused
