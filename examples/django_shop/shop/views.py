"""The pages of the shop."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from mpesa_core.errors import DarajaError, IdempotencyMismatch, InvalidField, NotSent
from mpesa_core.values import phone_number
from mpesa_django import mpesa
from shop.models import Order, Product, State


class CheckoutForm(forms.Form):
    """Whose phone is asked for the PIN."""

    phone_number = forms.CharField(
        label="M-PESA phone number",
        max_length=20,
        widget=forms.TextInput(
            attrs={"type": "tel", "autocomplete": "tel", "inputmode": "tel", "placeholder": "0712 345 678"}
        ),
    )
    checkout = forms.UUIDField(widget=forms.HiddenInput)

    def clean_phone_number(self) -> str:
        """In M-PESA's form."""
        try:
            return phone_number(self.cleaned_data["phone_number"])
        except InvalidField:
            raise forms.ValidationError("This is no Kenyan mobile number. Write it like 0712 345 678.") from None


def products(request: HttpRequest) -> HttpResponse:
    """Everything there is to buy."""
    return render(request, "shop/products.html", {"products": Product.objects.all()})


def product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product, with the form that buys it."""
    wanted = get_object_or_404(Product, slug=slug)
    form = CheckoutForm(request.POST if request.method == "POST" else None, initial={"checkout": uuid.uuid4()})
    if request.method != "POST" or not form.is_valid():
        return render(request, "shop/product.html", {"product": wanted, "form": form})
    # The same form sent twice is the same order: whoever presses the button twice is asked for one PIN.
    made, _ = Order.objects.get_or_create(
        checkout=form.cleaned_data["checkout"], defaults={"product": wanted, "amount": wanted.price}
    )
    request.session["orders"] = [*request.session.get("orders", []), made.pk]
    return pay(request, made, form.cleaned_data["phone_number"])


def order(request: HttpRequest, number: str) -> HttpResponse:
    """How an order stands; where its payment failed, it can be tried again."""
    mine = get_object_or_404(Order, number=number, pk__in=request.session.get("orders", []))
    form = CheckoutForm(request.POST if request.method == "POST" else None, initial={"checkout": mine.checkout})
    if request.method == "POST" and form.is_valid():
        return pay(request, mine, form.cleaned_data["phone_number"])
    context: dict[str, Any] = {"order": mine, "state": mine.state, "form": form, "payment": mine.payment}
    return render(request, "shop/order.html", context)


def orders(request: HttpRequest) -> HttpResponse:
    """The orders of whoever uses this browser."""
    mine = Order.objects.filter(pk__in=request.session.get("orders", [])).select_related("product")
    return render(request, "shop/orders.html", {"orders": mine})


def pay(request: HttpRequest, wanted: Order, phone: str) -> HttpResponse:
    """Ask the phone for the PIN, unless an attempt is under way, or may have been paid."""
    if not wanted.payments.exists() or wanted.state is State.FAILED:
        attempt = wanted.payments.count() + 1
        try:
            mpesa.stk_push(
                phone_number=phone,
                amount=wanted.amount,
                account_reference=wanted.number,
                idempotency_key=f"order {wanted.number}, attempt {attempt}",
                order=wanted,
            )
        except IdempotencyMismatch:
            pass  # the same button in another window was faster, with another number
        except (NotSent, DarajaError):  # for certain nothing was taken: what is not certain is no error, but waits
            messages.error(request, "M-PESA could not be reached. Nothing was taken; try again in a moment.")
    return redirect(wanted)
