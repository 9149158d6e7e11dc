"""What must hold in every schedule, read from outside: the changes of the store, the deliveries, and what really moved.

Some rules are checked at each change (what may follow what), some when everything has come to rest. None of them asks
the engine.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from decimal import Decimal
from uuid import UUID

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.payments.records import Disposition, Key, Status, TransactionType

__all__ = ["RULES", "Books"]

RULES = {
    "table": "no path but the machine's table (I3)",
    "success twice": "at most one transition into SUCCESS (I2)",
    "generation": "each settlement has a generation of its own, one by one (I2)",
    "overwritten": "nothing settles while a generation is unannounced",
    "held": "nothing settles a transaction by itself once a contradiction was announced",
    "conflict elsewhere": "a conflict stands on its transaction's own row before its signal",
    "marked early": "a generation is marked announced after its signals, not before",
    "lease": "a fence is taken over only when its lease has lapsed",
    "uncommitted": "a signal fires when what it says is durable (I6)",
    "written once": "settled_at and receipts are written once, amounts only by a person",
    "mirror": "idempotency_locked mirrors announce_until, and the version rises by one",
    "over-reserved": "refunds never exceed the payment",
    "unannounced": "every generation is announced at least once (I4)",
    "announced again": "a signal fires twice only where its announcer died or its lease lapsed in between (I5)",
    "told again": "callback_received and settlement_conflict fire once, but for crashes",
    "untold": "every callback that is closed was told of by callback_received",
    "silent": "every open conflict was announced, and people find it in conflicts()",
    "sent twice": "no request that moves money is sent twice",
    "two for one": "one idempotency key is one transaction",
    "money": "each success is one payment that really moved, with its amount, and none is counted twice (I7)",
    "missing money": "money that moved and was told of is a success, or in conflict (I7)",
    "receipt": "a receipt belongs to one transaction",
    "stuck": "nothing stays open that could be closed (I8)",
    "outcome": "the same evidence in any order comes to the same end, contradictions to a conflict (I9, I10)",
    "over-refunded": "no more goes back than came in",
    "reserved": "exactly what is not known to have failed is reserved",
    "kept": "what was acknowledged is stored as it came (I1)",
    "broken": "the engine raised",
    "raised": "a sweep raised",
    "livelock": "the world comes to rest",
}
"""What is checked, by the name that a violation has."""

_SUCCEEDED = (Status.SUCCESS, Status.REVERSED)
_SETTLEMENT_SIGNALS = frozenset(
    {
        "payment_confirmed",
        "payment_failed",
        "payment_cancelled",
        "payment_expired",
        "payment_denied",
        "payment_refunded",
        "payout_completed",
        "payout_failed",
        "reversal_completed",
        "reversal_failed",
    }
)
_WEAK = ("query", "deadline", "notice")
_BROKEN = re.compile(r"\w+ at \w+\.py:\d+")


def _place(row):
    """Where a row stands, written out once more: the machine's own table is what is tested."""
    if row.status == Status.FAILED:
        return "FAILED?" if row.settled_by in _WEAK else "FAILED"
    return str(row.status)


_ASKED = {
    Outcome.SUCCESS: "asked_success",
    Outcome.FAILED: "asked_failed",
    Outcome.CANCELLED: "asked_failed",
    Outcome.EXPIRED: "expired",
}
_ALLOWED = {
    "PENDING": {"PROCESSING", "SUCCESS", "FAILED", "FAILED?", "TIMEOUT"},
    "PROCESSING": {"SUCCESS", "FAILED", "FAILED?", "TIMEOUT"},
    "TIMEOUT": {"SUCCESS", "FAILED", "FAILED?"},
    "FAILED?": {"SUCCESS", "FAILED"},
    "FAILED": set(),
    "SUCCESS": {"REVERSED"},
    "REVERSED": set(),
}


class Books:
    """The history of one schedule, and its violations.

    Args:
        world: whose.
        rules: those that count; all by default.
    """

    def __init__(self, world, rules=None):
        self.world = world
        self.rules = frozenset(rules) if rules is not None else frozenset(RULES)
        assert self.rules <= set(RULES)
        self.violations = []
        self.settlements = {}  # (id, generation) -> the row as it was settled
        self.successes = Counter()
        self.signals = defaultdict(Counter)  # (id, generation) -> signal -> deliveries
        self.allowed = Counter()  # (id, generation, signal) -> repetitions that a lapsed lease explains
        self.told = Counter()  # callback id -> deliveries of callback_received
        self.told_allowed = Counter()
        self.raised = Counter()  # (transaction id, what was said) -> deliveries of settlement_conflict
        self.raised_by = set()  # callbacks that settlement_conflict told of
        self.raised_allowed = Counter()  # what was said -> repetitions that a lapsed lease explains
        self.holders = {}  # (id, generation), or a callback's id -> the process that has to announce it
        self.conflicting = {}  # transaction id -> since its conflict was announced and nobody resolved it
        self.letters = {}  # callback id -> letter
        self.acked = []

    def violated(self, rule, text):
        assert rule in RULES, rule
        if rule not in self.rules:
            return
        self.violations.append((rule, text))
        self.world.note(f"VIOLATION {rule}: {text}")

    def check(self, holds, rule, text):
        if not holds:
            self.violated(rule, text)

    # -- while it runs ---------------------------------------------------------------------------------------------

    def added(self, actor, row):
        if row.generation:
            self._settled(actor, row)

    def changed(self, actor, before, after):
        if after.version != before.version + 1 or after.idempotency_locked != (after.announce_until is not None):
            self.violated("mirror", f"{before!r} -> {after!r}")
        settled = after.generation != before.generation
        if settled:
            if after.generation != before.generation + 1:
                self.violated("generation", f"{before.generation} -> {after.generation} of {after!r}")
            if before.announce_until is not None:
                self.violated("overwritten", f"{after!r} settled while generation {before.generation} was unannounced")
            own = not actor.person and after.status != Status.REVERSED
            if own and (before.conflicts or before.id in self.conflicting):
                self.violated("held", f"{after!r} settled by itself while a conflict was open")
            self._settled(actor, after)
        if before.status != after.status or settled:
            here, there = _place(before), _place(after)
            person = actor.person and (here, there) == ("FAILED", "SUCCESS")
            if there not in _ALLOWED[here] and not person:
                self.violated("table", f"{here} -> {there} of {after!r}")
            if not settled and there != "PROCESSING":
                self.violated("generation", f"{here} -> {there} without a generation of its own")
        if before.settled_at is not None and after.settled_at != before.settled_at:
            self.violated("written once", f"settled_at of {after!r}")
        if before.mpesa_receipt_number is not None and after.mpesa_receipt_number != before.mpesa_receipt_number:
            self.violated("written once", f"receipt of {after!r}")
        if before.amount != after.amount and not actor.person:
            self.violated("written once", f"amount of {after!r}")
        gone = [said for said in before.conflicts if said not in after.conflicts]
        if gone:
            # The confirmation is matched again; or its callback is finished.
            let_go = all(said.startswith("several:") or self._is_over(before.conflicts[said]) for said in gone)
            self.check(actor.person or let_go, "held", f"{gone} of {after!r} were cleared by nobody")
            if not after.conflicts:
                self.conflicting.pop(after.id, None)
        if after.reserved != before.reserved:
            counted = [key for key in after.reserved if not self._is_unsent(UUID(key))]
            reserved = sum((Decimal(after.reserved[key]) for key in counted), Decimal(0))
            self.check(reserved <= after.amount, "over-reserved", f"{reserved} of {after!r}")
        if not settled and after.announce_until != before.announce_until:
            self._fence_changed(actor, before, after)

    def _is_over(self, entry):
        """Whether the callback that brought a conflict is closed otherwise, or the conflict resolved."""
        callback = self.world.repository.get_callback(UUID(entry["callback"])) if entry["callback"] else None
        listed = callback is not None and callback.disposition == Disposition.CONFLICT and callback.resolved_at is None
        return callback is not None and callback.next_attempt_at is None and not listed

    def _is_unsent(self, row_id):
        row = self.world.repository.get(row_id)
        return row is not None and row.settled_by == "unsent"

    def _settled(self, actor, row):
        self.settlements[row.id, row.generation] = row
        self.holders[row.id, row.generation] = actor
        self.check(row.announce_until is not None, "overwritten", f"{row!r} settled without a fence")
        if row.status == Status.SUCCESS:
            self.successes[row.id] += 1
            self.check(self.successes[row.id] == 1, "success twice", repr(row))

    def _lapses(self, key, actor):
        """Somebody takes over from a process that may be alive all the same: True if so."""
        alive = key in self.holders and self.holders[key] in self.world.actors
        self.holders[key] = actor
        return alive

    def _fence_changed(self, actor, before, after):
        key = (before.id, before.generation)
        if before.announce_until is None:
            self.violated("lease", f"{after!r} was fenced without a settlement")
        elif after.announce_until is None:
            self.check(bool(self.signals[key]), "marked early", f"{after!r}, generation {after.generation}")
        else:
            self.check(before.announce_until <= self.world.now, "lease", f"{after!r} was taken over early")
            alive = self._lapses(key, actor)
            for signal in _SETTLEMENT_SIGNALS if alive else self.signals[key]:
                self.allowed[*key, signal] += 1

    def callback_changed(self, actor, before, after):
        if after.attempts > before.attempts and after.next_attempt_at is not None:  # claimed
            alive = self._lapses(after.id, actor)
            self.told_allowed[after.id] += alive or bool(self.told[after.id])
            self.raised_allowed[after.raw_bytes] += alive or after.id in self.raised_by
        if after.resolved_at != before.resolved_at:
            self.check(actor.person, "held", "a conflict was resolved by nobody")

    def sent(self, draft, letter):
        self.letters[draft.id] = letter

    def acknowledged(self, draft):
        self.acked.append(draft)

    def delivered(self, actor, effect):
        arguments, row = effect.arguments, effect.transaction
        if effect.signal == "callback_received":
            self.told[arguments["callback"].id] += 1
        elif effect.signal == "settlement_conflict":
            self._conflict_delivered(arguments)
        elif row is not None:
            self.check(effect.signal in _SETTLEMENT_SIGNALS, "uncommitted", effect.signal)
            self.signals[row.id, row.generation][effect.signal] += 1
            stored = self.world.repository.get(row.id)
            told = self.settlements.get((row.id, row.generation))
            durable = stored is not None and stored.generation >= row.generation and told is not None
            self.check(durable and told.status == row.status, "uncommitted", f"{effect.signal} of {row!r}")

    def _conflict_delivered(self, arguments):
        row, callback, problem = arguments["transaction"], arguments["callback"], arguments["problem"]
        if problem.startswith("It settles nothing:"):
            return  # to be looked at; it contradicts nothing
        said = callback.raw_bytes if callback is not None else problem
        key = (row.id if row is not None else callback.id, said)
        self.raised[key] += 1
        if callback is not None:
            self.raised_by.add(callback.id)
        if row is not None:
            stored = self.world.repository.get(row.id)
            # Unless a person, the payment's own callback, or a worker that took over a live one's lease resolved it.
            has_receipt = stored.mpesa_receipt_number is not None and "may belong to any of" in problem
            lapsed = callback is not None and self.told_allowed[callback.id]
            if stored.conflicts or not (self.world.people or has_receipt or lapsed):
                self.conflicting[row.id] = self.world.now
                self.check(bool(stored.conflicts), "conflict elsewhere", f"{problem} of {stored!r}")

    # -- when everything has come to rest --------------------------------------------------------------------------

    def close(self):
        """Check what must hold in the end."""
        repository = self.world.repository
        rows = list(repository._transactions.values())
        callbacks = list(repository._callbacks.values())
        self._close_signals(rows, callbacks)
        self._close_nothing_stuck(rows, callbacks)
        self._close_conflicts(rows)
        self._close_money(rows)
        self._close_refunds(rows)
        for row in rows:
            self._close_outcome(row, callbacks)

    def _close_signals(self, rows, callbacks):
        for (row_id, generation), row in self.settlements.items():
            fired = self.signals.get((row_id, generation), {})
            self.check(bool(fired), "unannounced", f"{row!r}, generation {generation}")
            for signal, count in fired.items():
                most = 1 + self.allowed[row_id, generation, signal]
                self.check(count <= most, "announced again", f"{signal} of {row!r} fired {count} times, {most} allowed")
        for row in rows:
            for generation in range(1, row.generation + 1):
                self.check((row.id, generation) in self.settlements, "generation", f"{generation} of {row!r}")
        for callback in callbacks:
            count, most = self.told[callback.id], 1 + self.told_allowed[callback.id]
            told = count >= 1 or not callback.processed or not self.world.heard
            self.check(told, "untold", f"{callback!r}")
            self.check(count <= most, "told again", f"callback_received of {callback!r}: {count} times, {most} allowed")
        for key, count in self.raised.items():
            most = 1 + self.raised_allowed[key[1]]
            if self.world.people:
                continue  # what was dismissed is raised again by its duplicate
            self.check(count <= most, "told again", f"settlement_conflict: {count} times, {most} allowed: {key}")

    def _close_nothing_stuck(self, rows, callbacks):
        for callback in callbacks:
            closed = callback.next_attempt_at is None and callback.processed and callback.disposition is not None
            self.check(closed, "stuck", f"{callback!r} is open")
            self.check(not _BROKEN.search(callback.error or ""), "broken", f"{callback!r}: {callback.error}")
        for row in rows:
            self.check(row.announce_until is None, "stuck", f"{row!r} is unannounced")
            waiting = row.status in (Status.PENDING, Status.PROCESSING) and not row.conflicts
            self.check(not waiting, "stuck", f"{row!r} is past its deadline")
        stored = {callback.id: callback for callback in callbacks}
        for draft in self.acked:
            kept = stored.get(draft.id)
            self.check(kept is not None and kept.raw_bytes == draft.raw_bytes, "kept", f"{draft.id}")

    def _close_conflicts(self, rows):
        if self.world.people:
            return  # a worker whose lease has lapsed may keep a conflict once more that a person has just resolved
        listed = {callback.id for callback in self.world.repository.conflicts(1000)}
        announced = self.raised_by
        for row in rows:
            for said, entry in row.conflicts.items():
                if entry["callback"] is None:
                    continue
                callback_id = UUID(entry["callback"])
                if row.next_check_at is None and self.told_allowed[callback_id]:
                    continue  # kept by a worker after its lease had lapsed, on a row that no sweep looks at
                self.check(callback_id in announced, "silent", f"{said} of {row!r} was never announced")
                self.check(callback_id in listed, "silent", f"{said} of {row!r} is not in conflicts()")
        for callback_id in listed - announced:
            told = self.world.repository.get_callback(callback_id)
            self.check("documented" in (told.error or ""), "silent", f"{told!r} was never announced")

    def _close_money(self, rows):
        daraja = self.world.daraja
        for token, count in Counter(daraja.posts).items():
            self.check(count == 1, "sent twice", f"the request with token {token}: {count} times")
        by_key = Counter(row.idempotency_key for row in rows if row.idempotency_key)
        self.check(all(count == 1 for count in by_key.values()), "two for one", str(by_key))
        receipts = Counter((row.short_code, row.mpesa_receipt_number) for row in rows if row.mpesa_receipt_number)
        self.check(all(count == 1 for count in receipts.values()), "receipt", str(receipts))
        by_receipt = {entry.receipt: entry for entry in daraja.ledger}
        by_token = {entry.payment.token: entry for entry in daraja.ledger if entry.payment.token}
        claims = {}
        for row in rows:
            if row.status not in _SUCCEEDED:
                continue
            receipt = row.mpesa_receipt_number
            entry = by_receipt.get(receipt) if receipt is not None else by_token.get(row.callback_token)
            contested = bool(row.conflicts) or self._lied_about(row) or self.world.people
            if entry is None:
                self.check(contested, "money", f"{row!r} succeeded, and nothing moved")
                continue
            contested = contested or not entry.payment.plan.honest
            twice = entry.receipt in claims and not contested
            self.check(not twice, "money", f"{row!r} and {claims.get(entry.receipt)!r} count {entry}")
            claims[entry.receipt] = row
            unheard = row.settled_by == "query" and not self._heard_of(entry.payment)
            self.check(
                entry.amount == row.amount or contested or unheard,
                "money",
                f"{row!r} is not what moved: {entry.amount}",
            )
        for entry in daraja.ledger:
            if entry.receipt not in claims and entry.payment.plan.honest:
                self._check_missing(entry, rows)

    def _heard_of(self, payment):
        """Whether a report of a payment was recorded; a question's answer does not tell the amount."""
        heard = {callback_id for callback_id, letter in self.letters.items() if letter.payment is payment}
        return any(self.world.repository.get_callback(callback_id) is not None for callback_id in heard)

    def _lied_about(self, row):
        payment = self.world.daraja.payments.get(row.callback_token)
        return payment is not None and not payment.plan.honest

    def _check_missing(self, entry, rows):
        """Money moved and nothing counts it: somebody was told, or nobody could know."""
        told = [
            (callback_id, letter)
            for callback_id, letter in self.letters.items()
            if letter.payment is entry.payment and self.world.repository.get_callback(callback_id) is not None
        ]
        good = [callback_id for callback_id, letter in told if letter.says in ("success", "c2b", "status_success")]
        own = [row for row in rows if entry.payment.token and row.callback_token == entry.payment.token]
        in_conflict = any(row.conflicts for row in own) or any(
            self.world.repository.get_callback(callback_id).disposition == Disposition.CONFLICT for callback_id in good
        )
        if good and not in_conflict and not self.world.people:
            self.violated("missing money", f"{entry} was reported and is nowhere")
        if entry.kind == "in" and not good and not in_conflict:
            # No report came through. A question would have told, if it could be asked and was answered.
            asked = own and own[0].checkout_request_id and entry.payment.plan.question == "success"
            asked = asked and _place(own[0]) != "FAILED"
            self.check(not asked, "missing money", f"{entry} was never asked about")

    def _close_refunds(self, rows):
        back = Counter()
        for entry in self.world.daraja.ledger:
            if entry.kind == "back":
                back[entry.original] += entry.amount
        for receipt, amount in back.items():
            original = self.world.repository.find(Key.RECEIPT, ("174379", receipt))
            self.check(amount <= original.amount, "over-refunded", f"{amount} of {original!r}")
        for parent in rows:
            children = [row for row in rows if row.parent_id == parent.id]
            if not children:
                continue
            due = {str(row.id): str(row.amount) for row in children if _place(row) != "FAILED"}
            kept = {key: value for key, value in parent.reserved.items() if key in due}
            self.check(kept == due, "reserved", f"{dict(parent.reserved)} and not {due} of {parent!r}")
            # One that a sweep called unsent before its process reserved it stays there, and counts for nothing.
            unsent = {str(row.id) for row in children if row.settled_by == "unsent"}
            stale = set(parent.reserved) - set(due) - unsent
            self.check(not stale, "reserved", f"{stale} failed and is still reserved of {parent!r}")
            done = sum((row.amount for row in children if row.status in _SUCCEEDED), Decimal(0))
            whole = done >= parent.amount and not parent.conflicts
            self.check(
                (parent.status == Status.REVERSED) == whole, "outcome", f"{done} of {parent.amount} is back: {parent!r}"
            )

    def _close_outcome(self, row, callbacks):
        if self.world.people or row.transaction_type == TransactionType.C2B:
            return
        payment = self.world.daraja.payments.get(row.callback_token)
        said = set()
        for callback in callbacks:
            letter = self.letters.get(callback.id)
            if callback.disposition == Disposition.CONFLICT and callback.related_transaction_id is None:
                continue  # it found no transaction, or several
            if letter is not None and letter.payment is payment is not None:
                said.add(letter.says)
            elif callback.callback_type == CallbackType.STK_QUERY and callback.token == row.callback_token:
                said.add(_ASKED[decode_callback(CallbackType.STK_QUERY, callback.raw_bytes).outcome])
        success = said & {"success", "status_success", "asked_success"}
        failure = said & {"cancelled", "failed"}
        place = _place(row)
        denied = self.world.settings.verify_before_settle and "asked_failed" in said and "success" in said
        if "short" in said or said >= {"success", "other"} or (success and failure) or denied:
            self.check(bool(row.conflicts), "outcome", f"{sorted(said)} contradict each other: {row!r} has no conflict")
            return
        if row.conflicts:
            belied = payment is not None and payment.plan.answer == "belies"
            allowed = belied or self.world.adopting or said & {"c2b", "c2b_odd", "other"}
            self.check(allowed, "outcome", f"{sorted(said)} contradict nothing: {dict(row.conflicts)} of {row!r}")
            return
        if success or "other" in said:
            expected = {"SUCCESS", "REVERSED"}
        elif failure:
            expected = {"FAILED", "SUCCESS"} if "c2b" in said else {"FAILED"}
        elif "c2b" in said:
            expected = {"SUCCESS", "REVERSED", "FAILED?", "TIMEOUT"}  # or the confirmation is a transaction of its own
        elif said & {"asked_failed", "status_failed"}:
            expected = {"FAILED?"}
        elif payment is None:
            expected = {"FAILED", "TIMEOUT"}  # never sent, known or not
        elif (payment.accepted and payment.plan.answer != "belies") or payment.plan.answer == "vanishes":
            expected = {"TIMEOUT"}
        else:
            expected = {"FAILED", "TIMEOUT"}  # refused; the process may have died before it could say so
        if self.world.adopting:
            expected = expected | {"SUCCESS"}
        self.check(place in expected, "outcome", f"{sorted(said)} came to {place}, not to {sorted(expected)}: {row!r}")
