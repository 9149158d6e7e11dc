"""The four models, as they are."""

from __future__ import annotations

from mpesa_django.models import (
    AbstractMpesaCallbackLog,
    AbstractMpesaInvoice,
    AbstractMpesaSubscription,
    AbstractMpesaTransaction,
)

__all__ = ["MpesaCallbackLog", "MpesaInvoice", "MpesaSubscription", "MpesaTransaction"]


class MpesaTransaction(AbstractMpesaTransaction):
    """A payment, a payout or a reversal."""

    class Meta(AbstractMpesaTransaction.Meta):
        """Options."""

        verbose_name = "M-PESA transaction"


class MpesaCallbackLog(AbstractMpesaCallbackLog):
    """A callback as it came."""

    class Meta(AbstractMpesaCallbackLog.Meta):
        """Options."""

        verbose_name = "M-PESA callback"


class MpesaInvoice(AbstractMpesaInvoice):
    """An invoice on Bill Manager."""

    class Meta(AbstractMpesaInvoice.Meta):
        """Options."""

        verbose_name = "M-PESA invoice"


class MpesaSubscription(AbstractMpesaSubscription):
    """A standing order on M-PESA Ratiba."""

    class Meta(AbstractMpesaSubscription.Meta):
        """Options."""

        verbose_name = "M-PESA subscription"
