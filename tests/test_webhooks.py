"""Tests of receiving callbacks: recorded, then answered as M-PESA wants it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time
from decimal import Decimal
from uuid import UUID

import attrs
import pytest

from mpesa_core.callback_tokens import fixed_token, sign_token
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import ConfigurationError, StorageBusy, StorageUnavailable
from mpesa_core.routes import ROUTES
from mpesa_core.spool import Spool
from mpesa_core.webhooks import WebhookRequest, Webhooks
from mpesa_core.webhooks.answers import normalised
from tests.webhook_host import SAFARICOM, START, FakeHost, Store, post, sample_body

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}


def answer_of(response):
    return json.loads(response.body)


# --- recorded and acknowledged


def test_a_callback_is_recorded_exactly_and_open_before_it_is_handed_on():
    """The bytes are stored as they came, due at once, and only then given to the runner."""
    host = FakeHost()
    body = sample_body("stk_push__callback__success_docs")

    response = post(host, body, headers=[("Content-Type", "application/json"), ("X-Odd", "1"), ("x-odd", "2")])

    row = host.repository.only
    assert body == row.raw_bytes
    assert json.loads(body, parse_float=Decimal) == row.raw_body
    assert (CallbackType.STK, SAFARICOM, START, START) == (
        row.callback_type,
        row.source_ip,
        row.received_at,
        row.next_attempt_at,
    )
    assert (False, None, None) == (row.processed, row.disposition, row.error)
    assert {"Content-Type": "application/json", "X-Odd": "1, 2"} == row.headers
    assert ([row.id], [True]) == (host.submitted, host.recorded_when_submitted)
    assert (200, str(row.id)) == (response.status, response.callback_id)


def test_an_amount_is_parsed_without_a_float():
    """What is kept as JSON holds the amount as a Decimal."""
    host = FakeHost()

    post(host, b'{"Amount": 10.10}')

    assert {"Amount": Decimal("10.10")} == host.repository.only.raw_body


def test_the_correlation_id_is_what_the_transaction_is_found_by():
    """An STK callback is indexed by its CheckoutRequestID."""
    host = FakeHost()
    body = sample_body("stk_push__callback__success_docs")

    post(host, body)

    expected = json.loads(body)["Body"]["stkCallback"]["CheckoutRequestID"]
    assert expected == host.repository.only.correlation_id


def test_a_correlation_id_wider_than_any_index_is_not_kept():
    """A CheckoutRequestID of 5,000 characters stays in the bytes alone."""
    host = FakeHost()
    body = sample_body("stk_push__callback__success_docs")
    wanted = json.loads(body)["Body"]["stkCallback"]["CheckoutRequestID"].encode()

    post(host, body.replace(wanted, b"x" * 5000))

    assert host.repository.only.correlation_id is None
    assert b"x" * 5000 in host.repository.only.raw_bytes


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_path_is_answered_as_mpesa_wants_it(route):
    """Each callback type gets the answer that Safaricom documents for it, as JSON."""
    host = FakeHost()
    expected = {
        CallbackType.C2B_VALIDATION: {"ResultCode": "0", "ResultDesc": "Accepted"},
        CallbackType.C2B_CONFIRMATION: {"ResultCode": 0, "ResultDesc": "Success"},
        CallbackType.BILL_PAYMENT: {"resmsg": "Success", "rescode": "200"},
    }.get(route.callback_type, ACCEPTED)

    response = post(host, path=route.path)

    assert (200, expected) == (response.status, answer_of(response))
    assert ("Content-Type", "application/json") in response.headers
    assert ("Content-Length", str(len(response.body))) in response.headers
    assert route.callback_type == host.repository.only.callback_type
    assert host.submitted == list(host.repository.rows)


@pytest.mark.parametrize(
    ("callback_type", "name"),
    [("c2b/confirm", "c2b_confirmation__response__ack"), ("bills/payment", "billmanager_payment__response")],
)
def test_the_answers_are_those_of_the_samples(callback_type, name):
    """The documented answers, byte for meaning."""
    assert json.loads(sample_body(name)) == answer_of(post(FakeHost(), path=callback_type))


def test_what_the_runner_wants_done_afterwards_comes_with_the_response():
    """An inline runner's work is the response's ``after``, not done before."""
    host = FakeHost()
    ran = []
    host.after = lambda: ran.append(1)

    response = post(host)

    assert [] == ran
    response.after()
    assert [1] == ran


def test_a_runner_that_fails_does_not_cost_the_acknowledgement():
    """The log is the queue of record: a broker that is down is no reason to answer anything but 200."""
    host = FakeHost()
    host.submit_error = ConnectionError("broker")

    response = post(host)

    assert (200, 1) == (response.status, len(host.repository.rows))


def test_a_replayed_callback_is_recorded_again_and_that_is_all():
    """The same body five times is five rows, five hints and five acknowledgements; deciding is not done here."""
    host = FakeHost()
    body = sample_body("stk_push__callback__success_docs")
    webhooks = Webhooks(host)

    responses = [post(host, body, webhooks=webhooks) for _ in range(5)]

    assert [200] * 5 == [response.status for response in responses]
    assert [body] * 5 == [row.raw_bytes for row in host.repository.rows.values()]
    assert 5 == len(set(host.submitted))


def test_no_receiver_is_asked_before_the_acknowledgement_of_anything_but_a_validation():
    """Only a validation's answer is a decision; every other path calls nobody."""
    host = FakeHost()

    for route in ROUTES:
        if route.callback_type is not CallbackType.C2B_VALIDATION:
            post(host, path=route.path)

    assert [] == host.asked


def test_a_callback_is_received_in_an_event_loop():
    """areceive() answers like receive(), from a thread."""
    host = FakeHost()
    request = WebhookRequest(method="POST", path="stk/callback/", body=b"{}", peer=SAFARICOM)

    response = asyncio.run(Webhooks(host).areceive(request))

    assert (200, b"{}") == (response.status, host.repository.only.raw_bytes)


def test_an_event_loop_is_not_given_a_body_to_read_from():
    """A stream would be read in another thread than the server's, so it is refused with a TypeError."""
    request = WebhookRequest(method="POST", path="stk/callback/", body=io.BytesIO(b"{}"), peer=SAFARICOM)

    with pytest.raises(TypeError, match="expected bytes"):
        asyncio.run(Webhooks(FakeHost()).areceive(request))


def test_an_asynchronous_repository_is_refused_at_once():
    """Its add_callback() only promises to record, which must never count as recorded."""

    class Promises(Store):
        async def add_callback(self, draft):
            raise AssertionError

    with pytest.raises(TypeError, match="asynchronous"):
        Webhooks(FakeHost(Promises()))


# --- path and method


@pytest.mark.parametrize(
    "path",
    ["", "/", "stk", "stk/", "stk/other/", "stk/callback/a/b", "STK/callback/", "stk//callback/", "stk/callback//", "../stk/callback/",
     "stk/callback/" + "x" * 129, "stk/callback/é", "stk/callback/a b", "stk/callback/a%2Fb", "stk/callback/\x00", "pull/", "c2b/"],
)  # fmt: skip
def test_an_unknown_path_is_404_and_changes_nothing(path):
    """What is served nowhere has no type to be kept under."""
    host = FakeHost()

    response = post(host, path=path)

    assert (404, {}, []) == (response.status, host.repository.rows, host.submitted)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "", "POSTS"])
def test_another_method_is_405_and_changes_nothing(method):
    """Callbacks are POSTs; the answer says so."""
    host = FakeHost()

    response = post(host, method=method)

    assert (405, {}, []) == (response.status, host.repository.rows, host.submitted)
    assert ("Allow", "POST") in response.headers


@pytest.mark.parametrize("method", ["POST", "post"])
@pytest.mark.parametrize("path", ["stk/callback", "stk/callback/", "/stk/callback", "/stk/callback/"])
def test_slashes_around_a_path_do_not_matter(path, method):
    """The same path with and without its slashes is one path."""
    assert 200 == post(FakeHost(), path=path, method=method).status


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/xml", "application/json; charset=utf-16", "application/x-www-form-urlencoded",
     "multipart/form-data; boundary=x", "application/json; charset=klingon", "\x00"],
)  # fmt: skip
def test_the_content_type_is_not_believed(content_type):
    """The body is kept and read whatever its type and charset claim to be."""
    host = FakeHost()
    headers = [] if content_type is None else [("Content-Type", content_type)]

    response = post(host, b'{"a": 1}', headers=headers)

    assert (200, {"a": 1}) == (response.status, host.repository.only.raw_body)


# --- tokens


def test_a_token_in_the_path_is_recorded():
    """Without a secret any token is served: it is what the transaction is found by."""
    host = FakeHost()

    response = post(host, path="stk/callback/3f0c9a/")

    assert (200, "3f0c9a") == (response.status, host.repository.only.token)


SECRET = "canary-callback-secret-9d1f"
TOKEN = sign_token(SECRET, "0123456789abcdef" * 2)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (TOKEN, 200),
        (fixed_token(SECRET, "600000 C2B_CONFIRMATION"), 200),
        (sign_token(SECRET, "0123456789abcdef"), 200),
        (None, 404),
        ("x", 404),
        (TOKEN[:-1], 404),
        (TOKEN + "0", 404),
        (TOKEN.upper(), 404),
        ("0" + TOKEN[1:-1] + ("0" if TOKEN[-1] != "0" else "1"), 404),
        (TOKEN[32:] + TOKEN[:32], 404),
        (TOKEN[32:], 404),
        (sign_token("another secret", "0123456789abcdef" * 2), 404),
        ("0" * 64, 404),
        ("~" * 64, 404),
    ],
)
def test_with_a_secret_only_signed_tokens_are_served(token, status):
    """A guessed, cut, swapped or foreign token is answered as if nothing were there, and kept as refused."""
    host = FakeHost(callback_secret=SECRET)

    response = post(host, b'{"a":1}', path="stk/callback/" + (f"{token}/" if token else ""))

    row = host.repository.only
    assert (status, b'{"a":1}') == (response.status, row.raw_bytes)
    if status == 200:
        assert (token, None) == (row.token, row.disposition)
    else:
        assert (None, "refused", True, None, []) == (
            row.token,
            row.disposition,
            row.processed,
            row.next_attempt_at,
            host.submitted,
        )
        assert "404" in row.error


def test_a_refused_token_answers_like_an_unknown_path():
    """Whoever guesses learns nothing from the answer."""
    host = FakeHost(callback_secret=SECRET)

    assert post(host, path="nothing/here/").body == post(host, path="stk/callback/guess/").body


def test_a_secret_that_cannot_be_read_is_503_and_the_callback_is_kept_closed():
    """A vault that is down neither lets a callback in unchecked nor loses it."""

    def vault():
        raise ConnectionError("vault")

    host = FakeHost(callback_secret=vault)

    response = post(host, b"kept", path=f"stk/callback/{TOKEN}/")

    assert (503, b"kept", "refused", []) == (
        response.status,
        host.repository.only.raw_bytes,
        host.repository.only.disposition,
        host.submitted,
    )


def test_how_long_a_wrong_token_takes_is_printed():
    """A smoke test of the constant-time comparison: the figures are printed, and every answer is 404."""
    host = FakeHost(callback_secret=SECRET, refused_per_minute=1)
    webhooks = Webhooks(host)
    wrong = {"first digit wrong": ("f" if TOKEN[32] != "f" else "e"), "last digit wrong": None}
    for label, first in wrong.items():
        token = TOKEN[:32] + first + TOKEN[33:] if first else TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1")
        started = time.perf_counter()
        statuses = {post(host, path=f"stk/callback/{token}/", webhooks=webhooks).status for _ in range(300)}
        print(f"{label}: {(time.perf_counter() - started) / 300 * 1e6:.1f} us a request")
        assert {404} == statuses


# --- refusals


def test_a_refused_source_is_kept_closed_with_its_body():
    """A callback from elsewhere is answered 403, kept byte for byte, and never processed."""
    host = FakeHost()

    response = post(host, b"\x00\xff", peer="203.0.113.7")

    row = host.repository.only
    assert (403, b"\x00\xff", "203.0.113.7") == (response.status, row.raw_bytes, row.source_ip)
    assert ("refused", True, None, []) == (row.disposition, row.processed, row.next_attempt_at, host.submitted)
    assert "callback_ip_allowlist" in row.error


def test_no_more_refusals_are_kept_in_a_minute_than_the_settings_say(caplog):
    """The rest of a flood is refused and counted, and the next minute begins anew."""
    host = FakeHost(refused_per_minute=3)
    webhooks = Webhooks(host)

    first = [post(host, peer="203.0.113.7", webhooks=webhooks).status for _ in range(10)]
    kept_first = len(host.repository.rows)
    host.tick(minutes=1)
    post(host, peer="203.0.113.7", webhooks=webhooks)

    assert ([403] * 10, 3, 4) == (first, kept_first, len(host.repository.rows))
    assert "7 refused callbacks were not kept" in caplog.text


def test_a_flood_of_refusals_does_not_keep_a_real_callback_out():
    """Only refusals count against the limit."""
    host = FakeHost(refused_per_minute=1)
    webhooks = Webhooks(host)
    for _ in range(5):
        post(host, peer="203.0.113.7", webhooks=webhooks)

    assert 200 == post(host, webhooks=webhooks).status
    assert 2 == len(host.repository.rows)


def test_with_the_check_off_every_source_is_served_and_recorded():
    """The address is kept all the same."""
    host = FakeHost(verify_callback_source_ip=False)

    assert 200 == post(host, peer="203.0.113.7").status
    assert "203.0.113.7" == host.repository.only.source_ip


def test_a_refusal_that_cannot_be_recorded_is_refused_all_the_same(tmp_path):
    """It does not go to the spool either, which strangers could fill."""
    host = FakeHost(Store([StorageUnavailable("down")] * 2), spool_dir=tmp_path / "spool")

    assert 403 == post(host, peer="203.0.113.7").status
    assert 0 == Spool(tmp_path / "spool").waiting()


# --- the size


class Recorder(io.BytesIO):
    """A body that remembers how much was read of it."""

    taken = 0

    def read(self, size=-1):
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("announced", ["262145", "999999999999", "9" * 400, "0" * 3 + "262145"])
def test_a_body_announced_too_large_is_refused_without_a_look(announced):
    """413 before the first byte is read; the refusal is kept, without a body."""
    host = FakeHost()
    body = Recorder(b"x" * 300_000)

    response = post(host, body, headers={"Content-Length": announced})

    row = host.repository.only
    assert (413, 0, b"", "refused") == (response.status, body.taken, row.raw_bytes, row.disposition)


@pytest.mark.parametrize(
    "headers", [{}, {"Transfer-Encoding": "chunked"}, {"Transfer-Encoding": "chunked", "Content-Length": "5"}, {"Content-Length": "-5"},
                {"Content-Length": "many"}, {"Content-Length": "٣"}, {"Content-Length": "+9"}]
)  # fmt: skip
def test_a_body_of_unknown_length_is_read_one_byte_beyond_the_limit(headers):
    """Without a length that can be believed no more than the limit and one byte is taken in."""
    host = FakeHost(max_body_bytes=1000)
    body = Recorder(b"x" * 300_000)

    response = post(host, body, headers=headers)

    assert (413, 1001, b"") == (response.status, body.taken, host.repository.only.raw_bytes)


@pytest.mark.parametrize("form", [bytes, io.BytesIO])
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "1000"}])
def test_a_body_of_exactly_the_limit_is_served(form, headers):
    """The limit itself is allowed."""
    host = FakeHost(max_body_bytes=1000)

    response = post(host, form(b"x" * 1000), headers=headers)

    assert (200, b"x" * 1000) == (response.status, host.repository.only.raw_bytes)


def test_bytes_beyond_the_limit_are_refused():
    """A body that is in memory already is measured too."""
    host = FakeHost(max_body_bytes=1000)

    assert 413 == post(host, b"x" * 1001).status


def test_no_more_is_read_than_was_announced():
    """A server's raw stream would block beyond it, and what follows is another request."""
    host = FakeHost()
    body = Recorder(b'{"a":1}GET / HTTP/1.1')

    post(host, body, headers={"content-length": "7"})

    assert (b'{"a":1}', 7) == (host.repository.only.raw_bytes, body.taken)


class Breaking:
    """A connection that breaks after the first part."""

    def __init__(self, *parts):
        self.parts = list(parts)

    def read(self, size):
        if not self.parts:
            raise ConnectionResetError("peer")
        return self.parts.pop(0)


@pytest.mark.parametrize("body", [io.BytesIO(b'{"a":'), Breaking(b'{"a":'), b'{"a":'])
def test_a_body_that_was_cut_short_is_400_and_kept(body):
    """What came is kept as refused, and the sender is told that it did not arrive whole."""
    host = FakeHost()

    response = post(host, body, headers={"Content-Length": "50"})

    row = host.repository.only
    assert (400, b'{"a":', "refused", []) == (response.status, row.raw_bytes, row.disposition, host.submitted)


def test_a_whole_body_under_a_wrong_length_is_served():
    """A proxy that unpacked a body and kept its old length must not cost a payment: what is JSON is whole."""
    host = FakeHost()

    response = post(host, io.BytesIO(b'{"a":1}'), headers={"Content-Length": "50"})

    assert (200, {"a": 1}, 1) == (response.status, host.repository.only.raw_body, len(host.submitted))


# --- the repository fails


def test_a_busy_store_is_asked_again_a_few_times():
    """Three locks in a row cost nothing but the wait."""
    host = FakeHost(Store([StorageBusy("locked")] * 3))
    pauses = []

    response = post(host, webhooks=Webhooks(host, pause=pauses.append))

    assert (200, 4, 1) == (response.status, host.repository.calls, len(host.repository.rows))
    assert 3 == len(pauses)
    assert sum(pauses) < 1


def test_a_store_that_stays_busy_is_503_after_a_bounded_number_of_attempts():
    """Without a spool nothing that is not durable is acknowledged."""
    host = FakeHost(Store([StorageBusy("locked")] * 100))

    response = post(host)

    assert (503, {}, []) == (response.status, host.repository.rows, host.submitted)
    assert 5 == host.repository.calls
    assert ("Retry-After", "60") in response.headers
    assert "ResultCode" not in response.body.decode()


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), OSError(28, "full"), RuntimeError("a driver's own")])
def test_a_store_that_fails_is_503_without_a_spool(failure):
    """Whatever the store raises, nothing is acknowledged and nothing is handed on."""
    host = FakeHost(Store([failure] * 10))

    response = post(host)

    assert (503, {}, []) == (response.status, host.repository.rows, host.submitted)


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), ValueError("no NUL in jsonb")])
def test_a_store_that_cannot_take_the_parsed_body_gets_the_bytes_alone(failure):
    """What was read out of a body never costs the body."""
    host = FakeHost(Store([failure]))
    body = sample_body("stk_push__callback__success_docs")

    response = post(host, body, headers={"A": "b"})

    row = host.repository.only
    assert (200, body, None, None, {}) == (
        response.status,
        row.raw_bytes,
        row.raw_body,
        row.correlation_id,
        row.headers,
    )
    assert [row.id] == host.submitted


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), StorageBusy("locked"), RuntimeError("driver")])
def test_with_a_spool_the_callback_is_acknowledged_and_taken_in_later(tmp_path, failure):
    """The same row, under the same id, is in the store once it is back."""
    host = FakeHost(Store([failure] * 5), spool_dir=tmp_path / "spool")
    body = sample_body("stk_push__callback__success_docs")

    response = post(host, body, path="stk/callback/abc/", headers={"A": "b"})
    host.repository.failures.clear()
    taken = Spool(tmp_path / "spool").take_in(host.repository)

    plain = FakeHost()
    post(plain, body, path="stk/callback/abc/", headers={"A": "b"})
    assert (200, ACCEPTED, []) == (response.status, answer_of(response), host.submitted)
    assert 1 == taken
    assert plain.repository.only == host.repository.only


def test_a_spool_that_is_full_is_503(tmp_path, monkeypatch):
    """No disk, no acknowledgement, and nothing half written is left."""
    host = FakeHost(Store([StorageUnavailable("down")] * 5), spool_dir=tmp_path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpesa_core.spool.os.fsync", full)

    response = post(host)

    assert (503, []) == (response.status, list(tmp_path.iterdir()))


def test_a_store_that_is_down_for_many_callbacks_loses_none(tmp_path):
    """Every acknowledged body is in the store after it came back, byte for byte."""
    host = FakeHost(spool_dir=tmp_path)
    webhooks = Webhooks(host)
    bodies = {b'{"n": %d}' % number for number in range(200)}
    host.repository.failures = [StorageUnavailable("down")] * 1000

    acknowledged = {body for body in bodies if post(host, body, webhooks=webhooks).status == 200}
    host.repository.failures.clear()
    Spool(tmp_path).take_in(host.repository)

    assert bodies == acknowledged
    assert acknowledged == {row.raw_bytes for row in host.repository.rows.values()}


def test_a_defect_is_answered_and_never_raised(caplog):
    """Whatever the host gets wrong, the server gets a response, which acknowledges nothing."""
    host = FakeHost()
    host.new_id = lambda: 1 / 0

    response = post(host)

    assert (500, {}) == (response.status, host.repository.rows)
    assert "ZeroDivisionError" in caplog.text


def test_a_decoder_with_a_defect_does_not_cost_a_callback(monkeypatch):
    """The correlation id is a convenience; the record is not."""
    host = FakeHost()
    monkeypatch.setattr("mpesa_core.daraja.callbacks.decode_callback", lambda *_: 1 / 0, raising=False)

    response = post(host, b'{"a": 1}')

    row = host.repository.only
    assert (200, b'{"a": 1}', None, [row.id]) == (response.status, row.raw_bytes, row.raw_body, host.submitted)


def test_a_credential_that_mpesa_echoes_is_in_the_bytes_alone():
    """A queue-timeout notice repeats our request: what people and indexes see of it holds no credential."""
    host = FakeHost()
    body = sample_body("b2c__callback__queue_timeout_echoes_request")
    credential = json.loads(body)["SecurityCredential"]

    post(host, body, path="b2c/timeout/")

    row = host.repository.only
    assert (body, json.loads(body)["OriginatorConversationID"]) == (row.raw_bytes, row.correlation_id)
    assert credential not in str(row.raw_body)


# --- C2B validation

VALIDATION = sample_body("c2b_validation__callback__2017")


def validate(host, body=VALIDATION):
    return answer_of(post(host, body, path="c2b/validate/"))


def test_a_validation_is_recorded_before_the_receivers_are_asked_and_handed_on_after():
    """Recorded, decided, answered, and then closed in the log like every other callback."""
    host = FakeHost()
    seen = []
    host.decide = lambda payload: seen.append((len(host.repository.rows), list(host.submitted), payload["TransAmount"]))

    answer = validate(host)

    assert {"ResultCode": "0", "ResultDesc": "Accepted"} == answer
    assert [(1, [], json.loads(VALIDATION)["TransAmount"])] == seen
    assert list(host.repository.rows) == host.submitted


@pytest.mark.parametrize("code", ["12", "13", "14", "15", "16"])
def test_a_rejection_is_passed_on_as_documented(code):
    """Each documented reason reaches M-PESA as it stands."""
    host = FakeHost()
    expected = json.loads(sample_body(f"c2b_validation__response__reject_C2B000{code}"))
    host.decide = lambda _payload: dict(expected)

    assert expected == validate(host)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, {"ResultCode": "0", "ResultDesc": "Accepted"}),
        ({"ResultCode": 0}, {"ResultCode": "0", "ResultDesc": "Accepted"}),
        ({"ResultCode": "0", "ResultDesc": "Fine"}, {"ResultCode": "0", "ResultDesc": "Fine"}),
        ({"ResultCode": "00000000"}, {"ResultCode": "0", "ResultDesc": "Accepted"}),
        ({"ResultCode": 0.0}, {"ResultCode": "0", "ResultDesc": "Accepted"}),
        ({"ResultCode": Decimal("0.0")}, {"ResultCode": "0", "ResultDesc": "Accepted"}),
        (
            {"ResultCode": 0, "ThirdPartyTransID": 1234},
            {"ResultCode": "0", "ResultDesc": "Accepted", "ThirdPartyTransID": "1234"},
        ),
        ({"ResultCode": "c2b00011 "}, {"ResultCode": "C2B00011", "ResultDesc": "Rejected"}),
        ({"ResultCode": 1}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": "1"}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": -1}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": "C2B99999"}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": "no"}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": 1.5}, None),
        ({"ResultCode": 1, "ResultDesc": "x" * 200}, {"ResultCode": "C2B00016", "ResultDesc": "x" * 90}),
        ({"ResultCode": 1, "ResultDesc": 7}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({"ResultCode": 1, "ResultDesc": " "}, {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}),
        ({}, None),
        ({"resultCode": 1}, None),
        ({"ResultCode": None}, None),
        ({"ResultCode": ""}, None),
        ({"ResultCode": True}, None),
        ({"ResultCode": [1]}, None),
        (False, None),
        (True, None),
        ("reject", None),
        (17, None),
        (["ResultCode"], None),
    ],
)
def test_a_receivers_answer_is_made_what_mpesa_wants(answer, expected):
    """Zero accepts, every other code rejects, and what cannot be understood is no decision."""
    assert expected == normalised(answer)


@pytest.mark.parametrize(
    ("default", "expected"),
    [("accept", {"ResultCode": "0", "ResultDesc": "Accepted"}), ("reject", {"ResultCode": "C2B00016", "ResultDesc": "Rejected"})],
)  # fmt: skip
@pytest.mark.parametrize("failure", ["raises", "exits", "odd", "late", "unreadable"])
def test_the_default_answers_when_the_receivers_do_not(default, expected, failure, caplog):
    """A receiver that raises, answers nonsense or is late leaves the decision to the settings; the log says so."""
    host = FakeHost(c2b_validation_default=default, c2b_validation_deadline=0.05)
    release = threading.Event()

    def decide(_payload):
        if failure == "raises":
            raise KeyError("254712345678")
        if failure == "exits":
            raise SystemExit(1)
        if failure == "late":
            release.wait(10)
        return "odd"

    host.decide = decide
    answer = validate(host, b"[not json" if failure == "unreadable" else VALIDATION)
    release.set()

    assert expected == answer
    assert "answered by default" in caplog.text
    assert "254712345678" not in caplog.text
    assert 1 == len(host.submitted)


def test_receivers_that_hang_leave_room_for_the_deadline_only():
    """More hanging validations than there are threads are still answered in time."""
    from mpesa_core.webhooks.validation import Validator

    release = threading.Event()
    validator = Validator(lambda _payload: release.wait(60), deadline=0.05, default="reject", threads=2)
    before = threading.active_count()

    started = time.monotonic()
    answers = [validator.decide({}, number)["ResultCode"] for number in range(5)]
    taken = time.monotonic() - started

    try:
        assert ["C2B00016"] * 5 == answers
        assert threading.active_count() - before <= 2
        assert taken < 30
    finally:
        release.set()


def test_a_validation_that_cannot_be_recorded_is_not_decided():
    """Nothing durable, no answer that counts: M-PESA applies its own default."""
    host = FakeHost(Store([StorageUnavailable("down")] * 5))

    response = post(host, VALIDATION, path="c2b/validate/")

    assert (503, []) == (response.status, host.asked)


def test_a_spooled_validation_is_decided(tmp_path):
    """The spool is as durable as the store, so the receivers are asked."""
    host = FakeHost(Store([StorageUnavailable("down")] * 5), spool_dir=tmp_path)
    host.decide = lambda _payload: {"ResultCode": "C2B00012", "ResultDesc": "Rejected"}

    assert {"ResultCode": "C2B00012", "ResultDesc": "Rejected"} == validate(host)
    assert 1 == Spool(tmp_path).waiting()


# --- secrets and phone numbers


def test_credentials_in_headers_are_not_kept():
    """M-PESA sends none, so whoever's they are, they are not ours to store; their names are kept."""
    host = FakeHost()
    headers = [
        ("Authorization", "Basic canary"),
        ("COOKIE", "session=canary"),
        ("Proxy-Authorization", "canary"),
        ("Host", "a"),
    ]

    post(host, headers=headers)

    assert {
        "Authorization": "…",
        "COOKIE": "…",
        "Proxy-Authorization": "…",
        "Host": "a",
    } == host.repository.only.headers


def test_headers_that_no_store_takes_are_escaped():
    """NUL and lone surrogates are written as escapes, so that they cost no callback."""
    host = FakeHost()

    post(host, headers=[("X\x00", "a\ud800b\x00é\x85")])

    assert {"X\\u0000": "a\\ud800b\\u0000é\x85"} == host.repository.only.headers


def test_no_secret_and_no_phone_number_reaches_the_log(caplog, tmp_path):
    """Bodies, tokens, credentials, phone numbers and the texts of foreign exceptions stay out of every log line, at any level."""
    caplog.set_level(logging.DEBUG)
    canaries = ["254700111222", "0700111222", "canary-header", "canary-body", "canary-error", SECRET, TOKEN]
    body = json.dumps({"MSISDN": "254700111222", "SecurityCredential": "canary-body"}).encode()
    error = RuntimeError("INSERT failed for 254700111222 canary-error")
    headers = {"Authorization": "canary-header", "X-Forwarded-For": "canary-header"}
    for failures in ([], [error], [error] * 9, [StorageUnavailable("row of 254700111222")] * 9):
        for peer in (SAFARICOM, "203.0.113.7"):
            for path in (f"c2b/validate/{TOKEN}/", "c2b/validate/canary-body/"):
                for spool in (None, tmp_path / "spool", tmp_path / "file"):
                    (tmp_path / "file").write_text("in the way")
                    host = FakeHost(Store(list(failures)), callback_secret=SECRET, spool_dir=spool)
                    host.submit_error = error
                    host.decide = lambda payload: {}[payload["SecurityCredential"]]
                    response = post(host, body, path=path, headers=headers, peer=peer)
                    request = WebhookRequest(method="POST", path=path, headers=headers, body=body, peer=peer)
                    for text in (
                        repr(request),
                        repr(response),
                        response.body.decode(),
                        *map(repr, host.repository.rows.values()),
                    ):
                        assert [] == [canary for canary in canaries if canary in text]

    assert caplog.records
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert [] == [canary for canary in canaries if canary in logged]


def test_the_sdks_own_errors_are_quoted_in_the_log_and_others_are_not():
    """An outline names class and place; only a text that is known to hold no secret is added."""
    from mpesa_core.outline import outline

    def fail(error):
        raise error

    def raised(error):
        try:
            fail(error)
        except Exception as caught:
            return outline(caught)

    assert raised(KeyError("canary")).startswith("KeyError at test_webhooks.py:")
    assert "canary" not in raised(KeyError("canary"))
    assert raised(StorageBusy("locked by 254712345678")).endswith(": locked by 2547…678")
    assert "ConfigurationError" in raised(ConfigurationError(["a"]))


def test_a_request_and_a_response_are_values():
    """They are frozen, and headers may come as a mapping or as pairs."""
    request = WebhookRequest(method="POST", path="a", headers={"A": "b"}, peer="c")

    assert (("A", "b"),) == request.headers
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.peer = "d"


def test_with_the_core_memory_repository_the_record_is_due_at_once():
    """What was received is what a sweep finds."""
    from mpesa_core.repository.memory import MemoryRepository

    host = FakeHost(MemoryRepository())

    post(host, b"not json")

    (due,) = host.repository.due_callbacks(START, 10)
    assert (UUID(int=1), b"not json", None) == (due.id, due.raw_bytes, due.raw_body)
