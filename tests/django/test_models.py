"""The abstract models in a project of a host's: its migrations, whatever its app is called, and its Meta."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from mpesa_django.models import AbstractMpesaInvoice, AbstractMpesaTransaction
from tests.django.projects import MODELS as MODELS_OF_A_HOST
from tests.django.projects import make_app, make_project, manage
from tests.django.stores import MODELS, Transaction

ORDERS = "from django.db import models\n\nclass Order(models.Model):\n    pass\n"
MORE_MODELS = """
from mpesa_django.models import AbstractMpesaInvoice, AbstractMpesaSubscription

class AnInvoiceOfOurHousehold(AbstractMpesaInvoice):
    pass

class Subscription(AbstractMpesaSubscription):
    pass
"""
LONG = "a_label_that_is_far_longer_than_what_an_index_may_be_called"


@pytest.mark.parametrize("label", ["myapp", LONG])
def test_a_host_makes_its_migrations(tmp_path, label):
    """The models of the introduction, as written: one migration, no warning, and nothing left to migrate."""
    folder = make_project(tmp_path, "orders", label)
    make_app(folder, "orders", models=ORDERS)
    make_app(folder, label, models=MODELS_OF_A_HOST + MORE_MODELS)
    manage(folder, "makemigrations")
    manage(folder, "migrate")
    assert "No changes detected" in manage(folder, "makemigrations", "--check")
    assert "no issues" in manage(folder, "check", "--fail-level", "WARNING")
    assert ["0001_initial.py", "__init__.py"] == sorted(
        each.name for each in (folder / label / "migrations").glob("*.py")
    )


def test_the_default_models_are_migrated(tmp_path):
    """Their migration makes their tables, and is up to date with the models."""
    folder = make_project(tmp_path, "mpesa_django.default_models")
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
