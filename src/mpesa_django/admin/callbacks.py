"""The callback log: what came, and what a person decides where it contradicts what is known."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

from mpesa_core.cli.telling import told_row, told_verdict
from mpesa_core.payments.standing import is_open_conflict
from mpesa_core.redaction import redact
from mpesa_core.repository.rows import CALLBACK
from mpesa_django.admin.attention import CallbackAttention
from mpesa_django.admin.desk import DeskAdmin
from mpesa_django.admin.showing import body, linked, page_of, pretty
from mpesa_django.admin.timeline import became, moment_of
from mpesa_django.conf import configuration
from mpesa_django.front import mpesa

__all__ = ["MpesaCallbackLogAdmin"]


class _Acceptance(forms.Form):
    transaction = forms.UUIDField(
        required=False,
        help_text="The id of the transaction that it is about, where that is another one than is named above.",
    )


class MpesaCallbackLogAdmin(DeskAdmin):
    """For a model of :class:`~mpesa_django.models.AbstractMpesaCallbackLog`."""

    change_form_template = "mpesa_django/admin/callback.html"
    kinds = CALLBACK
    deeds = {  # noqa: RUF012 - declared as a class variable
        "reprocess": "reprocess_view",
        "accept": "accept_view",
        "dismiss": "dismiss_view",
    }
    list_display = ("when", "callback_type", "state", "owner", "problem")
    list_filter = (CallbackAttention, "disposition", "callback_type", "received_at")
    ordering = ("-received_at",)
    search_fields = ("correlation_id", "related_transaction_id", "id")
    search_help_text = "An identifier of M-PESA's, or the id of a transaction or callback."
    readonly_fields = ("state", "about", "content", "header_lines")
    actions = ("reprocess",)
    groups = (
        ("Callback", ("callback_type", "state", "about", "error", "content")),
        ("Times", ("received_at", "attempts", "next_attempt_at", "resolved_at")),
        ("Where it came from", ("id", "source_ip", "correlation_id", "header_lines")),
    )

    # What is shown

    @admin.display(description="received", ordering="received_at")
    def when(self, row: Any) -> str:
        """To the second, in the project's time zone."""
        return date_format(localtime(row.received_at), "Y-m-d H:i:s")

    @admin.display(description="problem")
    def problem(self, row: Any) -> str:
        """Why it was not applied, without whole phone numbers."""
        return redact(row.error or "")

    @admin.display(description="what became of it", ordering="disposition")
    def state(self, row: Any) -> str:
        """In words and in colour."""
        return became(row)

    @admin.display(description="transaction")
    def about(self, row: Any) -> str:
        """Which transaction it is about."""
        return self._linked(row.related_transaction_id, str(row.related_transaction_id))

    @admin.display(description="transaction")
    def owner(self, row: Any) -> str:
        """The same, in a list: the beginning of its id."""
        return self._linked(row.related_transaction_id, f"{str(row.related_transaction_id)[:8]}…")

    def _linked(self, transaction_id: UUID | None, shown: str) -> str:
        if transaction_id is None:
            return "-"
        model = apps.get_model(configuration().transaction_model or "")
        return linked(page_of(self.admin_site, model, transaction_id), shown)

    @admin.display(description="body")
    def content(self, row: Any) -> str:
        """What came."""
        return format_html('<pre class="mpesa-body">{}</pre>', body(row))

    @admin.display(description="headers")
    def header_lines(self, row: Any) -> str:
        """As they came."""
        return format_html('<pre class="mpesa-body">{}</pre>', pretty(row.headers))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one, with what can be done about it."""
        row: Any = self.get_object(request, object_id)
        told: dict[str, Any] = {}
        if row is not None and self.has_view_permission(request):
            told = {"moment": moment_of(row), "conflict": is_open_conflict(row)}
            if self.may(request, "change"):
                told |= {f"{deed}_page": self.page(row.pk, deed) for deed in self.deeds}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **told})

    # What is done

    @admin.action(description="Process the selected callbacks again", permissions=["work"])
    def reprocess(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Each as if it had just come; what is settled is not settled twice."""
        for row in self.few(request, queryset):
            self.work(request, row, lambda row=row: _reprocess(row))  # type: ignore[misc] # the row of this round

    def reprocess_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Process one again."""
        row = self.row(request, object_id, "change")
        return self.posted(request, row, lambda: _reprocess(row))

    def accept_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Settle by what a callback in conflict says, once somebody has confirmed it."""
        row = self.row(request, object_id, "change")
        form = _Acceptance(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            return self.posted(request, row, lambda: _accept(row, **form.cleaned_data))
        return self.asked_first(request, row, form=form, facts=_facts(row), body=body(row), **_ACCEPTING)

    def dismiss_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Resolve a conflict without effect, once somebody has confirmed it."""
        row = self.row(request, object_id, "change")
        if request.method == "POST":
            return self.posted(request, row, lambda: _dismiss(row))
        return self.asked_first(request, row, form=forms.Form(), facts=_facts(row), body=body(row), **_DISMISSING)


_ACCEPTING = {
    "title": "Accept what this callback says?",
    "warning": "The transaction is settled by it, and your receivers are told. Look the payment up on the M-PESA "
    "organisation portal first.",
    "verb": "Accept it",
}
_DISMISSING = {
    "title": "Dismiss this conflict?",
    "warning": "The transaction stays as it is, and goes on by itself where it is open.",
    "verb": "Dismiss it",
}


def _reprocess(row: Any) -> str:
    verdict = mpesa.replay(row.pk)
    return f"Processed again: {told_verdict(verdict)}." if verdict is not None else "Somebody else is at it."


def _accept(row: Any, transaction: UUID | None) -> str:
    return f"Accepted: {told_row(mpesa.accept(row.pk, transaction=transaction))}."


def _dismiss(row: Any) -> str:
    mpesa.dismiss(row.pk)
    return "Dismissed: nothing was settled by it."


def _facts(row: Any) -> list[tuple[str, Any]]:
    return [
        ("What it says", moment_of(row).said),
        ("Problem", row.error or "not told"),
        ("Transaction", row.related_transaction_id or "none"),
    ]
