"""The Celery tasks: ``app.autodiscover_tasks()`` finds them here.

They are registered with whatever Celery app the project has. ``mpesa_django.sweep`` is for beat::

    CELERY_BEAT_SCHEDULE = {"mpesa": {"task": "mpesa_django.sweep", "schedule": 5.0}}
"""

from __future__ import annotations

from mpesa_core.ext.celery import make_tasks
from mpesa_django.front import front

__all__ = ["process_callback", "sweep"]

_tasks = make_tasks(None, lambda: front.gateway, prefix="mpesa_django")
process_callback = _tasks.process
"""Processes one callback, by its id as text."""
sweep = _tasks.sweep
"""One round of recovery and reconciliation."""
