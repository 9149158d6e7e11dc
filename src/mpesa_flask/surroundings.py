"""The core's gateway and bus inside an app context: in views, in worker threads and in commands alike.

Each piece of work gets a context of its own and each receiver another, so that what they open (a database session, say)
is closed after them, and a session that one receiver broke is not the next one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mpesa_core.gateway import Gateway
from mpesa_core.signals import BlinkerBus

if TYPE_CHECKING:
    from flask import Flask

    from mpesa_core.settlement.effects import Procedure

__all__ = ["FlaskBus", "FlaskGateway"]

T = TypeVar("T")


class FlaskBus(BlinkerBus):
    """The core's bus, with an app as the sender.

    Args:
        app: whose receivers are called; coroutine functions by its ``ensure_sync``.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._app = app

    def call(self, receiver: Any, arguments: Mapping[str, Any]) -> Any:
        """Call one receiver in an app context of its own."""
        with self._app.app_context():
            return super().call(self._app.ensure_sync(receiver), arguments)

    async def acall(self, receiver: Any, arguments: Mapping[str, Any]) -> Any:
        """The same inside a running event loop."""
        with self._app.app_context():
            return await super().acall(receiver, arguments)


class FlaskGateway(Gateway):
    """The core's gateway of an app; repository and hooks are called in an app context, in whichever thread."""

    def __init__(self, app: Flask, *arguments: Any, **options: Any) -> None:
        self._app = app
        super().__init__(*arguments, bus=FlaskBus(app), **options)

    def _run(self, procedure: Procedure[T]) -> T:
        with self._app.app_context():
            return super()._run(procedure)
