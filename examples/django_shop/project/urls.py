"""URLs: the shop, M-PESA's callbacks, the admin."""

from django.contrib import admin
from django.urls import include, path
from shop import views

urlpatterns = [
    path("", views.products, name="products"),
    path("product/<slug:slug>/", views.product, name="product"),
    path("orders/", views.orders, name="orders"),
    path("orders/<str:number>/", views.order, name="order"),
    path("pay/", include("mpesa_django.urls")),
    path("admin/", admin.site.urls),
]
