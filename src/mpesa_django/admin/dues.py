"""Invoices and subscriptions, to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html

from mpesa_core.redaction import mask_phone
from mpesa_core.repository.rows import INVOICE, SUBSCRIPTION
from mpesa_django.admin.desk import DeskAdmin
from mpesa_django.admin.showing import badge, pretty

__all__ = ["MpesaInvoiceAdmin", "MpesaSubscriptionAdmin"]


class _DueAdmin(DeskAdmin):
    ordering = ("-created_at",)
    list_filter = ("status", "created_at")

    @admin.display(description="status", ordering="status")
    def state(self, row: Any) -> str:
        """In words and in colour."""
        return badge(row.status, row.status.replace("_", " ").capitalize())

    @admin.display(description="phone number")
    def phone(self, row: Any) -> str:
        """Masked."""
        return mask_phone(row.phone_number) if row.phone_number else "-"


class MpesaInvoiceAdmin(_DueAdmin):
    """For a model of :class:`~mpesa_django.models.AbstractMpesaInvoice`."""

    kinds = INVOICE
    list_display = ("created_at", "external_reference", "state", "amount", "phone", "account_reference", "due_at")
    search_fields = ("external_reference", "account_reference", "full_name", "phone_number", "id")
    readonly_fields = ("state", "paid")
    groups = (
        (
            "Invoice",
            (
                "external_reference",
                "account_reference",
                "invoice_name",
                "full_name",
                "phone_number",
                "period",
                "amount",
                "state",
                "result_desc",
                "paid",
            ),
        ),
        ("Times", ("created_at", "sent_at", "due_at", "paid_at", "voided_at", "next_check_at")),
        ("Identifiers", ("id", "account", "short_code")),
    )

    @admin.display(description="payments")
    def paid(self, row: Any) -> str:
        """By transaction."""
        return format_html('<pre class="mpesa-body">{}</pre>', pretty(row.payments))


class MpesaSubscriptionAdmin(_DueAdmin):
    """For a model of :class:`~mpesa_django.models.AbstractMpesaSubscription`."""

    kinds = SUBSCRIPTION
    list_display = ("created_at", "name", "state", "amount", "frequency", "phone", "account_reference")
    search_fields = ("name", "account_reference", "phone_number", "request_id", "standing_order_id", "id")
    readonly_fields = ("state",)
    groups = (
        (
            "Subscription",
            (
                "name",
                "account_reference",
                "transaction_desc",
                "phone_number",
                "amount",
                "frequency",
                "start_on",
                "end_on",
                "state",
                "result_code_text",
                "result_desc",
            ),
        ),
        ("Times", ("created_at", "settled_at", "stopped_at", "next_check_at")),
        (
            "Identifiers",
            (
                "id",
                "account",
                "short_code",
                "edition",
                "request_id",
                "response_ref_id",
                "standing_order_id",
                "idempotency_key",
            ),
        ),
    )
