"""The WSGI application: checked by the standard library's validator, and served on loopback."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import StorageUnavailable
from mpesa_core.payments.records import Disposition
from mpesa_core.webhooks import Webhooks
from mpesa_core.webhooks.wsgi import wsgi_application
from tests.webhook_host import SAFARICOM, FakeHost, Store

BODY = b'{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}'
TOKEN = "0123456789abcdef"


def application(host, **options):
    return wsgi_application(Webhooks(host, pause=lambda _seconds: None), **options)


def environ_of(path, body=BODY, **changes):
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "REMOTE_ADDR": SAFARICOM,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **changes,
    }
    environ = {name: value for name, value in environ.items() if value is not ...}
    setup_testing_defaults(environ)
    return environ


def call(app, environ):
    """The status, headers and body of one request, whose response is closed as a server would."""
    started = []
    pieces = app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    try:
        body = b"".join(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    [(status, headers)] = started
    return status, dict(headers), body


# --- by the book


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/pay/stk/callback/", "200 OK"),
        ("POST", "/pay/nowhere/", "404 Not Found"),
        ("GET", "/pay/stk/callback/", "405 Method Not Allowed"),
        ("POST", "/", "404 Not Found"),
    ],
)
def test_the_validator_finds_no_fault(method, path, status):
    """wsgiref.validate checks the environ's use, the headers, the iterable and its close, for each kind of answer."""
    environ = environ_of(path, REQUEST_METHOD=method, QUERY_STRING="")
    came, headers, body = call(validator(application(FakeHost(), prefix="/pay/")), environ)
    assert (status, str(len(body))) == (came, headers["Content-Length"])
    assert json.loads(body)


def test_a_callback_is_recorded_as_it_came():
    """Bytes, type, token, source and headers reach the record."""
    host = FakeHost()
    status, _, body = call(
        application(host, prefix="/pay/"), environ_of(f"/pay/stk/callback/{TOKEN}", HTTP_X_REQUEST_ID="a-1")
    )
    row = host.repository.only
    assert ("200 OK", 0) == (status, json.loads(body)["ResultCode"])
    assert (BODY, CallbackType.STK, TOKEN, SAFARICOM) == (row.raw_bytes, row.callback_type, row.token, row.source_ip)
    assert {"X-Request-Id": "a-1", "Content-Type": "application/json", "Content-Length": str(len(BODY))} == {
        name: value for name, value in row.headers.items() if name != "Host"
    }


@pytest.mark.parametrize("prefix", ["/pay/", "/pay", "pay", "pay/"])
def test_a_prefix_may_be_written_in_any_way(prefix):
    """With or without slashes it means the same."""
    assert "200 OK" == call(application(FakeHost(), prefix=prefix), environ_of("/pay/stk/callback/"))[0]


@pytest.mark.parametrize("prefix", ["/", ""])
def test_without_a_prefix_the_paths_are_served_at_the_root(prefix):
    """So it is where a server mounts the application: SCRIPT_NAME holds the prefix, and PATH_INFO what is below."""
    environ = environ_of("/stk/callback/", SCRIPT_NAME="/pay")
    assert "200 OK" == call(application(FakeHost(), prefix=prefix), environ)[0]


@pytest.mark.parametrize("path", ["", "/", "/pay", "/stk/callback/", "/payx/stk/callback/", "/x/pay/stk/callback/"])
def test_outside_of_the_prefix_there_is_nothing(path):
    """404, and nothing is recorded."""
    host = FakeHost()
    assert "404 Not Found" == call(application(host, prefix="/pay/"), environ_of(path))[0]
    assert not host.repository.rows


def test_work_begins_when_the_response_is_closed():
    """The inline runner's part runs once the server has handed the answer over, and not before."""
    host = FakeHost()
    done = []
    host.after = lambda: done.append("worked")
    pieces = application(host)(environ_of("/stk/callback/"), lambda *_: None)
    assert b"".join(pieces)
    assert [] == done
    pieces.close()
    assert ["worked"] == done


def test_work_begins_although_nobody_read_the_answer():
    """A server closes the response of a caller that hung up, without reading it: the callback is recorded all the same."""
    host = FakeHost()
    done = []
    host.after = lambda: done.append("worked")
    application(host)(environ_of("/stk/callback/"), lambda *_: None).close()
    assert ["worked"] == done


def test_what_cannot_be_stored_is_not_acknowledged():
    """503, with when to come again."""
    host = FakeHost(Store([StorageUnavailable("full"), StorageUnavailable("full")]))
    status, headers, _ = call(application(host), environ_of("/stk/callback/"))
    assert ("503 Service Unavailable", "60") == (status, headers["Retry-After"])


def test_a_defect_is_answered_and_not_raised():
    """500: whatever happens, the server gets an answer of ours."""
    host = FakeHost()
    host.clock = lambda: 1 / 0
    assert "500 Internal Server Error" == call(application(host), environ_of("/stk/callback/"))[0]


# --- bodies, as servers hand them over


class NeverEnding(io.RawIOBase):
    """A connection that stays open: whoever reads beyond what came waits for ever, and fails here."""

    def __init__(self, content):
        self.left = content

    def read(self, size=-1):
        if size < 0 or size > len(self.left):
            raise AssertionError("read beyond the body")
        taken, self.left = self.left[:size], self.left[size:]
        return taken


def test_no_more_is_read_than_was_announced():
    """The next request of a kept connection begins where this body ends."""
    host = FakeHost()
    stream = NeverEnding(BODY)
    assert "200 OK" == call(application(host), environ_of("/stk/callback/", **{"wsgi.input": stream}))[0]
    assert BODY == host.repository.only.raw_bytes


@pytest.mark.parametrize("length", [..., ""])
def test_no_length_is_no_body(length):
    """Without a length and without chunks a request has no body, and reading would wait for one for ever."""
    host = FakeHost()
    environ = environ_of("/stk/callback/", CONTENT_LENGTH=length, **{"wsgi.input": NeverEnding(b"")})
    assert "200 OK" == call(application(host), environ)[0]
    assert b"" == host.repository.only.raw_bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"CONTENT_LENGTH": ..., "HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_LENGTH": "-5"},
        {"CONTENT_LENGTH": "5, 5"},
        {"CONTENT_LENGTH": "five"},
    ],
    ids=["chunked", "chunked with length", "negative", "twice", "no number"],
)
def test_a_body_without_an_end_is_not_acknowledged(changes):
    """411, and nothing is recorded: an empty callback would be acknowledged in its place."""
    host = FakeHost()
    environ = environ_of("/stk/callback/", **changes, **{"wsgi.input": NeverEnding(b"")}, QUERY_STRING="")
    status, headers, body = call(application(host), environ)
    assert ("411 Length Required", "0", b"") == (status, headers["Content-Length"], body)
    assert not host.repository.rows


@pytest.mark.parametrize("length", [..., ""])
def test_chunks_that_the_server_decodes_are_read_to_their_end(length):
    """As gunicorn and others say with wsgi.input_terminated."""
    host = FakeHost()
    environ = environ_of(
        "/stk/callback/", CONTENT_LENGTH=length, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True}
    )
    assert "200 OK" == call(application(host), environ)[0]
    assert BODY == host.repository.only.raw_bytes


def test_decoded_chunks_are_held_to_the_limit():
    """They announce nothing, and so are read as far as the limit."""
    host = FakeHost(max_body_bytes=100)
    environ = environ_of("/stk/callback/", b"x" * 1000, CONTENT_LENGTH=..., **{"wsgi.input_terminated": True})
    assert call(application(host), environ)[0].startswith("413 ")
    assert Disposition.REFUSED == host.repository.only.disposition


def test_a_broken_connection_is_not_acknowledged():
    """Half a body is kept, and refused."""
    host = FakeHost()
    environ = environ_of("/stk/callback/", BODY[:20], CONTENT_LENGTH=str(len(BODY)))
    assert "400 Bad Request" == call(application(host), environ)[0]
    assert (BODY[:20], Disposition.REFUSED) == (host.repository.only.raw_bytes, host.repository.only.disposition)


def test_headers_that_a_server_gives_twice_count_once():
    """Some servers repeat the length and type with HTTP_ before them."""
    host = FakeHost()
    environ = environ_of("/stk/callback/", HTTP_CONTENT_LENGTH="1, 1", HTTP_CONTENT_TYPE="text/odd")
    assert "200 OK" == call(application(host), environ)[0]
    assert BODY == host.repository.only.raw_bytes
    assert "application/json" == host.repository.only.headers["Content-Type"]


@pytest.mark.parametrize("peer", [..., "", None])
def test_a_peer_without_an_address_is_refused(peer):
    """As behind gunicorn on a Unix socket, where only a proxy could have known it."""
    host = FakeHost()
    environ = environ_of("/stk/callback/", REMOTE_ADDR=peer)
    assert "403 Forbidden" == call(application(host), environ)[0]
    assert host.repository.only.source_ip is None


# --- a real server


class Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments):
        pass


@contextmanager
def served(host):
    server = make_server("127.0.0.1", 0, application(host, prefix="/pay/"), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def local_host(**settings):
    return FakeHost(callback_ip_allowlist=["127.0.0.1"], **settings)


def test_a_callback_over_a_real_connection():
    """It is acknowledged, recorded, and worked on after the answer was written."""
    host = local_host()
    worked = threading.Event()
    host.after = worked.set
    with served(host) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", f"/pay/stk/callback/{TOKEN}/?x=1", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (200, 0) == (response.status, json.loads(response.read())["ResultCode"])
        connection.close()
        assert worked.wait(60)
    assert (BODY, TOKEN, "127.0.0.1") == (
        host.repository.only.raw_bytes,
        host.repository.only.token,
        host.repository.only.source_ip,
    )


def raw_answer(port, request):
    """The status line that a server answers bytes with, while the connection stays open for more."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return connection.makefile("rb").readline().split(b" ", 1)[1].strip().decode()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("", b"", "200 OK"),
        ("Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n", "411 Length Required"),
        ("Content-Length: 2\r\n", b"{}", "200 OK"),
        ("Content-Length: 9999999999999\r\n", b"", "413 "),
    ],
    ids=["no length", "chunked", "a length", "a gigabyte and more announced"],
)
def test_no_body_makes_a_real_server_wait(headers, body, status):
    """wsgiref reads from the bare connection, so that one byte too many would wait for ever."""
    with served(local_host()) as port:
        request = f"POST /pay/stk/callback/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body
        assert raw_answer(port, request).startswith(status)


def test_paths_outside_are_not_found_over_a_real_connection():
    """The prefix is part of the path."""
    with served(local_host()) as port:
        assert "404 Not Found" == raw_answer(port, b"POST /stk/callback/ HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
