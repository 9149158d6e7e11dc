"""A Python program that a test starts, kills and starts again: a web server, a worker of a queue."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

__all__ = ["Program", "running", "until"]

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 60.0


def until(reached: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    """Wait until something is so, but not for ever.

    Args:
        reached: whether it is.
        told: what a failure shows.
    """
    latest = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < latest, told()
        time.sleep(0.05)


class Program:
    """A program in a session of its own, so that its children are killed with it."""

    def __init__(self, *arguments: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._log = folder / f"program-{time.monotonic_ns()}.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MPESA_", "CELERY_"))}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    def await_words(self, words: str) -> None:
        """Wait until it has written these words."""
        until(lambda: words in self.told or self._process.poll() is not None, lambda: self.told)
        assert words in self.told, self.told

    def await_port(self, port: int) -> None:
        """Wait until it listens."""

        def listens() -> bool:
            assert self._process.poll() is None, self.told
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        until(listens, lambda: self.told)

    def await_end(self) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(_PATIENCE)

    def kill(self) -> None:
        """Kill it and its children, with no chance to put anything in order."""
        for process in (self._process.pid, *(int(each.name) for each in Path("/proc").glob("[0-9]*"))):
            with contextlib.suppress(ProcessLookupError):  # a worker's child may have a group of its own
                if os.getsid(process) == self._process.pid:
                    os.kill(process, signal.SIGKILL)
        self._process.wait(_PATIENCE)


@contextlib.contextmanager
def running(*arguments: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Program]:
    """A program that is killed at the end of the block, where it has not ended before."""
    program = Program(*arguments, folder=folder, environment=environment)
    try:
        yield program
    finally:
        program.kill()
