"""What is importable from mpesa_core, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import mpesa_core

PUBLIC = [
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


def test_public_names_are_pinned():
    """The public names are these and no others; each of them can be imported."""
    assert PUBLIC == mpesa_core.__all__
    for name in PUBLIC:
        assert getattr(mpesa_core, name) is not None


def test_every_public_class_is_documented():
    """Each public name has a docstring of its own."""
    assert [name for name in PUBLIC if not getattr(mpesa_core, name).__doc__] == []


def test_importing_everything_loads_no_httpx():
    """Receiving callbacks and settling them needs no httpx; the client alone loads it."""
    code = (
        "import sys, mpesa_core\n"
        "from mpesa_core import Gateway, Settings, MemoryRepository, Webhooks, decode_callback\n"
        "Gateway(Settings(), MemoryRepository(), runner='inline')\n"
        "assert 'httpx' not in sys.modules and 'cryptography' not in sys.modules, 'loaded too early'\n"
        "from mpesa_core import DarajaClient\n"
        "assert 'httpx' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_unknown_name_is_an_attribute_error():
    """A name that does not exist is an AttributeError, so that hasattr and from-imports work as anywhere."""
    assert not hasattr(mpesa_core, "Daraja")
    assert set(PUBLIC) <= set(dir(mpesa_core))
