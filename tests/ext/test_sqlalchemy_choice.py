"""Default models: made on any base, kept apart by it, and a repository on them."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import DeclarativeBase, Session

from mpesa_core.errors import ConfigurationError
from mpesa_core.ext.sqlalchemy import Models, default_models, prepare_sqlite
from mpesa_core.testing.contract import callback_draft, transaction_draft


def a_base():
    class Base(DeclarativeBase):
        pass

    return Base


def flask_base():
    db = pytest.importorskip("flask_sqlalchemy", reason="Flask-SQLAlchemy is not installed").SQLAlchemy()
    return db.Model


@pytest.fixture
def engine(tmp_path):
    engine = prepare_sqlite(create_engine(f"sqlite:///{tmp_path / 'shop.db'}"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("made", [a_base, flask_base])
def test_default_models_keep_rows_of_every_kind(made, engine):
    """On plain SQLAlchemy's base and on Flask-SQLAlchemy's, the four tables are there and hold what they are given."""
    base = made()
    models = default_models(base)
    base.metadata.create_all(engine)
    expected = {"mpesa_transactions", "mpesa_callbacks", "mpesa_invoices", "mpesa_subscriptions"}
    assert expected == set(inspect(engine).get_table_names())
    repository = models.repository(engine)
    draft = transaction_draft(account_reference="INV-1")
    row = repository.add(draft)
    assert (models.transaction, "INV-1") == (type(row), row.account_reference)
    repository.add_callback(callback_draft())
    with Session(engine) as session:
        assert "INV-1" == session.get(models.transaction, draft.id).account_reference
        assert 1 == session.query(models.callback).count()
    assert callable(repository.add_invoice)
    assert callable(repository.add_subscription)


def test_two_bases_have_classes_and_tables_of_their_own():
    """What is made for one base is not another's; the names of the tables begin as they are told to."""
    one, two = a_base(), a_base()
    first, second = default_models(one), default_models(two, prefix="till_")
    assert first.transaction is not second.transaction
    assert "till_transactions" == second.transaction.__tablename__
    assert "till_transactions" not in one.metadata.tables


def test_twice_for_one_base_is_refused():
    """A table is defined once; with another prefix the same base has a second set."""
    base = a_base()
    default_models(base)
    with pytest.raises(ConfigurationError, match="mpesa_transactions"):
        default_models(base)
    assert "TillTransaction" == default_models(base, prefix="till_").transaction.__name__


def test_the_hosts_classes_may_leave_invoices_out(engine):
    """With two classes there are payments and callbacks, and no invoices."""
    made = default_models(a_base())
    repository = Models(made.transaction, made.callback).repository(engine)
    assert not hasattr(repository, "add_invoice")
    assert not hasattr(repository, "add_subscription")


def test_a_class_without_its_mixin_is_named(engine):
    """A callback class where the transaction's belongs is refused, with what was expected."""
    made = default_models(a_base())
    with pytest.raises(ConfigurationError, match="TransactionMixin"):
        Models(made.callback, made.callback).repository(engine)
