"""The front door: ``from mpesa_django import mpesa``, the core's gateway made from Django's settings.

``ampesa`` is the same with coroutines. Nothing is read or made at the import; the first use does it, once for all
threads. A test that overrides ``MPESA`` gets a new gateway, and the old one is closed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import attrs
from django.apps import apps
from django.core.exceptions import AppRegistryNotReady

from mpesa_core.errors import ConfigurationError
from mpesa_core.gateway import AsyncGateway, Gateway
from mpesa_core.settlement.engine import Verdict
from mpesa_core.settlement.reconciliation import Reconciled
from mpesa_core.settlement.recovery import Recovered
from mpesa_core.webhooks import Webhooks
from mpesa_django.asynchronous import AsyncRepository, as_coroutine
from mpesa_django.conf import Configuration, configuration
from mpesa_django.runners import CORE_RUNNERS, fresh_connections, given_runner
from mpesa_django.signals import DjangoBus

if TYPE_CHECKING:
    from mpesa_core.repository.protocol import Repository

__all__ = [
    "DjangoGateway",
    "Front",
    "ampesa",
    "command_gateway",
    "front",
    "make_async_gateway",
    "make_gateway",
    "mpesa",
]


class DjangoGateway(Gateway):
    """The core's gateway; its runner's and worker's threads live long, so each job gets connections that work."""

    def process(self, callback_id: UUID | str) -> Verdict | None:
        """Process one recorded callback; what a task runner calls."""
        with fresh_connections():
            return super().process(callback_id)

    def sweep(self) -> tuple[Recovered, Reconciled]:
        """One round of recovery and reconciliation; what a runner or a worker does every few seconds."""
        with fresh_connections():
            return super().sweep()

    def validate_c2b(self, raw_payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Ask the receivers of ``c2b_validation_received``; the webhooks do it in a thread with a deadline."""
        with fresh_connections():
            return super().validate_c2b(raw_payload)


def make_gateway(found: Configuration) -> Gateway:
    """A gateway of a configuration; whoever makes it closes it.

    Raises:
        ConfigurationError: a model is not set or not installed.
    """
    models = _models(found)
    gateway = DjangoGateway(
        found.core,
        _repository(models),
        bus=DjangoBus(**models),
        runner=found.runner if isinstance(found.runner, str) and found.runner in CORE_RUNNERS else "inline",
        resolve_c2b=found.resolve_c2b,
    )
    if found.runner not in CORE_RUNNERS:
        gateway.runner = given_runner(found.runner, gateway)
    return gateway


def make_async_gateway(found: Configuration) -> AsyncGateway:
    """A gateway of coroutines of a configuration: it sends, and shares its tables with the one that receives.

    Raises:
        ConfigurationError: a model is not set or not installed.
    """
    models = _models(found)
    return AsyncGateway(
        found.core,
        cast("Any", AsyncRepository(_repository(models))),
        bus=DjangoBus(**models),
        resolve_c2b=as_coroutine(found.resolve_c2b) if found.resolve_c2b is not None else None,
    )


def command_gateway() -> Gateway:
    """A gateway for a management command: it works in the command's own thread, and is the command's to close."""
    return make_gateway(attrs.evolve(configuration(), runner="inline"))


def _models(found: Configuration) -> dict[str, Any]:
    names = {
        "transaction_model": found.transaction_model,
        "callback_model": found.callback_log_model,
        "invoice_model": found.invoice_model,
        "subscription_model": found.subscription_model,
    }
    shown = {"callback_model": "CALLBACK_LOG_MODEL"}
    models: dict[str, Any] = {}
    problems = []
    for argument, name in names.items():
        setting = shown.get(argument, argument.upper())
        if name is None:
            if argument in {"transaction_model", "callback_model"}:
                problems.append(f"{setting}: not set; name a model of yours such as 'shop.MpesaTransaction'")
            models[argument] = None
            continue
        try:
            models[argument] = apps.get_model(name)
        except AppRegistryNotReady:
            raise
        except LookupError as error:
            problems.append(f"{setting}: {name!r} is not installed ({error}); expected a model of an installed app")
    if problems:
        raise ConfigurationError(problems)
    return models


def _repository(models: dict[str, Any]) -> Repository:
    from mpesa_django.repository import DjangoRepository  # noqa: PLC0415 - models can be imported when apps are ready

    return DjangoRepository(
        models["transaction_model"], models["callback_model"], models["invoice_model"], models["subscription_model"]
    )


class Front:
    """Holds the process's gateways and webhooks, made when they are first needed."""

    def __init__(self) -> None:
        self._renew_lock()
        self._gateway: Gateway | None = None
        self._async_gateway: AsyncGateway | None = None
        self._webhooks: Webhooks | None = None
        if hasattr(os, "register_at_fork"):  # a lock that another thread held at a fork stays locked in the child
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    @property
    def gateway(self) -> Gateway:
        """The gateway.

        Raises:
            ConfigurationError: everything that is wrong with the settings, at once.
        """
        made = self._gateway
        if made is None:
            with self._lock:
                made = self._gateway = self._gateway or make_gateway(configuration())
        return made

    @property
    def async_gateway(self) -> AsyncGateway:
        """The gateway of coroutines.

        Raises:
            ConfigurationError: everything that is wrong with the settings, at once.
        """
        made = self._async_gateway
        if made is None:
            with self._lock:
                made = self._async_gateway = self._async_gateway or make_async_gateway(configuration())
        return made

    @property
    def webhooks(self) -> Webhooks:
        """What receives callbacks for it."""
        made = self._webhooks
        if made is None:
            with self._lock:
                made = self._webhooks = self._webhooks or Webhooks(self.gateway)
        return made

    def reset(self) -> None:
        """Forget the gateways, and close the one that can be without awaiting; the next use makes others."""
        with self._lock:
            old, self._gateway, self._async_gateway, self._webhooks = self._gateway, None, None, None
        if old is not None:
            old.close()

    def on_setting_changed(self, *, setting: str, **_more: Any) -> None:
        """Receives Django's ``setting_changed``."""
        if setting == "MPESA":
            self.reset()


class _Door:
    """Stands for a gateway; every attribute is the gateway's."""

    def __init__(self, name: str, kind: type, find: Callable[[], Any]) -> None:
        self.__name, self.__kind, self.__find = name, kind, find

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what inspects a module's names makes no gateway
            raise AttributeError(name)
        return getattr(self.__find(), name)

    def __dir__(self) -> list[str]:
        return dir(self.__kind)

    def __repr__(self) -> str:
        return f"<mpesa_django.{self.__name}>"


front = Front()
"""The process's gateway and webhooks."""

mpesa = cast("Gateway", _Door("mpesa", Gateway, lambda: front.gateway))
"""The gateway of this process: ``mpesa.stk_push(phone_number=..., amount=..., account_reference=..., order=order)``."""

ampesa = cast("AsyncGateway", _Door("ampesa", AsyncGateway, lambda: front.async_gateway))
"""The same with coroutines: ``await ampesa.stk_push(...)``. Callbacks are received by the other one, under ASGI too."""
