"""A PostgreSQL that fails while payments are made, and is the same afterwards.

    python -m tests.faults.outages --place django                     every kind, a few times each
    python -m tests.faults.outages --place flask --kind crash --times 100

``crash``: the server is stopped at once, as by a loss of power, and started again: at a step of the core's, or while it
goes on. ``terminated``: every connection is ended by the server. ``cut``: the next commit is carried out, and its answer
never arrives. ``down``: nothing answers while callbacks come, with and without a spool.

The server is this command's own; connections to it go through a post of its own, which can cut them. A trial is a
scenario of :mod:`tests.faults.kills`, and is held to the same invariants.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mpesa_core.daraja.codec import dumps
from mpesa_core.settings import Settings
from tests import trials
from tests.faults.books import unannounced, violations
from tests.faults.kills import Trial
from tests.faults.life import Life, Steps
from tests.faults.places import Place, place_of
from tests.faults.record import Record
from tests.servers.postgresql import Postgres, postgres_binaries
from tests.settlement.desk import PHONE, SETTINGS, Clock, ScriptedDaraja, stk_success

KINDS = ("crash", "terminated", "cut", "down")


class Post:
    """Passes on what goes to a server and comes from it; when it is armed, the answer to the next commit is lost.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self.armed = False
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for work in (self._to_server, self._to_client):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while asked := client.recv(65536):
                server.sendall(asked)
        _close(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(65536):
                if self.armed and _IDLE in said and any(done in said for done in _DONE):
                    self.armed, self.cuts = False, self.cuts + 1
                    break
                client.sendall(said)
        _close(client, server)


_DONE = (b"COMMIT\0", b"INSERT 0 1\0", b"UPDATE 1\0")
_IDLE = b"Z\0\0\0\x05I"
"""The server's words for what it has done, and for that no transaction is open: it is committed."""


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class House:
    """A place on a server of its own.

    Args:
        name: of the place.
        directory: for what the processes tell, and for a spool.
    """

    def __init__(self, name: str, directory: Path) -> None:
        binaries = postgres_binaries()
        if binaries is None:
            raise RuntimeError("PostgreSQL is not installed")
        self.directory = directory
        self.server = Postgres(binaries, fsync="off")
        self.post = Post(self.server.port)
        self.database = self.server.new_database()
        self.place: Place = place_of(f"{name}:{self.post.port}/{self.database}", directory)
        self.place.make()
        self.met = Counter[str]()
        self.happened = 0

    def trouble(self, kind: str, chance: random.Random) -> tuple[Callable[[], None], Callable[[], None]]:
        """What happens at the step, and what waits until it is over."""
        if kind == "terminated":
            return self._terminate, lambda: None
        if kind == "cut":
            return lambda: setattr(self.post, "armed", True), lambda: setattr(self.post, "armed", False)
        if chance.random() < 0.5:
            return self._crash, lambda: None
        delay = chance.random() * 0.01
        meanwhile = threading.Thread(target=lambda: (time.sleep(delay), self._crash()))
        return meanwhile.start, lambda: meanwhile.join() if meanwhile.ident else None

    def _crash(self) -> None:
        self.happened += 1
        self.server.crash()
        self.server.start()

    def _terminate(self) -> None:
        others = f"datname = '{self.database}' AND pid <> pg_backend_pid()"
        ended = f"SELECT count(pg_terminate_backend(pid, 5000)) AS ended FROM pg_stat_activity WHERE {others}"
        self.happened += self.place.store.query(ended)[0]["ended"]

    def trial(self, trial: Trial, kind: str) -> list[str]:
        """One payment's life with the trouble at ``stop_at``; what did not hold."""
        self.place.empty()
        told = self.directory / "told"
        told.unlink(missing_ok=True)
        record = Record(told)
        chance = random.Random(f"{trial}:{kind}")

        def life(part: str, age: float, steps: Steps) -> Life:
            living = Life(self.place, record, trial.payments, seed=f"{trial}:{part}", age=age, steps=steps)
            living.outage = True
            return living

        happen, over = self.trouble(kind, chance)
        life("first", 0, Steps(record, stop_at=trial.stop_at, wait=happen)).live()
        over()
        self.happened += self.post.cuts
        self.post.cuts = 0
        self.place.leave()
        # What was announced and not marked so is announced once more.
        announced = {f"{line['id']}/{line['generation']}" for line in record.read("signal") if "seen" in line}
        record.tell("window", settlements=[each for each in unannounced(self.place) if each in announced])
        for part, age in (("again", 61), ("last", 130)):
            living = life(part, age, Steps(record))
            living.live()
        living.outage = False
        living.sweep_until_quiet()
        broken = list(violations(self.place, record, trial.payments))
        self.met.update(line["text"] for line in record.read("failed"))
        self.met.update(f"answered {line['status']}" for line in record.read("refused"))
        return broken

    def trials(self, kind: str, times: int, seed: int) -> list[str]:
        """So many of them; what did not hold in the first that failed."""
        chance = random.Random(f"{seed}:{kind}")
        for number in range(times):
            trial = Trial(seed, number, stop_at=chance.randint(1, 35))
            broken = self.trial(trial, kind)
            if broken:
                return [f"{kind}, trial {number} of seed {seed}, at step {trial.stop_at}", *broken]
        return []

    def down(self, count: int, *, spool: bool) -> list[str]:
        """Nothing answers while callbacks come; everything that was acknowledged is kept, and settled later."""
        self.place.empty()
        clock, daraja, signals = Clock(), ScriptedDaraja(), Counter[str]()
        settings = Settings(**SETTINGS, spool_dir=self.directory / "spool" if spool else None)
        bus = self.place.bus(lambda name, _arguments: signals.update([name]))
        gateway, post = self.place.serve(settings, self.place.repository(), bus, client=daraja, clock=clock)
        rows = [
            gateway.stk_push(phone_number=PHONE, amount=100, account_reference=f"N{number}") for number in range(count)
        ]
        posts = [
            (f"stk/callback/{row.callback_token}", dumps(stk_success(row.checkout_request_id, receipt=f"RCT{n:07d}")))
            for n, row in enumerate(rows)
        ]
        statuses = []

        def deliver(which: int) -> int:
            status, finish = post(*posts[which])
            finish()
            statuses.append((which, status))
            return status

        for which in range(count):
            if which == count // 4:
                self.happened += 1
                self.server.crash()
            deliver(which)
        self.server.start()
        for _ in range(2):  # the first meets connections that are no more
            with contextlib.suppress(Exception):
                gateway.recover()
            clock.forward(200)
        refused = [which for which, status in statuses if status != 200]
        kept = Counter(hashlib.sha256(row["raw_bytes"]).hexdigest() for row in self.place.callbacks())
        broken = [
            f"acknowledged and not kept: {posts[which][0]}"
            for which, status in statuses
            if status == 200 and not kept[hashlib.sha256(posts[which][1]).hexdigest()]
        ]
        broken += [f"answered {status}" for _, status in statuses if status not in (200, 503)]
        if spool and refused:
            broken.append(f"{len(refused)} were refused although there is a spool")
        if not spool and len(refused) < count // 2:
            broken.append(f"only {len(refused)} of {count} were refused")
        for which in refused:
            if deliver(which) != 200:
                broken.append("refused again when the server was back")
        clock.forward(200)
        gateway.recover()
        ends = Counter((row["status"], row["generation"]) for row in self.place.transactions())
        if ends != {("SUCCESS", 1): count}:
            broken.append(f"ended as {dict(ends)}")
        if signals["payment_confirmed"] != count:
            broken.append(f"{signals['payment_confirmed']} signals for {count} payments")
        self.met.update(f"answered {status}" for _, status in statuses if status != 200)
        gateway.close()
        return broken


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.outages", description=__doc__.partition("\n")[0])
    parser.add_argument("--place", choices=["django", "flask"], required=True)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--times", type=int, default=trials.scaled(10))
    parser.add_argument("--seed", type=int, default=trials.SEED)
    options = parser.parse_args(arguments)
    logging.disable()
    directory = Path(tempfile.mkdtemp(prefix="mpesa-outages-"))
    house = House(options.place, directory)
    try:
        for kind in options.kind or KINDS:
            if kind == "down":
                broken = [
                    f"{spool=}: {each}"
                    for spool in (True, False)
                    for each in house.down(4 * options.times, spool=spool)
                ]
            else:
                broken = house.trials(kind, options.times, options.seed)
            print(f"{kind}: happened {house.happened} times; then met: {dict(house.met)}")
            house.met.clear()
            house.happened = 0
            if broken:
                print("found:", *broken, sep="\n  ")
                return 1
        print("all hold")
        return 0
    finally:
        house.place.leave()
        house.server.remove()
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
