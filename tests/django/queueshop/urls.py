"""Where the callbacks are served."""

from django.urls import include, path

urlpatterns = [path("pay/", include("mpesa_django.urls"))]
