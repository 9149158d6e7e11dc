"""Payments in the host's own SQLAlchemy models: mixins for the models, and the repository on them.

::

    class Payment(TransactionMixin, Base):
        __tablename__ = "payments"
        order_id: Mapped[int | None]


    class Callback(CallbackMixin, Base):
        __tablename__ = "payment_callbacks"


    repository = SqlAlchemyRepository(engine, transaction_model=Payment, callback_model=Callback)

A host without columns of its own has its classes made by ``default_models(Base)``.

It works with PostgreSQL, SQLite, MySQL and MariaDB, by the synchronous drivers. It needs the extra ``sqlalchemy``.
"""

from __future__ import annotations

from mpesa_core.ext.sqlalchemy.choice import Models, default_models
from mpesa_core.ext.sqlalchemy.migrations import render_item
from mpesa_core.ext.sqlalchemy.models import CallbackMixin, InvoiceMixin, SubscriptionMixin, TransactionMixin
from mpesa_core.ext.sqlalchemy.operations import prepare_sqlite
from mpesa_core.ext.sqlalchemy.repository import SqlAlchemyRepository

__all__ = [
    "CallbackMixin",
    "InvoiceMixin",
    "Models",
    "SqlAlchemyRepository",
    "SubscriptionMixin",
    "TransactionMixin",
    "default_models",
    "prepare_sqlite",
    "render_item",
]
