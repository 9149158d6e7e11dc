"""What the parts of the repository contract share: the fixtures and attributes that a subclass sets, and the races."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import pytest

from mpesa_core.payments.records import TransactionRecord
from mpesa_core.repository.protocol import Repository

__all__ = ["ContractBase"]

_Result = TypeVar("_Result")


class ContractBase:
    """What the parts of the contract share: the fixtures and the class attributes that a subclass sets."""

    threads: ClassVar[bool] = True
    """Whether the repository may be shared between threads; False leaves the races out."""
    racers: ClassVar[int] = 8
    """How many threads run in a race."""
    rounds: ClassVar[int] = 5
    """How often each race is run."""
    any_text: ClassVar[bool] = True
    """Whether text columns and JSON hold NUL and lone surrogates exactly. A store that cannot (PostgreSQL) sets False,
    and may then replace such characters; it still refuses nothing, and keeps ``raw_bytes`` exactly."""
    host_fields: ClassVar[Mapping[str, Any]] = {}
    """Fields of the host's own that rows of this repository take when they are made; none: they are not tried."""

    @pytest.fixture
    def repository(self) -> Iterator[Repository]:
        """An empty repository: override this."""
        raise NotImplementedError("override the fixture `repository`: let it return (or yield) an empty repository")

    @pytest.fixture
    def reopen(self) -> Callable[[], Repository] | None:
        """A function that opens another handle on the same store; None where the store dies with its handle."""
        return None

    @pytest.fixture
    def other(self, repository: Repository, reopen: Callable[[], Repository] | None) -> Iterator[Repository]:
        """Another handle on the same store, where there can be one, else the same."""
        if reopen is None:
            yield repository
            return
        handle = reopen()
        yield handle
        close = getattr(handle, "close", None)
        if close is not None:
            close()

    def host_of(self, row: TransactionRecord) -> Mapping[str, Any]:
        """The host's own fields of a row; override it where they are not in ``row.host``."""
        return {name: getattr(row, "host")[name] for name in self.host_fields}  # noqa: B009 - not in the protocol

    def race(self, *work: Callable[[], _Result]) -> list[_Result | Exception]:
        """Run each function in a thread of its own, all at one moment; what each returned or raised, in order."""
        if not self.threads:
            pytest.skip("this repository does not promise to work with threads")
        barrier = threading.Barrier(len(work))
        results: list[_Result | Exception] = [RuntimeError("still running")] * len(work)

        def run(index: int) -> None:
            barrier.wait(30)
            try:
                results[index] = work[index]()
            except Exception as error:  # noqa: BLE001 - it is the result
                results[index] = error

        runners = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(work))]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join(60)
        return results
