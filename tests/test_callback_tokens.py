"""Tests of the tokens in callback URLs."""

from __future__ import annotations

import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core import callback_tokens
from mpesa_core.callback_tokens import fixed_token, sign_token, token_is_signed
from mpesa_core.values import callback_url

SECRET = "a secret é"


@given(st.uuids())
def test_a_signed_token_is_recognised_and_fits_a_url(nonce):
    """At most 64 hexadecimal digits, which spell no word that Daraja refuses."""
    token = sign_token(SECRET, nonce.hex)

    assert token_is_signed(SECRET, token)
    assert (64, set()) == (len(token), set(token) - set("0123456789abcdef"))
    assert callback_url(f"https://shop.example/{token}/")


@given(st.text(max_size=130))
def test_a_guess_is_never_recognised_and_never_raises(guess):
    """Text of any kind is simply not signed."""
    assert not token_is_signed(SECRET, guess)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_a_token_with_one_digit_changed_is_not_recognised(place, digit):
    """Neither the nonce nor the signature can be altered."""
    token = sign_token(SECRET, UUID(int=7).hex)
    changed = token[:place] + digit + token[place + 1 :]

    assert (changed == token) == token_is_signed(SECRET, changed)


def test_another_secret_signs_other_tokens():
    """A token of one deployment is nothing in another."""
    token = sign_token(SECRET, UUID(int=7).hex)

    assert not token_is_signed("another", token)


@pytest.mark.parametrize("nonce", ["", "ab", "0" * 33, "A" * 32, "g" * 32, "0" * 31 + "\n", "é" * 16, "-" * 16])
def test_a_nonce_of_another_form_is_refused_and_not_repeated(nonce):
    """A programming error is told without the value in it."""
    with pytest.raises(ValueError, match="16 to 32 lower-case") as caught:
        sign_token(SECRET, nonce)
    assert not nonce or nonce not in str(caught.value)


def test_a_signature_over_a_nonce_of_another_form_is_not_recognised():
    """Even whoever could sign it cannot smuggle a nonce in: one form, one token."""
    nonce = "../../../../etc"
    forged = nonce + callback_tokens._signature(SECRET, nonce)

    assert not token_is_signed(SECRET, forged)


def test_a_fixed_token_is_the_same_each_time_and_signed():
    """A URL that is registered once keeps its token; another label has another."""
    first = fixed_token(SECRET, "600000 C2B_CONFIRMATION")

    assert first == fixed_token(SECRET, "600000 C2B_CONFIRMATION")
    assert token_is_signed(SECRET, first)
    assert 3 == len(
        {first, fixed_token(SECRET, "600000 C2B_VALIDATION"), fixed_token("another", "600000 C2B_CONFIRMATION")}
    )


def test_the_comparison_is_the_constant_time_one(monkeypatch):
    """The signature is compared by hmac.compare_digest, also for tokens of a wrong form."""
    compared = []
    monkeypatch.setattr(callback_tokens.hmac, "compare_digest", lambda *pair: compared.append(pair) or False)

    for token in ("", "x", "é" * 64, sign_token(SECRET, UUID(int=7).hex)):
        assert not token_is_signed(SECRET, token)

    assert 4 == len(compared)
    assert hmac is callback_tokens.hmac
