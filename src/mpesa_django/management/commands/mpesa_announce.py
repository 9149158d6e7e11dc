"""``manage.py mpesa_announce``: ``mpesa announce`` with Django's settings."""

from mpesa_core.cli.upkeep import announce
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.upkeep`."""

    click_command = announce
