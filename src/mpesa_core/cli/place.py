"""Where a command finds transactions and callbacks: the gateway of the user's own program, or an SQLite file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import attrs
import click

from mpesa_core.errors import MpesaError
from mpesa_core.gateway import Gateway
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings
from mpesa_core.signals import SIGNALS, BlinkerBus

__all__ = ["Place", "at_a_place", "at_hand", "firing_signals", "identifier", "settings"]

F = TypeVar("F", bound=Callable[..., Any])


def settings() -> Settings:
    """The settings from ``MPESA_*``.

    Raises:
        ConfigurationError: everything that is wrong, at once.
    """
    return Settings.from_environ(os.environ, also=("database", "gateway"))


@attrs.frozen
class Place:
    """Where transactions and callbacks are kept.

    Attributes:
        database: an SQLite file, or None.
        gateway: ``MODULE:NAME`` of the program's own gateway, or None.
        unheard: signals may fire although nobody listens in this process.
        program: makes the gateway, where a program has one at hand; ``gateway`` is then what to call it.
    """

    database: str | None = None
    gateway: str | None = None
    unheard: bool = False
    program: Callable[[], AbstractContextManager[Gateway]] | None = None

    def __str__(self) -> str:
        return self.gateway or self.database or ""

    @contextmanager
    def open(self, *, fires: bool = False, make: bool = False) -> Iterator[Gateway]:
        """The gateway; it is closed afterwards.

        Args:
            fires: what is done with it fires signals, so somebody has to listen.
            make: make the file where there is none.

        Raises:
            ClickException: neither or both places were named, there is nothing there, or nobody listens.
            MpesaError: the settings are wrong, or the file cannot be used.
        """
        if not self.database and not self.gateway:
            raise click.UsageError("Name your SQLite file with --database, or your program's gateway with --gateway.")
        if self.database and self.gateway:
            raise click.UsageError(
                f"Got the database {self.database} and the gateway {self.gateway}, which has a repository of its own; "
                "expected one of them (MPESA_DATABASE and MPESA_GATEWAY count as given)."
            )
        with self._found(make=make) as gateway:
            if fires and not self.unheard and not _is_heard(gateway):
                remedy = (
                    "Connect the receivers where the program is made"
                    if self.program
                    else "Name your program's gateway with --gateway MODULE:NAME, in a module that connects them"
                )
                raise click.UsageError(
                    "Signals fire in the process that settles, and this one knows no receiver of yours: whatever it "
                    f"announced would be lost on your program. {remedy}; or say --unheard, if nothing of yours listens."
                )
            yield gateway

    def _found(self, *, make: bool) -> AbstractContextManager[Gateway]:
        if self.program:
            return self.program()
        return _imported(self.gateway) if self.gateway else _on_file(self.database or "", make=make)


@contextmanager
def _on_file(database: str, *, make: bool) -> Iterator[Gateway]:
    if not make and not Path(database).exists():
        raise click.ClickException(
            f"There is no file {database}; expected the SQLite file that your program writes to."
        )
    given = settings()
    repository = SqliteRepository(database)
    try:
        with Gateway(given, repository, runner="inline") as gateway:
            yield gateway
    finally:
        repository.close()


@contextmanager
def _imported(name: str) -> Iterator[Gateway]:
    module_name, _, attribute = name.partition(":")
    expected = "expected MODULE:NAME of a Gateway, or of a function that makes one, such as shop.payments:gateway"
    if not module_name or not attribute.isidentifier():
        raise click.UsageError(f"--gateway: got {name!r}, {expected}.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise click.ClickException(f"--gateway: {module_name} cannot be imported: {error}.") from None
    found = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, (type, Gateway)):
        found = found()
    if not isinstance(found, Gateway):
        raise click.ClickException(f"--gateway: got {type(found).__name__} from {name}, {expected}.")
    with found as gateway:
        yield gateway


def _is_heard(gateway: Gateway) -> bool:
    bus = gateway.bus
    if not isinstance(bus, BlinkerBus):
        return True
    return any(True for signal in SIGNALS.values() for _ in signal.receivers_for(bus.sender))


def at_a_place(command: F) -> F:
    """Give a command the options that name a place, and the place as ``place``.

    Where a command stands in a group, the place may be named on either. An error of the SDK's is said in its own words,
    without a traceback, with exit status 1.
    """

    @click.option(
        "--database",
        envvar="MPESA_DATABASE",
        type=click.Path(dir_okay=False),
        help="The SQLite file with transactions and callbacks; or set MPESA_DATABASE.",
    )
    @click.option(
        "--gateway",
        envvar="MPESA_GATEWAY",
        metavar="MODULE:NAME",
        help="Instead of a file: your program's own gateway, with its settings, repository and receivers; or set "
        "MPESA_GATEWAY.",
    )
    @click.pass_context
    @wraps(command)
    def wrapped(context: click.Context, *arguments: Any, **keywords: Any) -> Any:
        above = context.find_object(Place) or Place()
        database, gateway = keywords.pop("database", None), keywords.pop("gateway", None)
        unheard = keywords.pop("unheard", False)
        context.obj = attrs.evolve(
            above, database=database or above.database, gateway=gateway or above.gateway, unheard=unheard
        )
        try:
            return command(*arguments, place=context.obj, **keywords)
        except MpesaError as error:
            raise click.ClickException(str(error)) from None

    return wrapped  # type: ignore[return-value]


def at_hand(command: click.Command, place: Callable[[], Place]) -> click.Command:
    """The command for a program that has its gateway at hand: without the options and variables that name a place.

    Args:
        command: one of ours, or a group of them.
        place: where it works; asked for when it runs.
    """

    @click.pass_context
    def placed(context: click.Context, *arguments: Any, **keywords: Any) -> Any:
        context.obj = place()
        assert command.callback is not None
        return context.invoke(command.callback, *arguments, **keywords)

    changed = copy(command)
    changed.params = [each for each in command.params if each.name not in {"database", "gateway"}]
    changed.callback = placed
    if isinstance(command, click.Group) and isinstance(changed, click.Group):
        changed.commands = {name: at_hand(each, place) for name, each in command.commands.items()}
    return changed


firing_signals = click.option(
    "--unheard", is_flag=True, help="Go on although this process knows no receiver of your program's."
)
"""The option of a command that fires signals."""


def identifier(_context: click.Context, _parameter: click.Parameter, value: str) -> UUID:
    """An id given on the command line."""
    try:
        return UUID(value)
    except ValueError:
        raise click.BadParameter(
            f"got {value!r}, expected an id such as 5f0c1b1e-7a52-4c43-9a3e-0d2f6c1b8e11."
        ) from None
