"""``manage.py mpesa_send_invoices``: ``mpesa invoices send`` with Django's settings."""

from mpesa_core.cli.invoices import send
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.invoices`."""

    click_command = send
