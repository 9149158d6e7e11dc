"""The RQ runner against a Redis that is there, that hangs, and that is not there."""

from __future__ import annotations

from uuid import uuid4

import pytest

pytest.importorskip("rq", reason="rq is not installed: pip install 'mpesa-core[rq]'")

from redis import Redis
from rq import Queue

from mpesa_core.ext.rq import RqRunner
from tests.servers.starting import free_port


def test_a_job_is_the_id_and_nothing_else(redis_broker):
    """The job names the function and the id; it is repeated where it fails, and nothing is kept of it when it is done."""
    callback = uuid4()
    queue = Queue("payments", connection=Redis.from_url(redis_broker.url))
    runner = RqRunner(queue, "shop.jobs.process_callback")
    runner.submit(callback)
    assert runner.wait(20)
    runner.stop()
    (job,) = queue.jobs
    assert ("shop.jobs.process_callback", (str(callback),), {}) == (job.func_name, job.args, job.kwargs)
    assert (0, 3, [1, 8, 64]) == (job.result_ttl, job.retries_left, job.retry_intervals)
    queue.connection.close()


def test_a_redis_that_is_not_there(caplog):
    """Publishing gives up by itself and says so in a line."""
    runner = RqRunner(Queue(connection=Redis(port=free_port())), print)
    runner.submit(uuid4())
    assert runner.wait(30)
    runner.stop()
    (line,) = caplog.messages
    assert "got no job and is left to the sweep" in line


def test_a_redis_that_hangs(redis_broker, caplog):
    """One that takes the connection and answers nothing is given up too, though the queue's own connection would wait."""
    queue = Queue(connection=Redis.from_url(redis_broker.url))
    with redis_broker.stopped():
        runner = RqRunner(queue, print, timeout=0.1)
        runner.submit(uuid4())
        assert runner.wait(30)
        runner.stop()
    assert 1 == len(caplog.messages)
    queue.connection.close()
