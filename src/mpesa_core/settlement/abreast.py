"""Several procedures side by side, so that a store commits at once what each of them asks of it.

Each procedure sees what it would see by itself: its operations in their order, and each of its signals after the commit
of what it tells of. Between two commits those that want something else than the store get it, one after the other. That
a signal went out is marked at once: a process that dies tells the one again that it was telling of, and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from mpesa_core.settlement.effects import Deliver, Effect, Procedure, StoreBatch, StoreCall

__all__ = ["abreast"]

T = TypeVar("T")

_BATCHED: Final = frozenset({"find", "change", "change_callback", "change_with_callback"})


def abreast(procedures: Sequence[Procedure[T]]) -> Procedure[list[T]]:
    """Run procedures side by side to their ends.

    Args:
        procedures: not begun, and of rows that are not the same: one that loses to another reads again.

    Returns:
        What each returned, in their order.

    Raises:
        Exception: the first that one of them raised, when all have come to their end.
    """
    ended: dict[int, T] = {}
    raised: list[Exception] = []
    wanted: dict[int, Effect] = {}

    def go_on(index: int, result: object) -> None:
        """Give a procedure what came of its effect; one that raises is over."""
        procedure = procedures[index]
        try:
            if isinstance(result, Exception):
                wanted[index] = procedure.throw(result)
            else:
                wanted[index] = procedure.send(result)
        except StopIteration as end:
            wanted.pop(index, None)
            ended[index] = end.value
        except Exception as error:  # noqa: BLE001 - the others have to go on; it is raised at the end
            wanted.pop(index, None)
            raised.append(error)

    for index in range(len(procedures)):
        go_on(index, None)  # begins it
    while wanted:
        for index in list(wanted):
            told = False
            while index in wanted and not _waits(effect := wanted[index], told=told):
                told = isinstance(effect, Deliver) or (told and not _changes(effect))
                go_on(index, (yield from _attempted(effect)))
        calls = {index: effect for index, effect in wanted.items() if isinstance(effect, StoreCall)}
        if calls:
            results = yield from _attempted(StoreBatch(tuple(calls.values())))
            failed = isinstance(results, Exception)
            for index, result in zip(calls, [results] * len(calls) if failed else results, strict=True):
                go_on(index, result)
    if raised:
        raise raised[0]
    return [ended[index] for index in range(len(procedures))]


def _waits(effect: Effect, *, told: bool) -> bool:
    """Whether an effect is done with the others' of its kind; not the mark of a signal that just went out."""
    return isinstance(effect, StoreCall) and effect.operation in _BATCHED and not (told and _changes(effect))


def _changes(effect: Effect) -> bool:
    return isinstance(effect, StoreCall) and effect.operation == "change"


def _attempted(effect: Effect) -> Procedure[Any]:
    """What comes of an effect, or what is raised for it."""
    try:
        return (yield effect)
    except Exception as error:  # noqa: BLE001 - the procedure that asked decides what it means
        return error
