"""How values are kept in SQLite's columns; what the repositories' contract does not reach."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from types import MappingProxyType

import pytest

from mpesa_core.payments.records import Transaction
from mpesa_core.repository.columns import Columns, json_text, json_value
from mpesa_core.repository.rows import TRANSACTION
from tests.repository.rows_made import draft

LONG = 10**5000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"a": Decimal("10.50"), "b": [Decimal(3), Decimal("1E+2")]}, '{"a":10.50,"b":[3E0,1E+2]}'),
        ({"a": "\0", "b": Decimal("0.1")}, '{"a":"\\u0000","b":0.1}'),
        ({"\0": Decimal("0.1")}, '{"\\u0000":0.1}'),
        ({"a": 'x"\0', "b": Decimal("0.1")}, '{"a":"x\\"\\u0000","b":0.1}'),
        ([Decimal("0.1"), '"\0"'], '[0.1,"\\"\\u0000\\""]'),
        (MappingProxyType({"a": Decimal("0.1"), "b": None}), '{"a":0.1,"b":null}'),
        (OrderedDict(a=(True, Decimal("0.1"))), '{"a":[true,0.1]}'),
    ],
)
def test_amounts_in_json(value, text):
    """An amount is written as a number with all its digits, whatever texts stand beside it, and is read back as one."""
    assert text == json_text(value)
    assert text == json_text(json_value(text))


def test_a_number_that_python_reads_only_when_told_to():
    """A whole number of thousands of digits is kept, beside amounts too."""
    for value in ({"a": LONG}, {"a": [LONG, Decimal("0.5")]}):
        assert value == json_value(json_text(value))


@pytest.mark.parametrize("value", [Decimal("NaN"), {1}, float("inf"), b"x"])
def test_what_json_cannot_hold(value):
    """It is refused by the name of its type, also where an amount went before it."""
    with pytest.raises(TypeError, match=f"Found {type(value).__name__}; write text"):
        json_text({"amount": Decimal("0.5"), "x": value})


def test_texts_of_every_kind_in_one_row():
    """A text that UTF-8 cannot hold is told from the others of its row; an unknown status stays the text that it is."""
    columns = Columns(Transaction, TRANSACTION)
    drafted = draft(status="LATER \ud800", phone_number="\ud800", short_code="ü")
    made = Transaction(**{name: getattr(drafted, name, 1) for name in TRANSACTION})
    assert made == columns.row(tuple(columns.stored({name: getattr(made, name) for name in TRANSACTION})))


def test_a_value_that_holds_itself():
    """It is refused as one that is nested too deeply, and ends no interpreter."""
    value = {"amount": Decimal("0.5")}
    value["itself"] = [value]
    with pytest.raises(RecursionError):
        json_text(value)
