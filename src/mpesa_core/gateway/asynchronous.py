"""The same front door with coroutines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import UUID, uuid4

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.c2b import RegisterUrlsAnswer
from mpesa_core.daraja.pull import PullRegistered
from mpesa_core.dues import AsyncDuesGateway
from mpesa_core.errors import TransactionNotFound
from mpesa_core.gateway.desk import Amount, Desk, Identified, PhoneNumber, utc_now
from mpesa_core.payments.records import CallbackRecord, TransactionRecord
from mpesa_core.repository.protocol import AsyncRepository, Repository
from mpesa_core.settings import Settings
from mpesa_core.settlement.conflicts import accept_conflict, dismiss_conflict
from mpesa_core.settlement.drivers import AsyncDriver, AsyncSender
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Verdict
from mpesa_core.settlement.pulling import PullProgress, PullReport
from mpesa_core.settlement.reconciliation import Reconciled, reconcile
from mpesa_core.settlement.recovery import Recovered, recover
from mpesa_core.signals import BlinkerBus, Bus
from mpesa_core.values import row_id

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AsyncGateway"]

T = TypeVar("T")


class AsyncGateway(Desk, AsyncDuesGateway):
    """The same front door with coroutines. Each method is documented on :class:`Gateway`.

    Args:
        settings: see :class:`~mpesa_core.settings.Settings`.
        repository: synchronous (called in threads) or asynchronous.
        client: by default an :class:`~mpesa_core.client.AsyncDarajaClient`.
        bus: as of :class:`Gateway`.
        resolve_c2b: as of :class:`Gateway`; may be a coroutine function.
        sender: as of :class:`Gateway`.
        clock: as of :class:`Gateway`.
        new_id: as of :class:`Gateway`.
    """

    def __init__(
        self,
        settings: Settings,
        repository: Repository | AsyncRepository,
        *,
        client: AsyncSender | None = None,
        bus: Bus | None = None,
        resolve_c2b: Callable[..., Any] | None = None,
        sender: Any = "mpesa_core",
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        super().__init__(settings, repository, clock, new_id)
        self.repository = repository
        self.client: AsyncSender = client if client is not None else _LazyAsyncClient(settings)
        self.bus: Bus = bus if bus is not None else BlinkerBus(sender)
        self._driver = AsyncDriver(
            repository,
            self.client,
            self.bus,
            resolve_c2b=resolve_c2b,
            clock=clock,
            announce_lease=settings.announce_lease,
        )

    async def stk_push(
        self,
        *,
        phone_number: PhoneNumber,
        amount: Amount,
        account_reference: str,
        transaction_desc: str = "Payment",
        idempotency_key: str | None = None,
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.stk_push`."""
        return await self._driver.run(
            self._stk_push(
                phone_number=phone_number,
                amount=amount,
                account_reference=account_reference,
                transaction_desc=transaction_desc,
                idempotency_key=idempotency_key,
                host=host,
            )
        )

    async def payout(
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
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.payout`."""
        return await self._driver.run(
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
            )
        )

    async def reverse(
        self,
        transaction: Identified,
        *,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
        remarks: str = "Reversal",
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.reverse`."""
        return await self._driver.run(
            self._reverse(transaction, amount=amount, remarks=remarks, idempotency_key=idempotency_key, host=host)
        )

    async def refund(
        self,
        transaction: Identified,
        amount: Amount | None = None,
        *,
        as_payout: bool = False,
        phone_number: PhoneNumber | None = None,
        idempotency_key: str | None = None,
        remarks: str = "Refund",
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.refund`."""
        return await self._driver.run(
            self._refund(
                transaction,
                amount=amount,
                as_payout=as_payout,
                phone_number=phone_number,
                idempotency_key=idempotency_key,
                remarks=remarks,
                host=host,
            )
        )

    async def transfer(
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
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.transfer`."""
        return await self._driver.run(
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
            )
        )

    async def remit_tax(
        self,
        *,
        amount: Amount,
        payment_registration_number: str,
        idempotency_key: str,
        remarks: str = "Tax",
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.remit_tax`."""
        return await self._driver.run(
            self._remit_tax(
                amount=amount,
                payment_registration_number=payment_registration_number,
                remarks=remarks,
                idempotency_key=idempotency_key,
                host=host,
            )
        )

    async def express_checkout(
        self,
        *,
        payer_till: str,
        amount: Amount,
        payment_reference: str,
        partner_name: str,
        idempotency_key: str | None = None,
        **host: Any,
    ) -> TransactionRecord:
        """See :meth:`Gateway.express_checkout`."""
        return await self._driver.run(
            self._express_checkout(
                payer_till=payer_till,
                amount=amount,
                payment_reference=payment_reference,
                partner_name=partner_name,
                idempotency_key=idempotency_key,
                host=host,
            )
        )

    async def query(self, transaction: Identified) -> TransactionRecord:
        """See :meth:`Gateway.query`."""
        return await self._driver.run(self._query(transaction))

    async def account_balance(self, *, remarks: str = "Balance") -> Accepted:
        """See :meth:`Gateway.account_balance`."""
        return await self._driver.run(self._account_balance(remarks))

    async def register_urls(self, *, response_type: str = "Completed", version: int = 2) -> RegisterUrlsAnswer:
        """See :meth:`Gateway.register_urls`."""
        return await self._driver.run(self._register_urls(response_type, version))

    async def register_pull(self, *, nominated_number: object, callback_url: str | None = None) -> PullRegistered:
        """See :meth:`Gateway.register_pull`."""
        return await self._driver.run(self._register_pull(nominated_number, callback_url))

    async def pull(
        self,
        start: datetime,
        end: datetime | None = None,
        *,
        dry_run: bool = False,
        progress: Callable[[PullProgress], object] | None = None,
    ) -> PullReport:
        """See :meth:`Gateway.pull`; ``progress`` is a plain function."""
        return await self._driver.run(self._pull(self.repository, start, end, dry_run=dry_run, progress=progress))

    async def get(self, transaction: Identified) -> TransactionRecord:
        """See :meth:`Gateway.get`."""
        row = await self._driver.run(self.engine.store.get(row_id(transaction, "transaction")))
        if row is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        return row

    async def process(self, callback_id: UUID | str) -> Verdict | None:
        """See :meth:`Gateway.process`."""
        return await self._driver.run(self.engine.process(row_id(callback_id, "callback")))

    async def recover(self, limit: int = 100) -> Recovered:
        """See :meth:`Gateway.recover`; the spool is taken in by a synchronous gateway or worker."""
        total = Recovered()
        for _ in range(100):
            done = await self._driver.run(recover(self.engine, limit))
            total += done
            if not done:
                break
        return total

    async def reconcile(self, limit: int = 100) -> Reconciled:
        """See :meth:`Gateway.reconcile`."""
        return await self._driver.run(reconcile(self.engine, limit))

    async def accept(self, callback_id: UUID | str, *, transaction: Identified | None = None) -> TransactionRecord:
        """See :meth:`Gateway.accept`."""
        owner = row_id(transaction, "transaction") if transaction is not None else None
        return await self._driver.run(accept_conflict(self.engine, row_id(callback_id, "callback"), owner))

    async def dismiss(self, callback_id: UUID | str) -> None:
        """See :meth:`Gateway.dismiss`."""
        await self._driver.run(dismiss_conflict(self.engine, row_id(callback_id, "callback")))

    async def conflicts(self, limit: int = 100, after: UUID | None = None) -> Sequence[CallbackRecord]:
        """See :meth:`Gateway.conflicts`."""
        return await self._driver.run(self._conflicts(limit, after))

    async def announce(self, transaction: Identified) -> TransactionRecord:
        """See :meth:`Gateway.announce`."""
        return await self._driver.run(self._announce(transaction))

    async def replay(self, callback_id: UUID | str) -> Verdict | None:
        """See :meth:`Gateway.replay`."""
        return await self._driver.run(self._replay(row_id(callback_id, "callback")))

    async def aclose(self) -> None:
        """Close the client's connections of the running event loop."""
        close = getattr(self.client, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _arun(self, procedure: Procedure[T]) -> T:
        return await self._driver.run(procedure)


class _LazyAsyncClient:
    """The same for coroutines."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def send(self, operation: Any, *, account: str = "default") -> Any:
        if self._client is None:
            from mpesa_core.client import AsyncDarajaClient  # noqa: PLC0415 - see the class

            self._client = AsyncDarajaClient(self._settings)
        return self._client.send(operation, account=account)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
