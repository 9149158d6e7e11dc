"""``mpesa demo``: a local Daraja and a small shop, over real HTTP, on SQLite, telling the story as it happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rich.console import Console
from rich.table import Table

from mpesa_core import signals
from mpesa_core.cli.shop import Shop
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import Behaviour, DarajaServer, Delivery, Ending, Kind, LocalDaraja
from mpesa_core.settings import Settings
from mpesa_core.values import mask_phone
from mpesa_core.webhooks import Webhooks
from mpesa_core.webhooks.wsgi import wsgi_application

__all__ = ["run_demo"]

_CUSTOMER = "254712345678"
_SUPPLIER = "254722000111"
_PREFIX = "/pay/"
_PATIENCE = 20.0
_SENDER = "demo shop"


def run_demo(console: Console, directory: str | None = None) -> bool:
    """Tell the story and draw up the books.

    Args:
        console: where it is printed.
        directory: where the databases are kept; None for a place that is deleted afterwards.

    Returns:
        Whether the books balance.
    """
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        return _Story(console, Path(tempfile.mkdtemp(prefix="demo-", dir=directory))).tell()
    with tempfile.TemporaryDirectory(prefix="mpesa-demo-", ignore_cleanup_errors=True) as place:
        return _Story(console, Path(place)).tell()


class _Story:
    """The scenes of the demo, in order."""

    def __init__(self, console: Console, place: Path) -> None:
        self.console = console
        self.database = place / "payments.sqlite3"
        self.shop = Shop(place / "shop.sqlite3", lambda line: self.say("shop", line, "green"))
        self.daraja = LocalDaraja()
        self.transactions: list[UUID] = []

    def say(self, who: str, line: str, style: str = "") -> None:
        """One line: the time, who it is, and what happens."""
        self.console.print(f"[dim]{datetime.now():%H:%M:%S}[/]  [{style or 'default'}]{who:<8}[/]  ", end="")  # noqa: DTZ005 - the reader's own clock
        self.console.print(line, markup=False)

    def title(self, number: int, line: str) -> None:
        """The title of a scene."""
        self.console.print(f"\n[bold]{number}. {line}[/]")

    def tell(self) -> bool:
        """Every scene, and the books at the end."""
        self.console.print("[bold]A shop takes and sends money over M-PESA.[/] Nothing here is real but the code.")
        with _serving(self) as (gateway, settings):
            self.gateway = gateway
            self.say("shop", "registers its C2B URLs", "green")
            gateway.register_urls()
            self.paid_and_reported_twice()
            self.cancelled()
            self.paid_without_being_asked()
            self.paid_out()
            self.reversed()
            self.callback_that_never_comes()
            self.killed_before_announcing(settings)
            return self.books()

    # -- scenes --------------------------------------------------------------------------------------------------

    def paid_and_reported_twice(self) -> None:
        """An STK payment whose callback comes twice."""
        self.title(1, "A prompt, a PIN, and a callback that comes twice")
        self.daraja.script(Behaviour(after=0.4, deliver=(Delivery(copies=2),)), api="stk_push")
        self.prompt("INV-1", "a kettle", 1500, "enters the PIN")
        self.wait_for("INV-1", "paid")
        self.wait(lambda: len(self.daraja.posted) >= 2)
        self.say("M-PESA", "posts the callback a second time; it is logged as a duplicate and changes nothing", "cyan")

    def cancelled(self) -> None:
        """An STK payment that the customer cancels."""
        self.title(2, "A prompt that the customer cancels")
        self.daraja.script(Behaviour(ending=Ending.CANCEL, after=0.4), api="stk_push")
        self.prompt("INV-2", "a lamp", 800, "presses cancel")
        self.wait_for("INV-2", "failed")

    def paid_without_being_asked(self) -> None:
        """A C2B payment, with validation."""
        self.title(3, "A customer pays by himself (C2B), and M-PESA asks first")
        self.shop.take_order("INV-3", "a chair", 2300)
        refused = self.daraja.customer_pays(amount=2300, reference="INV-33", phone=_CUSTOMER)
        self.say("phone", "pays 2,300 for INV-33, which is no order", "magenta")
        self.say("shop", f"c2b_validation_received: no such order; M-PESA takes no money ({refused.code})", "green")
        self.say("phone", "pays 2,300 for INV-3", "magenta")
        self.daraja.customer_pays(amount=2300, reference="INV-3", phone=_CUSTOMER)
        self.wait_for("INV-3", "paid")

    def paid_out(self) -> None:
        """A payout."""
        self.title(4, "The shop pays its supplier")
        self.say("shop", f"sends 700 shillings to {mask_phone(_SUPPLIER)}", "green")
        payout = self.gateway.payout(phone_number=_SUPPLIER, amount=700, idempotency_key="supplier-2026-11")
        self.transactions.append(payout.id)
        self.wait(lambda: self.shop.paid_out > 0)

    def reversed(self) -> None:
        """A reversal of the first payment."""
        self.title(5, "The kettle comes back: the first payment is reversed")
        self.say("shop", "asks M-PESA to reverse all of INV-1", "green")
        reversal = self.gateway.reverse(self.transactions[0], idempotency_key="return-INV-1")
        self.transactions.append(reversal.id)
        self.wait_for("INV-1", "refunded")

    def callback_that_never_comes(self) -> None:
        """A paid prompt whose callback is lost."""
        self.title(6, "The money moved, and the callback never comes")
        self.daraja.script(Behaviour(after=0.2, deliver=()), api="stk_push")
        self.prompt("INV-4", "a table", 4200, "enters the PIN")
        self.say("M-PESA", "loses the callback", "cyan")
        self.say("sdk", "waits a while, and then asks M-PESA what became of it", "blue")
        self.wait_for("INV-4", "paid")

    def killed_before_announcing(self, settings: Settings) -> None:
        """A process that dies between settling and announcing."""
        self.title(7, "A process is killed after it settled the payment, before the shop heard of it")
        self.gateway.runner.stop()
        self.daraja.script(Behaviour(after=0.2), api="stk_push")
        seen = len(self.daraja.posted)
        payment = self.prompt("INV-5", "a clock", 950, "enters the PIN")
        self.wait(lambda: len(self.daraja.posted) > seen)
        [callback] = self.gateway.repository.open_callbacks(token=self.gateway.get(payment).callback_token)
        killed = multiprocessing.get_context("spawn").Process(
            target=_settle_and_die, args=(str(self.database), str(callback.id), settings.announce_lease)
        )
        killed.start()
        killed.join(_PATIENCE)
        row = self.gateway.get(payment)
        order = self.shop.order("INV-5")
        self.say(
            "system", f"SIGKILL: the payment is {row.status}, unannounced; the order is still {order.state}", "red"
        )
        self.say("sdk", "another process recovers: the announcer's lease lapses, and it announces", "blue")
        self.gateway.start()
        self.wait_for("INV-5", "paid")

    # -- the books -----------------------------------------------------------------------------------------------

    def books(self) -> bool:
        """The table of the books; whether they balance."""
        self.wait(lambda: all(self.gateway.get(each).announce_until is None for each in self.transactions))
        repository, ledger = self.gateway.repository, self.daraja.ledger
        rows = [self.gateway.get(each) for each in self.transactions]
        table = Table(title="\nThe books", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for column in ("transaction", "status", "shop's books", "M-PESA's ledger", "receipt"):
            table.add_column(column, justify="right" if "'s" in column else "left")
        ours = theirs = Decimal(0)
        balanced = True
        for entry in ledger.entries:
            sign = 1 if entry.incoming else -1
            row = next((each for each in rows if _is_same(each, entry)), None)
            if row is None:
                row = repository.find("mpesa_receipt_number", (entry.short_code, entry.receipt))  # type: ignore[arg-type]
            moved = row is not None and row.status in (Status.SUCCESS, Status.REVERSED)
            mine = sign * row.amount if row is not None and moved else Decimal(0)
            balanced = balanced and mine == sign * entry.amount
            ours, theirs = ours + mine, theirs + sign * entry.amount
            kind = row.transaction_type if row is not None else "unknown"
            name = f"{kind} {row.account_reference}" if row is not None and row.account_reference else str(kind)
            status = str(row.status) if row is not None else "missing"
            table.add_row(name, status, f"{mine:,.2f}", f"{sign * entry.amount:,.2f}", entry.receipt)
        for row in rows:
            if row.status not in (Status.SUCCESS, Status.REVERSED):
                name = f"{row.transaction_type} {row.account_reference}"
                table.add_row(name, str(row.status), "0.00", "0.00", "")
        table.add_section()
        table.add_row("[bold]balance[/]", "", f"[bold]{ours:,.2f}[/]", f"[bold]{theirs:,.2f}[/]", "")
        self.console.print(table)
        twice = [order.reference for order in self.shop.orders() if order.times_paid > 1]
        stuck = repository.due_callbacks(self.gateway.clock(), 100)
        expected = {"INV-1": "refunded", "INV-2": "failed", "INV-3": "paid", "INV-4": "paid", "INV-5": "paid"}
        right = {order.reference: order.state for order in self.shop.orders()} == expected
        paid_out = ledger.total(Kind.B2C) == self.shop.paid_out
        good = balanced and ours == theirs and not twice and not stuck and right and paid_out
        if good:
            self.console.print("\n[bold green]The books balance.[/] Each payment was settled once and announced once.")
        else:
            self.console.print("\n[bold red]The books do not balance.[/] This is a defect: please report it.")
        return good

    # -- what the scenes share -----------------------------------------------------------------------------------

    def prompt(self, reference: str, what: str, price: int, does: str) -> UUID:
        """Take an order and ask the customer's phone for the PIN."""
        self.shop.take_order(reference, what, price)
        self.say("shop", f"order {reference}, {what}: asks {mask_phone(_CUSTOMER)} for {price:,} shillings", "green")
        payment = self.gateway.stk_push(
            phone_number=_CUSTOMER, amount=price, account_reference=reference, idempotency_key=reference
        )
        self.transactions.append(payment.id)
        self.say("phone", f"shows the prompt; the customer {does}", "magenta")
        return payment.id

    def wait_for(self, reference: str, state: str) -> None:
        """Wait until an order is in a state."""
        self.wait(lambda: self.shop.order(reference).state == state)

    def wait(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so, but not for ever: what is missing shows in the books."""
        until = time.monotonic() + _PATIENCE
        while not reached() and time.monotonic() < until:
            time.sleep(0.02)


def _is_same(row: Any, entry: Any) -> bool:
    if row.mpesa_receipt_number is not None:
        return bool(row.mpesa_receipt_number == entry.receipt)
    return row.checkout_request_id is not None and row.checkout_request_id == entry.checkout_request_id


@contextmanager
def _serving(story: _Story) -> Iterator[tuple[Gateway, Settings]]:
    """The local Daraja and the shop's callback URLs, each on a port of loopback, and the gateway between them."""
    web = make_server("127.0.0.1", 0, lambda *_: [], _Server, _Quiet)
    repository = SqliteRepository(story.database)
    with DarajaServer(story.daraja) as server:
        settings = Settings(
            **story.daraja.settings(server.base_url),
            callback_base_url=f"http://127.0.0.1:{web.server_port}{_PREFIX}",
            callback_ip_allowlist=["127.0.0.1"],
            query_after=1.5,
            query_interval=1,
            announce_lease=2,
            callback_lease=2,
            sweep_interval=0.25,
        )
        gateway = Gateway(settings, repository, sender=_SENDER)
        story.shop.connect(_SENDER)
        web.set_app(wsgi_application(Webhooks(gateway), prefix=_PREFIX))
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            gateway.start()
            yield gateway, settings
        finally:
            web.shutdown()
            web.server_close()
            gateway.close()
            for name in signals.SIGNALS:
                getattr(signals, name).disconnect(story.shop, sender=_SENDER)
            repository.close()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Print nothing: the story is told elsewhere, and a path holds a token."""


def _settle_and_die(database: str, callback_id: str, announce_lease: float) -> None:
    """In a process of its own: settle by a recorded callback, and die in the first receiver, for real."""

    def die(_sender: object, **_more: Any) -> None:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    signals.payment_confirmed.connect(die, sender=_SENDER)
    settings = Settings(announce_lease=announce_lease)
    Gateway(settings, SqliteRepository(database), sender=_SENDER, runner="inline").process(UUID(callback_id))
