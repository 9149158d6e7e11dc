from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

from mpesa_django import mpesa


def buy(_request):
    """Ask for a payment as soon as the request's transaction is committed."""
    payment = mpesa.stk_push(phone_number="0712345678", amount=100, account_reference="INV-1", on_commit=True)
    sent = type(payment).objects.exclude(status="PENDING").count()
    return HttpResponse(f"{payment.status} {sent}")


urlpatterns = [path("buy/", buy), path("pay/", include("mpesa_django.urls")), path("admin/", admin.site.urls)]
