"""The database refuses while callbacks come: what was acknowledged is kept, spooled or recorded, and settled later."""

from __future__ import annotations

import hashlib
import logging
import sqlite3

import pytest

from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import StorageError, StorageUnavailable
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, Webhooks
from tests import trials
from tests.settlement.desk import SETTINGS, Clock, Desk, ScriptedDaraja, payout_success, stk_success


class Failing(SqliteRepository):
    """A store that can be made to fail as SQLite itself does, on each connection that it makes."""

    trouble = None

    def _connect(self):
        connection = super()._connect()
        if self.trouble == "full":
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
        if self.trouble == "read-only":
            connection.execute("PRAGMA query_only = ON")
        return connection

    def fail(self, trouble):
        self.trouble = trouble
        self._local.handle = None


class Counter:
    def __init__(self):
        self.signals = []

    def deliver(self, signal, arguments):
        self.signals.append((signal, arguments))
        return []


@pytest.fixture(params=["full", "read-only", "locked", "gone"])
def trouble(request):
    return request.param


@pytest.fixture(autouse=True)
def quiet():
    """The log tells of each of the failures."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class House:
    """A gateway on a store that fails, with M-PESA posting to it."""

    def __init__(self, tmp_path, *, spool):
        self.path = tmp_path / "house.db"
        self.repository = Failing(self.path, synchronous="OFF", busy_timeout=0)
        self.settings = Settings(**SETTINGS, spool_dir=tmp_path / "spool" if spool else None)
        self.bus, self.clock, self.lock = Counter(), Clock(), None
        self.start()
        self.acknowledged, self.refused = [], []

    def start(self):
        self.gateway = Gateway(
            self.settings,
            self.repository,
            client=ScriptedDaraja(),
            bus=self.bus,
            runner="inline",
            clock=self.clock,
        )
        self.webhooks = Webhooks(self.gateway, pause=lambda _seconds: None)
        self.gateway._driver._sleep = lambda _seconds: None

    def fail(self, trouble):
        if trouble == "gone":
            self.repository.close()
        elif trouble == "locked":
            self.lock = sqlite3.connect(self.path, isolation_level=None)
            self.lock.execute("BEGIN EXCLUSIVE")
        else:
            self.repository.fail(trouble)

    def mend(self):
        """The database is back, and the process was started again."""
        if self.lock is not None:
            self.lock.execute("ROLLBACK")
            self.lock.close()
        self.repository = Failing(self.path, synchronous="OFF")
        self.start()

    def post(self, path, body):
        raw = dumps(body)
        response = self.webhooks.receive(WebhookRequest(method="POST", path=path, body=raw, peer="196.201.214.200"))
        (self.acknowledged if response.status == 200 else self.refused).append(hashlib.sha256(raw).hexdigest())
        if response.after is not None:
            response.after()
        return response.status

    def kept(self):
        connection = sqlite3.connect(self.path)
        rows = connection.execute("SELECT raw_bytes FROM mpesa_callbacks").fetchall()
        connection.close()
        return [hashlib.sha256(raw).hexdigest() for (raw,) in rows]


def storm(house, trouble, count):
    """Payments are asked for, some callbacks come before the trouble and the others in it."""
    rows = [
        house.gateway.stk_push(phone_number="254708374149", amount=100, account_reference=f"N{number}")
        for number in range(count)
    ]
    posts = [
        (f"stk/callback/{row.callback_token}", stk_success(f"ws_CO_{number}", receipt=f"RCT{number:07d}"))
        for number, row in enumerate(rows, 1)
    ]
    for number, post in enumerate(posts):
        if number == count // 4:
            house.fail(trouble)
        house.post(*post)
    return rows, posts


@pytest.mark.faults
def test_with_a_spool_everything_is_acknowledged_and_settled_later(tmp_path, trouble):
    """In the trouble callbacks are spooled and acknowledged; when it is over each is taken in once, and settled once."""
    house = House(tmp_path, spool=True)
    count = trials.scaled(60)
    rows, _ = storm(house, trouble, count)
    assert (count, []) == (len(house.acknowledged), house.refused)
    house.mend()
    house.clock.forward(200)
    house.gateway.recover()
    assert sorted(house.acknowledged) == sorted(house.kept())
    assert {(Status.SUCCESS, 1)} == {(settled.status, settled.generation) for settled in map(house.gateway.get, rows)}
    assert count == sum(signal == "payment_confirmed" for signal, _ in house.bus.signals)


@pytest.mark.faults
def test_without_a_spool_nothing_is_acknowledged_that_is_not_kept(tmp_path, trouble):
    """In the trouble callbacks are answered 503; what was acknowledged before is there, and M-PESA's next try settles."""
    house = House(tmp_path, spool=False)
    count = trials.scaled(60)
    rows, posts = storm(house, trouble, count)
    assert house.refused
    house.mend()
    assert set(house.acknowledged) <= set(house.kept())
    assert set() == set(house.refused) & set(house.kept())
    for post in posts:
        assert 200 == house.post(*post)
    house.clock.forward(200)
    house.gateway.recover()
    assert {(Status.SUCCESS, 1)} == {(settled.status, settled.generation) for settled in map(house.gateway.get, rows)}
    assert count == sum(signal == "payment_confirmed" for signal, _ in house.bus.signals)


def test_database_and_spool_both_refuse(tmp_path, monkeypatch):
    """Where neither can be written the answer is 503, and it says when to come again."""
    house = House(tmp_path, spool=True)
    rows, _ = storm(house, "full", 4)
    monkeypatch.setattr("mpesa_core.spool.os.fsync", full_disk)
    before = len(house.acknowledged)
    assert 503 == house.post(f"stk/callback/{rows[0].callback_token}", stk_success("ws_CO_1"))
    assert before == len(house.acknowledged)


def full_disk(*_arguments):
    raise OSError(28, "No space left on device")


class Breaks:
    """A store of which each write fails once, in the middle of settling: before it happened, or after."""

    def __init__(self, inner, error, *, after, at):
        self.inner, self.error, self.after, self.at = inner, error, after, at
        self.calls = 0

    def __getattr__(self, name):
        operation = getattr(self.inner, name)
        if name not in ("change", "change_callback", "add"):
            return operation

        def perform(*arguments, **keywords):
            self.calls += 1
            if self.calls != self.at:
                return operation(*arguments, **keywords)
            if self.after:
                operation(*arguments, **keywords)
            raise self.error("the store failed")

        return perform


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_write_that_fails_or_whose_answer_is_lost(tmp_path, at, after):
    """Any one write of a payment's life fails, or happens and does not say so: settled once, never called failed."""
    desk = Desk(SqliteRepository(tmp_path / "breaks.db", synchronous="OFF"))
    breaks = Breaks(desk.repository, StorageUnavailable, after=after, at=at)
    desk.gateway._driver._repository = breaks
    sent = None
    for _ in range(3):
        try:
            sent = desk.gateway.payout(phone_number="254708374149", amount=100, idempotency_key="PAY-1")
            break
        except StorageError:
            continue
    assert sent is not None
    for _ in range(2):
        try:
            desk.post("B2C_RESULT", payout_success(), sent.callback_token)
        except StorageError:
            continue
    desk.recover(61)
    desk.recover(200)
    settled = desk.gateway.get(sent)
    assert 1 >= desk.daraja.count("B2CPayment")
    if desk.daraja.count("B2CPayment"):
        assert (Status.SUCCESS, 1, None) == (settled.status, settled.generation, settled.announce_until)
        # Where it was the mark that failed, the fence stays up and lapses: announced once more, as after a crash there.
        assert 1 <= len(desk.fired("payout_completed")) <= 2
        assert [] == desk.fired("payout_failed")
