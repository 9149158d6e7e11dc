"""A small shop on Flask and Flask-SQLAlchemy."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, g, redirect, render_template, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.wrappers import Response as AnyResponse

from mpesa_core import signals
from mpesa_core.errors import DarajaError, InvalidField, NotSent
from mpesa_core.ext.sqlalchemy import CallbackMixin, Models, TransactionMixin, prepare_sqlite
from mpesa_core.values import phone_number
from mpesa_flask import Mpesa, operations_page

PAGES = Path(__file__).resolve().parent.parent / "shop_pages"
PRODUCTS = {
    "coffee": {"name": "Nyeri coffee", "price": 650, "about": "Whole beans, 250 g, roasted on Tuesdays."},
    "tea": {"name": "Kericho tea", "price": 320, "about": "Loose leaves, 200 g, picked by hand."},
    "honey": {"name": "Baringo honey", "price": 480, "about": "Half a kilo, from acacia trees."},
}
WHY = {
    "cancelled": "The request was cancelled on the phone.",
    "expired": "Nobody entered the PIN in time.",
    "denied": "M-PESA refused it: see to the PIN, and to the balance.",
}

db = SQLAlchemy()


class Order(db.Model):
    """What somebody wants, and how it stands: new, waiting, paid, failed or unknown."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    checkout: Mapped[str] = mapped_column(unique=True)  # the form that it came by
    customer: Mapped[str] = mapped_column(index=True)
    product: Mapped[str]
    amount: Mapped[int]
    state: Mapped[str] = mapped_column(default="new")
    why: Mapped[str] = mapped_column(default="")
    receipt: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)


class Payment(TransactionMixin, db.Model):
    """A payment, of which order and of which attempt."""

    __tablename__ = "payments"
    order_id: Mapped[int | None]
    attempt: Mapped[int | None]


class PaymentCallback(CallbackMixin, db.Model):
    """A callback as it came."""

    __tablename__ = "payment_callbacks"


payments = Models(Payment, PaymentCallback)
pages = Blueprint("pages", __name__)
mpesa = Mpesa(repository=lambda _app: payments.repository(db.engine))


def create_app(config: Mapping[str, Any]) -> Flask:
    """The shop.

    Args:
        config: ``SQLALCHEMY_DATABASE_URI``, and the ``MPESA`` settings.
    """
    app = Flask("duka", template_folder=str(PAGES), static_folder=str(PAGES / "static"), static_url_path="/static")
    app.config.update(config)
    db.init_app(app)
    mpesa.init_app(app)
    with app.app_context():
        prepare_sqlite(db.engine)
        db.create_all()
    app.register_blueprint(pages)
    app.register_blueprint(operations_page(staff_only), url_prefix="/staff/payments")
    signals.payment_confirmed.connect(mark_paid, sender=app)
    signals.payment_failed.connect(mark_unpaid, sender=app)
    return app


# What M-PESA says


def mark_paid(_app: Flask, transaction: Payment, **_more: Any) -> None:
    """The order is paid, once."""
    _mark(Order.id == transaction.order_id, state="paid", receipt=transaction.mpesa_receipt_number)


def mark_unpaid(_app: Flask, transaction: Payment, *, outcome_known: bool = True, **_more: Any) -> None:
    """The attempt came to nothing, unless a newer one is under way; or nobody knows, and nobody must pay again."""
    _mark(
        Order.id == transaction.order_id,
        Order.attempts == transaction.attempt,
        Order.state != "paid",
        state="failed" if outcome_known else "unknown",
        why=WHY.get(transaction.reason or "", "M-PESA did not take the payment."),
    )


def _mark(*which: Any, **values: Any) -> None:
    db.session.execute(update(Order).where(*which).values(**values))
    db.session.commit()


# The pages


@pages.before_request
def know_the_customer() -> None:
    """Orders belong to a browser: to the cookie that the first order left there."""
    g.customer = request.cookies.get("customer") or secrets.token_urlsafe(24)


@pages.get("/")
def products() -> str:
    """Everything there is to buy."""
    return render_template("products.html", products=PRODUCTS)


@pages.route("/products/<slug>", methods=["GET", "POST"])
def product(slug: str) -> AnyResponse | str:
    """One product, and the form that buys it. The same form sent twice is the same order, and one prompt."""
    wanted = PRODUCTS.get(slug) or abort(404)
    checkout, phone, error = request.form.get("checkout", uuid.uuid4().hex), request.form.get("phone", ""), ""
    if request.method == "POST":
        number, error = _read(phone)
        if number:
            made = Order(checkout=checkout, customer=g.customer, product=slug, amount=wanted["price"])
            db.session.add(made)
            try:
                db.session.commit()
            except IntegrityError:
                db.session.rollback()
                made = _mine(Order.checkout == checkout)
            return _pay(made, number)
    return render_template("product.html", slug=slug, product=wanted, checkout=checkout, phone=phone, error=error)


@pages.get("/orders")
def orders() -> str:
    """The orders of whoever uses this browser."""
    mine = select(Order).where(Order.customer == g.customer).order_by(Order.id.desc())
    return render_template("orders.html", orders=db.session.scalars(mine).all(), products=PRODUCTS)


@pages.route("/orders/<int:number>", methods=["GET", "POST"])
def order(number: int) -> AnyResponse | str:
    """How an order stands; where its payment failed, it can be tried again."""
    mine, error = _mine(Order.id == number), ""
    if request.method == "POST":
        phone, error = _read(request.form.get("phone", ""))
        if phone:
            return _pay(mine, phone)
    return render_template("order.html", order=mine, product=PRODUCTS[mine.product], error=error)


def _mine(which: Any) -> Order:
    found = db.session.scalar(select(Order).where(which, Order.customer == g.customer))
    return found or abort(404)


def _read(phone: str) -> tuple[str, str]:
    """The number in M-PESA's form, or what is wrong with it."""
    try:
        return phone_number(phone), ""
    except InvalidField:
        return "", "This is no Kenyan mobile number. Write it like 0712 345 678."


def _pay(wanted: Order, phone: str) -> AnyResponse:
    """Ask the phone for the PIN, unless an attempt is under way or may have been paid."""
    number, attempt = wanted.id, wanted.attempts + 1
    claimed = db.session.execute(
        update(Order)
        .where(Order.id == number, Order.attempts == attempt - 1, Order.state.in_(("new", "failed")))
        .values(attempts=attempt, state="waiting", why="")
    )
    amount = wanted.amount
    db.session.commit()  # before money is asked for: the payment is recorded by itself
    if claimed.rowcount:
        try:
            mpesa.stk_push(
                phone_number=phone,
                amount=amount,
                account_reference=f"ORDER-{number}",
                idempotency_key=f"order {number}, attempt {attempt}",
                order_id=number,
                attempt=attempt,
            )
        except (NotSent, DarajaError):  # for certain nothing was taken; what is not certain is no error, and waits
            why = "M-PESA could not be reached. Nothing was taken; try again in a moment."
            _mark(Order.id == number, Order.attempts == attempt, Order.state == "waiting", state="failed", why=why)
    answer = redirect(f"/orders/{number}", 303)
    answer.set_cookie("customer", g.customer, max_age=31_536_000, httponly=True, samesite="Lax")
    return answer


def staff_only(view: Callable[[], AnyResponse]) -> Callable[[], AnyResponse]:
    """Keep everybody else from the operations page. A real shop has a login."""

    @wraps(view)
    def guarded() -> AnyResponse:
        given = request.authorization
        if given is None or not hmac.compare_digest(f"{given.username}:{given.password}", "staff:staff"):
            return Response("For staff alone.", 401, {"WWW-Authenticate": 'Basic realm="staff"'})
        return view()

    return guarded
