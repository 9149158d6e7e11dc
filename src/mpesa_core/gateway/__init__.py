"""The front door: settings, client, repository, engine and signals tied together.

::

    from mpesa_core import Gateway, Settings, SqliteRepository

    gateway = Gateway(Settings(...), SqliteRepository("payments.db"))
    payment = gateway.stk_push(phone_number="0712345678", amount=100, account_reference="INV-1",
    idempotency_key="INV-1")

:class:`AsyncGateway` is the same with coroutines.
"""

from mpesa_core.gateway.asynchronous import AsyncGateway
from mpesa_core.gateway.front import Gateway

__all__ = ["AsyncGateway", "Gateway"]
