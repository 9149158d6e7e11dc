"""What the shop does when M-PESA's word is settled. Each bears to run twice."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from mpesa_django.signals import payment_confirmed, reversal_completed
from shop.models import MpesaTransaction, Order


@receiver(payment_confirmed, sender=MpesaTransaction)
def mark_paid(transaction: MpesaTransaction, **_: Any) -> None:
    """The order is paid; here the goods would be sent."""
    if transaction.order_id is not None:
        Order.objects.filter(pk=transaction.order_id, paid_at=None).update(paid_at=transaction.settled_at)


@receiver(reversal_completed, sender=MpesaTransaction)
def mark_refunded(transaction: MpesaTransaction, reversal: MpesaTransaction, **_: Any) -> None:
    """The order's payment went back."""
    if transaction.order_id is not None:
        Order.objects.filter(pk=transaction.order_id, refunded_at=None).update(refunded_at=reversal.settled_at)
