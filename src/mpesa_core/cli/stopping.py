"""Ending by signal: Ctrl-C, or SIGTERM from whoever supervises the process."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stop"]

_SLICE = 0.1
"""Seconds between two looks: a handler sets nothing but a flag, because a lock taken in one can block for ever."""


class Stop:
    """Whether the process was told to end, while in the ``with`` statement.

    Told a second time, it ends as it would have: what is under way may take long.
    """

    def __init__(self) -> None:
        self.told = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._tell) or signal.SIG_DFL
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until told; whether told."""
        until = time.monotonic() + seconds
        while not self.told and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
        return self.told

    def _tell(self, number: int, _frame: FrameType | None) -> None:
        self.told = True
        signal.signal(number, self._before[number])
