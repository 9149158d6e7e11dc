"""Who works on callbacks once they were acknowledged: the core's runners, with Django's connections looked after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.db import close_old_connections

from mpesa_core.errors import ConfigurationError
from mpesa_core.queues import missing_package
from mpesa_core.tasks import TaskRunner

__all__ = ["CORE_RUNNERS", "fresh_connections", "given_runner"]


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


def given_runner(runner: str | Callable[[Any], Any], gateway: Any) -> TaskRunner:
    """The runner that ``MPESA["RUNNER"]`` names, where it is none of the core's: it is made of the gateway.

    Raises:
        ConfigurationError: what it needs is not installed.
        TypeError: the factory made something else.
    """
    missing = missing_package(runner)
    if missing is not None:
        raise ConfigurationError([f"RUNNER: {runner!r} was chosen, and {missing}"])
    if runner == "celery":
        from mpesa_core.ext.celery import CeleryRunner  # noqa: PLC0415 - the extra may not be installed
        from mpesa_django.tasks import process_callback  # noqa: PLC0415 - likewise

        return CeleryRunner(process_callback)
    made: Any = runner(gateway) if callable(runner) else runner
    if not all(callable(getattr(made, name, None)) for name in ("submit", "start", "stop")):
        raise TypeError(f"MPESA['RUNNER']: the factory made {type(made).__name__}, expected a TaskRunner")
    return cast("TaskRunner", made)
