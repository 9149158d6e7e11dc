"""``manage.py mpesa_register_urls``: ``mpesa register-urls`` with Django's settings."""

from mpesa_core.cli.registering import register_urls
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.registering`."""

    click_command = register_urls
