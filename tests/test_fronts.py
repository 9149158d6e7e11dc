"""One suite of requests, good, odd and hostile: the same answers and the same records from every front."""

from __future__ import annotations

import hashlib
import random

import pytest

from mpesa_core.routes import ROUTES
from tests import trials
from tests.fronts import FRONTS, in_front_of, needed
from tests.test_webhooks_hostile import BOMBS, CALLBACKS, mutated
from tests.test_webhooks_sources import PROXIES, TABLE
from tests.webhook_host import FakeHost, sample_body

JSON = b'{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}'
STK = "stk/callback/"
TOKEN = "0123456789abcdef"
REQUESTS = {
    "good": (STK, JSON, {}),
    "token": (f"{STK}{TOKEN}/", JSON, {}),
    "no slash": ("stk/callback", JSON, {}),
    "token, no slash": (f"b2c/result/{TOKEN}", JSON, {}),
    "odd token": (f"{STK}a b/", JSON, {}),
    "a token of another alphabet": (f"{STK}\u00c3\u00a4\u00c3\u00b6/", JSON, {}),  # UTF-8, as WSGI writes it
    "a token that is no text": (f"{STK}\u00ff\u00fe/", JSON, {}),
    "a token too long": (f"{STK}{'a' * 129}/", JSON, {}),
    "a token like a path": (f"{STK}..%2f..%2fetc/", JSON, {}),
    "validation": ("c2b/validate/", b'{"TransID":"U1"}', {}),
    "confirmation": ("c2b/confirm/", b'{"TransID":"U1"}', {}),
    "bill": ("bills/payment/", b"{}", {}),
    "another path": ("nowhere/", JSON, {}),
    "two tokens": (f"{STK}a/b/", JSON, {}),
    "a query": (STK, JSON, {"QUERY_STRING": "x=1&y=%00"}),
    "a query that is no text": (STK, JSON, {"QUERY_STRING": "\u00ff=%ff&&=;"}),
    **{
        method.lower(): (STK, b"" if method in {"GET", "HEAD", "OPTIONS"} else JSON, {"REQUEST_METHOD": method})
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
    },
    "stranger": (STK, JSON, {"REMOTE_ADDR": "203.0.113.9"}),
    "forwarded": (STK, JSON, {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}),
    "no peer": (STK, JSON, {"REMOTE_ADDR": ""}),
    "a secret in a header": (STK, JSON, {"HTTP_AUTHORIZATION": "Bearer abc", "HTTP_COOKIE": "session=abc"}),
    "no json": (STK, b"\xff\x00{{{", {}),
    "deep json": (STK, b"[" * 900, {}),
    "empty": (STK, b"", {}),
    "a form": (STK, b"a=1&b=2", {"CONTENT_TYPE": "application/x-www-form-urlencoded"}),
    "a broken multipart": (STK, b"--x", {"CONTENT_TYPE": "multipart/form-data; boundary=x"}),
    "no type": (STK, JSON, {"CONTENT_TYPE": ""}),
    "another charset": (STK, JSON, {"CONTENT_TYPE": "application/json; charset=utf-16"}),
    "no such charset": (STK, JSON, {"CONTENT_TYPE": "text/plain; charset=\u00e9nigma"}),
    "packed": (STK, b"\x1f\x8b\x08\x00", {"HTTP_CONTENT_ENCODING": "gzip"}),
    "another method in a header": (STK, JSON, {"HTTP_X_HTTP_METHOD_OVERRIDE": "GET"}),
    "an origin": (STK, JSON, {"HTTP_ORIGIN": "https://evil.example", "HTTP_REFERER": "https://evil.example/"}),
    "an odd host": (STK, JSON, {"HTTP_HOST": "a b<script>"}),
    "too large": (STK, b"x" * 2000, {}),
    "announced too large": (STK, b"x", {"CONTENT_LENGTH": "99999999999"}),
    "cut off": (STK, b'{"a":', {"CONTENT_LENGTH": "100"}),
    "odd length": (STK, JSON, {"CONTENT_LENGTH": "many"}),
    "a negative length": (STK, JSON, {"CONTENT_LENGTH": "-5"}),
    "no length": (STK, JSON, {"CONTENT_LENGTH": ...}),
    "chunks": (STK, JSON, {"CONTENT_LENGTH": ..., "HTTP_TRANSFER_ENCODING": "chunked"}),
    "decoded chunks": (
        STK,
        JSON,
        {"CONTENT_LENGTH": ..., "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ),
    "decoded chunks, too many": (
        STK,
        b"x" * 2000,
        {"CONTENT_LENGTH": ..., "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ),
}
"""Each a path, a body, and what is changed in a request as M-PESA makes it."""

OTHERS = tuple(name for name in FRONTS if name != "core")
NOT_OURS = {
    ("django", "an odd host"): 400,  # by ALLOWED_HOSTS, before a view is found
    ("flask", "propfind"): 405,  # a method that the route does not name
}
"""What a framework answers by itself."""


@pytest.fixture(params=OTHERS)
def name(request):
    """Each framework."""
    needed(request.param)
    return request.param


@pytest.fixture
def both(name):
    """The core's front and the framework's, each before a host of its own."""

    def make(**settings):
        hosts = [FakeHost(**settings), FakeHost(**settings)]
        stack.append(expected := in_front_of("core", hosts[0]))
        stack.append(actual := in_front_of(name, hosts[1]))
        return expected.__enter__(), actual.__enter__()

    stack = []
    yield make
    for front in reversed(stack):
        front.__exit__(None, None, None)


def same(fronts, path, body, changes):
    """Ask both, and compare; the answer's status."""
    core, other = fronts
    expected, actual = core.ask(path, body, changes), other.ask(path, body, changes)
    if changes.get("REQUEST_METHOD") == "HEAD":  # such an answer has no body, whoever leaves it out
        assert expected[0] == actual[0]
    elif expected[0] == 404:  # the rest of such an answer, and whatever was posted there, is the host program's own
        assert 404 == actual[0]
    else:
        assert expected[::2] == actual[::2]
        assert expected[1].items() <= actual[1].items()
    assert core.kept == other.kept
    return expected[0]


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request(both, name, case):
    """Status, the core's headers, body, and all that is recorded are those of the core's own application."""
    fronts = both(max_body_bytes=1000)
    if (name, case) in NOT_OURS:
        assert NOT_OURS[name, case] == fronts[1].ask(*REQUESTS[case])[0]
    else:
        same(fronts, *REQUESTS[case])


@pytest.mark.parametrize(("peer", "forwarded", "source", "let_in"), TABLE)
def test_where_it_comes_from(both, peer, forwarded, source, let_in):
    """No row of the table of forged addresses is a bypass and none a false block, whatever stands before the core."""
    changes = {"REMOTE_ADDR": peer}
    if forwarded:
        changes["HTTP_X_FORWARDED_FOR"] = ",".join(forwarded)  # a server joins the lines of a header
    fronts = both(trusted_proxies=PROXIES)
    assert (200 if let_in else 403) == same(fronts, STK, b"body", changes)
    assert (source, b"body") == (fronts[1].host.repository.only.source_ip, fronts[1].host.repository.only.raw_bytes)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_path(both, route):
    """Each path of the core is served, with and without a token, and recorded under its type."""
    fronts = both()
    assert [200, 200] == [same(fronts, path, b"{}", {}) for path in (route.path, f"{route.path}{TOKEN}/")]
    assert [(route.callback_type, None), (route.callback_type, TOKEN)] == [row[1:3] for row in fronts[1].kept]


def test_bodies_that_are_bombs(both):
    """Each is acknowledged, and kept to the byte."""
    fronts = both()
    for body in BOMBS.values():
        assert 200 == same(fronts, STK, body, {})
        fronts[0].host.repository.rows.clear()
        fronts[1].host.repository.rows.clear()


def test_real_bodies_and_defects_in_them(both):
    """Every sample of a callback, and seeded mutations of them: acknowledged, with the hash that was sent."""
    fronts = both()
    bodies = [sample_body(each) for each in CALLBACKS]
    for trial in range(trials.scaled(300)):
        chance = trials.rng("fronts", trial)
        body = bodies[trial] if trial < len(bodies) else mutated(chance.choice(bodies), random.Random(trial))
        path = chance.choice(ROUTES).path
        assert 200 == same(fronts, path, body, {}), f"trial {trial}"
        assert hashlib.sha256(body).digest() == hashlib.sha256(fronts[1].host.repository.only.raw_bytes).digest()
        fronts[0].host.repository.rows.clear()
        fronts[1].host.repository.rows.clear()
