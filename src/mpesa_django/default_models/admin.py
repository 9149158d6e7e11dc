"""The default models in the admin."""

from __future__ import annotations

from django.contrib import admin

from mpesa_django.admin import (
    MpesaCallbackLogAdmin,
    MpesaInvoiceAdmin,
    MpesaSubscriptionAdmin,
    MpesaTransactionAdmin,
)
from mpesa_django.default_models.models import MpesaCallbackLog, MpesaInvoice, MpesaSubscription, MpesaTransaction

__all__: list[str] = []

admin.site.register(MpesaTransaction, MpesaTransactionAdmin)
admin.site.register(MpesaCallbackLog, MpesaCallbackLogAdmin)
admin.site.register(MpesaInvoice, MpesaInvoiceAdmin)
admin.site.register(MpesaSubscription, MpesaSubscriptionAdmin)
