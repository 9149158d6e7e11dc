"""A client's call on loopback, against httpx posting the same bytes.

The other end is a process of its own that answers each request at once and counts what it was asked for.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import httpx

from benchmarks.harness import Reach, Scale, Timed, Turn, alone, benchmark, require
from mpesa_core import AsyncDarajaClient, DarajaClient, Settings
from mpesa_core.daraja.express import StkPush

_AT_ONCE = 256
_ACCEPTED = {
    "MerchantRequestID": "29115-34620561-1",
    "CheckoutRequestID": "ws_CO_191220191020363925",
    "ResponseCode": "0",
    "ResponseDescription": "Success. Request accepted for processing",
    "CustomerMessage": "Success. Request accepted for processing",
}
_ANSWERS = {
    b"/oauth": json.dumps({"access_token": "token", "expires_in": "3599"}).encode(),
    b"/mpesa": json.dumps(_ACCEPTED).encode(),
}
_PATH = "/mpesa/stkpush/v1/processrequest"


class _Other(asyncio.Protocol):
    """Answers requests of one connection; ``GET /count`` says how many of each kind came to any."""

    counts: dict[str, int] = {}  # noqa: RUF012 - of the whole process

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            path = self._buffer.split(b" ", 2)[1]
            self._buffer = self._buffer[end + 4 + length :]
            kind = path[:6]
            if kind == b"/count":
                answer = json.dumps(self.counts).encode()
                self.counts.clear()
            else:
                self.counts[kind.decode()] = self.counts.get(kind.decode(), 0) + 1
                answer = _ANSWERS[kind]
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            self._transport.write(head + answer)


def _serve(pipe: Any) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Other, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def _other_end() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiving.recv()}"
    finally:
        process.terminate()
        process.join()


def _settings(base: str) -> Settings:
    return Settings(environment=base, consumer_key="key", consumer_secret="secret", short_code="174379", passkey="pass")


def _push() -> StkPush:
    return StkPush(
        phone_number="254708374149",
        amount=100,
        callback_url="https://shop.example/pay/stk/callback/",
        account_reference="INV-1",
    )


def _same_bytes() -> tuple[dict[str, str], bytes]:
    """What the SDK sends."""
    sent = []

    def see(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=_ANSWERS[request.url.raw_path[:6]])

    with httpx.Client(transport=httpx.MockTransport(see)) as http:
        DarajaClient(_settings("http://127.0.0.1:1"), http=http).send(_push())
    wanted = ("authorization", "content-type", "accept-encoding")
    return {name: sent[-1].headers[name] for name in wanted}, sent[-1].content


def _counted(base: str) -> dict[str, int]:
    return dict(httpx.get(base + "/count", trust_env=False).json())


@benchmark("call: STK push, one after the other", Reach(time=1.10))
@contextmanager
def _one_by_one(scale: Scale) -> Iterator[tuple[Timed, Timed]]:
    count = scale.many(400, 40)
    headers, body = _same_bytes()
    fetches = 0

    def accepted(answer: Any) -> None:
        nonlocal fetches
        counts = _counted(base)
        require(counts.get("/mpesa") == count, f"{counts} requests came, expected {count}")
        fetches += counts.get("/oauth", 0)
        require(fetches <= 1, "more than one token was fetched")
        told = answer.json()["ResponseCode"] if isinstance(answer, httpx.Response) else answer.response_code
        require(told == "0", "it was not accepted")

    with _other_end() as base, httpx.Client(trust_env=False) as http, DarajaClient(_settings(base)) as client:
        url = base + _PATH
        floor = Timed(lambda: http.post(url, headers=headers, content=body), count, accepted)
        yield floor, Timed(lambda: client.send(_push()), count, accepted)


@attrs.define
class _Burst:
    """So many calls at once in one event loop, with nothing connected before."""

    base: str
    count: int
    ours: bool
    headers: dict[str, str]
    body: bytes

    def ready(self) -> None:
        """Forget what came before."""
        _counted(self.base)

    def work(self) -> Turn:
        """The burst."""
        return asyncio.run(self._with_client())

    async def _with_client(self) -> Turn:
        push = _push()
        if self.ours:
            async with AsyncDarajaClient(_settings(self.base)) as client:
                return await self._burst(lambda: client.send(push))
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            url = self.base + _PATH
            return await self._burst(lambda: http.post(url, headers=self.headers, content=self.body))

    async def _burst(self, call: Any) -> Turn:
        latencies = []

        async def one() -> None:
            await call()
            latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(self.count)))
        return Turn(self.count, time.perf_counter() - started, latencies)

    def check(self) -> None:
        """Each came once, with one token for all."""
        counts = _counted(self.base)
        expected = {"/mpesa": self.count, **({"/oauth": 1} if self.ours else {})}
        require(counts == expected, f"{counts} came, expected {expected}")


@benchmark(f"call: {_AT_ONCE} STK pushes at once, asyncio", Reach(rate=3.0, p99=300))
@contextmanager
def _at_once(scale: Scale) -> Iterator[tuple[_Burst, _Burst]]:
    count = 64 if scale.quick else _AT_ONCE
    headers, body = _same_bytes()
    with _other_end() as base:
        yield _Burst(base, count, False, headers, body), _Burst(base, count, True, headers, body)


alone(__name__)
