"""Flask-SQLAlchemy: each app's payments in its own database, in sessions that are never the request's."""

from __future__ import annotations

import pytest

pytest.importorskip("flask", reason="Flask is not installed: pip install 'mpesa-core[flask]'")
pytest.importorskip("flask_sqlalchemy", reason="Flask-SQLAlchemy is not installed: pip install 'mpesa-core[dev]'")

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from mpesa_core.errors import ConfigurationError
from mpesa_core.ext.sqlalchemy import CallbackMixin, Models, TransactionMixin, default_models, prepare_sqlite
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_flask import Mpesa
from tests.flask.hosting import SETTINGS, hearing, make_app, post

db = SQLAlchemy()


class Order(db.Model):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    paid: Mapped[bool] = mapped_column(default=False)


class Payment(TransactionMixin, db.Model):
    __tablename__ = "payments"
    order_id: Mapped[int | None]


class PaymentCallback(CallbackMixin, db.Model):
    __tablename__ = "payment_callbacks"


OWN = Models(Payment, PaymentCallback)
DEFAULT = default_models(db.Model)


@pytest.fixture
def shops(tmp_path):
    """Makes apps on the one ``db``, each with a database of its own."""
    made = []

    def make(name, models, settings=SETTINGS):
        mpesa = Mpesa(repository=lambda app: models.repository(db.engine), runner="inline")
        app = make_app(
            name, settings, extension=mpesa, before=lambda app: _prepare(app, f"sqlite:///{tmp_path / name}.db")
        )
        made.append(app)
        return app, mpesa

    yield make
    for app in made:
        app.extensions["mpesa"].gateway.close()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def _prepare(app, url):
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        prepare_sqlite(db.engine)
        db.create_all()


@pytest.mark.parametrize("models", [OWN, DEFAULT], ids=["the host's", "default"])
def test_two_apps_have_two_databases(shops, models):
    """A callback that came to one app is in that app's database alone, settled under its own short code."""
    one, _ = shops("one", models, {**SETTINGS, "SHORT_CODE": "600001"})
    other, _ = shops("other", models, {**SETTINGS, "SHORT_CODE": "600002"})
    body = posted(c2b_confirmation(short="600001"))
    assert 200 == post(one, "/pay/c2b/confirm/", body).status_code
    found = {}
    for app in (one, other):
        with app.app_context():
            rows = db.session.query(models.transaction).all()
            found[app.name] = [(row.short_code, row.status) for row in rows], db.session.query(models.callback).count()
    assert {"one": ([("600001", "SUCCESS")], 1), "other": ([], 0)} == found


def test_a_payment_outlives_the_rollback_of_its_request(shops):
    """The request's session and the payment know nothing of each other: each is committed or undone by itself."""
    daraja = LocalDaraja()
    with DarajaServer(daraja) as server:
        app, mpesa = shops("shop", OWN, {**SETTINGS, **_upper(daraja.settings(server.base_url))})
        with app.app_context():
            db.session.add(Order(id=7))
            db.session.commit()
            payment = mpesa.stk_push(phone_number="0712345678", amount=5, account_reference="INV-7", order_id=7)
            db.session.add(Order(id=8))
            db.session.flush()
            db.session.rollback()
            assert [7] == [order.id for order in db.session.query(Order)]
            assert 7 == db.session.get(Payment, payment.id).order_id


def test_a_receiver_writes_in_the_apps_own_session(shops):
    """It has the app's session in its context, and the payment is settled whatever becomes of what it writes."""
    app, _ = shops("shop", OWN, {**SETTINGS, "SHORT_CODE": "600001"})
    with app.app_context():
        db.session.add(Order(id=7))
        db.session.commit()

    def mark_paid(sender, transaction, **_):
        db.session.get(Order, 7).paid = True
        db.session.commit()

    with hearing("payment_confirmed", mark_paid, app):
        post(app, "/pay/c2b/confirm/", posted(c2b_confirmation(short="600001")))
    with app.app_context():
        assert db.session.get(Order, 7).paid
        assert ["SUCCESS"] == [row.status for row in db.session.query(Payment)]


def test_the_requests_session_is_refused():
    """A session that views share is no place for payments; the error says what to write."""
    mpesa = Mpesa(repository=lambda app: OWN.repository(db.session))
    with make_app(extension=mpesa).app_context(), pytest.raises(ConfigurationError, match=r"db\.engine"):
        _ = mpesa.gateway


def _upper(settings):
    return {name.upper(): value for name, value in settings.items()}
