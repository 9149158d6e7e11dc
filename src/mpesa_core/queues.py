"""Handing callbacks to a task queue (Celery, RQ, ...), and what the queue's job does with them.

A job is a callback's id, as text. The callback log is the queue of record and the broker makes it fast: what a broker
that is down, slow, full or lost does not deliver is found open by the next sweep, which something has to call: Celery's
beat, a cron job, ``mpesa worker``.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from mpesa_core.errors import MpesaError, StorageError
from mpesa_core.outline import outline
from mpesa_core.tasks import ThreadRunner

__all__ = ["QUEUES", "QueueRunner", "missing_package", "process_job", "sweep_job"]

QUEUES = {"celery": "a Celery app", "rq": "an rq.Queue"}
"""The queues that there is a runner for, each in ``mpesa_core.ext`` and behind the extra of its name."""

_log = logging.getLogger("mpesa_core.queues")
_T = TypeVar("_T")

_PATIENCE = 5.0
"""Seconds that :meth:`QueueRunner.stop` waits for the broker; the log keeps the rest."""


class QueueRunner:
    """A :class:`~mpesa_core.tasks.TaskRunner` that hands callbacks to a queue.

    One thread of this process publishes, so no acknowledgement waits for a broker. What could not be published is
    logged, in one line, and left to the sweep; it is not tried again.

    Args:
        publish: puts a job for a callback's id into the queue. It should give up within seconds; it may raise.
        capacity: how many ids may wait for a slow broker; further ones are left to the sweep.
    """

    def __init__(self, publish: Callable[[str], object], *, capacity: int = 1000) -> None:
        self._publish = publish
        self._thread = ThreadRunner(self.hand_over, workers=1, capacity=capacity)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def hand_over(self, callback_id: UUID) -> None:
        """Publish now, in this thread; what fails is logged."""
        try:
            self._publish(str(callback_id))
        except Exception as error:  # noqa: BLE001 - a broker's client may raise anything
            _log.warning("Callback %s got no job and is left to the sweep: %s", callback_id, outline(error))

    def submit(self, callback_id: UUID) -> Callable[[], None] | None:
        """Have the callback published soon; returns at once."""
        self._thread.submit(callback_id)
        return None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End the thread.

        Args:
            wait: publish what was submitted first, for five seconds at the most.
        """
        self._thread.stop(wait=wait, timeout=_PATIENCE)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing submitted in this process is to be published; whether that came within ``timeout`` s."""
        return self._thread.wait(timeout)


def missing_package(runner: object) -> str | None:
    """What is not installed and has to be for a runner of that name, and how; None where nothing is missing."""
    if runner not in QUEUES or importlib.util.find_spec(str(runner)) is not None:
        return None
    return f"{runner} is not installed: pip install 'mpesa-core[{runner}]'"


def process_job(process: Callable[[UUID], object], callback_id: str) -> str:
    """What a queue's job does. Run twice, or in parallel, it settles once.

    Args:
        process: :meth:`mpesa_core.Gateway.process`, of a process in which the receivers are connected.
        callback_id: the id that was published.

    Returns:
        What became of the callback in a word, for the queue's own log: ``Applied``, ``Closed``, ``Postponed``, or
        ``not due`` where somebody else has it.

    Raises:
        ValueError: it is no id.
        StorageError: the store failed; the job may be repeated, and is found by the sweep otherwise.
        MpesaError: anything else that failed. Neither quotes what it was raised by: a queue keeps and logs what its
            jobs raise.
    """
    identifier = UUID(callback_id)
    verdict = _told_in_outline(lambda: process(identifier), f"Callback {identifier} could not be processed")
    return "not due" if verdict is None else type(verdict).__name__


def sweep_job(sweep: Callable[[], _T]) -> str:
    """What a queue's periodic job does: one round of recovery and reconciliation.

    Args:
        sweep: :meth:`mpesa_core.Gateway.sweep`.

    Returns:
        What was done, for the queue's own log.

    Raises:
        StorageError, MpesaError: as :func:`process_job`; the next round goes on.
    """
    return repr(_told_in_outline(sweep, "The sweep failed and goes on with the next round"))


def _told_in_outline(work: Callable[[], _T], what: str) -> _T:
    problem: MpesaError
    try:
        return work()
    except StorageError as error:
        problem = StorageError(f"{what}: {outline(error)}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the queue gets it without the values that it quotes
        problem = MpesaError(f"{what}: {outline(error)}")
    raise problem  # outside of the except: nothing hangs on it
