"""The repository contract: every promise of :class:`~mpesa_core.repository.protocol.Repository`, as pytest classes.

Subclass :class:`RepositoryContract` in a test module and give it one fixture::

    class TestMyRepository(RepositoryContract):
        @pytest.fixture
        def repository(self, tmp_path):
            repository = MyRepository(tmp_path / "store")
            yield repository
            repository.close()

A store that outlives its handle gives a second fixture, ``reopen``: a function that opens another handle on the same
store.
"""

# ruff: noqa: SIM300 - what is expected stands before what came
from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID, uuid4

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import DuplicateKey, InvalidField
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
from mpesa_core.repository.protocol import Batches, JointChange, LatestScan, Repository, missing_operations
from mpesa_core.testing.base import ContractBase
from mpesa_core.testing.dues import DuesContract

__all__ = ["CallbackContract", "RepositoryContract", "TransactionContract"]

NOON = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
"""The moment around which everything in the contract happens."""

_TICK = timedelta(microseconds=1)
_ODD_TEXTS = ("Wanjikũ 🧾 عربى", "'; DROP TABLE x; --", "%_\\", " spaces ", "line\nbreak\ttab", "", "\u00c9", "E\u0301")
_UNHOLDABLE_TEXTS = ("nul\0inside", "lone \ud800 surrogate", "\udfff")


def _at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def transaction_draft(**fields: Any) -> TransactionDraft:
    """A draft of an STK push of 10 shillings to short code 600000, with the fields that are given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "transaction_type": TransactionType.STK_PUSH,
        "short_code": "600000",
        "phone_number": "254708374149",
        "amount": Decimal("10.00"),
        "account_reference": "INV-1",
        "transaction_desc": "Order",
        "initiated_at": NOON,
    }
    return TransactionDraft(**defaults | fields)


def callback_draft(**fields: Any) -> CallbackDraft:
    """A draft of an open STK callback, due at once, with the fields that are given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "callback_type": CallbackType.STK,
        "raw_bytes": b'{"Body": {}}',
        "received_at": NOON,
        "next_attempt_at": NOON,
    }
    return CallbackDraft(**defaults | fields)


def ids(rows: Sequence[TransactionRecord] | Sequence[CallbackRecord]) -> list[UUID]:
    """The ids of the rows, in their order."""
    return [row.id for row in rows]


def found(row: TransactionRecord | None) -> TransactionRecord:
    """The row, which has to be there."""
    assert row is not None
    return row


def logged(row: CallbackRecord | None) -> CallbackRecord:
    """The callback, which has to be there."""
    assert row is not None
    return row


def seen(row: TransactionRecord | CallbackRecord, fields: Sequence[str]) -> dict[str, Any]:
    """Those fields of a row, copied, with enum members as their texts."""
    return {name: _copied(getattr(row, name)) for name in fields}


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    return str(value) if isinstance(value, str) else value


TRANSACTION_FIELDS = tuple(name for name in dir(TransactionRecord) if not name.startswith("_"))
CALLBACK_FIELDS = tuple(name for name in dir(CallbackRecord) if not name.startswith("_"))


def same_json(sent: Any, stored: Any) -> bool:
    """Whether JSON came back exactly: a Decimal as an equal Decimal or int, or as its text; nothing as a float."""
    if isinstance(stored, float):
        return False
    if isinstance(sent, Mapping):
        return (
            isinstance(stored, Mapping)
            and set(sent) == set(stored)
            and all(same_json(item, stored[name]) for name, item in sent.items())
        )
    if isinstance(sent, (list, tuple)):
        return isinstance(stored, (list, tuple)) and len(sent) == len(stored) and all(map(same_json, sent, stored))
    if isinstance(sent, (int, Decimal)) and not isinstance(sent, bool):
        return not isinstance(stored, bool) and (stored == sent or stored == str(sent))
    return type(stored) is type(sent) and bool(stored == sent)


class CallbackContract(ContractBase):
    """The callback log."""

    def test_a_callback_is_kept_exactly(self, repository: Repository, other: Repository) -> None:
        """Every field of a callback comes back as it was given, also through another handle."""
        draft = callback_draft(
            callback_type=CallbackType.B2C_RESULT,
            raw_bytes=b"\xef\xbb\xbf{}\0\xff",
            headers={"content-type": "application/json", "x-name": "caf\xe9"},
            source_ip="2001:db8::1",
            raw_body={"Result": {"ResultCode": 0}},
            token="token-1",  # noqa: S106 - no secret
            correlation_id="ws_CO_1",
            related_transaction_id=uuid4(),
            received_at=NOON,
            next_attempt_at=_at(1),
            processed=False,
            disposition=Disposition.UNMATCHED,
            error="nothing matched",
        )
        assert draft.id == repository.add_callback(draft)
        row = logged(other.get_callback(draft.id))
        expected = {name: _copied(getattr(draft, name, None)) for name in CALLBACK_FIELDS} | {"attempts": 0}
        assert expected == seen(row, CALLBACK_FIELDS)

    def test_a_bare_callback(self, repository: Repository) -> None:
        """What a callback leaves out comes back as None, and it is closed from the start."""
        draft = callback_draft(next_attempt_at=None, processed=True)
        repository.add_callback(draft)
        row = logged(repository.get_callback(draft.id))
        assert (None,) * 7 == (
            row.source_ip, row.raw_body, row.token, row.correlation_id, row.disposition, row.error, row.next_attempt_at,
        )  # fmt: skip
        assert row.processed is True
        assert [] == list(repository.due_callbacks(_at(1_000_000), 10))

    def test_no_such_callback(self, repository: Repository) -> None:
        """An unknown id is None, and changes nothing."""
        assert repository.get_callback(uuid4()) is None
        assert repository.change_callback(uuid4(), None, {"attempts": 1}) is False
        assert repository.change_callback(uuid4(), NOON, {"attempts": 1}) is False

    def test_the_same_callback_again_changes_nothing(self, repository: Repository) -> None:
        """Put if absent: a repeated id returns the id and leaves the first one's content."""
        draft = callback_draft(raw_bytes=b"first")
        repository.add_callback(draft)
        repository.change_callback(draft.id, draft.next_attempt_at, {"attempts": 1, "next_attempt_at": _at(60)})
        again = callback_draft(id=draft.id, raw_bytes=b"second", received_at=_at(5))
        assert draft.id == repository.add_callback(again)
        row = logged(repository.get_callback(draft.id))
        assert (b"first", 1, _at(60)) == (row.raw_bytes, row.attempts, row.next_attempt_at)

    def test_a_claim_by_the_time_that_was_read(self, repository: Repository) -> None:
        """The first change wins; a second one that expects the old time changes nothing."""
        draft = callback_draft()
        repository.add_callback(draft)
        first = repository.change_callback(draft.id, NOON, {"next_attempt_at": _at(60), "attempts": 1})
        second = repository.change_callback(draft.id, NOON, {"next_attempt_at": _at(90), "attempts": 7})
        row = logged(repository.get_callback(draft.id))
        assert (True, False, _at(60), 1) == (first, second, row.next_attempt_at, row.attempts)

    @pytest.mark.parametrize(
        "wrong", [NOON - _TICK, NOON + _TICK, None], ids=["a tick before", "a tick after", "closed"]
    )
    def test_times_are_compared_to_the_microsecond(self, repository: Repository, wrong: datetime | None) -> None:
        """A time that is one microsecond off, or None, is not what is stored."""
        draft = callback_draft()
        repository.add_callback(draft)
        assert repository.change_callback(draft.id, wrong, {"attempts": 1}) is False
        assert 0 == logged(repository.get_callback(draft.id)).attempts

    def test_the_expected_time_in_another_zone(self, repository: Repository) -> None:
        """The same moment written in Nairobi time is the same."""
        draft = callback_draft()
        repository.add_callback(draft)
        in_nairobi = NOON.astimezone(timezone(timedelta(hours=3)))
        assert repository.change_callback(draft.id, in_nairobi, {"attempts": 1}) is True

    def test_a_closed_callback_is_changed_by_expecting_none(self, repository: Repository) -> None:
        """None is compared as a value: it fits a closed callback and no other."""
        draft = callback_draft()
        repository.add_callback(draft)
        closing = {"next_attempt_at": None, "processed": True, "disposition": Disposition.CONFLICT, "error": "amount"}
        assert repository.change_callback(draft.id, NOON, closing) is True
        assert repository.change_callback(draft.id, NOON, {"resolved_at": _at(9)}) is False
        assert repository.change_callback(draft.id, None, {"resolved_at": _at(9)}) is True
        row = logged(repository.get_callback(draft.id))
        assert (True, "conflict", "amount", _at(9), None) == (
            row.processed, row.disposition, row.error, row.resolved_at, row.next_attempt_at,
        )  # fmt: skip

    def test_every_changeable_field_of_a_callback(self, repository: Repository, other: Repository) -> None:
        """Each field that the protocol lists is changed, and the rest stays."""
        draft = callback_draft(token="token-1", headers={"a": "b"})  # noqa: S106 - no secret
        repository.add_callback(draft)
        changes = {
            "next_attempt_at": _at(30),
            "attempts": 3,
            "processed": True,
            "disposition": Disposition.DUPLICATE,
            "error": "seen before",
            "related_transaction_id": uuid4(),
            "correlation_id": "ws_CO_2",
            "resolved_at": _at(40),
        }
        before = seen(logged(repository.get_callback(draft.id)), CALLBACK_FIELDS)
        assert repository.change_callback(draft.id, NOON, changes) is True
        after = seen(logged(other.get_callback(draft.id)), CALLBACK_FIELDS)
        assert before | {name: _copied(value) for name, value in changes.items()} == after

    def test_an_unknown_field_of_a_callback_is_refused(self, repository: Repository) -> None:
        """A name that is no field raises and changes nothing."""
        draft = callback_draft()
        repository.add_callback(draft)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the store says how
            repository.change_callback(draft.id, NOON, {"attempts": 1, "atempts_at": 2})
        assert 0 == logged(repository.get_callback(draft.id)).attempts

    def test_due_callbacks_in_the_order_of_their_time(self, repository: Repository) -> None:
        """Those due at that moment or before, earliest first, as many as asked for; a postponed one waits its turn."""
        drafts = {
            due: callback_draft(next_attempt_at=_at(due), received_at=_at(-due)) for due in (5, -3, 0, -1, 0.000001)
        }
        for draft in drafts.values():
            repository.add_callback(draft)
        repository.add_callback(callback_draft(next_attempt_at=None))
        expected = [drafts[due].id for due in (-3, -1, 0)]
        assert expected == ids(repository.due_callbacks(NOON, 10))
        assert expected[:2] == ids(repository.due_callbacks(NOON, 2))
        assert [] == list(repository.due_callbacks(NOON, 0))
        repository.change_callback(drafts[-3].id, _at(-3), {"next_attempt_at": _at(-0.5)})
        assert [drafts[-1].id, drafts[-3].id, drafts[0].id] == ids(repository.due_callbacks(NOON, 10))

    def test_one_that_never_matches_does_not_starve_the_rest(self, repository: Repository) -> None:
        """Working through due callbacks one at a time, each postponed, reaches every one of them."""
        drafts = [callback_draft(next_attempt_at=_at(index)) for index in range(10)]
        for draft in drafts:
            repository.add_callback(draft)
        reached = []
        for turn in range(10):
            (row,) = repository.due_callbacks(_at(100), 1)
            reached.append(row.id)
            assert repository.change_callback(row.id, row.next_attempt_at, {"next_attempt_at": _at(50 + turn)}) is True
        assert ids(drafts) == reached  # type: ignore[arg-type]

    def test_open_callbacks_of_a_transaction(self, repository: Repository) -> None:
        """Those with that token or one of those correlation ids, open ones alone, each once, oldest first."""
        by_token = callback_draft(token="t", received_at=_at(3))  # noqa: S106 - no secret
        by_correlation = callback_draft(correlation_id="c1", received_at=_at(1))
        by_both = callback_draft(token="t", correlation_id="c2", received_at=_at(2), next_attempt_at=_at(9000))  # noqa: S106
        closed = callback_draft(token="t", correlation_id="c1", next_attempt_at=None)  # noqa: S106 - no secret
        for draft in (by_token, by_correlation, by_both, closed, callback_draft(), callback_draft(token="T")):  # noqa: S106
            repository.add_callback(draft)
        find = repository.open_callbacks
        assert [by_both.id, by_token.id] == ids(find(token="t"))  # noqa: S106 - no secret
        assert [by_correlation.id, by_both.id] == ids(find(correlation_ids=["c1", "c2", "c3"]))
        every = [by_correlation.id, by_both.id, by_token.id]
        assert every == ids(find(token="t", correlation_ids=("c2", "c1", "c2")))  # noqa: S106 - no secret
        assert [] == list(find())
        assert [] == list(find(token="nobody's", correlation_ids=["nothing"]))  # noqa: S106 - no secret
        repository.change_callback(by_both.id, by_both.next_attempt_at, {"next_attempt_at": None, "processed": True})
        repository.change_callback(by_correlation.id, NOON, {"correlation_id": "c4"})
        assert [by_token.id] == ids(find(token="t", correlation_ids=["c1", "c2"]))  # noqa: S106 - no secret
        assert [by_correlation.id] == ids(find(correlation_ids=["c4"]))

    def test_conflicts_page_by_page(self, repository: Repository) -> None:
        """Unresolved conflicts alone, oldest first; the pages show each of them once, also those of one moment."""
        drafts = [
            callback_draft(received_at=_at(index // 3), next_attempt_at=None, disposition=Disposition.CONFLICT)
            for index in range(10)
        ]
        for draft in reversed(drafts):
            repository.add_callback(draft)
        repository.add_callback(callback_draft(disposition=Disposition.APPLIED, next_attempt_at=None))
        repository.add_callback(callback_draft(next_attempt_at=None))
        resolved = drafts.pop(4)
        assert repository.change_callback(resolved.id, None, {"resolved_at": _at(99)}) is True
        pages: list[CallbackRecord] = []
        while page := repository.conflicts(4, pages[-1].id if pages else None):
            assert len(page) <= 4
            pages += page
        assert sorted(ids(pages)) == sorted(draft.id for draft in drafts)
        assert sorted(row.received_at for row in pages) == [row.received_at for row in pages]
        assert ids(pages[:3]) == ids(repository.conflicts(3))

    def test_a_page_after_one_that_was_resolved_meanwhile(self, repository: Repository) -> None:
        """The next page begins after the last conflict of the one before, also when that was resolved in between."""
        drafts = [
            callback_draft(received_at=_at(index), next_attempt_at=None, disposition=Disposition.CONFLICT)
            for index in range(3)
        ]
        for draft in drafts:
            repository.add_callback(draft)
        (first,) = repository.conflicts(1)
        repository.change_callback(first.id, None, {"resolved_at": _at(99)})
        assert [drafts[1].id, drafts[2].id] == ids(repository.conflicts(5, first.id))

    def test_a_callback_read_before_is_a_snapshot(self, repository: Repository) -> None:
        """A later change does not show in a row that was read before it."""
        draft = callback_draft()
        repository.add_callback(draft)
        row = logged(repository.get_callback(draft.id))
        repository.change_callback(draft.id, NOON, {"attempts": 1, "next_attempt_at": None, "error": "late"})
        assert (0, NOON, None) == (row.attempts, row.next_attempt_at, row.error)

    def test_what_was_handed_in_may_be_changed_afterwards(self, repository: Repository) -> None:
        """The store keeps what it was given, and not the caller's own dictionary."""
        body: dict[str, Any] = {"items": [1]}
        headers = {"a": "b"}
        draft = callback_draft(raw_body=body, headers=headers)
        repository.add_callback(draft)
        body["items"].append(2)
        headers["a"] = "c"
        row = logged(repository.get_callback(draft.id))
        assert ({"items": [1]}, {"a": "b"}) == (row.raw_body, dict(row.headers))


class TransactionContract(ContractBase):
    """The transactions."""

    def test_a_transaction_is_kept_exactly(self, repository: Repository, other: Repository) -> None:
        """Every field comes back as it was given, with version 1, from add and through another handle."""
        draft = transaction_draft(
            transaction_type=TransactionType.B2C,
            status=Status.SUCCESS,
            account="till",
            checkout_request_id="ws_CO_1",
            merchant_request_id="29115-34620561-1",
            conversation_id="AG_1",
            originator_conversation_id="ours-1",
            mpesa_receipt_number="NLJ7RT61SV",
            amount=Decimal("1234567890.10"),
            parent_id=uuid4(),
            idempotency_key="order-1",
            callback_token="token-1",  # noqa: S106 - no secret
            result_code=0,
            result_code_text="0",
            result_desc="The service request is processed successfully.",
            reason="paid",
            raw_callback_payload={"Result": {"ResultCode": 0, "Amount": Decimal("10.50")}},
            settled_at=_at(1),
            settled_by="callback",
            confirmed_at=_at(2),
            generation=1,
            announce_until=_at(3),
            idempotency_locked=True,
            next_check_at=_at(4),
            checks=2,
            conflicts={"f": {"why": "amount"}},
            reserved={str(uuid4()): "5.00"},
        )
        returned = seen(repository.add(draft), TRANSACTION_FIELDS)
        stored = seen(found(other.get(draft.id)), TRANSACTION_FIELDS)
        expected = {name: _copied(getattr(draft, name, 1)) for name in TRANSACTION_FIELDS}
        payload = expected.pop("raw_callback_payload")
        assert same_json(payload, returned.pop("raw_callback_payload"))
        assert same_json(payload, stored.pop("raw_callback_payload"))
        assert expected == returned
        assert expected == stored

    def test_a_bare_transaction(self, repository: Repository) -> None:
        """What a transaction leaves out has the draft's defaults."""
        draft = transaction_draft()
        repository.add(draft)
        row = found(repository.get(draft.id))
        expected = {name: _copied(getattr(draft, name, 1)) for name in TRANSACTION_FIELDS}
        assert expected == seen(row, TRANSACTION_FIELDS)

    def test_no_such_transaction(self, repository: Repository) -> None:
        """An unknown id or key is None, and a change of it is lost."""
        assert repository.get(uuid4()) is None
        assert repository.change(uuid4(), 1, {"status": Status.FAILED}) is None
        for key in Key:
            assert repository.find(key, ("600000", "x") if key is Key.RECEIPT else "x") is None

    @pytest.mark.parametrize("key", list(Key))
    def test_found_by_each_key(self, repository: Repository, key: Key) -> None:
        """Each key finds its own row, exactly as written, from add and from change."""
        added = repository.add(transaction_draft(**{key: "Value-1"}))
        row = repository.add(transaction_draft(short_code="600001"))
        changed = found(repository.change(row.id, row.version, {key: "Value-2"}))

        def find(value: str, short_code: str = "600000") -> UUID | None:
            result = repository.find(key, (short_code, value) if key is Key.RECEIPT else value)
            return result.id if result is not None else None

        assert (added.id, changed.id, None) == (find("Value-1"), find("Value-2", "600001"), find("value-1"))
        if key is Key.RECEIPT:
            assert find("Value-1", "600001") is None

    def test_the_oldest_where_several_have_it(self, repository: Repository) -> None:
        """An originator conversation id may be on several rows; the oldest is found."""
        late = repository.add(transaction_draft(originator_conversation_id="o", initiated_at=_at(2)))
        early = repository.add(transaction_draft(originator_conversation_id="o", initiated_at=_at(1)))
        assert early.id == found(repository.find(Key.ORIGINATOR_CONVERSATION_ID, "o")).id
        repository.change(early.id, early.version, {"originator_conversation_id": None})
        assert late.id == found(repository.find(Key.ORIGINATOR_CONVERSATION_ID, "o")).id

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_a_taken_key_is_refused_by_add(self, repository: Repository, key: Key) -> None:
        """DuplicateKey names the key that is taken and who has it, and nothing is added."""
        owner = repository.add(transaction_draft(**{key: "taken"}))
        rival = transaction_draft(**{key: "taken"})
        with pytest.raises(DuplicateKey) as raised:
            repository.add(rival)
        assert (key, owner.id) == (raised.value.key, raised.value.owner)
        assert repository.get(rival.id) is None
        value = ("600000", "taken") if key is Key.RECEIPT else "taken"
        assert owner.id == found(repository.find(key, value)).id

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_a_taken_key_is_refused_by_change(self, repository: Repository, key: Key) -> None:
        """DuplicateKey names the key that is taken and who has it, and nothing of the change is done."""
        owner = repository.add(transaction_draft(**{key: "taken"}))
        row = repository.add(transaction_draft(**{key: "own"}))
        with pytest.raises(DuplicateKey) as raised:
            repository.change(row.id, row.version, {"status": Status.FAILED, key: "taken"})
        assert (key, owner.id) == (raised.value.key, raised.value.owner)
        after = found(repository.get(row.id))
        assert (row.version, Status.PENDING, "own") == (after.version, after.status, getattr(after, key))

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_a_key_that_was_given_up_is_free(self, repository: Repository, key: Key) -> None:
        """None is no value: any number of rows may lack a key, and one that let go of it leaves it to others."""
        first = repository.add(transaction_draft(**{key: "one"}))
        repository.add(transaction_draft())
        repository.add(transaction_draft())
        first = found(repository.change(first.id, first.version, {key: None}))
        second = repository.add(transaction_draft(**{key: "one"}))
        value = ("600000", "one") if key is Key.RECEIPT else "one"
        assert second.id == found(repository.find(key, value)).id
        with pytest.raises(DuplicateKey):
            repository.change(first.id, first.version, {key: "one"})

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_a_row_may_be_given_its_own_key_again(self, repository: Repository, key: Key) -> None:
        """A row does not stand in its own way."""
        row = repository.add(transaction_draft(**{key: "mine"}))
        changed = found(repository.change(row.id, row.version, {key: "mine", "checks": 1}))
        assert (2, 1, "mine") == (changed.version, changed.checks, getattr(changed, key))

    def test_a_taken_id_is_refused(self, repository: Repository) -> None:
        """The same id again is a duplicate of the key ``id``, and the first row stays."""
        first = repository.add(transaction_draft(amount=Decimal(1)))
        with pytest.raises(DuplicateKey) as raised:
            repository.add(transaction_draft(id=first.id, amount=Decimal(2)))
        assert ("id", first.id) == (raised.value.key, raised.value.owner)
        assert Decimal(1) == found(repository.get(first.id)).amount

    def test_a_receipt_belongs_to_one_row_of_a_short_code(self, repository: Repository) -> None:
        """Another short code may have the same receipt; moving a row to the first short code is refused."""
        first = repository.add(transaction_draft(mpesa_receipt_number="R1"))
        second = repository.add(transaction_draft(mpesa_receipt_number="R1", short_code="600001"))
        assert second.id == found(repository.find(Key.RECEIPT, ("600001", "R1"))).id
        with pytest.raises(DuplicateKey) as raised:
            repository.change(second.id, second.version, {"short_code": "600000"})
        assert (Key.RECEIPT, first.id) == (raised.value.key, raised.value.owner)

    def test_a_change_by_the_version_that_was_read(self, repository: Repository, other: Repository) -> None:
        """The first change wins and raises the version; one with the old version is lost and changes nothing."""
        row = repository.add(transaction_draft())
        first = found(repository.change(row.id, 1, {"status": Status.PROCESSING}))
        assert (2, Status.PROCESSING) == (first.version, first.status)
        assert other.change(row.id, 1, {"status": Status.FAILED}) is None
        assert other.change(row.id, 3, {"status": Status.FAILED}) is None
        assert other.change(row.id, 0, {"status": Status.FAILED}) is None
        second = found(other.change(row.id, 2, {"status": Status.SUCCESS, "result_code": 0}))
        stored = found(repository.get(row.id))
        assert (3, Status.SUCCESS, 0) == (second.version, second.status, second.result_code)
        assert seen(second, TRANSACTION_FIELDS) == seen(stored, TRANSACTION_FIELDS)

    def test_a_change_of_nothing_raises_the_version(self, repository: Repository) -> None:
        """An empty change is a change: whoever read before has lost."""
        row = repository.add(transaction_draft())
        assert 2 == found(repository.change(row.id, 1, {})).version
        assert repository.change(row.id, 1, {}) is None

    def test_a_lost_change_does_not_look_at_its_keys(self, repository: Repository) -> None:
        """A change whose version is gone returns None, also where a key in it is taken."""
        repository.add(transaction_draft(checkout_request_id="taken"))
        row = repository.add(transaction_draft())
        repository.change(row.id, 1, {})
        assert repository.change(row.id, 1, {"checkout_request_id": "taken"}) is None

    def test_every_changeable_field_of_a_transaction(self, repository: Repository, other: Repository) -> None:
        """Each field is changed by itself, and no other with it."""
        row = repository.add(transaction_draft())
        changes: dict[str, Any] = {
            "transaction_type": TransactionType.C2B,
            "status": Status.REVERSED,
            "account": "till",
            "short_code": "600002",
            "checkout_request_id": "ws_CO_2",
            "merchant_request_id": "m-2",
            "conversation_id": "AG_2",
            "originator_conversation_id": "o-2",
            "mpesa_receipt_number": "R2",
            "phone_number": "254110000000",
            "amount": Decimal("0.01"),
            "account_reference": "ref 2",
            "transaction_desc": "desc 2",
            "parent_id": uuid4(),
            "idempotency_key": "k-2",
            "callback_token": "t-2",
            "result_code": 1032,
            "result_code_text": "1032",
            "result_desc": "Request cancelled by user",
            "reason": "cancelled",
            "raw_callback_payload": {"a": [1, "2", None, True]},
            "initiated_at": _at(1),
            "settled_at": _at(2),
            "settled_by": "query",
            "confirmed_at": _at(3),
            "generation": 2,
            "announce_until": _at(4),
            "idempotency_locked": True,
            "next_check_at": _at(5),
            "checks": 3,
            "conflicts": {"f": {"n": 1}},
            "reserved": {"child": "1.00"},
        }
        expected = seen(row, TRANSACTION_FIELDS)
        for version, (name, value) in enumerate(changes.items(), start=1):
            assert repository.change(row.id, version, {name: value}) is not None
            expected |= {name: _copied(value), "version": version + 1}
            assert expected == seen(found(other.get(row.id)), TRANSACTION_FIELDS)
        assert set(changes) == set(TRANSACTION_FIELDS) - {"id", "version"}
        cleared = {name: None for name in changes if getattr(transaction_draft(), name) is None}
        after = found(repository.change(row.id, len(changes) + 1, cleared))
        assert expected | cleared | {"version": after.version} == seen(after, TRANSACTION_FIELDS)

    @pytest.mark.parametrize("name", ["id", "version", "statsu", "status; --"])
    def test_what_may_not_be_changed_is_refused(self, repository: Repository, name: str) -> None:
        """The id, the version and a name that is no field raise, and nothing is changed."""
        row = repository.add(transaction_draft())
        with pytest.raises(Exception):  # noqa: B017, PT011 - the store says how
            repository.change(row.id, 1, {"checks": 5, name: row.id if name == "id" else 7})
        after = found(repository.get(row.id))
        assert (1, 0) == (after.version, after.checks)

    def test_a_transaction_read_before_is_a_snapshot(self, repository: Repository) -> None:
        """A later change does not show in the rows that were read before it, by whatever operation."""
        first = repository.add(transaction_draft(idempotency_key="k", next_check_at=NOON, conflicts={"a": 1}))
        rows = [
            first,
            found(repository.get(first.id)),
            found(repository.find(Key.IDEMPOTENCY_KEY, "k")),
            *repository.due(Sweep.UNSENT, NOON, 1),
            *repository.candidates("600000", Decimal(10), None),
        ]
        before = seen(first, TRANSACTION_FIELDS)
        changed = found(repository.change(first.id, 1, {"status": Status.PROCESSING, "conflicts": {"a": 1, "b": 2}}))
        assert [before] * 5 == [seen(row, TRANSACTION_FIELDS) for row in rows]
        repository.change(first.id, 2, {"status": Status.SUCCESS, "conflicts": {}})
        assert (Status.PROCESSING, {"a": 1, "b": 2}) == (changed.status, dict(changed.conflicts))

    def test_mappings_that_were_handed_in_may_be_changed_afterwards(self, repository: Repository) -> None:
        """The store keeps what it was given, and not the caller's own dictionary."""
        conflicts: dict[str, Any] = {"a": {"n": 1}}
        row = repository.add(transaction_draft(conflicts=conflicts))
        conflicts["a"]["n"] = 2
        assert {"a": {"n": 1}} == _copied(found(repository.get(row.id)).conflicts)
        reserved = {"child": "1"}
        repository.change(row.id, 1, {"reserved": reserved})
        reserved["other"] = "2"
        assert {"child": "1"} == dict(found(repository.get(row.id)).reserved)

    def test_host_fields(self, repository: Repository) -> None:
        """The host's own fields are there from the start."""
        if not self.host_fields:
            pytest.skip("host_fields names none")
        row = repository.add(transaction_draft(host=dict(self.host_fields)))
        assert dict(self.host_fields) == dict(self.host_of(found(repository.get(row.id))))

    def test_each_sweep_finds_its_own(self, repository: Repository) -> None:
        """UNSENT is PENDING with a check that is due, TO_ASK any other status with one, UNANNOUNCED a lapsed lease."""
        unsent = repository.add(transaction_draft(next_check_at=_at(-1)))
        asked = [
            repository.add(transaction_draft(status=status, next_check_at=_at(-10 + index)))
            for index, status in enumerate(status for status in Status if status is not Status.PENDING)
        ]
        fenced = repository.add(
            transaction_draft(status=Status.SUCCESS, announce_until=_at(-1), idempotency_locked=True)
        )
        repository.add(transaction_draft())
        assert [unsent.id] == ids(repository.due(Sweep.UNSENT, NOON, 10))
        assert ids(asked) == ids(repository.due(Sweep.TO_ASK, NOON, 10))
        assert [fenced.id] == ids(repository.due(Sweep.UNANNOUNCED, NOON, 10))

    @pytest.mark.parametrize("sweep", list(Sweep))
    def test_a_sweep_in_order_and_within_its_limit(self, repository: Repository, sweep: Sweep) -> None:
        """Those due at that moment or before, earliest first, as many as asked for; what is later is not there."""
        field = "announce_until" if sweep is Sweep.UNANNOUNCED else "next_check_at"
        status = Status.PENDING if sweep is Sweep.UNSENT else Status.PROCESSING
        rows = {
            due: repository.add(transaction_draft(status=status, initiated_at=_at(-due), **{field: _at(due)}))
            for due in (7, -3, 0, -8, 0.000001, -0.000001)
        }
        expected = [rows[due].id for due in (-8, -3, -0.000001, 0)]
        assert expected == ids(repository.due(sweep, NOON, 100))
        assert expected[:2] == ids(repository.due(sweep, NOON, 2))
        assert [] == list(repository.due(sweep, NOON, 0))
        assert [] == list(repository.due(sweep, _at(-9), 100))
        repository.change(rows[-8].id, 1, {field: _at(-1)})
        repository.change(rows[-3].id, 1, {field: None})
        assert [rows[due].id for due in (-8, -0.000001, 0)] == ids(repository.due(sweep, NOON, 100))

    def test_a_row_moves_from_one_sweep_to_the_next(self, repository: Repository) -> None:
        """A change of status takes a row from UNSENT to TO_ASK."""
        row = repository.add(transaction_draft(next_check_at=NOON))
        repository.change(row.id, 1, {"status": Status.PROCESSING})
        assert [] == list(repository.due(Sweep.UNSENT, NOON, 10))
        assert [row.id] == ids(repository.due(Sweep.TO_ASK, NOON, 10))

    @pytest.mark.parametrize("amount", ["10", "10.0", "10.00", "1E+1"])
    def test_candidates_by_value(self, repository: Repository, amount: str) -> None:
        """An amount is found by its value, however it is written, both in the row and in the question."""
        rows = [
            repository.add(transaction_draft(amount=Decimal(text), initiated_at=_at(index)))
            for index, text in enumerate(("10", "10.00", "10.0"))
        ]
        for other_amount in ("10.01", "9.99", "100", "1", "0.10"):
            repository.add(transaction_draft(amount=Decimal(other_amount)))
        assert ids(rows) == ids(repository.candidates("600000", Decimal(amount), None))

    def test_candidates_for_adoption(self, repository: Repository) -> None:
        """STK pushes of the short code without a receipt, of any status, oldest first; the reference exactly."""
        second = repository.add(transaction_draft(initiated_at=_at(2), status=Status.TIMEOUT))
        first = repository.add(transaction_draft(initiated_at=_at(1), status=Status.SUCCESS))
        lower = repository.add(transaction_draft(initiated_at=_at(3), account_reference="inv-1"))
        repository.add(transaction_draft(mpesa_receipt_number="R"))
        repository.add(transaction_draft(transaction_type=TransactionType.C2B))
        repository.add(transaction_draft(short_code="600001"))
        candidates = repository.candidates
        assert [first.id, second.id] == ids(candidates("600000", Decimal(10), "INV-1"))
        assert [first.id, second.id, lower.id] == ids(candidates("600000", Decimal(10), None))
        assert [lower.id] == ids(candidates("600000", Decimal(10), "inv-1"))
        assert [] == list(candidates("600000", Decimal(10), ""))
        assert [] == list(candidates("60000", Decimal(10), None))
        assert [second.id, lower.id] == ids(candidates("600000", Decimal(10), None, _at(2)))
        assert [second.id] == ids(candidates("600000", Decimal(10), "INV-1", _at(2)))
        assert [] == list(candidates("600000", Decimal(10), None, _at(4)))
        repository.change(first.id, 1, {"mpesa_receipt_number": "R1"})
        repository.change(second.id, 1, {"amount": Decimal(11)})
        assert [lower.id] == ids(candidates("600000", Decimal(10), None))


class _TextContract(ContractBase):
    """Nothing that comes in is refused or cut."""

    def test_widths(self, repository: Repository, other: Repository) -> None:
        """What M-PESA sends may be wider than its documentation, and is kept whole."""
        digest = hashlib.sha256(b"254708374149").hexdigest()
        wide = {
            "phone_number": digest,
            "checkout_request_id": "c" * 128,
            "merchant_request_id": "m" * 128,
            "conversation_id": "v" * 128,
            "originator_conversation_id": "o" * 128,
            "mpesa_receipt_number": "r" * 64,
            "account_reference": "a customer typed this " * 12,
            "transaction_desc": "d" * 200,
            "idempotency_key": "k" * 200,
            "callback_token": "t" * 128,
            "result_code_text": "SFC_IC0003" * 6,
            "result_desc": "Request cancelled by user. " * 80,
            "short_code": "600000",
            "account": "n" * 64,
            "reason": "denied",
        }
        row = repository.add(transaction_draft(**wide))
        assert wide == {name: getattr(other.get(row.id), name) for name in wide}
        assert row.id == found(other.find(Key.CHECKOUT_REQUEST_ID, "c" * 128)).id
        callback = callback_draft(token="t" * 128, correlation_id="c" * 128, error="e" * 5000, source_ip="f" * 64)
        repository.add_callback(callback)
        (stored,) = other.open_callbacks(correlation_ids=["c" * 128])
        assert ("t" * 128, "c" * 128, "e" * 5000, "f" * 64) == (
            stored.token, stored.correlation_id, stored.error, stored.source_ip,
        )  # fmt: skip

    @pytest.mark.parametrize("text", _ODD_TEXTS)
    def test_odd_text(self, repository: Repository, other: Repository, text: str) -> None:
        """Text of any script, with quotes and blanks and none at all, is kept and compared exactly."""
        self._keep_text(repository, other, text)

    @pytest.mark.parametrize("text", _UNHOLDABLE_TEXTS, ids=ascii)
    def test_text_that_some_stores_cannot_hold(self, repository: Repository, other: Repository, text: str) -> None:
        """NUL and lone surrogates are never refused, and kept exactly where the store says that it can."""
        if self.any_text:
            self._keep_text(repository, other, text)
            return
        draft = callback_draft(correlation_id=text, error=text, raw_body={"a": text}, raw_bytes=b"\0\xed\xa0\x80")
        repository.add_callback(draft)
        assert b"\0\xed\xa0\x80" == logged(other.get_callback(draft.id)).raw_bytes
        repository.add(transaction_draft(account_reference=text, result_desc=text, raw_callback_payload={"a": text}))

    def _keep_text(self, repository: Repository, other: Repository, text: str) -> None:
        row = repository.add(
            transaction_draft(
                account_reference=text, phone_number=text, checkout_request_id=text, conflicts={text: text}
            )
        )
        changed = found(repository.change(row.id, 1, {"result_desc": text, "raw_callback_payload": {"a": [text]}}))
        for stored in (changed, found(other.get(row.id)), found(other.find(Key.CHECKOUT_REQUEST_ID, text))):
            assert (text, text, text, text, {text: text}, {"a": [text]}) == (
                stored.account_reference,
                stored.phone_number,
                stored.checkout_request_id,
                stored.result_desc,
                _copied(stored.conflicts),
                _copied(stored.raw_callback_payload),
            )
        assert [row.id] == ids(other.candidates("600000", Decimal(10), text))
        with pytest.raises(DuplicateKey):
            repository.add(transaction_draft(checkout_request_id=text))
        callback = callback_draft(correlation_id=text, token=text, error=text, raw_body=text)
        repository.add_callback(callback)
        (logged_row,) = other.open_callbacks(token=text)
        assert (text, text, text, text) == (
            logged_row.correlation_id, logged_row.token, logged_row.error, logged_row.raw_body,
        )  # fmt: skip

    @pytest.mark.parametrize("size", [0, 1, 256, 262_144])
    def test_bytes_are_kept_exactly(self, repository: Repository, other: Repository, size: int) -> None:
        """A body of every value of a byte, up to the largest that is let in, comes back byte for byte."""
        body = bytes(range(256)) * (size // 256) if size >= 256 else b"\xff" * size
        draft = callback_draft(raw_bytes=body)
        repository.add_callback(draft)
        stored = logged(other.get_callback(draft.id)).raw_bytes
        same = body == stored  # apart: where CI is set, pytest spells out a difference in full, for minutes
        assert same, f"sent {len(body)} bytes, got {len(stored)} as {type(stored).__name__}"

    @pytest.mark.parametrize(
        "body",
        [
            None,
            True,
            0,
            -1,
            10**40,
            "",
            [],
            {},
            Decimal("8959269.60"),
            Decimal("0.1"),
            Decimal("1E+2"),
            Decimal("123456789012345678901234567890.123456789"),
            {"Amount": Decimal("1.10"), "Items": [{"Name": "Balance"}, {"Value": Decimal("-1980.00")}], "big": 2**70},
            [[[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]],
        ],
        ids=repr,
    )
    def test_json_is_kept_without_floats(self, repository: Repository, other: Repository, body: Any) -> None:
        """A parsed body comes back equal; a fraction exactly, as a Decimal or its text, never as a float."""
        callback = callback_draft(raw_body=body)
        repository.add_callback(callback)
        row = repository.add(transaction_draft(raw_callback_payload=body))
        assert same_json(body, logged(other.get_callback(callback.id)).raw_body)
        assert same_json(body, found(other.get(row.id)).raw_callback_payload)

    @pytest.mark.parametrize("amount", ["0", "0.01", "0.10", "1", "10.5", "70000.00", "99999999.99", "9999999999.99"])
    def test_amounts_are_exact(self, repository: Repository, other: Repository, amount: str) -> None:
        """An amount with two decimals comes back as an equal Decimal."""
        row = repository.add(transaction_draft(amount=Decimal(amount)))
        stored = found(other.get(row.id)).amount
        assert Decimal(amount) == stored
        assert isinstance(stored, Decimal)
        assert [row.id] == ids(other.candidates("600000", Decimal(amount), None))

    def test_amounts_in_the_callers_own_arithmetic(self, repository: Repository) -> None:
        """A host that computes with six digits (``decimal.getcontext().prec = 6``) has its amounts kept exactly."""
        with localcontext(prec=6):
            row = repository.add(transaction_draft(amount=Decimal("123456.78")))
            assert Decimal("123456.78") == found(repository.get(row.id)).amount
            assert [row.id] == ids(repository.candidates("600000", Decimal("123456.78"), None))

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2028, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
            datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=3))),
        ],
        ids=str,
    )
    def test_times_are_exact_and_in_utc(self, repository: Repository, other: Repository, moment: datetime) -> None:
        """A time comes back as the same moment to the microsecond, aware and in UTC."""
        row = repository.add(transaction_draft(initiated_at=moment, settled_at=moment, next_check_at=moment))
        callback = callback_draft(received_at=moment, next_attempt_at=moment)
        repository.add_callback(callback)
        stored, kept = found(other.get(row.id)), logged(other.get_callback(callback.id))
        times = [stored.initiated_at, stored.settled_at, stored.next_check_at, kept.received_at, kept.next_attempt_at]
        assert [moment] * 5 == times
        assert [timedelta(0)] * 5 == [time.utcoffset() if time is not None else None for time in times]


class _RaceContract(ContractBase):
    """Threads, let go at one moment."""

    def test_one_version_is_changed_once(self, repository: Repository) -> None:
        """Of many who change the same version exactly one wins, and the row holds what the winner wrote."""
        for _ in range(self.rounds):
            row = repository.add(transaction_draft())

            def change(index: int, row: TransactionRecord = row) -> TransactionRecord | None:
                return repository.change(row.id, row.version, {"checks": index + 1, "generation": 1})

            results = self.race(*[lambda index=index: change(index) for index in range(self.racers)])
            winners = [result for result in results if result is not None]
            assert 1 == len(winners), results
            after = found(repository.get(row.id))
            assert isinstance(winners[0], Exception) is False, winners
            assert (2, results.index(winners[0]) + 1) == (after.version, after.checks)

    def test_many_changes_lose_nothing(self, repository: Repository) -> None:
        """Reading and changing until it succeeds, each of many counts once: no update is lost."""
        row = repository.add(transaction_draft())

        def count() -> int:
            done = 0
            while done < 5:
                present = found(repository.get(row.id))
                reserved = {**present.reserved, f"{threading.get_ident()}-{done}": "1.00"}
                if repository.change(row.id, present.version, {"checks": present.checks + 1, "reserved": reserved}):
                    done += 1
            return done

        assert [5] * self.racers == self.race(*[count] * self.racers)
        after = found(repository.get(row.id))
        total = 5 * self.racers
        assert (total, total, total + 1) == (after.checks, len(after.reserved), after.version)

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_one_key_is_added_once(self, repository: Repository, key: Key) -> None:
        """Of many who add the same key one wins; all others are told the key and the winner."""
        for turn in range(self.rounds):
            drafts = [transaction_draft(**{key: f"key-{turn}"}) for _ in range(self.racers)]
            results = self.race(*[lambda draft=draft: repository.add(draft) for draft in drafts])
            self._one_owner(results, key)

    @pytest.mark.parametrize("key", UNIQUE_KEYS)
    def test_one_key_is_attached_once(self, repository: Repository, key: Key) -> None:
        """Of many rows that are given the same key one gets it; all others are told the key and the winner."""
        for turn in range(self.rounds):
            rows = [repository.add(transaction_draft()) for _ in range(self.racers)]
            results = self.race(
                *[lambda row=row, turn=turn: found(repository.change(row.id, 1, {key: f"key-{turn}"})) for row in rows]
            )
            winner = self._one_owner(results, key)
            versions = {row.id: found(repository.get(row.id)).version for row in rows}
            assert {row.id: 2 if row.id == winner else 1 for row in rows} == versions

    def _one_owner(self, results: Sequence[TransactionRecord | Exception], key: Key) -> UUID:
        winners = [result for result in results if not isinstance(result, Exception)]
        losers = [result for result in results if isinstance(result, Exception)]
        assert 1 == len(winners), results
        assert [(key, winners[0].id)] * (self.racers - 1) == [
            (error.key, error.owner) if isinstance(error, DuplicateKey) else error for error in losers
        ]
        return winners[0].id

    def test_one_id_is_added_once(self, repository: Repository) -> None:
        """Of many who add a row under one derived id and receipt one wins, and all others get DuplicateKey."""
        for turn in range(self.rounds):
            draft = transaction_draft(mpesa_receipt_number=f"R{turn}", transaction_type=TransactionType.C2B)
            results = self.race(*[lambda draft=draft: repository.add(draft)] * self.racers)
            losers = [result for result in results if isinstance(result, DuplicateKey)]
            assert self.racers - 1 == len(losers), results
            assert {draft.id} == {error.owner for error in losers}

    def test_one_callback_is_claimed_once(self, repository: Repository) -> None:
        """Of many who claim the same callback exactly one is told that it has it."""
        for _ in range(self.rounds):
            draft = callback_draft()
            repository.add_callback(draft)
            claim = {"next_attempt_at": _at(60), "attempts": 1}
            results = self.race(*[lambda: repository.change_callback(draft.id, NOON, claim)] * self.racers)  # noqa: B023
            assert [False] * (self.racers - 1) + [True] == sorted(results, key=repr)

    def test_one_callback_is_recorded_once(self, repository: Repository) -> None:
        """Of many who record the same callback id all get the id, and one row is there."""
        draft = callback_draft()
        assert [draft.id] * self.racers == self.race(*[lambda: repository.add_callback(draft)] * self.racers)
        assert [draft.id] == ids(repository.due_callbacks(NOON, 10))

    def test_many_callbacks_at_once(self, repository: Repository) -> None:
        """Callbacks recorded by many threads together are all there, each with its own bytes."""
        drafts = [callback_draft(raw_bytes=bytes([index]) * 1000) for index in range(self.racers * 5)]

        def record(index: int) -> list[UUID]:
            return [repository.add_callback(draft) for draft in drafts[index :: self.racers]]

        results = self.race(*[lambda index=index: record(index) for index in range(self.racers)])
        assert [ids(drafts[index :: self.racers]) for index in range(self.racers)] == results  # type: ignore[arg-type]
        stored = {draft.id: logged(repository.get_callback(draft.id)).raw_bytes for draft in drafts}
        assert {draft.id: draft.raw_bytes for draft in drafts} == stored

    def test_sweeps_while_rows_change(self, repository: Repository) -> None:
        """Two recoverers that claim what is due never claim the same row for the same time, and leave none out."""
        rows = [
            repository.add(transaction_draft(status=Status.PROCESSING, next_check_at=_at(-index)))
            for index in range(20)
        ]

        def sweep() -> list[UUID]:
            claimed: list[UUID] = []
            while due := repository.due(Sweep.TO_ASK, NOON, 3):
                claimed += [
                    row.id
                    for row in due
                    if repository.change(row.id, row.version, {"next_check_at": _at(60), "checks": 1})
                ]
            return claimed

        results = self.race(*[sweep] * min(self.racers, 4))
        assert sorted(ids(rows)) == sorted(row_id for result in results for row_id in result)  # type: ignore[union-attr]


class _InterruptionContract(ContractBase):
    """A caller that goes away between two operations leaves what it did, whole, and nothing that stands in the way."""

    def _steps(self) -> tuple[UUID, UUID, list[Callable[[Repository], object]], list[dict[str, Any]]]:
        """A payment's way through the store, and what another handle sees after each step."""
        draft = transaction_draft(callback_token="token", next_check_at=_at(120))  # noqa: S106 - no secret
        callback = callback_draft(token="token", correlation_id="ws_CO_9")  # noqa: S106 - no secret
        changes: list[dict[str, Any]] = [
            {"status": Status.PROCESSING, "next_check_at": _at(30)},
            {"checkout_request_id": "ws_CO_9", "merchant_request_id": "m-9"},
            {
                "status": Status.SUCCESS,
                "mpesa_receipt_number": "R9",
                "settled_at": _at(5),
                "generation": 1,
                "announce_until": _at(65),
                "idempotency_locked": True,
                "next_check_at": None,
            },
            {"announce_until": None, "idempotency_locked": False},
        ]
        claimed = {"next_attempt_at": _at(60), "attempts": 1}
        closed = {"next_attempt_at": None, "processed": True, "disposition": Disposition.APPLIED}

        def change(version: int) -> Callable[[Repository], object]:
            return lambda store: store.change(draft.id, version, changes[version - 1])

        steps: list[Callable[[Repository], object]] = [
            lambda store: store.add(draft),
            change(1),
            lambda store: store.add_callback(callback),
            change(2),
            lambda store: store.change_callback(callback.id, NOON, claimed),
            change(3),
            lambda store: store.change_callback(callback.id, _at(60), closed),
            change(4),
        ]
        added = {"version": 1, "status": Status.PENDING, "announce_until": None, "mpesa_receipt_number": None}
        marks: list[dict[str, Any]] = [added]
        for version, made in enumerate(changes, start=2):
            marks.append({name: made.get(name, old) for name, old in marks[-1].items()} | {"version": version})
        recorded = {"next_attempt_at": NOON, "attempts": 0, "processed": False}
        log = [None, recorded, recorded | claimed, recorded | claimed | {"next_attempt_at": None, "processed": True}]
        order = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3)]
        seen_after = [{"transaction": marks[row], "callback": log[entry]} for row, entry in order]
        for entry in seen_after:
            if entry["callback"] is not None:
                entry["callback"] = {name: entry["callback"][name] for name in recorded}
        return draft.id, callback.id, steps, seen_after

    @pytest.mark.parametrize("done", range(1, 9))
    def test_abandoned_after_any_operation(self, repository: Repository, other: Repository, done: int) -> None:
        """Whoever stops after any step leaves exactly the steps done, and another goes on from there to the end."""
        transaction_id, callback_id, steps, seen_after = self._steps()

        def crash(store: Repository) -> None:
            for step in steps[:done]:
                assert step(store) is not None
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            crash(repository)
        assert seen_after[done - 1] == self._state(other, transaction_id, callback_id)
        for step in steps[done:]:
            assert step(other) not in (None, False)
        assert seen_after[-1] == self._state(repository, transaction_id, callback_id)

    @staticmethod
    def _state(store: Repository, transaction_id: UUID, callback_id: UUID) -> dict[str, Any]:
        row, entry = found(store.get(transaction_id)), store.get_callback(callback_id)
        return {
            "transaction": seen(row, ("version", "status", "announce_until", "mpesa_receipt_number")),
            "callback": None if entry is None else seen(entry, ("next_attempt_at", "attempts", "processed")),
        }

    def test_a_thread_that_dies_holds_nothing(self, repository: Repository, other: Repository) -> None:
        """After a thread died between two operations, others read and write the same rows without waiting for it."""
        row = repository.add(transaction_draft(idempotency_key="k"))

        def die() -> None:
            repository.change(row.id, 1, {"checks": 1})
            raise SystemExit

        def go_on() -> int:
            return found(other.change(row.id, 2, {"checks": 2})).version

        def quietly() -> None:
            try:
                die()
            except SystemExit:
                return

        self.race(quietly)
        assert [3] == self.race(go_on)

    def test_a_refused_operation_leaves_no_trace(self, repository: Repository, other: Repository) -> None:
        """After a refusal in the middle, what was done before it stands, nothing of it is there, and others work."""
        owner = repository.add(transaction_draft(idempotency_key="k", checkout_request_id="c"))
        row = repository.add(transaction_draft(idempotency_key="k2"))
        for _ in range(3):
            with pytest.raises(DuplicateKey):
                repository.add(transaction_draft(idempotency_key="k", conversation_id="free"))
            with pytest.raises(DuplicateKey):
                repository.change(row.id, 1, {"conversation_id": "free", "checkout_request_id": "c"})
            assert other.find(Key.CONVERSATION_ID, "free") is None
        changed = found(other.change(row.id, 1, {"conversation_id": "free"}))
        assert (2, owner.id) == (changed.version, found(repository.find(Key.IDEMPOTENCY_KEY, "k")).id)

    def test_an_abandoned_sweep(self, repository: Repository, other: Repository) -> None:
        """Rows of a sweep that nobody worked on are due again, for the same or another process."""
        rows = [repository.add(transaction_draft(next_check_at=_at(index))) for index in range(3)]
        first = repository.due(Sweep.UNSENT, _at(10), 10)
        repository.change(first[0].id, first[0].version, {"next_check_at": _at(500)})
        del first
        assert ids(rows[1:]) == ids(other.due(Sweep.UNSENT, _at(10), 10))

    def test_what_is_done_survives_the_handle(
        self, repository: Repository, reopen: Callable[[], Repository] | None
    ) -> None:
        """What a handle did is there for one that is opened after it was left behind."""
        if reopen is None:
            pytest.skip("the store lives and dies with its handle")
        row = repository.add(transaction_draft(idempotency_key="k"))
        callback = callback_draft()
        repository.add_callback(callback)
        repository.change(row.id, 1, {"status": Status.PROCESSING})
        for _ in range(2):
            later = reopen()
            assert (2, Status.PROCESSING) == (found(later.get(row.id)).version, found(later.get(row.id)).status)
            assert [callback.id] == ids(later.due_callbacks(NOON, 10))
            assert later.change(row.id, 1, {"status": Status.FAILED}) is None
            with pytest.raises(DuplicateKey):
                later.add(transaction_draft(idempotency_key="k"))
            close = getattr(later, "close", None)
            if close is not None:
                close()


class _SettledScanContract(ContractBase):
    """The payments that were proved in a span of time; a store without ``settled_between`` promises nothing here."""

    @staticmethod
    def proved(repository: Repository, seconds: float, **fields: Any) -> UUID:
        """Record a payment that was proved then; its id."""
        draft = transaction_draft(
            **{
                "transaction_type": TransactionType.C2B,
                "status": Status.SUCCESS,
                "mpesa_receipt_number": f"R{uuid4().hex[:9].upper()}",
                "confirmed_at": _at(seconds),
                **fields,
            }
        )
        return repository.add(draft).id

    def test_payments_proved_in_a_span(self, repository: Repository) -> None:
        """Those of the short code with a receipt, both ends of the span included, in the order of their proof."""
        scan = getattr(repository, "settled_between", None)
        if scan is None:
            return
        inside = [self.proved(repository, seconds, initiated_at=_at(-seconds)) for seconds in (10, 0, 5)]
        for seconds in (-0.000001, 10.000001):
            self.proved(repository, seconds)
        self.proved(repository, 5, short_code="600001")
        self.proved(repository, 5, mpesa_receipt_number=None)
        self.proved(repository, 5, confirmed_at=None)
        assert [inside[1], inside[2], inside[0]] == ids(scan("600000", NOON, _at(10), 100))
        in_nairobi = timezone(timedelta(hours=3))
        assert [inside[1]] == ids(scan("600000", NOON.astimezone(in_nairobi), _at(10).astimezone(in_nairobi), 1))
        assert [] == list(scan("600000", NOON, _at(10), 0))
        assert [] == list(scan("600002", NOON, _at(10), 100))

    def test_proved_payments_page_by_page(self, repository: Repository) -> None:
        """The pages show each payment once, also those of one moment, and one that was proved by a later change."""
        scan = getattr(repository, "settled_between", None)
        if scan is None:
            return
        expected = [self.proved(repository, index // 4) for index in range(10)]
        later = repository.add(transaction_draft(status=Status.PROCESSING))
        repository.change(later.id, 1, {"mpesa_receipt_number": "LATER00001", "confirmed_at": _at(0)})
        rows: list[TransactionRecord] = []
        while page := scan("600000", NOON, _at(9), 3, rows[-1].id if rows else None):
            assert len(page) <= 3
            rows += page
        assert sorted([*expected, later.id]) == sorted(ids(rows))
        moments = [row.confirmed_at for row in rows if row.confirmed_at is not None]
        assert (len(rows), sorted(moments)) == (len(moments), moments)


class _LatestScanContract(ContractBase):
    """What was recorded last; a store without ``latest`` and ``latest_callbacks`` promises nothing here."""

    def test_what_was_recorded_last(self, repository: Repository) -> None:
        """Transactions and callbacks come the last one first, whatever became of them, page by page, each once."""
        if missing_operations(repository, LatestScan):
            return
        scan: Any = repository
        drafts = [transaction_draft(initiated_at=_at(index), status=list(Status)[index % 6]) for index in range(7)]
        calls = [callback_draft(received_at=_at(index), next_attempt_at=None) for index in range(7)]
        for draft, call in zip(drafts, calls, strict=True):
            repository.add(draft)
            repository.add_callback(call)
        newest = [draft.id for draft in reversed(drafts)], [call.id for call in reversed(calls)]
        for expected, latest in zip(newest, (scan.latest, scan.latest_callbacks), strict=True):
            assert expected[:3] == ids(latest(3))
            assert [] == list(latest(0))
            assert expected == ids(latest(100, uuid4()))
            pages: list[UUID] = []
            while page := ids(latest(3, pages[-1] if pages else None)):
                pages += page
            assert expected == pages

    def test_what_was_recorded_in_one_moment(self, repository: Repository) -> None:
        """No page leaves one out or shows one twice where several have the same time."""
        if missing_operations(repository, LatestScan):
            return
        scan: Any = repository
        expected = {repository.add(transaction_draft()).id for _ in range(5)}
        pages: list[UUID] = []
        while page := ids(scan.latest(2, pages[-1] if pages else None)):
            pages += page
        assert (5, expected) == (len(pages), set(pages))


class _BatchContract(ContractBase):
    """Several operations at once; a store without ``batch`` promises nothing here."""

    def test_each_of_a_batch_does_what_it_does_by_itself(self, repository: Repository, other: Repository) -> None:
        """Whoever wins is changed, whoever is too late or asks for nothing that is there is told so, in their order."""
        if missing_operations(repository, Batches):
            return
        batches: Any = repository
        rows = [repository.add(transaction_draft(checkout_request_id=f"ws_{index}")) for index in range(4)]
        calls = [callback_draft() for _ in range(3)]
        for call in calls:
            repository.add_callback(call)
        results = batches.batch(
            [
                ("find", (Key.CHECKOUT_REQUEST_ID, "ws_3")),
                ("change_callback", (calls[0].id, NOON, {"next_attempt_at": _at(60), "attempts": 1})),
                ("change", (rows[0].id, 1, {"checks": 7, "mpesa_receipt_number": "R000000001"})),
                ("change", (rows[1].id, 2, {"checks": 7})),
                ("find", (Key.CHECKOUT_REQUEST_ID, "ws_4")),
                ("change_callback", (calls[1].id, _at(1), {"attempts": 1})),
                ("change", (uuid4(), 1, {"checks": 7})),
                ("change", (rows[2].id, 1, {"checks": 8, "mpesa_receipt_number": "R000000002"})),
                ("change_callback", (calls[2].id, NOON, {"next_attempt_at": None, "processed": True})),
                ("find", (Key.RECEIPT, ("600000", "none"))),
                ("change_callback", (calls[2].id, None, {})),
            ]
        )
        assert rows[3].id == results[0].id
        assert [True, None, None, False, None] == [results[index] for index in (1, 3, 4, 5, 6)]
        assert [(2, 7, "R000000001"), (2, 8, "R000000002")] == [
            (row.version, row.checks, row.mpesa_receipt_number) for row in (results[2], results[7])
        ]
        assert (True, None) == tuple(results[8:10])
        kept = [found(other.get(row.id)).checks for row in rows]
        assert [7, 0, 8, 0] == kept
        logs = [logged(other.get_callback(call.id)) for call in calls]
        assert [(_at(60), 1), (NOON, 0), (None, 0)] == [(log.next_attempt_at, log.attempts) for log in logs]

    def test_what_is_wrong_in_a_batch_undoes_no_other(self, repository: Repository, other: Repository) -> None:
        """A key that is taken, or a field that is none, is the answer of its own call; the others are done."""
        if missing_operations(repository, Batches):
            return
        batches: Any = repository
        owner = repository.add(transaction_draft(mpesa_receipt_number="R000000001"))
        rows = [repository.add(transaction_draft()) for _ in range(3)]
        results = batches.batch(
            [
                ("change", (rows[0].id, 1, {"checks": 1})),
                ("change", (rows[1].id, 1, {"mpesa_receipt_number": "R000000001"})),
                ("change", (rows[2].id, 1, {"chekcs": 1})),
                ("find", (Key.RECEIPT, ("600000", "R000000001"))),
            ]
        )
        taken, wrong = results[1:3]
        assert isinstance(taken, DuplicateKey)
        assert (Key.RECEIPT, owner.id) == (taken.key, taken.owner)
        assert isinstance(wrong, InvalidField)
        assert (2, owner.id) == (results[0].version, results[3].id)
        assert [1, 0, 0] == [found(other.get(row.id)).checks for row in rows]

    def test_two_of_a_batch_for_one_row(self, repository: Repository) -> None:
        """One wins, the other is too late; both find it who ask for it."""
        if missing_operations(repository, Batches):
            return
        batches: Any = repository
        row = repository.add(transaction_draft(checkout_request_id="ws_1"))
        results = batches.batch([("change", (row.id, 1, {"checks": number})) for number in (1, 2)])
        winner = next(result for result in results if result is not None)
        assert [None, (row.id, 2)] == sorted(
            ((result.id, result.version) if result is not None else None for result in results), key=bool
        )
        assert winner.checks == found(repository.get(row.id)).checks
        one, two = batches.batch([("find", (Key.CHECKOUT_REQUEST_ID, "ws_1"))] * 2)
        assert (row.id, row.id) == (one.id, two.id)

    def test_an_empty_batch(self, repository: Repository) -> None:
        """Nothing is asked for, and nothing is done."""
        if missing_operations(repository, Batches):
            return
        batches: Any = repository
        assert [] == list(batches.batch([]))

    def test_batches_race(self, repository: Repository) -> None:
        """Of many who claim and change the same rows, each in another order, one gets each row, and none fails."""
        if missing_operations(repository, Batches) or not self.threads:
            return
        batches: Any = repository
        for _ in range(self.rounds):
            rows = [repository.add(transaction_draft()) for _ in range(10)]
            calls = [callback_draft() for _ in range(10)]
            for call in calls:
                repository.add_callback(call)

            def work(index: int, rows: Sequence[TransactionRecord] = rows, calls: Any = calls) -> list[Any]:
                claims = [("change_callback", (call.id, NOON, {"next_attempt_at": _at(60)})) for call in calls]
                changes = [("change", (row.id, 1, {"checks": index})) for row in rows]
                turned = [*claims[index:], *claims[:index]], [*changes[-index:], *changes[:-index]]
                claimed, changed = (batches.batch(part) for part in turned)
                return [sum(map(bool, claimed)), [row.id for row in changed if row is not None]]

            results: list[Any] = self.race(*[lambda index=index: work(index) for index in range(self.racers)])
            assert [] == [result for result in results if isinstance(result, Exception)]
            assert len(calls) == sum(result[0] for result in results)
            assert sorted(row.id for row in rows) == sorted(row_id for result in results for row_id in result[1])


class _JointChangeContract(ContractBase):
    """A change and its callback's together; a store without ``change_with_callback`` promises nothing here."""

    def _made(self, repository: Repository) -> tuple[Any, TransactionRecord, CallbackDraft]:
        row, call = repository.add(transaction_draft()), callback_draft()
        repository.add_callback(call)
        return repository, row, call

    def test_a_change_and_its_callback(self, repository: Repository, other: Repository) -> None:
        """Both are as they were told, and the row comes back as it is now."""
        if missing_operations(repository, JointChange):
            return
        joint, row, call = self._made(repository)
        closing = {"next_attempt_at": None, "processed": True, "attempts": 1, "related_transaction_id": row.id}
        changed = joint.change_with_callback(row.id, 1, {"checks": 7}, call.id, NOON, closing)
        assert (row.id, 2, 7) == (changed.id, changed.version, changed.checks)
        assert (2, 7) == (found(other.get(row.id)).version, found(other.get(row.id)).checks)
        log = logged(other.get_callback(call.id))
        assert (None, True, 1, row.id) == (
            log.next_attempt_at,
            log.processed,
            log.attempts,
            log.related_transaction_id,
        )
        again = joint.change_with_callback(row.id, 2, {"checks": 8}, call.id, None, {"next_attempt_at": NOON})
        assert (3, 8) == (again.version, again.checks)
        assert logged(other.get_callback(call.id)).next_attempt_at == NOON

    def test_a_change_whose_callback_somebody_has_taken(self, repository: Repository, other: Repository) -> None:
        """Neither is changed where the callback is no longer as it was read, or there is none of that id."""
        if missing_operations(repository, JointChange):
            return
        joint, row, call = self._made(repository)
        assert joint.change_with_callback(row.id, 1, {"checks": 7}, call.id, _at(1), {"attempts": 1}) is None
        assert joint.change_with_callback(row.id, 1, {"checks": 7}, call.id, None, {"attempts": 1}) is None
        assert joint.change_with_callback(row.id, 1, {"checks": 7}, uuid4(), NOON, {"attempts": 1}) is None
        assert (1, 0) == (found(other.get(row.id)).version, found(other.get(row.id)).checks)
        assert (NOON, 0) == (
            logged(other.get_callback(call.id)).next_attempt_at,
            logged(other.get_callback(call.id)).attempts,
        )

    def test_a_callback_whose_change_comes_too_late(self, repository: Repository, other: Repository) -> None:
        """Neither is changed where the row has moved on, or there is none of that id: the callback stays open."""
        if missing_operations(repository, JointChange):
            return
        joint, row, call = self._made(repository)
        assert joint.change_with_callback(row.id, 2, {"checks": 7}, call.id, NOON, {"next_attempt_at": None}) is None
        assert joint.change_with_callback(uuid4(), 1, {"checks": 7}, call.id, NOON, {"next_attempt_at": None}) is None
        assert (1, 0) == (found(other.get(row.id)).version, found(other.get(row.id)).checks)
        assert logged(other.get_callback(call.id)).next_attempt_at == NOON

    def test_a_change_to_a_key_that_is_taken_leaves_its_callback_open(
        self, repository: Repository, other: Repository
    ) -> None:
        """DuplicateKey names the key and its owner; neither is changed. So it is with a name that is no field."""
        if missing_operations(repository, JointChange):
            return
        joint, row, call = self._made(repository)
        owner = repository.add(transaction_draft(mpesa_receipt_number="R000000001"))
        taken = {"mpesa_receipt_number": "R000000001"}
        with pytest.raises(DuplicateKey) as refused:
            joint.change_with_callback(row.id, 1, taken, call.id, NOON, {"next_attempt_at": None})
        assert (Key.RECEIPT, owner.id) == (refused.value.key, refused.value.owner)
        with pytest.raises(InvalidField):
            joint.change_with_callback(row.id, 1, {"chekcs": 1}, call.id, NOON, {"next_attempt_at": None})
        with pytest.raises(InvalidField):
            joint.change_with_callback(row.id, 1, {"checks": 1}, call.id, NOON, {"next_attempt": None})
        assert (1, 0) == (found(other.get(row.id)).version, found(other.get(row.id)).checks)
        assert logged(other.get_callback(call.id)).next_attempt_at == NOON

    def test_joint_changes_race(self, repository: Repository) -> None:
        """Of many who settle one row by one callback, or claim the callback first, one alone gets anything."""
        if missing_operations(repository, JointChange) or not self.threads:
            return
        joint: Any = repository
        for turn in range(self.rounds):
            row, call = repository.add(transaction_draft()), callback_draft()
            repository.add_callback(call)

            def settle(index: int, row: Any = row, call: Any = call) -> str | None:
                closing = {"next_attempt_at": None, "processed": True, "attempts": index}
                changes = {"checks": index}
                changed = joint.change_with_callback(row.id, 1, changes, call.id, NOON, closing)
                return None if changed is None else f"settled {index}"

            def claim(index: int, call: Any = call) -> str | None:
                changes = {"next_attempt_at": _at(60), "attempts": index}
                return f"claimed {index}" if repository.change_callback(call.id, NOON, changes) else None

            works = [
                lambda index=index, work=claim if (index + turn) % 3 == 0 else settle: work(index)
                for index in range(1, self.racers + 1)
            ]
            results: list[Any] = self.race(*works)
            assert [] == [result for result in results if isinstance(result, Exception)]
            (winner,) = [result for result in results if result is not None]
            what, index = winner.split()
            log, now = logged(repository.get_callback(call.id)), found(repository.get(row.id))
            settled = what == "settled"
            assert (int(index), settled) == (log.attempts, log.processed)
            assert (int(index) if settled else 0, 1 + settled) == (now.checks, now.version)

    def test_joint_changes_in_a_batch(self, repository: Repository, other: Repository) -> None:
        """Each does in a batch what it does by itself."""
        if missing_operations(repository, JointChange) or missing_operations(repository, Batches):
            return
        batches: Any = repository
        made = [self._made(repository)[1:] for _ in range(5)]
        owner = repository.add(transaction_draft(mpesa_receipt_number="R000000001"))
        expected = [(1, NOON), (2, NOON), (1, _at(1)), (1, NOON), (1, NOON)]
        closing = {"next_attempt_at": None, "processed": True}
        changes: list[dict[str, Any]] = [{"checks": index} for index in range(1, 6)]
        changes[4] = {"mpesa_receipt_number": "R000000001"}
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("change_with_callback", (row.id, version, change, call.id, moment, closing))
            for (row, call), (version, moment), change in zip(made, expected, changes, strict=True)
        ]
        calls.insert(1, ("find", (Key.RECEIPT, ("600000", "R000000001"))))
        results = batches.batch(calls)
        assert owner.id == results.pop(1).id
        assert [2, None, None, 2] == [each if each is None else each.version for each in results[:4]]
        assert isinstance(results[4], DuplicateKey)
        assert [1, 0, 0, 4, 0] == [found(other.get(row.id)).checks for row, _ in made]
        assert [None, NOON, NOON, None, NOON] == [
            logged(other.get_callback(call.id)).next_attempt_at for _, call in made
        ]


class RepositoryContract(
    CallbackContract,
    TransactionContract,
    _TextContract,
    _RaceContract,
    _InterruptionContract,
    _SettledScanContract,
    _LatestScanContract,
    _BatchContract,
    _JointChangeContract,
    DuesContract,
):
    """Every promise of the repository protocol; see the module's docstring for how to run it on a store of your own.

    Attributes:
        threads: False for a store that must not be shared between threads; the races are then left out.
        racers, rounds: how many threads race, and how often.
        any_text: False for a store whose text cannot hold NUL or lone surrogates.
        host_fields: fields of the host's own to try, and ``host_of(row)`` to read them.
    """
