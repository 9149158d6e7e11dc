"""The callbacks as a WSGI application, for any server or program without a framework of its own.

::

    from wsgiref.simple_server import make_server
    from mpesa_core.webhooks.wsgi import wsgi_application

    make_server("", 8000, wsgi_application(Webhooks(gateway), prefix="/pay/")).serve_forever()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import attrs

from mpesa_core.webhooks.exchange import WebhookRequest, WebhookResponse

if TYPE_CHECKING:
    from mpesa_core.webhooks.receive import Webhooks

__all__ = ["receive_environ", "wsgi_application"]

_Environ = dict[str, Any]
_StartResponse = Callable[..., Any]


def wsgi_application(webhooks: Webhooks, *, prefix: str = "/") -> Callable[[_Environ, _StartResponse], Iterable[bytes]]:
    """A WSGI application that serves the callback paths below a prefix.

    A callback is answered 411 where the server hands over no body that is known to end (chunks that it does not
    decode): it would be acknowledged unread. M-PESA always announces a length.

    Args:
        webhooks: what receives.
        prefix: such as ``/pay/``: the path part of ``callback_base_url``, below where the server mounts this.
    """
    root = f"/{prefix.strip('/')}/".replace("//", "/")

    def application(environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        response = receive_environ(webhooks, environ, path.removeprefix(root) if path.startswith(root) else "/")
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return _Body(response.body, response.after)

    return application


def receive_environ(webhooks: Webhooks, environ: Mapping[str, Any], path: str) -> WebhookResponse:
    """Receive what a WSGI server, or a framework that keeps its form, hands over.

    Args:
        webhooks: what receives.
        environ: the request.
        path: below the prefix.
    """
    request = WebhookRequest(
        method=environ.get("REQUEST_METHOD", "GET"),
        path=path,
        headers=_headers(environ),
        body=environ["wsgi.input"],
        peer=environ.get("REMOTE_ADDR") or "",
    )
    if request.announced_length is None and not environ.get("wsgi.input_terminated"):
        # Reading on would wait for a connection that M-PESA keeps open.
        if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
            return _LENGTH_REQUIRED
        request = attrs.evolve(request, body=b"")
    return webhooks.receive(request)


_LENGTH_REQUIRED = WebhookResponse(
    status=411, headers=(("Content-Type", "application/json"), ("Content-Length", "0")), body=b""
)

_WITHOUT_PREFIX = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
"""Some servers give these with ``HTTP_`` as well; what the body was framed by is the one without."""


def _headers(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (_name(key), value)
        for key, value in environ.items()
        if (key[5:] not in _WITHOUT_PREFIX if key.startswith("HTTP_") else key in _WITHOUT_PREFIX and value)
    ]


@lru_cache(128)
def _name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").title()


class _Body:
    """One piece of bytes; when the server closes it, the response was handed over and the inline runner may work."""

    def __init__(self, body: bytes, after: Callable[[], None] | None) -> None:
        self._body = body
        self._after = after

    def __iter__(self) -> Iterator[bytes]:
        yield self._body

    def close(self) -> None:
        if self._after is not None:
            self._after()
