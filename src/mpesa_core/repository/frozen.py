"""Values that are kept in rows and never change: what :class:`~mpesa_core.repository.memory.MemoryRepository` holds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from mpesa_core.errors import InvalidField
from mpesa_core.repository.rows import Kind, plain

__all__ = ["kept"]


def kept(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The values of fields as a row keeps them: nothing in them can be changed afterwards.

    Raises:
        InvalidField: one is of a wrong type.
    """
    values_kept = {}
    for name, value in values.items():
        kind = kinds[name]
        values_kept[name] = (
            plain(name, kind, value) if kind is not Kind.JSON else _frozen_json(name, plain(name, kind, value))
        )
    return values_kept


def _frozen_json(name: str, value: Any) -> Any:
    try:
        return _frozen(value)
    except (TypeError, RecursionError) as error:
        if name in ("raw_body", "raw_callback_payload"):  # best effort: the bytes hold all of it
            return None
        raise InvalidField(name, type(value), expected="what JSON can hold", remedy=str(error)) from None


def _frozen(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, _FrozenDict, _FrozenList)):
        return value
    if isinstance(value, Mapping):
        return _FrozenDict({str(name): _frozen(item) for name, item in value.items()})
    if isinstance(value, (list, tuple)):
        return _FrozenList([_frozen(item) for item in value])
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite():
        return value
    raise TypeError(f"Found {type(value).__name__}; write text, a number, True, False, None, a list or a mapping.")


def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:  # noqa: ARG001 - it becomes a method
    raise TypeError("A row is a snapshot and is not changed in place: copy it with dict(...) or list(...) first.")


class _FrozenDict(dict[str, Any]):
    """A dict inside a row: equal to a plain one, and never changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:  # copies and pickles are plain
        return dict, (dict(self),)


class _FrozenList(list[Any]):
    """A list inside a row: equal to a plain one, and never changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = pop = remove = reverse = (
        sort
    ) = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)
