"""The admin: look at payments and callbacks, and do the few things that a person has to decide.

Nothing can be edited. Subclass one for each model of yours::

    from django.contrib import admin
    from mpesa_django.admin import MpesaCallbackLogAdmin, MpesaTransactionAdmin

    @admin.register(MpesaTransaction)
    class TransactionAdmin(MpesaTransactionAdmin):
        list_display = (*MpesaTransactionAdmin.list_display, "order")

The models of ``mpesa_django.default_models`` are registered by themselves.
"""

from mpesa_django.admin.callbacks import MpesaCallbackLogAdmin
from mpesa_django.admin.dues import MpesaInvoiceAdmin, MpesaSubscriptionAdmin
from mpesa_django.admin.transactions import MpesaTransactionAdmin

__all__ = ["MpesaCallbackLogAdmin", "MpesaInvoiceAdmin", "MpesaSubscriptionAdmin", "MpesaTransactionAdmin"]
