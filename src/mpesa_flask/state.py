"""What an app has of ours, in ``app.extensions["mpesa"]``: its settings, gateway and webhooks."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mpesa_core.errors import ConfigurationError
from mpesa_core.outline import outline
from mpesa_core.queues import QUEUES
from mpesa_core.webhooks import Webhooks
from mpesa_flask.queues import queue_runner
from mpesa_flask.surroundings import FlaskGateway

if TYPE_CHECKING:
    from flask import Flask

    from mpesa_core.gateway import Gateway
    from mpesa_core.repository.protocol import Repository
    from mpesa_core.settings import Settings
    from mpesa_core.settlement.drivers import ResolveHook
    from mpesa_core.tasks import TaskRunner

__all__ = ["MpesaState", "state_of"]

_log = logging.getLogger("mpesa_flask")
_T = TypeVar("_T")


class MpesaState:
    """One app's settings, and its gateway and webhooks, made when they are first needed, once for all threads.

    Args:
        app: whose they are.
        settings: read and checked.
        repository: a repository, or what makes one of the app.
        runner: ``thread``, ``inline``, ``celery``, ``rq``, a task runner, or what makes one of the app.
        resolve_c2b: see :class:`mpesa_core.Gateway`.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        repository: Repository | Callable[[Flask], Repository],
        runner: str | TaskRunner | Callable[[Flask], TaskRunner],
        resolve_c2b: ResolveHook | None,
    ) -> None:
        self.settings = settings
        self._app = app
        self._repository = repository
        self._runner = runner
        self._resolve_c2b = resolve_c2b
        self._made: dict[str, Any] = {}
        # A lock that another thread held at the moment of a fork stays locked in the child: each process has its own.
        self._locks: dict[int, threading.RLock] = {}
        self._started_in: int | None = None

    @property
    def repository(self) -> Repository:
        """Where transactions and callbacks are kept.

        Raises:
            ConfigurationError: what was to make it made something else.
        """
        return self._once("repository", self._make_repository)

    @property
    def gateway(self) -> Gateway:
        """The gateway."""
        return self._once("gateway", self._make_gateway)

    @property
    def webhooks(self) -> Webhooks:
        """What receives the callbacks."""
        return self._once("webhooks", lambda: Webhooks(self.gateway))

    @contextmanager
    def command_gateway(self) -> Iterator[Gateway]:
        """A gateway for a command: it works in the command's own thread, and is closed afterwards."""
        with FlaskGateway(
            self._app, self.settings, self.repository, runner="inline", resolve_c2b=self._resolve_c2b
        ) as gateway:
            yield gateway

    def start(self) -> None:
        """Start the runner, and with it recovery, once in each process that serves requests.

        What fails is logged and tried again with the next request: pages that take no money must not go down with it.
        """
        if self._started_in == os.getpid():
            return
        try:
            self.gateway.start()
        except Exception as error:  # noqa: BLE001 - a host's repository may raise anything
            _log.critical("M-PESA's runner could not be started, so nothing is recovered: %s", outline(error))
        else:
            self._started_in = os.getpid()

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        if name not in self._made:
            with self._locks.setdefault(os.getpid(), threading.RLock()):
                if name not in self._made:
                    self._made[name] = make()
        made: _T = self._made[name]
        return made

    def _make_repository(self) -> Repository:
        given: Repository = self._of_the_app(self._repository)
        if not callable(getattr(given, "add_callback", None)):
            raise ConfigurationError([f"repository: the function made {type(given).__name__}, expected a Repository"])
        return given

    def _make_gateway(self) -> Gateway:
        runner = self._of_the_app(self._runner)
        if isinstance(runner, str) and runner in QUEUES:
            runner = queue_runner(runner, self._app)
        if not isinstance(runner, str) and not all(
            callable(getattr(runner, name, None)) for name in ("submit", "start", "stop")
        ):
            raise ConfigurationError(
                [f"runner: got {type(runner).__name__}, expected 'thread', 'inline', a TaskRunner or what makes one"]
            )
        return FlaskGateway(self._app, self.settings, self.repository, runner=runner, resolve_c2b=self._resolve_c2b)

    def _of_the_app(self, given: Any) -> Any:
        if not callable(given):
            return given
        with self._app.app_context():
            return given(self._app)


def state_of(app: Flask) -> MpesaState:
    """The state of an app.

    Raises:
        RuntimeError: the app has none.
    """
    try:
        state: MpesaState = app.extensions["mpesa"]
    except KeyError:
        raise RuntimeError(
            f"The app {app.name!r} was not initialised for M-PESA; call mpesa.init_app(app) where it is made."
        ) from None
    return state
