"""The bodies that the local Daraja sends have the keys and types of those that were published and captured."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from mpesa_core.sandbox import Behaviour, Ending, QueryAnswer, Rules

SAMPLES = Path(__file__).parent.parent / "samples"


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text(), parse_float=Decimal)["body"]


def shape(value):
    """A body without its values: keys, item names, and for each value whether it is text, a number, or absent."""
    if isinstance(value, dict):
        name = value.get("Key", value.get("Name"))
        if name is not None and set(value) <= {"Key", "Name", "Value"}:
            return (name, shape(value["Value"]) if "Value" in value else None)
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((shape(item) for item in value), key=repr)
    return "text" if isinstance(value, str) else "number"


def sent(world, end):
    world.daraja.run_until_idle()
    return world.bodies(end)[-1]


def test_stk_callbacks(world):
    """A paid push looks like the capture of 2026, valueless Balance and all; a failed one has no items."""
    world.push()
    assert shape(sample("stk_push__callback__success_2026_captured")) == shape(sent(world, "/stk"))
    world.daraja.when(Behaviour(ending=Ending.UNREACHABLE))
    world.push()
    failed = sent(world, "/stk")
    assert shape(sample("stk_push__callback__unreachable_1037_ds_timeout")) == shape(failed)
    names = ("ResultCode", "ResultDesc")
    expected = sample("stk_push__callback__unreachable_1037_ds_timeout")["Body"]["stkCallback"]
    assert [expected[name] for name in names] == [failed["Body"]["stkCallback"][name] for name in names]


def test_the_masked_stk_callback(make_world):
    """The masked form has the phone as text."""
    world = make_world(rules=Rules(mask_stk_phone=True))
    world.push()
    found = dict(shape(sent(world, "/stk"))["Body"]["stkCallback"]["CallbackMetadata"]["Item"])
    expected = dict(
        shape(sample("stk_push__callback__success_masked_phone"))["Body"]["stkCallback"]["CallbackMetadata"]["Item"]
    )
    assert expected["PhoneNumber"] == found["PhoneNumber"] == "text"


def test_amounts_keep_their_literal(world):
    """Amounts go out as 100.00, the literal of the documentation."""
    world.push()
    world.daraja.run_until_idle()
    assert b'{"Name":"Amount","Value":100.00}' in world.received[0][1]


def test_stk_answers(world):
    """Acceptance, query answers and the pending forms look like the samples."""
    _, accepted = world.push()
    assert shape(sample("stk_push__response__accepted_2024")) == shape(accepted)
    checkout = accepted["CheckoutRequestID"]
    success = world.query(checkout)[1]
    expected = sample("stk_query__response__success_triple_s")
    assert shape(expected) == shape(success)
    assert (expected["ResponseDescription"], expected["ResultCode"]) == (
        success["ResponseDescription"],
        success["ResultCode"],
    )
    world.daraja.when(Behaviour(query=(QueryAnswer.STILL_PROCESSING, QueryAnswer.BEING_PROCESSED)))
    checkout = world.push()[1]["CheckoutRequestID"]
    assert shape(sample("stk_query__response__still_processing_4999_string")) == shape(world.query(checkout)[1])
    assert shape(sample("stk_query__error__being_processed_500")) == shape(world.query(checkout)[1])


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("stk_push__error__invalid_callbackurl", lambda world: world.push(CallBackURL="x")),
        ("stk_push__error__invalid_remarks", lambda world: world.push(TransactionDesc="")),
        ("stk_push__error__wrong_credentials", lambda world: world.push(Password="eA==")),
        (
            "stk_push__error__invalid_access_token_404",
            lambda world: world.call("/mpesa/stkpush/v1/processrequest", {}, token="x"),
        ),
        ("c2b_register__error__own_shortcode", lambda world: world.register(ShortCode="999999")),
        ("b2c__error__duplicate_originator", lambda world: (world.payout(), world.payout())[1]),
        ("reversal__error__invalid_transactionid", lambda world: world.reverse("x")),
    ],
)
def test_errors(world, name, request_):
    """Error envelopes have the sample's status, keys, code and words."""
    expected = json.loads((SAMPLES / f"{name}.json").read_text())
    status, body = request_(world)
    assert expected["http_status"] == status
    assert set(expected["body"]) == set(body)
    for key in ("errorCode", "errorMessage"):
        assert expected["body"][key] == body[key]


def test_oauth_answers(make_world):
    """Both forms of the token's lifetime are as in the samples."""
    for text, name in ((False, "oauth__response__expires_in_number"), (True, "oauth__response__expires_in_string")):
        world = make_world(rules=Rules(expires_in_as_text=text))
        assert shape(sample(name)) == shape(json.loads(world.oauth().body))


def test_c2b_bodies(world):
    """Validation, confirmation and the answers to registration and simulation look like the samples."""
    assert shape(sample("c2b_register__response__v1_lowercase")) == shape(world.register("v1")[1])
    assert sample("c2b_register__response__code_00000000")["ResponseCode"] == world.register("v2")[1]["ResponseCode"]
    assert shape(sample("c2b_simulate__response__v1_no_responsecode")) == shape(world.simulate("v1")[1])
    assert shape(sample("c2b_simulate__response__v2")) == shape(world.simulate("v2")[1])
    world.daraja.run_until_idle()
    assert shape(sample("c2b_validation__callback__2017")) == shape(world.bodies("/validate")[0])
    assert shape(sample("c2b_confirmation__callback__2018_plain_msisdn")) == shape(world.bodies("/confirm")[0])


def test_b2c_bodies(world):
    """Acceptance, success, failure and the queue timeout's echo look like the samples."""
    _, accepted = world.payout()
    assert shape(sample("b2c__response__accepted_v3")) == shape(accepted)
    assert shape(sample("b2c__callback__success_2024")) == shape(sent(world, "b2c/result"))
    world.daraja.script(Behaviour(ending=Ending.WRONG_PIN), Behaviour(ending=Ending.LOCKED_CREDENTIAL))
    world.payout("v1")
    assert shape(sample("b2c__callback__fail_2001_2024")) == shape(sent(world, "b2c/result"))
    world.payout("v1")
    assert shape(sample("b2pochi__callback__locked_8006_single_param_object")) == shape(sent(world, "b2c/result"))
    for as_result, name in (
        (True, "any__callback__queue_timeout_flat_guess"),
        (False, "b2c__callback__queue_timeout_echoes_request"),
    ):
        world.daraja.script(Behaviour(queue_timeout="before", queue_timeout_as_result=as_result))
        world.payout(OriginatorConversationID=name)
        assert set(sent(world, "b2c/timeout")) <= set(sample(name))


def test_reversal_bodies(world):
    """Acceptance, success and failure look like the samples."""
    receipt = world.daraja.customer_pays(amount=100).receipt
    assert shape(sample("reversal__response")) == shape(world.reverse(receipt)[1])
    assert shape(sample("reversal__callback__success_2021_numbers")) == shape(sent(world, "reversal/result"))
    world.reverse("UJ61234567")
    assert shape(sample("reversal__callback__fail_R000002")) == shape(sent(world, "reversal/result"))


def test_status_bodies(world):
    """Acceptance, an answer and a not-found look like the samples."""
    world.payout()
    assert shape(sample("transaction_status__response")) == shape(world.status(OriginalConversationID="payout-1")[1])
    assert shape(sample("transaction_status__callback__b2b_2024")) == shape(sent(world, "status/result"))
    world.status(TransactionID="UJ61234567")
    assert shape(sample("transaction_status__callback__not_found_2032")) == shape(sent(world, "status/result"))


def test_balance_bodies(world):
    """Acceptance, an answer and a locked password look like the samples."""
    assert shape(sample("account_balance__response")) == shape(world.balance()[1])
    assert shape(sample("account_balance__callback__success_2024_actiontype")) == shape(sent(world, "balance/result"))
    world.daraja.when(Behaviour(ending=Ending.LOCKED_CREDENTIAL), api="balance")
    world.balance()
    assert shape(sample("account_balance__callback__locked_8006")) == shape(sent(world, "balance/result"))
