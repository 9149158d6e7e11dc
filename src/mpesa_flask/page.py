"""The operations page: what the app's payments are doing, for whoever looks after them. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Blueprint, current_app, make_response, render_template, request
from werkzeug.wrappers import Response

from mpesa_core.overview import overview
from mpesa_core.values import to_nairobi
from mpesa_flask.state import state_of

__all__ = ["operations_page"]

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def operations_page(protect: Callable[[Callable[[], Response]], Any]) -> Blueprint:
    """A blueprint with one page: what waits, conflicts, the last transactions and callbacks, and a search.

    ::

        app.register_blueprint(operations_page(login_required), url_prefix="/staff/payments")

    Phone numbers are masked; names, amounts and references are not, so it is for staff alone.

    Args:
        protect: a decorator for its view that keeps everybody else out, such as Flask-Login's ``login_required``.
    """
    blueprint = Blueprint("mpesa_operations", __name__, template_folder="templates")
    blueprint.add_url_rule("/", "page", protect(_page))
    return blueprint


def _page() -> Response:
    state = state_of(current_app)
    seen = overview(
        state.repository,
        state.settings,
        state.gateway.clock(),
        search=request.args.get("search", "")[:200],
        transactions_before=request.args.get("transactions", type=UUID),
        callbacks_before=request.args.get("callbacks", type=UUID),
    )
    shown = render_template("mpesa_flask/operations.html", seen=seen, nairobi=to_nairobi, app_name=current_app.name)
    return make_response(shown, _HEADERS)
