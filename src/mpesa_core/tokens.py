"""Access tokens: one for each pair of keys, shared by threads, tasks and, with a store that they share, by processes.

Safaricom's FAQ says that a new token makes the one before it invalid. So tokens are shared, renewed by one caller while
the others wait, renewed before they expire, and renewed once when Daraja refuses one: whoever comes with a refused one
first looks whether a newer one is there already. They are :class:`~mpesa_core.settings.Secret` on their way, so that no
traceback that shows variables shows one.

A host replaces :class:`MemoryTokenStore` with a :class:`TokenStore` of its own (four short methods over Redis or
Django's cache), so that its processes share one token.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import json
import os
import threading
import time
import weakref
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mpesa_core.errors import MpesaError, NotSent
from mpesa_core.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["MemoryTokenStore", "TokenKeeper", "TokenStore", "token_key"]

_EARLY = 60.0
"""Seconds before its expiry that a token is renewed; a tenth of its lifetime where that is less."""

_POLL = 0.05
"""Seconds between two looks at the store while another process fetches."""


class TokenStore(Protocol):
    """Where tokens are kept. Values are text that means nothing to the store; they are secrets.

    The methods may block: the async client calls those of every store but :class:`MemoryTokenStore` in a thread. What
    they raise reaches the caller of ``send`` as :class:`~mpesa_core.errors.NotSent`.
    """

    def get(self, key: str) -> str | None:
        """The value, or None."""

    def set(self, key: str, value: str, seconds: float) -> None:
        """Keep the value; it may be forgotten after that many seconds."""

    def claim(self, key: str, seconds: float) -> bool:
        """Become the one who fetches: True for the first, False for the others until it is released or has lapsed.

        In Redis ``SET NX EX``, in Django's cache ``add``, under a name of its own beside the value's.

        Args:
            key: as for :meth:`get`.
            seconds: after this the claim lapses by itself.
        """
        ...

    def release(self, key: str) -> None:
        """Give the claim back."""


class MemoryTokenStore:
    """Tokens in this process's memory; clients may share one."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._claims: dict[str, float] = {}
        self._lock = threading.Lock()
        _forked.add(self)

    def get(self, key: str) -> str | None:
        """The value, or None."""
        return self._values.get(key)

    def set(self, key: str, value: str, seconds: float) -> None:  # noqa: ARG002 - the value itself says when it expires
        """Keep the value."""
        self._values[key] = value

    def claim(self, key: str, seconds: float) -> bool:
        """Become the one who fetches, for that many seconds at most."""
        now = time.monotonic()
        with self._lock:
            if self._claims.get(key, now) > now:
                return False
            self._claims[key] = now + seconds
            return True

    def release(self, key: str) -> None:
        """Give the claim back."""
        with self._lock:
            self._claims.pop(key, None)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._claims = {}


def token_key(base_url: str, consumer_key: str, consumer_secret: str) -> str:
    """The name under which these credentials' token is kept. It tells nothing about them."""
    digest = hashlib.sha256()
    for part in (base_url, consumer_key, consumer_secret):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return f"daraja-token-{digest.hexdigest()}"


@attrs.frozen
class _Kept:
    """A token as it stands in the store; times in UTC."""

    access_token: Secret
    obtained_at: datetime
    expires_at: datetime

    @property
    def lifetime(self) -> float:
        return (self.expires_at - self.obtained_at).total_seconds()

    @property
    def margin(self) -> float:
        return min(_EARLY, self.lifetime / 10)

    def text(self) -> str:
        return json.dumps(
            {
                "access_token": self.access_token.reveal(),
                "obtained_at": self.obtained_at.isoformat(),
                "expires_at": self.expires_at.isoformat(),
            }
        )

    @classmethod
    def from_text(cls, text: object) -> _Kept | None:
        """What a store gave back, or None where that is not what was put in."""
        try:
            fields = json.loads(text if isinstance(text, (str, bytes)) else "")
            kept = cls(
                Secret(str(fields["access_token"])),
                datetime.fromisoformat(fields["obtained_at"]),
                datetime.fromisoformat(fields["expires_at"]),
            )
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        aware = kept.obtained_at.tzinfo is not None and kept.expires_at.tzinfo is not None
        return kept if aware and fields["access_token"] and kept.expires_at >= kept.obtained_at else None


@attrs.frozen
class _Seen:
    """By the monotonic clock, which no one sets: until when this process uses a token."""

    access_token: Secret
    until: float


@attrs.frozen
class _Renewed:
    access_token: Secret
    fetched: bool


class _Abandoned(Exception):  # noqa: N818 - never leaves this module
    """The one who was fetching was cancelled: somebody else has to."""


@attrs.frozen
class _Ask:
    """Wanted: the result of a store's method, which may block."""

    method: Callable[[], Any]


@attrs.frozen
class _Fetch:
    """Wanted: a new token and its lifetime in seconds."""


@attrs.frozen
class _Pause:
    seconds: float


@attrs.frozen
class _Wait:
    """Wanted: the result of somebody else's fetching."""

    flight: Future[_Renewed]


_Step = _Ask | _Fetch | _Pause | _Wait


class TokenKeeper:
    """Gives out tokens for one client: from the store, or fetched by one caller for all.

    A token is in use until ``min(60, lifetime / 10)`` seconds before its expiry, by the wall clock or by the monotonic
    clock of this process, whichever comes first: a wall clock that is set back does not lengthen a token's life.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        claim_seconds: float = 60.0,
    ) -> None:
        """Keep tokens.

        Args:
            store: where.
            clock: the present, aware.
            monotonic: seconds that only ever grow.
            claim_seconds: how long other processes wait for the one that fetches, before they fetch themselves.
        """
        self._store = store
        self._in_memory = type(store) is MemoryTokenStore  # a subclass may do anything, and block
        self._clock = clock
        self._monotonic = monotonic
        self._claim_seconds = claim_seconds
        self._seen: dict[str, _Seen] = {}
        self._flights: dict[str, Future[_Renewed]] = {}
        self._lock = threading.Lock()
        _forked.add(self)

    def obtain(
        self,
        key: str,
        refused: Secret | None,
        fetch: Callable[[], tuple[Secret, float]],
        sleep: Callable[[float], Any],
    ) -> Secret:
        """A token that is not the refused one, for threads.

        Args:
            key: see :func:`token_key`.
            refused: the token that Daraja refused, or None.
            fetch: gets a new one and its lifetime in seconds; called by one caller at a time.
            sleep: waits that many seconds.

        Raises:
            NotSent: the store failed.
            MpesaError: what ``fetch`` raised, to everybody who waited for it.
        """
        steps = self._obtain(key, refused)
        try:
            step = next(steps)
            while True:
                result: Any = None
                failure: Exception | None = None
                try:
                    if isinstance(step, _Ask):
                        result = step.method()
                    elif isinstance(step, _Fetch):
                        result = fetch()
                    elif isinstance(step, _Wait):
                        result = step.flight.result()
                    else:
                        sleep(step.seconds)
                except Exception as error:  # noqa: BLE001 - the procedure decides what becomes of it
                    failure = error
                step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            token: Secret = stop.value
            return token
        finally:
            steps.close()

    async def obtain_async(
        self,
        key: str,
        refused: Secret | None,
        fetch: Callable[[], Awaitable[tuple[Secret, float]]],
        sleep: Callable[[float], Awaitable[Any]],
    ) -> Secret:
        """As :meth:`obtain`, for tasks, also those of several event loops."""
        steps = self._obtain(key, refused)
        in_thread = not self._in_memory
        try:
            step = next(steps)
            while True:
                result: Any = None
                failure: Exception | None = None
                try:
                    if isinstance(step, _Ask):
                        result = await asyncio.to_thread(step.method) if in_thread else step.method()
                    elif isinstance(step, _Fetch):
                        result = await fetch()
                    elif isinstance(step, _Wait):
                        result = await asyncio.wrap_future(step.flight)
                    else:
                        await sleep(step.seconds)
                except Exception as error:  # noqa: BLE001 - the procedure decides what becomes of it
                    failure = error
                step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            token: Secret = stop.value
            return token
        finally:
            steps.close()  # a cancelled task must not leave the others waiting

    # The procedure, once for threads and tasks.

    def _obtain(self, key: str, refused: Secret | None) -> Generator[_Step, Any, Secret]:
        while True:
            kept = yield from self._look(key, refused)
            if kept is not None:
                return kept
            flight, leading = self._board(key)
            if leading:
                return (yield from self._lead(key, refused, flight)).access_token
            failure: Exception
            try:
                renewed: _Renewed = yield _Wait(flight)
            except _Abandoned:
                continue
            except Exception as error:  # noqa: BLE001 - handed on below
                failure = error
            else:
                # What another process put into the store may be the very token that was refused: look again.
                if renewed.fetched or renewed.access_token != refused:
                    return renewed.access_token
                continue
            # A copy for each who waited: one exception raised in many threads gathers all their tracebacks.
            raise copy.copy(failure) if isinstance(failure, MpesaError) else failure

    def _board(self, key: str) -> tuple[Future[_Renewed], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Future()
            flight.set_running_or_notify_cancel()  # so that a waiting task that is cancelled does not cancel it for all
            return flight, True

    def _lead(self, key: str, refused: Secret | None, flight: Future[_Renewed]) -> Generator[_Step, Any, _Renewed]:
        outcome: _Renewed | Exception = _Abandoned()
        try:
            outcome = yield from self._renew(key, refused)
        except Exception as error:
            outcome = error
            raise
        else:
            return outcome
        finally:
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
            if isinstance(outcome, Exception):
                flight.set_exception(outcome)
            else:
                flight.set_result(outcome)

    def _renew(self, key: str, refused: Secret | None) -> Generator[_Step, Any, _Renewed]:
        claimed = False
        for _ in range(max(1, int(self._claim_seconds / _POLL))):
            claimed = yield from self._ask("claim", partial(self._store.claim, key, self._claim_seconds))
            # After the claim, not before: whoever held it before us has written by now.
            kept = yield from self._look(key, refused)
            if kept is not None:
                if claimed:
                    yield from self._release(key)
                return _Renewed(kept, fetched=False)
            if claimed:
                break
            yield _Pause(_POLL)
        try:
            began, now = (
                self._monotonic(),
                self._clock(),
            )  # from before the request: never later than Daraja's own count
            access_token, lifetime = yield _Fetch()
            kept_token = _Kept(access_token, now, now + timedelta(seconds=lifetime))
            self._seen[key] = _Seen(access_token, began + lifetime - kept_token.margin)
            put = partial(self._store.set, key, kept_token.text(), lifetime)
            yield from self._ask("set", put)
        except Exception:
            if claimed:
                yield from self._release(key)
            raise
        except BaseException:
            # Cancelled: a generator that is being closed cannot wait any more. A claim that is left lapses by itself.
            if claimed and self._in_memory:
                self._store.release(key)
            raise
        if claimed:
            yield from self._release(key)
        return _Renewed(access_token, fetched=True)

    def _look(self, key: str, refused: Secret | None) -> Generator[_Step, Any, Secret | None]:
        kept = _Kept.from_text((yield from self._ask("get", partial(self._store.get, key))))
        if kept is None or kept.access_token == refused:
            return None
        now, ticks = self._clock(), self._monotonic()
        seen = self._seen.get(key)
        if seen is None or seen.access_token != kept.access_token:
            left = min((kept.expires_at - now).total_seconds(), kept.lifetime)
            seen = self._seen[key] = _Seen(kept.access_token, ticks + left - kept.margin)
        fresh = now < kept.expires_at - timedelta(seconds=kept.margin) and ticks < seen.until
        return kept.access_token if fresh else None

    def _ask(self, name: str, method: Callable[[], Any]) -> Generator[_Step, Any, Any]:
        try:
            return (yield _Ask(method))
        except Exception as error:  # noqa: BLE001 - a store is the host's: Redis, a cache, a database
            problem = type(error).__name__
        raise NotSent(f"The token store's {name} failed with {problem}, so nothing was sent.")

    def _release(self, key: str) -> Generator[_Step, Any, None]:
        with contextlib.suppress(Exception):  # a claim lapses by itself, and the token is there
            yield _Ask(partial(self._store.release, key))

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._flights = {}


_forked: weakref.WeakSet[MemoryTokenStore | TokenKeeper] = weakref.WeakSet()


def _after_fork() -> None:
    # A lock that another thread held at the fork, or a fetch that only the parent makes, would hold up the child.
    for one in list(_forked):
        one._after_fork()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
