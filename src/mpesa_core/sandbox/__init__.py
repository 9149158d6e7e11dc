"""A local Daraja for development and tests: M-PESA in memory, which checks and fails as Safaricom's does.

:class:`LocalDaraja` is one function from request to response; :class:`DarajaServer` serves it on loopback. What happens
to a request is a :class:`Behaviour`; what really moved is in ``daraja.ledger``.
"""

from mpesa_core.sandbox.behaviour import (
    MAGIC_AMOUNTS,
    MAGIC_PHONES,
    MALFORMED,
    Answer,
    Behaviour,
    Delivery,
    QueryAnswer,
)
from mpesa_core.sandbox.bills import BillInvoice, BillPaymentPush
from mpesa_core.sandbox.customers import Customer
from mpesa_core.sandbox.daraja import LocalDaraja, LostAnswer, NoConnection, SeenRequest
from mpesa_core.sandbox.delivery import Posted, Posting, post_over_http
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Balances, Entry, Kind, Ledger
from mpesa_core.sandbox.mpesa import CustomerPayment
from mpesa_core.sandbox.orders import StandingOrder
from mpesa_core.sandbox.organisation import Organisation, Rules
from mpesa_core.sandbox.server import DarajaServer

__all__ = [
    "MAGIC_AMOUNTS",
    "MAGIC_PHONES",
    "MALFORMED",
    "Answer",
    "Api",
    "Balances",
    "Behaviour",
    "BillInvoice",
    "BillPaymentPush",
    "Customer",
    "CustomerPayment",
    "DarajaServer",
    "Delivery",
    "Ending",
    "Entry",
    "Kind",
    "Ledger",
    "LocalDaraja",
    "LostAnswer",
    "NoConnection",
    "Organisation",
    "Posted",
    "Posting",
    "QueryAnswer",
    "Rules",
    "SeenRequest",
    "StandingOrder",
    "post_over_http",
]
