"""The Celery app, as Celery's "First steps with Django" has it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.queueshop.settings")

app = Celery("queueshop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
