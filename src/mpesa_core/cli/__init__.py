"""The ``mpesa`` command."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; without the ``cli`` extra, say what to install."""
    try:
        from mpesa_core.cli.commands import mpesa  # noqa: PLC0415 - click and rich are an extra
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.exit(f"The mpesa command needs {missing}: pip install 'mpesa-core[cli]'")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without an ellipsis is no reason to stop
    mpesa(prog_name="mpesa")
