"""The local Daraja's own key pair: the certificate that it offers, and the SecurityCredentials that it can read.

Needs ``cryptography``; without it the sandbox accepts the ready-made credential that it issued, and no other.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["can_decrypt", "certificate", "decrypt"]

_lock = threading.Lock()
_made: list[tuple[RSAPrivateKey, bytes]] = []


def can_decrypt() -> bool:
    """Whether ``cryptography`` is installed."""
    return importlib.util.find_spec("cryptography") is not None


def certificate() -> bytes:
    """A self-signed certificate in PEM, of a key pair that lasts as long as the process.

    It has expired, as Safaricom's own published ones have: whoever checks its dates cannot talk to M-PESA either.

    Raises:
        ModuleNotFoundError: ``cryptography`` is not installed.
    """
    return _key_pair()[1]


def decrypt(credential: str) -> bytes | None:
    """The password in a SecurityCredential (base64 of RSA, PKCS#1 v1.5); None where it cannot be read."""
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - an extra, needed only here

    try:
        return _key_pair()[0].decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15())
    except (binascii.Error, ValueError):
        return None


def _key_pair() -> tuple[RSAPrivateKey, bytes]:
    from cryptography import x509  # noqa: PLC0415 - an extra, needed only here
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - as above
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    with _lock:
        if not _made:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local-daraja.example")])
            builder = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(datetime(2014, 11, 12, tzinfo=UTC))
                .not_valid_after(datetime(2016, 11, 11, tzinfo=UTC))
            )
            pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            _made.append((key, pem))
        return _made[0]
