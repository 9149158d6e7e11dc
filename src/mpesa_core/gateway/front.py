"""The front door of a program with threads, or none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast
from uuid import UUID, uuid4

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.c2b import RegisterUrlsAnswer
from mpesa_core.daraja.pull import PullRegistered
from mpesa_core.dues import DuesGateway
from mpesa_core.errors import ConfigurationError, StorageError, TransactionNotFound
from mpesa_core.gateway.desk import Amount, Desk, Identified, PhoneNumber, utc_now
from mpesa_core.outline import outline
from mpesa_core.payments.records import CallbackDraft, CallbackRecord, TransactionRecord
from mpesa_core.repository.protocol import Batches, CallerTransactions, Repository, missing_operations
from mpesa_core.settings import Settings
from mpesa_core.settlement.conflicts import accept_conflict, dismiss_conflict
from mpesa_core.settlement.drivers import ResolveHook, Sender, SyncDriver
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Verdict
from mpesa_core.settlement.pulling import PullProgress, PullReport
from mpesa_core.settlement.reconciliation import Reconciled, reconcile
from mpesa_core.settlement.recovery import Recovered, recover
from mpesa_core.signals import BlinkerBus, Bus
from mpesa_core.spool import Spool
from mpesa_core.tasks import InlineRunner, TaskRunner, ThreadRunner
from mpesa_core.values import row_id

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Gateway"]

T = TypeVar("T")
_log = logging.getLogger("mpesa_core.gateway")

_MOST_RECORDED = 64
"""So many callbacks of this process are remembered until its runner takes them up."""


class Gateway(Desk, DuesGateway):
    """The front door of a program. One for a process, shared by its threads; it survives a fork.

    The calls that move money have ``on_commit=True``, where the repository knows of the caller's database transactions
    (:class:`~mpesa_core.repository.protocol.CallerTransactions`). Inside of one the intent is then recorded with the
    caller's own rows and the transaction is returned PENDING; it is sent after the commit, in the same thread, and
    forgotten with a rollback. What fails then is told by its signal. Where the process dies between the two, nothing is
    ever sent, and a later recovery settles it as FAILED, unsent. Outside of a transaction it changes nothing.

    Args:
        settings: see :class:`~mpesa_core.settings.Settings`.
        repository: where transactions and callbacks are kept.
        client: what talks to Daraja; by default a :class:`~mpesa_core.client.DarajaClient` made when it is first
            needed.
        bus: what delivers signals; by default blinker's, with ``sender``.
        runner: who works on callbacks: ``thread`` (also recovers and reconciles, from its start), ``inline``, or a
            :class:`~mpesa_core.tasks.TaskRunner` of yours.
        resolve_c2b: gives a C2B payment that nobody initiated the host's own fields; gets the decoded callback and
            returns a mapping.
        sender: the sender of the signals.
        clock: the time, aware, in UTC.
        new_id: makes ids; they must be unguessable, as UUID4 is.
    """

    def __init__(
        self,
        settings: Settings,
        repository: Repository,
        *,
        client: Sender | None = None,
        bus: Bus | None = None,
        runner: str | TaskRunner = "thread",
        resolve_c2b: ResolveHook | None = None,
        sender: Any = "mpesa_core",
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        super().__init__(settings, repository, clock, new_id, batches=not missing_operations(repository, Batches))
        self.repository = repository
        self.client: Sender = client if client is not None else _LazyClient(settings)
        self.bus: Bus = bus if bus is not None else BlinkerBus(sender)
        self._driver = SyncDriver(
            repository,
            self.client,
            self.bus,
            resolve_c2b=resolve_c2b,
            clock=clock,
            announce_lease=settings.announce_lease,
        )
        self._recorded: dict[UUID, CallbackDraft] = {}
        self.runner = self._runner(runner)

    def _runner(self, runner: str | TaskRunner) -> TaskRunner:
        if runner == "thread":
            return ThreadRunner(self.process, sweep=self.sweep, interval=self.settings.sweep_interval)
        if runner == "inline":
            return InlineRunner(self.process)
        if isinstance(runner, str):
            raise ConfigurationError([f"runner: got {runner!r}, expected 'thread', 'inline' or a TaskRunner"])
        return runner

    # -- money ---------------------------------------------------------------------------------------------------

    def stk_push(
        self,
        *,
        phone_number: PhoneNumber,
        amount: Amount,
        account_reference: str,
        transaction_desc: str = "Payment",
        idempotency_key: str | None = None,
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Ask a customer's phone for the PIN. The payment is not made when this returns: a signal says when it is.

        Args:
            phone_number: any Kenyan form.
            amount: whole shillings, at least 1.
            account_reference: 1 to 12 characters, shown in the prompt.
            transaction_desc: 1 to 13 characters.
            idempotency_key: yours; the same call again with it sends nothing and returns the same transaction.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own, kept with the transaction.

        Returns:
            The transaction, PROCESSING. (What becomes of it otherwise is a table in
            :mod:`mpesa_core.settlement.initiation`.)

        Raises:
            InvalidField, ConfigurationError: before anything is recorded or sent.
            IdempotencyMismatch: the key belongs to a payment with other parameters.
            NotSent, RequestRefused, TokenRefused, Busy: it failed for certain; ``error.transaction`` is its row.
        """
        return self._initiate(
            self._stk_push(
                phone_number=phone_number,
                amount=amount,
                account_reference=account_reference,
                transaction_desc=transaction_desc,
                idempotency_key=idempotency_key,
                host=host,
            ),
            on_commit=on_commit,
        )

    def payout(
        self,
        *,
        phone_number: PhoneNumber,
        amount: Amount,
        idempotency_key: str,
        command: str = "BusinessPayment",
        remarks: str = "Payment",
        occasion: str = "",
        version: int = 3,
        identity: tuple[str, str] | None = None,
        pochi: bool = False,
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Send money to a customer (B2C). It is never sent twice: while its outcome is unknown it is asked about.

        Args:
            phone_number: any Kenyan form.
            amount: whole shillings, at least 10.
            idempotency_key: yours, and not optional: a payout sent twice does not come back.
            command: ``BusinessPayment``, ``SalaryPayment`` or ``PromotionPayment``.
            remarks: 2 to 100 characters.
            occasion: up to 100 characters.
            version: of Daraja's API: 3, or 1 for an app that has no 3.
            identity: the kind and number of an identity document, ``("01", "12345678")``: M-PESA pays only if they
                are the customer's. Needs the product "B2C with ID check".
            pochi: pay into the customer's business wallet (Pochi la Biashara).
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.

        Returns:
            The transaction, PROCESSING.

        Raises:
            InvalidField, ConfigurationError: before anything is recorded or sent.
            IdempotencyMismatch: the key belongs to a payout with other parameters.
            NotSent, RequestRefused, TokenRefused, Busy: it failed for certain; ``error.transaction`` is its row.
        """
        return self._initiate(
            self._payout(
                phone_number=phone_number,
                amount=amount,
                command=command,
                remarks=remarks,
                occasion=occasion,
                version=version,
                identity=identity,
                pochi=pochi,
                idempotency_key=idempotency_key,
                host=host,
            ),
            on_commit=on_commit,
        )

    def reverse(
        self,
        transaction: Identified,
        *,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
        remarks: str = "Reversal",
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Give a payment back, whole or in part. M-PESA reverses payments by customers, not payouts.

        Args:
            transaction: the payment.
            amount: shillings; None for what is left of it.
            idempotency_key: yours.
            remarks: 2 to 100 characters.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.

        Returns:
            The reversal's own transaction, PROCESSING. The payment becomes REVERSED when all of it is back.

        Raises:
            RefundExceedsPayment: more would go back than came in.
            InvalidField, ConfigurationError, TransactionNotFound: before anything is sent.
            IdempotencyMismatch: the key belongs to something else.
            NotSent, RequestRefused, TokenRefused, Busy: it failed for certain; ``error.transaction`` is its row.
        """
        return self._initiate(
            self._reverse(transaction, amount=amount, remarks=remarks, idempotency_key=idempotency_key, host=host),
            on_commit=on_commit,
        )

    def refund(
        self,
        transaction: Identified,
        amount: Amount | None = None,
        *,
        as_payout: bool = False,
        phone_number: PhoneNumber | None = None,
        idempotency_key: str | None = None,
        remarks: str = "Refund",
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Give a payment back, whole or in part: by a reversal, or as a payout where you say so.

        The sum of all refunds never exceeds the payment, also with two calls at once. ``payment_refunded`` tells of
        each; the payment becomes REVERSED when all of it is back.

        Args:
            transaction: the payment.
            amount: shillings; None for what is left of it.
            as_payout: send it as a payout, for a payment that M-PESA will not reverse (too old, or without a receipt).
            phone_number: whom the payout goes to; by default the payer, whose number M-PESA may have masked.
            idempotency_key: yours; needed for a payout.
            remarks: 2 to 100 characters.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.

        Returns:
            The refund's own transaction, a REVERSAL or B2C, PROCESSING.

        Raises:
            RefundExceedsPayment: more would go back than came in.
            InvalidField, ConfigurationError, TransactionNotFound: before anything is sent.
            IdempotencyMismatch: the key belongs to something else.
            NotSent, RequestRefused, TokenRefused, Busy: it failed for certain; ``error.transaction`` is its row.
        """
        return self._initiate(
            self._refund(
                transaction,
                amount=amount,
                as_payout=as_payout,
                phone_number=phone_number,
                idempotency_key=idempotency_key,
                remarks=remarks,
                host=host,
            ),
            on_commit=on_commit,
        )

    def transfer(
        self,
        *,
        receiver: str,
        amount: Amount,
        idempotency_key: str,
        command: str = "BusinessPayBill",
        account_reference: str | None = None,
        receiver_type: Literal["2", "4"] = "4",
        requester: PhoneNumber | None = None,
        remarks: str = "Transfer",
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Send money to another business (B2B), or between accounts of your own. Never sent twice.

        Args:
            receiver: its paybill, or its till with the command ``BusinessBuyGoods``.
            amount: shillings, at least 1.
            idempotency_key: yours.
            command: see :class:`~mpesa_core.daraja.b2b.B2BCommand`.
            account_reference: 1 to 13 characters; needed for a paybill.
            receiver_type: ``4`` as M-PESA documents it; ``2`` for a till where ``4`` is refused.
            requester: the consumer on whose behalf it is paid, any Kenyan form.
            remarks: 2 to 100 characters.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.

        Returns:
            The transaction, PROCESSING; ``transfer_completed`` or ``transfer_failed`` says what became of it.

        Raises:
            InvalidField, ConfigurationError, IdempotencyMismatch: nothing was sent.
            NotSent, RequestRefused, TokenRefused, Busy: it failed for certain; ``error.transaction`` is its row.
        """
        return self._initiate(
            self._transfer(
                receiver=receiver,
                amount=amount,
                command=command,
                account_reference=account_reference,
                receiver_type=receiver_type,
                requester=requester,
                remarks=remarks,
                idempotency_key=idempotency_key,
                host=host,
            ),
            on_commit=on_commit,
        )

    def remit_tax(
        self,
        *,
        amount: Amount,
        payment_registration_number: str,
        idempotency_key: str,
        remarks: str = "Tax",
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Pay the Kenya Revenue Authority. Never sent twice; signals and errors are those of :meth:`transfer`.

        Args:
            amount: shillings, at least 1.
            payment_registration_number: KRA's number of the payment.
            idempotency_key: yours.
            remarks: 2 to 100 characters.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.
        """
        return self._initiate(
            self._remit_tax(
                amount=amount,
                payment_registration_number=payment_registration_number,
                remarks=remarks,
                idempotency_key=idempotency_key,
                host=host,
            ),
            on_commit=on_commit,
        )

    def express_checkout(
        self,
        *,
        payer_till: str,
        amount: Amount,
        payment_reference: str,
        partner_name: str,
        idempotency_key: str | None = None,
        on_commit: bool = False,
        **host: Any,
    ) -> TransactionRecord:
        """Ask another business's till to pay your paybill (B2B express): its nominated number gets the prompt.

        Args:
            payer_till: the till that is to pay.
            amount: shillings, at least 1.
            payment_reference: shown to the payer.
            partner_name: your name, shown to the payer.
            idempotency_key: yours.
            on_commit: inside a database transaction of yours, send after its commit; see the class.
            host: fields of your own.

        Returns:
            The transaction, PROCESSING; signals and errors are those of :meth:`transfer`.
        """
        return self._initiate(
            self._express_checkout(
                payer_till=payer_till,
                amount=amount,
                payment_reference=payment_reference,
                partner_name=partner_name,
                idempotency_key=idempotency_key,
                host=host,
            ),
            on_commit=on_commit,
        )

    # -- questions -----------------------------------------------------------------------------------------------

    def query(self, transaction: Identified) -> TransactionRecord:
        """Ask M-PESA what became of a transaction, and apply the answer.

        An STK push is answered at once; a payout or reversal by a callback, later. Nothing is asked while the rate is
        used up.

        Returns:
            The transaction as it is now.

        Raises:
            TransactionNotFound: no such transaction.
        """
        return self._run(self._query(transaction))

    def account_balance(self, *, remarks: str = "Balance") -> Accepted:
        """Ask for the account's balances; ``balance_received`` brings them.

        Raises:
            ConfigurationError, NotSent, OutcomeUnknown, DarajaError: it was not asked, or perhaps not.
        """
        return self._run(self._account_balance(remarks))

    def register_urls(self, *, response_type: str = "Completed", version: int = 2) -> RegisterUrlsAnswer:
        """Tell M-PESA where to report payments that customers start (C2B).

        Args:
            response_type: ``Completed`` or ``Cancelled``: what M-PESA does when the validation URL does not answer.
            version: 2, or 1 (customers' numbers then come as hashes).

        Raises:
            ConfigurationError, NotSent, OutcomeUnknown, DarajaError: as any call.
        """
        return self._run(self._register_urls(response_type, version))

    def register_pull(self, *, nominated_number: object, callback_url: str | None = None) -> PullRegistered:
        """Register the account's short code for pull transactions; needed once, before :meth:`pull`.

        Args:
            nominated_number: the phone number on record for the short code, in any Kenyan form.
            callback_url: asked for by M-PESA, which does not say for what; by default that of C2B confirmations.

        Raises:
            InvalidField, ConfigurationError: before anything is sent.
            NotSent, OutcomeUnknown, DarajaError: as any call.
        """
        return self._run(self._register_pull(nominated_number, callback_url))

    def pull(
        self,
        start: datetime,
        end: datetime | None = None,
        *,
        dry_run: bool = False,
        progress: Callable[[PullProgress], object] | None = None,
    ) -> PullReport:
        """Compare M-PESA's own list of the payments to the account's short code with ours, and settle what was missed.

        Run it as often as you like, also several at once: each payment is settled once.

        Args:
            start: aware; at most 48 hours back, which is as far as M-PESA's list goes.
            end: aware; None for now.
            dry_run: compare, and record and settle nothing.
            progress: called after each page.

        Returns:
            The report; see ``complete``.

        Raises:
            InvalidField, ConfigurationError: before anything is sent.
            RequestRefused, TokenRefused: Daraja refused the first question.
        """
        return self._run(self._pull(self.repository, start, end, dry_run=dry_run, progress=progress))

    def get(self, transaction: Identified) -> TransactionRecord:
        """The transaction as it is now.

        Raises:
            TransactionNotFound: no such transaction.
        """
        row = self._run(self.engine.store.get(row_id(transaction, "transaction")))
        if row is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        return row

    # -- settlement ----------------------------------------------------------------------------------------------

    def process(self, callback_id: UUID | str) -> Verdict | None:
        """Process one recorded callback; what a task runner calls."""
        callback_id = row_id(callback_id, "callback")
        return self._run(self.engine.process(callback_id, self._recorded.pop(callback_id, None)))

    def recover(self, limit: int = 100) -> Recovered:
        """Go on from what a process left open: lapsed announcements, open callbacks, what was never sent, the spool.

        Args:
            limit: how many of each kind in one round; rounds follow until nothing is due.
        """
        if self.settings.spool_dir is not None:
            Spool(self.settings.spool_dir).take_in(self.repository)
        total = Recovered()
        for _ in range(100):
            done = self._run(recover(self.engine, limit))
            total += done
            if not done and not done.lost:
                break
        return total

    def reconcile(self, limit: int = 100) -> Reconciled:
        """Ask about what never came, and conclude what has run out of time.

        Args:
            limit: how many transactions at the most.
        """
        return self._run(reconcile(self.engine, limit))

    def sweep(self) -> tuple[Recovered, Reconciled]:
        """One round of both; what a runner or a worker does every few seconds.

        Raises:
            StorageRefused, StorageUnavailable: something cannot be recovered. All the rest had its turn.
        """
        try:
            recovered = self.recover()
        except StorageError:
            self.reconcile()
            raise
        return recovered, self.reconcile()

    def accept(self, callback_id: UUID | str, *, transaction: Identified | None = None) -> TransactionRecord:
        """Settle by what a conflicting callback says, on a person's word; see :func:`accept_conflict`.

        Args:
            callback_id: one that ``conflicts()`` lists.
            transaction: which transaction it is about, where it is related to none or several.

        Raises:
            TransactionNotFound, InvalidField, IllegalTransition, DuplicateKey, StorageBusy: nothing was changed.
        """
        owner = row_id(transaction, "transaction") if transaction is not None else None
        return self._run(accept_conflict(self.engine, row_id(callback_id, "callback"), owner))

    def dismiss(self, callback_id: UUID | str) -> None:
        """Resolve a conflict without effect.

        Raises:
            TransactionNotFound: there is no such open conflict.
        """
        self._run(dismiss_conflict(self.engine, row_id(callback_id, "callback")))

    def conflicts(self, limit: int = 100, after: UUID | None = None) -> Sequence[CallbackRecord]:
        """The callbacks in conflict that nobody has resolved, oldest first."""
        return self.repository.conflicts(limit, after)

    def announce(self, transaction: Identified) -> TransactionRecord:
        """Fire a settled transaction's signals again, for a receiver that was mended.

        Raises:
            TransactionNotFound, InvalidField: there is none, or it is not settled.
        """
        return self._run(self._announce(transaction))

    def replay(self, callback_id: UUID | str) -> Verdict | None:
        """Process a recorded callback again, whatever became of it before; a settled transaction is not settled twice.

        Raises:
            TransactionNotFound: no such callback.
        """
        return self._run(self._replay(row_id(callback_id, "callback")))

    # -- what the webhooks need ----------------------------------------------------------------------------------

    def submit(self, callback_id: UUID, recorded: CallbackDraft | None = None) -> Callable[[], None] | None:
        """Hand a recorded callback to the runner; see :meth:`mpesa_core.tasks.TaskRunner.submit`.

        Args:
            callback_id: whose.
            recorded: as it was recorded. It is remembered for a moment, so that a runner of this process need not read
                it; what anybody does about it in the meantime is seen all the same.
        """
        if recorded is not None:
            if len(self._recorded) >= _MOST_RECORDED:
                self._recorded.clear()  # they wait in the log
            self._recorded[callback_id] = recorded
        return self.runner.submit(callback_id)

    def validate_c2b(self, raw_payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Ask the receivers of ``c2b_validation_received``: the first rejection, an acceptance with fields, or None.

        Raises:
            MpesaError: a receiver failed, and none rejected.
        """
        return self._rejection(self.bus.deliver("c2b_validation_received", {"raw_payload": raw_payload}))

    # -- life ----------------------------------------------------------------------------------------------------

    def drain(self) -> int:
        """With the inline runner: process what was submitted and not processed since, in this thread.

        Returns:
            How many callbacks; 0 with any other runner, which works by itself.
        """
        return self.runner.drain() if isinstance(self.runner, InlineRunner) else 0

    def start(self) -> None:
        """Start the runner: with the thread runner, recovery and reconciliation begin now and go on by themselves."""
        self.runner.start()

    def close(self) -> None:
        """Stop the runner, when it has finished what was submitted, and close the client."""
        self.runner.stop()
        close = getattr(self.client, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _initiate(self, procedure: Procedure[TransactionRecord], *, on_commit: bool) -> TransactionRecord:
        """Move money: now, or as soon as the caller's transaction is committed."""
        if not on_commit:
            return self._run(procedure)
        if missing_operations(self.repository, CallerTransactions):
            problem = (
                f"repository: {type(self.repository).__name__} knows no transaction of the caller's, and "
                "on_commit=True needs it; leave it out, and call after the commit"
            )
            raise ConfigurationError([problem])
        transactions = cast("CallerTransactions", self.repository)
        if not transactions.in_transaction():
            return self._run(procedure)
        row, unsent = self._driver.record(procedure, transactions.within_transaction())
        if unsent:
            transactions.after_commit(partial(self._send_recorded, procedure, row))
        return row

    def _send_recorded(self, procedure: Procedure[TransactionRecord], row: TransactionRecord) -> None:
        try:
            self._run(procedure)
        except Exception as error:  # noqa: BLE001 - the caller's transaction is committed, whatever becomes of this
            _log.warning("Transaction %s failed after the commit it waited for: %s", row.id, outline(error))

    def _run(self, procedure: Procedure[T]) -> T:
        return self._driver.run(procedure)


class _LazyClient:
    """Makes the client, and imports httpx, when something is sent: who only receives callbacks needs neither."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def send(self, operation: Any, *, account: str = "default") -> Any:
        if self._client is None:
            from mpesa_core.client import DarajaClient  # noqa: PLC0415 - see the class

            self._client = DarajaClient(self._settings)
        return self._client.send(operation, account=account)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
