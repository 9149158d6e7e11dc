"""The Celery runner and its tasks, against brokers that are not there, and without one."""

from __future__ import annotations

from uuid import uuid4

import pytest

pytest.importorskip("celery", reason="celery is not installed: pip install 'mpesa-core[celery]'")

import celery

from mpesa_core.errors import StorageUnavailable
from mpesa_core.ext.celery import CeleryRunner, make_tasks
from mpesa_core.settlement.recovery import Recovered
from tests.servers.starting import free_port


class Host:
    """Stands for a gateway."""

    def __init__(self, *failures):
        self.seen = []
        self.failures = list(failures)

    def process(self, callback_id):
        self.seen.append(callback_id)
        if self.failures:
            raise self.failures.pop(0)

    def sweep(self):
        return Recovered(callbacks=len(self.seen))


def app_of(broker="memory://", **settings):
    app = celery.Celery("tests", broker=broker, set_as_current=False)
    app.conf.update(settings)
    return app


def test_the_tasks_and_how_they_are_kept():
    """A callback's task is acknowledged when it is done, given back when its worker dies, and keeps no result."""
    tasks = make_tasks(app_of(), Host)
    assert ("mpesa.process_callback", "mpesa.sweep") == (tasks.process.name, tasks.sweep.name)
    assert tasks.process.acks_late
    assert tasks.process.reject_on_worker_lost
    assert tasks.process.ignore_result
    assert 60 == tasks.sweep.expires


def test_each_app_has_its_own_gateway():
    """Two apps in one process, each with tasks of the same names, do not get each other's callbacks."""
    hosts = [Host(), Host()]
    apps = [app_of(), app_of()]
    made = [make_tasks(app, lambda host=host: host) for app, host in zip(apps, hosts, strict=True)]
    for tasks in made:
        tasks.process.apply((str(uuid4()),))
    assert [1, 1] == [len(host.seen) for host in hosts]


def test_a_store_that_fails_is_tried_again():
    """Storage errors repeat the task, with growing pauses; the error that is kept quotes no row."""
    host, callback = Host(StorageUnavailable("254712345678"), StorageUnavailable("again")), uuid4()
    tasks = make_tasks(app_of(), lambda: host)
    result = tasks.process.apply((str(callback),))
    assert "not due" == result.get()
    assert [callback] * 3 == host.seen
    assert "SUCCESS" == result.state


def test_a_store_that_fails_for_long_is_left_to_the_sweep():
    """After a few minutes the task ends, with an error that quotes no row."""
    host = Host(*[StorageUnavailable("254712345678")] * 20)
    result = make_tasks(app_of(), lambda: host).process.apply((str(uuid4()),))
    assert "FAILURE" == result.state
    assert 9 == len(host.seen)
    assert "254712345678" not in str(result.traceback) + str(result.result)


def test_a_defect_is_not_repeated():
    """What is no storage error fails at once, in outline."""
    host = Host(KeyError("254712345678"))
    result = make_tasks(app_of(), lambda: host).process.apply((str(uuid4()),))
    assert 1 == len(host.seen)
    assert "254712345678" not in str(result.traceback)


def test_the_sweep_tells_what_it_did():
    """Beat's task does one round."""
    assert repr(Recovered()) == make_tasks(app_of(), Host).sweep.apply().get()


def test_an_eager_app_works_after_the_answer():
    """With task_always_eager nothing is published: the caller gets what processes the callback."""
    host, callback = Host(), uuid4()
    runner = CeleryRunner(make_tasks(app_of("redis://127.0.0.1:1", task_always_eager=True), lambda: host).process)
    after = runner.submit(callback)
    assert [] == host.seen
    after()
    assert [callback] == host.seen


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:{}/0", "amqp://127.0.0.1:{}//"])
def test_a_broker_that_is_not_there(broker, caplog):
    """Publishing gives up by itself, though Celery would look for the broker for ever, and says so in one line each."""
    pytest.importorskip("redis", reason="redis is not installed: pip install 'mpesa-core[dev]'")
    runner = CeleryRunner(make_tasks(app_of(broker.format(free_port())), Host).process)
    runner.submit(uuid4())
    runner.submit(uuid4())
    assert runner.wait(30)
    runner.stop()
    assert 2 == sum("got no job and is left to the sweep" in line for line in caplog.messages)


def test_a_broker_that_was_away_meanwhile(redis_broker):
    """A connection that broke while nothing was published is renewed, and the callback gets its job."""
    runner = CeleryRunner(make_tasks(app_of(redis_broker.url), Host).process)
    runner.submit(uuid4())
    assert runner.wait(30)
    redis_broker.kill()
    redis_broker.start()
    runner.submit(uuid4())
    assert runner.wait(30)
    runner.stop()
    assert b":1" == redis_broker.command("LLEN", "celery").strip()


def test_a_broker_that_hangs(redis_broker, caplog):
    """One that takes the connection and answers nothing is given up too."""
    runner = CeleryRunner(make_tasks(app_of(redis_broker.url), Host).process, timeout=0.1)
    with redis_broker.stopped():
        runner.submit(uuid4())
        assert runner.wait(30)
        runner.stop()
    assert 1 == sum("got no job and is left to the sweep" in line for line in caplog.messages)
