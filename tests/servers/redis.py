"""A throwaway Redis, where the system has one."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from collections.abc import Iterator

from tests.servers.starting import Server, free_port, own_folder

__all__ = ["Redis", "redis_binary"]


def redis_binary() -> str | None:
    """The server's program; None where there is none."""
    return shutil.which("redis-server", path="/usr/local/bin:/usr/bin:/bin")


class Redis:
    """A server of its own that writes nothing to disk: what is in it is gone when it is killed."""

    def __init__(self, binary: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = Server("Redis", [binary, *options], own_folder("redis"), self._answers)
        self._server.start()

    def _answers(self) -> bool:
        return b"+PONG" in self.command("PING")

    def command(self, *words: str) -> bytes:
        """Send one command and return what comes first of its answer; nothing where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(" ".join(words).encode() + b"\r\n")
                return connection.recv(4096)
        except OSError:
            return b""

    def kill(self) -> None:
        """Kill it, with everything in it."""
        self._server.stop(signal.SIGKILL)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections meanwhile, and answers nothing."""
        self._server.send(signal.SIGSTOP)
        yield
        self._server.send(signal.SIGCONT)

    def start(self) -> None:
        """Start it again, empty."""
        self._server.start()

    def remove(self) -> None:
        """Stop it for good."""
        self._server.remove()
