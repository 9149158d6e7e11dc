"""How single values are shown: badges, bodies, phone numbers."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.db import models
from django.urls import reverse
from django.utils.html import format_html

from mpesa_core.errors import InvalidField
from mpesa_core.payments.records import CallbackRecord
from mpesa_core.values import phone_number

__all__ = ["badge", "body", "linked", "page_of", "phone_forms", "pretty"]

_MARK: Final = "\N{INVISIBLE SEPARATOR}"
_NUMBER: Final = re.compile(f'"{_MARK}([^"{_MARK}]*){_MARK}"')


def badge(kind: str, text: str) -> str:
    """A coloured label: the text says it, the colour only helps to find it."""
    return format_html('<span class="mpesa-badge mpesa-{}">{}</span>', kind.lower(), text)


def pretty(value: Any) -> str:
    """JSON on several lines, its amounts to the digit as they came."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_encoded)
    return _NUMBER.sub(r"\1", text)


def _encoded(value: Any) -> str:
    return f"{_MARK}{value}{_MARK}" if isinstance(value, Decimal) else str(value)


def body(callback: CallbackRecord) -> str:
    """A callback's body: parsed where it could be, else the text of its bytes."""
    if callback.raw_body is not None:
        return pretty(callback.raw_body)
    return bytes(callback.raw_bytes).decode(errors="replace")


def page_of(site: admin.AdminSite, model: type[models.Model], pk: object, page: str = "change") -> str | None:
    """The address of a row's page; None where its model is not registered."""
    if not site.is_registered(model):
        return None
    options = model._meta  # noqa: SLF001 - Django's public interface
    return reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=[pk], current_app=site.name)


def linked(address: str | None, text: object) -> str:
    """A link, or the text alone."""
    return format_html('<a href="{}">{}</a>', address, text) if address else str(text)


def phone_forms(term: str) -> list[str]:
    """A phone number in the form that is stored, where that is what somebody searches for."""
    try:
        return [phone_number(term.strip())]
    except InvalidField:
        return []
