"""Text that any database can hold, and that it can index: the rules of the repositories on SQL databases."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["KEY_WIDTH", "holdable", "key_text"]

KEY_WIDTH: Final = 255
"""Letters of a key: MySQL indexes no more of them as unique."""

_UNHOLDABLE: Final = re.compile("[\x00\ud800-\udfff]")


def holdable(text: str) -> str:
    """The text, with U+FFFD for what a database cannot hold: NUL and lone surrogates."""
    return _UNHOLDABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def key_text(text: str) -> str:
    """Text that rows are found by; one that is too long, or cannot be held, as its beginning and its SHA-256.

    Different texts stay different, and a question that is written the same way finds them.
    """
    kept = holdable(text)
    if kept == text and len(text) <= KEY_WIDTH:
        return text
    digest = f"~sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return kept[: KEY_WIDTH - len(digest)] + digest
