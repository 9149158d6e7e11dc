"""Settings: what ``run.py`` put into the environment, and everything else as Django's own template has it."""

from __future__ import annotations

import os

SECRET_KEY = "of no importance: the shop runs on this machine alone"  # noqa: S105 - as it says
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "mpesa_django",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "project.urls"
STATIC_URL = "static/"
TIME_ZONE = "Africa/Nairobi"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SHOP_DATABASE"],
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # two writers wait for each other instead of failing
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            "timeout": 20,
        },
    }
}

MPESA = {
    "ENVIRONMENT": os.environ["SHOP_DARAJA"],  # "sandbox" or "production" for Safaricom's
    "CONSUMER_KEY": os.environ["SHOP_CONSUMER_KEY"],
    "CONSUMER_SECRET": os.environ["SHOP_CONSUMER_SECRET"],
    "SHORT_CODE": "174379",
    "PASSKEY": os.environ["SHOP_PASSKEY"],
    "INITIATOR_NAME": os.environ["SHOP_INITIATOR"],  # for reversals
    "SECURITY_CREDENTIAL": lambda: os.environ["SHOP_CREDENTIAL"],  # so no error report of Django's shows it
    "CALLBACK_BASE_URL": f"{os.environ['SHOP_ADDRESS']}/pay/",
    "CALLBACK_IP_ALLOWLIST": ["127.0.0.1"],  # leave it out for Safaricom's
    "TRANSACTION_MODEL": "shop.MpesaTransaction",
    "CALLBACK_LOG_MODEL": "shop.MpesaCallbackLog",
}
