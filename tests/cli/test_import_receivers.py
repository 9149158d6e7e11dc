"""The commands that settle reach the receivers of a module that they are told to import."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.payments.records import CallbackDraft, Status, TransactionDraft, TransactionType
from mpesa_core.repository.sqlite import SqliteRepository

pytest.importorskip("click")
pytest.importorskip("rich")

RECEIVERS = """
from mpesa_core import signals

@signals.payment_failed.connect
def tell(sender, transaction, **more):
    print("heard of", transaction.account_reference)
"""
CANCELLED = (
    b'{"Body":{"stkCallback":{"MerchantRequestID":"1","CheckoutRequestID":"ws_CO_1",'
    b'"ResultCode":1032,"ResultDesc":"Request Cancelled by user."}}}'
)


@pytest.fixture
def place(tmp_path):
    """A folder with a module of receivers, and a database in which a callback waits to be worked on."""
    (tmp_path / "receivers.py").write_text(RECEIVERS)
    now = datetime.now(UTC)
    repository = SqliteRepository(tmp_path / "payments.sqlite3")
    repository.add(
        TransactionDraft(
            id=uuid4(),
            transaction_type=TransactionType.STK_PUSH,
            status=Status.PROCESSING,
            short_code="174379",
            phone_number="254712345678",
            amount=Decimal(100),
            account_reference="INV-1",
            callback_token="a" * 32,
            initiated_at=now,
        )
    )
    repository.add_callback(
        CallbackDraft(
            id=uuid4(),
            callback_type=CallbackType.STK,
            raw_bytes=CANCELLED,
            token="a" * 32,
            received_at=now,
            next_attempt_at=now,
        )
    )
    repository.close()
    return tmp_path


def mpesa(place, *arguments):
    source = str(Path(__file__).parents[2] / "src")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MPESA_")}
    command = [sys.executable, "-c", "from mpesa_core.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=place, env={**environ, "PYTHONPATH": source}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("command", ["recover", "worker --once"])
def test_receivers_are_imported(place, command):
    """What the command settles is announced to the receivers of the module, and there is no warning."""
    name, *options = command.split()
    done = mpesa(place, name, *options, "--database", "payments.sqlite3", "--import", "receivers")
    assert (0, "") == (done.returncode, done.stderr)
    assert "heard of INV-1" in done.stdout


def test_nobody_listens(place):
    """Without receivers the command says that what it settles is announced to nobody, and what to do."""
    done = mpesa(place, "recover", "--database", "payments.sqlite3")
    assert 0 == done.returncode
    assert "announced to nobody" in done.stderr
    assert "--import" in done.stderr


def test_no_such_module(place):
    """A module that is not there is a wrong argument, and nothing is settled."""
    done = mpesa(place, "recover", "--database", "payments.sqlite3", "--import", "nowhere")
    assert 2 == done.returncode
    assert "no module 'nowhere'" in done.stderr
    assert "heard of INV-1" in mpesa(place, "recover", "--database", "payments.sqlite3", "--import", "receivers").stdout
