"""The abstract models in a project of a host's: its migrations, whatever its app is called, and its Meta."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from mpesa_django.models import AbstractMpesaInvoice, AbstractMpesaTransaction
from tests.django.stores import MODELS, Transaction

ORDERS = "from django.db import models\n\nclass Order(models.Model):\n    pass\n"
MODELS_OF_A_HOST = """
from django.db import models
from django.conf import settings
from mpesa_django.models import AbstractMpesaTransaction, AbstractMpesaCallbackLog
from mpesa_django.models import AbstractMpesaInvoice, AbstractMpesaSubscription

class MpesaTransaction(AbstractMpesaTransaction):
    # Add your domain-specific fields here
    order = models.ForeignKey(
        "orders.Order",
        on_delete=models.PROTECT,
        null=True, blank=True,
    )
    initiated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True, blank=True,
    )

    class Meta(AbstractMpesaTransaction.Meta):
        verbose_name = "M-PESA Transaction"

class MpesaCallbackLog(AbstractMpesaCallbackLog):
    class Meta(AbstractMpesaCallbackLog.Meta):
        verbose_name = "M-PESA Callback Log"

class AnInvoiceOfOurHousehold(AbstractMpesaInvoice):
    pass

class Subscription(AbstractMpesaSubscription):
    pass
"""
LONG = "a_label_that_is_far_longer_than_what_an_index_may_be_called"


def manage(folder, *command):
    """Run a command of a project in the folder; what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", *command],
        cwd=folder,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path):
    """Makes a project with those apps, on SQLite."""

    def make(*apps):
        installed = ["django.contrib.contenttypes", "django.contrib.auth", "mpesa_django", *apps]
        (tmp_path / "project_settings.py").write_text(
            textwrap.dedent(f"""
            SECRET_KEY = "x"
            USE_TZ = True
            DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
            OPTIONS = {{"transaction_mode": "IMMEDIATE"}}
            DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "project.sqlite3", "OPTIONS": OPTIONS}}}}
            INSTALLED_APPS = {installed!r}
            MPESA = {{
                "TRANSACTION_MODEL": "{apps[-1].rpartition(".")[2]}.MpesaTransaction",
                "CALLBACK_LOG_MODEL": "{apps[-1].rpartition(".")[2]}.MpesaCallbackLog",
            }}
            """)
        )
        return tmp_path

    return make


def app(folder, name, models):
    """Make an app."""
    (folder / name / "migrations").mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    (folder / name / "migrations" / "__init__.py").touch()
    (folder / name / "models.py").write_text(models)


@pytest.mark.parametrize("label", ["myapp", LONG])
def test_a_host_makes_its_migrations(project, label):
    """The models of the introduction, as written: one migration, no warning, and nothing left to migrate."""
    folder = project("orders", label)
    app(folder, "orders", ORDERS)
    app(folder, label, MODELS_OF_A_HOST)
    manage(folder, "makemigrations")
    manage(folder, "migrate")
    assert "No changes detected" in manage(folder, "makemigrations", "--check")
    assert "no issues" in manage(folder, "check", "--fail-level", "WARNING")
    assert ["0001_initial.py", "__init__.py"] == sorted(
        each.name for each in (folder / label / "migrations").glob("*.py")
    )


def test_the_default_models_are_migrated(project):
    """Their migration makes their tables, and is up to date with the models."""
    folder = project("mpesa_django.default_models")
    assert "default_models.0001_initial... OK" in manage(folder, "migrate")
    assert "No changes detected" in manage(folder, "makemigrations", "--check")


def test_a_meta_that_was_not_inherited():
    """Without it a receipt could be settled twice: a system check says what to write."""

    class Bare(AbstractMpesaTransaction):
        class Meta:
            app_label = "bare"

    class Indexless(AbstractMpesaInvoice):
        class Meta(AbstractMpesaInvoice.Meta):
            app_label = "bare"
            indexes = []

    for model, base in ((Bare, "AbstractMpesaTransaction"), (Indexless, "AbstractMpesaInvoice")):
        (error,) = [each for each in model.check(databases=[]) if each.id == "mpesa_django.E006"]
        assert f"class Meta({base}.Meta)" in error.hint


@pytest.mark.parametrize("model", MODELS)
def test_a_model_passes_djangos_checks(model):
    """There is nothing to say of the models of a host that inherits Meta."""
    # The app of the order is not installed, which Django has to say.
    assert [] == [each for each in model.check(databases=[]) if each.id != "fields.E300"]


def test_a_proxy_of_a_model():
    """It has the keys and indexes of the model whose table it shows."""

    class Late(Transaction):
        class Meta:
            proxy = True
            app_label = "store"

    assert "mpesa_django.E006" not in {each.id for each in Late.check(databases=[])}
