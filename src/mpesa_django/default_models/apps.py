"""The app of the default models."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["DefaultModelsConfig"]


class DefaultModelsConfig(AppConfig):
    """Has a label of its own, ``default_models``, beside ``mpesa_django``'s."""

    name = "mpesa_django.default_models"
    verbose_name = "M-PESA"
