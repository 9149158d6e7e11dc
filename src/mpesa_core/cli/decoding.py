"""A stored callback's body, and what it says as plain JSON values."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.daraja.callbacks import Callback

__all__ = ["body_of", "described"]


def body_of(content: bytes) -> bytes:
    """A callback's body: the file itself, or the ``body`` of a sample with ``api`` and ``kind`` beside it."""
    try:
        stored = json.loads(content, parse_float=_Literal, parse_int=_Literal, object_pairs_hook=_Object)
        sample = dict(stored) if isinstance(stored, _Object) else {}
        if not sample.keys() >= {"api", "kind", "body"}:
            return content
        body = sample["body"]
        text = body if isinstance(body, str) and not isinstance(body, _Literal) else _written(body)
    except (ValueError, RecursionError):
        return content
    return text.encode("utf-8", "surrogatepass")


class _Literal(str):
    """A number exactly as it was written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """An object's pairs, also those whose name comes twice."""

    __slots__ = ()


def _written(value: Any) -> str:
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, _Object):
        return "{" + ",".join(f"{json.dumps(key)}:{_written(each)}" for key, each in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)


def described(message: Callback) -> dict[str, Any]:
    """Everything that a callback says, its kind first and its body last; amounts as text, times in ISO 8601 (UTC)."""
    said = {field.name: _plain(getattr(message, field.name)) for field in attrs.fields(type(message))}
    raw = said.pop("raw")
    return {"kind": type(message).__name__, **said, "raw": raw}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
