"""``manage.py mpesa_doctor``: ``mpesa doctor`` with Django's settings."""

from mpesa_core.cli.doctor import doctor
from mpesa_django.management.clicking import ClickCommand

__all__ = ["Command"]


class Command(ClickCommand):
    """See :mod:`mpesa_core.cli.doctor`."""

    click_command = doctor
