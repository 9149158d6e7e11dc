"""The view of every callback: Django's request to the core's webhooks, and their answer back.

It is exempt from CSRF, from a login that middleware requires, and from ``ATOMIC_REQUESTS``: what was recorded stays
recorded, whatever happens afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from mpesa_core.webhooks.wsgi import receive_environ
from mpesa_django.front import front

__all__ = ["callback", "outside_transactions"]


class _Answer(HttpResponse):
    """When the server closes it, it was handed over and the inline runner works, before Django ends the request."""

    after: Callable[[], None] | None = None

    def close(self) -> None:
        after, self.after = self.after, None
        try:
            if after is not None:
                after()
        finally:
            super().close()


def _environ(request: HttpRequest) -> dict[str, Any]:
    """The request in WSGI's form, unread: the core's limit on the body holds before anything is read."""
    environ: dict[str, Any] = dict(request.META)
    if not isinstance(request, WSGIRequest):
        environ["wsgi.input_terminated"] = True  # Django has an ASGI request's whole body at hand
    if environ.get("CONTENT_LENGTH") or not isinstance(request, WSGIRequest):
        environ["wsgi.input"] = request  # reads on where a middleware has read; Django's own stream ends at once
    return environ


def outside_transactions(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view, exempt from ``ATOMIC_REQUESTS`` of every database."""
    for alias in connections:
        view = non_atomic_requests(using=alias)(view)
    return view


@csrf_exempt
@login_not_required
@outside_transactions
def callback(request: HttpRequest, path: str, token: str = "") -> HttpResponse:
    """Receive one callback.

    Args:
        request: any method; what is not a POST is answered 405.
        path: of the route, see :data:`mpesa_core.routes.ROUTES`.
        token: the last part of the URL, where it has one.
    """
    received = receive_environ(front.webhooks, _environ(request), path + token)
    answer = _Answer(received.body, status=received.status, headers=dict(received.headers))
    answer.after = received.after
    return answer
