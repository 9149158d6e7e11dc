"""List filters and marks for what a person should look at. What that is, the core says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from mpesa_core.payments.machine import OPEN
from mpesa_core.payments.records import Disposition, TransactionRecord, TransactionType
from mpesa_core.payments.schedule import patience
from mpesa_core.payments.standing import waits_too_long
from mpesa_core.settings import Settings
from mpesa_django.admin.showing import badge
from mpesa_django.front import front

__all__ = ["CallbackAttention", "TransactionAttention", "mark"]


class TransactionAttention(admin.SimpleListFilter):
    """Transactions that are in conflict, wait too long, or were not announced."""

    title = "what needs a look"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's names
        """The choices."""
        return [("conflict", "In conflict"), ("late", "Waits too long"), ("unannounced", "Settled, not announced")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:  # noqa: ARG002 - as above
        """The rows of the choice."""
        gateway = front.gateway
        match self.value():
            case "conflict":
                return queryset.exclude(conflicts={})
            case "late":
                return queryset.filter(_late(gateway.settings, gateway.clock()))
            case "unannounced":
                return queryset.filter(announce_until__lte=gateway.clock())
            case _:
                return None


class CallbackAttention(admin.SimpleListFilter):
    """Callbacks that are in conflict, or wait to be processed."""

    title = "what needs a look"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's names
        """The choices."""
        return [("conflict", "Open conflicts"), ("open", "Waits to be processed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:  # noqa: ARG002 - as above
        """The rows of the choice."""
        match self.value():
            case "conflict":
                return queryset.filter(disposition=Disposition.CONFLICT.value, resolved_at=None)
            case "open":
                return queryset.filter(next_attempt_at__isnull=False)
            case _:
                return None


def mark(row: TransactionRecord) -> str:
    """What is to be looked at in one row, or nothing."""
    if row.conflicts:
        return badge("conflict", "Conflict")
    if waits_too_long(row, front.gateway.settings, front.gateway.clock()):
        return badge("late", "Waits too long")
    return ""


def _late(settings: Settings, now: datetime) -> Q:
    """:func:`~mpesa_core.payments.standing.waits_too_long`, asked of a database."""
    waiting = Q()
    for kind in TransactionType:
        waiting |= Q(transaction_type=kind.value, initiated_at__lte=now - patience(kind, settings))
    return waiting & Q(status__in=[each.value for each in OPEN])
