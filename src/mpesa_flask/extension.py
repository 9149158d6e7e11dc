"""The extension: an app gets its settings, routes and commands, and views get the current app's gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, current_app, request_started

from mpesa_core.errors import ConfigurationError
from mpesa_core.gateway import Gateway
from mpesa_core.queues import QUEUES
from mpesa_core.settings import Settings
from mpesa_flask.cli import mpesa as commands
from mpesa_flask.queues import check_queue
from mpesa_flask.routes import callbacks
from mpesa_flask.state import MpesaState, state_of

if TYPE_CHECKING:
    from mpesa_core.repository.protocol import Repository
    from mpesa_core.settlement.drivers import ResolveHook
    from mpesa_core.tasks import TaskRunner

    _Attributes = Gateway  # for type checkers: what the extension has not itself is the gateway's
else:
    _Attributes = object

__all__ = ["Mpesa"]

_PREFIX = "/pay"


class Mpesa(_Attributes):
    """Hands out the gateway of the current app: ``mpesa.stk_push(...)`` is its gateway's.

    One object serves any number of apps; what belongs to an app is in ``app.extensions["mpesa"]``.

    Args:
        app: initialised at once; or call :meth:`init_app`.
        repository: where transactions and callbacks are kept, or a function that makes it of the app, called in an app
            context when it is first needed. A repository that is given itself is shared by all apps.
        runner: who works on callbacks: ``thread``, ``inline`` (whoever received it, after the answer), ``celery`` or
            ``rq`` (that of ``app.extensions``), a :class:`~mpesa_core.tasks.TaskRunner`, or what makes one of the app.
        resolve_c2b: gives a C2B payment that nobody initiated the host's own fields.
        url_prefix: where the callbacks are served; by default the path of ``callback_base_url``, else ``/pay``.
        blueprint: False: the host registers :data:`mpesa_flask.callbacks` by itself.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        repository: Repository | Callable[[Flask], Repository] | None = None,
        runner: str | TaskRunner | Callable[[Flask], TaskRunner] = "thread",
        resolve_c2b: ResolveHook | None = None,
        url_prefix: str | None = None,
        blueprint: bool = True,
    ) -> None:
        self._repository = repository
        self._works = runner
        self._resolve_c2b = resolve_c2b
        self._url_prefix = url_prefix
        self._blueprint = blueprint
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, repository: Repository | Callable[[Flask], Repository] | None = None) -> None:
        """Read the app's settings, and give it the callback routes and the ``flask mpesa`` commands.

        Nothing is opened or started: the first request starts the runner in the process that serves it.

        Args:
            app: configured already.
            repository: this app's own, instead of the extension's.

        Raises:
            ConfigurationError: everything that is wrong with the settings, at once; or there is no repository.
            RuntimeError: the app was initialised before.
        """
        if "mpesa" in app.extensions:
            raise RuntimeError(f"The app {app.name!r} was initialised for M-PESA before; once is enough.")
        kept_in = repository if repository is not None else self._repository
        if kept_in is None:
            raise ConfigurationError(
                ["repository: not given; expected a Repository such as SqliteRepository, or a function that makes one"]
            )
        if isinstance(self._works, str) and self._works not in {"thread", "inline", *QUEUES}:
            known = "'thread', 'inline', 'celery', 'rq', a TaskRunner or what makes one"
            raise ConfigurationError([f"runner: got {self._works!r}, expected {known}"])
        check_queue(self._works)
        settings = Settings.from_config(app.config)
        app.extensions["mpesa"] = MpesaState(app, settings, kept_in, self._works, self._resolve_c2b)
        if self._blueprint:
            prefix = self._url_prefix
            if prefix is None:
                prefix = urlsplit(settings.callback_base_url).path if settings.callback_base_url else _PREFIX
            prefix = prefix.strip("/")
            app.register_blueprint(callbacks, url_prefix=f"/{prefix}" if prefix else None)
        app.cli.add_command(commands)
        request_started.connect(_start, app)

    @property
    def gateway(self) -> Gateway:
        """The gateway of the current app.

        Raises:
            RuntimeError: there is no app context, or the current app was not initialised.
        """
        if not current_app:
            raise RuntimeError(
                "M-PESA was used outside of an app context, so there is no telling which app's gateway is meant. "
                "Use it in a view or a command, or inside of `with app.app_context():`."
            )
        return state_of(current_app).gateway

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # what inspects an object makes no gateway
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self.gateway, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(Gateway)})


def _start(app: Flask, **_more: Any) -> None:
    state_of(app).start()
