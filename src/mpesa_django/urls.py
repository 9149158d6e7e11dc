"""The callback paths, for ``path("pay/", include("mpesa_django.urls"))``.

They are those of :data:`mpesa_core.routes.ROUTES`, each with or without a token and a slash at its end (a redirect to
the slash would lose the callback). Names are the paths: ``mpesa_django:stk_callback``. Choose a prefix without the
words that Daraja refuses, such as mpesa.
"""

from __future__ import annotations

import re
from collections.abc import Callable

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
    routes = "|".join(re.escape(route.path) for route in ROUTES)
    # Django tries one pattern after the other: most callbacks have a token, few have no slash.
    return [
        re_path(rf"^(?P<path>{routes})(?P<token>[^/]+)/?$", view),
        *(path(route.path, view, {"path": route.path}, name=_stem(route).replace("/", "_")) for route in ROUTES),
        *(path(_stem(route), view, {"path": route.path}) for route in ROUTES),
    ]


def _stem(route: Route) -> str:
    return route.path.rstrip("/")


urlpatterns = patterns()
