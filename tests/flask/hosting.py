"""Apps as a host would make them."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from mpesa_core import MemoryRepository, signals
from mpesa_flask import Mpesa

SAFARICOM = "196.201.214.200"
BASE = "https://shop.example/pay/"
SETTINGS = {
    "CONSUMER_KEY": "key",
    "CONSUMER_SECRET": "secret",
    "SHORT_CODE": "174379",
    "PASSKEY": "passkey",
    "CALLBACK_BASE_URL": BASE,
}


def make_app(name="shop", settings=SETTINGS, extension=None, before=None, **options):
    """An app with the extension; by default with a store in memory and the inline runner."""
    app = Flask(name)
    if before is not None:
        before(app)
    app.config["MPESA"] = dict(settings)
    if extension is None:
        extension = Mpesa(**{"repository": MemoryRepository(), "runner": "inline", **options})
        extension.init_app(app)
    else:
        extension.init_app(app, **options)
    return app


def post(app, path, body=b"{}", peer=SAFARICOM):
    return app.test_client().post(path, data=body, environ_overrides={"REMOTE_ADDR": peer}, buffered=True)


@contextmanager
def hearing(signal, receiver, app):
    signal = getattr(signals, signal)
    signal.connect(receiver, sender=app)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=app)


class Quiet(WSGIRequestHandler):
    def log(self, *_arguments):
        pass


@contextmanager
def served(app, port=0, *, to_a_browser=False):
    """The app on a real server on loopback; its port. A browser's idle connections are not waited for at the end."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = to_a_browser  # otherwise closing it waits for what runs after an answer
    server.block_on_close = not to_a_browser
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
