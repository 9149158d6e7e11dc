"""The runners ``celery`` and ``rq``: by what the app has of that name in ``app.extensions``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from mpesa_core.errors import ConfigurationError, MpesaError
from mpesa_core.queues import QUEUES, QueueRunner, missing_package, process_job

if TYPE_CHECKING:
    from mpesa_core.gateway import Gateway

__all__ = ["check_queue", "process_callback", "queue_runner"]


def process_callback(callback_id: str) -> str:
    """RQ's job: process one callback, in an app context that the worker runs in."""
    return process_job(lambda each: _gateway().process(each), callback_id)


def check_queue(runner: object) -> None:
    """See to it that a queue can work, and that this process, a worker perhaps, knows Celery's tasks."""
    if (missing := missing_package(runner)) is not None:
        raise ConfigurationError([f"runner: {runner!r} was chosen, and {missing}"])
    if runner == "celery":
        _share_celery_tasks()


@cache
def _share_celery_tasks() -> None:
    from mpesa_core.ext.celery import make_tasks  # noqa: PLC0415 - the extra may not be installed

    make_tasks(None, _gateway, prefix="mpesa_flask")


def queue_runner(name: str, app: Flask) -> QueueRunner:
    """The runner of an app's own queue.

    Raises:
        ConfigurationError: the app has none.
    """
    if (found := app.extensions.get(name)) is None:
        raise ConfigurationError([f"runner: {name!r} was chosen; expected {QUEUES[name]} in app.extensions[{name!r}]"])
    if name == "celery":
        from mpesa_core.ext.celery import CeleryRunner  # noqa: PLC0415 - the extra may not be installed

        return CeleryRunner(found.tasks["mpesa_flask.process_callback"])
    from mpesa_core.ext.rq import RqRunner  # noqa: PLC0415 - likewise

    return RqRunner(found, process_callback)


def _gateway() -> Gateway:
    if not current_app:
        raise MpesaError("the worker has no app context; let it work inside of `with app.app_context():`")
    return cast("Gateway", current_app.extensions["mpesa"].gateway)
