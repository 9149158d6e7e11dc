"""The shortcut for the usual form of a callback: it is taken, and it never reads anything that the long way does not."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpesa_core.daraja import callbacks
from mpesa_core.daraja.callbacks import Callback, CallbackType, decode_callback
from mpesa_core.daraja.plain import read_plain
from mpesa_core.testing.payloads import b2c_success, c2b_confirmation, posted, stk_result, stk_success
from tests.daraja.test_callbacks import CALLBACKS
from tests.daraja.test_callbacks_hostile import mutated
from tests.sampled import sample

USUAL = {
    "paid": (CallbackType.STK, posted(stk_success(amount=Decimal("100.00")))),
    "cancelled": (CallbackType.STK, posted(stk_result(1032))),
    "asked": (CallbackType.C2B_VALIDATION, posted(c2b_confirmation())),
    "confirmed": (CallbackType.C2B_CONFIRMATION, posted(c2b_confirmation()).replace(b"John", "Zoë".encode())),
    "paid out": (
        CallbackType.B2C_RESULT,
        posted(
            b2c_success(
                TransactionCompletedDateTime="21.11.2026 12:00:05",
                B2CRecipientIsRegisteredCustomer="Y",
                B2CWorkingAccountAvailableFunds=Decimal("900000.00"),
            )
        ),
    ),
    **{
        name: (CALLBACKS[name][0], sample(name).body.strip())
        for name in (
            "stk_push__callback__success_docs",
            "stk_push__callback__success_2019_production",
            "stk_push__callback__success_masked_phone",
            "stk_push__callback__unreachable_1037_ds_timeout",
            "c2b_confirmation__callback__2017",
            "c2b_confirmation__callback__v1_sha256_msisdn",
            "c2b_confirmation__callback__till_customer_merchant_payment",
            "b2c__callback__success_2017",
            "b2c__callback__success_2024",
        )
    },
}


def the_long_way(kind: CallbackType, body: bytes) -> Callback:
    """What is read without the shortcut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "read_plain", lambda *_: None)
        return decode_callback(kind, body)


def told(found: Callback) -> str:
    """All that a callback says, types, digits and the body among it."""
    return repr((type(found), {name: getattr(found, name) for name in vars(found)}))


def agree(kind: CallbackType, body: bytes) -> None:
    """The shortcut leaves the body alone, or reads it as the long way does."""
    found = read_plain(kind, body)
    assert found is None or told(the_long_way(kind, body)) == told(found), (kind, body)


@pytest.mark.parametrize("name", USUAL)
def test_the_usual_form_is_read_at_once_and_to_the_letter(name):
    """The form that nearly all callbacks have takes the shortcut, and says the same."""
    kind, body = USUAL[name]
    found = read_plain(kind, body)
    assert found is not None
    assert told(the_long_way(kind, body)) == told(found)


VALUES = [
    *(b"1e5", b"1e0001", b"100", b"100.001", b"10000000000", b"9999999999.99", b"1e64", b"1e65", b"-1", b"0", b"-0.00"),
    *(b"0e50", b"1." + b"0" * 38, b"1." + b"0" * 39, b"9" * 40, b"9" * 41, b"2147483648", b"NaN", b"true", b"null"),
    *(b'""', b'" "', b'"0"', b'"00"', b'"100.00"', b'"1,000.00"', b'" 100 "', b'"0000000000"', b'"ABC0000000"'),
    *(b'"nlj7rt61sv"', b'"NLJ7RT61SV "', b'"+254708374149"', b"254208374149", b"20261121120005", b"20261121240005"),
    *(b"20261321120005", b'"21.11.2026 24:00:05"', b'"2026-11-21T12:00:05.123456789Z"', b'"00010101000000"'),
    *(b"[]", b"{}", b"[" * 40 + b"]" * 40, b'{"a":1}', b'{"a":1,"a":2}', b'{"Password":"x"}', b'[{"Password":"x"}]'),
    *(
        b'"a:b"',
        b'"\\u003a"',
        b'"\\ud800"',
        b'"\\u0000"',
        '"é"'.encode(),
        '"\u0661"'.encode(),
        b'"' + b"x" * 256 + b'"',
    ),
    *(b'"' + b"x" * 1025 + b'"', b"1", b"1032", b"21", b'"completed successfully"', b'{"Name":"Amount","Value":5}'),
]
"""What may stand in the place of a value."""


@pytest.mark.parametrize("name", USUAL)
def test_no_odd_value_is_read_in_another_way(name):
    """A value of another kind, form, range, length or depth, in each place of a body in turn."""
    kind, body = USUAL[name]
    for place in re.finditer(rb':\s*("[^"]*"|-?[0-9.]+)', body):
        for value in VALUES:
            agree(kind, body[: place.start(1)] + value + body[place.end(1) :])


@pytest.mark.parametrize("name", USUAL)
def test_no_odd_key_is_read_in_another_way(name):
    """A key twice, renamed, spelt by escapes, or one more, of a credential, a list or a depth, in each place in turn."""
    kind, body = USUAL[name]
    extra = [
        b'"Password":1',
        b'"X":1',
        b'"X":[]',
        b'"X":{"a":1,"a":2}',
        b'"X":' + b"[" * 40 + b"]" * 40,
        b'"X":"a:b"',
        b'"X":1,"PassKey":1',
    ]
    for place in re.finditer(rb'"([A-Za-z0-9]+)"\s*:\s*("[^"]*"|-?[0-9.]+)?', body):
        key, whole = place[1], place[0]
        renamed = [key.lower(), b" " + key, b"PassKey", b"\\u00%02x" % key[0] + key[1:]]
        for changed in (
            *(each + b"," + whole for each in extra),
            *(whole.replace(key, each, 1) for each in renamed),
            *((whole + b"," + whole, whole.replace(b":", b" :", 1)) if place[2] else ()),
        ):
            agree(kind, body[: place.start()] + changed + body[place.end() :])


@pytest.mark.parametrize("name", USUAL)
def test_no_fact_that_is_told_twice_is_read_in_another_way(name):
    """An item of a list doubled, with the same value, another one, and none."""
    kind, body = USUAL[name]
    for item in re.finditer(rb'{\s*"(?:Name|Key)"[^{}]*}', body):
        for again in (item[0], re.sub(rb'("Value"\s*:\s*)[^}]*', rb"\g<1>20 ", item[0]), item[0].split(b",")[0] + b"}"):
            agree(kind, body[: item.start()] + again + b"," + body[item.start() :])
            agree(kind, body[: item.end()] + b"," + again + body[item.end() :])


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b"\n",
        lambda body: body + b"x",
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body[:-1],
        lambda body: b"[" + body + b"]",
        lambda body: body.replace(b",", b" ,\n"),
        lambda body: body + b" " * 5000,
    ],
)
def test_nothing_around_the_body_is_read_in_another_way(name, change):
    """Blanks, a byte order mark, a rest, a missing end."""
    kind, body = USUAL[name]
    agree(kind, change(body))


@settings(max_examples=400, deadline=None)
@given(
    mutation=mutated(sorted(name for name, row in CALLBACKS.items() if row[0] in {each[0] for each in USUAL.values()})),
    separators=st.sampled_from([(",", ":"), (", ", " : ")]),
)
def test_no_mutation_is_read_in_another_way(mutation, separators):
    """Types swapped, items dropped, doubled, renamed, wrapped and added."""
    name, body, _ = mutation
    agree(CALLBACKS[name][0], json.dumps(body, separators=separators, ensure_ascii=False).encode(errors="replace"))
