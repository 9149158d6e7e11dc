from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("pay/", include("mpesa_django.urls")), path("admin/", admin.site.urls)]
