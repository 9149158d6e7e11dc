"""Products and orders, and M-PESA's two models made the shop's own."""

from __future__ import annotations

import secrets
from enum import StrEnum

from django.db import models
from django.urls import reverse

from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.standing import explanation
from mpesa_django.models import AbstractMpesaCallbackLog, AbstractMpesaTransaction

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def order_number() -> str:
    """A number that nobody guesses, without letters that look alike."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


class Product(models.Model):
    """Something to buy."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    description = models.TextField()
    price = models.PositiveIntegerField(help_text="Whole shillings.")

    class Meta:
        """Options."""

        ordering = ("price",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("product", args=[self.slug])


class State(StrEnum):
    """How an order stands, for the customer."""

    WAITING = "waiting"
    PAID = "paid"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUNDED = "refunded"


class Order(models.Model):
    """One product for one customer."""

    number = models.CharField(max_length=12, unique=True, default=order_number, help_text="What M-PESA shows.")
    checkout = models.UUIDField(unique=True, help_text="Of the form that it came from: sent twice, it is one order.")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    amount = models.PositiveIntegerField(help_text="Whole shillings.")
    created_at = models.DateTimeField(auto_now_add=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    refunded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Options."""

        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.number} {self.product}"

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("order", args=[self.number])

    @property
    def payment(self) -> MpesaTransaction | None:
        """The last attempt to pay it."""
        return self.payments.filter(transaction_type="STK_PUSH").order_by("-initiated_at").first()

    @property
    def state(self) -> State:
        """How it stands."""
        if self.refunded_at is not None:
            return State.REFUNDED
        if self.paid_at is not None:
            return State.PAID
        payment = self.payment
        if payment is None:
            return State.FAILED  # nothing was recorded, and so nothing was sent
        if payment.status in OPEN or payment.status == "SUCCESS":  # the receiver is about to hear of it
            return State.WAITING
        return State.FAILED if is_known(payment.status, payment.settled_by) else State.UNKNOWN

    @property
    def why(self) -> str:
        """What to tell the customer about a failure."""
        payment = self.payment
        meaning = explanation(payment) if payment is not None else None
        return (meaning.customer_message if meaning is not None else "") or "The payment did not go through."


class MpesaTransaction(AbstractMpesaTransaction):
    """A payment for an order."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, blank=True, related_name="payments")

    class Meta(AbstractMpesaTransaction.Meta):
        """Options."""

        verbose_name = "M-PESA transaction"


class MpesaCallbackLog(AbstractMpesaCallbackLog):
    """A callback as it came."""

    class Meta(AbstractMpesaCallbackLog.Meta):
        """Options."""

        verbose_name = "M-PESA callback"
