"""Payments and orders in the admin."""

from django.contrib import admin

from mpesa_django.admin import MpesaCallbackLogAdmin, MpesaTransactionAdmin
from shop.models import MpesaCallbackLog, MpesaTransaction, Order, Product


@admin.register(MpesaTransaction)
class TransactionAdmin(MpesaTransactionAdmin):
    """With the order."""

    list_display = (*MpesaTransactionAdmin.list_display, "order")
    list_select_related = ("order__product",)


admin.site.register(MpesaCallbackLog, MpesaCallbackLogAdmin)
admin.site.register(Product)


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders by number."""

    list_display = ("number", "product", "amount", "created_at", "paid_at", "refunded_at")
    list_select_related = ("product",)
    search_fields = ("number",)
