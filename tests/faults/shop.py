"""A shop over the local Daraja: the whole core in one process, from the client to the signals, with one clock for both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from mpesa_core.client import DarajaClient
from mpesa_core.gateway import Gateway
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import LocalDaraja
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, Webhooks

__all__ = ["PHONE", "Shop"]

PHONE = "254708374149"
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
QUIET = ("callback_received", "payment_initiated")


class Shop:
    """What runs at the customer of the SDK; :meth:`restart` is another process on the same store.

    Args:
        store: makes the repository, anew for each process.
        daraja: arguments of the LocalDaraja.
        settings: of the shop, over those that the local Daraja needs.
    """

    def __init__(self, store: Callable[[], object], daraja=None, **settings):
        self.now = START
        self.store = store
        self.signals = []
        self.posted = []
        self.lost = lambda url: False
        self.daraja = LocalDaraja(
            post=self.receive, clock=self.clock, sleep=lambda _seconds: None, seed=7, **(daraja or {})
        )
        given = {"callback_base_url": "https://shop.example/pay/", "queries_per_minute": None, "send_retries": 2}
        self.settings = Settings(**{**self.daraja.settings(), **given, **settings})
        self.client = None
        self.restart()

    @classmethod
    def on_file(cls, path, **more):
        """A shop whose books are in a file."""
        return cls(lambda: SqliteRepository(path, synchronous="OFF"), **more)

    def clock(self):
        return self.now

    def connect(self):
        return DarajaClient.over(self.daraja.handle, self.settings, clock=self.clock, sleep=lambda _seconds: None)

    def restart(self):
        """Another process: nothing is left of the one before but what is stored."""
        self.repository = self.store()
        self.gateway = Gateway(
            self.settings, self.repository, client=self.connect(), bus=self, runner="inline", clock=self.clock
        )
        self.webhooks = Webhooks(self.gateway, pause=lambda _seconds: None)

    def deliver(self, signal, arguments):
        self.signals.append((signal, dict(arguments)))
        return []

    def fired(self, *names):
        """The signals of those names, or all that announce something."""
        return [each for each in self.signals if each[0] in names or (not names and each[0] not in QUIET)]

    def receive(self, url, body):
        """What M-PESA posts, unless it is lost on its way."""
        if self.lost(url):
            raise ConnectionRefusedError("nobody listens")
        path = urlsplit(url).path.removeprefix("/pay/")
        response = self.webhooks.receive(WebhookRequest(method="POST", path=path, body=body, peer="196.201.214.200"))
        self.posted.append((url, body, response))
        if response.after is not None:
            response.after()
        return response.status

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    def pay(self, amount=100, key="PAY-1", **more):
        return self.gateway.payout(phone_number=PHONE, amount=amount, idempotency_key=key, **more)

    def push(self, amount=100, reference="INV-1", **more):
        return self.gateway.stk_push(phone_number=PHONE, amount=amount, account_reference=reference, **more)

    def sweep(self, seconds=0.0):
        """Let time pass, have M-PESA post what is due, and sweep once."""
        self.wait(seconds)
        self.daraja.run_until_idle()
        done = self.gateway.sweep()
        self.daraja.run_until_idle()
        return done
