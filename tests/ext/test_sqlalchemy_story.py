"""A payment from prompt to settled order, kept in the host's own SQLAlchemy classes."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from tests.end_to_end.town import Town
from tests.ext.stores import Payment, empty_repository


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
@pytest.mark.parametrize("way", ["as it should be", "raced"])
def test_a_payment_settles_the_hosts_order(request, database, way):
    """However often the callback comes the order is paid once, and the receiver is handed the host's own class."""
    engine = request.getfixturevalue(f"alchemy_{database}")
    with Town(empty_repository(engine)) as town:
        payment = town.gateway.stk_push(
            phone_number="254708374149", amount=100, account_reference="INV-7", idempotency_key="INV-7", order_id=7
        )
        town.deliver(way)
        (confirmed,) = town.fired("payment_confirmed")
        row = confirmed["transaction"]
        assert (Payment, payment.id, 7, "SUCCESS") == (type(row), row.id, row.order_id, row.status)
        assert row.mpesa_receipt_number
