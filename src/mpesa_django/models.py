"""The abstract models: subclass them, add fields of your own, and make your migrations.

::

    class MpesaTransaction(AbstractMpesaTransaction):
        order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, null=True, blank=True)

        class Meta(AbstractMpesaTransaction.Meta):
            verbose_name = "M-PESA transaction"

Inherit ``Meta`` as above: it holds what keeps a receipt from being settled twice, and the indexes of the sweeps; a
system check sees to it. Neither has a name of its own, so that Django makes names that fit under every app label. The
fields are documented on :class:`~mpesa_core.payments.records.Transaction`,
:class:`~mpesa_core.payments.records.CallbackRow`, :class:`~mpesa_core.payments.invoices.InvoiceRow` and
:class:`~mpesa_core.payments.subscriptions.SubscriptionRow`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.core import checks
from django.db import models, router
from django.utils import timezone

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import InvalidField
from mpesa_core.payments.invoices import InvoiceStatus
from mpesa_core.payments.records import Disposition, Status, TransactionType
from mpesa_core.payments.subscriptions import SubscriptionStatus
from mpesa_django.fields import (
    AmountField,
    BodyField,
    CodeField,
    ExactTextField,
    JsonField,
    KeyField,
    MomentField,
    RawField,
)

__all__ = ["AbstractMpesaCallbackLog", "AbstractMpesaInvoice", "AbstractMpesaSubscription", "AbstractMpesaTransaction"]

if TYPE_CHECKING:  # generic in the stubs alone; see mpesa_django.fields
    _Count = models.PositiveBigIntegerField[Any, Any]
    _Day = models.DateField[Any, Any]
    _Flag = models.BooleanField[Any, Any]
    _Identifier = models.UUIDField[Any, Any]
else:
    _Count = models.PositiveBigIntegerField
    _Day = models.DateField
    _Flag = models.BooleanField
    _Identifier = models.UUIDField


_SAVE_ARGUMENTS: Final = ("force_insert", "force_update", "using", "update_fields")
"""In the order in which Django's ``Model.save`` took them by position."""


class _Row(models.Model):
    """What the four have in common."""

    id = _Identifier(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pk} {self}>"

    def save(self, *arguments: Any, **options: Any) -> None:
        """Save a new row; of one that there is, the fields of your own.

        The core changes its fields by compare-and-set alone. An instance holds them as they were when it was read, and
        to write all of them back would undo a settlement that came meanwhile.

        Args:
            arguments: see Django's ``Model.save``.
            options: likewise.

        Raises:
            InvalidField: one of the core's fields was edited, or is to be updated.
        """
        given = {**dict(zip(_SAVE_ARGUMENTS, arguments, strict=False)), **options}
        if not self._state.adding and not given.get("force_insert"):
            core = self._core_fields()
            named = given.get("update_fields")
            edited = core & set(named) if named is not None else self._edited(core, given.get("using"))
            if edited:
                raise InvalidField(
                    "save",
                    ", ".join(sorted(edited)),
                    expected="a change of your own fields alone",
                    remedy="Payments change by what M-PESA says; a test may use QuerySet.update().",
                )
            own = [each for each in self._meta.concrete_fields if not (each.primary_key or each.generated)]
            given["update_fields"] = [each.name for each in own if each.name not in core] if named is None else named
        super().save(**given)

    @classmethod
    def _core_fields(cls) -> frozenset[str]:
        """The names of the fields that the core works with."""
        ours = [base for base in cls.__mro__ if base.__module__ == __name__ and issubclass(base, _Row)]
        return frozenset(field.name for base in ours for field in base._meta.local_fields)  # noqa: SLF001 - Django's public interface

    def _edited(self, core: frozenset[str], using: str | None) -> set[str]:
        """The core's fields that differ from what is kept, where nobody has changed the row since it was read."""
        if "version" not in core:
            return set()
        alias = using or router.db_for_write(type(self), instance=self)
        rows = type(self)._base_manager.using(alias)  # noqa: SLF001 - the manager that hides no row
        kept = rows.filter(pk=self.pk, version=vars(self).get("version")).first()
        loaded = core - self.get_deferred_fields()
        return {name for name in loaded if getattr(kept, name) != getattr(self, name)} if kept is not None else set()

    @classmethod
    def check(cls, **options: Any) -> list[checks.CheckMessage]:
        """Django's checks, and that ``Meta`` was inherited."""
        found = super().check(**options)
        if cls._meta.proxy or cls._meta.parents:  # the table, or its keys, are another model's
            return found
        for base in cls.__mro__:
            inherited = base.__dict__.get("_meta")
            if base is cls or inherited is None or not inherited.abstract or base.__module__ != __name__:
                continue
            unique = {frozenset(names) for names in cls._meta.unique_together}
            indexed = {tuple(index.fields) for index in cls._meta.indexes}
            if (
                not {frozenset(names) for names in inherited.unique_together} <= unique
                or not {tuple(index.fields) for index in inherited.indexes} <= indexed
            ):
                found.append(_meta_is_missing(cls, base))
        return found


def _meta_is_missing(model: type[models.Model], base: type) -> checks.Error:
    hint = (
        f"Write class Meta({base.__name__}.Meta): in it, and add to indexes and unique_together as in "
        f"indexes = [*{base.__name__}.Meta.indexes, ...]."
    )
    problem = "The Meta of the model leaves out unique keys or indexes that payments need."
    return checks.Error(problem, hint=hint, obj=model, id="mpesa_django.E006")


class AbstractMpesaTransaction(_Row):
    """A payment, a payout or a reversal."""

    transaction_type = KeyField(choices=[(each.value, each.value) for each in TransactionType])
    status = KeyField(choices=[(each.value, each.value) for each in Status], default=Status.PENDING.value)
    account = KeyField(default="default")
    short_code = KeyField(default="", blank=True)
    checkout_request_id = KeyField(null=True, blank=True, unique=True)
    merchant_request_id = KeyField(null=True, blank=True)
    conversation_id = KeyField(null=True, blank=True, unique=True)
    originator_conversation_id = KeyField(null=True, blank=True)
    mpesa_receipt_number = KeyField(null=True, blank=True)
    phone_number = ExactTextField(default="", blank=True)
    amount = AmountField(default=0)
    account_reference = ExactTextField(default="", blank=True)
    transaction_desc = ExactTextField(default="", blank=True)
    parent_id = _Identifier(null=True, blank=True)
    idempotency_key = KeyField(null=True, blank=True, unique=True)
    callback_token = KeyField(null=True, blank=True, unique=True)
    result_code = CodeField(null=True, blank=True)
    result_code_text = ExactTextField(null=True, blank=True)
    result_desc = ExactTextField(null=True, blank=True)
    reason = ExactTextField(null=True, blank=True)
    raw_callback_payload = BodyField(null=True, blank=True)
    initiated_at = MomentField(default=timezone.now)
    settled_at = MomentField(null=True, blank=True)
    settled_by = ExactTextField(null=True, blank=True)
    confirmed_at = MomentField(null=True, blank=True)
    version = _Count(default=1)
    generation = _Count(default=0)
    announce_until = MomentField(null=True, blank=True)
    idempotency_locked = _Flag(default=False)
    next_check_at = MomentField(null=True, blank=True)
    checks = _Count(default=0)
    conflicts = JsonField(default=dict, blank=True)
    reserved = JsonField(default=dict, blank=True)

    class Meta(_Row.Meta):
        """Unique keys, indexes, and the permission to reverse: inherit it."""

        abstract = True
        default_permissions: ClassVar[Any] = ("add", "change", "delete", "view", "reverse")
        unique_together: ClassVar[Any] = [("short_code", "mpesa_receipt_number")]
        indexes: ClassVar[Any] = [
            models.Index(fields=["originator_conversation_id", "initiated_at"]),
            models.Index(fields=["status", "next_check_at"]),
            models.Index(fields=["next_check_at"]),
            models.Index(fields=["announce_until"]),
            models.Index(fields=["short_code", "amount", "initiated_at"]),
            models.Index(fields=["short_code", "confirmed_at"]),
        ]

    def __str__(self) -> str:
        receipt = f" {self.mpesa_receipt_number}" if self.mpesa_receipt_number else ""
        return f"{self.transaction_type} {self.status} {self.amount}{receipt}"


class AbstractMpesaCallbackLog(_Row):
    """A callback as it came, recorded before anything is done about it."""

    callback_type = KeyField(choices=[(each.value, each.value) for each in CallbackType])
    source_ip = ExactTextField(null=True, blank=True)
    raw_body = BodyField(null=True, blank=True)
    raw_bytes = RawField()
    headers = JsonField(default=dict, blank=True)
    token = KeyField(null=True, blank=True)
    correlation_id = KeyField(null=True, blank=True)
    related_transaction_id = _Identifier(null=True, blank=True)
    processed = _Flag(default=False)
    disposition = KeyField(null=True, blank=True, choices=[(each.value, each.value) for each in Disposition])
    error = ExactTextField(null=True, blank=True)
    attempts = _Count(default=0)
    next_attempt_at = MomentField(null=True, blank=True)
    received_at = MomentField(default=timezone.now)
    resolved_at = MomentField(null=True, blank=True)

    class Meta(_Row.Meta):
        """Unique keys and indexes: inherit it."""

        abstract = True
        indexes: ClassVar[Any] = [
            models.Index(fields=["next_attempt_at"]),
            models.Index(fields=["token"]),
            models.Index(fields=["correlation_id"]),
            models.Index(fields=["related_transaction_id"]),
            models.Index(fields=["disposition", "resolved_at", "received_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.callback_type} {self.disposition or 'open'}"


class AbstractMpesaInvoice(_Row):
    """An invoice on Bill Manager."""

    account = KeyField(default="default")
    short_code = KeyField()
    external_reference = KeyField()
    account_reference = KeyField()
    invoice_name = ExactTextField(default="", blank=True)
    full_name = ExactTextField(default="", blank=True)
    phone_number = ExactTextField(default="", blank=True)
    period = ExactTextField(default="", blank=True)
    amount = AmountField()
    due_at = MomentField()
    status = KeyField(choices=[(each.value, each.value) for each in InvoiceStatus], default=InvoiceStatus.PENDING.value)
    result_desc = ExactTextField(null=True, blank=True)
    payments = JsonField(default=dict, blank=True)
    unacknowledged = JsonField(default=dict, blank=True)
    created_at = MomentField(default=timezone.now)
    sent_at = MomentField(null=True, blank=True)
    paid_at = MomentField(null=True, blank=True)
    voided_at = MomentField(null=True, blank=True)
    version = _Count(default=1)
    generation = _Count(default=0)
    unannounced = JsonField(default=dict, blank=True)
    announce_until = MomentField(null=True, blank=True)
    next_check_at = MomentField(null=True, blank=True)

    class Meta(_Row.Meta):
        """Unique keys and indexes: inherit it."""

        abstract = True
        unique_together: ClassVar[Any] = [("short_code", "external_reference")]
        indexes: ClassVar[Any] = [
            models.Index(fields=["short_code", "account_reference", "created_at"]),
            models.Index(fields=["announce_until"]),
            models.Index(fields=["next_check_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.external_reference} {self.status} {self.amount}"


class AbstractMpesaSubscription(_Row):
    """A standing order on M-PESA Ratiba."""

    account = KeyField(default="default")
    short_code = KeyField()
    name = ExactTextField()
    account_reference = KeyField()
    transaction_desc = ExactTextField(default="", blank=True)
    phone_number = ExactTextField()
    amount = AmountField()
    start_on = _Day()
    end_on = _Day()
    frequency = KeyField()
    edition = KeyField()
    status = KeyField(
        choices=[(each.value, each.value) for each in SubscriptionStatus], default=SubscriptionStatus.PENDING.value
    )
    idempotency_key = KeyField(null=True, blank=True, unique=True)
    callback_token = KeyField(null=True, blank=True, unique=True)
    request_id = KeyField(null=True, blank=True, unique=True)
    response_ref_id = KeyField(null=True, blank=True)
    standing_order_id = KeyField(null=True, blank=True)
    result_code_text = ExactTextField(null=True, blank=True)
    result_desc = ExactTextField(null=True, blank=True)
    created_at = MomentField(default=timezone.now)
    settled_at = MomentField(null=True, blank=True)
    stopped_at = MomentField(null=True, blank=True)
    conflicts = JsonField(default=dict, blank=True)
    version = _Count(default=1)
    generation = _Count(default=0)
    unannounced = JsonField(default=dict, blank=True)
    announce_until = MomentField(null=True, blank=True)
    next_check_at = MomentField(null=True, blank=True)

    class Meta(_Row.Meta):
        """Unique keys and indexes: inherit it."""

        abstract = True
        indexes: ClassVar[Any] = [
            models.Index(fields=["response_ref_id", "created_at"]),
            models.Index(fields=["short_code", "account_reference", "amount"]),
            models.Index(fields=["announce_until"]),
            models.Index(fields=["next_check_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.status} {self.amount} {self.frequency}"
