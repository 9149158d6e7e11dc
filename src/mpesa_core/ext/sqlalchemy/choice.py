"""Which classes the rows are of: the host's own, or ones made for a host that needs no columns of its own."""

from __future__ import annotations

import types
from typing import Any

import attrs
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from mpesa_core.errors import ConfigurationError
from mpesa_core.ext.sqlalchemy.models import CallbackMixin, InvoiceMixin, SubscriptionMixin, TransactionMixin
from mpesa_core.ext.sqlalchemy.repository import SqlAlchemyRepository

__all__ = ["Models", "default_models"]


@attrs.frozen
class Models:
    """The mapped classes that payments are kept in.

    Attributes:
        transaction: a class with :class:`~mpesa_core.ext.sqlalchemy.TransactionMixin`.
        callback: one with :class:`~mpesa_core.ext.sqlalchemy.CallbackMixin`.
        invoice: one with :class:`~mpesa_core.ext.sqlalchemy.InvoiceMixin`; without it there are no invoices.
        subscription: one with :class:`~mpesa_core.ext.sqlalchemy.SubscriptionMixin`; likewise.
    """

    transaction: type[Any]
    callback: type[Any]
    invoice: type[Any] | None = None
    subscription: type[Any] | None = None

    def repository(self, engine_or_sessionmaker: Engine | sessionmaker[Any]) -> SqlAlchemyRepository:
        """The repository on them; see :class:`~mpesa_core.ext.sqlalchemy.SqlAlchemyRepository`.

        Raises:
            ConfigurationError: a class lacks its mixin, or the engine is something else.
        """
        return SqlAlchemyRepository(
            engine_or_sessionmaker,
            transaction_model=self.transaction,
            callback_model=self.callback,
            invoice_model=self.invoice,
            subscription_model=self.subscription,
        )


def default_models(base: type[Any], *, prefix: str = "mpesa_") -> Models:
    """Make all four classes, with no columns beside the core's.

    Call it once for a base, where your own classes are defined, so that migrations find the tables.

    Args:
        base: your declarative base; with Flask-SQLAlchemy ``db.Model``.
        prefix: of the tables' names, which go on with ``transactions``, ``callbacks``, ``invoices`` and
            ``subscriptions``.

    Raises:
        ConfigurationError: the base has a table of such a name already.
    """
    mixins = {
        "transaction": TransactionMixin,
        "callback": CallbackMixin,
        "invoice": InvoiceMixin,
        "subscription": SubscriptionMixin,
    }
    if taken := sorted({f"{prefix}{name}s" for name in mixins} & set(base.metadata.tables)):
        raise ConfigurationError(
            [f"{table}: the base has such a table; make default models once, or with another prefix" for table in taken]
        )

    def made(name: str, mixin: type[Any]) -> type[Any]:
        body = {"__tablename__": f"{prefix}{name}s", "__module__": base.__module__, "__doc__": mixin.__doc__}
        class_name = f"{prefix}{name}".title().replace("_", "")
        return types.new_class(class_name, (mixin, base), {}, lambda namespace: namespace.update(body))

    return Models(**{name: made(name, mixin) for name, mixin in mixins.items()})
