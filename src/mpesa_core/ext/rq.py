"""Callbacks worked on by RQ (extra ``rq``).

::

    # shop/jobs.py, for `rq worker --with-scheduler`
    gateway = make_gateway()  # yours

    def process_callback(callback_id):
        return process_job(gateway.process, callback_id)  # of mpesa_core.queues

    # in the web processes
    runner = RqRunner(Queue(connection=Redis()), "shop.jobs.process_callback")

The log is the queue of record: whatever Redis or a worker loses, the sweep finds, which something has to call: RQ's own
cron, or ``mpesa worker``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Retry

from mpesa_core.queues import QueueRunner

if TYPE_CHECKING:
    from rq import Queue

__all__ = ["RqRunner"]

_PAUSES = (1, 8, 64)
"""Seconds before a job that failed is repeated: a little longer than a callback's lease, together."""


class RqRunner(QueueRunner):
    """Hands callbacks to a function that RQ's workers run.

    Publishing has a thread and connections of its own. It gives up after ``timeout`` seconds, whatever the queue's own
    connection does, and leaves the callback to the sweep. A job that fails is repeated three times, with growing
    pauses, where the worker runs ``--with-scheduler``; nothing is kept of one that is done.

    Args:
        queue: the queue.
        job: the function, or its dotted path; it gets the callback's id as text, and passes it to
            :func:`~mpesa_core.queues.process_job` in a process in which the receivers are connected.
        timeout: seconds for connecting to Redis, and for its answer.
        capacity: how many ids may wait for a slow Redis; further ones are left to the sweep.
    """

    def __init__(
        self, queue: Queue, job: str | Callable[[str], object], *, timeout: float = 2.0, capacity: int = 1000
    ) -> None:
        super().__init__(self._enqueue, capacity=capacity)
        self._queue = copy.copy(queue)
        self._queue.connection = _bounded(queue.connection, timeout)
        self._job: Any = job

    def _enqueue(self, callback_id: str) -> None:
        self._queue.enqueue_call(
            self._job, (callback_id,), result_ttl=0, retry=Retry(max=len(_PAUSES), interval=list(_PAUSES))
        )


def _bounded(connection: Redis, timeout: float) -> Redis:
    """The same Redis, by a pool of its own that waits no longer and tries once more where a connection broke."""
    pool = connection.connection_pool
    limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    limits["retry"] = RedisRetry(NoBackoff(), 1)
    own = type(pool)(connection_class=pool.connection_class, **{**pool.connection_kwargs, **limits})
    return Redis(connection_pool=own)
