"""What the processes of a trial tell: lines that survive the process that wrote them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Record"]


class Record:
    """A file of JSON lines that any number of processes append to; each line is whole, also when its writer is killed.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, what: str, **facts: Any) -> None:
        """Write one line, in one system call."""
        os.write(self._file, json.dumps({"what": what, **facts}, default=str).encode() + b"\n")

    def read(self, what: str | None = None) -> list[dict[str, Any]]:
        """The lines so far, or those that tell of one thing."""
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [line for line in lines if what in (None, line["what"])]
