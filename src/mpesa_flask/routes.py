"""The callback routes: those of the core, each handed as it came to the core's webhooks.

Their names are the paths: ``url_for("mpesa.stk_callback")``. Each is served with and without a token, and with and
without a slash at its end: a redirect to the slash would lose the callback.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from flask import Blueprint, Request, current_app, request
from werkzeug.wrappers import Response

from mpesa_core.routes import ROUTES
from mpesa_core.webhooks.wsgi import receive_environ
from mpesa_flask.state import state_of

__all__ = ["callbacks"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""Whatever comes is the core's to answer, or to refuse."""

callbacks = Blueprint("mpesa", __name__)
"""The blueprint; :class:`~mpesa_flask.Mpesa` registers it unless told not to."""


def _callback(path: str, token: str = "") -> Response:
    environ = {**request.environ, "wsgi.input": _body(request)}
    received = receive_environ(state_of(current_app).webhooks, environ, path + token)
    answer = current_app.response_class([received.body], received.status, received.headers)
    if received.after is not None:
        answer.call_on_close(received.after)
    return answer


def _body(given: Request) -> Any:
    """What nobody has read yet: the core's limit holds before anything is read, and Flask's own does not count.

    Where something before the view has touched the body (a hook that verifies requests, say), it is what Flask kept.
    """
    return io.BytesIO(given.get_data()) if "stream" in vars(given) else given.environ["wsgi.input"]


for _route in ROUTES:
    _stem = _route.path.rstrip("/")
    _view = partial(_callback, _route.path)
    for _rule in (f"/{_stem}/", f"/{_stem}/<token>/"):
        callbacks.add_url_rule(
            _rule, _stem.replace("/", "_"), _view, methods=_METHODS, strict_slashes=False, merge_slashes=False
        )
