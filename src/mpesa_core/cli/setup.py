"""From the environment to a gateway: ``MPESA_*`` variables, ``MPESA_DATABASE`` among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import click

from mpesa_core.errors import MpesaError
from mpesa_core.gateway import Gateway
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings

__all__ = ["database_option", "identifier", "opened", "plainly", "settings"]

F = TypeVar("F", bound=Callable[..., Any])

database_option = click.option(
    "--database",
    envvar="MPESA_DATABASE",
    required=True,
    type=click.Path(dir_okay=False),
    help="The SQLite file with transactions and callbacks; or set MPESA_DATABASE.",
)


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
