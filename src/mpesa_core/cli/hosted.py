"""The commands of a program that has its gateway at hand, for a framework's own command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mpesa_core.cli.conflicts import conflicts
from mpesa_core.cli.doctor import doctor
from mpesa_core.cli.invoices import invoices
from mpesa_core.cli.local import sandbox
from mpesa_core.cli.place import Place, at_hand
from mpesa_core.cli.registering import register_urls
from mpesa_core.cli.upkeep import announce, reconcile, recover, replay, worker

__all__ = ["hosted_commands"]

_OURS = (doctor, register_urls, worker, recover, reconcile, replay, announce, conflicts, invoices)


def hosted_commands(
    place: Callable[[], Place], *, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> dict[str, click.Command]:
    """The commands by name; they take neither ``--gateway`` nor ``--database``.

    Args:
        place: where they work; asked for when one runs.
        around: wraps what each of them does, such as Flask's ``with_appcontext``.
    """
    found: dict[str, click.Command] = {"sandbox": sandbox}
    for each in _OURS:
        command = at_hand(each, place)
        assert command.callback is not None
        command.callback = around(command.callback)
        found[str(each.name)] = command
    return found
