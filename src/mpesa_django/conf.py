"""The ``MPESA`` dict of Django's settings, read when it is first needed and again when a test overrides it.

::

    MPESA = {
        "SHORT_CODE": "174379",
        "PASSKEY": fetch_passkey,
        "TRANSACTION_MODEL": "shop.MpesaTransaction",
        "CALLBACK_LOG_MODEL": "shop.MpesaCallbackLog",
    }

Every setting of :class:`mpesa_core.Settings` stands there in upper case, those of an account in ``ACCOUNTS`` likewise;
the others are this package's own, see :class:`Configuration`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import Settings
from mpesa_core.settings.account import ACCOUNT_FIELDS
from mpesa_core.settings.checks import no_such

__all__ = ["Configuration", "configuration", "read"]


@attrs.frozen(kw_only=True)
class Configuration:
    """What the ``MPESA`` dict says.

    Attributes:
        core: the settings of the core.
        transaction_model: ``app_label.Model`` of the transactions, or None where it is not set.
        callback_log_model: of the callback log.
        invoice_model: of the invoices (Bill Manager), or None: none are kept.
        subscription_model: of the subscriptions (Ratiba), or None: none are kept.
        runner: who works on callbacks: ``thread``, ``inline``, ``celery``, ``django_tasks``, or a factory that
            makes a :class:`~mpesa_core.tasks.TaskRunner` of the gateway.
        resolve_c2b: the hook that gives a C2B payment the host's own fields, or None.
    """

    core: Settings
    transaction_model: str | None = None
    callback_log_model: str | None = None
    invoice_model: str | None = None
    subscription_model: str | None = None
    runner: str | Callable[[Any], Any] = "thread"
    resolve_c2b: Callable[[Any], Mapping[str, Any]] | None = None


_CORE = {field.name.upper(): field.name for field in attrs.fields(Settings)}
_ACCOUNT = {name.upper(): name for name in ACCOUNT_FIELDS}
_MODELS = ("TRANSACTION_MODEL", "CALLBACK_LOG_MODEL", "INVOICE_MODEL", "SUBSCRIPTION_MODEL")
_OWN = (*_MODELS, "RUNNER", "USE_CELERY", "RESOLVE_C2B")
_MODEL_NAME = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
_RUNNERS = ("thread", "inline", "celery", "django_tasks")
_BY_USE_CELERY = {None: "thread", False: "inline", True: "celery"}


def configuration() -> Configuration:
    """The configuration of this project.

    Raises:
        ConfigurationError: everything that is wrong, at once.
    """
    return read(getattr(django_settings, "MPESA", {}))


def read(mapping: object) -> Configuration:
    """The configuration in a mapping of upper-case names to values.

    Raises:
        ConfigurationError: everything that is wrong, at once; an unknown name with the nearest known one.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigurationError([f"MPESA: got {type(mapping).__name__}, expected a dict of names to values"])
    problems = [no_such("setting", str(name), (*_CORE, *_OWN)) for name in mapping if name not in (*_CORE, *_OWN)]
    values = {_CORE[name]: value for name, value in mapping.items() if name in _CORE}
    if isinstance(values.get("accounts"), Mapping):
        values["accounts"] = dict(_accounts(values["accounts"], problems))
    core: Settings | None = None
    try:
        core = Settings.load(values, show=str.upper)
    except ConfigurationError as error:
        problems += error.problems
    own: dict[str, Any] = {name.lower(): mapping.get(name) for name in _MODELS}
    problems += [
        f"{name}: got {mapping[name]!r}, expected a model such as 'shop.MpesaTransaction'"
        for name in _MODELS
        if mapping.get(name) is not None and not _is_model_name(mapping[name])
    ]
    own["runner"] = _runner(mapping, problems)
    own["resolve_c2b"] = _loaded("RESOLVE_C2B", mapping.get("RESOLVE_C2B"), "a function of the callback", problems)
    if problems or core is None:
        raise ConfigurationError(problems)
    return Configuration(core=core, **own)


def _is_model_name(value: object) -> bool:
    return isinstance(value, str) and _MODEL_NAME.fullmatch(value) is not None


def _accounts(accounts: Mapping[Any, Any], problems: list[str]) -> Iterator[tuple[Any, Any]]:
    for name, entry in accounts.items():
        if not isinstance(entry, Mapping):
            yield name, entry
            continue
        problems += [
            f"ACCOUNTS[{name!r}].{no_such('setting of an account', str(key), _ACCOUNT)}"
            for key in entry
            if key not in _ACCOUNT
        ]
        yield name, {_ACCOUNT[key]: value for key, value in entry.items() if key in _ACCOUNT}


def _runner(mapping: Mapping[Any, Any], problems: list[str]) -> Any:
    celery, runner = mapping.get("USE_CELERY"), mapping.get("RUNNER")
    if celery is not None and not isinstance(celery, bool):
        problems.append(f"USE_CELERY: got {celery!r}, expected True or False")
        celery = None
    meant = _BY_USE_CELERY[celery]
    if celery is not None and runner not in (None, meant):
        problems.append(f"RUNNER: got {runner!r} while USE_CELERY is {celery}, which means {meant!r}; give one of them")
    if runner is None:
        return meant
    if runner in _RUNNERS:
        return runner
    return _loaded("RUNNER", runner, f"{', '.join(map(repr, _RUNNERS))} or a factory of a TaskRunner", problems)


def _loaded(name: str, value: Any, expected: str, problems: list[str]) -> Any:
    """A callable that was given itself or by its dotted path."""
    if value is None or callable(value):
        return value
    found: Any = None
    if isinstance(value, str):
        try:
            found = import_string(value)
        except ImportError as error:
            problems.append(f"{name}: {value!r} cannot be imported ({error}); expected {expected}, or its dotted path")
            return None
    if not callable(found):
        problems.append(f"{name}: got {value!r}, expected {expected}, or its dotted path")
    return found
