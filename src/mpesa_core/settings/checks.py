"""What must hold for settings as a whole, beyond the kind of each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from mpesa_core.errors import InvalidField
from mpesa_core.settings import kinds
from mpesa_core.settings.account import ACCOUNT_FIELDS, Account
from mpesa_core.values import callback_url

if TYPE_CHECKING:
    from mpesa_core.settings.schema import Settings

__all__ = ["no_such", "problems"]

_M_PESA_WAITS = 8  # seconds, for the answer to a C2B validation (source: "Customer To Business Register URL" page)
_LONGEST_ACCOUNT_NAME = 64


def no_such(what: str, name: str, names: Iterable[str]) -> str:
    """The problem with an unknown name, with the nearest known one."""
    known = {word.lower(): word for word in names}
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    if near:
        advice = f"did you mean {known[near[0]]}?"
    elif len(known) <= len(ACCOUNT_FIELDS):
        advice = f"expected one of {', '.join(known.values())}"
    else:
        advice = "the settings reference has the names"
    return f"{name}: no such {what}; {advice}"


def problems(settings: Settings) -> Iterator[str]:
    """Everything that is wrong: one sentence each, which begins with the setting's name."""
    wrong = dict(_wrong_kinds(settings))
    yield from (f"{name}: {problem}" for name, problem in wrong.items())
    if "environment" not in wrong:
        yield from _environment(settings.environment)
    for field in attrs.fields(type(settings)):
        url = getattr(settings, field.name)
        if field.metadata == kinds.URL and url is not None and field.name not in wrong:
            try:
                callback_url(url, field.name, production=settings.is_production)
            except InvalidField as error:
                yield str(error)
    if "accounts" not in wrong:
        yield from _accounts(settings)
    if settings.verify_callback_source_ip is True and settings.callback_ip_allowlist == ():
        yield (
            "callback_ip_allowlist: empty, so that every callback would be refused; "
            "list the addresses, or set verify_callback_source_ip to False"
        )
    if "c2b_validation_deadline" not in wrong and settings.c2b_validation_deadline >= _M_PESA_WAITS:
        yield (
            f"c2b_validation_deadline: got {settings.c2b_validation_deadline:g} seconds, expected less than "
            f"{_M_PESA_WAITS}: M-PESA waits no longer for the answer"
        )


def _wrong_kinds(record: Any) -> Iterator[tuple[str, str]]:
    """The fields whose value is not of their kind, with what is wrong."""
    for field in attrs.fields(type(record)):
        problem = kinds.kind_of(field).problem(getattr(record, field.name))
        if problem is not None:
            yield field.name, problem


def _environment(environment: str) -> Iterator[str]:
    if environment in {"sandbox", "production"}:
        return
    expected = "expected 'sandbox', 'production' or the base URL of a local Daraja"
    try:
        parts = urlsplit(environment)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in {"http", "https"}:
        yield f"environment: got {environment!r}, {expected}"
    elif "@" in parts.netloc or parts.query or parts.fragment:
        yield f"environment: got a URL with a user, a query or a fragment, {expected}"


def _accounts(settings: Settings) -> Iterator[str]:
    yield from _belongings(settings, "")
    given: Mapping[Any, Any] = settings.accounts  # not yet known to be accounts by name
    for name, account in given.items():
        where = f"accounts[{name!r}]"
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _LONGEST_ACCOUNT_NAME:
            yield f"{where}: expected a name of 1 to {_LONGEST_ACCOUNT_NAME} characters"
        elif name == "default":
            yield f"{where}: the default account is made of the settings beside accounts; choose another name"
        if not isinstance(account, Account):
            yield f"{where}: got {type(account).__name__}, expected an Account"
            continue
        wrong = list(_wrong_kinds(account))
        yield from (f"{where}.{field}: {problem}" for field, problem in wrong)
        yield from _belongings(account, f"{where}.")
        if account.till_number and account.short_code is None and not (settings.short_code and settings.till_number):
            yield f"{where}.short_code: {_STORE_NUMBER}"


_STORE_NUMBER = "missing; for a till it is the store number, which is not the till number"


def _belongings(record: Account | Settings, where: str) -> Iterator[str]:
    """Keys that are of use only together."""
    password, credential = record.initiator_password, record.security_credential
    if password is not None and credential is not None:
        yield f"{where}security_credential: given beside initiator_password; give one of them, not both"
    if (password is not None or credential is not None) and not record.initiator_name:
        yield f"{where}initiator_name: missing, while a password or credential for it is given"
    if record.initiator_name and password is None and credential is None:
        yield f"{where}initiator_password: missing, while initiator_name is given; give it or security_credential"
    if not where and record.till_number and record.short_code is None:
        yield f"short_code: {_STORE_NUMBER}"
