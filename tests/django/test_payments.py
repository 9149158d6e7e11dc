"""Payments through the core's gateway with rows in Django's database, over HTTP, however M-PESA's posts come."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from tests.django.stores import Order, Transaction, empty_repository
from tests.end_to_end.town import Town


@pytest.fixture(params=["django_sqlite", "django_postgres", "django_mariadb"])
def alias(request):
    """Each database."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def town(alias, server_closing_connections):
    """A shop on it."""
    with Town(empty_repository(alias)) as town:
        yield town


@pytest.mark.parametrize("way", ["doubled", "raced", "late"])
def test_a_payment_is_settled_once(town, alias, way):
    """Whatever happens to the posts there is one settlement and one signal, and its receiver gets the order."""
    order = Order.objects.using(alias).create(name="A-1")
    asked = {"phone_number": "0712345678", "amount": 100, "account_reference": "INV-1"}
    payment = town.gateway.stk_push(**asked, idempotency_key="order-1", order=order)
    town.deliver(way)
    assert {"payment_confirmed": 1} == {name: n for name, n in town.counts.items() if name != "payment_initiated"}
    (told,) = [arguments["transaction"] for name, arguments in town.heard if name == "payment_confirmed"]
    assert (Transaction, payment.id, order, "SUCCESS") == (type(told), told.id, told.order, told.status)
    (kept,) = Transaction.objects.using(alias).all()
    assert ("SUCCESS", 1, 0, False, None) == (
        kept.status,
        kept.generation,
        kept.result_code,
        kept.idempotency_locked,
        kept.announce_until,
    )
    assert payment.id == town.gateway.stk_push(**asked, idempotency_key="order-1", order=order).id
    assert 1 == Transaction.objects.using(alias).count()
