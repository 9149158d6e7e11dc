"""``manage.py mpesa_register_urls``: tell M-PESA where to report payments that customers start."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mpesa_core.errors import MpesaError
from mpesa_django.front import command_gateway

__all__ = ["Command"]


class Command(BaseCommand):
    """Registers the C2B URLs of one account."""

    help = "Tell M-PESA where to report payments that customers start (C2B)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer the choices that M-PESA leaves."""
        parser.add_argument("--account", default="default", help="The account of the settings.")
        parser.add_argument(
            "--response-type",
            default="Completed",
            choices=["Completed", "Cancelled"],
            help="What M-PESA does with a payment when the validation URL does not answer.",
        )
        parser.add_argument(
            "--api-version", default=2, type=int, choices=[1, 2], help="With 1, customers' numbers come as hashes."
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        """Register.

        Raises:
            CommandError: it was not registered, or perhaps not, and why.
        """
        try:
            with command_gateway() as gateway:
                gateway.account(options["account"]).register_urls(
                    response_type=options["response_type"], version=options["api_version"]
                )
        except MpesaError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Registered the URLs of the account {options['account']}.")
