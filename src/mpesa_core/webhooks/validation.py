"""A decision in time: the receivers of a C2B validation, with a deadline.

M-PESA waits about eight seconds and then decides by itself, so a receiver that is late or hangs must not hold the
answer back. Each validation has a thread of its own, of a bounded number; one that hangs keeps its thread and nothing
else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mpesa_core.outline import outline
from mpesa_core.webhooks.answers import ACCEPT, REJECT, normalised

__all__ = ["Validator"]

_log = logging.getLogger("mpesa_core.webhooks")


class Validator:
    """Asks the receivers and answers for them when they fail.

    Args:
        ask: runs the receivers of one payload and returns the decision; it may block and raise.
        deadline: seconds for everything, the wait for a thread included.
        default: ``accept`` or ``reject``.
        threads: how many validations are decided at the same time.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
        *,
        deadline: float,
        default: str,
        threads: int = 32,
    ) -> None:
        self._ask = ask
        self._deadline = deadline
        self._default = REJECT if default == "reject" else ACCEPT
        self._threads = threads
        # Threads do not survive a fork, and would never give their places back there: each process counts its own.
        self._places: dict[int, threading.BoundedSemaphore] = {}

    def decide(self, payload: object, callback_id: object) -> Mapping[str, str]:
        """The decision, within the deadline.

        Args:
            payload: the callback's JSON; anything but an object is decided by default, because no receiver could read
                it.
            callback_id: for the log.
        """
        if not isinstance(payload, Mapping):
            return self._by_default("the body is no JSON object", callback_id)
        latest = time.monotonic() + self._deadline
        places = self._places.setdefault(os.getpid(), threading.BoundedSemaphore(self._threads))
        if not places.acquire(timeout=self._deadline):
            return self._by_default("every thread for validations is taken", callback_id)
        answers: list[Any] = []
        failures: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                answers.append(self._ask(payload))
            except BaseException as error:  # noqa: BLE001 - a receiver may raise anything; the thread ends here anyway
                failures.append(error)
            finally:
                places.release()
                done.set()

        try:
            threading.Thread(target=work, name="mpesa-validation", daemon=True).start()
        except RuntimeError:
            places.release()
            return self._by_default("no thread could be started", callback_id)
        if not done.wait(max(0.0, latest - time.monotonic())):
            return self._by_default(f"the receivers took longer than {self._deadline:g} s", callback_id)
        if failures:
            return self._by_default(f"a receiver raised {outline(failures[0])}", callback_id)
        decision = normalised(answers[0])
        if decision is None:
            return self._by_default(
                f"a receiver answered {type(answers[0]).__name__} without a ResultCode", callback_id
            )
        return decision

    def _by_default(self, why: str, callback_id: object) -> Mapping[str, str]:
        _log.warning("Validation %s was answered by default (%s): %s.", callback_id, self._default["ResultDesc"], why)
        return self._default
