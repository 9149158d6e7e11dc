"""The core's commands as Django's: the same options, on the gateway of the ``MPESA`` settings."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, ClassVar

import click
from django.core.management.base import BaseCommand, CommandError

__all__ = ["ClickCommand"]

_GATEWAY = "mpesa_django.front:command_gateway"
_PLACE = frozenset({"database", "gateway", "unheard"})
"""Options that name a place; Django's settings do."""


class ClickCommand(BaseCommand):
    """Runs one of the core's commands.

    Attributes:
        click_command: the core's.
    """

    click_command: ClassVar[click.Command]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.help = self.click_command.help or ""

    def _parameters(self) -> list[click.Parameter]:
        return [each for each in self.click_command.params if each.name not in _PLACE]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer the options and arguments of the core's command."""
        for each in self._parameters():
            if not isinstance(each, click.Option):
                parser.add_argument(str(each.name))
            elif each.is_flag:
                parser.add_argument(*each.opts, dest=each.name, action="store_true", help=each.help)
            else:
                parser.add_argument(*each.opts, dest=each.name, help=each.help)

    def handle(self, *_arguments: Any, **options: Any) -> None:
        """Run the core's command, which reads the values itself.

        Raises:
            CommandError: what the core's command refuses, in its words.
        """
        given: list[str] = []
        for each in self._parameters():
            value = options.get(str(each.name))
            if value is None or value is False:
                continue
            if isinstance(each, click.Option):
                given += [each.opts[-1]] if each.is_flag else [each.opts[-1], str(value)]
            else:
                given.append(str(value))
        self.stdout.ending = self.stderr.ending = ""  # what is written here has its line ends
        with redirect_stdout(self.stdout), redirect_stderr(self.stderr):  # type: ignore[type-var]
            try:
                self.click_command.main([*self._place(), *given], prog_name="manage.py", standalone_mode=False)
            except click.ClickException as error:
                raise CommandError(error.format_message()) from None

    def _place(self) -> list[str]:
        if not any(each.name == "gateway" for each in self.click_command.params):
            return []
        return ["--database", "", "--gateway", _GATEWAY]  # both, as the environment may name another place
