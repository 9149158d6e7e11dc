"""The settings themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import kinds
from mpesa_core.settings.account import ACCOUNT_FIELDS, Account, inherit
from mpesa_core.settings.checks import no_such, problems
from mpesa_core.settings.kinds import seconds, texts
from mpesa_core.settings.reading import from_config, from_environ, from_mapping
from mpesa_core.settings.secret import Secret, secret

__all__ = ["SAFARICOM_GATEWAYS", "Environment", "Settings"]


class Environment(StrEnum):
    """Safaricom's two hosts; any other base URL is a local Daraja."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"

    @property
    def base_url(self) -> str:
        """The host, without a slash at the end."""
        return "https://api.safaricom.co.ke" if self is Environment.PRODUCTION else "https://sandbox.safaricom.co.ke"


SAFARICOM_GATEWAYS: Final = (
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


def _environment(value: str) -> str:
    """Safaricom's own hosts by their names, so that production is production however it is written."""
    if isinstance(value, str):
        for environment in Environment:
            if value == environment or value.lower().rstrip("/") == environment.base_url:
                return environment.value
    return value


def _copy(value: Mapping[str, Account]) -> Mapping[str, Account]:
    return dict(value) if isinstance(value, Mapping) else value


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set, in one place. Durations are seconds (or a timedelta); times of day do not occur.

    Someone who only receives callbacks needs none of the credentials. Settings that hold a secret are not pickled
    (TypeError): another process loads its own.

    Attributes:
        environment: ``sandbox``, ``production``, or the base URL of a local Daraja.
        accounts: more accounts by name; the fields above them make the one named ``default``.
        callback_base_url: where the callback paths are served, such as ``https://shop.example/pay/``.
        stk_callback_url … standing_order_url: one product's own URL instead (a token is appended to it as well).
        callback_tokens: give each request's callback URLs an unguessable last part of their own.
        callback_secret: sign those tokens, and refuse (404) every callback whose path has no valid one. The URLs that
            are registered once (C2B) get a fixed signed token.
        bills_base_path: the path that Bill Manager's calls have in common; some go-live mails list it doubled.
        bills_app_key_header: the header that carries ``bills_app_key``; Safaricom's page spells it in two ways.
        ratiba_edition: ``2025`` or ``2026``: which table of frequencies the app's standing orders have. The same number
            means another frequency in the other one: ask Safaricom before going live. There is no default.
        verify_callback_source_ip: refuse (403, but keep) callbacks from addresses not in the allowlist.
        callback_ip_allowlist: addresses and networks that callbacks may come from.
        trusted_proxies: addresses and networks of your own proxies, whose ``X-Forwarded-For`` is believed.
        max_body_bytes: a larger callback is refused (413) before it is read.
        refused_per_minute: how many refused callbacks a process keeps each minute; the rest are only counted.
        spool_dir: where a callback goes when the database refuses it; None: such a callback is answered 503.
        c2b_validation_deadline: how long the receivers of ``c2b_validation_received`` may take; M-PESA waits about 8 s.
        c2b_validation_default: ``accept`` or ``reject``: the answer when they fail or are late.
        verify_before_settle: ask M-PESA (STK query) before a success callback settles an STK payment.
        on_queue_timeout: ``ask`` keeps a payout open and asks about it; ``timeout`` calls it TIMEOUT at once.
        connect_timeout, read_timeout: of each request to Daraja.
        send_retries: how often a request that provably did not leave is tried again.
        query_after: from sending an STK push to the first question about it.
        query_interval, query_interval_longest: between questions: at first, and what it doubles up to.
        queries_per_minute: questions of one app a minute; None for no limit. Daraja's sandbox allows 5, which is the
            default there; elsewhere the default is None.
        stk_deadline, payout_deadline: after this a transaction without an outcome is TIMEOUT.
        horizon: how long after its start an unknown outcome is still asked about.
        unsent_after: a transaction that is still PENDING after this was never sent.
        callback_lease: how long a worker may take over one callback before another takes it up.
        announce_lease: how long an announcing process may be silent before another announces again; renewed while
            receivers run.
        adoption_grace: how long a C2B confirmation waits for the STK payment that it may belong to.
        unmatched_after: a callback that matched nothing for this long becomes a conflict for a person to look at.
        sweep_interval: between two runs of recovery in the runner and the worker.

    Raises:
        ConfigurationError: everything that is wrong, at once.
    """

    environment: str = attrs.field(
        default=Environment.SANDBOX.value, converter=_environment, metadata=kinds.ENVIRONMENT
    )
    consumer_key: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    consumer_secret: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    short_code: str | None = attrs.field(default=None, metadata=kinds.SHORT_CODE)
    till_number: str | None = attrs.field(default=None, metadata=kinds.SHORT_CODE)
    passkey: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    initiator_name: str | None = attrs.field(default=None, metadata=kinds.TEXT)
    initiator_password: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    security_credential: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    bills_app_key: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)
    certificate: str | Path | bytes | None = attrs.field(default=None, repr=False, metadata=kinds.FILE)
    accounts: Mapping[str, Account] = attrs.field(factory=dict, converter=_copy, hash=False, metadata=kinds.ACCOUNTS)

    callback_base_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    stk_callback_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    c2b_validation_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    c2b_confirmation_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    b2c_result_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    b2c_timeout_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    reversal_result_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    reversal_timeout_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    balance_result_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    balance_timeout_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    status_result_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    status_timeout_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    b2b_result_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    b2b_timeout_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    b2b_express_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    bill_payment_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    standing_order_url: str | None = attrs.field(default=None, metadata=kinds.URL)
    callback_tokens: bool = attrs.field(default=True, metadata=kinds.FLAG)
    callback_secret: Secret | None = attrs.field(default=None, converter=secret, metadata=kinds.SECRET)

    bills_base_path: str = attrs.field(default="/v1/billmanager-invoice", metadata=kinds.URL_PATH)
    bills_app_key_header: str = attrs.field(default="appKey", metadata=kinds.HEADER)
    ratiba_edition: Literal["2025", "2026"] | None = attrs.field(
        default=None, metadata=kinds.CHOICE_OF("2025", "2026", optional=True)
    )

    verify_callback_source_ip: bool = attrs.field(default=True, metadata=kinds.FLAG)
    callback_ip_allowlist: tuple[str, ...] = attrs.field(
        default=SAFARICOM_GATEWAYS, converter=texts, metadata=kinds.NETWORKS
    )
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), converter=texts, metadata=kinds.NETWORKS)
    max_body_bytes: int = attrs.field(default=262_144, metadata=kinds.COUNT)
    refused_per_minute: int = attrs.field(default=600, metadata=kinds.COUNT)
    spool_dir: str | Path | None = attrs.field(default=None, metadata=kinds.PATH)
    c2b_validation_deadline: float = attrs.field(default=5.0, converter=seconds, metadata=kinds.DURATION)
    c2b_validation_default: Literal["accept", "reject"] = attrs.field(
        default="accept", metadata=kinds.CHOICE_OF("accept", "reject")
    )
    verify_before_settle: bool = attrs.field(default=False, metadata=kinds.FLAG)
    on_queue_timeout: Literal["ask", "timeout"] = attrs.field(default="ask", metadata=kinds.CHOICE_OF("ask", "timeout"))

    connect_timeout: float = attrs.field(default=10.0, converter=seconds, metadata=kinds.DURATION)
    read_timeout: float = attrs.field(default=30.0, converter=seconds, metadata=kinds.DURATION)
    send_retries: int = attrs.field(default=2, metadata=kinds.RETRIES)
    query_after: float = attrs.field(default=30.0, converter=seconds, metadata=kinds.DURATION)
    query_interval: float = attrs.field(default=30.0, converter=seconds, metadata=kinds.DURATION)
    query_interval_longest: float = attrs.field(default=21_600.0, converter=seconds, metadata=kinds.DURATION)
    queries_per_minute: int | None = attrs.field(
        default=attrs.Factory(lambda self: 5 if self.environment == "sandbox" else None, takes_self=True),
        metadata=kinds.LIMIT,
    )
    stk_deadline: float = attrs.field(default=900.0, converter=seconds, metadata=kinds.DURATION)
    payout_deadline: float = attrs.field(default=172_800.0, converter=seconds, metadata=kinds.DURATION)
    horizon: float = attrs.field(default=604_800.0, converter=seconds, metadata=kinds.DURATION)
    unsent_after: float = attrs.field(default=120.0, converter=seconds, metadata=kinds.DURATION)
    callback_lease: float = attrs.field(default=60.0, converter=seconds, metadata=kinds.DURATION)
    announce_lease: float = attrs.field(default=60.0, converter=seconds, metadata=kinds.DURATION)
    adoption_grace: float = attrs.field(default=120.0, converter=seconds, metadata=kinds.DURATION)
    unmatched_after: float = attrs.field(default=259_200.0, converter=seconds, metadata=kinds.DURATION)
    sweep_interval: float = attrs.field(default=5.0, converter=seconds, metadata=kinds.DURATION)

    def __attrs_post_init__(self) -> None:
        found = list(problems(self))
        if found:
            raise ConfigurationError(found)

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
        """The account of that name, with what it leaves out taken from the default one; :class:`Account` has the rules.

        Raises:
            ConfigurationError: there is no such account.
        """
        default = Account(**{field: getattr(self, field) for field in ACCOUNT_FIELDS})
        if name == "default":
            return default
        if not isinstance(name, str) or name not in self.accounts:
            raise ConfigurationError([no_such("account", name, self.account_names)])
        return inherit(self.accounts[name], default)

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
        return from_mapping(cls, mapping, show=show)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, name: str = "MPESA") -> Settings:
        """Settings from a web framework's configuration, such as Flask's ``app.config``; its other keys are not ours.

        ``MPESA_SHORT_CODE`` is ``short_code``, and so is ``SHORT_CODE`` in a mapping under ``MPESA`` (there, and in
        accounts, in upper or lower case). What stands under ``MPESA`` may be settings already, such as those of
        :meth:`from_environ`.

        Args:
            config: the configuration.
            name: the key of the mapping, and what the single keys begin with.

        Raises:
            ConfigurationError: everything that is wrong, at once, an unknown name with the nearest known one; or both
                forms were used.
        """
        return from_config(cls, config, name=name)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, prefix: str = "MPESA_", also: tuple[str, ...] = ()
    ) -> Settings:
        """Settings from environment variables such as ``MPESA_SHORT_CODE``.

        Lists are separated by commas; booleans are true, yes, on, 1 and their opposites; durations are seconds, or a
        number with s, m, h or d (``15m``); a limit may be ``none``; ``MPESA_ACCOUNTS`` is a JSON object of accounts. An
        empty variable counts as not set.

        Args:
            environ: usually ``os.environ``.
            prefix: what the variables begin with.
            also: further names, in lower case, that belong to the caller (such as ``database``) and are passed over.

        Raises:
            ConfigurationError: everything that is wrong, at once.
        """
        return from_environ(cls, environ, prefix=prefix, also=also)
