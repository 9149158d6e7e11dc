"""The contract is tested too: stores with one defect each must fail it, and name the promise that is broken."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each defect: its body as a subclass of MemoryRepository, and a test of the contract that must find it.
DEFECTS = {
    "CallbackReplaced": (
        """
        def add_callback(self, draft):
            self._callbacks.pop(draft.id, None)
            return super().add_callback(draft)
        """,
        "test_the_same_callback_again_changes_nothing",
    ),
    "ClaimWithoutComparing": (
        """
        def change_callback(self, callback_id, expected, changes):
            row = self.get_callback(callback_id)
            return row is not None and super().change_callback(callback_id, row.next_attempt_at, changes)
        """,
        "test_a_claim_by_the_time_that_was_read",
    ),
    "SettlesWithoutComparing": (
        """
        def change_with_callback(self, row_id, version, changes, callback_id, expected, closing):
            row = self.change(row_id, version, changes)
            return row and self.change_callback(callback_id, expected, closing) is not None and row
        """,
        "test_a_change_whose_callback_somebody_has_taken",
    ),
    "ClosesWithoutSettling": (
        """
        def change_with_callback(self, row_id, version, changes, callback_id, expected, closing):
            closed = self.change_callback(callback_id, expected, closing)
            return self.change(row_id, version, changes) if closed else None
        """,
        "test_a_callback_whose_change_comes_too_late",
    ),
    "ClaimComparesSeconds": (
        """
        def change_callback(self, callback_id, expected, changes):
            row = self.get_callback(callback_id)
            at = row and row.next_attempt_at
            if at and expected and at.replace(microsecond=0) == expected.replace(microsecond=0):
                expected = at
            return super().change_callback(callback_id, expected, changes)
        """,
        "test_times_are_compared_to_the_microsecond",
    ),
    "NullIsNeverEqual": (
        """
        def change_callback(self, callback_id, expected, changes):
            return expected is not None and super().change_callback(callback_id, expected, changes)
        """,
        "test_a_closed_callback_is_changed_by_expecting_none",
    ),
    "DueInOrderOfArrival": (
        """
        def due_callbacks(self, now, limit):
            rows = super().due_callbacks(now, 1000)
            return sorted(rows, key=lambda row: row.received_at)[:limit]
        """,
        "test_due_callbacks_in_the_order_of_their_time",
    ),
    "LimitBeforeOrder": (
        """
        def due(self, sweep, now, limit):
            rows = list(super().due(sweep, now, 1000))
            return sorted(rows, key=lambda row: row.initiated_at)[:limit]
        """,
        "test_a_sweep_in_order_and_within_its_limit",
    ),
    "OpenMeansUnprocessed": (
        """
        def open_callbacks(self, *, token=None, correlation_ids=()):
            return [row for row in self._callbacks.values() if not row.processed and (
                (token is not None and row.token == token) or row.correlation_id in correlation_ids)]
        """,
        "test_open_callbacks_of_a_transaction",
    ),
    "PagesByTimeAlone": (
        """
        def conflicts(self, limit, after=None):
            rows = super().conflicts(1000)
            last = after and self.get_callback(after)
            return [row for row in rows if not last or row.received_at > last.received_at][:limit]
        """,
        "test_conflicts_page_by_page",
    ),
    "DuplicateWithoutOwner": (
        """
        def add(self, draft):
            try:
                return super().add(draft)
            except DuplicateKey as error:
                raise DuplicateKey(error.key, None) from None
        """,
        "test_a_taken_key_is_refused_by_add",
    ),
    "ReceiptUniqueEverywhere": (
        """
        def add(self, draft):
            for row in self._transactions.values():
                if draft.mpesa_receipt_number and row.mpesa_receipt_number == draft.mpesa_receipt_number:
                    raise DuplicateKey("mpesa_receipt_number", row.id)
            return super().add(draft)
        """,
        "test_a_receipt_belongs_to_one_row_of_a_short_code",
    ),
    "BatchEndsWithTheFirstError": (
        """
        def batch(self, calls):
            return [getattr(self, name)(*arguments) for name, arguments in calls]
        """,
        "test_what_is_wrong_in_a_batch_undoes_no_other",
    ),
    "BatchSortsItsAnswers": (
        """
        def batch(self, calls):
            results = super().batch(sorted(calls, key=lambda call: call[0]))
            return results
        """,
        "test_each_of_a_batch_does_what_it_does_by_itself",
    ),
    "LastWriterWins": (
        """
        def change(self, transaction_id, version, changes):
            row = self.get(transaction_id)
            return row and super().change(transaction_id, row.version, changes)
        """,
        "test_a_change_by_the_version_that_was_read",
    ),
    "ReadCheckSave": (
        """
        def change(self, transaction_id, version, changes):
            row = self.get(transaction_id)
            if row is None or row.version != version:
                return None
            time.sleep(0.002)
            present = self.get(transaction_id)
            return super().change(transaction_id, present.version, changes)
        """,
        "test_one_version_is_changed_once",
    ),
    "CheckThenAdd": (
        """
        def _refuse_duplicates(self, row):
            self._lock.release()
            try:
                super()._refuse_duplicates(row)
                time.sleep(0.002)
            finally:
                self._lock.acquire()
        """,
        "test_one_key_is_added_once",
    ),
    "HalfDoneOnDuplicate": (
        """
        def change(self, transaction_id, version, changes):
            try:
                return super().change(transaction_id, version, changes)
            except DuplicateKey as error:
                super().change(transaction_id, version, {name: value for name, value in changes.items() if name != error.key})
                raise
        """,
        "test_a_taken_key_is_refused_by_change",
    ),
    "IgnoresUnknownNames": (
        """
        def change(self, transaction_id, version, changes):
            known = {name: value for name, value in changes.items() if name in attrs.fields_dict(Transaction)}
            return super().change(transaction_id, version, {n: v for n, v in known.items() if n not in ("id", "version")})
        """,
        "test_what_may_not_be_changed_is_refused",
    ),
    "CandidatesByText": (
        """
        def candidates(self, short_code, amount, reference, since=None):
            rows = super().candidates(short_code, amount, reference, since)
            return [row for row in rows if str(row.amount) == str(amount)]
        """,
        "test_candidates_by_value",
    ),
    "CandidatesByLooseReference": (
        """
        def candidates(self, short_code, amount, reference, since=None):
            rows = super().candidates(short_code, amount, None, since)
            return [row for row in rows if reference is None or row.account_reference.lower() == reference.lower()]
        """,
        "test_candidates_for_adoption",
    ),
    "CandidatesOfAnyAge": (
        """
        def candidates(self, short_code, amount, reference, since=None):
            return super().candidates(short_code, amount, reference)
        """,
        "test_candidates_for_adoption",
    ),
    "Floats": (
        """
        def get(self, transaction_id):
            row = super().get(transaction_id)
            return row and attrs.evolve(row, amount=Decimal(float(row.amount)))
        """,
        "test_amounts_are_exact",
    ),
    "CutsText": (
        """
        def add(self, draft):
            return super().add(attrs.evolve(draft, phone_number=draft.phone_number[:20]))
        """,
        "test_widths",
    ),
    "TextBytes": (
        """
        def add_callback(self, draft):
            return super().add_callback(attrs.evolve(draft, raw_bytes=draft.raw_bytes.decode("utf-8", "replace").encode()))
        """,
        "test_bytes_are_kept_exactly",
    ),
    "LocalTimes": (
        """
        def get(self, transaction_id):
            row = super().get(transaction_id)
            return row and attrs.evolve(row, initiated_at=row.initiated_at.astimezone(timezone(timedelta(hours=3))))
        """,
        "test_times_are_exact_and_in_utc",
    ),
    "SpanWithoutItsEnd": (
        """
        def settled_between(self, short_code, start, end, limit, after=None):
            return [row for row in super().settled_between(short_code, start, end, limit, after) if row.confirmed_at < end]
        """,
        "test_payments_proved_in_a_span",
    ),
    "PageByTimeAlone": (
        """
        def settled_between(self, short_code, start, end, limit, after=None):
            start = self.get(after).confirmed_at + timedelta(microseconds=1) if after else start
            return super().settled_between(short_code, start, end, limit)
        """,
        "test_proved_payments_page_by_page",
    ),
    "LatestWithoutItsPages": (
        """
        def latest(self, limit, before=None):
            return super().latest(limit)[:0 if before else limit]
        """,
        "test_what_was_recorded_last",
    ),
    "LatestOfWhatIsOpen": (
        """
        def latest_callbacks(self, limit, before=None):
            return [row for row in super().latest_callbacks(limit, before) if row.next_attempt_at]
        """,
        "test_what_was_recorded_last",
    ),
    "LatestByTimeAlone": (
        """
        def latest(self, limit, before=None):
            rows = super().latest(1000)
            last = self.get(before) if before else None
            return [row for row in rows if last is None or row.initiated_at < last.initiated_at][:limit]
        """,
        "test_what_was_recorded_in_one_moment",
    ),
    "InvoiceWithoutComparing": (
        """
        def change_invoice(self, invoice_id, version, changes):
            row = self.get_invoice(invoice_id)
            return row and super().change_invoice(invoice_id, row.version, changes)
        """,
        "test_a_due_row_is_changed_by_the_version_that_was_read",
    ),
    "InvoicesOfEveryStatus": (
        """
        def payable_invoices(self, short_code, account_reference, statuses):
            return super().payable_invoices(short_code, account_reference, ["sent", "overdue", "paid"])
        """,
        "test_payable_invoices",
    ),
    "InvoiceReferenceOfEveryShortCode": (
        """
        def find_invoice(self, short_code, external_reference):
            found = [super().find_invoice(each, external_reference) for each in ("600000", "600001")]
            return next((row for row in found if row), None)
        """,
        "test_a_reference_belongs_to_one_invoice_of_a_short_code",
    ),
    "SubscriptionsThatAreActive": (
        """
        def charging_subscriptions(self, short_code, amount, reference):
            return [row for row in super().charging_subscriptions(short_code, amount, reference) if row.status != "cancelled"]
        """,
        "test_charging_subscriptions",
    ),
    "DueRowsByTheirAge": (
        """
        def due_subscriptions(self, sweep, now, limit):
            rows = super().due_subscriptions(sweep, now, 100)
            return sorted(rows, key=lambda row: row.created_at)[:limit]
        """,
        "test_each_sweep_of_due_rows",
    ),
}

PROGRAM = """
import time
from datetime import timedelta, timezone
from decimal import Decimal
import attrs, pytest
from mpesa_core.errors import DuplicateKey
from mpesa_core.payments.records import Transaction
from mpesa_core.repository import MemoryRepository
from mpesa_core.testing import RepositoryContract
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What pytest says of all the defective stores, each in a class of its own."""
    folder = tmp_path_factory.mktemp("defects")
    text = PROGRAM
    for name, (body, _) in DEFECTS.items():
        text += f"\nclass {name}(MemoryRepository):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
        text += f"\nclass Test{name}(RepositoryContract):\n    @pytest.fixture\n    def repository(self):\n        return {name}()\n"
    (folder / "test_defects.py").write_text(text)
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rf", "-c", os.devnull],
            *[f"test_defects.py::Test{name}::{test}" for name, (_, test) in DEFECTS.items()],
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTEST_ADDOPTS": "", "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 1 == done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", DEFECTS)
def test_the_contract_finds(outcome, name):
    """A store with this defect fails the test that stands for the promise it breaks."""
    _, test = DEFECTS[name]
    assert f"Test{name}::{test}" in outcome
