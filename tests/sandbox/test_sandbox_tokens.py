from __future__ import annotations

import json

import pytest

from mpesa_core.sandbox import Api, Rules


def error(response):
    body = json.loads(response.body)
    return response.status, body["errorCode"], body["errorMessage"]


def test_a_token_is_given_for_key_and_secret(world):
    """The right keys get a token and its lifetime as a number."""
    answer = json.loads(world.oauth().body)
    assert {"access_token", "expires_in"} == set(answer)
    assert 3599 == answer["expires_in"]


def test_the_lifetime_may_come_as_text(make_world):
    """Older answers send expires_in as text."""
    assert "3599" == json.loads(make_world(rules=Rules(expires_in_as_text=True)).oauth().body)["expires_in"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"secret": "wrong"}, (400, "400.008.01", "Bad Request - invalid credentials")),
        ({"query": "grant_type=password"}, (400, "400.008.02", "Invalid grant type passed")),
        ({"query": ""}, (400, "400.008.02", "Invalid grant type passed")),
    ],
)
def test_wrong_keys_or_grant_are_refused(world, arguments, expected):
    """Daraja names what is wrong with a token request."""
    assert expected == error(world.oauth(**arguments))


def test_a_token_request_without_basic_authentication_is_refused(world):
    """Another scheme than Basic is an authentication error."""
    path = "/oauth/v1/generate?grant_type=client_credentials"
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic ???"}):
        assert (400, "400.008.01", "Invalid Authentication passed") == error(world.raw("GET", path, headers))


def test_each_product_refuses_a_bad_token_in_its_own_way(world):
    """STK says 404, C2B 400, the others 401 with the token in the text."""
    bad = "not-a-token"
    pushed = world.call("/mpesa/stkpush/v1/processrequest", {}, token=bad)
    asked = world.call("/mpesa/stkpushquery/v1/query", {}, token=bad)
    registered = world.call("/mpesa/c2b/v2/registerurl", {}, token=bad)
    paid = world.call("/mpesa/b2c/v3/paymentrequest", {}, token=bad)
    assert (404, "404.001.03") == (pushed[0], pushed[1]["errorCode"])
    assert (404, "404.001.03") == (asked[0], asked[1]["errorCode"])
    assert (400, "400.003.01") == (registered[0], registered[1]["errorCode"])
    assert (401, "401.002.01") == (paid[0], paid[1]["errorCode"])
    assert "Error Occurred - Invalid Access Token - not-a-token" == paid[1]["errorMessage"]


def test_a_request_without_a_token_is_refused(world):
    """A missing header has an error of its own."""
    response = world.raw("POST", "/mpesa/b2c/v3/paymentrequest", {"Content-Type": "application/json"}, b"{}")
    assert (404, "404.001.04", "Invalid Authentication Header") == error(response)


def test_a_token_expires(world):
    """A token is good for its lifetime and no longer."""
    assert 200 == world.push()[0]
    world.wait(3598)
    assert 200 == world.push()[0]
    world.wait(1)
    assert 404 == world.push()[0]


def test_a_new_token_ends_the_one_before(world):
    """Only the newest token is good, as the portal's FAQ says."""
    old = json.loads(world.oauth().body)["access_token"]
    world.oauth()
    assert 404 == world.call("/mpesa/stkpush/v1/processrequest", world.push_fields(), token=old)[0]


def test_old_tokens_may_stay_good(make_world):
    """With the house rule off, an old token goes on."""
    world = make_world(rules=Rules(new_token_revokes=False))
    old = json.loads(world.oauth().body)["access_token"]
    world.oauth()
    assert 200 == world.call("/mpesa/stkpush/v1/processrequest", world.push_fields(), token=old)[0]


def test_tokens_can_be_revoked(world):
    """A test may end every token in the middle."""
    assert 200 == world.push()[0]
    world.daraja.revoke_tokens()
    assert 404 == world.push()[0]


def test_wrong_method_and_path(world):
    """GET where POST belongs is 405, and an unknown path 404, B2C v2 among them."""
    assert (405, "405.001", "GET Method Not Allowed") == error(world.raw("GET", "/mpesa/stkpush/v1/processrequest"))
    assert (405, "405.001", "POST Method Not Allowed") == error(world.raw("POST", "/oauth/v1/generate"))
    assert (404, "404.001.01", "Resource not found") == error(world.raw("POST", "/mpesa/b2c/v2/paymentrequest"))


def test_a_body_that_is_no_json_object(world):
    """Unreadable JSON is an invalid payload; another content type looks like a missing first field."""
    world.push()
    headers = {"Authorization": f"Bearer {world.token}", "Content-Type": "application/json"}
    path = "/mpesa/stkpush/v1/processrequest"
    for body in (b"", b"{", b"[]", b"[" * 100_000, b"\xff"):
        assert (400, "400.002.05", "Invalid Request Payload") == error(world.raw("POST", path, headers, body))
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    expected = (400, "400.002.02", "Bad Request - Invalid BusinessShortCode")
    assert expected == error(world.raw("POST", path, headers, b"BusinessShortCode=174379"))


def test_requests_are_counted(world):
    """The log tells which requests came, what became of them, and holds no password or credential."""
    world.payout()
    world.payout()
    world.push(Amount="0")
    assert 2 == world.daraja.count(Api.B2C)
    assert 2 == world.daraja.count("b2c", originator_conversation_id="payout-1")
    assert 1 == world.daraja.count("b2c", accepted=True)
    refused = world.daraja.requests[-1]
    assert (Api.STK_PUSH, False, 400, "400.002.02") == (
        refused.api,
        refused.accepted,
        refused.status,
        refused.error_code,
    )
    for seen in world.daraja.requests:
        assert not {"Password", "SecurityCredential"} & set(seen.fields)
        assert "254712345678" not in repr(seen)
