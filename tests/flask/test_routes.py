"""The callback routes: what Flask adds is kept off. The requests that every front answers alike are in test_fronts."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("flask")

from flask import request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

from mpesa_core.routes import ROUTES
from mpesa_core.webhooks import Webhooks
from tests.flask.hosting import make_app, post
from tests.test_wsgi import call, environ_of
from tests.webhook_host import FakeHost

JSON = b'{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}'
STK = "/pay/stk/callback/"
TOKEN = "0123456789abcdef"


def app_before(host, **config):
    """An app with a host of the webhooks' tests behind its routes, as the core's own application has it."""
    app = make_app()
    app.config.update(config)
    app.extensions["mpesa"]._made["webhooks"] = Webhooks(host, pause=lambda _seconds: None)
    return app


@pytest.mark.parametrize(
    "path", ["/pay/", "/pay/stk/", "/pay/stk//callback/", "/pay/nowhere/at/all/", f"{STK}a/b/", "/stk/callback/"]
)
def test_other_paths_are_the_hosts(path):
    """They are not found here either, and nothing is recorded."""
    host = FakeHost()
    assert "404" == call(app_before(host), environ_of(path))[0].split()[0]
    assert not host.repository.rows


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_path_is_served_and_has_a_name(route):
    """Each route of the core is recorded under its type, with and without a token."""
    host = FakeHost()
    app = app_before(host)
    with app.test_request_context():
        path = url_for("mpesa." + route.path.rstrip("/").replace("/", "_"))
    assert f"/pay/{route.path}" == path
    assert [200, 200] == [post(app, path).status_code, post(app, f"{path}{TOKEN}/").status_code]
    assert [(route.callback_type, None), (route.callback_type, TOKEN)] == [
        (row.callback_type, row.token) for row in host.repository.rows.values()
    ]


def test_work_begins_when_the_response_is_closed():
    """The inline runner's part runs once the server has handed the answer over, and once only."""
    host = FakeHost()
    done = []
    host.after = lambda: done.append("worked")
    pieces = app_before(host)(environ_of(STK, JSON), lambda *_: None)
    assert b"".join(pieces)
    assert [] == done
    pieces.close()
    assert ["worked"] == done


def test_a_body_that_is_too_large_is_not_read():
    """What is announced beyond the limit is refused without one read of the stream."""

    class Unread(io.BytesIO):
        def read(self, *_):
            raise AssertionError("read")

    host = FakeHost(max_body_bytes=1000)
    environ = environ_of(STK, b"", CONTENT_LENGTH="5000", **{"wsgi.input": Unread()})
    assert "413" == call(app_before(host), environ)[0].split()[0]


@pytest.mark.parametrize("how", ["data", "form", "json"])
def test_a_hook_that_reads_the_body_takes_nothing_away(how):
    """What a hook of the host's has read, to log or verify it, is recorded all the same."""
    host = FakeHost()
    app = app_before(host)

    @app.before_request
    def read():
        getattr(request, how)

    assert (
        200
        == app.test_client()
        .post(STK, data=JSON, content_type="application/json", environ_overrides={"REMOTE_ADDR": "196.201.214.200"})
        .status_code
    )
    assert JSON == host.repository.only.raw_bytes


def test_a_hook_can_tell_a_callback():
    """By its blueprint, so that a login or a CSRF check can leave it out."""
    host = FakeHost()
    app = app_before(host)
    app.before_request(lambda: None if request.blueprint == "mpesa" else ("log in", 401))
    assert [200, 401] == [post(app, STK).status_code, post(app, "/pay/other/").status_code]


@pytest.mark.parametrize(("forwarded", "status"), [("196.201.214.200", 200), ("203.0.113.9, 10.0.0.1", 403)])
def test_behind_proxy_fix(forwarded, status):
    """The address that ProxyFix found is the peer's; no trusted proxies are needed."""
    host = FakeHost()
    app = app_before(host)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)
    answer = app.test_client().post(
        STK, data=JSON, headers={"X-Forwarded-For": forwarded}, environ_overrides={"REMOTE_ADDR": "10.0.0.2"}
    )
    assert (status, forwarded.split(", ")[-1]) == (answer.status_code, host.repository.only.source_ip)


def test_mounted_below_another_application():
    """SCRIPT_NAME is the server's matter; the prefix is what is below it."""
    host = FakeHost()
    assert "200" == call(app_before(host), environ_of(STK, JSON, SCRIPT_NAME="/shop"))[0].split()[0]
    assert JSON == host.repository.only.raw_bytes
