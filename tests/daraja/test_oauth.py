"""The request for an access token, and its answers."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mpesa_core.daraja.oauth import FetchToken, Token
from mpesa_core.daraja.operation import Context, HttpResponse
from mpesa_core.errors import Busy, DarajaError, MpesaError, TokenRefused, UnexpectedAnswer

SAMPLES = Path(__file__).parent.parent / "samples"
CONTEXT = Context(now=datetime(2026, 3, 1, tzinfo=UTC))
FETCH = FetchToken(consumer_key="CANARYkey", consumer_secret="CANARY:secret")


def _sample(name: str) -> HttpResponse:
    sample = json.loads((SAMPLES / f"{name}.json").read_text())
    body = sample["body"] if sample["body"] == "" else json.dumps(sample["body"])
    return HttpResponse(status=sample["http_status"], body=body.encode())


def _answer(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def test_the_request_carries_the_keys() -> None:
    """It is a GET with the grant type in the query and the two keys as Basic credentials."""
    request = FETCH.build(CONTEXT)
    assert (request.method, request.path) == ("GET", "/oauth/v1/generate?grant_type=client_credentials")
    scheme, _, keys = request.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(keys)) == ("Basic", b"CANARYkey:CANARY:secret")
    assert request.body == b""


@pytest.mark.parametrize(
    ("sample", "token"),
    [
        ("oauth__response__expires_in_number", "c9SQxWWhmdVRlyh0zh8gZDTkubVF"),
        ("oauth__response__expires_in_string", "SGWcJPtNtYNPGm6uSYR9yPYrAI3Bm"),
    ],
)
def test_published_answers(sample: str, token: str) -> None:
    """Both published answers, with the lifetime as a number and as text, are read."""
    assert Token(access_token=token, lifetime=3599.0) == FETCH.parse(_sample(sample))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3599, 3599.0),
        ("3599", 3599.0),
        (0, 0.0),
        ("60.5", 60.5),
        (None, 3599.0),
        ("soon", 3599.0),
        (True, 3599.0),
        (-1, 3599.0),
        (10**12, 3599.0),
        ([], 3599.0),
    ],
)
def test_the_lifetime_is_read_or_the_documented_one(given: Any, seconds: float) -> None:
    """A lifetime is a number of seconds in either form, and 3599 where it cannot be one."""
    assert seconds == FETCH.parse(_answer({"access_token": "T", "expires_in": given})).lifetime


@pytest.mark.parametrize("sample", ["oauth__error__invalid_credentials", "oauth__error__empty_body"])
def test_refused_keys(sample: str) -> None:
    """Wrong keys, and keys of the other environment (an empty body), are TokenRefused that says what to check."""
    with pytest.raises(TokenRefused, match=r"consumer_key and consumer_secret.*environment") as raised:
        FETCH.parse(_sample(sample))
    assert raised.value.status == 400


HTML = b"<html><head><title>Request unsuccessful. Incapsula incident ID: 1-2</title></head></html>"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (_answer(b"", 200), UnexpectedAnswer),
        (_answer(HTML, 200), UnexpectedAnswer),
        (_answer([], 200), UnexpectedAnswer),
        (_answer({}, 200), UnexpectedAnswer),
        (_answer({"access_token": None}), UnexpectedAnswer),
        (_answer({"access_token": ""}), UnexpectedAnswer),
        (_answer({"access_token": 7}), UnexpectedAnswer),
        (_answer({"access_token": "a b"}), UnexpectedAnswer),
        (_answer({"access_token": "a\r\nX-Evil: 1"}), UnexpectedAnswer),
        (_answer({"access_token": "\u00e9"}), UnexpectedAnswer),
        (_answer({"access_token": "a" * 5000}), UnexpectedAnswer),
        (_answer(HTML, 403), Busy),
        (_answer(HTML, 503), UnexpectedAnswer),
        (_answer(b"", 500), UnexpectedAnswer),
        (_answer({"fault": {"faultstring": "Spike arrest violation"}}, 429), Busy),
        (_answer({"errorCode": "404.001.04", "errorMessage": "Invalid Authentication Header"}, 404), DarajaError),
    ],
)
def test_answers_without_a_token(response: HttpResponse, kind: type[MpesaError]) -> None:
    """Each answer that brings no token is the error of its kind, and never a token."""
    with pytest.raises(kind):
        FETCH.parse(response)


def test_every_cut_of_an_answer_is_refused() -> None:
    """An answer that was cut off at any byte is no token, and the part of the token that came is in no text."""
    body = b'{"access_token":"CANARYc9SQxWWhmdVRlyh0zh8gZDTkubVF","expires_in":"3599"}'
    for length in range(len(body)):
        with pytest.raises(UnexpectedAnswer) as raised:
            FETCH.parse(_answer(body[:length]))
        assert "CANARY" not in "".join(traceback.format_exception(raised.value))


def test_nothing_shows_the_keys_or_the_token() -> None:
    """The reprs of the operation, its request and the token, and a refusal that quotes the keys, show none of them."""
    token = FETCH.parse(_answer({"access_token": "CANARYtoken1234567890", "expires_in": 3599}))
    assert "CANARY" not in repr((FETCH, FETCH.build(CONTEXT), token))
    refusal = {"errorCode": "400.008.01", "errorMessage": "Invalid Access Token - CANARYtoken1234567890"}
    with pytest.raises(TokenRefused) as raised:
        FETCH.parse(_answer(refusal, 400))
    shown = [*traceback.format_exception(raised.value), repr(pickle.dumps(raised.value))]
    assert "CANARY" not in "".join(shown)
