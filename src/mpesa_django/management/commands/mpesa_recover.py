"""``manage.py mpesa_recover``: ``mpesa recover`` with Django's settings."""

from mpesa_core.cli.upkeep import recover
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.upkeep`."""

    click_command = recover
