"""System checks: what would keep payments from working, found by ``manage.py check``.

======== ==============================================================================================================
id       what
======== ==============================================================================================================
E001     a setting is unknown or wrong (a callback URL that Daraja refuses among them)
E002     TRANSACTION_MODEL or CALLBACK_LOG_MODEL is not set
E003     a model is not installed
E004     a model does not subclass this package's abstract one
E005     a field of your own would keep a C2B payment from being recorded, and there is no RESOLVE_C2B
E006     a model does not inherit the abstract one's Meta (told by the model)
E007     USE_TZ is off (told by the model)
E008     what RUNNER or USE_CELERY chooses is not installed
E009     AUTOCOMMIT is off for the database
W001     anybody may post callbacks, and DEBUG is off
W002     the callback URLs or their secret are not set up (with ``--deploy``)
W003     SQLite begins its transactions too late for two writers
W004     each request connects to the database anew
W005     Celery is chosen, and no Celery app of the project's was made
W006     Django's error reports would show a secret
======== ==============================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks
from django.db import connections, models, router
from django.views.debug import get_default_exception_reporter_filter

from mpesa_core.cli.doctor import Verdict, examine_callback_urls, examine_sources
from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import Settings
from mpesa_core.settings.kinds import kind_of
from mpesa_django.conf import Configuration, configuration
from mpesa_django.runners import what_is_missing

__all__ = ["check_callback_urls", "check_project", "register"]

_ABSTRACT = {
    "TRANSACTION_MODEL": "AbstractMpesaTransaction",
    "CALLBACK_LOG_MODEL": "AbstractMpesaCallbackLog",
    "INVOICE_MODEL": "AbstractMpesaInvoice",
    "SUBSCRIPTION_MODEL": "AbstractMpesaSubscription",
}
_SECRETS = [field.name.upper() for field in attrs.fields(Settings) if kind_of(field).secret]
_NEEDED = ("TRANSACTION_MODEL", "CALLBACK_LOG_MODEL")


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_project)
    checks.register(check_callback_urls, deploy=True)


def check_project(**_options: Any) -> list[checks.CheckMessage]:
    """The settings, the models and the database."""
    try:
        found = configuration()
    except ConfigurationError as error:
        return [_error("E001", f"MPESA: {problem}", "Correct it in the settings module.") for problem in error.problems]
    return [*_models(found), *_sources(found), *_database(found), *_queue(found), *_reports()]


def check_callback_urls(**_options: Any) -> list[checks.CheckMessage]:
    """The callback URLs and their secret, which may have to be fetched."""
    try:
        found = configuration().core
    except ConfigurationError:
        return []  # the other check tells
    return [
        _warning("W002", f"MPESA: {finding.detail}.", "See `manage.py mpesa_doctor`.")
        for finding in examine_callback_urls(found)
        if finding.verdict is not Verdict.OK
    ]


def _models(found: Configuration) -> Iterator[checks.CheckMessage]:
    for setting, abstract_name in _ABSTRACT.items():
        name: str | None = getattr(found, setting.lower())
        if name is None:
            if setting in _NEEDED:
                hint = f"Subclass mpesa_django.models.{abstract_name} and name your model, as 'shop.MpesaTransaction'."
                yield _error("E002", f"MPESA: {setting} is not set.", hint)
            continue
        try:
            model = apps.get_model(name)
        except LookupError as error:
            hint = "Name a model as 'app_label.Model', of an app in INSTALLED_APPS."
            yield _error("E003", f"MPESA: {setting} is {name!r}, which is not installed: {error}", hint)
            continue
        yield from _model(setting, model, abstract_name, found)


def _model(
    setting: str, model: type[models.Model], abstract_name: str, found: Configuration
) -> Iterator[checks.CheckMessage]:
    from mpesa_django import models as ours  # noqa: PLC0415 - models can be imported when apps are ready

    abstract: type[models.Model] = getattr(ours, abstract_name)
    label = model._meta.label  # noqa: SLF001 - documented by Django
    if not issubclass(model, abstract):
        hint = f"Subclass mpesa_django.models.{abstract_name}."
        yield _error("E004", f"MPESA: {setting} is {label}, which is none of ours.", hint, model)
        return
    if setting != "TRANSACTION_MODEL" or found.resolve_c2b is not None:
        return
    for field in _unfilled(model, abstract):
        yield _error(
            "E005",
            f"{label}.{field.name} is required, and a C2B payment that nobody initiated comes without it.",
            "Make it null=True, give it a default, or name a function in MPESA['RESOLVE_C2B'] that returns it.",
            model,
        )


def _unfilled(model: type[models.Model], abstract: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    """The host's own fields that nobody fills in by himself."""
    ours = {field.name for field in abstract._meta.get_fields()}  # noqa: SLF001 - documented by Django
    for field in model._meta.concrete_fields:  # noqa: SLF001 - likewise
        if field.name in ours or field.primary_key or field.null or getattr(field, "generated", False):
            continue
        if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
            continue
        if field.get_default() is None:
            yield field


def _sources(found: Configuration) -> Iterator[checks.CheckMessage]:
    finding = examine_sources(found.core)
    if finding.verdict is not Verdict.OK and not django_settings.DEBUG:
        hint = "Set VERIFY_CALLBACK_SOURCE_IP to True, and TRUSTED_PROXIES to your own proxies."
        yield _warning("W001", f"MPESA: {finding.detail}.", hint)


def _database(found: Configuration) -> Iterator[checks.CheckMessage]:
    try:
        model = apps.get_model(found.transaction_model or "")
    except (LookupError, ValueError):
        return  # told above
    alias = router.db_for_write(model)
    connection = connections[alias]
    options: dict[str, Any] = connection.settings_dict.get("OPTIONS", {})
    if not connection.settings_dict.get("AUTOCOMMIT", True):
        yield _error(
            "E009",
            f"DATABASES[{alias!r}]['AUTOCOMMIT'] is off: nothing would be durable when it is acknowledged.",
            "Leave AUTOCOMMIT out, and use transaction.atomic() where you need a transaction.",
        )
    if connection.vendor == "sqlite":
        if str(options.get("transaction_mode", "")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
            yield _warning(
                "W003",
                f"The database {alias!r} is SQLite and begins its transactions deferred: two writers fail at once.",
                f"Set DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'.",
            )
    elif connection.settings_dict.get("CONN_MAX_AGE") == 0 and not options.get("pool"):
        yield _warning(
            "W004",
            f"The database {alias!r} is connected to anew for each request, which costs a callback more than its row.",
            f"Set DATABASES[{alias!r}]['CONN_MAX_AGE'] to 60 or so; or use a pool, as ASGI wants, where kept "
            "connections pile up.",
        )


def _queue(found: Configuration) -> Iterator[checks.CheckMessage]:
    missing = what_is_missing(found.runner)
    if missing is not None:
        yield _error("E008", f"MPESA: the runner {found.runner!r} was chosen, and it cannot work.", f"{missing}.")
    elif found.runner == "celery":
        from celery import current_app  # noqa: PLC0415 - the extra may not be installed

        if current_app.main == "default":  # the one that Celery makes where there is none
            hint = "Make it, and import it in your project's __init__.py, as Celery's First steps with Django say."
            yield _warning("W005", "MPESA: Celery was chosen, and this process has no Celery app.", hint)


def _reports() -> Iterator[checks.CheckMessage]:
    """Django's error reports (the page while debugging, the mail to the admins) mask settings by their names."""
    hidden: Any = getattr(get_default_exception_reporter_filter(), "hidden_settings", None)
    if hidden is None:
        return  # one of the project's own
    mapping: Mapping[str, Any] = django_settings.MPESA
    accounts: Mapping[str, Mapping[str, Any]] = mapping.get("ACCOUNTS") or {}
    for where, given in [("", mapping), *((f"ACCOUNTS[{name!r}].", account) for name, account in accounts.items())]:
        for name in _SECRETS:
            if isinstance(given.get(name), str) and not hidden.search(name):
                yield _warning(
                    "W006",
                    f"MPESA: {where}{name} is text, which Django's error reports would show.",
                    f"Give it as a callable: {name!r}: lambda: ...",
                )


def _error(number: str, message: str, hint: str, about: Any = None) -> checks.CheckMessage:
    return checks.Error(message, hint=hint, obj=about, id=f"mpesa_django.{number}")


def _warning(number: str, message: str, hint: str) -> checks.CheckMessage:
    return checks.Warning(message, hint=hint, id=f"mpesa_django.{number}")
