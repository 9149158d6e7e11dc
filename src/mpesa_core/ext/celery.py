"""Callbacks worked on by Celery (extra ``celery``).

::

    app = Celery("shop", broker="redis://localhost:6379/0")
    tasks = make_tasks(app, lambda: gateway)
    gateway = Gateway(settings, repository, runner=CeleryRunner(tasks.process))

    app.conf.beat_schedule = {"mpesa": {"task": tasks.sweep.name, "schedule": 5.0}}

The web processes publish ids, and the workers of ``celery -A shop worker`` process them, with the receivers that are
connected there. The log is the queue of record: whatever the broker loses, the sweep finds.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
from celery import shared_task

from mpesa_core.errors import StorageError
from mpesa_core.outline import outline
from mpesa_core.queues import QueueRunner, process_job, sweep_job

if TYPE_CHECKING:
    from celery import Celery, Task
    from kombu import Connection

    from mpesa_core.gateway import Gateway

__all__ = ["CeleryRunner", "Tasks", "make_tasks"]

_log = logging.getLogger("mpesa_core.queues")

_RETRIES = 8
"""After 1, 2, 4, ... 64, 64 seconds: a little over three minutes, longer than a callback's lease."""
_LONGEST_PAUSE = 64
_SWEEP_EXPIRES = 60
"""Seconds after which a sweep that no worker came to is dropped; beat sends another."""


@attrs.frozen
class Tasks:
    """The tasks of a gateway.

    Attributes:
        process: processes one callback, whose id it is given as text. It is acknowledged when it is done, so a worker
            that dies does not take it along, and repeated with growing pauses where the store failed.
        sweep: one round of recovery and reconciliation, for beat: every few seconds.
    """

    process: Task[Any, Any]
    sweep: Task[Any, Any]


def make_tasks(app: Celery | None, gateway: Callable[[], Gateway], *, prefix: str = "mpesa") -> Tasks:
    """Register the tasks with Celery.

    Args:
        app: whose tasks they are; None for ``shared_task``: every Celery app of the process has them.
        gateway: called in the worker, each time; gives the gateway of its process.
        prefix: of the tasks' names, ``mpesa.process_callback`` and ``mpesa.sweep``.
    """
    task: Callable[..., Any] = shared_task if app is None else app.task

    def process_callback(self: Task[Any, Any], callback_id: str) -> str:
        """Process one recorded callback."""
        try:
            return process_job(lambda each: gateway().process(each), callback_id)
        except StorageError as error:
            pause = min(2**self.request.retries, _LONGEST_PAUSE)
            raise self.retry(exc=error, countdown=pause, max_retries=_RETRIES) from None

    def sweep() -> str:
        """One round of recovery and reconciliation."""
        return sweep_job(lambda: gateway().sweep())

    kept: dict[str, Any] = {"acks_late": True, "reject_on_worker_lost": True}
    both: dict[str, Any] = {"ignore_result": True, "shared": False}  # another app's tasks are of another gateway
    return Tasks(
        task(name=f"{prefix}.process_callback", bind=True, **kept, **both)(process_callback),
        task(name=f"{prefix}.sweep", expires=_SWEEP_EXPIRES, **both)(sweep),
    )


class CeleryRunner(QueueRunner):
    """Hands callbacks to the ``process`` task of :func:`make_tasks`.

    Publishing has a connection and a thread of its own. It gives up after ``timeout`` seconds, whatever the app's
    settings say of retries, and leaves the callback to the sweep. With ``task_always_eager`` the callback is processed
    where it was received, after the response was handed over.

    Args:
        task: the task; one that ``shared_task`` made will do.
        timeout: seconds for connecting to the broker, and for its answer.
        capacity: how many ids may wait for a slow broker; further ones are left to the sweep.
    """

    def __init__(self, task: Task[Any, Any], *, timeout: float = 2.0, capacity: int = 1000) -> None:
        super().__init__(self._send, capacity=capacity)
        self._task = task
        self._timeout = timeout
        # A connection does not survive a fork: each process has its own.
        self._connections: dict[int, Connection] = {}

    def submit(self, callback_id: UUID) -> Callable[[], None] | None:
        """Have the callback published soon; returns at once.

        Returns:
            None; with ``task_always_eager`` what processes it.
        """
        if self._task.app.conf.task_always_eager:
            return partial(self.hand_over, callback_id)
        return super().submit(callback_id)

    def _send(self, callback_id: str) -> None:
        if self._task.app.conf.task_always_eager:
            self._task.apply_async((callback_id,))
            return
        kept = self._connections.get(os.getpid())
        if kept is None or not self._published(kept, callback_id):
            self._publish_over(self._connect(), callback_id)

    def _published(self, kept: Connection, callback_id: str) -> bool:
        """Whether a connection that was idle meanwhile would still do."""
        try:
            self._publish_over(kept, callback_id)
        except Exception as error:  # noqa: BLE001 - the broker or something on the way may have closed it
            _log.debug("The connection to the broker is renewed: %s", outline(error))
            return False
        return True

    def _publish_over(self, connection: Connection, callback_id: str) -> None:
        how: dict[str, Any] = {"connection": connection, "retry": False}
        try:
            self._task.apply_async((callback_id,), **how)
        except BaseException:
            self._connections.pop(os.getpid(), None)
            with contextlib.suppress(Exception):
                connection.release()
            raise

    def _connect(self) -> Connection:
        # Without max_retries Celery looks for a broker for ever, with retry=False as well.
        bounds: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
        bounds |= dict.fromkeys(("socket_timeout", "socket_connect_timeout"), self._timeout)  # Redis
        bounds |= dict.fromkeys(("read_timeout", "write_timeout"), self._timeout)  # AMQP
        connection = self._task.app.connection_for_write(connect_timeout=self._timeout, transport_options=bounds)
        self._connections[os.getpid()] = connection
        return connection
