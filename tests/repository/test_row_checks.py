"""What both of the core's own repositories check before they write, and how they keep what is odd."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest

from mpesa_core.errors import InvalidField
from mpesa_core.payments.records import Disposition, Key, Status, Sweep, TransactionType
from mpesa_core.repository import MemoryRepository, SqliteRepository
from tests.repository.rows_made import NOON, callback, draft


@pytest.fixture(params=["memory", "sqlite"])
def repository(request, tmp_path):
    """One of the core's own repositories."""
    made = MemoryRepository() if request.param == "memory" else SqliteRepository(tmp_path / "p.sqlite3")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("amount", 10.5, "a finite Decimal"),
        ("amount", "10", "a finite Decimal"),
        ("amount", True, "a finite Decimal"),
        ("amount", Decimal("NaN"), "a finite Decimal"),
        ("initiated_at", datetime(2026, 1, 1), "an aware datetime"),
        ("initiated_at", "2026-01-01", "an aware datetime"),
        ("initiated_at", None, "an aware datetime"),
        ("settled_at", 0, "an aware datetime or None"),
        ("id", "not-a-uuid", "a UUID"),
        ("parent_id", "not-a-uuid", "a UUID or None"),
        ("short_code", 600000, "text"),
        ("phone_number", 254708374149, "text"),
        ("result_code", "0", "an int or None"),
        ("result_code", True, "an int or None"),
        ("checks", 1.0, "an int"),
        ("idempotency_locked", 1, "True or False"),
        ("conflicts", [], "a mapping"),
        ("host", None, "a mapping"),
        ("host", {"order": object()}, "what JSON can hold"),
        ("host", {"ratio": float("nan")}, "what JSON can hold"),
        ("host", {"when": [{"at": NOON}]}, "what JSON can hold"),
    ],
)
def test_a_wrong_type_is_refused_by_name(repository, field, value, expected):
    """A value of another type raises InvalidField with the field and what was expected, and nothing is stored."""
    made = draft(**{"id": uuid4(), field: value})
    with pytest.raises(InvalidField) as raised:
        repository.add(made)
    assert (field, expected) == (raised.value.field, raised.value.expected)
    assert list(repository.candidates("600000", Decimal(10), None)) == []
    if field != "id":
        row = repository.add(draft())
        with pytest.raises(InvalidField):
            repository.change(row.id, 1, {field: value})
        assert 1 == repository.get(row.id).version


def test_a_refusal_shows_no_value():
    """The text of a refusal names the type that came, so that no phone number gets into a log."""
    with pytest.raises(InvalidField) as raised:
        MemoryRepository().add(draft(phone_number=254708374149))
    assert "254708374149" not in str(raised.value)
    assert "int" in str(raised.value)


def test_a_refused_name_comes_with_the_nearest(repository):
    """An unknown field name is answered with the one that was probably meant."""
    row = repository.add(draft())
    with pytest.raises(InvalidField, match="Did you mean 'status'"):
        repository.change(row.id, 1, {"statsu": Status.FAILED})
    recorded = repository.add_callback(callback())
    with pytest.raises(InvalidField, match="Did you mean 'attempts'"):
        repository.change_callback(recorded, NOON, {"attemps": 1})
    with pytest.raises(InvalidField):
        repository.change_callback(recorded, NOON, {"raw_bytes": b""})


def test_a_receipt_is_found_by_a_pair(repository):
    """A receipt without its short code is refused rather than never found."""
    with pytest.raises(InvalidField, match="the pair"):
        repository.find(Key.RECEIPT, "NLJ7RT61SV")


def test_what_a_newer_version_wrote_is_read_all_the_same(repository):
    """A status, type or disposition that this version does not know comes back as its text."""
    row = repository.add(draft(status="SOMEDAY", transaction_type="LOAN", next_check_at=NOON))
    assert ("SOMEDAY", "LOAN") == (repository.get(row.id).status, repository.get(row.id).transaction_type)
    assert [row.id] == [found.id for found in repository.due(Sweep.TO_ASK, NOON, 5)]
    recorded = repository.add_callback(callback(callback_type="LOAN_RESULT", disposition="shelved"))
    found = repository.get_callback(recorded)
    assert ("LOAN_RESULT", "shelved") == (found.callback_type, found.disposition)


def test_known_texts_come_back_as_members(repository):
    """A status that is written as plain text is read as the enum's member."""
    row = repository.add(draft(status="PENDING", transaction_type="C2B"))
    changed = repository.change(row.id, 1, {"status": "SUCCESS"})
    assert (Status.SUCCESS, TransactionType.C2B) == (changed.status, changed.transaction_type)
    assert isinstance(changed.status, Status)
    recorded = repository.add_callback(callback(disposition="conflict"))
    assert isinstance(repository.get_callback(recorded).disposition, Disposition)


@pytest.mark.parametrize(
    "code", [0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**5000], ids=lambda code: f"{code.bit_length()} bits"
)
def test_result_codes_of_any_size(repository, code):
    """A result code that is no 64-bit number is kept exactly all the same."""
    row = repository.add(draft(result_code=code))
    assert code == repository.get(row.id).result_code


@pytest.mark.parametrize(
    "amount", ["10.505", "1E+30", "-5.25", "0.001", "123456789012345678901234567890.12", "1E-30", "-0"]
)
def test_amounts_beyond_two_decimals(repository, amount):
    """An amount that came in with more digits than money has is kept by value, and found by it."""
    row = repository.add(draft(amount=Decimal(amount)))
    assert Decimal(amount) == repository.get(row.id).amount
    sign, digits, exponent = Decimal(amount).as_tuple()
    the_same = Decimal((sign, (*digits, 0), exponent - 1))
    assert [row.id] == [found.id for found in repository.candidates("600000", the_same, None)]


def test_a_float_in_json_becomes_a_decimal(repository):
    """Fractions are Decimal in both stores, so that neither hides what the other does."""
    row = repository.add(draft(host={"ratio": 0.1}))
    assert repr({"ratio": Decimal("0.1")}) == repr(dict(repository.get(row.id).host))


@pytest.mark.parametrize(
    "number", [Decimal(10), Decimal("10.00"), Decimal("1E+2"), Decimal("0E-8"), Decimal("-0.0")], ids=str
)
def test_a_decimal_in_json_keeps_its_digits(repository, number):
    """A Decimal in JSON comes back as a Decimal with the same digits and exponent."""
    row = repository.add(draft(raw_callback_payload=[number]))
    (stored,) = repository.get(row.id).raw_callback_payload
    assert repr(number) == repr(stored)


def test_numbers_of_thousands_of_digits_in_json(repository):
    """A number with more digits than Python reads by itself comes back exactly."""
    row = repository.add(draft(raw_callback_payload={"n": 7 * 10**6000}))
    assert {"n": 7 * 10**6000} == repository.get(row.id).raw_callback_payload


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("body", [object(), {"a": {1, 2}}, _nested(100_000), float("inf"), Decimal("NaN")], ids=type)
def test_a_body_that_json_cannot_hold_is_left_out(repository, body):
    """A callback is recorded with its exact bytes even where its parsed body cannot be kept."""
    recorded = repository.add_callback(callback(raw_bytes=b"\x00\xff", raw_body=body))
    found = repository.get_callback(recorded)
    assert (b"\x00\xff", None) == (found.raw_bytes, found.raw_body)


def test_rows_of_the_memory_store_are_frozen():
    """What is inside a row cannot be changed in place; copies of it are plain and can."""
    repository = MemoryRepository()
    row = repository.add(draft(host={"a": [1, {"b": 2}]}, conflicts={"f": {}}))
    with pytest.raises(TypeError, match="snapshot"):
        row.host["a"] = 1
    with pytest.raises(TypeError, match="snapshot"):
        row.host["a"].append(2)
    with pytest.raises(TypeError, match="snapshot"):
        row.conflicts["f"].update(x=1)
    with pytest.raises(AttributeError):
        row.status = Status.SUCCESS
    copied = copy.deepcopy(row.host)
    copied["a"][1]["b"] = 3
    assert {"a": [1, {"b": 2}]} == row.host == pickle.loads(pickle.dumps(row)).host == json.loads(json.dumps(row.host))


def test_times_are_read_in_utc(repository):
    """Every time of a row is in UTC itself and not merely at its offset."""
    row = repository.get(repository.add(draft(settled_at=NOON)).id)
    assert (UTC, UTC) == (row.initiated_at.tzinfo, row.settled_at.tzinfo)


def test_sqlite_is_loaded_when_it_is_asked_for():
    """A host with a store of its own never loads sqlite3; an unknown name is an AttributeError."""
    program = (
        "import sys, mpesa_core.repository as r; r.MemoryRepository(); assert 'sqlite3' not in sys.modules;"
        "r.SqliteRepository; assert 'sqlite3' in sys.modules; assert not hasattr(r, 'Nothing')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
