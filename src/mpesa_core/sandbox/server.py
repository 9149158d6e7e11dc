"""The local Daraja as a real HTTP server on loopback, which delivers its callbacks by itself."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from mpesa_core.daraja.operation import HttpRequest
from mpesa_core.sandbox.daraja import LocalDaraja, LostAnswer, NoConnection

__all__ = ["DarajaServer"]

_LARGEST_REQUEST = 1_048_576


class DarajaServer:
    """Serves a :class:`LocalDaraja` until it is stopped, in a ``with`` statement or by ``start`` and ``stop``.

    Args:
        daraja: what answers; its ``post`` delivers the callbacks, in this server's threads.
        host: the address to listen on; loopback, as everything here is pretence and nothing is protected.
        port: 0 for a free one.
        couriers: how many callbacks are posted at the same time at most.
    """

    def __init__(self, daraja: LocalDaraja, *, host: str = "127.0.0.1", port: int = 0, couriers: int = 4) -> None:
        self.daraja = daraja
        self._stopping = threading.Event()
        self._server = _Server((host, port), _handler(daraja))
        self._threads = [threading.Thread(target=self._serve, name="local-daraja", daemon=True)]
        names = (f"local-daraja-courier-{number}" for number in range(couriers))
        self._threads += [threading.Thread(target=self._deliver, name=name, daemon=True) for name in names]

    @property
    def base_url(self) -> str:
        """Where it listens, for ``Settings.environment``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Begin to serve and to deliver.

        Raises:
            RuntimeError: it was started before.
        """
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and delivering; what was not delivered stays with the LocalDaraja. Harmless when repeated."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        started = [thread for thread in self._threads if thread.ident is not None]
        if started:
            self._server.shutdown()
        self._server.server_close()
        self.daraja.wake()
        for thread in started:
            thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def _deliver(self) -> None:
        while not self._stopping.is_set():
            if not self.daraja.deliver_next():
                self.daraja.wait(0.5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up in the middle of an answer is no error of ours, and nothing to print."""


def _handler(daraja: LocalDaraja) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def _answer(self) -> None:
            try:
                length = int(self.headers.get("Content-Length") or 0)
            except ValueError:
                length = -1
            if not 0 <= length <= _LARGEST_REQUEST:
                self.send_error(413 if length > 0 else 400)
                return
            request = HttpRequest(
                method=self.command, path=self.path, headers=dict(self.headers.items()), body=self.rfile.read(length)
            )
            try:
                response = daraja.handle(request)
            except (LostAnswer, NoConnection):
                self.close_connection = True
                return
            self.send_response(response.status)
            headers = {"content-length": str(len(response.body)), **response.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Print nothing: a path may hold a token."""

    return Handler
