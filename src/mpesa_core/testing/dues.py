"""The part of the repository contract about invoices and subscriptions.

It is tried on a repository that has the operations of :class:`~mpesa_core.repository.protocol.InvoiceRepository` or
:class:`~mpesa_core.repository.protocol.SubscriptionRepository`. One that leaves them out promises nothing here.
"""

# ruff: noqa: SIM300 - what is expected stands before what came
from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import attrs
import pytest

from mpesa_core.errors import DuplicateKey
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRecord
from mpesa_core.payments.records import Sweep
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRecord
from mpesa_core.repository.protocol import (
    InvoiceRepository,
    Repository,
    SubscriptionRepository,
    missing_operations,
)
from mpesa_core.testing.base import ContractBase

__all__ = ["DuesContract"]

NOON: Final = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
KINDS: Final = ("invoice", "subscription")


def invoice_draft(**fields: Any) -> InvoiceDraft:
    """A draft of an invoice of 100 shillings from short code 600000, with the fields that are given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "short_code": "600000",
        "external_reference": uuid4().hex,
        "account_reference": "A-1",
        "invoice_name": "Rent",
        "full_name": "Jane Wanjikũ",
        "phone_number": "254708374149",
        "period": "March 2026",
        "amount": Decimal("100.00"),
        "due_at": NOON,
        "created_at": NOON,
    }
    return InvoiceDraft(**defaults | fields)


def subscription_draft(**fields: Any) -> SubscriptionDraft:
    """A draft of a subscription of 500 shillings a month to short code 600000, with the fields that are given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "short_code": "600000",
        "name": "Gym",
        "account_reference": "GYM-1",
        "phone_number": "254708374149",
        "amount": Decimal("500.00"),
        "start_on": date(2026, 3, 1),
        "end_on": date(2027, 2, 28),
        "frequency": "monthly",
        "edition": "2025",
        "created_at": NOON,
    }
    return SubscriptionDraft(**defaults | fields)


@attrs.frozen
class _Kind:
    """The operations that both kinds have, by one name."""

    store: Any
    name: str

    def draft(self, **fields: Any) -> Any:
        return invoice_draft(**fields) if self.name == "invoice" else subscription_draft(**fields)

    def add(self, **fields: Any) -> Any:
        return getattr(self.store, f"add_{self.name}")(self.draft(**fields))

    def get(self, row_id: UUID) -> Any:
        return getattr(self.store, f"get_{self.name}")(row_id)

    def change(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> Any:
        return getattr(self.store, f"change_{self.name}")(row_id, version, changes)

    def due(self, sweep: Sweep, now: datetime, limit: int) -> list[UUID]:
        return [row.id for row in getattr(self.store, f"due_{self.name}s")(sweep, now, limit)]

    @property
    def fields(self) -> tuple[str, ...]:
        record = InvoiceRecord if self.name == "invoice" else SubscriptionRecord
        return tuple(name for name in dir(record) if not name.startswith("_"))


def _offered(repository: object, kind: str) -> _Kind | None:
    protocol = InvoiceRepository if kind == "invoice" else SubscriptionRepository
    return None if missing_operations(repository, protocol) else _Kind(repository, kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, str) else value


_UNIQUE: Final = (
    ("invoice", "external_reference"),
    ("subscription", "idempotency_key"),
    ("subscription", "callback_token"),
    ("subscription", "request_id"),
)
_FULL: Final[Mapping[str, Mapping[str, Any]]] = {
    "invoice": {
        "account": "rent",
        "status": "part_paid",
        "result_desc": "Wanjikũ 🧾",
        "amount": Decimal("99.50"),
        "due_at": NOON + _TICK,
        "payments": {str(UUID(int=1)): "10.50"},
        "unacknowledged": {str(UUID(int=1)): 2},
        "created_at": NOON - _TICK,
        "sent_at": NOON,
        "paid_at": NOON + _TICK,
        "voided_at": NOON + 2 * _TICK,
        "generation": 2,
        "unannounced": {"2": {"signal": "invoice_paid", "transaction": str(UUID(int=1))}},
        "announce_until": NOON + 3 * _TICK,
        "next_check_at": NOON + 4 * _TICK,
    },
    "subscription": {
        "account": "gym",
        "transaction_desc": "Fees",
        "status": "active",
        "start_on": date(2026, 12, 31),
        "end_on": date(2027, 1, 1),
        "idempotency_key": "key",
        "callback_token": "token",
        "request_id": "request",
        "response_ref_id": "response",
        "standing_order_id": "SC8F2IQMH5",
        "result_code_text": "0",
        "result_desc": "Wanjikũ 🧾",
        "created_at": NOON - _TICK,
        "settled_at": NOON,
        "stopped_at": NOON + _TICK,
        "conflicts": {"success:0:": {"callback": str(UUID(int=1)), "problem": "odd"}},
        "generation": 2,
        "unannounced": {"2": {"signal": "subscription_disabled"}},
        "announce_until": NOON + 3 * _TICK,
        "next_check_at": NOON + 4 * _TICK,
    },
}


class DuesContract(ContractBase):
    """Invoices and subscriptions."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_due_row_is_kept_exactly(self, repository: Repository, other: Repository, kind: str) -> None:
        """Every field comes back as it was handed in, from another handle too, with version 1."""
        dues, elsewhere = _offered(repository, kind), _offered(other, kind)
        if dues is None or elsewhere is None:
            return
        draft = dues.draft(**_FULL[kind])
        row = getattr(repository, f"add_{kind}")(draft)
        expected = {name: _plain(getattr(draft, name)) for name in dues.fields if name != "version"} | {"version": 1}
        for each in (row, elsewhere.get(draft.id)):
            assert expected == {name: _plain(getattr(each, name)) for name in dues.fields}

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_bare_due_row(self, repository: Repository, kind: str) -> None:
        """What was left out is None or empty, and what is not there is None."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        row = dues.add()
        assert (0, {}, None, None) == (
            row.generation,
            dict(row.unannounced),
            row.announce_until,
            row.next_check_at,
        )
        assert dues.get(uuid4()) is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_changeable_field_of_a_due_row(self, repository: Repository, other: Repository, kind: str) -> None:
        """Each is changed together with the version, and the rest stays as it is."""
        dues, elsewhere = _offered(repository, kind), _offered(other, kind)
        if dues is None or elsewhere is None:
            return
        row = dues.add()
        changes = _FULL[kind]
        before = {name: _plain(getattr(row, name)) for name in dues.fields}
        changed = dues.change(row.id, 1, changes)
        expected = before | {name: _plain(value) for name, value in changes.items()} | {"version": 2}
        for each in (changed, elsewhere.get(row.id)):
            assert expected == {name: _plain(getattr(each, name)) for name in dues.fields}

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_due_row_is_changed_by_the_version_that_was_read(self, repository: Repository, kind: str) -> None:
        """A lost compare-and-set changes nothing and returns None, and so does one of a row that is not there."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        row = dues.add()
        assert dues.change(row.id, 1, {"status": "active"}).version == 2
        assert dues.change(row.id, 1, {"status": "ended"}) is None
        assert dues.change(uuid4(), 1, {"status": "ended"}) is None
        assert ("active", 2) == (str(dues.get(row.id).status), dues.get(row.id).version)
        assert "active" != str(row.status), "a row that was read before is a snapshot"

    @pytest.mark.parametrize(("kind", "name"), [("invoice", "version"), ("subscription", "id"), ("invoice", "paid")])
    def test_what_may_not_be_changed_of_a_due_row(self, repository: Repository, kind: str, name: str) -> None:
        """A name that never changes, or is none, is refused, and nothing is changed."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        row = dues.add()
        with pytest.raises(Exception):  # noqa: B017, PT011 - the protocol does not say which
            dues.change(row.id, 1, {"status": "ended", name: 5})
        assert (1, str(row.status)) == (dues.get(row.id).version, str(dues.get(row.id).status))

    @pytest.mark.parametrize(("kind", "name"), _UNIQUE)
    def test_a_taken_key_of_a_due_row(self, repository: Repository, kind: str, name: str) -> None:
        """It is refused by adding and by changing; the key and its owner are named, and None is no value."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        owner, another = dues.add(**{name: "taken"}), dues.add()
        draft = dues.draft(**{name: "taken"})
        for attempt in (
            partial(getattr(repository, f"add_{kind}"), draft),
            partial(dues.change, another.id, 1, {name: "taken", "status": "ended"}),
        ):
            with pytest.raises(DuplicateKey) as caught:
                attempt()
            assert (name, owner.id) == (caught.value.key, caught.value.owner)
        assert (None, 1) == (dues.get(draft.id), dues.get(another.id).version)
        assert dues.change(owner.id, 1, {name: "taken"}).version == 2
        if kind == "subscription":
            assert dues.add().id != dues.add().id

    def test_a_reference_belongs_to_one_invoice_of_a_short_code(self, repository: Repository) -> None:
        """Another short code may use the same one; a reference that was given up is free."""
        dues = _offered(repository, "invoice")
        if dues is None:
            return
        row = dues.add(external_reference="E-1")
        there = dues.add(external_reference="E-1", short_code="600001")
        for short_code, expected in (("600000", row.id), ("600001", there.id)):
            assert expected == dues.store.find_invoice(short_code, "E-1").id
        assert dues.store.find_invoice("600002", "E-1") is None
        with pytest.raises(DuplicateKey):
            dues.change(there.id, 1, {"short_code": "600000"})
        dues.change(row.id, 1, {"external_reference": "E-2"})
        assert dues.store.find_invoice("600000", "E-1") is None
        assert dues.change(there.id, 1, {"short_code": "600000"}) is not None

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_taken_id_of_a_due_row(self, repository: Repository, kind: str) -> None:
        """It is refused, and the row that has it stays."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        row = dues.add()
        with pytest.raises(DuplicateKey) as caught:
            dues.add(id=row.id, status="ended")
        assert ("id", str(row.status)) == (caught.value.key, str(dues.get(row.id).status))

    def test_payable_invoices(self, repository: Repository) -> None:
        """Those of the short code, the reference and the statuses, oldest first."""
        dues = _offered(repository, "invoice")
        if dues is None:
            return
        late = dues.add(created_at=NOON + _TICK, status="sent")
        early = dues.add(created_at=NOON - _TICK, status="overdue")
        for fields in ({"short_code": "600001"}, {"account_reference": "a-1"}, {"status": "paid"}):
            dues.add(**{"status": "sent", **fields})
        found = partial(dues.store.payable_invoices, "600000", "A-1")
        assert [early.id, late.id] == [row.id for row in found(["sent", "overdue", "pending"])]
        assert [late.id] == [row.id for row in found(["sent"])]
        assert [] == list(found(["voided"]))

    @pytest.mark.parametrize("amount", ["500", "500.00", "500.000"])
    def test_charging_subscriptions(self, repository: Repository, amount: str) -> None:
        """Those of the short code, the reference and the amount by its value, of every status, oldest first."""
        dues = _offered(repository, "subscription")
        if dues is None:
            return
        late = dues.add(created_at=NOON + _TICK, status="cancelled")
        early = dues.add(created_at=NOON - _TICK)
        for fields in ({"short_code": "600001"}, {"account_reference": "gym-1"}, {"amount": Decimal("500.01")}):
            dues.add(**fields)
        found = dues.store.charging_subscriptions("600000", Decimal(amount), "GYM-1")
        assert [early.id, late.id] == [row.id for row in found]

    @pytest.mark.parametrize("key", SubscriptionKey)
    def test_a_subscription_is_found_by_each_key(self, repository: Repository, key: SubscriptionKey) -> None:
        """The one that has it, the oldest where several may, and None where nobody has."""
        dues = _offered(repository, "subscription")
        if dues is None:
            return
        dues.add()
        row = dues.add(**{key.value: "x"})
        if key is SubscriptionKey.RESPONSE_REF_ID:
            dues.add(**{key.value: "x", "created_at": NOON + _TICK})
        assert row.id == dues.store.find_subscription(key, "x").id
        assert dues.store.find_subscription(key, "X") is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_sweep_of_due_rows(self, repository: Repository, kind: str) -> None:
        """By the time that makes a row due, up to it and no later, in its order, within the limit."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        for sweep, name in ((Sweep.UNANNOUNCED, "announce_until"), (Sweep.TO_ASK, "next_check_at")):
            rows = [
                dues.add(**{name: NOON + ticks * _TICK, "created_at": NOON - ticks * _TICK}) for ticks in (0, -2, -1, 1)
            ]
            expected = [rows[1].id, rows[2].id, rows[0].id]
            assert expected == dues.due(sweep, NOON, 10)
            assert expected == dues.due(sweep, NOON.astimezone(timezone(timedelta(hours=3))), 10)
            assert expected[:2] == dues.due(sweep, NOON, 2)
            assert [] == dues.due(sweep, NOON, 0)
            for row in rows:
                dues.change(row.id, 1, {name: None})
            assert [] == dues.due(sweep, NOON, 10)

    @pytest.mark.parametrize("kind", KINDS)
    def test_one_version_of_a_due_row_is_changed_once(self, repository: Repository, kind: str) -> None:
        """Of many who change what they read at one moment, one wins."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        for _ in range(self.rounds):
            row = dues.add()
            work = [partial(dues.change, row.id, 1, {"status": f"s{racer}"}) for racer in range(self.racers)]
            won = [result for result in self.race(*work) if result is not None]
            assert 1 == len(won), won
            assert not isinstance(won[0], Exception), won
            assert (2, str(won[0].status)) == (dues.get(row.id).version, str(dues.get(row.id).status))

    @pytest.mark.parametrize(("kind", "name"), _UNIQUE)
    def test_one_key_of_a_due_row_is_added_once(self, repository: Repository, kind: str, name: str) -> None:
        """Of many who add it at one moment, one wins, and the others are told who has it."""
        dues = _offered(repository, kind)
        if dues is None:
            return
        for turn in range(self.rounds):
            results = self.race(*[partial(dues.add, **{name: f"k{turn}"})] * self.racers)
            won: list[Any] = [result for result in results if not isinstance(result, Exception)]
            assert 1 == len(won), results
            assert {won[0].id} == {getattr(each, "owner", None) for each in results if isinstance(each, Exception)}
