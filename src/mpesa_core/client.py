"""The clients: :class:`DarajaClient` for threads, :class:`AsyncDarajaClient` for asyncio.

Both have one verb, ``send(operation) -> answer``. What may be repeated is decided in
:mod:`mpesa_core.daraja.exchange`; here is only the I/O (no other module imports httpx), and the one difference that
everything depends on: whether a byte of the request can have left.

Connections are opened when they are first needed, for each process anew after a fork, and in the async client for each
event loop. Redirects are not followed, TLS certificates are always checked, and every request has a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import threading
import time
import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from mpesa_core.daraja.exchange import NeedToken, Step, Transmit, exchange
from mpesa_core.daraja.oauth import FetchToken, Token
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse, Operation
from mpesa_core.errors import ConfigurationError, MpesaError, NotSent, OutcomeUnknown
from mpesa_core.initiator import security_credential
from mpesa_core.settings import Secret
from mpesa_core.tokens import MemoryTokenStore, TokenKeeper, TokenStore, token_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from pathlib import Path
    from types import TracebackType

    from mpesa_core.settings import Account, Settings

__all__ = ["AsyncDarajaClient", "DarajaClient", "transport"]

T = TypeVar("T")
C = TypeVar("C")
P = TypeVar("P")

_Way = httpx.Client | httpx.BaseTransport
_AsyncWay = httpx.AsyncClient | httpx.AsyncBaseTransport
"""How a request goes out. A client of httpx's takes more time to prepare a request than the network to carry it to the
next room, so our own requests go to its transport, without redirects, cookies, credentials and hooks that they must not
have anyway. Only where the environment names a proxy, or where a client was given, is it a client."""

_log = logging.getLogger(__name__)

_LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes; the longest answers of Daraja (a page of pull transactions) are below a tenth of it."""

_MOST_CONNECTIONS = 100
"""Of one client, in one process (and event loop); further requests wait for one."""

_IDLE_SECONDS = 5.0
"""So long a connection is kept for the next request: a server that closes its side first is rare."""

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)

_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
"""What httpx raises only before the first byte of a request is written. Everything else may come after it."""

_PROXIES = frozenset({"http", "https", "all"})
"""The variables, less ``_proxy``, by which an environment names proxies for requests such as ours."""

_HEADERS = {
    "accept": ("Accept", "*/*"),
    "connection": ("Connection", "keep-alive"),
    "user-agent": ("User-Agent", f"python-httpx/{httpx.__version__}"),
}
"""What a client of httpx's sends with every request that does not say otherwise."""

_WHOLE = ("Accept-Encoding", "identity")
"""A compressed answer could be a thousand times larger than what is read of it."""


def _now() -> datetime:
    return datetime.now(UTC)


class _Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    def __init__(self, handler: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        self._handler = handler

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        answer = self._handler(_received(request))
        if not isinstance(answer, HttpResponse):
            raise TypeError("this handler is for the async client: it returned an awaitable")
        return _returned(answer)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = self._handler(_received(request))
        return _returned(await answer if inspect.isawaitable(answer) else answer)


def _received(request: httpx.Request) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=request.url.raw_path.decode("ascii"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw},
        body=request.content,
    )


def _returned(answer: HttpResponse) -> httpx.Response:
    return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


def transport(handler: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> _Transport:
    """An httpx transport, for both kinds of client, whose other end is a function in this process.

    For tests: a local Daraja, or a fault. The function may raise :class:`~mpesa_core.errors.NotSent` or
    :class:`~mpesa_core.errors.OutcomeUnknown` to lose the request or the answer. For an httpx client of your own; most
    want :meth:`DarajaClient.over`.

    Args:
        handler: request, with its headers as they were sent -> response; for the async client, that or a coroutine.
    """
    return _Transport(handler)


class _Client:
    """What both clients share: everything but the waiting."""

    def __init__(self, settings: Settings, tokens: TokenStore | None, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock
        self._base_url = settings.base_url
        self._timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout)
        self._through: _Transport | None = None
        self._lock = threading.Lock()
        self._tokens = TokenKeeper(
            MemoryTokenStore() if tokens is None else tokens,
            clock=clock,
            claim_seconds=settings.connect_timeout + settings.read_timeout,
        )
        _forked.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.environment!r})"

    def _exchange(self, operation: Operation[T], account: Account) -> Generator[Step, Any, T]:
        return exchange(operation, self._context(operation, account), retries=self.settings.send_retries)

    def _context(self, operation: Operation[Any], account: Account) -> Context:
        credential = None
        if operation.needs_credential:
            if account.security_credential is not None:
                credential = account.security_credential.reveal()
            elif account.initiator_password is not None:
                credential = _credential(account.initiator_password, account.certificate, self.settings.environment)
        return Context(
            now=self._clock(),
            short_code=account.short_code or "",
            till_number=account.till_number,
            passkey=None if account.passkey is None else account.passkey.reveal(),
            initiator_name=account.initiator_name,
            security_credential=credential,
        )

    def _keys(self, account: Account) -> FetchToken:
        key, secret = account.consumer_key, account.consumer_secret
        if key is None or secret is None:
            raise ConfigurationError(
                [
                    f"{name}: missing, expected the app's key from the developer portal; every call to Daraja needs it"
                    for name, value in (("consumer_key", key), ("consumer_secret", secret))
                    if value is None
                ]
            )
        return FetchToken(consumer_key=key.reveal(), consumer_secret=secret.reveal())

    def _key(self, keys: FetchToken) -> str:
        return token_key(self._base_url, keys.consumer_key, keys.consumer_secret)

    def _token_exchange(self, keys: FetchToken) -> Generator[Step, Any, Token]:
        return exchange(keys, Context(now=self._clock()), retries=self.settings.send_retries)

    @property
    def _trusts_environment(self) -> bool:
        """Whether the environment's proxies are used: not for a Daraja on this machine, which they cannot reach."""
        return urlsplit(self._base_url).hostname not in {"localhost", "127.0.0.1", "::1"}

    def _request_of(self, client: httpx.Client | httpx.AsyncClient, request: HttpRequest) -> httpx.Request:
        return client.build_request(
            request.method,
            self._base_url + request.path,
            headers=dict([*request.headers.items(), _WHOLE]),
            content=request.body or None,
            timeout=self._timeout,
        )

    def _bare_request(self, request: HttpRequest) -> httpx.Request:
        """The same as a client of httpx's that has nothing of its own would make, in a twentieth of the time."""
        url = _url(self._base_url + request.path)
        headers = {
            "host": ("Host", url.netloc.decode("ascii")),
            **_HEADERS,
            **{name.lower(): (name, value) for name, value in request.headers.items()},
            "accept-encoding": _WHOLE,
        }
        if request.body or request.method != "GET":
            headers["content-length"] = ("Content-Length", str(len(request.body)))
        return httpx.Request(
            request.method,
            url,
            headers=list(headers.values()),
            stream=httpx.ByteStream(request.body),
            extensions={"timeout": self._timeout.as_dict()},
        )

    def _maker(self, client: Callable[..., C], bare: Callable[..., C]) -> Callable[[], C]:
        """What makes ways out with one connection each, that share one TLS context, which is costly to make."""
        through: Any = self._through
        if through is not None:
            return lambda: through
        trust_env = self._trusts_environment
        tls = httpx.create_ssl_context(trust_env=trust_env)
        if trust_env and not _PROXIES.isdisjoint(getproxies()):
            return lambda: client(timeout=self._timeout, limits=_LIMITS, verify=tls, trust_env=True)
        return lambda: bare(limits=_LIMITS, verify=tls)

    def _crowded(self) -> NotSent:
        return NotSent(
            f"All {_MOST_CONNECTIONS} connections to {self._base_url} were busy for "
            f"{self.settings.read_timeout:g} seconds; nothing left. Try again later."
        )

    def _failure(self, error: Exception, request: HttpRequest, status: int | None) -> NotSent | OutcomeUnknown:
        # Only the name of the error's class: its text, and the request that it holds, are not ours to vouch for.
        what = f"{request.method} {request.path.partition('?')[0]} at {self._base_url}"
        if status is None and isinstance(error, _UNSENT):
            return NotSent(f"{what} did not leave: {type(error).__name__}.")
        return OutcomeUnknown(
            f"{what} left, and its answer did not arrive whole: {type(error).__name__}. It may have been carried out.",
            status=status,
        )

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _credential(password: Secret, certificate: str | Path | bytes | None, environment: str) -> str:
    try:
        return security_credential(password.reveal(), certificate, environment)
    except ConfigurationError as error:
        problems = error.problems
    raise ConfigurationError(problems)  # here, so that no variable of its traceback is the password


@functools.lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


class _Answer:
    """The body of an answer as it comes in, within limits of size and time."""

    def __init__(self, status: int, headers: httpx.Headers, seconds: float) -> None:
        self.status = status
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._body = bytearray()
        self._until = time.monotonic() + seconds

    @property
    def is_plain(self) -> bool:
        """Whether what comes in needs no decoding."""
        return "content-encoding" not in self._headers

    def add(self, chunk: bytes) -> None:
        """Take some more of it."""
        self._body += chunk
        if len(self._body) > _LARGEST_ANSWER:
            raise _TooLargeError
        if time.monotonic() > self._until:  # each read has its timeout; a body that drips in would outlast them all
            raise _TooSlowError

    def whole(self) -> HttpResponse:
        """All of it."""
        return HttpResponse(status=self.status, headers=self._headers, body=bytes(self._body))


class _TooLargeError(Exception):
    pass


class _TooSlowError(Exception):
    pass


class _Stock(Generic[C, P]):
    """Ways out with one connection each; a request has one for itself until its answer is read.

    Several requests never share httpcore's pool: it looks outside its lock whether a connection is idle and readable,
    and may then close one that another request has been given meanwhile, whose answer is just arriving. A payment whose
    connection is closed under it is of unknown outcome.

    Attributes:
        places: a semaphore with as many places as there may be connections.
        made: all that were not closed.
    """

    def __init__(self, make: Callable[[], C], places: P) -> None:
        self.places = places
        self.made: set[C] = set()
        self._make = make
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, C]] = deque()
        self._ended = False

    def take(self) -> tuple[C, list[C]]:
        """A way out that nobody else has, and those that lay idle for too long, to be closed."""
        with self._lock:
            client = self._idle.pop()[1] if self._idle else None
            lapsed = []
            while self._idle and self._idle[0][0] < time.monotonic() - _IDLE_SECONDS:
                lapsed.append(self._idle.popleft()[1])
            self.made.difference_update(lapsed)
            if client is None:
                client = self._make()
                self.made.add(client)
            return client, lapsed

    def give_back(self, client: C, *, usable: bool) -> bool:
        """Keep it for the next request; False where it is to be closed: not usable, or after :meth:`end`.

        Not usable is one whose request failed or was cancelled: httpcore may count its only connection as taken for
        good, and then every later request would wait for it in vain.
        """
        with self._lock:
            kept = usable and not self._ended
            if kept:
                self._idle.append((time.monotonic(), client))
            else:
                self.made.discard(client)
            return kept

    def end(self) -> list[C]:
        """Give out no more; the idle ones, to be closed."""
        with self._lock:
            self._ended = True
            idle = [client for _, client in self._idle]
            self._idle.clear()
            self.made.difference_update(idle)
            return idle


class DarajaClient(_Client):
    """Sends operations to Daraja; safe to share among threads and to keep across a fork.

    Attributes:
        settings: as given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        http: httpx.Client | None = None,
        tokens: TokenStore | None = None,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        """Make a client; nothing is connected yet.

        Args:
            settings: host, credentials, timeouts and retries. Secrets are read from it at each use.
            http: an httpx client to use instead of our own; it stays yours to close. The settings' timeouts apply. Give
                each thread one of its own: a pool that threads share may close a connection under a request, whose
                outcome is then unknown.
            tokens: where access tokens are kept; by default in this client. Give processes a store that they share.
            clock: the present, aware.
            sleep: waits that many seconds.
        """
        super().__init__(settings, tokens, clock)
        self._sleep = sleep
        self._given = http
        self._own: _Stock[_Way, threading.Semaphore] | None = None

    @classmethod
    def over(
        cls,
        handler: Callable[[HttpRequest], HttpResponse],
        settings: Settings,
        *,
        tokens: TokenStore | None = None,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> Self:
        """A client whose Daraja is a function in this process: see :func:`transport`."""
        client = cls(settings, tokens=tokens, clock=clock, sleep=sleep)
        client._through = transport(handler)
        return client

    def send(self, operation: Operation[T], *, account: str = "default") -> T:
        """Carry out one operation.

        Args:
            operation: what to do, such as ``StkPush(...)``.
            account: the name of the account in the settings that it is done for.

        Returns:
            The operation's answer.

        Raises:
            ConfigurationError: the settings lack something that it needs; nothing was sent.
            NotSent: nothing left, after the settings' retries.
            OutcomeUnknown: it may have been carried out. Ask; never send it again.
            DarajaError: Daraja said no.
            UnexpectedAnswer: the answer to a question could not be understood.
            Exception: what a secret's callable raised; nothing was sent.
        """
        chosen = self.settings.account(account)
        return self._run(self._exchange(operation, chosen), chosen)

    def check_keys(self, *, account: str = "default") -> None:
        """See whether Daraja accepts an account's consumer key and secret; nothing is asked of M-PESA.

        Raises:
            ConfigurationError: no such account, or it has no keys.
            TokenRefused: Daraja refuses them.
            NotSent, OutcomeUnknown, DarajaError, UnexpectedAnswer: Daraja could not be asked.
        """
        self._token(self.settings.account(account), None)

    def close(self) -> None:
        """Close the connections. A later ``send`` opens new ones."""
        with self._lock:
            own, self._own = self._own, None
        for client in own.end() if own is not None else ():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Generator[Step, Any, T], account: Account | None) -> T:
        try:
            step = next(steps)
            while True:
                result: Any = None
                failure: MpesaError | None = None
                try:
                    if isinstance(step, Transmit):
                        result = self._transmit(step.request)
                    elif isinstance(step, NeedToken):
                        assert account is not None
                        result = self._token(account, step.refused)
                    else:
                        self._sleep(step.seconds)
                except MpesaError as error:
                    failure = error
                step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        finally:
            steps.close()

    def _token(self, account: Account, refused: Secret | None) -> Secret:
        keys = self._keys(account)

        def fetch() -> tuple[Secret, float]:
            token = self._run(self._token_exchange(keys), None)
            return Secret(token.access_token), token.lifetime

        return self._tokens.obtain(self._key(keys), refused, fetch, self._sleep)

    def _transmit(self, request: HttpRequest) -> HttpResponse:
        status: int | None = None
        began = time.monotonic()
        try:
            with self._way() as way:
                response = self._answered(way, request)
                try:
                    status = response.status_code
                    answer = _Answer(status, response.headers, self.settings.read_timeout)
                    raw = answer.is_plain and isinstance(way, httpx.BaseTransport)
                    chunks = response.stream if raw else response.iter_bytes()
                    for chunk in cast("Iterator[bytes]", chunks):
                        answer.add(chunk)
                finally:
                    response.close()
        except MpesaError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the request may have left
            failure = self._failure(error, request, status)
        else:
            _log_answer(request, answer.status, began)
            return answer.whole()
        raise failure  # here, so that httpx's error with its request is not its context

    def _answered(self, way: _Way, request: HttpRequest) -> httpx.Response:
        if isinstance(way, httpx.BaseTransport):
            return way.handle_request(self._bare_request(request))
        return way.send(self._request_of(way, request), stream=True, auth=None, follow_redirects=False)

    @contextlib.contextmanager
    def _way(self) -> Iterator[_Way]:
        if self._given is not None:
            if self._given.is_closed:
                raise NotSent("The httpx client that was given is closed.")
            yield self._given
            return
        with self._lock:
            if self._own is None:
                make: Callable[[], _Way] = self._maker(httpx.Client, httpx.HTTPTransport)
                self._own = _Stock(make, threading.Semaphore(_MOST_CONNECTIONS))
            own = self._own
        if not own.places.acquire(timeout=self.settings.read_timeout):
            raise self._crowded()
        try:
            way, lapsed = own.take()
            usable = False
            try:
                for each in lapsed:
                    each.close()
                yield way
                usable = True
            finally:
                if not own.give_back(way, usable=usable):
                    way.close()
        finally:
            own.places.release()

    def _after_fork(self) -> None:
        super()._after_fork()
        if self._own is not None:
            _inherited.extend(self._own.made)
            self._own = None


class AsyncDarajaClient(_Client):
    """Sends operations to Daraja from asyncio; safe to share among tasks and event loops, and to keep across a fork.

    Attributes:
        settings: as given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        http: httpx.AsyncClient | None = None,
        tokens: TokenStore | None = None,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """Make a client; nothing is connected yet.

        Args:
            settings: host, credentials, timeouts and retries. Secrets are read from it at each use, in the event loop.
            http: an httpx client to use instead of our own (one for each event loop); it stays yours to close, and does
                not survive its event loop. The settings' timeouts apply. A pool that tasks share may close a connection
                under a request, whose outcome is then unknown.
            tokens: where access tokens are kept; by default in this client. Give processes a store that they share.
            clock: the present, aware.
            sleep: waits that many seconds.
        """
        super().__init__(settings, tokens, clock)
        self._sleep = sleep
        self._given = http
        self._own: _OfLoops = weakref.WeakKeyDictionary()

    @classmethod
    def over(
        cls,
        handler: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]],
        settings: Settings,
        *,
        tokens: TokenStore | None = None,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> Self:
        """A client whose Daraja is a function, or a coroutine function, in this process: see :func:`transport`."""
        client = cls(settings, tokens=tokens, clock=clock, sleep=sleep)
        client._through = transport(handler)
        return client

    async def send(self, operation: Operation[T], *, account: str = "default") -> T:
        """Carry out one operation, as :meth:`DarajaClient.send` does, with the same errors.

        A task that is cancelled while it waits for the answer does not know the outcome, as after ``OutcomeUnknown``.
        """
        chosen = self.settings.account(account)
        return await self._run(self._exchange(operation, chosen), chosen)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. A later ``send`` opens new ones."""
        with self._lock:
            own = self._own.pop(asyncio.get_running_loop(), None)
        for client in own.end() if own is not None else ():
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Generator[Step, Any, T], account: Account | None) -> T:
        try:
            step = next(steps)
            while True:
                result: Any = None
                failure: MpesaError | None = None
                try:
                    if isinstance(step, Transmit):
                        result = await self._transmit(step.request)
                    elif isinstance(step, NeedToken):
                        assert account is not None
                        result = await self._token(account, step.refused)
                    else:
                        await self._sleep(step.seconds)
                except MpesaError as error:
                    failure = error
                step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        finally:
            steps.close()

    async def _token(self, account: Account, refused: Secret | None) -> Secret:
        keys = self._keys(account)

        async def fetch() -> tuple[Secret, float]:
            token = await self._run(self._token_exchange(keys), None)
            return Secret(token.access_token), token.lifetime

        return await self._tokens.obtain_async(self._key(keys), refused, fetch, self._sleep)

    async def _transmit(self, request: HttpRequest) -> HttpResponse:
        status: int | None = None
        began = time.monotonic()
        try:
            async with self._way() as way:
                response = await self._answered(way, request)
                try:
                    status = response.status_code
                    answer = _Answer(status, response.headers, self.settings.read_timeout)
                    raw = answer.is_plain and isinstance(way, httpx.AsyncBaseTransport)
                    chunks = response.stream if raw else response.aiter_bytes()
                    async for chunk in cast("AsyncIterator[bytes]", chunks):
                        answer.add(chunk)
                finally:
                    await response.aclose()
        except MpesaError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the request may have left
            failure = self._failure(error, request, status)
        else:
            _log_answer(request, answer.status, began)
            return answer.whole()
        raise failure  # here, so that httpx's error with its request is not its context

    async def _answered(self, way: _AsyncWay, request: HttpRequest) -> httpx.Response:
        if isinstance(way, httpx.AsyncBaseTransport):
            return await way.handle_async_request(self._bare_request(request))
        return await way.send(self._request_of(way, request), stream=True, auth=None, follow_redirects=False)

    @contextlib.asynccontextmanager
    async def _way(self) -> AsyncIterator[_AsyncWay]:
        if self._given is not None:
            if self._given.is_closed:
                raise NotSent("The httpx client that was given is closed.")
            yield self._given
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            own = self._own.get(loop)
            if own is None:
                make: Callable[[], _AsyncWay] = self._maker(httpx.AsyncClient, httpx.AsyncHTTPTransport)
                own = self._own[loop] = _Stock(make, asyncio.Semaphore(_MOST_CONNECTIONS))
        try:
            async with asyncio.timeout(self.settings.read_timeout):
                await own.places.acquire()
        except TimeoutError:
            raise self._crowded() from None
        try:
            way, lapsed = own.take()
            usable = False
            try:
                for each in lapsed:
                    await each.aclose()
                yield way
                usable = True
            finally:
                if not own.give_back(way, usable=usable):
                    await way.aclose()
        finally:
            own.places.release()

    def _after_fork(self) -> None:
        super()._after_fork()
        for own in self._own.values():
            _inherited.extend(own.made)
        self._own = weakref.WeakKeyDictionary()


_OfLoops = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Stock[_AsyncWay, asyncio.Semaphore]]


def _log_answer(request: HttpRequest, status: int, began: float) -> None:
    milliseconds = (time.monotonic() - began) * 1000
    _log.debug("%s %s: HTTP %s after %.0f ms", request.method, request.path.partition("?")[0], status, milliseconds)


_forked: weakref.WeakSet[_Client] = weakref.WeakSet()

_inherited: list[_Way | _AsyncWay] = []
"""The parent's connections, in a child: kept, because closing them would say goodbye in the parent's name."""


def _after_fork() -> None:
    for client in list(_forked):
        client._after_fork()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
