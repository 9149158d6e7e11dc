"""What every server needs: a free port, a folder of its own, a user that is not root, and patience."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Server", "free_port", "own_folder", "unprivileged"]

_PATIENCE = 60.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unprivileged() -> dict[str, object]:
    """What has a subprocess run as nobody where the tests run as root: a database server refuses to be root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def own_folder(name: str) -> Path:
    """A new folder that belongs to whom :func:`unprivileged` names; with a short path, for a socket's name is short."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
    if not os.geteuid():
        shutil.chown(folder, "nobody")
    return folder


class Server:
    """A process that serves until it is stopped."""

    def __init__(self, name: str, command: list[str], folder: Path, answers: Callable[[], bool]) -> None:
        self.name = name
        self.folder = folder
        self._command = command
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **unprivileged()
            )
        latest = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > latest:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"{self.name} did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.02)

    def send(self, which: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(which)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop it for good, and remove what it wrote."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
