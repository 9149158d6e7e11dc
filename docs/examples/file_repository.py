"""An example of a repository: two dictionaries in one JSON file, behind a lock. POSIX only (it locks with flock).

Every operation takes the lock, reads the file, works on it in memory and, if it changed something, writes a new file beside
the old one, has it on the disk and puts it in the old one's place: so each operation happens whole or not at all, and is
durable when it returns. That is slow, and all that the protocol asks for.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

from mpesa_core.errors import DuplicateKey, StorageUnavailable
from mpesa_core.payments.records import (
    UNIQUE_KEYS,
    CallbackDraft,
    CallbackRow,
    Key,
    Sweep,
    Transaction,
    TransactionDraft,
)

TIMES = {name for cls in (Transaction, CallbackRow) for name in attrs.fields_dict(cls) if name.endswith("_at")}
TIMES |= {"announce_until"}
UUIDS = {"id", "parent_id", "related_transaction_id"}


class FileRepository:
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.lock = threading.Lock()  # between threads; flock stands between processes

    # -- the file ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _store(self) -> Iterator[dict[str, dict[str, Any]]]:
        """The file's content, under the lock; what was changed in it is written at the end, if nothing was raised."""
        try:
            with self.lock, open(f"{self.path}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, also by the death of the process
                text = self.path.read_text("utf-8") if self.path.exists() else '{"transactions": {}, "callbacks": {}}'
                store = json.loads(text, parse_float=Decimal)
                yield store
                after = json.dumps(store, default=str)  # ASCII; a Decimal becomes its text
                if after != text:
                    new = self.path.with_suffix(".new")
                    with open(new, "w", encoding="utf-8") as file:
                        file.write(after)
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(new, self.path)
                    directory = os.open(self.path.parent, os.O_RDONLY)
                    os.fsync(directory)
                    os.close(directory)
        except OSError as error:
            raise StorageUnavailable(f"{self.path}: {error}") from error

    # -- callbacks ---------------------------------------------------------------------------------------------------

    def add_callback(self, draft: CallbackDraft) -> UUID:
        with self._store() as store:
            row = CallbackRow(**attrs.asdict(draft, recurse=False))
            store["callbacks"].setdefault(str(draft.id), to_json(row))
        return draft.id

    def get_callback(self, callback_id: UUID) -> CallbackRow | None:
        with self._store() as store:
            entry = store["callbacks"].get(str(callback_id))
            return from_json(CallbackRow, entry) if entry else None

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        with self._store() as store:
            entry = store["callbacks"].get(str(callback_id))
            if entry is None:
                return False
            row = from_json(CallbackRow, entry)
            if row.next_attempt_at != expected_next_attempt:
                return False
            store["callbacks"][str(callback_id)] = to_json(attrs.evolve(row, **changes))
            return True

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRow]:
        due = [row for row in self._callbacks() if row.next_attempt_at is not None and row.next_attempt_at <= now]
        return sorted(due, key=lambda row: row.next_attempt_at)[:limit]

    def open_callbacks(self, *, token: str | None = None, correlation_ids: Sequence[str] = ()) -> Sequence[CallbackRow]:
        return [
            row
            for row in self._callbacks()
            if row.next_attempt_at is not None
            and ((token is not None and row.token == token) or row.correlation_id in correlation_ids)
        ]

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRow]:
        rows = self._callbacks()
        seen = next((index for index, row in enumerate(rows, start=1) if row.id == after), 0)
        return [row for row in rows[seen:] if row.disposition == "conflict" and row.resolved_at is None][:limit]

    def _callbacks(self) -> list[CallbackRow]:
        """All of them, oldest first."""
        with self._store() as store:
            rows = [from_json(CallbackRow, entry) for entry in store["callbacks"].values()]
        return sorted(rows, key=lambda row: row.received_at)

    # -- transactions ------------------------------------------------------------------------------------------------

    def add(self, draft: TransactionDraft) -> Transaction:
        with self._store() as store:
            row = Transaction(**attrs.asdict(draft, recurse=False), version=1)
            refuse_duplicates(store, row)
            if str(row.id) in store["transactions"]:
                raise DuplicateKey("id", row.id)
            entry = store["transactions"][str(row.id)] = to_json(row)
            return from_json(Transaction, entry)

    def get(self, transaction_id: UUID) -> Transaction | None:
        with self._store() as store:
            entry = store["transactions"].get(str(transaction_id))
            return from_json(Transaction, entry) if entry else None

    def find(self, key: Key, value: str | tuple[str, str]) -> Transaction | None:
        return next((row for row in self._transactions() if key_of(row, key) == value), None)

    def change(self, transaction_id: UUID, version: int, changes: Mapping[str, Any]) -> Transaction | None:
        if {"id", "version"} & set(changes):
            raise TypeError("a row keeps its id, and its version is raised by the store")
        with self._store() as store:
            entry = store["transactions"].get(str(transaction_id))
            if entry is None or entry["version"] != version:
                return None
            row = attrs.evolve(from_json(Transaction, entry), **changes, version=version + 1)
            refuse_duplicates(store, row)
            entry = store["transactions"][str(transaction_id)] = to_json(row)
            return from_json(Transaction, entry)

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[Transaction]:
        name = "announce_until" if sweep == Sweep.UNANNOUNCED else "next_check_at"
        due = [row for row in self._transactions() if getattr(row, name) is not None and getattr(row, name) <= now]
        if sweep != Sweep.UNANNOUNCED:
            due = [row for row in due if (row.status == "PENDING") == (sweep == Sweep.UNSENT)]
        return sorted(due, key=lambda row: getattr(row, name))[:limit]

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[Transaction]:
        return [
            row
            for row in self._transactions()
            if row.transaction_type == "STK_PUSH"
            and row.mpesa_receipt_number is None
            and (row.short_code, row.amount) == (short_code, amount)
            and reference in (None, row.account_reference)
            and (since is None or row.initiated_at >= since)
        ]

    def _transactions(self) -> list[Transaction]:
        """All of them, oldest first."""
        with self._store() as store:
            rows = [from_json(Transaction, entry) for entry in store["transactions"].values()]
        return sorted(rows, key=lambda row: row.initiated_at)


def key_of(row: Transaction, key: Key) -> Any:
    """What the row has for that key: a text, the pair of short code and receipt, or None."""
    if key == Key.RECEIPT:
        return (row.short_code, row.mpesa_receipt_number) if row.mpesa_receipt_number is not None else None
    return getattr(row, key)


def refuse_duplicates(store: Mapping[str, Any], row: Transaction) -> None:
    """Raise DuplicateKey where another row has one of this row's unique keys."""
    for entry in store["transactions"].values():
        other = from_json(Transaction, entry)
        for key in UNIQUE_KEYS:
            if other.id != row.id and key_of(row, key) is not None and key_of(other, key) == key_of(row, key):
                raise DuplicateKey(key, other.id)


def to_json(row: Transaction | CallbackRow) -> dict[str, Any]:
    """The row's fields, each as something that JSON can hold."""
    entry = attrs.asdict(row, recurse=False)
    for name, value in entry.items():
        if isinstance(value, datetime):
            entry[name] = value.astimezone(UTC).isoformat()
        elif isinstance(value, bytes):
            entry[name] = base64.b64encode(value).decode()
        elif isinstance(value, (UUID, Decimal)):
            entry[name] = str(value)
    return json.loads(json.dumps(entry, default=str))  # a copy, so that the caller's own dictionaries stay out of it


def from_json(cls: type[Any], entry: Mapping[str, Any]) -> Any:
    """The row again."""
    fields = dict(entry)
    for name, value in fields.items():
        if value is None:
            continue
        if name in TIMES:
            fields[name] = datetime.fromisoformat(value)
        elif name in UUIDS:
            fields[name] = UUID(value)
        elif name == "raw_bytes":
            fields[name] = base64.b64decode(value)
        elif name == "amount":
            fields[name] = Decimal(value)
    return cls(**fields)
