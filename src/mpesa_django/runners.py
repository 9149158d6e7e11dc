"""Who works on callbacks once they were acknowledged: the core's runners, with Django's connections looked after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import close_old_connections

from mpesa_core.tasks import TaskRunner

__all__ = ["fresh_connections", "given_runner"]


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Around each job, what Django does around each request: drop connections that broke or are too old."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def given_runner(runner: str | Callable[[Any], Any], gateway: Any) -> str | TaskRunner:
    """The runner that ``MPESA["RUNNER"]`` names: a word that the core knows, or what the factory makes.

    Raises:
        TypeError: the factory made something else.
    """
    if isinstance(runner, str):
        return runner
    made = runner(gateway)
    if not all(callable(getattr(made, name, None)) for name in ("submit", "start", "stop")):
        raise TypeError(f"MPESA['RUNNER']: the factory made {type(made).__name__}, expected a TaskRunner")
    return made  # type: ignore[no-any-return]
