"""The project's settings."""

import json
import os

SECRET_KEY = "of no importance"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["mpesa_django", "mpesa_django.default_models", "tests.django.queueshop.app.ShopConfig"]
ROOT_URLCONF = "tests.django.queueshop.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["SHOP_DATABASE_PORT"],
        "NAME": os.environ["SHOP_DATABASE"],
        "USER": "mpesa",
        "CONN_MAX_AGE": 60,
    }
}
MPESA = {
    "SHORT_CODE": "174379",
    "CALLBACK_IP_ALLOWLIST": ["127.0.0.1"],
    "TRANSACTION_MODEL": "default_models.MpesaTransaction",
    "CALLBACK_LOG_MODEL": "default_models.MpesaCallbackLog",
    "CALLBACK_LEASE": 1,
    "ANNOUNCE_LEASE": 1,
    **json.loads(os.environ.get("SHOP_MPESA", '{"USE_CELERY": true}')),
}
CELERY_BROKER_URL = os.environ.get("SHOP_BROKER")
CELERY_BEAT_SCHEDULE = {"mpesa": {"task": "mpesa_django.sweep", "schedule": 0.5}}
