"""The command with its subcommands, which stand in the modules by subject."""

from __future__ import annotations

import logging

import click
from rich.console import Console
from rich.logging import RichHandler

from mpesa_core import __version__
from mpesa_core.cli.conflicts import conflicts
from mpesa_core.cli.doctor import doctor
from mpesa_core.cli.invoices import invoices
from mpesa_core.cli.local import demo, sandbox
from mpesa_core.cli.lookup import decode, explain_code
from mpesa_core.cli.registering import register_urls
from mpesa_core.cli.upkeep import announce, reconcile, recover, replay, worker

__all__ = ["mpesa"]


class _InOrder(click.Group):
    """Lists its commands in the order in which they were added: the demo comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's name
        """Their names."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mpesa")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, on standard error.")
def mpesa(*, verbose: bool) -> None:
    """Take and send money over M-PESA, and look after it.

    Begin with `mpesa demo`. Settings come from MPESA_* variables, such as MPESA_SHORT_CODE, or from your program's own
    gateway (MPESA_GATEWAY).
    """
    handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(message)s", handlers=[handler], force=True
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold whole URLs


for _command in (
    demo,
    sandbox,
    decode,
    explain_code,
    doctor,
    register_urls,
    worker,
    recover,
    reconcile,
    replay,
    announce,
    conflicts,
    invoices,
):
    mpesa.add_command(_command)
