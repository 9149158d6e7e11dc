"""What coroutines need of Django: its database is used in the thread that Django keeps for that.

Django's own ``aget`` and ``asave`` work in it: one for each request under ASGI, with the connections that Django closes
when the request is over, and the main thread of a test, whose transaction it sees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async

__all__ = ["AsyncRepository", "as_coroutine"]


def as_coroutine(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The function as a coroutine function."""

    @wraps(function)
    async def call(*arguments: Any, **keywords: Any) -> Any:
        return await sync_to_async(function, thread_sensitive=True)(*arguments, **keywords)

    return call


class AsyncRepository:
    """The operations of a repository as coroutines.

    Args:
        repository: a synchronous one, usually a :class:`~mpesa_django.repository.DjangoRepository`.
    """

    def __init__(self, repository: Any) -> None:
        self._repository = repository

    def __repr__(self) -> str:
        return f"<AsyncRepository of {self._repository!r}>"

    def __getattr__(self, name: str) -> Any:
        # What the repository does not have is an AttributeError here too, as the optional protocols want it.
        return as_coroutine(getattr(self._repository, name))
