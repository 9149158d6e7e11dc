"""``manage.py mpesa_reconcile``: ``mpesa reconcile`` with Django's settings."""

from mpesa_core.cli.upkeep import reconcile
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.upkeep`."""

    click_command = reconcile
