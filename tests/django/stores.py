"""Models of a host's own, databases that are made while the tests run, and the repositories on them.

Importing it configures Django, where nobody has.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import contextmanager

import django
from django.conf import settings
from django.db import connections, models

if not settings.configured:
    if importlib.util.find_spec("tests.django.hosting"):  # the project of the other tests
        importlib.import_module("tests.django.hosting")
    else:
        default = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(INSTALLED_APPS=["mpesa_django"], DATABASES={"default": default}, USE_TZ=True)
        django.setup()

# What follows needs Django to be configured.
from mpesa_django.models import (
    AbstractMpesaCallbackLog,
    AbstractMpesaInvoice,
    AbstractMpesaSubscription,
    AbstractMpesaTransaction,
)
from mpesa_django.repository import DjangoRepository

__all__ = ["MODELS", "Callback", "Invoice", "Order", "Subscription", "Transaction", "empty_repository", "made_database"]


class Order(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        app_label = "store"

    def __str__(self):
        return self.name


class Transaction(AbstractMpesaTransaction):
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True)
    note = models.CharField(max_length=20, default="")

    class Meta(AbstractMpesaTransaction.Meta):
        app_label = "store"


class Callback(AbstractMpesaCallbackLog):
    class Meta(AbstractMpesaCallbackLog.Meta):
        app_label = "store"


class Invoice(AbstractMpesaInvoice):
    pupil = models.IntegerField(null=True)

    class Meta(AbstractMpesaInvoice.Meta):
        app_label = "store"


class Subscription(AbstractMpesaSubscription):
    member = models.IntegerField(null=True)

    class Meta(AbstractMpesaSubscription.Meta):
        app_label = "store"


MODELS = (Transaction, Callback, Invoice, Subscription)


@contextmanager
def made_database(alias, **server):
    """A database that Django knows under the alias meanwhile, with the tables of the models."""
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: server})[alias]
    with connections[alias].schema_editor() as editor:
        for model in (Order, *MODELS):
            editor.create_model(model)
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def empty_repository(alias):
    """A repository on the database, with nothing in it."""
    for model in (*MODELS, Order):
        model._base_manager.using(alias).all().delete()
    return DjangoRepository(*MODELS, using=alias)
