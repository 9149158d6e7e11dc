"""The app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Connects the receivers when Django is ready."""

    name = "shop"

    def ready(self) -> None:
        """Import them, which connects them."""
        from shop import receivers  # noqa: F401, PLC0415 - Django's rule: nothing of the app before it is ready
