"""From the environment to a gateway: ``MPESA_*`` variables, ``MPESA_DATABASE`` among them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import click

from mpesa_core.errors import MpesaError
from mpesa_core.gateway import Gateway
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings
from mpesa_core.signals import SIGNALS

__all__ = ["database_option", "identifier", "opened", "plainly", "receivers_option", "settings"]

F = TypeVar("F", bound=Callable[..., Any])

database_option = click.option(
    "--database",
    envvar="MPESA_DATABASE",
    required=True,
    type=click.Path(dir_okay=False),
    help="The SQLite file with transactions and callbacks; or set MPESA_DATABASE.",
)


def _import_receivers(_context: click.Context, _parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    """Import the modules, and say so where nobody listens: a settlement is announced once, here or nowhere."""
    if modules:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python -m has it
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise click.BadParameter(f"there is no module {error.name!r} to import") from None
    if not any(signal.receivers for signal in SIGNALS.values()):
        click.echo(
            "Nothing in this process listens to signals: what it settles is announced to nobody. "
            "Give --import with the module that connects your receivers.",
            err=True,
        )


receivers_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_import_receivers,
    help="A module of yours that connects receivers, such as shop.receivers; may be repeated.",
)
"""For the commands that settle or announce: signals reach the receivers of the process that fires them."""


def settings() -> Settings:
    """The settings from ``MPESA_*``.

    Raises:
        ConfigurationError: everything that is wrong, at once.
    """
    return Settings.from_environ(os.environ, also=("database",))


@contextmanager
def opened(database: str, *, existing: bool = True) -> Iterator[Gateway]:
    """A gateway on that database; it is closed afterwards."""
    if existing and not os.path.exists(database):  # noqa: PTH110 - click hands over text
        raise click.ClickException(f"There is no file {database}; expected the SQLite file that the program writes to.")
    repository = SqliteRepository(database)
    try:
        with Gateway(settings(), repository, runner="inline") as gateway:
            yield gateway
    finally:
        repository.close()


def identifier(_context: click.Context, _parameter: click.Parameter, value: str) -> UUID:
    """An id given on the command line."""
    try:
        return UUID(value)
    except ValueError:
        raise click.BadParameter(
            f"got {value!r}, expected an id such as 5f0c1b1e-…, as `mpesa conflicts` shows"
        ) from None


def plainly(command: F) -> F:
    """Say an error of the SDK's in its own words, without a traceback, and exit with 1."""

    @wraps(command)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        try:
            return command(*arguments, **keywords)
        except MpesaError as error:
            _fail(error)

    return wrapped  # type: ignore[return-value]


def _fail(error: MpesaError) -> NoReturn:
    raise click.ClickException(str(error)) from None
