"""An exception as a log line: what it was and where it came from, without the values that it speaks of.

The text of an exception may quote anything: a database's error quotes the row with the phone number in it, a
receiver's the key that it called another service with. So a log line names the class and the place; only the SDK's own
errors, whose texts hold no secret, are quoted.
"""

from __future__ import annotations

import traceback

from mpesa_core.errors import MpesaError
from mpesa_core.values import redact

__all__ = ["outline"]

_LONGEST = 300


def outline(error: BaseException) -> str:
    """The exception in one line, such as ``KeyError at receivers.py:41 in mark_paid``.

    The text of the SDK's own errors is added, with phone numbers masked; that of any other is not.
    """
    said = ""
    if isinstance(error, MpesaError):
        said = ": " + " ".join(redact(str(error)).split())[:_LONGEST]
    frames = traceback.extract_tb(error.__traceback__)
    place = ""
    if frames:
        last = frames[-1]
        place = f" at {last.filename.replace(chr(92), '/').rpartition('/')[2]}:{last.lineno} in {last.name}"
    return f"{type(error).__name__}{place}{said}"
