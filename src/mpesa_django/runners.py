"""Who works on callbacks once they were acknowledged: the core's runners, with Django's connections looked after."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.db import connections

from mpesa_core.errors import ConfigurationError
from mpesa_core.queues import QueueRunner, missing_package
from mpesa_core.tasks import TaskRunner

__all__ = [
    "CORE_RUNNERS",
    "close_left_connections",
    "fresh_connections",
    "given_runner",
    "tasks_framework",
    "what_is_missing",
]


def close_old_connections() -> None:
    """Django's function of that name, but a connection in a transaction is left to whoever began it.

    Django's would end that transaction: a host's own around a call, or a ``TestCase``'s.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def close_left_connections() -> None:
    """Give up connections on which somebody's code has turned autocommit off, and left it so.

    What is written next would be a part of a transaction that nobody ends. It costs no query.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None or connection.in_atomic_block:
            continue
        if connection.settings_dict["AUTOCOMMIT"] and not connection.get_autocommit():
            connection.close()


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Around each job, what Django does around each request: drop connections that broke or are too old."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


CORE_RUNNERS = ("thread", "inline")
"""The runners that the core makes by itself."""


_FRAMEWORKS = ("django.tasks", "django_tasks")


def tasks_framework() -> str | None:
    """The module of the tasks framework: Django's own, else its backport's; None where there is neither."""
    return next((name for name in _FRAMEWORKS if importlib.util.find_spec(name) is not None), None)


def what_is_missing(runner: object) -> str | None:
    """What is not installed and has to be for a runner of that name, and how; None where nothing is missing."""
    if runner == "django_tasks" and tasks_framework() is None:
        return "there is no tasks framework: pip install django-tasks, or use Django 6.0 or newer"
    return missing_package(runner)


def given_runner(runner: str | Callable[[Any], Any], gateway: Any) -> TaskRunner:
    """The runner that ``MPESA["RUNNER"]`` names, where it is none of the core's: it is made of the gateway.

    Raises:
        ConfigurationError: what it needs is not installed.
        TypeError: the factory made something else.
    """
    missing = what_is_missing(runner)
    if missing is not None:
        raise ConfigurationError([f"RUNNER: {runner!r} was chosen, and {missing}"])
    if runner == "celery":
        from mpesa_core.ext.celery import CeleryRunner  # noqa: PLC0415 - the extra may not be installed
        from mpesa_django.tasks import process_callback  # noqa: PLC0415 - likewise

        return CeleryRunner(process_callback)
    if runner == "django_tasks":
        from mpesa_django.background import enqueue  # noqa: PLC0415 - likewise

        return QueueRunner(enqueue)
    made: Any = runner(gateway) if callable(runner) else runner
    if not all(callable(getattr(made, name, None)) for name in ("submit", "start", "stop")):
        raise TypeError(f"MPESA['RUNNER']: the factory made {type(made).__name__}, expected a TaskRunner")
    return cast("TaskRunner", made)
