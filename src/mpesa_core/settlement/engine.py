"""The settlement engine: from a recorded callback to a settled transaction and its signal, exactly once.

::

    claim -> decode -> find the transaction -> decide -> settle -> close -> announce -> mark

Each step is one atomic repository operation, and any of them may be the last one before the process dies. Where the
repository settles and closes in one operation, and nobody has to be told of the callback in between, there is nothing
to claim: that one operation happens, or it does not. What makes it safe:

- a callback is *claimed* by moving its next attempt into the future; if the worker dies, the attempt comes due again;
- a settlement is one compare-and-set, which also sets the announcer's lease (the *fence*): who wins it announces,
  nobody else;
- nothing settles while the fence is up, so no signal is overwritten; a lapsed fence is claimed and announced first;
- the fence is *marked* down only after the signals went out, and the mark names the generation;
- a conflict stands on the transaction's own row before it is announced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import attrs

from mpesa_core.daraja.callbacks import (
    BalanceCallback,
    Callback,
    CallbackType,
    StandingOrderCallback,
    Unreadable,
    decode_callback,
)
from mpesa_core.daraja.codes import Outcome
from mpesa_core.errors import DuplicateKey, StorageError, StorageRefused
from mpesa_core.outline import outline
from mpesa_core.payments.adoption import Adopt, Create, Several, Wait, asked_since, believable, match, plausible
from mpesa_core.payments.decide import (
    SEVERAL,
    AskNow,
    Conflict,
    Decision,
    Duplicate,
    Enrich,
    Evidence,
    Ignore,
    Postpone,
    Settle,
    decide,
)
from mpesa_core.payments.machine import OPEN, Source
from mpesa_core.payments.records import (
    CallbackDraft,
    CallbackRecord,
    Disposition,
    Key,
    Status,
    TransactionDraft,
    TransactionRecord,
    TransactionType,
)
from mpesa_core.payments.schedule import backoff, next_check
from mpesa_core.payments.standing import is_open_conflict
from mpesa_core.settings import Settings
from mpesa_core.settlement.announcing import Announcing
from mpesa_core.settlement.effects import Procedure, deliver, heard, resolve_c2b
from mpesa_core.settlement.evidence import CONFIRMATIONS, SPEAKS_OF, evidence_of
from mpesa_core.settlement.questions import Questions
from mpesa_core.values import redact

__all__ = ["C2B_NAMESPACE", "Applied", "Closed", "Engine", "Postponed", "Verdict"]

_log = logging.getLogger("mpesa_core.settlement")

C2B_NAMESPACE: Final = UUID("6f1c2f0e-8a55-4a1e-9f0c-2b7f5b9d5c20")
"""The id of a C2B payment is ``uuid5(C2B_NAMESPACE, "short code:receipt")``, in every worker the same."""


@attrs.frozen
class Applied:
    """The evidence is in the row.

    Attributes:
        row: as it is now.
        announce: this worker won the settlement and has to announce it.
    """

    row: TransactionRecord
    announce: bool = False


@attrs.frozen
class Closed:
    """Nothing more is to be done about the callback.

    Attributes:
        disposition: what became of it.
        row: the transaction that it is about, if any.
        error: why, where it could not be used.
    """

    disposition: Disposition
    row: TransactionRecord | None = None
    error: str | None = None


@attrs.frozen
class Postponed:
    """Not now.

    Attributes:
        until: when to look again.
        unmatched: no transaction was found for it.
        error: why, where something failed.
    """

    until: datetime
    unmatched: bool = False
    error: str | None = None


Verdict = Applied | Closed | Postponed


class Engine(Announcing):
    """The procedures of settlement. Without state: everything that is remembered is in the repository.

    Args:
        settings: leases, deadlines and options.
        clock: the time, aware, in UTC.
        new_id: makes the ids of recorded answers.
        invoices: the repository keeps invoices.
        subscriptions: the repository keeps subscriptions.
        batches: the repository does several operations at once; recovery then takes callbacks side by side.
        joint: the repository settles and closes the callback that says so in one operation.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        *,
        invoices: bool = False,
        subscriptions: bool = False,
        batches: bool = False,
        joint: bool = False,
    ) -> None:
        super().__init__(settings, clock, invoices=invoices, subscriptions=subscriptions)
        # A callback whose proof is asked for over the network would keep the others waiting, beyond their leases.
        self.batches = batches and not settings.verify_before_settle
        self.joint = joint
        self.questions = Questions(settings, clock, new_id)

    # -- one callback ----------------------------------------------------------------------------------------------

    def process(self, callback_id: UUID, recorded: CallbackDraft | None = None) -> Procedure[Verdict | None]:
        """Process one recorded callback, if it is open and due and nobody else has claimed it.

        Args:
            callback_id: whose.
            recorded: as this process has just recorded it, where it has.

        Returns:
            What became of it; None when it was not ours to take.
        """
        if recorded is not None:
            verdict = yield from self._at_once(recorded, attempts=0)
            if verdict is not None:
                return verdict
        callback = yield from self.store.get_callback(callback_id)
        return (yield from self.take(callback)) if callback is not None else None

    def take(self, callback: CallbackRecord) -> Procedure[Verdict | None]:
        """Process a callback that was just read; as :meth:`process`."""
        if callback.next_attempt_at is None or callback.next_attempt_at > self.clock():
            return None
        verdict = yield from self._at_once(callback, attempts=callback.attempts)
        if verdict is not None:
            return verdict
        lease = yield from self._claim(callback)
        if lease is None:
            return None
        try:
            verdict = yield from self._work(callback)
        except Exception as error:
            if isinstance(error, StorageError) and not isinstance(error, (DuplicateKey, StorageRefused)):
                raise  # it stays claimed; when the lease lapses it is taken up again
            # A body that nobody thought of must not block the queue.
            _log.error("Callback %s could not be processed: %s", callback.id, outline(error))
            verdict = self._put_back(callback, outline(error))
        yield from self._finish(callback, lease, verdict)
        return verdict

    def _at_once(self, callback: CallbackRecord | CallbackDraft, *, attempts: int) -> Procedure[Verdict | None]:
        """Do without a claim what one operation does: settle and close the callback, or close one that says nothing.

        Returns:
            What became of it. None where it takes more than that, or somebody else was first: nothing was changed.
        """
        if not self.joint or callback.callback_type not in _AT_ONCE or (yield from heard("callback_received")):
            return None
        try:
            verdict = yield from self._settled_at_once(callback, attempts)
        except Exception:  # noqa: BLE001 - what is wrong comes up again when it is claimed, and is dealt with there
            # Under a claim, so that a callback which fails each time keeps none of those behind it from their turn.
            return None
        if isinstance(verdict, Applied) and verdict.announce:
            yield from self.announce(verdict.row)
        return verdict

    def _settled_at_once(
        self, callback: CallbackRecord | CallbackDraft, attempts: int
    ) -> Procedure[Applied | Closed | None]:
        callback_type = CallbackType(callback.callback_type)
        message = decode_callback(callback_type, callback.raw_bytes)
        if isinstance(message, Unreadable):
            return None
        evidence = evidence_of(message, callback_type, callback.id)
        row = yield from self._find(callback, evidence, SPEAKS_OF[callback_type])
        if row is None:
            return None
        match decision := self.decide(row, evidence):
            case Duplicate() | Ignore():
                closed = Closed(Disposition.DUPLICATE, row)
                done = yield from self.store.change_callback(
                    callback.id, callback.next_attempt_at, {**_closing(closed), "attempts": attempts + 1}
                )
                return closed if done else None
            case Enrich(changes=changes):
                pass
            case Settle(status=status) if not self._needs_proof(row, status, evidence):
                changes = {**self._with_schedule(row, decision), **self.fence()}
            case _:
                return None
        closing = {**_closing(Closed(Disposition.APPLIED, row)), "attempts": attempts + 1}
        settled = yield from self.store.change_with_callback(row, changes, callback, closing)
        return Applied(settled, announce=isinstance(decision, Settle)) if settled is not None else None

    def _claim(self, callback: CallbackRecord) -> Procedure[datetime | None]:
        lease = self.clock() + timedelta(seconds=self.settings.callback_lease)
        won = yield from self.store.change_callback(
            callback.id, callback.next_attempt_at, {"next_attempt_at": lease, "attempts": callback.attempts + 1}
        )
        return lease if won else None

    def _work(self, callback: CallbackRecord) -> Procedure[Verdict]:
        try:
            callback_type = CallbackType(callback.callback_type)
        except ValueError:
            return Closed(Disposition.UNREADABLE, error=f"unknown callback type {callback.callback_type!r}")
        message = decode_callback(callback_type, callback.raw_bytes)
        if isinstance(message, Unreadable):
            return Closed(Disposition.UNREADABLE, error=message.problem or "it could not be read")
        if isinstance(message, BalanceCallback):
            yield from deliver(
                "balance_received", {"raw_payload": message.raw, "balances": message.balances, "callback": callback}
            )
            return Closed(Disposition.APPLIED)
        if callback_type in CONFIRMATIONS:
            return (yield from self._confirmation(callback, message, callback_type))
        if isinstance(message, StandingOrderCallback) and self.subscriptions.kept:
            return (yield from self._standing_order(callback, message))
        if callback_type not in SPEAKS_OF:
            return Closed(Disposition.APPLIED)
        evidence = evidence_of(message, callback_type, callback.id)

        def find() -> Procedure[TransactionRecord | None]:
            return (yield from self._find(callback, evidence, SPEAKS_OF[callback_type]))

        return (yield from self.apply(find, evidence, callback))

    def _standing_order(self, callback: CallbackRecord, message: StandingOrderCallback) -> Procedure[Verdict]:
        told = yield from self.subscriptions.answer(callback, message)
        if told is None:
            return self._put_back(callback, unmatched=True)
        if told.problem is not None:
            yield from self._announce_conflict(None, callback, told.problem)
        return Closed(told.disposition, error=told.problem)

    def _finish(self, callback: CallbackRecord, lease: datetime, verdict: Verdict) -> Procedure[None]:
        if isinstance(verdict, Postponed):
            if self._is_too_old(callback):
                problem = verdict.error or "It matched no transaction for too long."
                yield from self._announce_conflict(None, callback, problem)
                verdict = Closed(Disposition.CONFLICT, error=problem)
            else:
                changes: dict[str, Any] = {"next_attempt_at": verdict.until, "error": verdict.error}
                if verdict.unmatched:
                    changes["disposition"] = Disposition.UNMATCHED
                yield from self.store.change_callback(callback.id, lease, changes)
                return
        closed = Closed(Disposition.APPLIED, verdict.row) if isinstance(verdict, Applied) else verdict
        if closed.disposition is Disposition.UNREADABLE:
            _log.error("Callback %s (%s) cannot be read: %s", callback.id, callback.callback_type, closed.error)
        settled = verdict.row if isinstance(verdict, Applied) and verdict.announce else None  # its lease runs already
        yield from deliver(
            "callback_received", {"callback": callback, "disposition": closed.disposition}, transaction=settled
        )
        yield from self.store.change_callback(callback.id, lease, _closing(closed))
        if settled is not None:
            yield from self.announce(settled)

    def _is_too_old(self, callback: CallbackRecord) -> bool:
        return self.clock() - callback.received_at >= timedelta(seconds=self.settings.unmatched_after)

    def _put_back(self, callback: CallbackRecord, error: str | None = None, *, unmatched: bool = False) -> Postponed:
        return Postponed(self.clock() + backoff(callback.attempts, longest=300.0), unmatched=unmatched, error=error)

    # -- evidence and its transaction ------------------------------------------------------------------------------

    def _find(
        self, callback: CallbackRecord | CallbackDraft, evidence: Evidence, types: set[TransactionType]
    ) -> Procedure[TransactionRecord | None]:
        keys = [
            (Key.CALLBACK_TOKEN, callback.token),
            (Key.CHECKOUT_REQUEST_ID, evidence.checkout_request_id),
            (Key.CONVERSATION_ID, evidence.conversation_id),
            (Key.ORIGINATOR_CONVERSATION_ID, evidence.originator_conversation_id),
        ]
        for key, value in keys:
            if value:
                row = yield from self.store.find(key, value)
                if row is not None and row.transaction_type in types:
                    return row
        return None

    def apply(
        self,
        find: Callable[[], Procedure[TransactionRecord | None]],
        evidence: Evidence,
        callback: CallbackRecord | None,
    ) -> Procedure[Verdict]:
        """Decide and carry out, reading again as often as somebody else is first.

        Args:
            find: reads the transaction; called anew for each try.
            evidence: what is said.
            callback: the recorded callback that says it; None for a deadline, a refusal, or what was provably not sent.
        """
        while True:
            row = yield from find()
            if row is None:
                return self._put_back(callback, unmatched=True) if callback else Closed(Disposition.UNMATCHED)
            decision = self.decide(row, evidence)
            verdict = yield from self._carry_out(row, decision, evidence, callback)
            if verdict is not None:
                return verdict

    def decide(self, row: TransactionRecord, evidence: Evidence) -> Decision:
        """The decision, with the host's option for queue-timeout notices."""
        return decide(row, evidence, self.clock(), on_queue_timeout=self.settings.on_queue_timeout)

    def _carry_out(
        self, row: TransactionRecord, decision: Decision, evidence: Evidence, callback: CallbackRecord | None
    ) -> Procedure[Verdict | None]:
        """Carry out a decision; None means that somebody else was first: read again."""
        now = self.clock()
        match decision:
            case Duplicate() | Ignore():
                return Closed(Disposition.DUPLICATE, row)
            case Conflict():
                return (yield from self._conflict(row, decision, callback))
            case Postpone(until=until):
                if until <= now:
                    lapsed = yield from self.claim_fence(row)
                    if lapsed is not None:
                        yield from self.announce(lapsed)
                    return None
                return Postponed(min(until, now + backoff(callback.attempts if callback else 0, longest=300.0)))
            case AskNow(review=review):
                if row.next_check_at is None or row.next_check_at > now:
                    changed = yield from self.store.change(row.id, row.version, {"next_check_at": now})
                    if changed is None:
                        return None
                if review:
                    unknown = f"nobody has documented the code {evidence.code_text or '(none)'}"
                    problem = f"It settles nothing: {evidence.problem or unknown}. M-PESA is asked about it."
                    yield from self._announce_conflict(row, callback, problem)
                    return Closed(Disposition.CONFLICT, row, problem)
                return Applied(row)
            case Enrich(changes=changes):
                return (yield from self._settle(row, changes, evidence, callback, fenced=False))
            case Settle(status=status):
                if callback is not None and self._needs_proof(row, status, evidence):
                    return (yield from self._verify(row, evidence, callback))
                changes = self._with_schedule(row, decision)
                return (yield from self._settle(row, changes, evidence, callback, fenced=True))

    def _verify(
        self, row: TransactionRecord, evidence: Evidence, callback: CallbackRecord
    ) -> Procedure[Verdict | None]:
        """Ask M-PESA itself before a callback's success settles; its answer settles, and the callback then enriches."""
        if row.status not in OPEN and row.settled_by == Source.QUERY:
            denied = Conflict(
                evidence.says, "A callback says that it succeeded, and M-PESA, when asked, that it did not."
            )
            return (yield from self._conflict(row, denied, callback))
        if row.checkout_request_id is None and evidence.checkout_request_id:
            # The answer that named it was lost. One payment alone has it, so that it cannot be another one of ours.
            known = {"checkout_request_id": evidence.checkout_request_id}
            attached = yield from self._settle(row, known, evidence, callback, fenced=False)
            return attached if isinstance(attached, Closed) else None
        answer = yield from self.questions.ask(row)
        if answer is not None:
            yield from self.process(answer)
            fresh = yield from self.store.get(row.id)
            if fresh is not None and fresh.version != row.version:
                return None
        return self._put_back(callback)

    def _needs_proof(self, row: TransactionRecord, target: Status, evidence: Evidence) -> bool:
        stk = row.transaction_type == TransactionType.STK_PUSH and target is Status.SUCCESS
        return self.settings.verify_before_settle and stk and evidence.source is Source.CALLBACK

    def _with_schedule(self, row: TransactionRecord, decision: Settle) -> Mapping[str, Any]:
        if "next_check_at" in decision.changes:
            return decision.changes
        due = next_check(row, self.settings, self.clock(), checks=row.checks, status=decision.status)
        return {**decision.changes, "next_check_at": due}

    def _settle(
        self,
        row: TransactionRecord,
        changes: Mapping[str, Any],
        evidence: Evidence,
        callback: CallbackRecord | None,
        *,
        fenced: bool,
    ) -> Procedure[Verdict | None]:
        fence = self.fence() if fenced else {}
        try:
            settled = yield from self.store.change(row.id, row.version, {**changes, **fence})
        except DuplicateKey as error:
            if evidence.source is Source.CONFIRMATION:
                return None  # the very payment has got its receipt meanwhile: match again
            taken = Conflict(evidence.says, f"Its {error.key} belongs to transaction {error.owner}.")
            return (yield from self._conflict(row, taken, callback))
        return Applied(settled, announce=fenced) if settled is not None else None

    def _conflict(
        self, row: TransactionRecord, conflict: Conflict, callback: CallbackRecord | None
    ) -> Procedure[Verdict | None]:
        """Keep a contradiction on the transaction's own row, then announce it."""
        ours = str(callback.id) if callback is not None else None
        known = row.conflicts.get(conflict.fingerprint)
        if known is not None and known.get("callback") != ours:
            return Closed(Disposition.DUPLICATE, row)
        if known is None:
            entry = {"callback": ours, "problem": conflict.problem, "at": self.clock().isoformat()}
            marked = yield from self.store.change(
                row.id, row.version, {"conflicts": {**row.conflicts, conflict.fingerprint: entry}}
            )
            if marked is None:
                return None
            row = marked
        yield from self._announce_conflict(row, callback, conflict.problem)
        return Closed(Disposition.CONFLICT, row, conflict.problem)

    def keep_conflict(self, row: TransactionRecord, conflict: Conflict) -> Procedure[None]:
        """Keep a contradiction that no callback brought."""
        fresh: TransactionRecord | None = row
        while fresh is not None and (yield from self._conflict(fresh, conflict, None)) is None:
            fresh = yield from self.store.get(row.id)

    def open_conflicts(self, row: TransactionRecord) -> Procedure[dict[str, Any]]:
        """The conflicts that hold a transaction, without those whose callback is closed otherwise or resolved.

        A worker that stood still for longer than its lease may keep one after somebody else has finished its callback;
        nobody would find it then.
        """
        held = {}
        for said, entry in row.conflicts.items():
            callback = (yield from self.store.get_callback(UUID(entry["callback"]))) if entry.get("callback") else None
            if callback is None or not _is_over(callback):
                held[said] = entry
        return held

    def _announce_conflict(
        self, row: TransactionRecord | None, callback: CallbackRecord | None, problem: str
    ) -> Procedure[None]:
        _log.warning("Conflict on transaction %s: %s", row.id if row is not None else "(none)", redact(problem))
        yield from deliver(
            "settlement_conflict", {"transaction": row, "callback": callback, "problem": problem}, transaction=None
        )

    # -- C2B -------------------------------------------------------------------------------------------------------

    def _confirmation(
        self, callback: CallbackRecord, message: Callback, callback_type: CallbackType
    ) -> Procedure[Verdict]:
        """A payment that M-PESA reports by its receipt: known already, an STK payment's second report, or a new one."""
        evidence = evidence_of(message, callback_type, callback.id)
        short_code, receipt, amount = evidence.short_code, evidence.receipt, evidence.amount
        if not short_code or not receipt or amount is None:
            return Closed(Disposition.UNREADABLE, error="a confirmation needs a short code, a receipt and an amount")

        def by_receipt() -> Procedure[TransactionRecord | None]:
            return (yield from self.store.find(Key.RECEIPT, (short_code, receipt)))

        paid_at = believable(message.occurred_at, callback.received_at)
        since = asked_since(paid_at, callback.received_at, stk_deadline=self.settings.stk_deadline)
        tried = callback.attempts > 0
        while True:
            if (yield from by_receipt()) is not None:
                if tried:
                    yield from self._let_go(callback, evidence, since)
                return (yield from self.apply(by_receipt, evidence, callback))
            rows = yield from self.store.candidates(short_code, amount, evidence.reference or None, since)
            rows = plausible(rows, evidence, paid_at, stk_deadline=self.settings.stk_deadline)
            verdict = yield from self._match(callback, message, evidence, rows, since)
            if verdict is not None:
                return verdict
            tried = True

    def _match(
        self,
        callback: CallbackRecord,
        message: Callback,
        evidence: Evidence,
        rows: Sequence[TransactionRecord],
        since: datetime,
    ) -> Procedure[Verdict | None]:
        unprocessed = yield from self._has_open_callbacks(rows)
        found = match(
            rows,
            unprocessed=unprocessed,
            received_at=callback.received_at,
            now=self.clock(),
            grace=self.settings.adoption_grace,
        )
        if not isinstance(found, Several) and any(_held_by(callback, row, evidence) for row in rows):
            yield from self._let_go(callback, evidence, since)
            return None
        match found:
            case Wait(until=until):
                # After the grace only a payment's own callback is waited for, which may take M-PESA days.
                over = self.clock() - callback.received_at >= timedelta(seconds=self.settings.adoption_grace)
                return self._put_back(callback) if over else Postponed(until)
            case Adopt(row=row):
                # The customer's typing is no contradiction of what we asked for: only the receipt and amount are proof.
                proof = attrs.evolve(evidence, reference=None)
                return (yield from self._carry_out(row, self.decide(row, proof), proof, callback))
            case Several(rows=several):
                return (yield from self._hold(several, evidence, callback))
            case Create():
                paid_at = believable(message.occurred_at, callback.received_at)
                payer = yield from self.subscriptions.payer(evidence, paid_at, callback.received_at)
                if isinstance(payer, datetime):
                    return Postponed(payer)
                return (yield from self.create_c2b(message, evidence, payer))

    def _hold(
        self, rows: Sequence[TransactionRecord], evidence: Evidence, callback: CallbackRecord
    ) -> Procedure[Verdict | None]:
        """Keep the conflict on each payment that the confirmation may belong to, as it was read; None: match again."""
        problem = f"The receipt {evidence.receipt} may belong to any of {len(rows)} STK payments."
        fingerprint = _several(evidence)
        entry = {"callback": str(callback.id), "problem": problem, "at": self.clock().isoformat()}
        if all(fingerprint in row.conflicts and not _held_by(callback, row, evidence) for row in rows):
            return Closed(Disposition.DUPLICATE)
        for row in rows:
            if fingerprint not in row.conflicts:
                changes = {"conflicts": {**row.conflicts, fingerprint: entry}}
                if (yield from self.store.change(row.id, row.version, changes)) is None:
                    return None  # it has moved on, and may be the very payment
        yield from self._announce_conflict(rows[0], callback, problem)
        return Closed(Disposition.CONFLICT, None, problem)

    def _let_go(self, callback: CallbackRecord, evidence: Evidence, since: datetime) -> Procedure[None]:
        """Take off what an earlier try held, that died or lost a race halfway, now that the confirmation is matched."""
        for held in (yield from self.held_by_receipt(evidence, since)):
            row: TransactionRecord | None = held
            while row is not None and _held_by(callback, row, evidence):
                left = {said: entry for said, entry in row.conflicts.items() if said != _several(evidence)}
                if (yield from self.store.change(row.id, row.version, {"conflicts": left})) is not None:
                    break
                row = yield from self.store.get(row.id)

    def held_by_receipt(self, evidence: Evidence, since: datetime) -> Procedure[Sequence[TransactionRecord]]:
        """Every payment, asked for since then, that a confirmation of several can hold; one may have its receipt."""
        if not evidence.short_code or not evidence.receipt or evidence.amount is None:
            return []
        owner = yield from self.store.find(Key.RECEIPT, (evidence.short_code, evidence.receipt))
        rows = yield from self.store.candidates(evidence.short_code, evidence.amount, None, since)
        return [owner, *rows] if owner is not None else rows

    def _has_open_callbacks(self, rows: Sequence[TransactionRecord]) -> Procedure[bool]:
        for row in rows:
            if (yield from self.open_callbacks(row)):
                return True
        return False

    def open_callbacks(self, row: TransactionRecord) -> Procedure[Sequence[CallbackRecord]]:
        """The callbacks of a transaction that are recorded and not closed."""
        identifiers = (row.checkout_request_id, row.conversation_id, row.originator_conversation_id)
        return (
            yield from self.store.open_callbacks(
                token=row.callback_token, correlation_ids=[identifier for identifier in identifiers if identifier]
            )
        )

    def create_c2b(
        self, message: Callback, evidence: Evidence, subscription_id: UUID | None = None
    ) -> Procedure[Verdict | None]:
        """Record a C2B payment that nobody initiated: settled, fenced and with its receipt in one operation.

        Args:
            message: the confirmation, or Bill Manager's report.
            evidence: what it says.
            subscription_id: the subscription whose payment it is, if any.

        Returns:
            None when somebody else recorded its receipt first: match again.

        Raises:
            DuplicateKey: another field of it is taken, one that the host's hook gave.
        """
        now = self.clock()
        host = yield from resolve_c2b(message)
        draft = TransactionDraft(
            id=uuid5(C2B_NAMESPACE, f"{evidence.short_code}:{evidence.receipt}"),
            transaction_type=_created(message),
            status=Status.SUCCESS,
            account=self._account_of(evidence.short_code or ""),
            short_code=evidence.short_code or "",
            mpesa_receipt_number=evidence.receipt,
            phone_number=evidence.phone_number or "",
            amount=evidence.amount or message.amount or 0,  # type: ignore[arg-type]
            account_reference=evidence.reference or "",
            result_code=0,
            result_code_text="0",
            result_desc=evidence.description,
            raw_callback_payload=evidence.raw,
            initiated_at=now,
            settled_at=now,
            settled_by=evidence.source,
            confirmed_at=now,
            generation=1,
            parent_id=subscription_id,
            host=dict(host or {}),
            **self.fence(),
        )
        try:
            row = yield from self.store.add(draft)
        except DuplicateKey as error:
            if error.key not in ("id", Key.RECEIPT):
                raise  # a unique field of the host's, say: to match again would find the same for ever
            return None
        return Applied(row, announce=True)

    def _account_of(self, short_code: str) -> str:
        for name in self.settings.account_names:
            account = self.settings.account(name)
            if short_code in (account.short_code, account.till_number):
                return name
        return "default"

    # -- what nobody else says -------------------------------------------------------------------------------------

    def conclude(self, transaction_id: UUID, evidence: Evidence) -> Procedure[TransactionRecord | None]:
        """Settle a transaction on our own account: a deadline, a refusal, or what was provably not sent.

        Returns:
            The transaction as it is now.
        """

        def find() -> Procedure[TransactionRecord | None]:
            return (yield from self.store.get(transaction_id))

        verdict = yield from self.apply(find, evidence, None)
        if isinstance(verdict, Applied) and verdict.announce:
            yield from self.announce(verdict.row)
        return (yield from self.store.get(transaction_id))

    def expire(self, row: TransactionRecord) -> Procedure[TransactionRecord | None]:
        """Conclude that time ran out, unless a callback of the transaction is still to be processed."""
        if row.status not in OPEN or (yield from self.open_callbacks(row)):
            return row
        evidence = Evidence(
            source=Source.DEADLINE,
            outcome=Outcome.EXPIRED,
            description="No outcome before the deadline; M-PESA may still report one.",
            reason="expired",
        )
        return (yield from self.conclude(row.id, evidence))

    def unsent(self, row: TransactionRecord) -> Procedure[TransactionRecord | None]:
        """Conclude that a transaction which never left PENDING was never sent."""
        if row.status != Status.PENDING:
            return row
        if row.conflicts or (yield from self.open_callbacks(row)):
            later = self.clock() + timedelta(seconds=self.settings.unsent_after)  # so that it starves no other
            yield from self.store.change(row.id, row.version, {"next_check_at": later})
            return row
        return (yield from self._fail_unsent(row))

    def _fail_unsent(self, row: TransactionRecord) -> Procedure[TransactionRecord | None]:
        # By the version that was read: a sender who is starting it at this moment wins or loses, and knows it.
        evidence = Evidence(
            source=Source.UNSENT,
            outcome=Outcome.FAILED,
            description="It was never sent to M-PESA.",
            reason="unsent",
        )
        verdict = yield from self._carry_out(row, self.decide(row, evidence), evidence, None)
        if isinstance(verdict, Applied) and verdict.announce:
            yield from self.announce(verdict.row)
        return (yield from self.store.get(row.id))


def _created(message: Callback) -> TransactionType:
    reported = message.callback_type is CallbackType.BILL_PAYMENT
    return TransactionType.BILL_PAYMENT if reported else TransactionType.C2B


def _is_over(callback: CallbackRecord) -> bool:
    """Whether a callback is closed, and not as a conflict that a person still has to resolve."""
    return callback.next_attempt_at is None and not is_open_conflict(callback)


def _several(evidence: Evidence) -> str:
    """The fingerprint of a confirmation that may belong to several payments."""
    return f"{SEVERAL}{evidence.receipt}"


def _held_by(callback: CallbackRecord, row: TransactionRecord, evidence: Evidence) -> bool:
    """Whether this very confirmation holds the payment."""
    entry = row.conflicts.get(_several(evidence))
    return entry is not None and entry.get("callback") == str(callback.id)


def _closing(closed: Closed) -> dict[str, Any]:
    """What closes a callback."""
    return {
        "next_attempt_at": None,
        "processed": True,
        "disposition": closed.disposition,
        "error": closed.error,
        "related_transaction_id": closed.row.id if closed.row is not None else None,
    }


_AT_ONCE: Final = frozenset(SPEAKS_OF) - CONFIRMATIONS
"""The types of callbacks that speak of a payment which is found by what they say."""
