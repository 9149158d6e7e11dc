"""Both clients against real sockets: what is sent how often, through every failure that a network has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import logging
import os
import pickle
import signal
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import attrs
import httpx
import pytest

from mpesa_core.client import AsyncDarajaClient, DarajaClient, transport
from mpesa_core.daraja.answers import parse_json_answer
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.errors import (
    ConfigurationError,
    MpesaError,
    NotSent,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    UnexpectedAnswer,
)
from mpesa_core.settings import Account, Settings
from mpesa_core.tokens import MemoryTokenStore

KEYS = {"consumer_key": "CANARYkey", "consumer_secret": "CANARYsecret"}
ACCEPTED = {"ResponseCode": "0", "ConversationID": "AG_20260301_1"}


@attrs.frozen
class Question:
    """Something that moves no money."""

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    def build(self, context: Context) -> HttpRequest:
        return _request("/ask", context)

    def parse(self, response: HttpResponse) -> dict[str, Any]:
        return parse_json_answer(response, moves_money=False)


@attrs.frozen
class Payout:
    """Something that does."""

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    def build(self, context: Context) -> HttpRequest:
        return _request("/pay", context)

    def parse(self, response: HttpResponse) -> dict[str, Any]:
        return parse_json_answer(response, moves_money=True)


@attrs.frozen
class Silence:
    """Something whose request has no body."""

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    def build(self, context: Context) -> HttpRequest:
        return HttpRequest(path="/silence", headers={"accept": "application/json", "X-Own": "1"})

    def parse(self, response: HttpResponse) -> dict[str, Any]:
        return parse_json_answer(response, moves_money=False)


def _request(path: str, context: Context) -> HttpRequest:
    body = {name: getattr(context, name) for name in ("short_code", "till_number", "initiator_name")}
    body["Password"] = base64.b64encode(f"{context.short_code}{context.passkey}20260301".encode()).decode()
    body["SecurityCredential"] = context.security_credential
    return HttpRequest(path=path, headers={"Content-Type": "application/json"}, body=json.dumps(body).encode())


def http(status: int, body: Any, *headers: str, close: bool = False) -> bytes:
    """A response as bytes; with ``close`` its end is the end of the connection."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", *headers]
    lines.append("Connection: close" if close else f"Content-Length: {len(raw)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


@attrs.frozen
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Server:
    """A Daraja made of sockets. ``answer`` gives the bytes for a request, or does as it likes with the connection.

    It hands out tokens T1, T2, ...; a new one makes the one before it invalid, as Safaricom's does.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.tokens = 0
        self.posts: list[Received] = []
        self.gets: list[Received] = []
        self.connections = 0
        self.lock = threading.Lock()
        self.check_tokens = False
        self.token_delay = 0.0
        self.token_answer: bytes | None = None
        self.token_path = "/oauth/"
        self.on_connection: Callable[[socket.socket], bool] | None = None
        self.answer: Callable[[Received, socket.socket], bytes | None] = lambda request, connection: http(200, ACCEPTED)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 5
        while self._open and time.monotonic() < until:
            time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(plain, server_side=True)
            if self.on_connection is not None and not self.on_connection(connection):
                return
            stream = connection.makefile("rb")
            with stream:
                while (request := self._read(stream)) is not None:
                    reply = (
                        self._token(request)
                        if request.path.startswith(self.token_path)
                        else self._reply(request, connection)
                    )
                    if reply is None:
                        return
                    connection.sendall(reply)
                    if b"Connection: close" in reply:
                        return
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                connection.close()
            plain.close()
            self._open.discard(plain)

    @staticmethod
    def _read(stream: Any) -> Received | None:
        line = stream.readline()
        if not line:
            return None
        method, path, _ = line.decode().split(" ", 2)
        headers = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Received(method, path, headers, stream.read(int(headers.get("content-length", "0"))))

    def _token(self, request: Received) -> bytes:
        with self.lock:
            self.gets.append(request)
            self.tokens += 1
            token = f"CANARYtoken{self.tokens}"
        time.sleep(self.token_delay)
        return self.token_answer or http(200, {"access_token": token, "expires_in": "3599"})

    def _reply(self, request: Received, connection: socket.socket) -> bytes | None:
        with self.lock:
            self.posts.append(request)
            current = f"Bearer CANARYtoken{self.tokens}"
        sent = request.headers.get("authorization", "")
        if self.check_tokens and sent != current:
            message = f"Error Occurred - Invalid Access Token - {sent.partition(' ')[2]}"
            return http(401, {"requestId": "1", "errorCode": "401.002.01", "errorMessage": message})
        return self.answer(request, connection)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


class Caller:
    """One of the two clients, called the same way."""

    def __init__(self, kind: str, settings: Settings, **more: Any) -> None:
        self.slept: list[float] = []
        self.kind = kind
        self._runner = asyncio.Runner()
        handler = more.pop("over", None)
        if kind == "sync":
            more.setdefault("sleep", self.slept.append)
            self.client: Any = (
                DarajaClient.over(handler, settings, **more) if handler else DarajaClient(settings, **more)
            )
        else:
            more.setdefault("sleep", self._sleep)
            self.client = (
                AsyncDarajaClient.over(handler, settings, **more) if handler else AsyncDarajaClient(settings, **more)
            )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def send(self, operation: Any, **more: Any) -> Any:
        if self.kind == "sync":
            return self.client.send(operation, **more)
        return self._runner.run(self.client.send(operation, **more))

    def error(self, operation: Any, **more: Any) -> MpesaError:
        with pytest.raises(MpesaError) as raised:
            self.send(operation, **more)
        return raised.value

    def many(self, count: int, operation: Any) -> list[Any]:
        """That many sends at once; answers and errors."""

        def one(_: int) -> Any:
            try:
                return self.client.send(operation)
            except MpesaError as error:
                return error

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(self.client.send(operation) for _ in range(count)), return_exceptions=True)

        if self.kind == "async":
            return self._runner.run(all_of_them())
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    def disconnect(self) -> None:
        """The client's own close."""
        if self.kind == "sync":
            self.client.close()
        else:
            self._runner.run(self.client.aclose())

    def close(self) -> None:
        self.disconnect()
        self._runner.close()


Make = Callable[..., Caller]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes callers of one kind; the test runs once for each kind."""
    made: list[Caller] = []

    def _make(url: str = "http://127.0.0.1:9", **more: Any) -> Caller:
        known = {field.name for field in attrs.fields(Settings)}
        settings = {name: more.pop(name) for name in list(more) if name in known}
        caller = Caller(
            request.param, Settings(**{"environment": url, "short_code": "600000", **KEYS, **settings}), **more
        )
        made.append(caller)
        return caller

    yield _make
    for caller in made:
        caller.close()


def test_a_call_from_beginning_to_end(server: Server, make: Make) -> None:
    """A call fetches a token with the keys, posts the operation's bytes with it, and a second call uses the same token."""
    caller = make(server.url)
    assert [ACCEPTED, ACCEPTED] == [caller.send(Payout()), caller.send(Question())]
    assert len(server.gets) == 1
    scheme, _, keys = server.gets[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(keys)) == ("Basic", b"CANARYkey:CANARYsecret")
    assert ["/pay", "/ask"] == [post.path for post in server.posts]
    assert {"Bearer CANARYtoken1"} == {post.headers["authorization"] for post in server.posts}
    assert {"application/json"} == {post.headers["content-type"] for post in server.posts}
    assert json.loads(server.posts[0].body)["short_code"] == "600000"


def test_the_operation_gets_its_account(server: Server, make: Make) -> None:
    """An operation is built with the short code, secrets and keys of the account that is named."""
    fetched: list[str] = []

    def passkey() -> str:
        fetched.append("passkey")
        return f"pass{len(fetched)}"

    till = Account(short_code="300000", till_number="400000", passkey=passkey, consumer_key="k2", consumer_secret="s2")
    caller = make(server.url, accounts={"till": till}, passkey="p", initiator_name="api", security_credential="cred")
    caller.send(Payout(), account="till")
    caller.send(Payout(), account="till")
    caller.send(Question())
    seen = [json.loads(post.body) for post in server.posts]
    assert ["300000", "300000", "600000"] == [body["short_code"] for body in seen]
    assert ["400000", "400000", None] == [body["till_number"] for body in seen]
    passwords = [base64.b64decode(body["Password"]).decode() for body in seen]
    assert ["300000pass120260301", "300000pass220260301", "600000p20260301"] == passwords
    assert ["cred", "cred", None] == [body["SecurityCredential"] for body in seen]
    assert [b"k2:s2", b"CANARYkey:CANARYsecret"] == [
        base64.b64decode(get.headers["authorization"].split()[1]) for get in server.gets
    ]


def test_a_password_is_encrypted_where_a_credential_is_needed(server: Server, make: Make) -> None:
    """An operator's password becomes a credential of 344 characters, made only for operations that need one."""
    pytest.importorskip("cryptography")
    caller = make(server.url, initiator_name="api", initiator_password="CANARYpassword")
    caller.send(Payout())
    caller.send(Question())
    assert [344, None] == [
        len(credential) if (credential := json.loads(post.body)["SecurityCredential"]) else None
        for post in server.posts
    ]


def test_settings_that_lack_the_keys_say_which(server: Server, make: Make) -> None:
    """Without consumer key or secret nothing is sent and the error names what is missing; so does an unknown account."""
    caller = make(server.url, consumer_key=None)
    assert ["consumer_key"] == [line.partition(":")[0] for line in caller.error(Question()).problems]  # type: ignore[attr-defined]
    assert isinstance(caller.error(Question(), account="tll"), ConfigurationError)
    assert server.connections == 0


def test_a_credential_that_cannot_be_made_leaves_no_password_in_a_variable(make: Make) -> None:
    """The traceback of a bad certificate, with all its variables, does not hold the password."""
    pytest.importorskip("cryptography")
    error = make(initiator_name="api", initiator_password="CANARYpassword", certificate=b"no").error(Payout())
    assert isinstance(error, ConfigurationError)
    assert "CANARYpassword" not in _with_variables(error)


# What leaves, and how often


def _warm(make: Make, server: Server, **settings: Any) -> Caller:
    caller = make(server.url, **settings)
    caller.send(Question())
    server.posts.clear()
    return caller


def _read_all(connection: socket.socket) -> None:
    connection.recv(65_536)


def test_a_refused_connection_is_not_sent_and_tried_again(make: Make) -> None:
    """Where nobody listens, a payout is tried three times with pauses and is then NotSent."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    caller = make(f"http://127.0.0.1:{port}")
    error = caller.error(Payout())
    assert isinstance(error, NotSent)
    assert [0.5, 1.0] == caller.slept
    assert error.attempts == 3


def test_a_payout_is_sent_once_the_network_is_back(server: Server, make: Make) -> None:
    """After two connections that could not be made, the third attempt sends the payout, once."""
    caller = _warm(make, server)
    caller.send(Question())
    failing = iter([True, True, False])
    failures: list[int] = []

    def handler(request: HttpRequest) -> HttpResponse:
        if request.path == "/pay" and next(failing):
            failures.append(1)
            raise NotSent("no route")
        return HttpResponse(status=200, body=json.dumps({"access_token": "T", "expires_in": 9} | ACCEPTED).encode())

    through = make(over=handler)
    assert through.send(Payout())["ResponseCode"] == "0"
    assert len(failures) == 2
    assert [0.5, 1.0] == through.slept


def _reset_before_reading(server: Server) -> None:
    def at_once(connection: socket.socket) -> bool:
        reset(connection)
        return False

    server.on_connection = at_once


def _reset_after_reading(server: Server) -> None:
    def answer(request: Received, connection: socket.socket) -> None:
        reset(connection)

    server.answer = answer


def _close_after_reading(server: Server) -> None:
    server.answer = lambda request, connection: None


def _hold(server: Server) -> None:
    def answer(request: Received, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(1)  # until the client gives up

    server.answer = answer


def _reset_on_the_first_bytes(server: Server) -> None:
    def some(connection: socket.socket) -> bool:
        connection.recv(8)
        reset(connection)
        return False

    server.on_connection = some


@pytest.mark.parametrize(
    "trouble",
    [_reset_before_reading, _reset_on_the_first_bytes, _reset_after_reading, _close_after_reading, _hold],
    ids=lambda trouble: trouble.__name__.strip("_"),
)
def test_a_lost_answer_is_never_sent_again(server: Server, make: Make, trouble: Callable[[Server], None]) -> None:
    """A connection that is reset, closed or silent after it was made leaves a payout unknown, and sent at most once."""
    caller = _warm(make, server, read_timeout=0.25)
    caller.disconnect()
    trouble(server)
    before = server.connections
    error = caller.error(Payout())
    assert len(server.posts) <= 1
    if trouble is _reset_before_reading:
        # The reset can come while the connection is still being made: then it was not sent, and was rightly tried again.
        assert isinstance(error, (OutcomeUnknown, NotSent))
        assert server.connections == before + 1 + len(caller.slept)
    else:
        assert isinstance(error, OutcomeUnknown)
        assert server.connections == before + 1


def test_a_question_is_asked_once_more(server: Server, make: Make) -> None:
    """A question whose answer is lost is sent a second time, and not a third."""
    caller = _warm(make, server)
    _close_after_reading(server)
    assert isinstance(caller.error(Question()), OutcomeUnknown)
    assert len(server.posts) == 2


HTML = b"<html><body>Request unsuccessful. Incapsula incident ID: 877-1</body></html>"
FAULT = {
    "fault": {"faultstring": "Gateway Timeout", "detail": {"errorcode": "messaging.adaptors.http.flow.GatewayTimeout"}}
}


@pytest.mark.parametrize(
    "answer",
    [
        http(500, {"requestId": "1", "errorCode": "500.002.1001", "errorMessage": "System internal error."}),
        http(500, b""),
        http(502, HTML),
        http(503, HTML),
        http(504, FAULT),
        http(200, b""),
        http(200, HTML),
        http(200, b"[]"),
        http(200, ACCEPTED, "Content-Encoding: gzip"),
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    ],
)
def test_an_answer_that_says_nothing_certain_is_unknown(server: Server, make: Make, answer: bytes) -> None:
    """Server errors, HTML, emptiness and broken HTTP leave a payout unknown, and sent exactly once."""
    caller = _warm(make, server)

    def say(request: Received, connection: socket.socket) -> None:
        connection.sendall(answer)

    server.answer = say
    assert isinstance(caller.error(Payout()), OutcomeUnknown)
    assert len(server.posts) == 1


@pytest.mark.parametrize("close", [False, True], ids=["length", "close"])
def test_an_answer_cut_at_every_byte_is_unknown(server: Server, make: Make, close: bool) -> None:
    """Whereever the acceptance of a payout is cut off, its outcome is unknown and it was sent exactly once."""
    caller = _warm(make, server)
    whole = http(200, ACCEPTED, close=close)
    for length in range(len(whole)):
        server.posts.clear()
        server.answer = lambda request, connection, cut=whole[:length]: connection.sendall(cut)  # type: ignore[misc]
        error = caller.error(Payout())
        assert isinstance(error, OutcomeUnknown), length
        assert len(server.posts) == 1, length
    server.answer = lambda request, connection: whole
    assert caller.send(Payout()) == ACCEPTED


def test_a_truncated_body_in_whole_http_is_unknown(server: Server, make: Make) -> None:
    """JSON that was cut at any byte before it was framed leaves a payout unknown and sent once, over one connection."""
    caller = _warm(make, server)
    whole = json.dumps(ACCEPTED).encode()
    before = server.connections
    for length in range(len(whole)):
        server.posts.clear()
        server.answer = lambda request, connection, cut=whole[:length]: http(200, cut)  # type: ignore[misc]
        assert isinstance(caller.error(Payout()), OutcomeUnknown), length
        assert len(server.posts) == 1, length
    assert server.connections == before


def test_an_idle_connection_that_the_server_closed_is_replaced(server: Server, make: Make) -> None:
    """A kept connection that was closed while it was idle is noticed before a byte is written: the payout goes out once."""
    caller = _warm(make, server)
    for connection in list(server._open):
        connection.shutdown(socket.SHUT_RDWR)
    until = time.monotonic() + 5
    while server._open and time.monotonic() < until:
        time.sleep(0.002)
    assert caller.send(Payout()) == ACCEPTED
    assert len(server.posts) == 1


def test_requests_in_a_row_share_one_connection(server: Server, make: Make) -> None:
    """A connection is kept for the next request."""
    caller = make(server.url)
    for _ in range(5):
        assert caller.send(Payout()) == ACCEPTED
    assert 1 == server.connections


def test_no_connection_is_shared_by_two_requests_at_once(server: Server, make: Make) -> None:
    """Each request under way has a connection of its own, up to the limit; the others wait and are sent then."""
    at_once: set[socket.socket] = set()
    most: list[int] = []

    def slow(request: Received, connection: socket.socket) -> bytes:
        with server.lock:
            assert connection not in at_once
            at_once.add(connection)
            most.append(len(at_once))
        time.sleep(0.01)
        with server.lock:
            at_once.discard(connection)
        return http(200, ACCEPTED)

    caller = _warm(make, server)
    server.answer = slow
    assert [ACCEPTED] * 150 == caller.many(150, Payout())
    assert 150 == len(server.posts)
    assert 1 < max(most) <= 100
    assert server.connections <= 100


def test_a_connection_that_failed_is_not_used_again(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost answer the next call has a transport of its own, which the call after it shares."""
    caller = _warm(make, server)
    used: list[Any] = []  # themselves, not their ids: a number is given again when its owner is gone
    closed: list[Any] = []
    for kind, request, close in (
        (httpx.HTTPTransport, "handle_request", "close"),
        (httpx.AsyncHTTPTransport, "handle_async_request", "aclose"),
    ):
        _note_uses(monkeypatch, kind, request, used)
        _note_uses(monkeypatch, kind, close, closed)
    server.answer = lambda request, connection: None
    assert isinstance(caller.error(Payout()), OutcomeUnknown)
    server.answer = lambda request, connection: http(200, ACCEPTED)
    assert [ACCEPTED] * 2 == [caller.send(Payout()) for _ in range(2)]
    lost, first, second = used
    assert [lost] == closed
    assert lost is not first
    assert first is second


def _note_uses(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, uses: list[Any]) -> None:
    plain = getattr(kind, method)

    def noted(self: Any, *given: Any) -> Any:
        uses.append(self)
        return plain(self, *given)

    monkeypatch.setattr(kind, method, noted)


def test_without_a_free_connection_nothing_is_sent(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits longer than the read timeout for a connection gets NotSent: no byte has left."""
    monkeypatch.setattr("mpesa_core.client._MOST_CONNECTIONS", 0)
    error = make(server.url, read_timeout=0.1, send_retries=0).error(Payout())
    assert isinstance(error, NotSent)
    assert "were busy for 0.1 seconds" in str(error)
    assert 0 == server.connections


def test_connections_that_lie_idle_are_closed(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst the next request closes what nobody has used for a while."""
    caller = _warm(make, server)
    server.answer = lambda request, connection: time.sleep(0.3) or http(200, ACCEPTED)
    caller.many(20, Payout())
    assert len(server._open) > 1
    monkeypatch.setattr("mpesa_core.client._IDLE_SECONDS", 0.0)
    time.sleep(0.01)
    assert caller.send(Payout()) == ACCEPTED
    until = time.monotonic() + 20
    while len(server._open) > 1 and time.monotonic() < until:
        time.sleep(0.005)
    assert 1 == len(server._open)


def test_a_request_under_way_at_close_is_finished(server: Server) -> None:
    """Closing leaves a request its connection, which is closed with its answer."""
    client = DarajaClient(Settings(environment=server.url, short_code="600000", **KEYS))
    client.send(Payout())
    reached, go_on = threading.Event(), threading.Event()

    def answer(request: Received, connection: socket.socket) -> bytes:
        reached.set()
        go_on.wait(20)
        return http(200, ACCEPTED)

    server.answer = answer
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.send, Payout())
        assert reached.wait(20)
        client.close()
        go_on.set()
        assert ACCEPTED == sent.result(20)
    until = time.monotonic() + 20
    while server._open and time.monotonic() < until:
        time.sleep(0.005)
    assert set() == server._open


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Server, make: Make, status: int) -> None:
    """A redirect is no answer to a payout, and nothing is sent where it points."""
    caller = _warm(make, server)
    server.answer = lambda request, connection: http(status, {}, f"Location: {server.url}/elsewhere")
    assert isinstance(caller.error(Payout()), MpesaError)
    assert ["/pay"] == [post.path for post in server.posts]


def test_an_endless_answer_is_not_read_to_its_end(server: Server, make: Make) -> None:
    """More than four mebibytes are not taken in, and a body that drips in is given up after the read timeout."""
    caller = _warm(make, server, read_timeout=0.5)
    server.answer = lambda request, connection: http(200, b" " * (4 * 1024 * 1024 + 1))
    assert isinstance(caller.error(Payout()), OutcomeUnknown)

    def drip(request: Received, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                connection.sendall(b" ")
                time.sleep(0.02)

    server.answer = drip
    began = time.monotonic()
    assert isinstance(caller.error(Payout()), OutcomeUnknown)
    assert time.monotonic() - began < 3
    assert len(server.posts) == 2


def test_an_answer_that_is_compressed_unasked_is_read(server: Server, make: Make) -> None:
    """A gateway that compresses all the same is understood."""
    server.answer = lambda request, connection: http(
        200, gzip.compress(json.dumps(ACCEPTED).encode()), "Content-Encoding: gzip"
    )
    assert make(server.url).send(Payout()) == ACCEPTED


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


BEFORE_THE_FIRST_BYTE = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
EVERY_TRANSPORT_ERROR = sorted({kind.__name__: kind for kind in _subclasses(httpx.HTTPError)}.items())


@pytest.mark.parametrize(("name", "kind"), EVERY_TRANSPORT_ERROR, ids=[name for name, _ in EVERY_TRANSPORT_ERROR])
def test_every_httpx_error_is_one_of_two(make: Make, name: str, kind: type[Exception]) -> None:
    """Only errors that come before the first byte are NotSent and tried again; every other leaves the outcome unknown."""
    calls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/oauth"):
            return httpx.Response(200, json={"access_token": "T", "expires_in": 3599})
        calls.append("x")
        error = kind.__new__(kind)
        error.args = ("CANARY",)
        raise error

    for caller in _over_httpx(make, httpx.MockTransport(handler)):
        error = caller.error(Payout())
        expected = NotSent if name in BEFORE_THE_FIRST_BYTE else OutcomeUnknown
        assert isinstance(error, expected)
        assert len(calls) == (3 if expected is NotSent else 1)
        assert "CANARY" not in str(error)


def _over_httpx(make: Make, through: httpx.MockTransport, **more: Any) -> Iterator[Caller]:
    probe = make()
    client = (
        httpx.Client(transport=through, **more)
        if probe.kind == "sync"
        else httpx.AsyncClient(transport=through, **more)
    )
    yield make(http=client)
    if isinstance(client, httpx.Client):
        client.close()
    else:
        asyncio.run(client.aclose())


def test_an_error_that_nobody_foresaw_is_unknown(make: Make) -> None:
    """An exception of any other kind out of the transport leaves a payout's outcome unknown too."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/oauth"):
            return httpx.Response(200, json={"access_token": "T", "expires_in": 3599})
        raise ZeroDivisionError

    for caller in _over_httpx(make, httpx.MockTransport(handler)):
        assert isinstance(caller.error(Payout()), OutcomeUnknown)


def test_an_injected_client_keeps_its_own_and_gets_our_limits(make: Make) -> None:
    """A given httpx client is used with the settings' timeouts, without its redirects and credentials, and is not closed."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.startswith("/oauth"):
            return httpx.Response(200, json={"access_token": "T", "expires_in": 3599})
        return httpx.Response(302, headers={"Location": "/elsewhere"})

    more = {"follow_redirects": True, "auth": ("own", "own"), "timeout": None, "headers": {"X-Own": "1"}}
    for caller in _over_httpx(make, httpx.MockTransport(handler), **more):
        caller.error(Payout())
        assert ["/oauth/v1/generate", "/pay"] == [request.url.path for request in seen]
        assert seen[1].headers["Authorization"] == "Bearer T"
        assert seen[1].headers["X-Own"] == "1"
        assert {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 30.0} == seen[1].extensions["timeout"]
        caller.disconnect()
        given = caller.client._given
        assert given.is_closed is False


@pytest.mark.parametrize("operation", [Question(), Silence()])
def test_a_request_is_what_a_plain_httpx_client_sends(server: Server, make: Make, operation: Any) -> None:
    """The requests that are made without one are the same, and of an earlier answer nothing goes along with the next."""
    server.token_answer = http(200, {"access_token": "T", "expires_in": 3599})
    server.answer = lambda request, connection: http(200, ACCEPTED, "Set-Cookie: a=b")
    ours = make(server.url)
    ours.send(operation)
    ours.send(operation)
    client = httpx.Client() if ours.kind == "sync" else httpx.AsyncClient()
    plain = make(server.url, http=client)
    plain.send(operation)
    if isinstance(client, httpx.Client):
        client.close()
    else:
        plain._runner.run(client.aclose())
    assert [server.posts[2]] * 2 == server.posts[:2]
    assert [server.gets[1]] == server.gets[:1]


@pytest.mark.parametrize("base", ["http://daraja.example", "http://daraja.example:8080/below"])
def test_proxies_of_the_environment_are_used(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """Where the environment names a proxy, token and payout go through it, on one connection, with the whole URL."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    server.token_path = f"{base}/oauth/"
    caller = make(base)
    assert [ACCEPTED] * 2 == [caller.send(Payout()) for _ in range(2)]
    assert [f"{base}/pay"] * 2 == [post.path for post in server.posts]
    assert (1, 1) == (len(server.gets), server.connections)


@pytest.mark.parametrize(("name", "excepted"), [("ALL_PROXY", "*"), ("HTTP_PROXY", "daraja.invalid")])
def test_what_the_environment_excepts_goes_past_the_proxy(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch, name: str, excepted: str
) -> None:
    """A host in NO_PROXY is connected to itself; here it has no address, so nothing is sent."""
    monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("NO_PROXY", excepted)
    error = make("http://daraja.invalid", send_retries=0).error(Payout())
    assert isinstance(error, NotSent)
    assert "ConnectError" in str(error)
    assert 0 == server.connections


def test_a_daraja_on_this_machine_needs_no_proxy(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy cannot reach this machine's loopback, and is not asked to."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert make(server.url).send(Payout()) == ACCEPTED


def test_a_given_client_that_is_closed_sends_nothing() -> None:
    """A host that closed its httpx client gets NotSent."""
    client = httpx.Client()
    client.close()
    with pytest.raises(NotSent, match="closed"):
        DarajaClient(Settings(**KEYS), http=client, sleep=lambda seconds: None).send(Payout())


# Tokens


def test_256_callers_at_expiry_fetch_one_token(server: Server, make: Make) -> None:
    """256 threads or tasks that find the token expired cause exactly one fetch, and all are answered, at each expiry."""
    now = [datetime(2026, 3, 1, tzinfo=UTC)]
    server.check_tokens = True
    server.token_delay = 0.05
    caller = make(server.url, clock=lambda: now[0])
    for expiry in range(1, 4):
        assert [ACCEPTED] * 256 == caller.many(256, Payout())
        assert server.tokens == expiry
        now[0] += timedelta(seconds=3599)
    assert len(server.posts) == 3 * 256


def test_256_callers_with_a_token_revoked_in_flight_fetch_one(server: Server, make: Make) -> None:
    """When somebody else's new token revokes ours in mid-flight, 256 callers are refused and exactly one token is fetched."""
    server.check_tokens = True
    caller = _warm(make, server)
    for _ in range(3):
        with server.lock:
            server.tokens += 1  # another program fetched a token with the same keys
        before = len(server.gets)
        assert [ACCEPTED] * 256 == caller.many(256, Payout())
        assert len(server.gets) == before + 1


def test_a_product_that_is_not_on_the_app_costs_one_token_each(server: Server, make: Make) -> None:
    """A call that is refused with every token ends as TokenRefused after one new token."""
    caller = _warm(make, server)
    refusal = {
        "requestId": "1",
        "errorCode": "401.003.01",
        "errorMessage": "Error Occurred - Invalid Access Token - CANARYx1",
    }
    server.answer = lambda request, connection: http(401, refusal)
    error = caller.error(Payout())
    assert isinstance(error, TokenRefused)
    assert (2, 2) == (len(server.gets), len(server.posts))
    assert "CANARY" not in str(error)


def test_the_404_that_means_a_refused_token_is_answered_with_a_new_one(server: Server, make: Make) -> None:
    """Daraja's 404.001.03 is renewed like a 401."""
    caller = _warm(make, server)
    refusal = http(404, {"requestId": "1", "errorCode": "404.001.03", "errorMessage": "Invalid Access Token"})
    server.answer = lambda request, connection: (
        refusal if request.headers["authorization"].endswith("1") else http(200, ACCEPTED)
    )
    assert caller.send(Payout()) == ACCEPTED
    assert ["Bearer CANARYtoken1", "Bearer CANARYtoken2"] == [post.headers["authorization"] for post in server.posts]


@pytest.mark.parametrize(
    "answer",
    [
        http(200, HTML),
        http(200, b""),
        http(200, b'{"access_token":"CANARYtok'),
        http(200, []),
        http(200, {"expires_in": 3599}),
        http(200, {"access_token": "a\r\nb"}),
        http(200, b" " * 3_000_000),
        http(500, b""),
        http(503, HTML),
    ],
)
def test_garbage_for_a_token_sends_nothing(server: Server, make: Make, answer: bytes) -> None:
    """When the token endpoint answers garbage, payouts are NotSent, no token is tried again and no text shows a part of it."""
    server.token_answer = answer
    caller = make(server.url)
    error = caller.error(Payout())
    assert isinstance(error, NotSent)
    assert "CANARY" not in str(error)
    assert (1, 0) == (len(server.gets), len(server.posts))


def test_a_slow_token_endpoint_is_no_storm(server: Server, make: Make) -> None:
    """While the token endpoint is too slow, 64 callers wait for the same two requests and are all NotSent."""
    server.token_delay = 0.8
    caller = make(server.url, read_timeout=0.4)
    errors = caller.many(64, Payout())
    assert {NotSent} == {type(error) for error in errors}
    assert (2, 0) == (len(server.gets), len(server.posts))


def test_wrong_keys_are_refused_at_once(server: Server, make: Make) -> None:
    """Wrong keys are TokenRefused after one request, and no payout leaves."""
    server.token_answer = http(400, b"")
    assert isinstance(make(server.url).error(Payout()), TokenRefused)
    assert (1, 0) == (len(server.gets), len(server.posts))


def test_clients_can_share_a_store(server: Server) -> None:
    """A sync and an async client, and one for another account, that share a store share a token for the same keys."""
    server.check_tokens = True
    store = MemoryTokenStore()
    settings = Settings(environment=server.url, **KEYS)  # type: ignore[arg-type]

    async def in_a_task() -> Any:
        async with AsyncDarajaClient(settings, tokens=store) as client:
            return await client.send(Payout())

    with DarajaClient(settings, tokens=store) as client:
        assert [ACCEPTED] * 3 == [client.send(Payout()), asyncio.run(in_a_task()), client.send(Payout())]
    assert len(server.gets) == 1


# Processes, event loops, TLS


def test_an_async_client_outlives_its_event_loop(server: Server) -> None:
    """One async client sends from three event loops in turn, with one token."""
    client = AsyncDarajaClient(Settings(environment=server.url, **KEYS))  # type: ignore[arg-type]

    async def once() -> Any:
        try:
            return await client.send(Payout())
        finally:
            await client.aclose()

    assert [ACCEPTED] * 3 == [asyncio.run(once()) for _ in range(3)]
    assert len(server.gets) == 1


def test_an_async_client_serves_event_loops_at_the_same_time(server: Server) -> None:
    """Four event loops in four threads use one async client at once."""
    client = AsyncDarajaClient(Settings(environment=server.url, **KEYS))  # type: ignore[arg-type]

    async def some() -> list[Any]:
        try:
            return await asyncio.gather(*(client.send(Payout()) for _ in range(8)))
        finally:
            await client.aclose()

    with ThreadPoolExecutor(4) as pool:
        assert [[ACCEPTED] * 8] * 4 == [done.result() for done in [pool.submit(asyncio.run, some()) for _ in range(4)]]
    assert len(server.gets) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_client_survives_a_fork(server: Server) -> None:
    """Parent and child each send over connections of their own, also when a lock was held at the fork."""
    client = DarajaClient(Settings(environment=server.url, **KEYS))  # type: ignore[arg-type]
    client.send(Question())
    with client._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            done = False
            with contextlib.suppress(BaseException):
                done = [client.send(Payout()) for _ in range(3)] == [ACCEPTED] * 3
            os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert client.send(Payout()) == ACCEPTED
    assert server.connections == 2
    client.close()


def test_a_client_can_be_used_again_after_close(server: Server, make: Make) -> None:
    """Closing closes the connections; the next send opens one and uses the token that is there."""
    caller = _warm(make, server)
    before = server.connections
    caller.disconnect()
    assert caller.send(Payout()) == ACCEPTED
    assert (before + 1, 1) == (server.connections, len(server.gets))


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(make: Make, tmp_path: Any) -> None:
    """To a server with a certificate of its own making nothing is sent."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "own.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = Server(context)
    try:
        error = make(server.url, send_retries=0).error(Payout())
        assert isinstance(error, NotSent)
        assert ([], []) == (server.gets, server.posts)
    finally:
        server.close()


# A function for a Daraja


def test_a_function_is_a_daraja(make: Make) -> None:
    """A function from request to response, or for tasks a coroutine function, stands in for Daraja and sees all of a request."""
    seen: list[HttpRequest] = []

    def daraja(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        if request.path.startswith("/oauth/"):
            return HttpResponse(status=200, body=b'{"access_token":"T","expires_in":3599}')
        return HttpResponse(
            status=200, headers={"content-type": "application/json"}, body=json.dumps(ACCEPTED).encode()
        )

    async def slowly(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return daraja(request)

    caller = make(over=daraja)
    assert caller.send(Payout()) == ACCEPTED
    assert ("GET", "/oauth/v1/generate?grant_type=client_credentials") == (seen[0].method, seen[0].path)
    assert ("POST", "/pay", "Bearer T") == (seen[1].method, seen[1].path, seen[1].headers["Authorization"])
    assert json.loads(seen[1].body)["short_code"] == "600000"
    if caller.kind == "async":
        assert make(over=slowly).send(Payout()) == ACCEPTED


@pytest.mark.parametrize("kind", [NotSent, OutcomeUnknown])
def test_a_function_can_lose_a_request_or_its_answer(make: Make, kind: type[MpesaError]) -> None:
    """What a function raises to lose a request, or its answer, is treated as if the network had."""
    calls: list[str] = []

    def daraja(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/oauth/"):
            return HttpResponse(status=200, body=b'{"access_token":"T","expires_in":3599}')
        calls.append(request.path)
        raise kind("lost")

    assert isinstance(make(over=daraja).error(Payout()), kind)
    assert len(calls) == (3 if kind is NotSent else 1)


def test_the_transport_serves_a_client_of_ones_own() -> None:
    """A transport over a function serves a plain httpx client of either kind."""
    through: Any = transport(lambda request: HttpResponse(status=201, body=request.body + request.path.encode()))
    with httpx.Client(transport=through) as client:
        assert client.post("http://x/y?z=1", content=b"a").content == b"a/y?z=1"


# Nothing shows a secret

CANARIES = (
    "CANARY",
    base64.b64encode(b"CANARYkey:CANARYsecret").decode()[:20],
    base64.b64encode(b"600000CANARYpasskey").decode()[:20],
)


def _with_variables(error: BaseException) -> str:
    """The traceback of an error and of all that it drags along, with the variables of every frame."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


SECRETS: dict[str, Any] = {
    "passkey": "CANARYpasskey",
    "initiator_name": "api",
    "security_credential": "CANARYcredential" + "Aa0+/bB1" * 40 + "==",
    "callback_secret": "CANARYcallback",
    "accounts": {"till": Account(short_code="300000", passkey="CANARYtill")},
}


@pytest.mark.parametrize(
    "trouble",
    [
        "none",
        "refused connection",
        "reset",
        "garbage",
        "refused token",
        "wrong keys",
        "html",
        "token garbage",
        "refused",
    ],
)
def test_no_error_or_log_line_shows_a_secret(
    server: Server, make: Make, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """Whatever goes wrong, no exception with its chain and variables, no pickle and no DEBUG line shows a secret."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "mpesa_core"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    caller = make(server.url, **SECRETS)
    if trouble == "refused connection":
        server.close()
    elif trouble == "reset":
        _reset_after_reading(server)
    elif trouble == "garbage":
        server.answer = lambda request, connection: http(200, b'{"echo":"' + request.body)
    elif trouble == "refused token":
        server.check_tokens = True
        server.answer = lambda request, connection: http(
            401,
            {"errorCode": "401.002.01", "errorMessage": f"Invalid Access Token - {request.headers['authorization']}"},
        )
    elif trouble == "wrong keys":
        server.token_answer = http(
            400, {"errorCode": "400.008.01", "errorMessage": "Bad Request - invalid credentials"}
        )
    elif trouble == "html":
        server.answer = lambda request, connection: http(503, b"<html>" + request.body)
    elif trouble == "token garbage":
        server.token_answer = http(200, b'{"access_token":"CANARYtoken1')
    elif trouble == "refused":
        server.answer = lambda request, connection: http(
            400, {"errorCode": "400.002.02", "errorMessage": "Invalid Amount"}
        )
    shown = [repr(caller.client), str(caller.client.settings), repr(caller.client._tokens)]
    shown += [repr(vars(caller.client))]
    if trouble == "none":
        caller.send(Payout())
    else:
        error = caller.error(Payout())
        assert isinstance(error, (NotSent, OutcomeUnknown, TokenRefused, RequestRefused, UnexpectedAnswer))
        chain: BaseException | None = error
        while chain is not None:
            shown += [repr(chain), str(chain), repr(vars(chain)), repr(chain.args)]
            chain = chain.__cause__ or chain.__context__
        # The frames of this test hold the settings' own plain values; those of the package must not.
        summary = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in summary.stack if "mpesa_core" in frame.filename]
        assert frames
        shown += [repr(frame.locals) for frame in frames]
        shown.append(pickle.dumps(error).decode("latin-1"))
        back = pickle.loads(pickle.dumps(error))
        assert (type(error), str(error)) == (type(back), str(back))
    shown += [record.getMessage() + str(record.args) for record in caplog.records]
    assert any("HTTP" in line for line in caplog.messages) or trouble == "refused connection"
    for canary in CANARIES:
        assert not [text for text in shown if canary in text]


def test_settings_and_clients_with_secrets_are_not_pickled(make: Make) -> None:
    """Neither settings nor a client turns into bytes that would hold the secrets."""
    client = make(**SECRETS).client
    for thing in (client.settings, client.settings.account("till"), client):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
