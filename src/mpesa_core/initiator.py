"""The SecurityCredential: an API operator's password, encrypted for M-PESA.

Safaricom's "Security Credentials" page: the password's bytes, encrypted with the public key in the environment's
certificate (RSA, PKCS#1 v1.5), in base64. Each call gives another text for the same password, and each of them is good
for as long as the password is. The certificates that Safaricom publishes expired years ago and are in use all the same,
so their dates are not looked at.
"""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import Environment

__all__ = ["bundled_certificate", "security_credential"]


def bundled_certificate(environment: str) -> bytes:
    """The certificate (PEM) that comes with the package: production's for ``production``, else the sandbox's."""
    name = "production.cer" if environment == Environment.PRODUCTION else "sandbox.cer"
    return resources.files("mpesa_core").joinpath("certificates", name).read_bytes()


def security_credential(
    password: str,
    certificate: str | Path | bytes | None = None,
    environment: str = Environment.SANDBOX.value,
) -> str:
    """The credential for an operator's password.

    Args:
        password: the API operator's password as it was set on the M-PESA portal.
        certificate: a path, or the certificate itself in PEM or DER; None for the bundled one of the environment.
        environment: ``sandbox``, ``production``, or the base URL of a local Daraja (which then has the sandbox's).

    Returns:
        Base64 text; 344 characters for the published certificates.

    Raises:
        ConfigurationError: cryptography is not installed, the certificate cannot be read or holds no RSA key, or the
            password is empty or too long for the key. The text never holds the password.
    """
    try:
        from cryptography import x509  # noqa: PLC0415 - an extra: only who encrypts a password needs it
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - likewise
    except ImportError:
        raise ConfigurationError(
            [
                (
                    "initiator_password: encrypting it needs the cryptography package, which is not installed. Install "
                    "mpesa-core[initiator], or give security_credential, made elsewhere, instead of the password"
                )
            ]
        ) from None
    raw = bundled_certificate(environment) if certificate is None else _certificate_bytes(certificate)
    try:
        parsed = x509.load_pem_x509_certificate(raw) if b"-----BEGIN" in raw else x509.load_der_x509_certificate(raw)
        key = parsed.public_key()
    except Exception as error:  # noqa: BLE001 - cryptography raises several kinds for what it cannot read
        problem = type(error).__name__
        raise ConfigurationError(
            [f"certificate: got {len(raw)} unreadable bytes ({problem}), expected an X.509 certificate in PEM or DER"]
        ) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigurationError([f"certificate: holds a {type(key).__name__}, expected an RSA key"])
    message = password.encode()
    longest = key.key_size // 8 - 11
    if not message or len(message) > longest:
        raise ConfigurationError(
            [f"initiator_password: got {len(message)} bytes, expected 1 to {longest}, the most that the key encrypts"]
        )
    return base64.b64encode(key.encrypt(message, padding.PKCS1v15())).decode("ascii")


def _certificate_bytes(certificate: str | Path | bytes) -> bytes:
    if isinstance(certificate, bytes):
        return certificate
    if isinstance(certificate, str) and "-----BEGIN" in certificate:
        return certificate.encode()
    try:
        return Path(certificate).read_bytes()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            [f"certificate: cannot read {str(certificate)!r} ({problem}); expected the path of a PEM or DER file"]
        ) from None
