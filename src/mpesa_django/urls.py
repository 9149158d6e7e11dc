"""The callback paths, for ``path("pay/", include("mpesa_django.urls"))``.

They are those of :data:`mpesa_core.routes.ROUTES`, each with or without a token and a slash at its end (a redirect to
the slash would lose the callback). Names are the paths: ``mpesa_django:stk_callback``. Choose a prefix without the
words that Daraja refuses, such as mpesa.
"""

from __future__ import annotations

import re

from django.urls import URLPattern, path, re_path

from mpesa_core.routes import ROUTES, Route
from mpesa_django.views import callback

__all__ = ["app_name", "urlpatterns"]

app_name = "mpesa_django"


def _patterns(route: Route) -> list[URLPattern]:
    given = {"path": route.path}
    stem = route.path.rstrip("/")
    return [
        path(route.path, callback, given, name=stem.replace("/", "_")),
        path(stem, callback, given),
        re_path(rf"^{re.escape(route.path)}(?P<token>[^/]+)/?$", callback, given),
    ]


urlpatterns = [pattern for route in ROUTES for pattern in _patterns(route)]
