"""The same thing at the same moment, by threads and by processes: settled once, announced once, every body kept."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mpesa_core.daraja.codec import dumps
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, Webhooks
from tests import trials
from tests.settlement.desk import SETTINGS, Clock, Desk, ScriptedDaraja, stk_success

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
both = pytest.mark.parametrize("by", ["threads", pytest.param("processes", marks=needs_fork)])


def race(*arguments):
    """Run a race in a process of its own; what it counted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.faults.races", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    counts = json.loads(done.stdout)
    if "--defect" not in arguments:
        assert [] == counts["errors"]
        assert (0, 0) == (counts["open"], counts["unannounced"])
    return counts


def counted(counts, *names):
    return tuple(counts[name] for name in names)


@both
@pytest.mark.parametrize("flow", ["STK", "C2B", "B2C"])
def test_storm(flow, by):
    """20 payments, 8 concurrent duplicates each: 20 settlements, 20 signals, 160 bodies kept, no error."""
    counts = race("storm", "--flow", flow, "--by", by)
    assert (20, 20, 20, 160) == counted(counts, "settled", "settlements", "signals", "bodies")


@both
@pytest.mark.parametrize("flow", ["STK", "C2B", "B2C"])
def test_storm_with_slow_receivers_and_two_recoverers(flow, by):
    """The same with receivers that sleep and two recoverers that take what they can."""
    counts = race("storm", "--flow", flow, "--by", by, "--sleep", "0.02", "--recoverers", 2)
    assert (20, 20, 20, 160) == counted(counts, "settled", "settlements", "signals", "bodies")


@needs_fork
def test_storm_on_one_payment():
    """8 processes post 300 duplicates each of one callback: 1 transition, 1 signal, 2,400 bodies, no error."""
    copies = trials.scaled(300)
    counts = race("storm", "--payments", 1, "--copies", copies)
    assert (1, 1, 1, 8 * copies) == counted(counts, "settled", "settlements", "signals", "bodies")


@needs_fork
@pytest.mark.parametrize("flow", ["STK", "C2B", "B2C"])
def test_storm_through_a_framework(flow, on_sqlite):
    """20 payments, 8 processes, through Django's and Flask's handlers on SQLite; nobody is told that it is locked."""
    counts = race("storm", "--flow", flow, "--place", on_sqlite, "--recoverers", 1)
    assert (20, 20, 20, 160) == counted(counts, "settled", "settlements", "signals", "bodies")


@needs_fork
def test_storm_on_one_payment_in_a_framework(on_sqlite):
    """8 processes post duplicates of one callback, on SQLite: 1 transition, 1 signal, all bodies, and no "locked"."""
    copies = trials.scaled(30)
    counts = race("storm", "--payments", 1, "--copies", copies, "--place", on_sqlite, "--recoverers", 1)
    assert (1, 1, 1, 8 * copies) == counted(counts, "settled", "settlements", "signals", "bodies")


@needs_fork
@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_storm_on_one_payment_on_a_server(isolation, on_postgres, postgres):
    """The same with rows in PostgreSQL, also where it refuses whoever comes second with a serialization failure."""
    postgres.sql(f"ALTER DATABASE {on_postgres.rpartition('/')[2]} SET default_transaction_isolation TO '{isolation}'")
    copies = trials.scaled(20)
    counts = race("storm", "--payments", 1, "--copies", copies, "--place", on_postgres, "--recoverers", 1)
    assert (1, 1, 1, 8 * copies) == counted(counts, "settled", "settlements", "signals", "bodies")


@needs_fork
def test_two_that_meet_on_a_server(on_postgres):
    """A receipt reported for two payments, on PostgreSQL: one of them settles, the other is a conflict."""
    times = trials.scaled(20)
    counts = race("one_receipt", "--times", times, "--place", on_postgres)
    assert (times, times, times) == counted(counts, "settlements", "signals", "receipts")
    assert (times, times, 2 * times) == counted(counts, "conflicts", "conflict signals", "bodies")


@both
def test_a_storm_finds_a_missing_guard(by):
    """With read-check-save instead of compare-and-set the storm settles more often than there are payments."""
    for _ in range(25):
        counts = race("storm", "--by", by, "--recoverers", 2, "--defect", "no guard on the state")
        if counts["settlements"] > 20:
            return
    pytest.fail("twenty-five storms over a repository without a guard settled every payment once")


@both
@pytest.mark.parametrize("flow", ["B2C", "STK"])
def test_one_idempotency_key_in_two_places(flow, by):
    """Two identical calls meet, and the first one's answer is lost: one row and one post at M-PESA for each key."""
    times = trials.scaled(200)
    counts = race("one_key", "--flow", flow, "--by", by, "--times", times)
    assert (times, times) == counted(counts, "rows", "sent")


@both
def test_an_answer_races_the_callback(by):
    """The sweep's answer, without a receipt, and the callback, with one: one transition, one signal, the receipt kept."""
    times = trials.scaled(500)
    counts = race("query_and_callback", "--by", by, "--times", times)
    assert (times, times, times) == counted(counts, "settlements", "signals", "receipts")
    assert 0 == counts["conflicts"]


@needs_fork
def test_an_answer_races_the_callback_on_a_server(on_postgres):
    """The same on rows in PostgreSQL."""
    times = trials.scaled(15)
    counts = race("query_and_callback", "--times", times, "--place", on_postgres)
    assert (times, times, times, 0) == counted(counts, "settlements", "signals", "receipts", "conflicts")


@both
def test_one_receipt_for_two_payments(by):
    """A receipt reported for two payments at once settles one; the other is a conflict, with its body kept."""
    times = trials.scaled(200)
    counts = race("one_receipt", "--by", by, "--times", times)
    assert (times, times, times) == counted(counts, "settlements", "signals", "receipts")
    assert (times, times, 2 * times) == counted(counts, "conflicts", "conflict signals", "bodies")


@both
def test_two_refunds_of_one_payment(by):
    """Two give back 60 of 100 at once, by reversal or by payout: one of them is refused before it is sent."""
    times = trials.scaled(200)
    counts = race("two_refunds", "--by", by, "--times", times)
    assert (times, times, 60) == counted(counts, "refunds sent", "refused", "most reserved")
    assert 2 == counts["kinds sent"]


@needs_fork
def test_two_refunds_find_a_missing_guard():
    """With read-check-save instead of compare-and-set more is sent back than was paid."""
    for _ in range(25):
        if race("two_refunds", "--times", 200, "--defect", "no guard on the state")["refunds sent"] > 200:
            return
    pytest.fail("five thousand pairs of refunds over a repository without a guard sent one of each")


@needs_fork
def test_two_refunds_through_a_framework(on_sqlite):
    """The same by two processes on Django's and SQLAlchemy's rows in SQLite."""
    times = trials.scaled(30)
    counts = race("two_refunds", "--times", times, "--place", on_sqlite)
    assert (times, times, 60) == counted(counts, "refunds sent", "refused", "most reserved")


@needs_fork
def test_two_refunds_on_a_server(on_postgres):
    """The same by two processes on rows in PostgreSQL."""
    times = trials.scaled(40)
    counts = race("two_refunds", "--times", times, "--place", on_postgres)
    assert (times, times, 60) == counted(counts, "refunds sent", "refused", "most reserved")


@both
def test_two_halves_that_come_back_at_once(by):
    """The results of two halves meet: the payment is reversed once, and each refund announced once."""
    times = trials.scaled(100)
    counts = race("reversals_to_the_last_shilling", "--by", by, "--times", times)
    assert (times, 2 * times, times) == counted(counts, "reversed", "refund signals", "reversed signals")


@pytest.mark.parametrize("with_token", [True, False])
def test_callback_races_the_answer(with_token):
    """The callback is processed while the push's own answer is being stored: applied within one sweep, every time."""
    desk = Desk(MemoryRepository())
    times = trials.scaled(1000)
    rivals = []

    def early(operation):
        answer = desk.daraja._accept(operation)
        token = operation.callback_url.rpartition("/")[2] if with_token else None
        number = answer.checkout_request_id.rpartition("_")[2]
        body = stk_success(answer.checkout_request_id, receipt=f"RCT{int(number):07d}")
        rival = threading.Thread(target=desk.post, args=("STK", body, token))
        rival.start()
        rivals.append(rival)
        return answer

    desk.daraja.answers["StkPush"] = early
    rows = []
    for number in range(times):
        rows.append(desk.push(reference=f"N{number}"))
        rivals.pop().join()
    desk.clock.forward(5)
    while desk.gateway.recover():
        pass
    settled = [desk.gateway.get(row) for row in rows]
    assert [(Status.SUCCESS, 1, None)] * times == [(row.status, row.generation, row.announce_until) for row in settled]
    assert times == len(desk.fired("payment_confirmed"))
    assert [] == list(desk.repository.due_callbacks(desk.clock() + timedelta(days=1), 10))


class Hanging:
    """A bus with one receiver that hangs until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.delivered = []

    def deliver(self, signal, arguments):
        if signal == "payment_confirmed":
            self.delivered.append(arguments["transaction"].id)
            self.entered.set()
            self.let_go.wait(30)
        return []


def test_a_receiver_that_hangs(tmp_path):
    """While a receiver hangs, callbacks are acknowledged, nothing is locked, and its announcement is not taken over."""
    path, bus, clock = tmp_path / "hang.db", Hanging(), Clock()
    repository = SqliteRepository(path, synchronous="OFF")
    settings = Settings(**SETTINGS, announce_lease=3, callback_lease=3)
    # One clock that runs: the leases are renewed by it, as they are in a process.
    start, begun = clock.now, time.monotonic()
    now = lambda: start + timedelta(seconds=time.monotonic() - begun)  # noqa: E731 - a clock
    gateway = Gateway(settings, repository, client=ScriptedDaraja(), bus=bus, clock=now)
    rival = Gateway(settings, SqliteRepository(path), client=ScriptedDaraja(), bus=bus, runner="inline", clock=now)
    webhooks = Webhooks(gateway)
    rows = [
        gateway.stk_push(phone_number="254708374149", amount=100, account_reference=f"N{number}") for number in range(2)
    ]

    def post(number):
        body = dumps(stk_success(f"ws_CO_{number + 1}", receipt=f"RCT{number + 1:07d}"))
        path = f"stk/callback/{rows[number].callback_token}"
        begin = time.perf_counter()
        request = WebhookRequest(method="POST", path=path, body=body, peer="196.201.214.200")
        assert 200 == webhooks.receive(request).status
        return time.perf_counter() - begin

    try:
        post(0)
        assert bus.entered.wait(10)
        waits = sorted(post(1) for _ in range(50))
        assert 5 > waits[-2], "an acknowledgement waited for a receiver"
        hanging = rival.get(bus.delivered[0])
        assert (Status.SUCCESS, True) == (hanging.status, hanging.idempotency_locked)
        # The duplicates above are worked on meanwhile, and write for moments; the receiver hangs for much longer.
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE mpesa_transactions SET host = '{}' WHERE id = ?", [str(hanging.id)])
        connection.execute("ROLLBACK")
        connection.close()
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            rival.recover()
            time.sleep(0.02)
        assert 1 == bus.delivered.count(hanging.id), "the announcement was taken over though its announcer lived"
    finally:
        bus.let_go.set()
        gateway.close()
    rival.recover()
    assert [1, 1] == [bus.delivered.count(row.id) for row in rows]
