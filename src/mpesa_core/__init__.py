"""Take and send money over M-PESA.

Everything that a program needs is importable from here; the modules behind the names are loaded when a name is first
used, so that importing the package costs little and httpx is loaded only where something is sent.

- :class:`Gateway`, :class:`AsyncGateway`: the front door.
- :class:`Settings`, :class:`Account`, :class:`Secret`: what can be set.
- :class:`Invoice`, :class:`BillItem`, :class:`Frequency`: what invoices and subscriptions are made of.
- :class:`MemoryRepository`, :class:`SqliteRepository`, :class:`Repository`: where transactions and callbacks are kept.
- :class:`Webhooks`, :class:`WebhookRequest`, :class:`WebhookResponse`: callbacks, for any web framework.
- :mod:`mpesa_core.signals`: what your program reacts to.
- :class:`DarajaClient`, :class:`AsyncDarajaClient` and the operations of :mod:`mpesa_core.daraja`: the wire by itself.
- :func:`decode_callback`, :func:`explain`: what M-PESA says, and what it means.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpesa_core.client import AsyncDarajaClient, DarajaClient
    from mpesa_core.daraja.bills import BillItem, Invoice
    from mpesa_core.daraja.callbacks import Callback, CallbackType, decode_callback
    from mpesa_core.daraja.codes import Explanation, Family, Outcome, Turn, explain
    from mpesa_core.daraja.ratiba import Frequency
    from mpesa_core.errors import (
        Busy,
        ConfigurationError,
        DarajaError,
        DuplicateKey,
        IdempotencyMismatch,
        IllegalTransition,
        InsideTransaction,
        InvalidField,
        MpesaError,
        NotSent,
        NotYet,
        OutcomeUnknown,
        RefundExceedsPayment,
        RequestRefused,
        StorageBusy,
        StorageError,
        StorageRefused,
        StorageUnavailable,
        TokenRefused,
        TransactionNotFound,
        UnexpectedAnswer,
    )
    from mpesa_core.gateway import AsyncGateway, Gateway
    from mpesa_core.payments.invoices import InvoiceRecord, InvoiceRow, InvoiceStatus
    from mpesa_core.payments.records import (
        CallbackRecord,
        CallbackRow,
        Disposition,
        Status,
        Transaction,
        TransactionRecord,
        TransactionType,
    )
    from mpesa_core.payments.subscriptions import SubscriptionRecord, SubscriptionRow, SubscriptionStatus
    from mpesa_core.repository.memory import MemoryRepository
    from mpesa_core.repository.protocol import (
        AsyncRepository,
        InvoiceRepository,
        Repository,
        SubscriptionRepository,
    )
    from mpesa_core.repository.sqlite import SqliteRepository
    from mpesa_core.settings import Account, Environment, Secret, Settings
    from mpesa_core.tasks import InlineRunner, TaskRunner, ThreadRunner
    from mpesa_core.webhooks import WebhookRequest, WebhookResponse, Webhooks

__version__ = "0.1.0"

_HOMES = {
    "mpesa_core.client": ("AsyncDarajaClient", "DarajaClient"),
    "mpesa_core.daraja.bills": ("BillItem", "Invoice"),
    "mpesa_core.daraja.callbacks": ("Callback", "CallbackType", "decode_callback"),
    "mpesa_core.daraja.codes": ("Explanation", "Family", "Outcome", "Turn", "explain"),
    "mpesa_core.daraja.ratiba": ("Frequency",),
    "mpesa_core.errors": (
        "Busy",
        "ConfigurationError",
        "DarajaError",
        "DuplicateKey",
        "IdempotencyMismatch",
        "IllegalTransition",
        "InsideTransaction",
        "InvalidField",
        "MpesaError",
        "NotSent",
        "NotYet",
        "OutcomeUnknown",
        "RefundExceedsPayment",
        "RequestRefused",
        "StorageBusy",
        "StorageError",
        "StorageRefused",
        "StorageUnavailable",
        "TokenRefused",
        "TransactionNotFound",
        "UnexpectedAnswer",
    ),
    "mpesa_core.gateway": ("AsyncGateway", "Gateway"),
    "mpesa_core.payments.invoices": ("InvoiceRecord", "InvoiceRow", "InvoiceStatus"),
    "mpesa_core.payments.records": (
        "CallbackRecord",
        "CallbackRow",
        "Disposition",
        "Status",
        "Transaction",
        "TransactionRecord",
        "TransactionType",
    ),
    "mpesa_core.payments.subscriptions": ("SubscriptionRecord", "SubscriptionRow", "SubscriptionStatus"),
    "mpesa_core.repository.memory": ("MemoryRepository",),
    "mpesa_core.repository.protocol": (
        "AsyncRepository",
        "InvoiceRepository",
        "Repository",
        "SubscriptionRepository",
    ),
    "mpesa_core.repository.sqlite": ("SqliteRepository",),
    "mpesa_core.settings": ("Account", "Environment", "Secret", "Settings"),
    "mpesa_core.tasks": ("InlineRunner", "TaskRunner", "ThreadRunner"),
    "mpesa_core.webhooks": ("WebhookRequest", "WebhookResponse", "Webhooks"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Account",
    "AsyncDarajaClient",
    "AsyncGateway",
    "AsyncRepository",
    "BillItem",
    "Busy",
    "Callback",
    "CallbackRecord",
    "CallbackRow",
    "CallbackType",
    "ConfigurationError",
    "DarajaClient",
    "DarajaError",
    "Disposition",
    "DuplicateKey",
    "Environment",
    "Explanation",
    "Family",
    "Frequency",
    "Gateway",
    "IdempotencyMismatch",
    "IllegalTransition",
    "InlineRunner",
    "InsideTransaction",
    "InvalidField",
    "Invoice",
    "InvoiceRecord",
    "InvoiceRepository",
    "InvoiceRow",
    "InvoiceStatus",
    "MemoryRepository",
    "MpesaError",
    "NotSent",
    "NotYet",
    "Outcome",
    "OutcomeUnknown",
    "RefundExceedsPayment",
    "Repository",
    "RequestRefused",
    "Secret",
    "Settings",
    "SqliteRepository",
    "Status",
    "StorageBusy",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "SubscriptionRecord",
    "SubscriptionRepository",
    "SubscriptionRow",
    "SubscriptionStatus",
    "TaskRunner",
    "ThreadRunner",
    "TokenRefused",
    "Transaction",
    "TransactionNotFound",
    "TransactionRecord",
    "TransactionType",
    "Turn",
    "UnexpectedAnswer",
    "WebhookRequest",
    "WebhookResponse",
    "Webhooks",
    "decode_callback",
    "explain",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
