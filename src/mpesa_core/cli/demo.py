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
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rich.console import Console
from rich.text import Text

from mpesa_core import signals
from mpesa_core.cli.books import draw_up, unlike_announced, unlike_ledger
from mpesa_core.cli.shop import Shop
from mpesa_core.cli.telling import beside, columned
from mpesa_core.errors import MpesaError
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Key, Status, TransactionRecord
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import Behaviour, DarajaServer, Delivery, Ending, Kind, LocalDaraja
from mpesa_core.settings import Settings
from mpesa_core.values import mask_phone
from mpesa_core.webhooks import Webhooks
from mpesa_core.webhooks.wsgi import wsgi_application

__all__ = ["run_demo"]

_CUSTOMER: Final = "254712345678"
_SUPPLIER: Final = "254722000111"
_PREFIX: Final = "/pay/"
_PATIENCE: Final = 20.0
"""Seconds that anything may take; what then has not come never does."""

_PAUSE: Final = 1.0
"""Seconds before a scene, for whoever reads along."""

_SENDER: Final = "demo shop"
_STYLES: Final = {"shop": "green", "phone": "magenta", "M-PESA": "cyan", "sdk": "blue", "system": "red"}


def run_demo(console: Console, directory: str | None = None) -> bool:
    """Tell the story and draw up the books.

    Args:
        console: where it is printed; with pauses where somebody reads along.
        directory: where the databases are kept; None for a place that is deleted afterwards.

    Returns:
        Whether the books balance.
    """
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        kept = Path(tempfile.mkdtemp(prefix="demo-", dir=directory))
        good = _Story(console, kept).tell()
        console.print(f"The databases are in {kept}", soft_wrap=True)
        return good
    with tempfile.TemporaryDirectory(prefix="mpesa-demo-", ignore_cleanup_errors=True) as place:
        return _Story(console, Path(place)).tell()


class _NeverCame(Exception):  # noqa: N818 - it names a state, and never leaves this module
    """Something that the story goes on from did not happen."""


class _Story:
    """The scenes of the demo, in order."""

    def __init__(self, console: Console, place: Path) -> None:
        self.console = console
        self.database = place / "payments.sqlite3"
        self.shop = Shop(place / "shop.sqlite3", lambda line: self.say("shop", line))
        self.daraja = LocalDaraja()
        self.repository = SqliteRepository(self.database)
        self.gateway: Gateway
        self.transactions: list[UUID] = []
        self.skipped = timedelta(0)
        self.broken_off: str | None = None
        self.turn = threading.RLock()  # whoever tells: the shop's receivers run in the gateway's threads

    def say(self, who: str, line: str) -> None:
        """Tell the time, who it is, and what happens."""
        now = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - the reader's own clock
        heading = Text.assemble((now, "dim"), "  ", (f"{who:<8}", _STYLES[who]), "  ")
        with self.turn:
            self.console.print(beside(heading, line, self.console.width), soft_wrap=True)

    def title(self, number: int, line: str) -> None:
        """Begin a scene."""
        if self.console.is_terminal:
            time.sleep(_PAUSE)
        self.console.print(f"\n[bold]{number}. {line}[/]", soft_wrap=True)

    def tell(self) -> bool:
        """Every scene, and the books at the end."""
        self.console.print(
            "[bold]A shop takes and sends money over M-PESA.[/] Nothing here is real but the code.\n", soft_wrap=True
        )
        with _serving(self) as self.gateway:
            try:
                self.say("shop", "registers where M-PESA reports payments (C2B)")
                self.gateway.register_urls()
                self.paid_and_reported_twice()
                self.cancelled()
                self.paid_without_being_asked()
                self.paid_out()
                self.reversed()
                self.callback_that_never_comes()
                self.killed_before_announcing()
                self.wait(self.everything_is_announced, "Not everything was announced")
            except (_NeverCame, MpesaError) as problem:
                self.broken_off = str(problem)
            return self.books()

    # -- scenes --------------------------------------------------------------------------------------------------

    def paid_and_reported_twice(self) -> None:
        """An STK payment whose callback comes twice."""
        self.title(1, "A prompt, a PIN, and a callback that comes twice")
        self.daraja.script(Behaviour(after=0.4, deliver=(Delivery(copies=2),)), api="stk_push")
        self.prompt("INV-1", "a kettle", 1500, "enters the PIN")
        self.wait_for("INV-1", "paid")
        self.wait(
            lambda: {("STK", "applied"), ("STK", "duplicate")} <= set(self.shop.callbacks),
            "The second callback was not seen to be a duplicate",
        )
        self.say("M-PESA", "posts the same callback again")
        self.say("sdk", "logs a duplicate; nothing changes, nobody is told twice")

    def cancelled(self) -> None:
        """An STK payment that the customer cancels."""
        self.title(2, "A prompt that the customer cancels")
        self.daraja.script(Behaviour(ending=Ending.CANCEL, after=0.4), api="stk_push")
        self.prompt("INV-2", "a lamp", 800, "presses cancel")
        self.wait_for("INV-2", "failed")

    def paid_without_being_asked(self) -> None:
        """A C2B payment, with validation."""
        self.title(3, "A customer pays by himself (C2B), and M-PESA asks the shop first")
        self.shop.take_order("INV-3", "a chair", 2300)
        self.say("shop", "order INV-3, a chair: the customer will pay 2,300 shillings")
        self.say("phone", "pays 2,300 for INV-33, a slip of the finger")
        refused = self.daraja.customer_pays(amount=2300, reference="INV-33", phone=_CUSTOMER)
        if refused.paid:
            raise _NeverCame("M-PESA was not told to refuse the payment for INV-33")
        self.say("M-PESA", f"takes no money ({refused.code})")
        self.say("phone", "pays 2,300 for INV-3")
        self.daraja.customer_pays(amount=2300, reference="INV-3", phone=_CUSTOMER)
        self.wait_for("INV-3", "paid")

    def paid_out(self) -> None:
        """A payout."""
        self.title(4, "The shop pays its supplier")
        self.say("shop", f"sends 700 shillings to {mask_phone(_SUPPLIER)}")
        payout = self.gateway.payout(phone_number=_SUPPLIER, amount=700, idempotency_key="supplier-2026-11")
        self.transactions.append(payout.id)
        self.wait(lambda: self.shop.paid_out > 0, "The payout was not reported")

    def reversed(self) -> None:
        """A reversal of the first payment."""
        self.title(5, "The kettle comes back: its payment is reversed")
        self.say("shop", "asks M-PESA to give all of INV-1 back")
        reversal = self.gateway.reverse(self.transactions[0], idempotency_key="return-INV-1")
        self.transactions.append(reversal.id)
        self.wait_for("INV-1", "refunded")

    def callback_that_never_comes(self) -> None:
        """A paid prompt whose callback is lost."""
        self.title(6, "The money moved, and the callback never comes")
        self.daraja.script(Behaviour(after=0.2, deliver=()), api="stk_push")
        moved = len(self.daraja.ledger.entries)
        self.prompt("INV-4", "a table", 4200, "enters the PIN")
        self.wait(lambda: len(self.daraja.ledger.entries) > moved, "M-PESA did not take the money for INV-4")
        self.say("M-PESA", "takes the money, and loses the callback")
        self.skip(self.gateway.settings.query_after, "has heard nothing, and asks M-PESA what became of it")
        self.wait_for("INV-4", "paid")

    def killed_before_announcing(self) -> None:
        """A process that dies between settling and announcing."""
        self.title(7, "A process is killed after it settled a payment, before the shop heard")
        self.gateway.runner.stop()
        self.daraja.script(Behaviour(after=0.2), api="stk_push")
        payment = self.prompt("INV-5", "a clock", 950, "enters the PIN")
        token = self.gateway.get(payment).callback_token
        self.wait(lambda: len(self.repository.open_callbacks(token=token)) == 1, "The callback was not recorded")
        [callback] = self.repository.open_callbacks(token=token)
        self.say("system", "another process takes it, settles, and is killed (SIGKILL)")
        killed = multiprocessing.get_context("spawn").Process(
            target=_settle_and_die, args=(str(self.database), callback.id, self.skipped)
        )
        killed.start()
        killed.join(_PATIENCE)
        killed.kill()
        killed.join()
        row, order = self.gateway.get(payment), self.shop.order("INV-5")
        if row.status != Status.SUCCESS or row.announce_until is None or order.state != "open":
            raise _NeverCame("No process died between settling and announcing")
        self.say("system", f"the payment is {row.status}, and the order is still {order.state}")
        self.skip(self.gateway.settings.announce_lease, "starts again, and announces what the dead one settled")
        self.gateway.start()
        self.wait_for("INV-5", "paid")

    # -- the books -----------------------------------------------------------------------------------------------

    def everything_is_announced(self) -> bool:
        """Whether nothing is left to do."""
        rows = map(self.gateway.get, self.transactions)
        return all(row.announce_until is None for row in rows) and not self.unprocessed()

    def unprocessed(self) -> int:
        """How many callbacks are still open."""
        return len(self.repository.due_callbacks(datetime.max.replace(tzinfo=UTC), 100))

    def books(self) -> bool:
        """The table of the books; whether they balance."""
        rows = self.rows()
        entries = self.daraja.ledger.entries
        lines = draw_up(rows, entries)
        ours = sum((line.ours for line in lines), Decimal(0))
        theirs = sum((line.theirs for line in lines), Decimal(0))
        table = columned(
            [
                ("transaction", "status", "shop's books", "M-PESA's ledger", "receipt"),
                *((line.name, line.status, f"{line.ours:,.2f}", f"{line.theirs:,.2f}", line.receipt) for line in lines),
                ("balance", "", f"{ours:,.2f}", f"{theirs:,.2f}", ""),
            ],
            right={2, 3},
        )
        self.console.print("\n[bold]The books[/]")
        for number, line in enumerate(table):
            self.console.print(Text(line, "bold" if number in {0, len(table) - 1} else ""), soft_wrap=True)
        problems = [self.broken_off] if self.broken_off is not None else []
        problems += unlike_ledger(lines)
        problems += unlike_announced(rows, self.shop.announced)
        problems += self.unlike_orders()
        if not problems:
            self.console.print(
                "\n[bold green]The books balance.[/] Each payment was settled once and announced once.", soft_wrap=True
            )
            return True
        self.console.print(
            "\n[bold red]The books do not balance.[/] This is a defect; please report it:", soft_wrap=True
        )
        for problem in problems:
            self.console.print(beside(Text("  - "), problem, self.console.width), soft_wrap=True)
        return False

    def rows(self) -> list[TransactionRecord]:
        """Every transaction of the shop, those that customers began among them."""
        known = {each: self.gateway.get(each) for each in self.transactions}
        for entry in self.daraja.ledger.entries:
            row = self.repository.find(Key.RECEIPT, (entry.short_code, entry.receipt))
            if row is not None:
                known[row.id] = row
        return list(known.values())

    def unlike_orders(self) -> list[str]:
        """In what the shop's orders are not as they should be."""
        expected = {"INV-1": "refunded", "INV-2": "failed", "INV-3": "paid", "INV-4": "paid", "INV-5": "paid"}
        states = {order.reference: order.state for order in self.shop.orders()}
        problems = [
            f"order {reference} is {states.get(reference, 'missing')}, and should be {state}"
            for reference, state in expected.items()
            if states.get(reference) != state
        ]
        paid = self.daraja.ledger.total(Kind.B2C)
        if self.shop.paid_out != paid:
            problems.append(f"the shop thinks that it paid out {self.shop.paid_out}, and M-PESA paid out {paid}")
        if self.unprocessed():
            problems.append(f"{self.unprocessed()} callbacks were not processed")
        return problems

    # -- what the scenes share -----------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """The present of the shop and its SDK, which goes before M-PESA's by what was skipped."""
        return datetime.now(UTC) + self.skipped

    def skip(self, seconds: float, then: str) -> None:
        """Put the clock forward, instead of waiting, and say beforehand what the SDK does then."""
        self.say("system", f"{seconds:g} seconds pass (the clock is put forward)")
        self.say("sdk", then)
        self.skipped += timedelta(seconds=seconds)

    def prompt(self, reference: str, what: str, price: int, does: str) -> UUID:
        """Take an order and ask the customer's phone for the PIN."""
        self.shop.take_order(reference, what, price)
        self.say("shop", f"order {reference}, {what}: asks {mask_phone(_CUSTOMER)} for {price:,} shillings")
        with self.turn:  # the outcome may be there at once, and is told afterwards
            payment = self.gateway.stk_push(
                phone_number=_CUSTOMER, amount=price, account_reference=reference, idempotency_key=reference
            )
            self.transactions.append(payment.id)
            self.say("phone", f"shows the prompt; the customer {does}")
        return payment.id

    def wait_for(self, reference: str, state: str) -> None:
        """Wait until an order is in a state."""
        self.wait(lambda: self.shop.order(reference).state == state, f"Order {reference} never was {state}")

    def wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        """Wait until something is so, but not for ever."""
        until = time.monotonic() + _PATIENCE
        while not reached():
            if time.monotonic() > until:
                raise _NeverCame(f"{otherwise}, within {_PATIENCE:g} seconds")
            time.sleep(0.02)


@contextmanager
def _serving(story: _Story) -> Iterator[Gateway]:
    """The local Daraja and the shop's callback URLs, each on a port of loopback, and the gateway between them."""
    with (
        closing(story.repository),
        DarajaServer(story.daraja) as server,
        story.shop.listening(_SENDER),
        make_server("127.0.0.1", 0, lambda *_: [], _Server, _Quiet) as web,
    ):
        settings = Settings(
            **story.daraja.settings(server.base_url),
            callback_base_url=f"http://127.0.0.1:{web.server_port}{_PREFIX}",
            callback_ip_allowlist=["127.0.0.1"],
            sweep_interval=0.25,
        )
        with Gateway(settings, story.repository, sender=_SENDER, clock=story.clock) as gateway:
            web.set_app(wsgi_application(Webhooks(gateway), prefix=_PREFIX))
            threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            try:
                gateway.start()
                yield gateway
            finally:
                web.shutdown()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Print nothing: the story is told elsewhere, and a path holds a token."""


def _settle_and_die(database: str, callback_id: UUID, skipped: timedelta) -> None:
    """In a process of its own: settle by a recorded callback, and die in the first receiver, for real."""

    def die(_sender: object, **_more: Any) -> None:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    signals.payment_confirmed.connect(die, sender=_SENDER)
    gateway = Gateway(
        Settings(),
        SqliteRepository(database),
        sender=_SENDER,
        runner="inline",
        clock=lambda: datetime.now(UTC) + skipped,
    )
    gateway.process(callback_id)
