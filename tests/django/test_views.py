"""The callback views: what Django adds is kept off. The requests that every front answers alike are in test_fronts."""

import asyncio
import io
from functools import wraps
from types import ModuleType
from uuid import UUID

import pytest

pytest.importorskip("django")

from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import override_settings
from django.urls import include, path, reverse

from mpesa_core.routes import ROUTES
from mpesa_core.webhooks import Webhooks
from mpesa_django.front import front
from mpesa_django.urls import patterns
from mpesa_django.views import callback
from tests.django.hosting import SAFARICOM, post
from tests.test_wsgi import call, environ_of
from tests.webhook_host import FakeHost, Store

JSON = b'{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}'
HOST = {"HTTP_HOST": "testserver"}


@pytest.fixture
def receive(monkeypatch):
    """Puts a host behind the views."""

    def behind(host):
        monkeypatch.setattr(front, "_webhooks", Webhooks(host, pause=lambda _seconds: None))
        return host

    return behind


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_path_is_served_and_has_a_name(receive, route):
    """Each route of the core is recorded under its type, with and without a token."""
    host = receive(FakeHost())
    address = reverse("mpesa_django:" + route.path.rstrip("/").replace("/", "_"))
    assert f"/pay/{route.path}" == address
    assert [200, 200] == [post(address).status_code, post(address + "0123456789abcdef/").status_code]
    rows = host.repository.rows.values()
    assert [(route.callback_type, None), (route.callback_type, "0123456789abcdef")] == [
        (row.callback_type, row.token) for row in rows
    ]


def test_the_view_is_outside_of_every_transaction_and_login():
    """ATOMIC_REQUESTS of any database, CSRF and a login that middleware requires do not touch it."""
    assert set(connections) == callback._non_atomic_requests
    assert {"default", "other"} <= set(connections)
    assert callback.csrf_exempt is True
    assert callback.login_required is False


def test_a_view_of_the_hosts_own_stands_in_front(receive):
    """It sees each callback first, with the exemptions of ours, and what it has read is recorded to the byte."""
    host = receive(FakeHost())
    seen = []

    @wraps(callback)
    def watched(request, path, token=""):
        seen.append((path, token, request.body))
        return callback(request, path, token)

    module = ModuleType("urls_of_a_host")
    module.urlpatterns = [path("money/", include((patterns(watched), "mpesa_django")))]
    with override_settings(ROOT_URLCONF=module):
        assert "/money/stk/callback/" == reverse("mpesa_django:stk_callback")
        assert 200 == post("/money/stk/callback/0123456789abcdef/", JSON).status_code
    assert [("stk/callback/", "0123456789abcdef", JSON)] == seen
    assert (JSON, "0123456789abcdef") == (host.repository.only.raw_bytes, host.repository.only.token)
    assert callback._non_atomic_requests == watched._non_atomic_requests


def test_inline_work_runs_when_the_response_is_closed(receive):
    """Nothing runs before the body was handed over, and it runs once however often the response is closed."""
    host = receive(FakeHost())
    done = []
    host.after = lambda: done.append("worked")
    environ = environ_of("/pay/stk/callback/", JSON, **HOST)
    response = WSGIHandler()(environ, lambda *_given: None)
    assert b"".join(response)
    assert [] == done
    response.close()
    response.close()
    assert ["worked"] == done


def test_asgi_gives_the_same(receive):
    """Under ASGI a callback is recorded with its body, peer and token, and answered alike; chunks are no matter."""
    host = receive(FakeHost())

    async def go():
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/pay/stk/callback/0123456789abcdef/",
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"content-type", b"application/json")],
            "client": (SAFARICOM, 4000),
        }
        server = ApplicationCommunicator(ASGIHandler(), scope)
        await server.send_input({"type": "http.request", "body": JSON[:10], "more_body": True})
        await server.send_input({"type": "http.request", "body": JSON[10:]})
        start = await server.receive_output(5)
        body = await server.receive_output(5)
        await server.wait(5)
        return start["status"], body["body"]

    status, body = asyncio.run(go())
    assert (200, b'{"ResultCode":0,"ResultDesc":"Accepted"}') == (status, body.replace(b" ", b""))
    assert (JSON, "0123456789abcdef", SAFARICOM) == (
        host.repository.only.raw_bytes,
        host.repository.only.token,
        host.repository.only.source_ip,
    )


def test_a_body_that_is_too_large_is_not_read(receive):
    """What is announced beyond the limit is refused without one read of the stream."""

    class Unread(io.BytesIO):
        def read(self, *_):
            raise AssertionError("read")

    receive(FakeHost(Store(), max_body_bytes=1000))
    environ = environ_of("/pay/stk/callback/", b"", **HOST, CONTENT_LENGTH="5000", **{"wsgi.input": Unread()})
    assert "413" == call(WSGIHandler(), environ)[0].split()[0]


def test_ids_are_the_hosts(receive):
    """The id that a callback is handed on under is the one that it was recorded under."""
    host = receive(FakeHost())
    post("/pay/stk/callback/", JSON)
    assert [UUID(int=1)] == host.submitted == list(host.repository.rows)
