"""What is read out of a callback's body when it is recorded, and left out where a store cannot take it.

The exact bytes are the record. The parsed body and the correlation id beside them are for people and for indexes, best
effort: no defect in reading them ever costs a callback.
"""

from __future__ import annotations

import logging

import attrs

from mpesa_core.daraja import callbacks
from mpesa_core.outline import outline
from mpesa_core.payments.records import CallbackDraft

__all__ = ["with_reading", "without_reading"]

_log = logging.getLogger("mpesa_core.webhooks")
_LONGEST_CORRELATION = 255


def with_reading(draft: CallbackDraft) -> CallbackDraft:
    """The draft with its body parsed, credentials taken out, and the id that its transaction is found by."""
    try:
        decoded = callbacks.decode_callback(draft.callback_type, draft.raw_bytes)
    except Exception as error:  # noqa: BLE001 - it is total; a defect in it must not lose a callback all the same
        _log.error("Callback %s could not be decoded: %s", draft.id, outline(error))
        return draft
    correlation_id = decoded.correlation_id
    if correlation_id is not None and len(correlation_id) > _LONGEST_CORRELATION:
        correlation_id = None  # none of M-PESA's, and wider than an index takes
    return attrs.evolve(draft, raw_body=decoded.raw, correlation_id=correlation_id)


def without_reading(draft: CallbackDraft) -> CallbackDraft:
    """The draft with its exact bytes and nothing that was read out of the request: what any store can take."""
    return attrs.evolve(draft, raw_body=None, correlation_id=None, headers={})
