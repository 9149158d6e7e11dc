"""M-PESA for Flask: the adapter of mpesa_core.

It holds what only Flask needs and nothing that decides what a payment means: the extension that hands out the current
app's gateway, the callback routes, signals whose receivers run in an app context, and the ``flask mpesa`` commands::

    from flask import Flask
    from mpesa_core import SqliteRepository
    from mpesa_flask import Mpesa

    mpesa = Mpesa(repository=lambda app: SqliteRepository(app.config["PAYMENTS_FILE"]))

    def create_app():
        app = Flask(__name__)
        app.config.from_pyfile("shop.cfg")
        mpesa.init_app(app)
        return app

In a view, ``mpesa.stk_push(phone_number=..., amount=..., account_reference=...)``. Importing the package does not
import Flask; the first use of its names does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpesa_flask.extension import Mpesa
    from mpesa_flask.page import operations_page
    from mpesa_flask.routes import callbacks

__all__ = ["Mpesa", "callbacks", "operations_page"]


_PLACES = {"Mpesa": "extension", "callbacks": "routes", "operations_page": "page"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        import_module(f"{__name__}.{_PLACES[name]}"), name
    )  # where Flask is absent, the package is importable
