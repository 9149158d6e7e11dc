"""``manage.py mpesa_worker``: ``mpesa worker`` with Django's settings."""

from mpesa_core.cli.upkeep import worker
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.upkeep`."""

    click_command = worker
