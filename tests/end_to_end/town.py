"""A shop and a local Daraja, each behind a real HTTP server, with a post office between them that can misbehave."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.gateway import Gateway
from mpesa_core.sandbox import DarajaServer, LocalDaraja, post_over_http
from mpesa_core.settings import Settings
from mpesa_core.signals import SIGNALS
from mpesa_core.webhooks import Webhooks
from mpesa_core.webhooks.wsgi import wsgi_application

PREFIX = "/pay/"
WAYS = ("as it should be", "doubled", "raced", "shuffled", "late", "lost at first", "acknowledged in vain")
"""How callbacks come: each once; each three times; six copies at one moment; in another order; only after the grace; the
first two tries not at all; and processed, while M-PESA does not hear the acknowledgement."""
SERVERS = ("django_postgres", "alchemy_postgres", "django_mariadb", "alchemy_mariadb")
"""Repositories on which posts that race are at work at the same moment."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Knows how many requests it is working on: also after the answer, which is when callbacks are processed."""

    daemon_threads = True

    def __init__(self, *arguments):
        self.idle = threading.Condition()
        self.busy = 0
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        with self.idle:
            self.busy += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.idle:
                self.busy -= 1
                self.idle.notify_all()

    def wait(self):
        with self.idle:
            assert self.idle.wait_for(lambda: not self.busy, 30), "a callback is still worked on"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Town:
    """Everything is closed at the end of the ``with`` statement."""

    def __init__(self, repository, **settings):
        self.skipped = timedelta(0)
        self.failures = 0
        self.deaf = 0
        self.heard = []
        self.repository = repository
        self.daraja = LocalDaraja(post=self.post, clock=self.clock, seed=7)
        self._given = settings
        self._open = ExitStack()

    def __enter__(self):
        self.sender = object()
        server = self._open.enter_context(DarajaServer(self.daraja, couriers=0))
        web = self.web = self._open.enter_context(make_server("127.0.0.1", 0, lambda *_: [], _Server, _Quiet))
        self.base_url = f"http://127.0.0.1:{web.server_port}{PREFIX}"
        settings = Settings(
            **self.daraja.settings(server.base_url),
            callback_base_url=self.base_url,
            callback_ip_allowlist=["127.0.0.1"],
            **self._given,
        )
        self.gateway = self._open.enter_context(
            Gateway(settings, self.repository, runner="inline", sender=self.sender, clock=self.clock)
        )
        web.set_app(wsgi_application(Webhooks(self.gateway), prefix=PREFIX))
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._open.callback(web.shutdown)
        for name, signal in SIGNALS.items():
            if name not in ("callback_received", "c2b_validation_received"):
                self._listen(name, signal)
        self.daraja.register_urls(
            confirmation_url=self.base_url + "c2b/confirm/", validation_url=self.base_url + "c2b/validate/"
        )
        return self

    def __exit__(self, *_):
        self._open.close()

    def _listen(self, name, signal):
        def hear(_sender, **arguments):
            self.heard.append((name, arguments))

        signal.connect(hear, sender=self.sender)
        self._open.callback(signal.disconnect, hear, self.sender)

    def clock(self):
        return datetime.now(UTC) + self.skipped

    def skip(self, **time):
        self.skipped += timedelta(**time)

    def post(self, url, body):
        """M-PESA's post: lost on its way where failures are due, and its answer where M-PESA is deaf."""
        if self.failures:
            self.failures -= 1
            raise OSError("lost on its way")
        answer = post_over_http(url, body)
        if self.deaf:
            self.deaf -= 1
            return HttpResponse(status=502, body=b"")
        return answer

    def deliver(self, way):
        """Deliver what M-PESA has to say, in that way, and work on it until nothing is left to do."""
        if way == "doubled":
            for posting in self.daraja.take_pending():
                for _ in range(3):
                    self.daraja.send(posting, self.clock())
        elif way == "raced":
            postings = [posting for posting in self.daraja.take_pending() for _ in range(6)]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda posting: post_over_http(posting.url, posting.body), postings))
        elif way == "late":
            self.skip(seconds=self.gateway.settings.adoption_grace + 1)
        elif way == "lost at first":
            self.failures = 2
        elif way == "acknowledged in vain":
            self.deaf = 2
        self.daraja.run_until_idle(seed=3 if way == "shuffled" else None)
        self.failures = self.deaf = 0
        self.finish()

    def finish(self):
        """Work on what waits for a time, as a worker would see to it, until nothing is left to do."""
        self.web.wait()
        for _ in range(600):
            self.gateway.recover()
            if not self.repository.due_callbacks(self.clock() + timedelta(days=9), 1):
                return
            self.skip(seconds=1)
        raise AssertionError("callbacks are still open")

    @staticmethod
    def own(row, name):
        """A field of the host's own, wherever the repository keeps it."""
        return row.host[name] if hasattr(row, "host") else getattr(row, name)

    def fired(self, name):
        return [arguments for each, arguments in self.heard if each == name]

    @property
    def counts(self):
        """How often each signal fired."""
        return dict(Counter(name for name, _ in self.heard))
