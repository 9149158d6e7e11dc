"""What is read out of a callback's body when it is recorded, and left out where a store cannot take it.

The exact bytes are the record. The parsed body and the correlation id beside them are for people and for indexes, best
effort: no defect in reading them ever costs a callback.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from mpesa_core.daraja import callbacks
from mpesa_core.outline import outline
from mpesa_core.payments.records import CallbackDraft

if TYPE_CHECKING:
    from uuid import UUID

    from mpesa_core.daraja.callbacks import CallbackType

__all__ = ["read_out", "with_reading", "without_reading"]

_log = logging.getLogger("mpesa_core.webhooks")
_LONGEST_CORRELATION = 255


def read_out(callback_id: UUID, callback_type: CallbackType, body: bytes) -> tuple[Any, str | None]:
    """The body parsed, credentials taken out, and the id that its transaction is found by; None for what is not there.

    Args:
        callback_id: what a defect is logged with.
        callback_type: where it came in.
        body: the exact bytes.
    """
    try:
        decoded = callbacks.decode_callback(callback_type, body)
    except Exception as error:  # noqa: BLE001 - it is total; a defect in it must not lose a callback all the same
        _log.error("Callback %s could not be decoded: %s", callback_id, outline(error))
        return None, None
    correlation_id = decoded.correlation_id
    if correlation_id is not None and len(correlation_id) > _LONGEST_CORRELATION:
        correlation_id = None  # none of M-PESA's, and wider than an index takes
    return decoded.raw, correlation_id


def with_reading(draft: CallbackDraft) -> CallbackDraft:
    """The draft with what is read out of its body."""
    raw_body, correlation_id = read_out(draft.id, draft.callback_type, draft.raw_bytes)
    return attrs.evolve(draft, raw_body=raw_body, correlation_id=correlation_id)


def without_reading(draft: CallbackDraft) -> CallbackDraft:
    """The draft with its exact bytes and nothing that was read out of the request: what any store can take."""
    return attrs.evolve(draft, raw_body=None, correlation_id=None, headers={})
