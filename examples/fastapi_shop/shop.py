"""A small shop on FastAPI and SQLAlchemy."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from mpesa_core import Gateway, Settings, WebhookRequest, Webhooks, signals
from mpesa_core.errors import DarajaError, InvalidField, NotSent
from mpesa_core.ext.sqlalchemy import CallbackMixin, Models, TransactionMixin, prepare_sqlite
from mpesa_core.signals import BlinkerBus
from mpesa_core.values import phone_number

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
templates = Jinja2Templates(PAGES)


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
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


class Payment(TransactionMixin, Base):
    """A payment, of which order and of which attempt."""

    __tablename__ = "payments"
    order_id: Mapped[int | None]
    attempt: Mapped[int | None]


class PaymentCallback(CallbackMixin, Base):
    """A callback as it came."""

    __tablename__ = "payment_callbacks"


payments = Models(Payment, PaymentCallback)


def customer_of(customer: Annotated[str | None, Cookie()] = None) -> str:
    """Orders belong to a browser: to the cookie that the first order left there."""
    return customer or secrets.token_urlsafe(24)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was posted."""
    return {name: values[-1] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}


Customer = Annotated[str, Depends(customer_of)]
Form = Annotated[dict[str, str], Depends(form_of)]


class Shop:
    """Orders, and the payments for them.

    Args:
        database: an SQLAlchemy URL.
        settings: M-PESA's.
    """

    def __init__(self, database: str, settings: Settings) -> None:
        self.engine = prepare_sqlite(create_engine(database))
        Base.metadata.create_all(self.engine)
        self.gateway = Gateway(settings, payments.repository(self.engine), bus=BlinkerBus(self))
        self.webhooks = Webhooks(self.gateway)
        signals.payment_confirmed.connect(self.mark_paid, sender=self)
        signals.payment_failed.connect(self.mark_unpaid, sender=self)

    def mark_paid(self, _shop: Shop, transaction: Payment, **_more: Any) -> None:
        """The order is paid, once."""
        self._mark(Order.id == transaction.order_id, state="paid", receipt=transaction.mpesa_receipt_number)

    def mark_unpaid(
        self,
        _shop: Shop,
        transaction: Payment,
        *,
        outcome_known: bool = True,
        **_more: Any,
    ) -> None:
        """The attempt came to nothing, unless a newer one is under way; or nobody knows, and nobody must pay again."""
        self._mark(
            Order.id == transaction.order_id,
            Order.attempts == transaction.attempt,
            Order.state != "paid",
            state="failed" if outcome_known else "unknown",
            why=WHY.get(transaction.reason or "", "M-PESA did not take the payment."),
        )

    def _mark(self, *which: Any, **values: Any) -> bool:
        with Session(self.engine) as session:
            changed: Any = session.execute(update(Order).where(*which).values(**values))
            session.commit()
            return bool(changed.rowcount)

    def order(self, *which: Any) -> Order:
        """One order.

        Raises:
            HTTPException: there is none.
        """
        with Session(self.engine) as session:
            found = session.scalar(select(Order).where(*which))
        if found is None:
            raise HTTPException(404)
        return found

    def orders(self, customer: str) -> list[Order]:
        """The orders of a customer, the last one first."""
        with Session(self.engine) as session:
            return list(session.scalars(select(Order).where(Order.customer == customer).order_by(Order.id.desc())))

    def made(self, checkout: str, customer: str, product: str) -> Order:
        """The order of a form; the same form sent twice is the same order."""
        with Session(self.engine, expire_on_commit=False) as session:
            wanted = Order(checkout=checkout, customer=customer, product=product, amount=PRODUCTS[product]["price"])
            session.add(wanted)
            try:
                session.commit()
            except IntegrityError:
                return self.order(Order.checkout == checkout, Order.customer == customer)
            return wanted

    def pay(self, order: Order, phone: str) -> None:
        """Ask the phone for the PIN, unless an attempt is under way or may have been paid."""
        attempt = order.attempts + 1
        free = Order.id == order.id, Order.attempts == order.attempts, Order.state.in_(("new", "failed"))
        if not self._mark(*free, attempts=attempt, state="waiting", why=""):
            return
        try:
            self.gateway.stk_push(
                phone_number=phone,
                amount=order.amount,
                account_reference=f"ORDER-{order.id}",
                idempotency_key=f"order {order.id}, attempt {attempt}",
                order_id=order.id,
                attempt=attempt,
            )
        except (NotSent, DarajaError):  # for certain nothing was taken; what is not certain is no error, and waits
            why = "M-PESA could not be reached. Nothing was taken; try again in a moment."
            self._mark(
                Order.id == order.id, Order.attempts == attempt, Order.state == "waiting", state="failed", why=why
            )


def create_app(database: str, settings: Settings) -> FastAPI:
    """The shop as an ASGI application.

    Args:
        database: an SQLAlchemy URL.
        settings: M-PESA's; ``callback_base_url`` ends in ``/pay/``.
    """
    shop = Shop(database, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with shop.gateway:
            shop.gateway.start()  # works on callbacks, recovers and reconciles
            yield
        shop.engine.dispose()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=PAGES / "static"))

    @app.api_route("/pay/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    async def callback(path: str, request: Request) -> Response:
        """What M-PESA posts: recorded before it is answered."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > settings.max_body_bytes:
                break  # it is refused, and read no further
        answer = await shop.webhooks.areceive(
            WebhookRequest(
                method=request.method,
                path=path,
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
                body=bytes(body),
                peer=request.client.host if request.client else "",
            )
        )
        return Response(answer.body, answer.status, dict(answer.headers))

    @app.get("/")
    def products(request: Request) -> HTMLResponse:
        """Everything there is to buy."""
        return _page(request, "products.html", products=PRODUCTS)

    @app.get("/products/{slug}")
    def product(request: Request, slug: str) -> HTMLResponse:
        """One product, and the form that buys it."""
        return _product(request, slug, {})

    @app.post("/products/{slug}")
    def buy(request: Request, slug: str, form: Form, customer: Customer) -> Response:
        """The same form sent twice is the same order, and one prompt."""
        phone, error = _read(form)
        if slug not in PRODUCTS or error:
            return _product(request, slug, form, error)
        made = shop.made(form.get("checkout") or uuid.uuid4().hex, customer, slug)
        shop.pay(made, phone)
        return _to_order(made, customer)

    @app.get("/orders")
    def orders(request: Request, customer: Customer) -> HTMLResponse:
        """The orders of whoever uses this browser."""
        return _page(request, "orders.html", orders=shop.orders(customer), products=PRODUCTS)

    @app.get("/orders/{number}")
    def order(request: Request, number: int, customer: Customer) -> HTMLResponse:
        """How an order stands."""
        mine = shop.order(Order.id == number, Order.customer == customer)
        return _page(request, "order.html", order=mine, product=PRODUCTS[mine.product], error="")

    @app.post("/orders/{number}")
    def try_again(request: Request, number: int, form: Form, customer: Customer) -> Response:
        """Where the payment failed, it can be tried again."""
        mine = shop.order(Order.id == number, Order.customer == customer)
        phone, error = _read(form)
        if error:
            return _page(request, "order.html", order=mine, product=PRODUCTS[mine.product], error=error)
        shop.pay(mine, phone)
        return _to_order(mine, customer)

    return app


def settings_of(given: Mapping[str, Any], port: int) -> Settings:
    """M-PESA's settings for a shop on this machine."""
    url = f"http://127.0.0.1:{port}/pay/"
    return Settings.load({**given, "callback_base_url": url, "callback_ip_allowlist": ["127.0.0.1"]})


def _page(request: Request, name: str, **shown: Any) -> HTMLResponse:
    return templates.TemplateResponse(request, name, shown)


def _product(request: Request, slug: str, form: Mapping[str, str], error: str = "") -> HTMLResponse:
    if slug not in PRODUCTS:
        raise HTTPException(404)
    checkout, phone = form.get("checkout", uuid.uuid4().hex), form.get("phone", "")
    shown = {"slug": slug, "product": PRODUCTS[slug], "checkout": checkout, "phone": phone, "error": error}
    return _page(request, "product.html", **shown)


def _read(form: Mapping[str, str]) -> tuple[str, str]:
    """The number in M-PESA's form, or what is wrong with it."""
    try:
        return phone_number(form.get("phone", "")), ""
    except InvalidField:
        return "", "This is no Kenyan mobile number. Write it like 0712 345 678."


def _to_order(order: Order, customer: str) -> RedirectResponse:
    answer = RedirectResponse(f"/orders/{order.id}", 303)
    answer.set_cookie("customer", customer, max_age=31_536_000, httponly=True, samesite="lax")
    return answer
