"""The SecurityCredential."""

from __future__ import annotations

import base64
import builtins
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mpesa_core.errors import ConfigurationError
from mpesa_core.initiator import bundled_certificate, security_credential

CANARY = "CANARY-s3cret#9"

FINGERPRINTS = {
    "sandbox": "a542c3c67b598a337a1cc741e5434c70de565081e5c853e05a51c843764766f0",
    "production": "9417915212ac708d3ac82b710e71d976fa0eb783f467b159c15ad7216ef2c16b",
}
"""SHA-256 of the certificates that Safaricom published for its two environments."""


@pytest.fixture(scope="module")
def key() -> Any:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def certificate(key: Any) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local daraja")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2002, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def _decrypt(key: Any, credential: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import padding

    return key.decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15()).decode()  # type: ignore[no-any-return]


def _encoded(certificate: Any, form: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(getattr(Encoding, form))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("form", "how"),
    [(form, how) for form in ("PEM", "DER") for how in ("bytes", "path", "text path")] + [("PEM", "text")],
)
def test_the_password_can_be_decrypted_again(key: Any, certificate: Any, tmp_path: Path, form: str, how: str) -> None:
    """A certificate as PEM or DER, as bytes, path or PEM text, long expired, encrypts with PKCS#1 v1.5 what its key decrypts."""
    raw = _encoded(certificate, form)
    file = tmp_path / "daraja.cer"
    file.write_bytes(raw)
    given: Any = {"bytes": raw, "path": file, "text path": str(file), "text": raw.decode("latin-1")}[how]
    assert _decrypt(key, security_credential(CANARY, given)) == CANARY


def test_each_credential_is_another() -> None:
    """PKCS#1 v1.5 pads at random, so that two credentials of one password differ."""
    pytest.importorskip("cryptography")
    assert security_credential("p", None, "sandbox") != security_credential("p", None, "sandbox")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [("sandbox", "sandbox"), ("production", "production"), ("http://127.0.0.1:8000", "sandbox")],
)
def test_the_bundled_certificates_are_safaricoms(environment: str, expected: str) -> None:
    """Each environment has the certificate that Safaricom published, and a local Daraja has the sandbox's."""
    pem = bundled_certificate(environment).decode()
    der = base64.b64decode("".join(pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0].split()))
    assert FINGERPRINTS[expected] == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_the_bundled_certificates_make_344_characters(environment: str) -> None:
    """With the published 2048-bit keys a credential is 344 characters of base64."""
    pytest.importorskip("cryptography")
    credential = security_credential(CANARY, environment=environment)
    assert (344, 256) == (len(credential), len(base64.b64decode(credential, validate=True)))


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cryptography is not installed, the error says what to install and what to give instead."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match=r"mpesa-core\[initiator\].*security_credential") as raised:
        security_credential(CANARY)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    ("password", "given", "said"),
    [
        (CANARY, b"", "0 unreadable bytes"),
        (CANARY, b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "expected an X.509 certificate"),
        (CANARY, b"\x30\x00", "expected an X.509 certificate"),
        (CANARY, "/no/such/file.cer", "'/no/such/file.cer' \\(No such file"),
        (CANARY, "/", "cannot read '/'"),
        (CANARY, "a\0b", "cannot read"),
        ("", None, "got 0 bytes, expected 1 to 245"),
        (CANARY * 20, None, "got 300 bytes, expected 1 to 245"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(password: str, given: Any, said: str) -> None:
    """An unreadable certificate or an impossible password is a ConfigurationError that does not hold the password."""
    pytest.importorskip("cryptography")
    with pytest.raises(ConfigurationError, match=said) as raised:
        security_credential(password, given)
    assert CANARY not in str(raised.value)


def test_a_certificate_without_an_rsa_key_is_refused() -> None:
    """An elliptic curve key cannot encrypt a password."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(ConfigurationError, match="expected an RSA key"):
        security_credential("p", _encoded(certificate, "PEM"))
