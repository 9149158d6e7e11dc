"""The model fields hold what came, on each database, or as near to it as the database can."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from django.test.utils import override_settings

from mpesa_core.errors import DuplicateKey, InvalidField
from mpesa_core.payments.records import Key
from mpesa_core.testing.contract import callback_draft, transaction_draft
from mpesa_django.fields import KeyField
from tests.django.stores import Transaction, empty_repository


@pytest.fixture(params=["django_sqlite", "django_postgres", "django_mariadb"])
def store(request):
    """An empty repository on each database."""
    return empty_repository(request.getfixturevalue(request.param))


def test_a_key_of_any_length(store):
    """A key that no index has room for is kept as its beginning and its digest, and is found, and unique, all the same."""
    key = "ws_CO_" + "9" * 300_000
    row = store.add(transaction_draft(checkout_request_id=key))
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert (255, True) == (len(row.checkout_request_id), row.checkout_request_id.endswith(f"~sha256:{digest}"))
    assert row.id == store.find(Key.CHECKOUT_REQUEST_ID, key).id
    assert store.find(Key.CHECKOUT_REQUEST_ID, key + "9") is None
    with pytest.raises(DuplicateKey) as raised:
        store.add(transaction_draft(checkout_request_id=key))
    assert row.id == raised.value.owner
    callback = callback_draft(correlation_id=key, token=key)
    store.add_callback(callback)
    assert [callback.id] == [each.id for each in store.open_callbacks(correlation_ids=[key])]


def test_keys_with_characters_that_a_database_cannot_hold(store):
    """They stay apart, although what cannot be held is replaced by one and the same character."""
    rows = {text: store.add(transaction_draft(checkout_request_id=text)).id for text in ("a\0", "a\ud800", "a\ufffd")}
    assert rows == {text: store.find(Key.CHECKOUT_REQUEST_ID, text).id for text in rows}


def deep(levels):
    """A list in a list in a list."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "body", [deep(40), deep(2000), [10**5000], [Decimal("1E+200000")], [Decimal("NaN")], [object()]], ids=range(6)
)
def test_a_body_that_a_database_cannot_hold(store, body):
    """It is left out, and the callback is recorded all the same, with its bytes."""
    draft = callback_draft(raw_body=body, raw_bytes=b"as it came")
    store.add_callback(draft)
    row = store.get_callback(draft.id)
    assert (None, b"as it came") == (row.raw_body, row.raw_bytes)
    transaction = store.add(transaction_draft())
    assert store.change(transaction.id, 1, {"raw_callback_payload": body}).raw_callback_payload is None


def test_characters_in_json_that_a_database_cannot_hold(store):
    """They are replaced, in names too, and the rest of the body is there."""
    draft = callback_draft(raw_body={"a\0": ["b\ud800", Decimal("1.10")]}, headers={"x": "\0"})
    store.add_callback(draft)
    row = store.get_callback(draft.id)
    assert ({"a\ufffd": ["b\ufffd", Decimal("1.10")]}, {"x": "\ufffd"}) == (row.raw_body, row.headers)


def test_json_of_ones_own_that_is_none(store):
    """What is no JSON is refused where the package wrote it itself."""
    with pytest.raises(InvalidField, match="conflicts"):
        store.add(transaction_draft(conflicts={"a": object()}))


def test_a_result_code_that_64_bits_do_not_hold(store):
    """It is left out as a number, and kept as text."""
    row = store.add(transaction_draft(result_code=2**63, result_code_text=str(2**63)))
    assert (None, str(2**63)) == (row.result_code, row.result_code_text)
    assert 2**63 - 1 == store.add(transaction_draft(result_code=2**63 - 1)).result_code


def test_a_result_code_as_text(store):
    """A code that is no number is text, and the number zero is a number."""
    row = store.add(transaction_draft(result_code=0, result_code_text="0"))
    assert [row.id] == list(Transaction.objects.using(row._state.db).filter(result_code=0).values_list("pk", flat=True))
    other = store.add(transaction_draft(result_code_text="SFC_IC0003"))
    assert (None, "SFC_IC0003") == (other.result_code, other.result_code_text)


def test_times_need_time_zones():
    """Without USE_TZ a system check says so."""
    with override_settings(USE_TZ=False):
        found = {each.id for each in Transaction._meta.get_field("settled_at").check()}
    assert "mpesa_django.E007" in found
    assert "mpesa_django.E007" not in {each.id for each in Transaction._meta.get_field("settled_at").check()}


def test_a_migration_knows_no_choices():
    """A status that a later release adds asks for no migration of the host's."""
    _, path, _, options = KeyField(choices=[("a", "a")], null=True).deconstruct()
    assert ("mpesa_django.fields.KeyField", {"null": True}) == (path, options)
