"""Tests of the callback paths and of the URLs that M-PESA is given."""

from __future__ import annotations

import pytest

from mpesa_core.callback_tokens import sign_token
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import ConfigurationError, InvalidField
from mpesa_core.routes import ROUTES, callback_urls, match_path
from mpesa_core.settings import Settings

TOKEN = sign_token("secret", "00112233445566778899aabbccddeeff")

PATHS = {
    "stk/callback/": "STK",
    "c2b/validate/": "C2B_VALIDATION",
    "c2b/confirm/": "C2B_CONFIRMATION",
    "b2c/result/": "B2C_RESULT",
    "b2c/timeout/": "B2C_TIMEOUT",
    "reversal/result/": "REVERSAL_RESULT",
    "reversal/timeout/": "REVERSAL_TIMEOUT",
    "balance/result/": "BALANCE_RESULT",
    "balance/timeout/": "BALANCE_TIMEOUT",
    "status/result/": "STATUS_RESULT",
    "status/timeout/": "STATUS_TIMEOUT",
    "b2b/result/": "B2B_RESULT",
    "b2b/timeout/": "B2B_TIMEOUT",
    "b2b/express/": "B2B_EXPRESS",
    "bills/payment/": "BILL_PAYMENT",
    "ratiba/callback/": "STANDING_ORDER",
}


def test_the_paths_are_the_published_ones():
    """Hosts register these with Safaricom: a changed path is a lost callback."""
    assert {route.path: str(route.callback_type) for route in ROUTES} == PATHS


def test_every_type_that_is_posted_has_a_path():
    """Only the two recorded answers have none."""
    served = {route.callback_type for route in ROUTES}

    assert set(CallbackType) - served == {CallbackType.STK_QUERY, CallbackType.PULL}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "abc", "A-b_c.d~9", TOKEN, "x" * 128])
@pytest.mark.parametrize("base", ["https://shop.example/pay/", "https://shop.example/pay", "https://shop.example"])
def test_a_url_that_mpesa_is_given_leads_back_to_its_type_and_token(path, token, base):
    """What callback_urls() makes, match_path() reads."""
    settings = Settings(callback_base_url=base)

    url = callback_urls(settings, CallbackType(PATHS[path]), token)

    assert url == base.rstrip("/") + "/" + path + (f"{token}/" if token else "")
    match = match_path(url.removeprefix(base))
    assert (PATHS[path], token) == (match.route.callback_type, match.token)


@pytest.mark.parametrize(
    ("own", "token", "expected"),
    [
        ("https://hooks.example/stk", None, "https://hooks.example/stk"),
        ("https://hooks.example/stk", "abc", "https://hooks.example/stk/abc"),
        ("https://hooks.example/stk/", "abc", "https://hooks.example/stk/abc/"),
        ("https://hooks.example", "abc", "https://hooks.example/abc"),
        ("https://hooks.example/stk?shop=1", "abc", "https://hooks.example/stk/abc?shop=1"),
        ("https://hooks.example:8443/a/b/", "abc", "https://hooks.example:8443/a/b/abc/"),
    ],
)
def test_a_products_own_url_wins_and_takes_the_token_too(own, token, expected):
    """The token is the last part of the path, before any question mark."""
    settings = Settings(callback_base_url="https://shop.example/", stk_callback_url=own)

    assert expected == callback_urls(settings, CallbackType.STK, token)


def test_without_any_url_the_error_names_both_settings():
    """Whoever forgot it learns what to set."""
    with pytest.raises(ConfigurationError, match=r"callback_base_url.*b2c_result_url"):
        callback_urls(Settings(), CallbackType.B2C_RESULT, "abc")


@pytest.mark.parametrize("callback_type", [CallbackType.STK_QUERY, CallbackType.PULL])
def test_a_recorded_answer_has_no_url(callback_type):
    """Nobody posts it."""
    with pytest.raises(InvalidField, match="callback_type"):
        callback_urls(Settings(callback_base_url="https://shop.example/"), callback_type)


def test_a_token_with_a_word_that_daraja_refuses_is_refused_here():
    """Better here than as a rejected payment."""
    with pytest.raises(InvalidField, match="sql"):
        callback_urls(Settings(callback_base_url="https://shop.example/"), CallbackType.STK, "xSQLx")


def test_no_path_holds_a_word_that_daraja_refuses():
    """Every URL can be made for production."""
    settings = Settings(environment="production", callback_base_url="https://shop.example/pay/")

    assert all(callback_urls(settings, route.callback_type, TOKEN) for route in ROUTES)
