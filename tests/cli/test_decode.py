"""``mpesa decode``: every sample of real traffic goes in, and what it says comes out as JSON."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from tests.daraja.test_callbacks import CALLBACKS
from tests.sampled import FOLDER, names, sample


def test_every_sample_callback_is_expected():
    """No sample is left out of the table that the test below runs over."""
    assert set() == set(names("callback")) - CALLBACKS.keys()


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_sample_says_in_json_what_it_is_expected_to_say(mpesa, name):
    """Outcome, code, receipt, amount and correlation id are those of the table, which Safaricom's pages gave."""
    callback_type, outcome, code, receipt, amount, correlation_id = CALLBACKS[name]
    done = mpesa("decode", FOLDER / f"{name}.json", "--type", callback_type)
    told = json.loads(done.stdout)
    assert 0 == done.exit_code
    assert (str(callback_type), str(outcome), code) == (told["callback_type"], told["outcome"], told["result_code"])
    assert (receipt, correlation_id) == (told["receipt_number"], told["correlation_id"])
    assert (None if amount is None else float(amount)) == (None if told["amount"] is None else float(told["amount"]))


def test_a_body_itself_says_the_same_as_its_sample(mpesa, tmp_path):
    """What a program has stored is the body, without anything around it, and amounts stay as they were written."""
    whole = sample("stk_push__callback__success_docs")
    (tmp_path / "body").write_bytes(whole.body)
    plain = mpesa("decode", "body", "--type", "stk")
    assert mpesa("decode", FOLDER / f"{whole.name}.json", "--type", "STK").stdout == plain.stdout
    assert '"amount": "1.00"' in plain.stdout
    assert json.loads(plain.stdout)["raw"].keys() == whole.json.keys()


def test_standard_input_is_read(mpesa):
    """A dash stands for standard input."""
    done = mpesa("decode", "-", "--type", "STK", stdin=sample("stk_push__callback__cancelled_1032_prefixed").body)
    assert (0, "cancelled") == (done.exit_code, json.loads(done.stdout)["outcome"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"api":1,"kind":2,"body":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"api":1,"kind":2,"body":"\\ud800"}',
        b'{"api":1,"kind":2,"body":{"Body":{},"Body":{}}}',
        b'{"Body":{"stkCallback":{"CheckoutRequestID":"1","ResultCode":NaN}}}',
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_told_and_fails(mpesa, body):
    """The exit status is 1, and standard output is JSON that gives the reason."""
    done = mpesa("decode", "-", "--type", "STK", stdin=body)
    told = json.loads(done.stdout)
    assert (1, "Unreadable", "unknown") == (done.exit_code, told["kind"], told["outcome"])
    assert told["problem"]


def test_odd_text_is_told_in_ascii(mpesa):
    """A terminal of any encoding shows it: half of a pair, and a name beyond ASCII."""
    body = '{"Body":{"stkCallback":{"CheckoutRequestID":"\\udc00","ResultDesc":"Nyambáne"}}}'
    done = mpesa("decode", "-", "--type", "STK", stdin=body)
    assert 0 == done.exit_code
    assert done.stdout.isascii()
    assert "Nyambáne" == json.loads(done.stdout)["result_desc"]


def test_numbers_of_a_sample_stay_as_they_were_written(mpesa):
    """A float would make 0.30 of 0.3 and lose the last digits of a long number."""
    body = (
        '{"api":"stk","kind":"callback","body":{"TransAmount":10.30,"TransID":"RKL51ZDR4F","OrgAccountBalance":0.10}}'
    )
    told = json.loads(mpesa("decode", "-", "--type", "C2B_CONFIRMATION", stdin=body).stdout)
    assert ("10.30", "0.10") == (told["raw"]["TransAmount"], told["raw"]["OrgAccountBalance"])


def test_an_unknown_type_is_refused_with_those_there_are(mpesa, tmp_path):
    """Exit status 2, and the list."""
    (tmp_path / "body").write_bytes(b"{}")
    done = mpesa("decode", "body", "--type", "STKPUSH")
    assert 2 == done.exit_code
    assert "'STKPUSH'" in done.stderr
    assert "'B2C_RESULT'" in done.stderr.upper()


def test_a_file_that_is_not_there_is_refused(mpesa):
    """Exit status 2, with the name of the file."""
    done = mpesa("decode", "nowhere.json", "--type", "STK")
    assert 2 == done.exit_code
    assert "nowhere.json" in done.stderr


def test_the_type_is_asked_for(mpesa, tmp_path):
    """It cannot be guessed from a body: a validation and a confirmation look alike."""
    (tmp_path / "body").write_bytes(b"{}")
    done = mpesa("decode", "body")
    assert 2 == done.exit_code
    assert "--type" in done.stderr
