"""Real Celery and RQ workers on a real Redis, for callbacks that are posted to a real Flask server."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

pytest.importorskip("flask")
pytest.importorskip("celery", reason="celery is not installed: pip install 'mpesa-core[celery]'")
pytest.importorskip("rq", reason="rq is not installed: pip install 'mpesa-core[rq]'")

from mpesa_core import SqliteRepository
from mpesa_core.payments.records import Key
from mpesa_core.testing.payloads import c2b_confirmation, posted
from tests.servers.program import running, until
from tests.servers.starting import free_port

WORKERS = {
    "celery": ("-m", "celery", "-A", "tests.flask.queueshop:celery_app", "--quiet", "worker", "-c", "2"),
    "rq": ("-m", "tests.flask.queueshop"),
}
SWEEPERS = {
    "celery": (*WORKERS["celery"], "-B", "-s", "beat"),
    "rq": ("-m", "flask", "--app", "tests.flask.queueshop:flask_app", "mpesa", "worker", "--interval", "0.5"),
}
"""What sweeps beside the workers, as the page on Flask says: Celery's beat, or the command."""

QUEUES = {"celery": "celery", "rq": "rq:queue:default"}
RECEIPTS = [f"NLJ7RT61S{number}" for number in range(4)]


class Town:
    """The shop's processes and what they have in common."""

    def __init__(self, folder, kind, broker):
        self.folder = folder
        self.kind = kind
        self.port = free_port()
        self.waiting = lambda: int(broker.command("LLEN", QUEUES[kind]).strip(b":\r\n") or 0)
        self.environment = {"SHOP_RUNNER": kind, "SHOP_BROKER": broker.url}

    def run(self, *arguments):
        return running(*arguments, folder=self.folder, environment=self.environment)

    def flask(self, *words):
        return self.run("-m", "flask", "--app", "tests.flask.queueshop:flask_app", *words)

    def server(self):
        return self.flask("run", "--port", str(self.port))

    def worker(self):
        return self.run(*WORKERS[self.kind])

    def post(self, receipt, reference="INV-1"):
        """One confirmation; its status."""
        body = posted(c2b_confirmation(receipt=receipt, reference=reference))
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            connection.request("POST", "/pay/c2b/confirm/", body, {"Content-Type": "application/json"})
            return connection.getresponse().status

    @property
    def heard(self):
        path = self.folder / "heard"
        return sorted(path.read_text().split()) if path.exists() else []

    @property
    def settled(self):
        """The receipts that are settled and announced."""
        with closing(SqliteRepository(self.folder / "payments.sqlite3")) as repository:
            rows = [repository.find(Key.RECEIPT, ("174379", receipt)) for receipt in RECEIPTS]
        return [row.mpesa_receipt_number for row in rows if row and row.announce_until is None]


@pytest.fixture(params=["celery", "rq"])
def town(request, tmp_path, redis_broker):
    return Town(tmp_path, request.param, redis_broker)


def test_a_worker_settles_each_payment_once(town):
    """Each payment is posted twice at once; the jobs reach the app's own gateway, with its receivers."""
    with town.server() as server, town.worker() as worker:
        server.await_port(town.port)
        with ThreadPoolExecutor(8) as pool:
            assert {200} == set(pool.map(town.post, RECEIPTS * 2))
        until(lambda: town.settled == RECEIPTS and town.waiting() == 0, lambda: worker.told)
    assert RECEIPTS == town.heard


def test_a_killed_worker_loses_nothing_to_its_successor(town):
    """Killed in the midst of receivers, with more jobs in its hands: another one, and what sweeps, settle all of it."""
    with town.server() as server, ExitStack() as later:
        server.await_port(town.port)
        with town.worker() as worker:
            assert [200] * 4 == [town.post(receipt, "SLOW") for receipt in RECEIPTS]
            until(lambda: town.heard, lambda: worker.told)
            worker.kill()
        assert [] == town.settled
        (town.folder / "go").touch()
        sweeper = later.enter_context(town.run(*SWEEPERS[town.kind]))
        if town.kind == "rq":
            later.enter_context(town.worker())
        until(lambda: town.settled == RECEIPTS, lambda: sweeper.told)
    assert set(RECEIPTS) == set(town.heard)


def test_killed_workers_and_a_killed_broker_lose_nothing(town, redis_broker):
    """A worker dies in a receiver, then Redis with the rest of the queue; flask mpesa recover settles all of it."""
    with town.server() as server:
        server.await_port(town.port)
        with town.worker() as worker:
            assert [200] * 3 == [town.post(receipt, "SLOW") for receipt in RECEIPTS[:3]]
            until(lambda: town.heard, lambda: worker.told)
            worker.kill()
        redis_broker.kill()
        assert 200 == town.post(RECEIPTS[3])
        until(lambda: "got no job and is left to the sweep" in server.told, lambda: server.told)
    assert [] == town.settled
    (town.folder / "go").touch()

    def recovered():
        with town.flask("mpesa", "recover") as command:
            assert 0 == command.await_end(), command.told
        return town.settled == RECEIPTS

    until(recovered)  # the dead worker's leases have to lapse first
    assert set(RECEIPTS) == set(town.heard)
