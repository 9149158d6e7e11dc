"""The callback paths, for ``path("pay/", include("mpesa_django.urls"))``.

They are those of :data:`mpesa_core.routes.ROUTES`, each with or without a token and a slash at its end (a redirect to
the slash would lose the callback). Names are the paths: ``mpesa_django:stk_callback``. Choose a prefix without the
words that Daraja refuses, such as mpesa.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpResponseBase
from django.urls import URLPattern, path, re_path

from mpesa_core.routes import ROUTES, Route
from mpesa_django.views import callback

__all__ = ["app_name", "patterns", "urlpatterns"]

app_name = "mpesa_django"


def patterns(view: Callable[..., HttpResponseBase] = callback) -> list[URLPattern]:
    """The paths with a view of your own, which calls :func:`~mpesa_django.views.callback` with what it got.

    Wrap it with ``functools.wraps(callback)``, so that it is exempt from what that one is. Include them under their
    name: ``path("pay/", include((patterns(view), "mpesa_django")))``.
    """
    return [pattern for route in ROUTES for pattern in _patterns(route, view)]


def _patterns(route: Route, view: Any) -> Iterator[URLPattern]:
    given = {"path": route.path}
    stem = route.path.rstrip("/")
    yield path(route.path, view, given, name=stem.replace("/", "_"))
    yield path(stem, view, given)
    yield re_path(rf"^{re.escape(route.path)}(?P<token>[^/]+)/?$", view, given)


urlpatterns = patterns()
