"""How many refused callbacks are kept: enough to mend a wrong setting, not enough to fill a disk."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["RefusalBudget"]

_log = logging.getLogger("mpesa_core.webhooks")


class RefusalBudget:
    """Counts the refusals of each minute in this process.

    Args:
        per_minute: how many are kept; the rest are only counted, and the count is logged once the minute is over.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._minute = -1
        self._spent = 0

    def spend(self, now: datetime) -> bool:
        """Whether the refusal of this moment is to be kept."""
        minute = int(now.timestamp() // 60)
        with self._lock:
            dropped = 0
            if minute != self._minute:
                dropped = self._spent - self._per_minute
                self._minute, self._spent = minute, 0
            self._spent += 1
            kept = self._spent <= self._per_minute
        if dropped > 0:
            _log.warning("%d refused callbacks were not kept in a minute with more than %d.", dropped, self._per_minute)
        return kept
