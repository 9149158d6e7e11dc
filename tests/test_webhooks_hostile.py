"""Tests of hostile and malformed input: bodies by hypothesis and by hand, and raw sockets against a real server."""

from __future__ import annotations

import gzip
import hashlib
import random
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpesa_core.routes import ROUTES
from mpesa_core.webhooks import WebhookRequest, Webhooks
from tests import trials
from tests.webhook_host import SAFARICOM, SAMPLES, FakeHost, Store, post, sample_body

TRIALS = trials.scaled(2000)
CALLBACKS = sorted(path.stem for path in SAMPLES.glob("*callback*.json"))
PATHS = [route.path for route in ROUTES]


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Hashes(Store):
    """Keeps the hash of the last body alone, so that a hundred thousand fit in memory."""

    def add_callback(self, draft):
        self.last = sha256(draft.raw_bytes)
        repr(draft.raw_body)  # what was parsed can be walked
        if draft.correlation_id is not None:
            draft.correlation_id.encode()
        self.calls += 1
        return draft.id


def check(host, webhooks, body, path):
    before = host.repository.calls
    response = post(host, body, path=path, webhooks=webhooks)
    assert 200 == response.status
    assert before + 1 == host.repository.calls
    assert sha256(body) == host.repository.last


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=max(100, TRIALS // 10), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.binary(max_size=2000) | st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")),
    path=st.sampled_from(PATHS),
)
def test_any_bytes_are_kept_exactly_and_answered(body, path):
    """No body is answered with anything but 200, and what is stored has the hash of what was sent."""
    host = FakeHost(Hashes())
    check(host, Webhooks(host), body, path)


@settings(max_examples=max(100, TRIALS // 10), deadline=None, suppress_health_check=list(HealthCheck))
@given(document=JSON, path=st.sampled_from(PATHS))
def test_any_json_is_kept_exactly_and_answered(document, path):
    """JSON of any shape where a callback is expected, NaN and infinities included."""
    import json

    host = FakeHost(Hashes())
    check(host, Webhooks(host), json.dumps(document).encode(), path)


def mutated(body, random):
    """A valid body with one to four defects of the kinds that networks, proxies and people make."""
    content = bytearray(body)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(content) + 1)
        kind = random.randrange(9)
        if kind == 0 and content:
            content[place % len(content)] = random.randrange(256)
        elif kind == 1:
            del content[place : place + random.randint(1, 40)]
        elif kind == 2:
            content[place:place] = random.randbytes(random.randint(1, 8))
        elif kind == 3:
            content[place:place] = content[: random.randint(0, 60)]
        elif kind == 4:
            del content[place:]
        elif kind == 5:
            content = bytearray(
                content.decode("latin-1").encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-8"]))
            )
        elif kind == 6:
            junk = [
                b"NaN",
                b"-Infinity",
                b"1e400",
                b'"\\ud800"',
                b"\\u0000",
                b"[[[[[[",
                b'{"a":',
                b"9" * 50,
                b"true",
                b"null",
            ]
            content[place:place] = random.choice(junk)
        elif kind == 7:
            content = bytearray(
                bytes(content).replace(
                    random.choice([b":", b",", b'"', b"{", b"0"]), random.choice([b"", b"::", b"\x00", b"[", b'""']), 2
                )
            )
        else:
            content = bytearray(bytes(content).replace(b"Value", b"\xc2\xa0Value").replace(b"}", b"}}", 1))
    return bytes(content)


def test_mutations_of_real_callbacks_are_kept_exactly_and_answered():
    """Seeded mutations of every sample callback on every path: 100 % stored with the hash that was sent."""
    host = FakeHost(Hashes())
    webhooks = Webhooks(host)
    bodies = [sample_body(name) for name in CALLBACKS]
    for trial in range(TRIALS):
        chance = random.Random(trial)
        body = mutated(chance.choice(bodies), chance)
        try:
            check(host, webhooks, body, chance.choice(PATHS))
        except AssertionError:
            print(f"seed of the mutation: {trial}")
            raise
    assert TRIALS == host.repository.calls


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_sample_callback_is_served_on_every_path(name):
    """Also on a path where it does not belong."""
    host = FakeHost(Hashes())
    webhooks = Webhooks(host)
    for path in PATHS:
        check(host, webhooks, sample_body(name), path)


BOMBS = {
    "depth of lists": b"[" * 200_000,
    "closed depth of lists": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"a":' * 40_000,
    "closed depth of objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "depth inside a callback": b'{"Body":{"stkCallback":' + b"[" * 200_000,
    "100 k keys": b"{" + b",".join(b'"%x":0' % number for number in range(25_000)) + b"}",
    "the same key": b"{" + b",".join([b'"a":0'] * 40_000) + b"}",
    "an integer of 10^5 digits": b'{"a":' + b"9" * 100_000 + b"}",
    "a fraction of 10^5 digits": b'{"a":0.' + b"9" * 100_000 + b"}",
    "an exponent": b'{"a":1e999999999}',
    "a negative exponent": b'{"a":1e-999999999}',
    "a long text": b'"' + b"a" * 260_000 + b'"',
    "escapes": b'"' + b"\\u0000" * 43_000 + b'"',
    "lone surrogates": b'["' + b'\\ud800","' * 29_000 + b'"]',
    "many small lists": b"[" + b"[]," * 80_000 + b"[]]",
    "many small objects": b"[" + b"{}," * 80_000 + b"{}]",
    "spaces": b" " * 262_144,
    "colons": b":" * 262_144,
    "quotes": b'"' * 262_144,
    "backslashes": b'"' + b"\\" * 262_143,
    "NUL": b"\x00" * 262_144,
    "invalid UTF-8": b"\xff" * 262_144,
    "UTF-16": ("\ufeff" + "[" * 100_000).encode("utf-16"),
    "result parameters": b'{"Result":{"ResultParameters":{"ResultParameter":[' + b'{"Key":"a"},' * 20_000 + b'{"Key":"b"}]}}}',
    "a balance of pipes": b'{"Result":{"ResultCode":0,"ResultParameters":{"ResultParameter":{"Key":"AccountBalance","Value":"' + b"|&" * 120_000 + b'"}}}}',
    "an amount of digits": b'{"TransAmount":"' + b"9" * 250_000 + b'","TransID":"A"}',
    "a phone of spaces": b'{"MSISDN":"' + b" " * 250_000 + b'","TransID":"A"}',
    "a time of digits": b'{"TransTime":"' + b"2" * 250_000 + b'","TransID":"A"}',
    "a code of digits": b'{"Body":{"stkCallback":{"ResultCode":"' + b"1" * 250_000 + b'"}}}',
    "a description of digits": b'{"Body":{"stkCallback":{"ResultCode":0,"ResultDesc":"' + b"0712 " * 50_000 + b'"}}}',
}  # fmt: skip


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_a_json_bomb_is_kept_in_bounded_time_and_memory(body):
    """Each is served within a bound on every path, and the process lives; the times are printed."""
    assert len(body) <= 262_144
    host = FakeHost(Hashes(), c2b_validation_deadline=7)
    webhooks = Webhooks(host)
    check(host, webhooks, body, "stk/callback/")
    for path in ("stk/callback/", "c2b/confirm/", "b2c/result/", "balance/result/", "b2c/timeout/"):
        times = []
        for _ in range(3):
            started = time.process_time()
            check(host, webhooks, body, path)
            times.append(time.process_time() - started)
        print(f"{path} {min(times) * 1000:.1f} ms")
        assert min(times) < 0.15  # 50 ms on an idle machine; the bound leaves room for a busy one
    tracemalloc.start()
    try:
        check(host, webhooks, body, "stk/callback/")
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


# --- a real server


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    webhooks: Webhooks


class Handler(BaseHTTPRequestHandler):
    """The thinnest adapter there is: it hands the socket's own stream in, with chunks taken out of their frames."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    server: Server

    def do_POST(self):
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        self.answer(Chunks(self.rfile) if chunked else self.rfile if "Content-Length" in self.headers else b"")

    def do_GET(self):
        self.answer(b"")

    def answer(self, body):
        request = WebhookRequest(
            method=self.command, path=self.path, headers=self.headers.items(), body=body, peer=self.client_address[0]
        )
        response = self.server.webhooks.receive(request)
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)
        self.close_connection = True

    def log_message(self, *args):
        pass


class Chunks:
    """The body of a chunked request, read as it is asked for; broken framing raises, as servers do."""

    def __init__(self, stream):
        self.stream, self.left, self.done = stream, 0, False

    def read(self, size):
        if self.done:
            return b""
        if not self.left:
            self.left = int(self.stream.readline(20).split(b";")[0], 16)
            if not self.left:
                self.done = True
                return b""
        part = self.stream.read(min(size, self.left))
        self.left -= len(part)
        if not self.left:
            self.stream.readline(4)
        return part


@contextmanager
def serving(**options):
    host = FakeHost(**{"callback_ip_allowlist": ["127.0.0.1"], **options})
    server = Server(("127.0.0.1", 0), Handler)
    server.webhooks = Webhooks(host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host, server.server_address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def exchange(address, *parts, finish=True):
    """Send the parts as they are and return the status; a server that closes while we still send is fine."""
    with socket.create_connection(address, timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    return int(answer.split(b" ", 2)[1]) if answer else 0


def head(*lines, path="/stk/callback/"):
    return b"\r\n".join([b"POST %s HTTP/1.1" % path.encode(), b"Host: a", *lines, b"", b""])


def test_a_callback_comes_in_over_a_socket():
    """The harness itself works: a whole callback is recorded and acknowledged."""
    body = sample_body("stk_push__callback__success_docs")
    with serving() as (host, address):
        assert 200 == exchange(address, head(b"Content-Length: %d" % len(body)), body)
        assert body == host.repository.only.raw_bytes


def test_a_gigabyte_announced_is_refused_before_it_is_sent():
    """The refusal comes while the sender still holds its body."""
    with serving() as (host, address):
        assert 413 == exchange(address, head(b"Content-Length: 1073741824"), finish=False)
        assert ("refused", b"") == (host.repository.only.disposition, host.repository.only.raw_bytes)


@pytest.mark.parametrize("framing", ["announced", "chunked", "one chunk"])
def test_a_huge_body_is_refused_in_bounded_memory(framing):
    """32 MiB are refused at the limit, whatever announces them; memory grows by no more than a few limits."""
    block = b"x" * 65_536
    with serving() as (host, address):
        exchange(address, head(b"Content-Length: 2"), b"{}")
        tracemalloc.start()
        try:
            if framing == "announced":
                parts = [head(b"Content-Length: 33554432"), *[block] * 512]
            elif framing == "chunked":
                parts = [head(b"Transfer-Encoding: chunked"), *[b"10000\r\n" + block + b"\r\n"] * 512, b"0\r\n\r\n"]
            else:
                parts = [head(b"Transfer-Encoding: chunked"), b"2000000\r\n", *[block] * 512]
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            status = exchange(address, *parts)
            grown = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        print(f"{framing}: status {status}, peak {grown} bytes")
        assert status in (413, 0)  # 0: the connection was reset under the sender before it read the answer
        assert grown < 2 * 262_144 + 400_000  # twice the limit, and what a connection and the answer take
        (row,) = list(host.repository.rows.values())[1:]
        assert ("refused", b"") == (row.disposition, row.raw_bytes)
        assert row.error.startswith("HTTP 413")
        assert 200 == exchange(address, head(b"Content-Length: 2"), b"{}")  # and the server lives


def test_a_length_that_promises_too_much_is_no_acknowledgement():
    """The body ends before its announced end: 400, and what came is kept."""
    with serving() as (host, address):
        assert 400 == exchange(address, head(b"Content-Length: 1000"), b'{"a":')
        assert (b'{"a":', "refused") == (host.repository.only.raw_bytes, host.repository.only.disposition)


def test_a_length_that_promises_too_little_ends_the_body():
    """HTTP says so: what follows is not part of this callback, and the connection is closed."""
    with serving() as (host, address):
        assert 200 == exchange(address, head(b"Content-Length: 7"), b'{"a":1}POST /stk/callback/ HTTP/1.1\r\n\r\n')
        assert b'{"a":1}' == host.repository.only.raw_bytes


@pytest.mark.parametrize("length", [b"-1", b"abc", b"0x10", b"7, 7", b"1e3", b"", b" ", b"\xd9\xa3"])
def test_a_length_that_is_none_is_survived(length):
    """Whatever stands there, the answer is no server error and nothing blocks."""
    with serving() as (host, address):
        assert exchange(address, head(b"Content-Length: " + length), b'{"a":1}') in (200, 400, 413)
        assert len(host.repository.rows) == 1


def test_two_lengths_are_not_guessed_between():
    """The body is read to its end, as far as the limit."""
    with serving() as (host, address):
        assert 200 == exchange(address, head(b"Content-Length: 3", b"Content-Length: 7"), b'{"a":1}')
        assert b'{"a":1}' == host.repository.only.raw_bytes


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-5\r\nabc", b"5\r\nab", b"\r\n", b"ffffffffffffffff\r\nabc", b"5\nab"])
def test_broken_chunks_are_survived(chunks):
    """Broken framing is refused with what came of it, never a server error."""
    with serving() as (host, address):
        assert exchange(address, head(b"Transfer-Encoding: chunked"), chunks) in (200, 400)
        assert len(host.repository.rows) == 1


def test_chunks_are_put_together():
    """A chunked callback is a callback."""
    with serving() as (host, address):
        chunks = b'3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n'
        assert 200 == exchange(address, head(b"Transfer-Encoding: chunked"), chunks)
        assert {"a": 1} == host.repository.only.raw_body


def test_a_gzip_bomb_is_never_inflated():
    """M-PESA compresses nothing: the packed bytes are kept as they came, as something that cannot be read."""
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < 262_144
    with serving() as (host, address):
        tracemalloc.start()
        try:
            status = exchange(address, head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(bomb)), bomb)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (200, sha256(bomb), None) == (
            status,
            sha256(host.repository.only.raw_bytes),
            host.repository.only.raw_body,
        )
        assert peak < 4 * 1024 * 1024


def test_a_connection_that_is_reset_loses_nothing_that_was_acknowledged():
    """A reset in the middle of a body acknowledges nothing, and the next callback is served."""
    with serving() as (host, address):
        connection = socket.create_connection(address, timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(head(b"Content-Length: 1000") + b"{")
        connection.close()
        assert 200 == exchange(address, head(b"Content-Length: 2"), b"{}")
        assert [b"{}"] == [row.raw_bytes for row in host.repository.rows.values() if row.disposition is None]


def test_a_slow_sender_does_not_hold_up_others():
    """While one body trickles in, another callback is answered."""
    with serving() as (host, address), socket.create_connection(address, timeout=20) as slow:
        slow.sendall(head(b"Content-Length: 10") + b"{")
        assert 200 == exchange(address, head(b"Content-Length: 2"), b"{}")
        slow.sendall(b'"aaaa":1}')
        assert b"200" in slow.recv(65536)
        assert [b"{}", b'{"aaaa":1}'] == [row.raw_bytes for row in host.repository.rows.values()]


def test_a_stranger_on_the_socket_is_refused_whatever_it_forwards():
    """The peer's own address decides."""
    with serving(callback_ip_allowlist=[SAFARICOM]) as (host, address):
        lines = [b"X-Forwarded-For: " + SAFARICOM.encode()] * 20
        assert 403 == exchange(address, head(*lines, b"Content-Length: 2"), b"{}")
        assert ("127.0.0.1", b"{}") == (host.repository.only.source_ip, host.repository.only.raw_bytes)


def test_other_methods_and_paths_over_a_socket():
    """GET is 405, an unknown path 404, and nothing is stored."""
    with serving() as (host, address):
        assert 405 == exchange(address, b"GET /stk/callback/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert 404 == exchange(address, head(b"Content-Length: 0", path="/stk/callback/../../etc/"))
        assert {} == host.repository.rows
