"""Every path of Daraja for which the SDK has an operation leads to a call of the local Daraja."""

from __future__ import annotations

import json

import pytest

from mpesa_core.sandbox import Api, Rules

PATHS = [
    "/mpesa/stkpush/v1/processrequest",
    "/mpesa/stkpushquery/v1/query",
    "/mpesa/c2b/v1/registerurl",
    "/mpesa/c2b/v2/registerurl",
    "/mpesa/c2b/v1/simulate",
    "/mpesa/c2b/v2/simulate",
    "/mpesa/b2c/v1/paymentrequest",
    "/mpesa/b2c/v3/paymentrequest",
    "/mpesa/b2cvalidate/v2/paymentrequest",
    "/mpesa/b2pochi/v1/paymentrequest",
    "/mpesa/b2b/v1/paymentrequest",
    "/mpesa/b2b/v1/remittax",
    "/v1/ussdpush/get-msisdn",
    "/mpesa/reversal/v1/request",
    "/mpesa/transactionstatus/v1/query",
    "/mpesa/accountbalance/v1/query",
    "/mpesa/qrcode/v1/generate",
    *(
        f"/v1/billmanager-invoice/{name}"
        for name in (
            "optin",
            "change-optin-details",
            "single-invoicing",
            "bulk-invoicing",
            "change-invoice",
            "change-invoices",
            "reconciliation",
            "cancel-single-invoice",
            "cancel-bulk-invoices",
            "cancel-bulk-invoice",
            "v1/billmanager-invoice/optin",
        )
    ),
    "/standingorder/v1/createStandingOrderExternal",
    "/pulltransactions/v1/register",
    "/pulltransactions/v1/query",
    "/imsi/v1/checkATI",
    "/imsi/v2/checkATI",
    "/mpesa/checkidentity/v1/processrequest",
    "/mpesa/b2c/hakikisha/v1/hakikisha",
    "/sfcverify/v1/query/info",
    "/v1/lipa/na/bonga/calculate-points",
    "/v1/lipa/na/bonga/redeem-paybill",
    *(
        f"/simportal/v1/{name}"
        for name in (
            "allsims",
            "queryLifeCycleStatus",
            "querycustomerinfo",
            "simactivation",
            "getactivationtrends",
            "renameasset",
            "suspend_unsuspend_sub",
            "searchmessages",
            "filtermessages",
            "getallmessages?pageNo=1&pageSize=5",
            "sendsinglemessage",
            "deletemessage",
            "deleteMessageThread",
        )
    ),
]


def nothing(path):
    """An empty body; the calls of many invoices take a list."""
    return [] if path.endswith(("bulk-invoicing", "invoices", "bulk-invoice")) else {}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_served(world, path):
    """An empty body is refused for its fields or answered, and never for its path or its verb."""
    status, answer = world.call(path, nothing(path))
    assert answer.get("errorCode") not in ("404.001.01", "405.001")
    assert 500 > status
    assert world.daraja.requests[-1].api is not None
    refused = world.raw("GET", path)
    assert (405, "405.001") == (refused.status, json.loads(refused.body)["errorCode"])


def test_the_token_is_the_only_get(world):
    """The token's own path is a GET."""
    assert 200 == world.oauth().status
    assert 405 == world.raw("POST", "/oauth/v1/generate").status


def test_every_call_has_a_path(world):
    """No call is left that no path leads to, but the two that customers make themselves."""
    for path in PATHS:
        world.call(path, nothing(path))
    seen = {request.api for request in world.daraja.requests}
    assert set(Api) - {Api.C2B, Api.BILL_PAYMENT} == seen


def test_the_version_that_does_not_exist(world):
    """Version 2 of the payout is not there, as probes have found."""
    status, answer = world.call("/mpesa/b2c/v2/paymentrequest", {})
    assert (404, "404.001.01") == (status, answer["errorCode"])


@pytest.mark.parametrize("path", PATHS)
def test_every_call_wants_a_token(world, path):
    """A wrong token is refused by each product, in a form that says so."""
    status, answer = world.call(path, nothing(path), token="x" * 28)
    assert status in (400, 401, 404)
    assert "Invalid Access Token" in answer["errorMessage"]


@pytest.mark.parametrize(
    ("api", "call", "expected"),
    [
        (Api.EXPRESS_CHECKOUT, lambda world: world.prompt_business(), (401, "401")),
        (Api.BILLS_OPT_IN, lambda world: world.opt_in(), (401, "401")),
        (Api.B2C, lambda world: world.payout(), (403, "403.002.1001")),
    ],
)
def test_a_product_that_the_app_lacks(make_world, api, call, expected):
    """The captured refusals of a product that is not on the app."""
    world = make_world(rules=Rules(missing=frozenset({api})))
    status, answer = call(world)
    assert expected == (status, answer["errorCode"])
    assert () == world.daraja.ledger.entries
