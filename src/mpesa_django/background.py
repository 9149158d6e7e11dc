"""The task of ``RUNNER = "django_tasks"``: Django's own tasks framework, or its backport where Django has none yet."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mpesa_core.queues import process_job
from mpesa_django.front import front
from mpesa_django.runners import fresh_connections, tasks_framework

__all__ = ["enqueue", "process_callback"]

_task: Callable[[Callable[[str], str]], Any] = importlib.import_module(tasks_framework() or "django.tasks").task


@_task
def process_callback(callback_id: str) -> str:
    """Process one recorded callback, by its id as text; a task of the backend and the queue called ``default``."""
    return process_job(front.gateway.process, callback_id)


def enqueue(callback_id: str) -> None:
    """Hand a callback to the framework's backend, which may keep its jobs in the database."""
    with fresh_connections():
        process_callback.enqueue(callback_id)
