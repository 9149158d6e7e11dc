"""The unguessable last part of a callback URL: made, signed and checked.

M-PESA does not sign its callbacks, so a URL that only Safaricom was told is one of the few proofs of where a callback
comes from. A token is a nonce and its HMAC-SHA256, both in hexadecimal, so that it never spells a word that Daraja
refuses in a URL (``mpesa``, ``cmd``, ``sql``, ...) and can be checked without a look into the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re

__all__ = ["fixed_token", "sign_token", "token_is_signed"]

_DOMAIN = b"mpesa_core callback token 1\x00"
_NONCE = re.compile(r"[0-9a-f]{16,32}", re.ASCII)
_SIGNATURE_DIGITS = 32  # 128 bits: an attacker would need 2**127 callbacks


def _signature(secret: str, nonce: str) -> str:
    return hmac.new(secret.encode(), _DOMAIN + nonce.encode(), hashlib.sha256).hexdigest()[:_SIGNATURE_DIGITS]


def sign_token(secret: str, nonce: str) -> str:
    """The token of one request: the nonce with its signature, 48 to 64 hexadecimal digits.

    Args:
        secret: the settings' ``callback_secret``, revealed.
        nonce: 16 to 32 lower-case hexadecimal digits that nobody can guess, such as ``uuid4().hex``.

    Raises:
        ValueError: the nonce has another form.
    """
    if not _NONCE.fullmatch(nonce):
        raise ValueError("nonce: expected 16 to 32 lower-case hexadecimal digits, such as uuid4().hex")
    return nonce + _signature(secret, nonce)


def token_is_signed(secret: str, token: str) -> bool:
    """Whether :func:`sign_token` or :func:`fixed_token` made the token with this secret; never raises.

    The time that it takes does not depend on how much of the signature is right.
    """
    nonce, signature = token[:-_SIGNATURE_DIGITS], token[-_SIGNATURE_DIGITS:]
    # The signature is computed for a nonce of any form, so that a wrong form answers no faster than a wrong signature.
    expected = _signature(secret, nonce if token.isascii() else "")
    right = hmac.compare_digest(expected.encode(), signature.encode("ascii", "replace"))
    return right and _NONCE.fullmatch(nonce) is not None


def fixed_token(secret: str, label: str) -> str:
    """A signed token that is the same each time, for a URL that is registered once.

    Args:
        secret: the settings' ``callback_secret``, revealed.
        label: what tells the URLs apart, such as a short code and a callback type.
    """
    nonce = hmac.new(secret.encode(), _DOMAIN + b"fixed\x00" + label.encode(), hashlib.sha256).hexdigest()[:32]
    return sign_token(secret, nonce)
