"""The transactions: their list, the page of one, and what can be asked of M-PESA about it."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

from mpesa_core.cli.telling import told_row
from mpesa_core.payments.machine import is_known
from mpesa_core.payments.standing import can_be_reversed, explanation
from mpesa_core.redaction import mask_phone, redact
from mpesa_core.repository.rows import TRANSACTION
from mpesa_django.admin.attention import TransactionAttention, mark
from mpesa_django.admin.desk import DeskAdmin
from mpesa_django.admin.showing import badge, linked, page_of, phone_forms, pretty
from mpesa_django.admin.timeline import MOST, callback_model, callbacks_of, timeline
from mpesa_django.front import mpesa

__all__ = ["MpesaTransactionAdmin"]


class _Reversal(forms.Form):
    amount = forms.DecimalField(
        required=False, min_value=1, max_digits=15, decimal_places=2, help_text="Shillings; empty for all that is left."
    )
    remarks = forms.CharField(min_length=2, max_length=100, initial="Reversal")
    key = forms.UUIDField(widget=forms.HiddenInput)


class MpesaTransactionAdmin(DeskAdmin):
    """For a model of :class:`~mpesa_django.models.AbstractMpesaTransaction`."""

    change_form_template = "mpesa_django/admin/transaction.html"
    kinds = TRANSACTION
    deeds = {"ask": "ask_view", "reverse": "reverse_view"}  # noqa: RUF012 - declared as a class variable
    list_display = ("when", "standing", "money", "phone", "reference", "receipt", "transaction_type")
    list_filter = (TransactionAttention, "status", "transaction_type", "initiated_at")
    ordering = ("-initiated_at",)
    search_fields = (
        "phone_number",
        "mpesa_receipt_number",
        "account_reference",
        "checkout_request_id",
        "merchant_request_id",
        "conversation_id",
        "originator_conversation_id",
        "idempotency_key",
        "id",
    )
    search_help_text = "Phone number in any form, receipt, reference, or an identifier."
    readonly_fields = ("state", "known", "parent", "reservations")
    actions = ("ask_mpesa",)
    groups = (
        (
            "Payment",
            (
                "transaction_type",
                "state",
                "known",
                "amount",
                "phone_number",
                "account_reference",
                "transaction_desc",
                "mpesa_receipt_number",
                "parent",
                "reservations",
            ),
        ),
        ("What M-PESA said", ("result_code_text", "result_desc", "reason", "settled_by")),
        ("Times", ("initiated_at", "settled_at", "confirmed_at", "next_check_at", "checks", "announce_until")),
        (
            "Identifiers",
            (
                "id",
                "account",
                "short_code",
                "checkout_request_id",
                "merchant_request_id",
                "conversation_id",
                "originator_conversation_id",
                "idempotency_key",
            ),
        ),
    )

    # What is shown

    @admin.display(description="recorded", ordering="initiated_at")
    def when(self, row: Any) -> str:
        """To the minute, in the project's time zone."""
        return date_format(localtime(row.initiated_at), "Y-m-d H:i")

    @admin.display(description="status", ordering="status")
    def state(self, row: Any) -> str:
        """The status, in words and in colour."""
        return badge(row.status, row.status.capitalize())

    @admin.display(description="amount", ordering="amount")
    def money(self, row: Any) -> str:
        """In shillings."""
        return f"{row.amount:,.2f}"

    @admin.display(description="phone number")
    def phone(self, row: Any) -> str:
        """Masked: a list is seen by whoever looks over a shoulder. The page of one transaction has it in full."""
        return mask_phone(row.phone_number) if row.phone_number else "-"

    @admin.display(description="reference", ordering="account_reference")
    def reference(self, row: Any) -> str:
        """As sent or typed; customers type phone numbers too."""
        return redact(row.account_reference) or "-"

    @admin.display(description="receipt", ordering="mpesa_receipt_number")
    def receipt(self, row: Any) -> str:
        """M-PESA's."""
        return row.mpesa_receipt_number or "-"

    @admin.display(description="status", ordering="status")
    def standing(self, row: Any) -> str:
        """The status, and whether a person should look at it."""
        return format_html("{} {}", self.state(row), mark(row))

    @admin.display(description="known for certain", boolean=True)
    def known(self, row: Any) -> bool:
        """Whether its status is M-PESA's last word."""
        return is_known(row.status, row.settled_by)

    @admin.display(description="belongs to")
    def parent(self, row: Any) -> str:
        """The payment that it gives back."""
        if row.parent_id is None:
            return "-"
        known = self.model._base_manager.filter(pk=row.parent_id).exists()  # noqa: SLF001 - hides no row
        return linked(self.page(row.parent_id) if known else None, row.parent_id)

    @admin.display(description="given back, or on its way")
    def reservations(self, row: Any) -> str:
        """Refunds with their amounts."""
        return format_html('<pre class="mpesa-body">{}</pre>', pretty(row.reserved)) if row.reserved else "-"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """As ever, and a phone number however it is written."""
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if connections[queryset.db].vendor == "mysql":  # its columns compare to the letter; receipts are upper case
            found |= super().get_search_results(request, queryset, search_term.upper())[0]
        phones = phone_forms(search_term)
        return (found | queryset.filter(phone_number__in=phones) if phones else found), duplicates

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one, with its timeline."""
        row = self.get_object(request, object_id)
        told = self._told(request, row) if row is not None and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **told})

    def _told(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        model, site = callback_model(), self.admin_site
        linking = site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)

        def callback_page(pk: object) -> str | None:
            return page_of(site, model, pk) if linking else None

        callbacks = callbacks_of(row)
        children = self.get_queryset(request).filter(parent_id=row.pk).order_by("initiated_at")
        return {
            "told": self.standing(row),
            "explanation": explanation(row),
            "conflicts": [
                {**entry, "page": callback_page(entry["callback"]) if entry.get("callback") else None}
                for entry in row.conflicts.values()
            ],
            "timeline": [
                (moment, callback_page(moment.pk) if moment.pk else None) for moment in timeline(row, callbacks)
            ],
            "only": MOST if len(callbacks) > MOST else None,
            "children": [(child, self.state(child), self.page(child.pk)) for child in children],
            "ask_page": self.page(row.pk, "ask") if self.may(request, "change") else None,
            "reverse_page": self.page(row.pk, "reverse")
            if self.may(request, "reverse") and can_be_reversed(row)
            else None,
        }

    # What is done

    @admin.action(description="Ask M-PESA about the selected transactions", permissions=["work"])
    def ask_mpesa(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """One question each, as far as the rate allows."""
        for row in self.few(request, queryset):
            self.work(request, row, lambda row=row: _ask(row))  # type: ignore[misc] # the row of this round

    def ask_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Ask M-PESA what became of one."""
        row = self.row(request, object_id, "change")
        return self.posted(request, row, lambda: _ask(row))

    def reverse_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Give a payment back, once somebody has confirmed it. The same page sent twice reverses once."""
        row = self.row(request, object_id, "reverse")
        if not can_be_reversed(row):
            self.message_user(request, "Only a payment that came in, with a receipt, can be reversed.", messages.ERROR)
            return HttpResponseRedirect(self.page(row.pk))
        form = _Reversal(request.POST if request.method == "POST" else None, initial={"key": uuid.uuid4()})
        if request.method == "POST" and form.is_valid():
            return self.posted(request, row, lambda: _reverse(row, **form.cleaned_data))
        return self.asked_first(request, row, form=form, facts=_facts(row), **_REVERSING)


_REVERSING = {
    "title": "Reverse this payment?",
    "warning": "M-PESA is asked to send the money back to the customer. This cannot be undone.",
    "verb": "Reverse it",
}


def _facts(row: Any) -> list[tuple[str, Any]]:
    return [
        ("Amount", f"{row.amount:,.2f} shillings"),
        ("Phone number", row.phone_number),
        ("Reference", row.account_reference),
        ("Receipt", row.mpesa_receipt_number),
        ("Given back, or on its way", pretty(row.reserved) if row.reserved else "nothing"),
    ]


def _reverse(row: Any, amount: Decimal | None, remarks: str, key: UUID) -> str:
    reversal = mpesa.reverse(row.pk, amount=amount, remarks=remarks, idempotency_key=f"admin-{key}")
    return f"Asked M-PESA to give it back: {told_row(reversal)}."


def _ask(row: Any) -> str:
    fresh = mpesa.query(row.pk)
    if fresh.version != row.version:
        return f"M-PESA was asked: {told_row(fresh)}."
    return (
        f"Nothing new: {told_row(fresh)}. M-PESA answers some questions later, by a callback, and takes only a few a "
        "minute."
    )
