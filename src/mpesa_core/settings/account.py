"""An account: a short code and its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs

from mpesa_core.settings.kinds import FILE, SECRET, SHORT_CODE, TEXT
from mpesa_core.settings.secret import Secret, secret

__all__ = ["ACCOUNT_FIELDS", "Account", "inherit"]


@attrs.frozen(kw_only=True)
class Account:
    """A short code and its keys. What it leaves out is taken from the default account, as far as it belongs to it.

    An account on the default account's own short code (given again, or left out) takes everything that it leaves out.
    An account on another short code takes the app's keys, the operator and the certificate; never the passkey, the till
    and Bill Manager's key, which belong to a short code. The app's two keys are taken together or not at all, and so
    are the operator's name and its password or credential.

    Attributes:
        short_code: the paybill, or for a till the store (head office) number that STK passwords are made with.
        till_number: the till itself, where the account is one: STK pushes then go to it as buy goods.
        consumer_key, consumer_secret: the app's keys on the developer portal.
        passkey: the STK push passkey of the short code.
        initiator_name, initiator_password: the API operator that pays out, reverses and asks.
        security_credential: a ready-made credential instead of the password (then cryptography is not needed).
        bills_app_key: the key that Bill Manager gave the short code at its opt-in, where later calls are to carry it.
        certificate: path or bytes of the certificate that encrypts the password; the environment's bundled one by
            default.
    """

    short_code: str | None = attrs.field(default=None, metadata=SHORT_CODE)
    till_number: str | None = attrs.field(default=None, metadata=SHORT_CODE)
    consumer_key: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    consumer_secret: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    passkey: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    initiator_name: str | None = attrs.field(default=None, metadata=TEXT)
    initiator_password: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    security_credential: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    bills_app_key: Secret | None = attrs.field(default=None, converter=secret, metadata=SECRET)
    certificate: str | Path | bytes | None = attrs.field(default=None, repr=False, metadata=FILE)


ACCOUNT_FIELDS: Final = tuple(field.name for field in attrs.fields(Account))

# Taken together or not at all: half of one app's keys with half of another's would be refused, or lock an operator out.
_SHARED: Final = (
    ("consumer_key", "consumer_secret"),
    ("initiator_name", "initiator_password", "security_credential"),
    ("certificate",),
)
_OF_THE_SHORT_CODE: Final = (("short_code",), ("till_number",), ("passkey",), ("bills_app_key",))


def inherit(own: Account, default: Account) -> Account:
    """An account with what it leaves out taken from the default one."""
    same = own.short_code in {None, default.short_code}
    filled: dict[str, Any] = {}
    for unit in (*_SHARED, *(_OF_THE_SHORT_CODE if same else ())):
        if all(getattr(own, name) is None for name in unit):
            filled.update((name, getattr(default, name)) for name in unit)
    return attrs.evolve(own, **filled)
