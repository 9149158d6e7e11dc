"""Callbacks that are broken, mangled or hostile: nothing raises, nothing hangs, and no failure turns into a success."""

from __future__ import annotations

import copy
import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpesa_core.daraja import callbacks
from mpesa_core.daraja.callbacks import Callback, CallbackType, Unreadable, decode_callback
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.codes import Outcome
from tests.daraja.test_callbacks import CALLBACKS, QUERIES
from tests.sampled import sample

MANY = settings(max_examples=400, deadline=None)

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: float(value) if abs(value) < 1e10 else 1),
    st.text(max_size=20),
    st.sampled_from(["", "0", " 0", "00", "-1", "S", "SUCCESS", "Completed", "\ud800", "\u0000", "254712345678"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)

TOTAL = {**{name: row[0] for name, row in CALLBACKS.items()}, **dict.fromkeys(QUERIES, CallbackType.STK_QUERY)}


def plain(name: str) -> Any:
    """A sample's JSON, free to be changed."""
    return copy.deepcopy(json.loads(json.dumps(sample(name).json, default=float)))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found += [(*path, key), *places(each, (*path, key))]
    return found


def parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn, names: list[str]) -> tuple[str, Any, set[Any]]:
    """A sample with one to four changes, and the names of the keys whose value was replaced."""
    name = draw(st.sampled_from(names))
    body = plain(name)
    touched: set[Any] = set()
    for _ in range(draw(st.integers(1, 4))):
        reachable = places(body)
        if not reachable:
            break
        path = draw(st.sampled_from(reachable))
        holder, key = parent(body, path), path[-1]
        change = draw(st.sampled_from(["drop", "replace", "retype", "wrap", "double", "rename", "add"]))
        value = holder[key]
        if change == "drop":
            del holder[key]
        elif change == "replace":
            holder[key] = draw(ODD_VALUES)
            touched.add(key)
            if isinstance(holder, dict):
                touched.update(str(each) for each in holder.values() if isinstance(each, str))
        elif change == "retype":
            holder[key] = str(value) if isinstance(value, (int, float)) else [value]
        elif change == "wrap":
            wrapped = draw(st.sampled_from([[value], {"Value": value}, {"ResultCode": value}]))
            holder[key] = [value] if value in (0, "0", " 0") else wrapped  # not to put a zero where the code belongs
        elif change == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(value))
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = holder.pop(key)
        elif change == "add" and isinstance(holder, dict):
            extra = draw(st.text(max_size=8))
            if extra not in holder:
                holder[extra] = draw(ODD_VALUES)
    return name, body, touched


def well_formed(found: Callback) -> None:
    """What must hold of every callback, whatever it came from."""
    assert isinstance(found, Callback)
    assert isinstance(found.outcome, Outcome)
    assert found.receipt_number is None or (found.outcome is Outcome.SUCCESS and found.receipt_number)
    assert found.amount is None or (isinstance(found.amount, Decimal) and found.amount.is_finite())
    assert found.outcome is not Outcome.SUCCESS or found.problem is None
    assert found.problem is None or "in reading it" not in found.problem
    for text in (found.correlation_id, found.result_code_text, found.phone_number, found.account_reference):
        assert text is None or len(text) <= 1024
        assert text is None or text.encode() is not None
    assert found.result_code is None or isinstance(found.result_code, str) or -(2**31) <= found.result_code < 2**31
    repr(found)
    hash(found)
    dumps(found.raw)


@MANY
@given(kind=st.sampled_from(CallbackType), body=st.binary(max_size=300))
def test_any_bytes_decode(kind, body):
    """Whatever comes, on whatever path, is a callback, and random bytes are no success."""
    found = decode_callback(kind, body)
    well_formed(found)
    assert found.outcome in (Outcome.UNKNOWN, Outcome.PENDING)


@MANY
@given(name=st.sampled_from(sorted(TOTAL)), kind=st.sampled_from(CallbackType), data=st.data())
def test_any_cut_or_flipped_sample_decodes(name, kind, data):
    """A sample cut off, with bytes changed, or on another path, is a callback."""
    body = bytearray(sample(name).body)
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    well_formed(decode_callback(kind, bytes(body)[: data.draw(st.integers(0, len(body)))]))


@MANY
@given(mutation=mutated(sorted(TOTAL)), kind=st.sampled_from(CallbackType))
def test_any_mutation_decodes(mutation, kind):
    """Types swapped, items dropped, doubled, renamed, wrapped and added, on the right path and on any other."""
    name, body, _ = mutation
    raw = json.dumps(body).encode()
    well_formed(decode_callback(TOTAL[name], raw))
    well_formed(decode_callback(kind, raw))


FAILURES = sorted(
    [
        *(
            name
            for name, (kind, outcome, *_) in CALLBACKS.items()
            if outcome is not Outcome.SUCCESS and kind is not CallbackType.C2B_VALIDATION
        ),
        *(name for name, (outcome, _) in QUERIES.items() if outcome is not Outcome.SUCCESS),
    ]
)
"""Callbacks, and answers to a question about an STK push, that do not say that it was paid."""

CODES = {"ResultCode", "resultCode", "responseCode", "ResponseCode", "Value", "value", "TransactionStatus"}


@settings(max_examples=1500, deadline=None)
@given(mutation=mutated(FAILURES))
def test_no_mutation_makes_a_success_of_a_failure(mutation):
    """Only M-PESA's own code of success does: unless the code itself was replaced by one, a failure is never a success."""
    name, body, touched = mutation
    if touched & CODES:
        return
    found = decode_callback(TOTAL[name], json.dumps(body).encode())
    assert found.outcome is not Outcome.SUCCESS, (name, body)
    assert found.receipt_number is None


@MANY
@given(name=st.sampled_from(FAILURES), code=ODD_VALUES)
def test_no_odd_code_makes_a_success_of_a_failure(name, code):
    """In place of the code nothing but a zero is a success: no boolean, no list, no odd text."""
    if code in (0, "0", " 0") and not isinstance(code, bool):
        return

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: code if key in CODES - {"Value", "value"} else replaced(each) for key, each in value.items()}
        return [replaced(each) for each in value] if isinstance(value, list) else value

    found = decode_callback(TOTAL[name], json.dumps(replaced(plain(name))).encode())
    assert found.outcome is not Outcome.SUCCESS
    well_formed(found)


SUCCESSES = sorted(
    name
    for name, (kind, outcome, *_) in CALLBACKS.items()
    if outcome is Outcome.SUCCESS and kind is not CallbackType.BALANCE_RESULT
)


@settings(max_examples=1000, deadline=None)
@given(mutation=mutated(SUCCESSES))
def test_no_mutation_makes_up_an_amount(mutation):
    """A mutated success has its own amount, one that was put there, or none: never one that nobody wrote."""
    name, body, touched = mutation
    if touched:
        return
    found = decode_callback(TOTAL[name], json.dumps(body).encode())
    original = CALLBACKS[name][4]
    assert found.amount in (None, original and Decimal(original))
    assert found.receipt_number in (None, CALLBACKS[name][3])


BOMBS = {
    "depth": b'{"Body":' * 30_000,
    "closed depth": b'{"Body":' * 20_000 + b"1" + b"}" * 20_000,
    "lists": b"[" * 262_144,
    "keys": b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}",
    "digits": b'{"Body":{"stkCallback":{"ResultCode":' + b"9" * 100_000 + b"}}}",
    "fraction": b'{"TransAmount":0.' + b"3" * 100_000 + b"}",
    "exponent": b'{"TransAmount":1e999999999,"TransID":"LGR219G3EY"}',
    "text digits": b'{"TransID":"LGR219G3EY","TransAmount":"' + b"9" * 100_000 + b'"}',
    "long text": b'{"TransID":"' + b"A" * 260_000 + b'"}',
    "items": b'{"Body":{"stkCallback":{"ResultCode":0,"CallbackMetadata":{"Item":['
    + b",".join([b'{"Name":"Amount","Value":1}'] * 9_000)
    + b"]}}}}",
    "accounts": b'{"Result":{"ResultCode":0,"ResultParameters":{"ResultParameter":[{"Key":"AccountBalance","Value":"'
    + b"&|" * 100_000
    + b'"}]}}}',
    "blanks": b'{"TransID":"' + b" " * 250_000 + b'x"}',
    "party": b'{"Result":{"ResultCode":0,"ResultParameters":{"ResultParameter":[{"Key":"CreditPartyName","Value":"'
    + b" -" * 100_000
    + b'"}]}}}',
    "surrogates": b'{"TransID":"' + b"\\ud800" * 40_000 + b'"}',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_no_time_and_is_no_payment(bomb):
    """Depth, a hundred thousand keys, and numbers of a hundred thousand digits decode quickly, to nothing certain."""
    for kind in CallbackType:
        best = 10.0
        for _ in range(3):
            start = time.process_time()
            found = decode_callback(kind, BOMBS[bomb])
            best = min(best, time.process_time() - start)
        assert found.receipt_number is None
        assert found.amount is None or bomb == "items"
        well_formed(found)
        assert best < (0.3 if bomb == "keys" else 0.1), (
            kind,
            best,
        )  # that one is four times the usual limit of a body


def test_a_fault_in_a_decoder_is_no_exception(monkeypatch):
    """Even a mistake of ours leaves the body to be looked at by a person, and says what kind it was."""

    def broken(kind: CallbackType, body: Any) -> Callback:
        raise KeyError("a secret of the body")

    monkeypatch.setitem(callbacks._DECODERS, CallbackType.STK, broken)
    found = decode_callback("STK", b'{"a": 1}')
    assert Unreadable(
        callback_type=CallbackType.STK, raw={"a": 1}, problem="KeyError in reading it"
    ) == found  # fmt: skip
    assert {"a": 1} == found.raw
