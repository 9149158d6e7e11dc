"""What runs a procedure: :class:`SyncDriver` and :class:`AsyncDriver`. A test's scheduler is the third."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from mpesa_core.daraja.callbacks import Callback
from mpesa_core.daraja.operation import AnyOperation
from mpesa_core.errors import DuplicateKey, StorageBusy
from mpesa_core.payments.records import TransactionRecord
from mpesa_core.repository.protocol import AsyncRepository, Repository
from mpesa_core.settlement.effects import (
    Deliver,
    Effect,
    Heard,
    Lease,
    Procedure,
    Recorded,
    ResolveC2B,
    Send,
    StoreBatch,
    StoreCall,
)
from mpesa_core.settlement.lease import LeaseKeeper, lease_of, log_lost_renewal, operations, renewed
from mpesa_core.signals import Bus

__all__ = ["AsyncDriver", "AsyncSender", "ResolveHook", "Sender", "SyncDriver"]

T = TypeVar("T")

_BUSY_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between the tries of a store that refused and changed nothing: ten tries in about 1.6 s."""

_MOST_LOSSES = 1000
"""So often one procedure may lose the same race in a row. Each loss is somebody else's win, so no store that works
comes near it; one whose reads never catch up with its writes would keep a procedure turning for ever."""

_CHANGES = frozenset({"change", "change_with_callback"})
"""The operations whose result is the transaction as it is now."""

ResolveHook = Callable[[Callback], Mapping[str, Any]]
"""The host's ``resolve_c2b``: a C2B confirmation to the host's own fields of its transaction."""


class Sender(Protocol):
    """What sends an operation: :class:`~mpesa_core.client.DarajaClient`."""

    def send(self, operation: AnyOperation, *, account: str = "default") -> Any:
        """Send it on that account and return its answer, or raise."""
        ...


class AsyncSender(Protocol):
    """What sends an operation: :class:`~mpesa_core.client.AsyncDarajaClient`."""

    def send(self, operation: AnyOperation, *, account: str = "default") -> Awaitable[Any]:
        """Send it on that account and return its answer, or raise."""
        ...


class _Races:
    """Counts what a run lost in a row: a compare-and-set on one row, or a key that was taken.

    Attributes:
        held: the keeper's keys of leases, by the ids of rows in a batch that wait to be announced.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._over: object = None
        self.held: dict[UUID, object] = {}

    def see(self, effect: Effect, result: object) -> None:
        """Take note of what an effect brought.

        Raises:
            StorageBusy: the same race was lost too often.
        """
        if isinstance(effect, StoreBatch) and isinstance(result, Sequence):
            for call, each in zip(effect.calls, result, strict=True):
                self.see(call, each)
        if not isinstance(effect, StoreCall) or not effect.operation.startswith(("add", "change")):
            return
        if result is not None and result is not False and not isinstance(result, DuplicateKey):
            self._lost = 0
            return
        over = (effect.operation, getattr(effect.arguments[0], "id", effect.arguments[0]))
        self._lost = self._lost + 1 if over == self._over else 1
        self._over = over
        if self._lost >= _MOST_LOSSES:
            raise StorageBusy(
                f"{effect.operation} of {over[1]} was lost {self._lost} times in a row: the repository's reads do not "
                "show what made its writes fail. It will be tried again later."
            )


class SyncDriver:
    """Runs procedures one effect at a time in the calling thread; may be used by many threads at once.

    Args:
        repository: the store.
        client: what sends.
        bus: what delivers signals.
        resolve_c2b: the host's hook, or None.
        clock: the time, for leases.
        announce_lease: seconds.
        sleep: between the tries of a busy store.
    """

    def __init__(
        self,
        repository: Repository,
        client: Sender,
        bus: Bus,
        *,
        resolve_c2b: ResolveHook | None,
        clock: Callable[[], datetime],
        announce_lease: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._repository = repository
        self._client = client
        self._bus = bus
        self._resolve_c2b = resolve_c2b
        self._keeper = LeaseKeeper(repository, clock, announce_lease)
        self._sleep = sleep

    def run(self, procedure: Procedure[T]) -> T:
        """Run a procedure to its end and return what it returns, or raise what it raises.

        It may have been begun: what :meth:`record` left is gone on with.
        """
        races = _Races()
        try:
            effect = next(procedure)
            while True:
                effect = self._step(procedure, effect, races)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            self._keeper.let_go(races.held.values())

    def record(self, procedure: Procedure[TransactionRecord], repository: Repository) -> tuple[TransactionRecord, bool]:
        """Run a procedure that moves money until its intent is recorded.

        Args:
            procedure: of :class:`~mpesa_core.settlement.initiation.Initiation`.
            repository: where it is recorded.

        Returns:
            The transaction, and whether it is to be gone on with, by :meth:`run`: there is nothing to send where its
            idempotency key was used before.
        """
        inside = copy.copy(self)
        inside._repository = repository  # noqa: SLF001 - our own copy
        races = _Races()
        try:
            effect = next(procedure)
            while not isinstance(effect, Recorded):
                effect = inside._step(procedure, effect, races)  # noqa: SLF001 - likewise
        except StopIteration as end:
            return end.value, False
        return effect.transaction, True

    def _step(self, procedure: Procedure[Any], effect: Effect, races: _Races) -> Effect:
        try:
            result = self._raced(effect, races)
        except Exception as error:  # noqa: BLE001 - the procedure decides what an error means
            return procedure.throw(error)
        return procedure.send(result)

    def _raced(self, effect: Effect, races: _Races) -> Any:
        try:
            result = self.perform(effect)
        except DuplicateKey as error:
            races.see(effect, error)
            raise
        races.see(effect, result)
        if isinstance(effect, StoreBatch):
            self._keep_waiting(effect, result, races)
        elif races.held and isinstance(effect, StoreCall) and effect.operation in _CHANGES:
            self._let_go(result, races)
        return result

    def _keep_waiting(self, batch: StoreBatch, results: Sequence[Any], races: _Races) -> None:
        """Renew the leases that a batch has set for as long as the others of it are announced before them.

        Not those of other announcers, on rows that it changes otherwise: where one dies, its lease has to lapse.
        """
        for call, row in zip(batch.calls, results, strict=True):
            if call.operation in _CHANGES and row is not None and not isinstance(row, Exception):
                if row.announce_until is not None and "announce_until" in call.arguments[2]:
                    races.held[row.id] = self._keeper.hold(row)
                self._let_go(row, races)

    def _let_go(self, row: TransactionRecord | None, races: _Races) -> None:
        """Keep the lease of a row that is announced no longer."""
        if row is not None and row.announce_until is None and row.id in races.held:
            self._keeper.let_go([races.held.pop(row.id)])

    def perform(self, effect: Effect) -> Any:
        """Do what one effect asks."""
        match effect:
            case StoreCall(operation=name, arguments=arguments, keywords=keywords):
                return self._call(getattr(self._repository, name), arguments, keywords)
            case StoreBatch(calls=calls):
                batch: Any = self._repository  # it declares it: see Engine.batches
                return self._call(batch.batch, ([(each.operation, each.arguments) for each in calls],), {})
            case Send(operation=operation, account=account):
                return self._client.send(operation, account=account)
            case Deliver(signal=signal, arguments=arguments, transaction=row, lease=lease):
                with self._keeper.keep(row, lease):
                    return self._bus.deliver(signal, arguments)
            case Heard(signal=signal):
                return _is_heard(self._bus, signal)
            case ResolveC2B(callback=callback):
                return self._resolve_c2b(callback) if self._resolve_c2b is not None else {}
            case Recorded():
                return None

    def _call(self, method: Callable[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        for pause in _BUSY_PAUSES:
            try:
                return method(*arguments, **keywords)
            except StorageBusy:
                self._sleep(pause)
        return method(*arguments, **keywords)


class AsyncDriver:
    """Runs procedures inside an event loop. A repository without coroutines is called in a thread.

    Args:
        repository: the store, synchronous or asynchronous.
        client: what sends.
        bus: what delivers signals.
        resolve_c2b: the host's hook, plain or a coroutine function, or None.
        clock: the time, for leases.
        announce_lease: seconds.
        sleep: between the tries of a busy store.
    """

    def __init__(
        self,
        repository: Repository | AsyncRepository,
        client: AsyncSender,
        bus: Bus,
        *,
        resolve_c2b: Callable[[Callback], Any] | None,
        clock: Callable[[], datetime],
        announce_lease: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._repository = repository
        self._client = client
        self._bus = bus
        self._resolve_c2b = resolve_c2b
        self._clock = clock
        self._announce_lease = announce_lease
        self._sleep = sleep

    async def run(self, procedure: Procedure[T]) -> T:
        """Run a procedure to its end and return what it returns, or raise what it raises."""
        races = _Races()
        try:
            effect = next(procedure)
            while True:
                try:
                    result = await self._raced(effect, races)
                except Exception as error:  # noqa: BLE001 - the procedure decides what an error means
                    effect = procedure.throw(error)
                else:
                    effect = procedure.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _raced(self, effect: Effect, races: _Races) -> Any:
        try:
            result = await self.perform(effect)
        except DuplicateKey as error:
            races.see(effect, error)
            raise
        races.see(effect, result)
        return result

    async def perform(self, effect: Effect) -> Any:
        """Do what one effect asks."""
        match effect:
            case StoreCall(operation=name, arguments=arguments, keywords=keywords):
                return await self._call(name, arguments, keywords)
            case Send(operation=operation, account=account):
                return await self._client.send(operation, account=account)
            case Deliver(signal=signal, arguments=arguments, transaction=row, lease=lease):
                async with self._kept(lease_of(row, lease)):
                    return await self._bus.adeliver(signal, arguments)
            case Heard(signal=signal):
                return _is_heard(self._bus, signal)
            case ResolveC2B(callback=callback):
                found = self._resolve_c2b(callback) if self._resolve_c2b is not None else {}
                return await found if inspect.isawaitable(found) else found
            case Recorded():
                return None

    async def _call(self, name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        method = getattr(self._repository, name)
        for pause in _BUSY_PAUSES:
            try:
                return await _in_its_way(method, arguments, keywords)
            except StorageBusy:
                await self._sleep(pause)
        return await _in_its_way(method, arguments, keywords)

    @contextlib.asynccontextmanager
    async def _kept(self, lease: Lease | None) -> AsyncIterator[None]:
        if lease is None:
            yield
            return
        keeper = asyncio.ensure_future(self._keep(lease))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self, lease: Lease) -> None:
        get, change = operations(lease)
        while True:
            await asyncio.sleep(self._announce_lease / 3)
            try:
                fresh = await self._call(get, (lease.id,), {})
                changes = renewed(fresh, lease, self._clock(), self._announce_lease)
                if changes is not None:
                    await self._call(change, (fresh.id, fresh.version, changes), {})
            except Exception as error:  # noqa: BLE001 - a store's driver may raise anything; the next third tries again
                log_lost_renewal(lease, error)


def _is_heard(bus: Bus, signal: str) -> bool:
    """Whether a signal may have receivers; a bus that cannot tell has some."""
    hears = getattr(bus, "hears", None)
    return bool(hears(signal)) if hears is not None else True


async def _in_its_way(method: Callable[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*arguments, **keywords)
    result = await asyncio.to_thread(method, *arguments, **keywords)
    return await result if inspect.isawaitable(result) else result
