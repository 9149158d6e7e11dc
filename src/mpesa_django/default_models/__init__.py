"""Models for those who want none of their own: ``INSTALLED_APPS += ["mpesa_django", "mpesa_django.default_models"]``.

Then ``MPESA = {"TRANSACTION_MODEL": "default_models.MpesaTransaction", "CALLBACK_LOG_MODEL":
"default_models.MpesaCallbackLog", ...}`` and ``manage.py migrate``.
"""
