"""Who works on callbacks once they were acknowledged.

A job is an id and nothing else, and it is only a hint: the callback log is the queue of record. Whatever a runner
loses (a full queue, a crash, a restart) is found open by the next sweep.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from mpesa_core.outline import outline

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

__all__ = ["InlineRunner", "TaskRunner", "ThreadRunner"]

_log = logging.getLogger("mpesa_core.tasks")

_EXIT_PATIENCE = 5.0
"""Seconds that the interpreter's exit waits for work under way; the log keeps the rest."""


class TaskRunner(Protocol):
    """What callbacks are handed to. Implementations never raise from ``submit`` for want of room."""

    def submit(self, callback_id: UUID) -> Callable[[], None] | None:
        """Have the callback processed soon.

        Returns:
            What the caller is to run once its response was handed over, where this runner has no thread or process of
            its own (:class:`InlineRunner`); else None.
        """
        ...

    def start(self) -> None:
        """Begin to work, and to sweep where the runner does that. Harmless when it has begun."""
        ...

    def stop(self, *, wait: bool = True) -> None:
        """End.

        Args:
            wait: finish what was submitted first; otherwise it is left to the next sweep.
        """
        ...


class ThreadRunner:
    """A few threads of this process; the default.

    It starts with the first callback, or with :meth:`start`, and again by itself in a forked child, where threads do
    not survive. Its threads never keep the interpreter from exiting for longer than five seconds.

    Args:
        process: what to do with one callback; its result is not looked at. What it raises is logged (the class and the
            place, not the text, which may quote anything) and kills no worker.
        workers: how many threads work on callbacks.
        sweep: runs once when the threads start and then every ``interval``, in a thread of its own: recovery.
        interval: in seconds, from the end of one sweep to the start of the next.
        capacity: how many ids may wait; further ones are left to the sweep.
    """

    def __init__(
        self,
        process: Callable[[UUID], object],
        *,
        workers: int = 4,
        sweep: Callable[[], object] | None = None,
        interval: float = 5.0,
        capacity: int = 1000,
    ) -> None:
        self._process = process
        self._workers = workers
        self._sweep = sweep
        self._interval = interval
        self._capacity = capacity
        self._stopped = False
        self._crew: _Crew | None = None
        # A lock that another thread held at the moment of a fork stays locked in the child: each process has its own.
        self._locks: dict[int, threading.Lock] = {}
        atexit.register(_stop_at_exit, weakref.ref(self))

    def __repr__(self) -> str:
        return f"<ThreadRunner workers={self._workers} {'running' if self.running else 'at rest'}>"

    @property
    def running(self) -> bool:
        """Whether there are threads in this process."""
        return self._crew is not None and self._crew.pid == os.getpid()

    def submit(self, callback_id: UUID) -> None:
        """Hand over one callback; returns at once. After :meth:`stop`, and when too many wait, the id is let go."""
        if self._stopped:
            return
        crew = self._present_crew()
        if crew is not None and not crew.offer(callback_id, self._capacity):
            _log.debug("Too many callbacks wait; %s is left to the sweep.", callback_id)

    def start(self) -> None:
        """Start the threads now, and with them the first sweep."""
        self._stopped = False
        self._present_crew()

    def stop(self, *, wait: bool = True, timeout: float | None = None) -> None:
        """End the threads of this process.

        Args:
            wait: finish what was submitted first; otherwise it is left to the next sweep, of whoever sweeps next.
            timeout: how many seconds to wait at the most; None for as long as it takes.
        """
        self._stopped = True
        with self._lock():
            crew, self._crew = self._crew, None
        if crew is not None and crew.pid == os.getpid():
            crew.end(finish=wait, timeout=timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing submitted in this process is waiting or under way.

        Returns:
            Whether that came true within ``timeout`` seconds.
        """
        crew = self._crew
        return crew is None or crew.pid != os.getpid() or crew.rest(timeout)

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _present_crew(self) -> _Crew | None:
        crew = self._crew
        if crew is not None and crew.pid == os.getpid():
            return crew
        with self._lock():
            if self._stopped:
                return None
            if self._crew is None or self._crew.pid != os.getpid():
                crew = _Crew(self._process, self._sweep, self._interval)
                try:
                    crew.begin(self._workers)
                except RuntimeError:
                    # The interpreter is going down, or there are too many threads: the sweep of another process has it.
                    crew.end(finish=False, timeout=0)
                    _log.warning("No thread could be started; callbacks are left to the next sweep.")
                    return None
                self._crew = crew
            return self._crew


def _stop_at_exit(reference: weakref.ref[ThreadRunner]) -> None:
    runner = reference()
    if runner is not None:
        runner.stop(wait=True, timeout=_EXIT_PATIENCE)


class _Crew:
    """The threads of one process and what waits for them."""

    def __init__(self, process: Callable[[UUID], object], sweep: Callable[[], object] | None, interval: float) -> None:
        self.pid = os.getpid()
        self._process = process
        self._sweep = sweep
        self._interval = interval
        self._changed = threading.Condition()
        self._waiting: deque[UUID] = deque()
        self._busy = 0
        self._ending = False
        self._threads: list[threading.Thread] = []

    def begin(self, workers: int) -> None:
        targets = [(self._work, f"mpesa-callbacks-{number}") for number in range(1, workers + 1)]
        if self._sweep is not None:
            targets.append((self._sweep_on, "mpesa-sweep"))
        for target, name in targets:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def offer(self, callback_id: UUID, capacity: int) -> bool:
        with self._changed:
            if self._ending or len(self._waiting) >= capacity:
                return False
            self._waiting.append(callback_id)
            self._changed.notify_all()  # whoever waits in rest() must not swallow a worker's wake-up
            return True

    def end(self, *, finish: bool, timeout: float | None) -> None:
        with self._changed:
            self._ending = True
            if not finish:
                self._waiting.clear()
            self._changed.notify_all()
        if not finish:
            return
        latest = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(None if latest is None else max(0.0, latest - time.monotonic()))

    def rest(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                callback_id = self._waiting.popleft()
                self._busy += 1
            try:
                self._process(callback_id)
            except BaseException as error:  # noqa: BLE001 - a receiver that raises, even SystemExit, must not end a worker
                _log_failure(callback_id, error)
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _sweep_on(self) -> None:
        sweep = self._sweep
        while sweep is not None and not self._ending:
            try:
                sweep()
            except BaseException as error:  # noqa: BLE001 - a sweep that fails is tried again, whatever it raised
                _log.error("A sweep failed and will be tried again: %s", outline(error))
            with self._changed:
                self._changed.wait_for(lambda: self._ending, self._interval)


def _log_failure(callback_id: UUID, error: BaseException) -> None:
    _log.error("Callback %s could not be processed and is left to the sweep: %s", callback_id, outline(error))


class InlineRunner:
    """No threads: a callback is processed by whoever received it, after the response was handed over.

    :meth:`submit` returns what the web adapter runs when the response is closed. A script, or a test, calls
    :meth:`drain` instead. A callback whose adapter never came back is found by the next sweep.

    Args:
        process: what to do with one callback. What it raises is logged and goes no further: the response is long gone.
        capacity: how many ids are remembered for :meth:`drain`; beyond it the oldest are left to the sweep.
    """

    def __init__(self, process: Callable[[UUID], object], *, capacity: int = 1000) -> None:
        self._process = process
        self._capacity = capacity
        self._pending: dict[UUID, None] = {}
        self._lock = threading.Lock()

    def submit(self, callback_id: UUID) -> Callable[[], None]:
        """Remember the callback.

        Returns:
            What processes it, once, when the response was handed over; no Exception leaves it.
        """
        with self._lock:
            self._pending[callback_id] = None
            while len(self._pending) > self._capacity:
                self._pending.pop(next(iter(self._pending)))
        return partial(self._run, callback_id)

    def _run(self, callback_id: UUID) -> None:
        with self._lock:
            if callback_id not in self._pending:
                return  # a drain() was faster
            del self._pending[callback_id]
        try:
            self._process(callback_id)
        except Exception as error:  # noqa: BLE001 - a receiver may raise anything, and nobody waits for the answer
            _log_failure(callback_id, error)

    def drain(self) -> int:
        """Process everything that was submitted and not processed since, in this thread.

        Returns:
            How many callbacks.
        """
        done = 0
        while True:
            with self._lock:
                callback_id = next(iter(self._pending), None)
            if callback_id is None:
                return done
            self._run(callback_id)
            done += 1

    def start(self) -> None:
        """Nothing to start."""

    def stop(self, *, wait: bool = True) -> None:
        """Process what is left, or leave it to the next sweep."""
        if wait:
            self.drain()
        with self._lock:
            self._pending.clear()
