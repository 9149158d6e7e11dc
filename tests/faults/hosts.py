"""What a host does to itself: receivers that raise, break their SQL or hang, transactions around ours, a full disk.

    python -m tests.faults.hosts --place django
    python -m tests.faults.hosts --place flask:5432/shop --only hanging

Prints what does not hold, as JSON, by the name of the trouble.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import logging
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import InsideTransaction
from mpesa_core.gateway import Gateway
from mpesa_core.routes import ROUTES
from mpesa_core.settings import Settings
from tests import trials
from tests.faults.places import Place, place_of
from tests.fronts import in_front_of
from tests.settlement.desk import PHONE, SETTINGS, Clock, ScriptedDaraja, stk_success
from tests.test_fronts import NOT_OURS, REQUESTS
from tests.test_webhooks_hostile import BOMBS, CALLBACKS, mutated
from tests.test_webhooks_sources import PROXIES, TABLE
from tests.webhook_host import FakeHost, sample_body


class Host:
    """A shop in a place, with an empty store.

    Args:
        place: where it is.
        runner: of its gateway.
        clock: the time; it stands still by default.
        hear: what its receiver does with a signal's name and arguments.
    """

    def __init__(
        self, place: Place, *, runner: str = "inline", clock: Any = None, hear: Any = None, **settings: Any
    ) -> None:
        place.leave()
        place.empty()
        self.place = place
        self.clock = clock or Clock()
        self.signals = collections.Counter[str]()
        self._hear = hear or (lambda _name, _arguments: None)
        self.gateway, self.post = place.serve(
            Settings(**SETTINGS, **settings),
            place.repository(),
            place.bus(self.hear),
            client=ScriptedDaraja(),
            clock=self.clock,
            runner=runner,
        )
        self.made = 0
        self.digests = collections.Counter[str]()

    def hear(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.signals[name] += 1
        self._hear(name, arguments)

    def payment(self) -> tuple[Any, str, bytes]:
        """One that M-PESA has: the row, and its callback's path and body."""
        self.made += 1
        row = self.gateway.stk_push(phone_number=PHONE, amount=100, account_reference=f"N{self.made}")
        body = dumps(stk_success(row.checkout_request_id, receipt=f"RCT{self.made:07d}"))
        return row, f"stk/callback/{row.callback_token}", body

    def report(self, path: str, body: bytes) -> int:
        """Post it, and do what is to be done afterwards; the status. What is acknowledged is written down."""
        status, finish = self.post(path, body)
        if status == 200:
            self.digests[hashlib.sha256(body).hexdigest()] += 1
        finish()
        return status

    def problems(self, payments: int, *, signals: int | None = None) -> Iterator[str]:
        """What is not as it should be when so many payments were made, and all of them were paid."""
        kept = collections.Counter(hashlib.sha256(row["raw_bytes"]).hexdigest() for row in self.place.callbacks())
        if self.digests - kept:
            yield f"{(self.digests - kept).total()} bodies were acknowledged and are not kept"
        ends = collections.Counter((row["status"], row["generation"]) for row in self.place.transactions())
        if ends != {("SUCCESS", 1): payments}:
            yield f"{payments} payments ended as {dict(ends)}"
        expected = payments if signals is None else signals
        if self.signals["payment_confirmed"] != expected:
            yield f"{self.signals['payment_confirmed']} signals, expected {expected}"
        if any(row["announce_until"] for row in self.place.transactions()):
            yield "a fence is up"


def broken_sql(place: Place) -> Iterator[str]:
    """A receiver's SQL fails, in each way that the framework has, between two receivers that work."""
    for name, harm in place.harms().items():
        others: list[str] = []

        def hear(signal: str, _arguments: Any, harm: Any = harm, others: Any = others) -> None:
            if signal == "payment_confirmed":
                others.append(signal)
                harm()

        host = Host(place, hear=hear)
        with place.receiving("payment_confirmed", lambda others=others: others.append("after")):
            for _ in range(2):
                _, path, body = host.payment()
                if (status := host.report(path, body)) != 200:
                    yield f"{name}: answered {status}"
        yield from (f"{name}: {problem}" for problem in host.problems(2))
        if collections.Counter(others) != {"payment_confirmed": 2, "after": 2}:
            yield f"{name}: the receivers were called as {others}"


_LEASE = 3.0
"""Seconds; it is renewed at a third."""


class Running(Clock):
    """A clock that runs: leases are renewed by it, as they are in a process."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=time.monotonic() - self._begun)


def hanging(place: Place) -> Iterator[str]:
    """A receiver hangs for longer than its lease: others are acknowledged, its row is free, and nobody takes over."""
    entered, let_go = threading.Event(), threading.Event()
    told: list[UUID] = []

    def hear(signal: str, arguments: Mapping[str, Any]) -> None:
        if signal == "payment_confirmed" and not told:
            told.append(arguments["transaction"].id)
            entered.set()
            let_go.wait(60)

    host = Host(place, runner="thread", clock=Running(), hear=hear, announce_lease=_LEASE, callback_lease=_LEASE)
    made = [host.payment() for _ in range(6)]
    try:
        host.report(*made[0][1:])
        if not entered.wait(30):
            yield "nothing was announced"
            return
        for _, path, body in made[1:]:
            began = time.monotonic()
            if (status := host.report(path, body)) != 200:
                yield f"answered {status} while a receiver hangs"
            if time.monotonic() - began > 10:
                yield "an acknowledgement waited for a receiver"
        seen: list[Any] = []
        for _ in range(100):  # SQLite has one lock for all, which the other payments take for moments
            seen = place.seen(told[0])
            if seen == ["SUCCESS", 1]:
                break
            time.sleep(0.02)
        else:
            yield f"a second connection saw {seen}"
        rival = Gateway(
            host.gateway.settings,
            place.repository(),
            client=ScriptedDaraja(),
            bus=host.gateway.bus,
            clock=host.clock,
            runner="inline",
        )
        until = time.monotonic() + 1.2 * _LEASE
        while time.monotonic() < until:
            rival.recover()
            time.sleep(0.1)
    finally:
        let_go.set()
        latest = time.monotonic() + 30
        while time.monotonic() < latest and host.signals["payment_confirmed"] < len(made):
            time.sleep(0.02)
        host.gateway.close()
    host.gateway.recover()
    yield from host.problems(len(made))


def rolled_back(place: Place) -> Iterator[str]:
    """The host settles inside of a transaction of its own and rolls it back: nothing is announced that is not so."""
    host = Host(place)
    _, path, body = host.payment()
    status, _ = host.post(path, body)  # what works on it has not begun
    host.digests[hashlib.sha256(body).hexdigest()] += status == 200
    [waiting] = place.callbacks()
    with place.rolling_back():
        try:
            host.gateway.process(UUID(waiting["id"]))
        except InsideTransaction:
            if host.signals["payment_confirmed"]:
                yield "announced inside of a transaction"
    if [row["raw_bytes"] for row in place.callbacks()] != [body]:
        yield "the body is gone with the host's transaction"
    settled = [row["status"] for row in place.transactions()] == ["SUCCESS"]
    if settled != bool(host.signals["payment_confirmed"]):
        yield f"settled: {settled}, and announced {host.signals['payment_confirmed']} times"
    host.clock.forward(200)
    host.gateway.recover()
    yield from host.problems(1)


def no_room(place: Place) -> Iterator[str]:
    """The disk is full, the database may only be read, or commits nothing: spooled or refused, and settled later."""
    count = 2 + max(6, trials.scaled(6))  # SQLite has room for a few
    for trouble, spool in [(trouble, spool) for trouble in place.refusals for spool in (True, False)]:
        directory = Path(tempfile.mkdtemp(dir=place.directory)) if spool else None
        host = Host(place, spool_dir=directory)
        made = [host.payment() for _ in range(count)]
        statuses = [host.report(path, body) for _, path, body in made[:2]]
        with place.spoiled(trouble):
            statuses += [host.report(path, body) for _, path, body in made[2:]]
        refused = [which for which, status in enumerate(statuses) if status != 200]
        if set(statuses) - {200, 503} or bool(refused) == spool:
            yield f"{trouble}, {spool=}: answered {statuses}"
        host.clock.forward(200)
        host.gateway.recover()
        for which in refused:
            host.report(*made[which][1:])
        host.clock.forward(200)
        host.gateway.recover()
        yield from (f"{trouble}, {spool=}: {problem}" for problem in host.problems(count))


def busy(place: Place) -> Iterator[str]:
    """Deadlocks, lock timeouts and serialization failures: tried again, and nobody is told."""
    host = Host(place)
    made = [host.payment() for _ in range(8)]
    with place.spoiled("busy"):
        for _, path, body in made:
            place.rival()
            status, finish = host.post(path, body)
            if status != 200:
                yield f"answered {status}"
            place.rival()
            finish()
    yield from host.problems(len(made))


def hostile_bodies(place: Place) -> Iterator[str]:
    """Bombs, samples and defects in them: acknowledged, kept to the byte, and worked on until none is left."""
    host = Host(place)
    chance = random.Random(trials.SEED)
    samples = [sample_body(name) for name in CALLBACKS]
    bodies = [*BOMBS.values(), *samples]
    bodies += [mutated(chance.choice(samples), chance) for _ in range(trials.scaled(20))]
    for body in bodies:
        path = chance.choice(ROUTES).path
        status, _ = host.post(path, body)
        if status != 200:
            yield f"{path}: {body[:60]!r} was answered {status}"
        host.digests[hashlib.sha256(body).hexdigest()] += 1
    kept = collections.Counter(hashlib.sha256(row["raw_bytes"]).hexdigest() for row in place.callbacks())
    if kept != host.digests:
        yield f"{(host.digests - kept).total()} of {len(bodies)} bodies are not kept as they came"
    for seconds in (200, 1000, 172_800, 172_800):  # what fits no payment is a conflict after three days
        host.clock.forward(seconds)
        host.gateway.recover()
    waiting = [row["callback_type"] for row in place.callbacks() if row["next_attempt_at"] is not None]
    if waiting:
        yield f"{len(waiting)} of {len(bodies)} are still worked on: {waiting[:5]}"


def odd_requests(place: Place) -> Iterator[str]:
    """Other methods, paths, lengths, chunks and charsets: answered and recorded as by the core's own front."""
    own = {case: status for (framework, case), status in NOT_OURS.items() if framework == place.framework}
    yield from _as_before_the_core(place, REQUESTS, own, max_body_bytes=1000)


def strangers(place: Place) -> Iterator[str]:
    """Forged addresses, of every kind in the table: nobody is let in that is not M-PESA, and what came is kept."""
    requests = {}
    for peer, forwarded, _, _ in TABLE:
        changes = {"REMOTE_ADDR": peer, **({"HTTP_X_FORWARDED_FOR": ",".join(forwarded)} if forwarded else {})}
        requests[f"{peer} for {forwarded}"] = ("stk/callback/", b"body", changes)
    yield from _as_before_the_core(place, requests, {}, trusted_proxies=PROXIES)


def _as_before_the_core(
    place: Place, requests: Mapping[str, tuple[str, bytes, Mapping[str, Any]]], own: Mapping[str, int], **settings: Any
) -> Iterator[str]:
    """What is not as the core's own front has it; ``own``: what the framework answers by itself."""
    host, core_host = Host(place, **settings), FakeHost(**SETTINGS, **settings)
    host.payment()
    before = place.transactions()
    names = []
    with in_front_of("core", core_host) as core:
        for name, (path, body, changes) in requests.items():
            host.clock.forward(1)
            core_host.tick(seconds=1)
            status, answer, _ = place.ask(path, body, changes)
            if name in own:
                expected: tuple[int, bytes] = (own[name], answer)
            else:
                expected_status, _, expected_answer = core.ask(path, body, changes)
                bodiless = expected_status == 404 or changes.get("REQUEST_METHOD") == "HEAD"
                expected = (expected_status, answer if bodiless else expected_answer)
            if (status, answer) != expected:
                yield f"{name}: answered {status} {answer!r}, expected {expected}"
            names += [name] * (len(core.kept) - len(names))
        for name, expected_record, record in zip(names, core.kept, place.kept(), strict=True):
            if record != expected_record:
                yield f"{name}: recorded {record}, expected {expected_record}"
    if place.transactions() != before:
        yield "a payment was changed"


TROUBLES: dict[str, Callable[[Place], Iterator[str]]] = {
    "broken SQL": broken_sql,
    "hanging": hanging,
    "rolled back": rolled_back,
    "no room": no_room,
    "busy": busy,
    "hostile bodies": hostile_bodies,
    "odd requests": odd_requests,
    "strangers": strangers,
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hosts", description=__doc__.partition("\n")[0])
    parser.add_argument("--place", required=True)
    parser.add_argument("--only", choices=TROUBLES)
    options = parser.parse_args()
    logging.disable()
    directory = Path(tempfile.mkdtemp(prefix="mpesa-hosts-"))
    place = place_of(options.place, directory)
    place.make()
    # SQLite has one writer: a host that waits for us inside of its own transaction waits for itself.
    left_out = "rolled back" if options.place == "flask" else ""
    found: dict[str, list[str]] = {}
    try:
        for name, trouble in TROUBLES.items():
            if name != left_out and options.only in (None, name):
                found[name] = list(trouble(place))
    finally:
        with contextlib.suppress(Exception):
            place.leave()
        shutil.rmtree(directory)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
