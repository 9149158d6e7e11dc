"""``manage.py mpesa_sandbox``: ``mpesa sandbox`` with Django's settings."""

from mpesa_core.cli.local import sandbox
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.local`."""

    click_command = sandbox
