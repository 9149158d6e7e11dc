"""Receipts and identifiers in the forms that M-PESA gives them, each handed out once.

Source of the forms: captured answers and callbacks of 2017 to 2026; Safaricom's pages call them opaque.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from datetime import datetime

from mpesa_core.values import to_nairobi

__all__ = ["Identifiers"]

_ALPHABET = string.digits + string.ascii_uppercase


class Identifiers:
    """A source of identifiers: the same seed and the same calls give the same ones; without a seed they are random."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - identifiers of a pretend M-PESA, repeatable on purpose
        self._given: set[str] = set()

    def receipt(self, moment: datetime) -> str:
        """Ten characters, of which the first three are the date: year (N is 2019), month and day in Nairobi."""
        return self._fresh(lambda: _date_letters(moment) + self._characters(_ALPHABET[1:], 7))

    def dummy_receipt(self, moment: datetime) -> str:
        """What a failed result carries as its TransactionID: the date and seven zeros, which is nobody's receipt."""
        return _date_letters(moment) + "0" * 7

    def checkout_request_id(self, moment: datetime, phone: str) -> str:
        """``ws_CO_``, the time in Nairobi, up to three digits, and the last nine digits of the phone number."""
        stamp = to_nairobi(moment).strftime("%d%m%Y%H%M%S")
        start = f"ws_CO_{stamp}"
        for _ in range(100):
            made = f"{start}{self._random.randrange(1000):03}{phone[-9:]}"
            if made not in self._given:
                self._given.add(made)
                return made
        # A clock that stands still (in a test) runs out of three digits: then six.
        return self._fresh(lambda: f"{start}{self._random.randrange(10**6):06}{phone[-9:]}")

    def request_id(self) -> str:
        """A MerchantRequestID, an OriginatorConversationID of Daraja's own, or the id of a refused request."""

        def one() -> str:
            blocks = "-".join(self._characters("0123456789abcdef", 4) for _ in range(3))
            return f"{blocks}-{self._characters('0123456789abcdef', 12)}{self._random.randrange(10**7):07}"

        return self._fresh(one)

    def conversation_id(self, moment: datetime) -> str:
        """``AG_``, the date in Nairobi, and twenty hexadecimal digits."""
        date = to_nairobi(moment).strftime("%Y%m%d")
        return self._fresh(lambda: f"AG_{date}_2010{self._characters('0123456789abcdef', 16)}")

    def token(self) -> str:
        """An access token: 28 letters and digits."""
        return self._fresh(lambda: self._characters(string.ascii_letters + string.digits, 28))

    def credential(self) -> str:
        """A SecurityCredential's shape: 344 characters of base64."""
        return self._fresh(lambda: self._characters(string.ascii_letters + string.digits + "+/", 342) + "==")

    def _characters(self, alphabet: str, count: int) -> str:
        return "".join(self._random.choices(alphabet, k=count))

    def _fresh(self, make: Callable[[], str]) -> str:
        while (made := make()) in self._given:
            continue
        self._given.add(made)
        return made


def _date_letters(moment: datetime) -> str:
    local = to_nairobi(moment)
    day = _ALPHABET[local.day]
    return f"{string.ascii_uppercase[(local.year - 2006) % 26]}{_ALPHABET[9 + local.month]}{day}"
