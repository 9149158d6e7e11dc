"""The app, for ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import setting_changed

__all__ = ["MpesaConfig"]


class MpesaConfig(AppConfig):
    """``mpesa_django``: no models of its own; checks and commands."""

    name = "mpesa_django"
    verbose_name = "M-PESA"

    def ready(self) -> None:
        """Register the checks, and see to it that an overridden ``MPESA`` is read again."""
        from mpesa_django.checks import register  # noqa: PLC0415 - Django's rule: nothing of the app before it is ready
        from mpesa_django.front import front  # noqa: PLC0415 - as above

        register()
        setting_changed.connect(front.on_setting_changed, dispatch_uid="mpesa_django.front")
