"""Settings, accounts and environments.

:class:`Settings` is one frozen class, checked as a whole: every problem and every unknown key is reported at once. The names
are the same everywhere: lower case here, upper case in Django's ``MPESA`` dict, ``MPESA_*`` in the environment.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

from mpesa_core.errors import ConfigurationError, InvalidField
from mpesa_core.values import callback_url, short_code

__all__ = ["SAFARICOM_GATEWAYS", "Account", "Environment", "Secret", "Settings"]


class Environment(StrEnum):
    """Safaricom's two hosts; any other base URL is a local Daraja."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"

    @property
    def base_url(self) -> str:
        """The host, without a slash at the end."""
        return "https://api.safaricom.co.ke" if self is Environment.PRODUCTION else "https://sandbox.safaricom.co.ke"


SAFARICOM_GATEWAYS = (
    "196.201.214.200",
    "196.201.214.206",
    "196.201.213.114",
    "196.201.214.207",
    "196.201.214.208",
    "196.201.213.44",
    "196.201.212.127",
    "196.201.212.138",
    "196.201.212.129",
    "196.201.212.136",
    "196.201.212.74",
    "196.201.212.69",
)
"""The addresses that callbacks come from (Safaricom's "Getting Started" page, rechecked in September 2026)."""


class Secret:
    """A secret: a text, or a callable that fetches it each time it is needed. It never shows in a repr or a pickle."""

    __slots__ = ("_source",)

    def __init__(self, source: str | Callable[[], str] | Secret) -> None:
        self._source: str | Callable[[], str] = source._source if isinstance(source, Secret) else source

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            ConfigurationError: the callable returned no text. What the callable itself raises passes through.
        """
        value = self._source() if callable(self._source) else self._source
        if not isinstance(value, str) or not value:
            raise ConfigurationError([f"a secret's callable returned {type(value).__name__}; expected text"])
        return value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret is not pickled; pickle the name of the settings it stands in")


def _secret(value: Any) -> Any:
    return Secret(value) if value and (isinstance(value, (str, Secret)) or callable(value)) else value or None


@attrs.frozen(kw_only=True)
class Account:
    """A short code and its keys. Everything left out is taken from the default account's credentials where it can be.

    Attributes:
        short_code: the paybill, or for a till the store (head office) number that STK passwords are made with.
        till_number: the till itself, where the account is one: STK pushes then go to it as buy goods.
        consumer_key, consumer_secret: the app's keys on the developer portal.
        passkey: the STK push passkey of the short code.
        initiator_name, initiator_password: the API operator that pays out, reverses and asks.
        security_credential: a ready-made credential instead of the password (then cryptography is not needed).
        certificate: path or bytes of the certificate that encrypts the password; the environment's bundled one by default.
    """

    short_code: str | None = None
    till_number: str | None = None
    consumer_key: Secret | None = attrs.field(default=None, converter=_secret)
    consumer_secret: Secret | None = attrs.field(default=None, converter=_secret)
    passkey: Secret | None = attrs.field(default=None, converter=_secret)
    initiator_name: str | None = None
    initiator_password: Secret | None = attrs.field(default=None, converter=_secret)
    security_credential: Secret | None = attrs.field(default=None, converter=_secret)
    certificate: str | Path | bytes | None = attrs.field(default=None, repr=False)


_ACCOUNT_FIELDS = tuple(field.name for field in attrs.fields(Account))


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _texts(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else value


def _duration(default: float) -> Any:
    return attrs.field(default=default, converter=_seconds, metadata={"kind": "seconds"})


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set, in one place. Durations are seconds (or a timedelta); times of day do not occur.

    Someone who only receives callbacks needs none of the credentials.

    Attributes:
        environment: ``sandbox``, ``production``, or the base URL of a local Daraja.
        accounts: more accounts by name; the fields above them make the one named ``default``.
        callback_base_url: where the callback paths are served, such as ``https://shop.example/pay/``.
        stk_callback_url … standing_order_url: one product's own URL instead (a token is appended to it as well).
        callback_tokens: give each request's callback URLs an unguessable last part of their own.
        callback_secret: sign those tokens, and refuse (404) every callback whose path has no valid one. The URLs that are
            registered once (C2B) get a fixed signed token.
        verify_callback_source_ip: refuse (403, but keep) callbacks from addresses not in the allowlist.
        callback_ip_allowlist: addresses and networks that callbacks may come from.
        trusted_proxies: addresses and networks of your own proxies, whose ``X-Forwarded-For`` is believed.
        max_body_bytes: a larger callback is refused (413) before it is read.
        refused_per_minute: how many refused callbacks a process keeps each minute; the rest are only counted.
        spool_dir: where a callback goes when the database refuses it; None: such a callback is answered 503.
        c2b_validation_deadline: how long the receivers of ``c2b_validation_received`` may take (M-PESA waits about 8 s).
        c2b_validation_default: ``accept`` or ``reject``: the answer when they fail or are late.
        verify_before_settle: ask M-PESA (STK query) before a success callback settles an STK payment.
        on_queue_timeout: ``ask`` keeps a payout open and asks about it; ``timeout`` calls it TIMEOUT at once.
        connect_timeout, read_timeout: of each request to Daraja.
        send_retries: how often a request that provably did not leave is tried again.
        query_after: from sending an STK push to the first question about it.
        query_interval: between questions at first; it doubles up to ``query_interval_longest``.
        queries_per_minute: questions of one app a minute; None for no limit. Daraja's sandbox allows 5 (its default here).
        stk_deadline, payout_deadline: after this a transaction without an outcome is TIMEOUT.
        horizon: how long after its start an unknown outcome is still asked about.
        unsent_after: a transaction that is still PENDING after this was never sent.
        callback_lease: how long a worker may take over one callback before another takes it up.
        announce_lease: how long receivers may be silent before another process announces again (renewed while they run).
        adoption_grace: how long a C2B confirmation waits for the STK payment that it may belong to.
        unmatched_after: a callback that matched nothing for this long becomes a conflict for a person to look at.
        sweep_interval: between two runs of recovery in the runner and the worker.

    Raises:
        ConfigurationError: everything that is wrong, at once.
    """

    environment: str = Environment.SANDBOX.value
    consumer_key: Secret | None = attrs.field(default=None, converter=_secret)
    consumer_secret: Secret | None = attrs.field(default=None, converter=_secret)
    short_code: str | None = None
    till_number: str | None = None
    passkey: Secret | None = attrs.field(default=None, converter=_secret)
    initiator_name: str | None = None
    initiator_password: Secret | None = attrs.field(default=None, converter=_secret)
    security_credential: Secret | None = attrs.field(default=None, converter=_secret)
    certificate: str | Path | bytes | None = attrs.field(default=None, repr=False)
    accounts: Mapping[str, Account] = attrs.field(factory=dict)

    callback_base_url: str | None = None
    stk_callback_url: str | None = None
    c2b_validation_url: str | None = None
    c2b_confirmation_url: str | None = None
    b2c_result_url: str | None = None
    b2c_timeout_url: str | None = None
    reversal_result_url: str | None = None
    reversal_timeout_url: str | None = None
    balance_result_url: str | None = None
    balance_timeout_url: str | None = None
    status_result_url: str | None = None
    status_timeout_url: str | None = None
    b2b_result_url: str | None = None
    b2b_timeout_url: str | None = None
    b2b_express_url: str | None = None
    bill_payment_url: str | None = None
    standing_order_url: str | None = None
    callback_tokens: bool = True
    callback_secret: Secret | None = attrs.field(default=None, converter=_secret)

    verify_callback_source_ip: bool = True
    callback_ip_allowlist: tuple[str, ...] = attrs.field(default=SAFARICOM_GATEWAYS, converter=_texts)
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    max_body_bytes: int = 262_144
    refused_per_minute: int = 600
    spool_dir: str | Path | None = None
    c2b_validation_deadline: float = _duration(5.0)
    c2b_validation_default: Literal["accept", "reject"] = "accept"
    verify_before_settle: bool = False
    on_queue_timeout: Literal["ask", "timeout"] = "ask"

    connect_timeout: float = _duration(10.0)
    read_timeout: float = _duration(30.0)
    send_retries: int = 2
    query_after: float = _duration(30.0)
    query_interval: float = _duration(30.0)
    query_interval_longest: float = _duration(21_600.0)
    queries_per_minute: int | None = attrs.field(
        default=attrs.Factory(lambda self: 5 if self.environment == "sandbox" else None, takes_self=True)
    )
    stk_deadline: float = _duration(900.0)
    payout_deadline: float = _duration(172_800.0)
    horizon: float = _duration(604_800.0)
    unsent_after: float = _duration(120.0)
    callback_lease: float = _duration(60.0)
    announce_lease: float = _duration(60.0)
    adoption_grace: float = _duration(120.0)
    unmatched_after: float = _duration(259_200.0)
    sweep_interval: float = _duration(5.0)

    def __attrs_post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigurationError(problems)

    @property
    def base_url(self) -> str:
        """Daraja's base URL, without a slash at the end."""
        try:
            return Environment(self.environment).base_url
        except ValueError:
            return self.environment.rstrip("/")

    @property
    def is_production(self) -> bool:
        """Whether real money moves."""
        return self.environment == Environment.PRODUCTION

    def account(self, name: str = "default") -> Account:
        """The account of that name, with what it leaves out filled from the default one's app keys and operator.

        Raises:
            ConfigurationError: there is no such account.
        """
        default = Account(**{field: getattr(self, field) for field in _ACCOUNT_FIELDS})
        if name == "default":
            return default
        if name not in self.accounts:
            raise ConfigurationError([_unknown("account", name, ["default", *self.accounts])])
        own = self.accounts[name]
        shared = ("consumer_key", "consumer_secret", "certificate")
        if own.short_code in (None, default.short_code):
            shared = tuple(field for field in _ACCOUNT_FIELDS if field != "till_number")
        elif own.initiator_name is None:
            shared += ("initiator_name", "initiator_password", "security_credential")
        filled = {field: getattr(default, field) for field in shared if getattr(own, field) is None}
        return attrs.evolve(own, **filled)

    @property
    def account_names(self) -> tuple[str, ...]:
        """``default`` and the names in ``accounts``."""
        return ("default", *self.accounts)

    @classmethod
    def load(cls, mapping: Mapping[str, Any], *, show: Callable[[str], str] = str) -> Settings:
        """Settings from a mapping of names to values; unknown names and wrong values are reported together.

        Args:
            mapping: lower-case names; ``accounts`` may hold mappings.
            show: turns a name into what the user wrote (such as ``MPESA_SHORT_CODE``), for the error's text.

        Raises:
            ConfigurationError: everything that is wrong, at once, unknown names with the nearest known one.
        """
        known = {field.name: field for field in attrs.fields(cls)}
        problems = [_unknown("setting", show(key), map(show, known)) for key in mapping if key not in known]
        values = {key: value for key, value in mapping.items() if key in known}
        accounts: dict[str, Account] = {}
        given = values.pop("accounts", {})
        if not isinstance(given, Mapping):
            problems.append(f"{show('accounts')}: got {type(given).__name__}, expected a mapping of names to accounts")
            given = {}
        for name, entry in given.items():
            if isinstance(entry, Account):
                accounts[name] = entry
            elif isinstance(entry, Mapping):
                unknown = [key for key in entry if key not in _ACCOUNT_FIELDS]
                problems += [_unknown(f"key in account {name!r}", str(key), _ACCOUNT_FIELDS) for key in unknown]
                accounts[name] = Account(**{key: value for key, value in entry.items() if key in _ACCOUNT_FIELDS})
            else:
                problems.append(f"{show('accounts')}[{name!r}]: got {type(entry).__name__}, expected an Account or mapping")
        try:
            loaded = cls(accounts=accounts, **values)
        except ConfigurationError as error:
            raise ConfigurationError([*problems, *error.problems]) from None
        if problems:
            raise ConfigurationError(problems)
        return loaded

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, prefix: str = "MPESA_", also: tuple[str, ...] = ()) -> Settings:
        """Settings from environment variables such as ``MPESA_SHORT_CODE``; lists are separated by commas.

        ``MPESA_ACCOUNTS`` is a JSON object of accounts.

        Args:
            environ: usually ``os.environ``.
            prefix: what the variables begin with.
            also: further names, in lower case, that belong to the caller (such as ``database``) and are passed over.

        Raises:
            ConfigurationError: everything that is wrong, at once.
        """
        known = {field.name: field for field in attrs.fields(cls)}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable, text in environ.items():
            if not variable.startswith(prefix):
                continue
            name = variable[len(prefix) :].lower()
            if name in also or text == "":
                continue
            if name not in known:
                values[name] = text
                continue
            try:
                values[name] = _from_text(known[name], text)
            except ValueError as error:
                problems.append(f"{variable}: {error}")
        try:
            loaded = cls.load(values, show=lambda name: prefix + name.upper())
        except ConfigurationError as error:
            raise ConfigurationError([*problems, *error.problems]) from None
        if problems:
            raise ConfigurationError(problems)
        return loaded


def _from_text(field: attrs.Attribute[Any], text: str) -> Any:
    kind = str(field.type)
    if field.name == "accounts":
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError('expected a JSON object such as {"till": {"short_code": "600000"}}') from None
    if kind == "bool":
        lowered = text.strip().lower()
        if lowered in ("1", "true", "yes", "on"):
            return True
        if lowered in ("0", "false", "no", "off"):
            return False
        raise ValueError(f"got {text!r}, expected true or false")
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind.startswith(("int", "float")):
        try:
            return int(text) if kind.startswith("int") else float(text)
        except ValueError:
            raise ValueError(f"got {text!r}, expected a number") from None
    return text


def _unknown(what: str, name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"{name}: no such {what}" + (f"; did you mean {near[0]}?" if near else "; see the settings reference for the names")


def _problems(settings: Settings) -> Any:  # noqa: C901, PLR0912 - one line for each rule
    environment = settings.environment
    if environment not in list(Environment):
        parts = urlsplit(environment if isinstance(environment, str) else "")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            yield f"environment: got {environment!r}, expected 'sandbox', 'production' or the base URL of a local Daraja"
    for name in ("consumer_key", "consumer_secret", "passkey", "initiator_password", "security_credential", "callback_secret"):
        if getattr(settings, name) is not None and not isinstance(getattr(settings, name), Secret):
            yield f"{name}: got {type(getattr(settings, name)).__name__}, expected text or a callable that returns text"
    for field in attrs.fields(Settings):
        value = getattr(settings, field.name)
        kind = str(field.type)
        if field.metadata.get("kind") == "seconds":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                yield f"{field.name}: got {value!r}, expected a positive number of seconds or a timedelta"
        elif kind == "bool" and not isinstance(value, bool):
            yield f"{field.name}: got {value!r}, expected True or False"
        elif kind.startswith("int") and not (value is None and "None" in kind):
            if isinstance(value, bool) or not isinstance(value, int) or value < (0 if field.name == "send_retries" else 1):
                yield f"{field.name}: got {value!r}, expected a whole number above 0"
        elif field.name.endswith("_url") and value is not None:
            try:
                callback_url(value, field.name, production=settings.is_production)
            except InvalidField as error:
                yield str(error)
        elif kind.startswith("Literal"):
            allowed = kind.removeprefix("Literal[").removesuffix("]").replace('"', "'")
            if repr(value) not in allowed.split(", "):
                yield f"{field.name}: got {value!r}, expected one of {allowed}"
    for name, account in [("", settings), *settings.accounts.items()]:
        where = f"accounts[{name!r}]." if name else ""
        for code in ("short_code", "till_number"):
            if getattr(account, code) is not None:
                try:
                    short_code(getattr(account, code), where + code)
                except InvalidField as error:
                    yield str(error)
                else:
                    if not isinstance(getattr(account, code), str):
                        yield f"{where}{code}: got a number, expected text (a leading zero would be lost)"
        if account.initiator_password is not None and account.security_credential is not None:
            yield f"{where}initiator_password and security_credential: give one of them, not both"
        if (account.initiator_password or account.security_credential) and not account.initiator_name:
            yield f"{where}initiator_name: missing, while a password or credential for it is given"
        if account.till_number and not (account.short_code or settings.short_code):
            yield f"{where}short_code: missing; for a till it is the store number, which is not the till number"
    if "default" in settings.accounts:
        yield "accounts['default']: the default account is made of the settings beside accounts; choose another name"
    for name in ("callback_ip_allowlist", "trusted_proxies"):
        value = getattr(settings, name)
        if not isinstance(value, tuple):
            yield f"{name}: got {value!r}, expected a list of addresses or networks"
            continue
        for entry in value:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                yield f"{name}: got {entry!r}, expected an address or network such as 196.201.214.200 or 10.0.0.0/8"
    if isinstance(settings.c2b_validation_deadline, (int, float)) and settings.c2b_validation_deadline >= 8:
        yield "c2b_validation_deadline: M-PESA waits about 8 seconds for the answer; expected less than 8"
