"""The ways in which a callback comes in over HTTP: the core's own application, Django's views and Flask's."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager

import pytest

from mpesa_core.webhooks import Webhooks
from mpesa_core.webhooks.wsgi import wsgi_application
from tests.test_wsgi import call, environ_of

__all__ = ["FRONTS", "Front", "in_front_of", "needed"]

FRONTS = ("core", "django", "flask")
_PREFIX = "/pay/"


class Front:
    """A WSGI application before a host of the webhooks' tests."""

    def __init__(self, application, host):
        self.application = application
        self.host = host

    def ask(self, path, body, changes):
        """Status, headers and body of the answer; the response is closed, as a server closes it."""
        given = {"HTTP_HOST": "testserver", **changes}
        status, headers, answer = call(self.application, environ_of(_PREFIX + path, body, **given))
        return int(status.split()[0]), headers, answer

    @property
    def kept(self):
        """What was recorded of each request."""
        return [
            (row.raw_bytes, row.callback_type, row.token, row.headers, row.source_ip, row.disposition, row.error)
            for row in self.host.repository.rows.values()
        ]


def needed(name):
    """Skip where the framework is not installed."""
    if name != "core" and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'mpesa-core[{name}]'")


@contextmanager
def in_front_of(name, host):
    """That front before a host: what the webhooks ask of a gateway."""
    webhooks = Webhooks(host, pause=lambda _seconds: None)
    make = {"core": _core, "django": _django, "flask": _flask}[name]
    with make(webhooks) as application:
        yield Front(application, host)


@contextmanager
def _core(webhooks):
    yield wsgi_application(webhooks, prefix=_PREFIX)


@contextmanager
def _django(webhooks):
    from tests.django import hosting  # noqa: F401 - configures Django

    # Both need Django to be configured.
    from django.core.handlers.wsgi import WSGIHandler  # isort: skip
    from mpesa_django.front import front

    before, front._webhooks = front._webhooks, webhooks
    try:
        yield WSGIHandler()
    finally:
        front._webhooks = before


@contextmanager
def _flask(webhooks):
    from tests.flask.hosting import make_app

    app = make_app()
    app.config["MAX_CONTENT_LENGTH"] = 10  # of the host's own forms; it is not the callbacks'
    app.extensions["mpesa"]._made["webhooks"] = webhooks
    yield app
