"""The URLs of the Django project that trials take place in."""

from django.urls import include, path

urlpatterns = [path("pay/", include("mpesa_django.urls"))]
