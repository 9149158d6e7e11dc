"""A Django project for the tests of the adapter's front: settings, and a gateway in memory over a local Daraja.

Importing it configures Django, where nobody has.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.test import Client, override_settings

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import LocalDaraja

SAFARICOM = "196.201.214.200"
MPESA = {"TRANSACTION_MODEL": "tillshop.Transaction", "CALLBACK_LOG_MODEL": "tillshop.Callback", "RUNNER": "inline"}

if not settings.configured:
    settings.configure(
        SECRET_KEY="of no importance",
        ALLOWED_HOSTS=["testserver"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True},
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "mpesa_django",
            "mpesa_django.default_models",
            "tests.django.tillshop",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        STATIC_URL="/static/",
        ROOT_URLCONF="tests.django.tillshop.urls",
        USE_TZ=True,
        MPESA=MPESA,
    )
    django.setup()

# Both need Django to be configured.
from mpesa_django import front as front_module  # noqa: E402
from tests.django.tillshop.models import Callback, Transaction  # noqa: E402

__all__ = ["MPESA", "ON_TABLES", "SAFARICOM", "Callback", "Transaction", "post", "taking_money"]

ON_TABLES = object()
"""The repository that the settings make, on the models that they name."""


def post(path: str, body: bytes = b"{}", **extra: Any) -> Any:
    """A callback through Django's handler, with its CSRF checks; the response is closed, as a server closes it."""
    client = Client(enforce_csrf_checks=True, REMOTE_ADDR=SAFARICOM)
    return client.post(path, data=body, content_type="application/json", **extra)


@contextmanager
def taking_money(monkeypatch: Any, repository: Any = None, **mpesa: Any) -> Any:
    """The project with a local Daraja behind ``mpesa``, whose callbacks go through Django's handler; yields both."""
    repository = MemoryRepository() if repository is None else repository
    if repository is not ON_TABLES:
        monkeypatch.setattr(front_module, "_repository", lambda _models: repository)

    def deliver(url: str, body: bytes) -> HttpResponse:
        answer = post(urlsplit(url).path, body)
        return HttpResponse(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

    daraja = LocalDaraja(post=deliver)
    given = {name.upper(): value for name, value in daraja.settings().items()}
    with override_settings(MPESA={**MPESA, **given, "CALLBACK_BASE_URL": "https://shop.example/pay/", **mpesa}):
        gateway = front_module.front.gateway
        monkeypatch.setattr(gateway, "client", client := DarajaClient.over(daraja.handle, gateway.settings))
        monkeypatch.setattr(gateway._driver, "_client", client)
        yield daraja, gateway.repository
