"""Where transactions and callbacks are stored: the protocol, a store in memory and one in an SQLite file.

:class:`SqliteRepository` is imported when it is first asked for: a host with a store of its own never loads sqlite3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.repository.protocol import (
    AsyncInvoiceRepository,
    AsyncJointChange,
    AsyncLatestScan,
    AsyncRepository,
    AsyncSettledScan,
    AsyncSubscriptionRepository,
    Batches,
    InvoiceRepository,
    JointChange,
    LatestScan,
    Repository,
    SettledScan,
    SubscriptionRepository,
)

if TYPE_CHECKING:
    from mpesa_core.repository.sqlite import SqliteRepository

__all__ = [
    "AsyncInvoiceRepository",
    "AsyncJointChange",
    "AsyncLatestScan",
    "AsyncRepository",
    "AsyncSettledScan",
    "AsyncSubscriptionRepository",
    "Batches",
    "InvoiceRepository",
    "JointChange",
    "LatestScan",
    "MemoryRepository",
    "Repository",
    "SettledScan",
    "SqliteRepository",
    "SubscriptionRepository",
]


def __getattr__(name: str) -> Any:
    if name == "SqliteRepository":
        from mpesa_core.repository.sqlite import SqliteRepository  # noqa: PLC0415 - see the docstring

        return SqliteRepository
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
