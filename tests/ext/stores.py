"""A host's own mapped classes, and databases with their tables."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped

from mpesa_core.ext.sqlalchemy import (
    CallbackMixin,
    InvoiceMixin,
    SqlAlchemyRepository,
    SubscriptionMixin,
    TransactionMixin,
    prepare_sqlite,
)


class Base(DeclarativeBase):
    pass


class Payment(TransactionMixin, Base):
    __tablename__ = "shop_payments"
    order_id: Mapped[int | None]


class Callback(CallbackMixin, Base):
    __tablename__ = "shop_callbacks"


class Bill(InvoiceMixin, Base):
    __tablename__ = "shop_bills"
    pupil: Mapped[int | None]


class Plan(SubscriptionMixin, Base):
    __tablename__ = "shop_plans"
    member: Mapped[int | None]


@contextmanager
def made_engine(url):
    """An engine on a database with the tables; its connections are closed at the end."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        prepare_sqlite(engine)
    try:
        Base.metadata.create_all(engine)
        yield engine
    finally:
        engine.dispose()


def empty_repository(engine):
    """A repository with all four kinds of row, and nothing in it."""
    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(table.delete())
    return repository_on(engine)


def repository_on(engine):
    return SqlAlchemyRepository(
        engine, transaction_model=Payment, callback_model=Callback, invoice_model=Bill, subscription_model=Plan
    )
