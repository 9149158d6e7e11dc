"""What the pages have in common: rows that nobody edits, and the few deeds, outside any transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from mpesa_core.errors import MpesaError
from mpesa_core.repository.rows import Kind
from mpesa_django.admin.showing import page_of
from mpesa_django.views import outside_transactions

__all__ = ["DeskAdmin"]

if TYPE_CHECKING:  # generic in the stubs alone
    _ModelAdmin = admin.ModelAdmin[models.Model]
else:
    _ModelAdmin = admin.ModelAdmin


class DeskAdmin(_ModelAdmin):
    """Rows to look at. What is done about one goes through the gateway, never through a form of its columns.

    Django's own views of the admin run inside a transaction where ``ATOMIC_REQUESTS`` says so, and its form always;
    what moves money refuses to run in one. So the list, with its actions, and the pages of ours are exempt.

    Attributes:
        kinds: the core's fields; any other is the host's own and is shown first.
        groups: titles, with the fields below them.
        deeds: the pages of ours below a row's page: name to view.
    """

    kinds: ClassVar[Mapping[str, Kind]] = {}
    groups: ClassVar[Sequence[tuple[str, tuple[str, ...]]]] = ()
    deeds: ClassVar[Mapping[str, str]] = {}
    show_full_result_count = False
    list_per_page = 50

    class Media:
        """The style of badges and timelines."""

        css: ClassVar[Any] = {"all": ("mpesa_django/admin.css",)}

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:  # noqa: ARG002 - Django's name
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's names
        """Nobody edits one; who has Django's permission to change one may do the deeds."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's names
        """Nobody deletes one: it is the record of what happened."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's names
        """Django's permission to view, or to change."""
        return self.may(request, "view") or self.may(request, "change")

    def has_work_permission(self, request: HttpRequest) -> bool:
        """Whether a person may do what an action of ours does."""
        return self.may(request, "change")

    def may(self, request: HttpRequest, deed: str) -> bool:
        """Whether somebody has the permission ``deed`` on this model."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{get_permission_codename(deed, self.opts)}"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The host's own fields first, then ours in groups."""
        if self.fieldsets or self.fields:
            return super().get_fieldsets(request, obj)
        own = tuple(field.name for field in self.opts.concrete_fields if field.name not in self.kinds)
        groups = (("Your fields", own), *self.groups) if own else self.groups
        return [(title, {"fields": names}) for title, names in groups]

    @outside_transactions
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list, and its actions."""
        return super().changelist_view(request, extra_context)

    def get_urls(self) -> list[URLPattern]:
        """Ours before Django's, whose last one takes everything."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        ours = [
            path(
                f"<uuid:object_id>/{deed}/",
                outside_transactions(self.admin_site.admin_view(getattr(self, view))),
                name=f"{name}_{deed}",
            )
            for deed, view in self.deeds.items()
        ]
        return [*ours, *super().get_urls()]

    def page(self, pk: object, page: str = "change") -> str:
        """The address of a row's page, or of a deed's."""
        address = page_of(self.admin_site, self.model, pk, page)
        assert address is not None  # it is this admin's own
        return address

    def row(self, request: HttpRequest, object_id: UUID, deed: str) -> Any:
        """The row that somebody wants to do something about.

        Raises:
            PermissionDenied: they may not.
            Http404: there is none, or they may not see it.
        """
        if not (self.may(request, deed) and self.has_view_permission(request)):
            raise PermissionDenied
        found = self.get_object(request, str(object_id))
        if found is None:
            raise Http404
        return found

    def work(self, request: HttpRequest, row: Any, do: Callable[[], str]) -> bool:
        """Do something about a row, tell what came of it, and note in its history who did it; whether it was done."""
        try:
            said = do()
        except MpesaError as error:
            self.message_user(request, str(error), messages.ERROR)
            return False
        self.log_change(request, row, said)
        self.message_user(request, said, messages.SUCCESS)
        return True

    def few(self, request: HttpRequest, chosen: models.QuerySet[Any]) -> Sequence[Any]:
        """What somebody selected in the list; nothing where it is more than a page of it."""
        rows = list(chosen[: self.list_per_page + 1])
        if len(rows) > self.list_per_page:
            self.message_user(request, f"Select at most {self.list_per_page}; nothing was done.", messages.ERROR)
            return []
        return rows

    def posted(self, request: HttpRequest, row: Any, do: Callable[[], str]) -> HttpResponse:
        """Do it, where it was posted, and go back to the row's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self.work(request, row, do)
        return HttpResponseRedirect(self.page(row.pk))

    def asked_first(self, request: HttpRequest, row: Any, **context: Any) -> HttpResponse:
        """The page that asks whether somebody is sure."""
        told = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "media": self.media,
            "back": self.page(row.pk),
            **context,
        }
        request.current_app = self.admin_site.name  # as Django's own views do
        return TemplateResponse(request, "mpesa_django/admin/confirm.html", told)
