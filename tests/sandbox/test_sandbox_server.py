from __future__ import annotations

import http.client
import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from mpesa_core.sandbox import Answer, Behaviour, DarajaServer, Delivery, LocalDaraja, post_over_http


@contextmanager
def application(answer=b'{"ResultCode":"0","ResultDesc":"Accepted"}', status=200):
    """A web application that keeps what is posted to it."""
    received, arrived = [], threading.Condition()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with arrived:
                received.append((self.path, self.headers["Content-Type"], body))
                arrived.notify_all()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def wait_for(count):
        with arrived:
            assert arrived.wait_for(lambda: len(received) >= count, timeout=10)
        return received

    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", wait_for
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(base_url, method, path, headers=None, body=None):
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def push(server, make_world, callback_url, **changes):
    """Send the usual push over HTTP."""
    model = make_world()
    status, token = ask(
        server.base_url,
        "GET",
        "/oauth/v1/generate?grant_type=client_credentials",
        {"Authorization": "Basic bG9jYWwta2V5OmxvY2FsLXNlY3JldA=="},
    )
    assert 200 == status
    headers = {"Authorization": f"Bearer {json.loads(token)['access_token']}", "Content-Type": "application/json"}
    fields = model.push_fields(CallBackURL=callback_url, **changes)
    return ask(server.base_url, "POST", "/mpesa/stkpush/v1/processrequest", headers, json.dumps(fields))


def test_a_payment_over_real_http(make_world):
    """A push over loopback is answered, paid, and its callbacks arrive by themselves."""
    daraja = LocalDaraja(behaviour=Behaviour(deliver=(Delivery(copies=2),)))
    with application() as (url, wait_for), DarajaServer(daraja) as server:
        status, body = push(server, make_world, f"{url}/pay/stk?x=1")
        received = wait_for(2)
    checkout = json.loads(body)["CheckoutRequestID"]
    assert 200 == status
    assert [("/pay/stk?x=1", "application/json")] * 2 == [(path, kind) for path, kind, _ in received]
    assert all(checkout == json.loads(raw)["Body"]["stkCallback"]["CheckoutRequestID"] for _, _, raw in received)
    assert all(each.acknowledged for each in daraja.posted)


def test_a_dropped_connection(make_world):
    """A lost answer closes the connection, and the payment is reported all the same."""
    daraja = LocalDaraja(behaviour=Behaviour(answer=Answer.LOST))
    with application() as (url, wait_for), DarajaServer(daraja) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            push(server, make_world, f"{url}/pay/stk")
        wait_for(1)
    assert 1 == len(daraja.ledger.entries)


def test_a_truncated_answer_over_real_http(make_world):
    """A cut answer is shorter than it said."""
    daraja = LocalDaraja(behaviour=Behaviour(answer=Answer.TRUNCATED, truncate_at=10, deliver=()))
    with DarajaServer(daraja) as server, pytest.raises(http.client.IncompleteRead):
        push(server, make_world, "http://127.0.0.1:9/pay/stk")


def test_refusals_over_real_http():
    """Unknown paths and oversized bodies are refused, and other methods answered."""
    with DarajaServer(LocalDaraja()) as server:
        assert 404 == ask(server.base_url, "POST", "/nowhere", body=b"{}")[0]
        assert 405 == ask(server.base_url, "PUT", "/oauth/v1/generate")[0]
        assert 413 == ask(server.base_url, "POST", "/nowhere", {"Content-Length": "99999999"})[0]
        assert 400 == ask(server.base_url, "POST", "/nowhere", {"Content-Length": "-5"})[0]


def test_validation_over_real_http():
    """The application's answer over HTTP decides a customer's payment."""
    answer = b'{"ResultCode":"C2B00012","ResultDesc":"Rejected"}'
    daraja = LocalDaraja()
    with application(answer) as (url, _):
        daraja.register_urls(confirmation_url=f"{url}/confirm", validation_url=f"{url}/validate")
        payment = daraja.customer_pays(amount=5)
    assert (False, "C2B00012", True) == (payment.paid, payment.code, payment.validated)


def test_an_application_that_is_down(make_world):
    """A callback that cannot be delivered is noted with its error, and the server goes on."""
    daraja = LocalDaraja()
    with application() as (url, _):
        gone = url
    with application() as (url, wait_for), DarajaServer(daraja) as server:
        push(server, make_world, f"{gone}/pay/stk")
        push(server, make_world, f"{url}/pay/stk")
        wait_for(1)
        with pytest.raises(OSError, match="refused"):
            post_over_http(f"{gone}/x", b"{}")
    assert 2 == len(daraja.ledger.entries)


def test_stopping_twice_is_harmless():
    """A server can be stopped before it was started, and again."""
    server = DarajaServer(LocalDaraja())
    server.stop()
    server.stop()
    with DarajaServer(LocalDaraja()) as running:
        assert running.base_url.startswith("http://127.0.0.1:")
    running.stop()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "not a url"])
def test_only_http_is_posted_to(url):
    """Another scheme is an error of delivery."""
    with pytest.raises(OSError, match="http or https"):
        post_over_http(url, b"{}")
