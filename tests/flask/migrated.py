"""A Flask-Migrate shop, as a program: its first migration is written and run, and what a second one finds is told.

``python migrated.py FOLDER DATABASE_URL`` prints what a second migration would still do, one line for each thing.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import flask_migrate
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped

from mpesa_core.ext.sqlalchemy import CallbackMixin, TransactionMixin, default_models, render_item
from mpesa_core.testing.contract import transaction_draft

db = SQLAlchemy()
defaults = default_models(db.Model)


class Payment(TransactionMixin, db.Model):
    __tablename__ = "payments"
    order_id: Mapped[int | None]


class PaymentCallback(CallbackMixin, db.Model):
    __tablename__ = "payment_callbacks"


def main(folder: str, url: str) -> None:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    flask_migrate.Migrate(app, db, directory=folder, render_item=render_item)
    with app.app_context():
        flask_migrate.init()
        flask_migrate.migrate(message="first")
        flask_migrate.upgrade()
        with db.engine.connect() as connection:
            for difference in compare_metadata(MigrationContext.configure(connection), db.metadata):
                print("left:", difference)
        with db.engine.connect() as connection:
            kept = defaults.repository(db.engine).add(transaction_draft(amount=Decimal("12.50")))
            print("kept:", kept.amount, kept.initiated_at.tzinfo)
        flask_migrate.migrate(message="second")
        flask_migrate.downgrade()
    print("written:", len(list((Path(folder) / "versions").glob("*.py"))))


if __name__ == "__main__":
    main(*sys.argv[1:])
