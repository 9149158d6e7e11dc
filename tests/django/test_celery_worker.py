"""Real Celery workers on a real Redis, for callbacks that are posted to a real server with its rows in PostgreSQL."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

pytest.importorskip("django")
pytest.importorskip("celery", reason="celery is not installed: pip install 'mpesa-core[celery]'")

from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_django.runners import tasks_framework
from tests.servers.program import running, until
from tests.servers.starting import free_port

CELERY = ("-m", "celery", "-A", "tests.django.queueshop.celery", "--quiet")
PROCESS = "mpesa_django.process_callback"


class Town:
    """The shop's processes and what they have in common."""

    def __init__(self, folder, postgres, database, broker):
        self.folder = folder
        self.port = free_port()
        self._sql = lambda statement: postgres.rows(statement, database)
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.django.queueshop.settings",
            "SHOP_DATABASE_PORT": str(postgres.port),
            "SHOP_DATABASE": database,
            "SHOP_BROKER": broker.url,
        }
        self.command("migrate", "--verbosity=0")

    def command(self, *words):
        with running("-m", "django", *words, folder=self.folder, environment=self.environment) as program:
            assert 0 == program.await_end(), program.told
            return program.told

    def server(self):
        address = f"127.0.0.1:{self.port}"
        return running(
            "-m", "django", "runserver", "--noreload", address, folder=self.folder, environment=self.environment
        )

    def worker(self, *options):
        return running(
            *CELERY, "worker", "-c", "2", "-l", "INFO", *options, folder=self.folder, environment=self.environment
        )

    def post(self, receipt, reference="INV-1"):
        """One confirmation, whose acknowledgement is not waited for any longer than M-PESA would; its status."""
        body = posted(c2b_confirmation(receipt=receipt, reference=reference))
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            connection.request("POST", "/pay/c2b/confirm/", body, {"Content-Type": "application/json"})
            return connection.getresponse().status

    @property
    def heard(self):
        path = self.folder / "heard"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def settled(self):
        return sorted(receipt for (receipt,) in self._sql(SETTLED))

    @property
    def callbacks(self):
        return [str(row) for (row,) in self._sql("SELECT id FROM default_models_mpesacallbacklog")]


SETTLED = "SELECT mpesa_receipt_number FROM default_models_mpesatransaction WHERE status = 'SUCCESS' AND NOT idempotency_locked"


@pytest.fixture
def town(tmp_path, postgres, postgres_database, redis_broker):
    return Town(tmp_path, postgres, postgres_database, redis_broker)


def test_a_worker_settles_each_payment_once(town, redis_broker):
    """Each payment is posted four times at once, and each callback has three jobs that two processes work on."""
    receipts = [f"NLJ7RT61S{number}" for number in range(5)]
    with town.server() as server:
        server.await_port(town.port)
        with ThreadPoolExecutor(8) as pool:
            assert {200} == set(pool.map(town.post, receipts * 4))
        until(lambda: redis_broker.command("LLEN", "celery").strip() == b":20", lambda: server.told)
    redis_broker.command("DEL", "celery")
    from celery import Celery

    with Celery("another", broker=redis_broker.url) as app:
        for callback in sorted(town.callbacks * 3):  # the same job side by side
            app.send_task(PROCESS, (callback,), ignore_result=True)
    with town.worker() as worker:
        until(lambda: worker.told.count("succeeded in") >= 60, lambda: worker.told)
    assert receipts == town.settled
    assert receipts == sorted(town.heard)


def test_a_killed_worker_loses_nothing(town, redis_broker):
    """A worker is killed in the midst of receivers, with more jobs in its hands; another one and its beat settle all."""
    receipts = [f"NLJ7RT61S{number}" for number in range(8)]
    with town.server() as server, town.worker() as worker:
        server.await_port(town.port)
        for receipt in receipts:
            assert 200 == town.post(receipt, "SLOW")
        until(lambda: len(town.heard) == 2, lambda: worker.told)
        worker.kill()
    assert [] == town.settled  # two are settled and not announced
    (town.folder / "go").touch()
    with town.worker("-B", "-s", str(town.folder / "beat")) as worker:
        until(lambda: town.settled == receipts, lambda: worker.told)
    assert set(receipts) == set(town.heard)
    assert len(receipts) + 2 == len(town.heard)  # the two that were being told are told again


def test_a_killed_broker_loses_nothing(town, redis_broker):
    """Redis dies with the queue in it; callbacks are acknowledged all the same, and mpesa_recover settles all of them."""
    receipts = [f"NLJ7RT61S{number}" for number in range(8)]
    with town.server() as server:
        server.await_port(town.port)
        assert [200] * 5 == [town.post(receipt) for receipt in receipts[:5]]
        until(lambda: redis_broker.command("LLEN", "celery").strip() == b":5", lambda: server.told)
        redis_broker.kill()
        assert [200] * 3 == [town.post(receipt) for receipt in receipts[5:]]
        until(lambda: server.told.count("got no job and is left to the sweep") == 3, lambda: server.told)
    assert [] == town.settled
    town.command("mpesa_recover")
    assert receipts == town.settled
    assert receipts == sorted(town.heard)


def test_the_tasks_framework_settles_too(town):
    """RUNNER = "django_tasks", with the framework's own default backend, on a real server."""
    if tasks_framework() is None:
        pytest.skip("django-tasks is not installed: pip install 'mpesa-core[dev]'")
    town.environment["SHOP_MPESA"] = '{"RUNNER": "django_tasks"}'
    with town.server() as server:
        server.await_port(town.port)
        assert 200 == town.post("NLJ7RT61S1")
        until(lambda: town.settled == ["NLJ7RT61S1"], lambda: server.told)
    assert ["NLJ7RT61S1"] == town.heard


def test_the_project_is_told_nothing(town):
    """The checks have nothing to say about a project that is set up as Celery's own pages say."""
    told = town.command("check", "--fail-level", "WARNING")
    assert "no issues" in told
