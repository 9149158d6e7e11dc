"""``flask mpesa``: the core's commands, on the gateway of the current app.

They are imported when one is asked for: an app that only serves requests does without them, and without rich.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from mpesa_flask.state import state_of

if TYPE_CHECKING:
    from mpesa_core.cli.place import Place

__all__ = ["mpesa"]


class _Commands(click.Group):
    """Finds its commands when it is asked for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's name
        """Their names, in the order of the core's."""
        return list(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's name
        """One of them."""
        return _commands().get(cmd_name)


mpesa = _Commands("mpesa", help="Look after the app's payments.")
"""The group, for ``app.cli``."""


@cache
def _commands() -> dict[str, click.Command]:
    try:
        from mpesa_core.cli.hosted import hosted_commands  # noqa: PLC0415 - see the top
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        raise click.ClickException("flask mpesa needs rich: pip install 'mpesa-core[flask]'") from None
    return hosted_commands(_place, around=with_appcontext)


def _place() -> Place:
    from mpesa_core.cli.place import Place  # noqa: PLC0415 - see the top

    return Place(gateway=f"the app {current_app.name}", program=state_of(current_app).command_gateway)
