"""Masking: what a log line or an error's text may show of a phone number.

The lowest module of all, so that the errors themselves pass their texts through it.
"""

from __future__ import annotations

import re

__all__ = ["mask_phone", "redact"]

_GAP = r"[ \t().\-\u00a0\u2010-\u2015]{0,3}"

# Tried from left to right at each place. What the first group takes is left as it is: identifiers and times hold runs
# of digits that only look like phone numbers, and a log line without its identifiers would be of no use.
_PATTERN = re.compile(
    rf"""
    (?P<leave>
        (?<![0-9A-Za-z]) [0-9A-Fa-f]{{8}} (?:-[0-9A-Fa-f]{{4}}){{3}} -[0-9A-Fa-f]{{12}} (?![0-9A-Za-z])   # a UUID
      | (?<![0-9A-Za-z]) (?=[0-9]{{0,64}}[A-Fa-f]) [0-9A-Fa-f]{{16,}} (?![0-9A-Za-z])           # a token or hash in hex
      | (?<![0-9]) [0-9]{{2}} [./\- ] [0-9]{{2}} [./\- ] [0-9]{{4}} [ T] [0-9]{{2}} :            # 01.12.2019 10:20
    )
  | (?P<checkout> ws_CO_ [0-9]{{14}} ) [0-9]{{3,}} (?P<tail> [0-9]{{3}} ) (?![0-9])
  | (?P<phone>
        (?<![0-9]) (?:00|\+)? 254 {_GAP} 0? {_GAP} [17] (?:{_GAP} [0-9]){{8}} (?![0-9])
      | (?<![0-9]) 0 (?!\.) {_GAP} [17] (?:{_GAP} [0-9]){{8}} (?![0-9])
      | (?<![0-9.,]) (?<![0-9]-) [17][0-9]{{2}} [ \-]? [0-9]{{3}} [ \-]? [0-9]{{3}} (?! [0-9] | [.,\-][0-9] )
    )
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)

_START = re.compile(rf"[\s(]{{0,3}}(?:(?:00|\+)?254{_GAP}0?|0){_GAP}[17]|\+?[17](?=[0-9 -]{{8,10}}\Z)", re.ASCII)


def mask_phone(value: object) -> str:
    """A phone number fit for a log line or an error text: ``2547…678``, ``07…678``.

    Of anything else, at most the first two and last three characters are shown, and nothing of what is short.
    """
    text = f"{value:x}" if isinstance(value, int) and abs(value) >= 10**40 else str(value)
    if len(text) <= 3:
        return text
    start = _START.match(text)
    shown = start[0] if start else text[:2]
    return f"{shown}…{text[-3:]}" if len(text) > 8 else "…"


def redact(text: str) -> str:
    """The text with every Kenyan mobile number in it masked, whatever separates its digits.

    Also one at the end of a CheckoutRequestID: ``ws_CO_``, a time of 14 digits, up to three digits more and the payer's
    last nine digits (source: identifiers as the sandbox returned them in 2026; Safaricom does not document the form).
    UUIDs, tokens in hex and times stay readable.
    """
    return _PATTERN.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    if found["leave"]:
        return found[0]
    if found["checkout"]:
        return f"{found['checkout']}…{found['tail']}"
    return mask_phone(found[0])
