"""A callback's HTTP request and response, as the web adapters hand them in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

__all__ = ["Readable", "WebhookRequest", "WebhookResponse", "read_body"]

_CHUNK = 65_536


class Readable(Protocol):
    """A body that was not read yet. It ends by itself, or the request announces its length."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" at the end."""
        ...


def _pairs(headers: Sequence[tuple[str, str]] | Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple([(str(name), str(value)) for name, value in pairs])


def _by_name(request: WebhookRequest) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _announced(request: WebhookRequest) -> int | None:
    lines = request.header_lines("content-length")
    text = lines[0].strip() if len(lines) == 1 else ""
    if request.header_lines("transfer-encoding") or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) <= 18 else 10**18


@attrs.frozen(kw_only=True)
class WebhookRequest:
    """One HTTP request.

    Attributes:
        method: ``POST``, in any case.
        path: below the host's prefix, decoded: ``stk/callback/`` or ``stk/callback/<token>/``.
        headers: pairs, or a mapping; the names in any case, a name as often as it came.
        body: bytes, or something to read them from, which is read no further than the announced length and the limit.
        peer: the address of whoever is connected, such as ``196.201.214.200``; never one taken from a header.
        announced_length: the Content-Length in bytes, by the headers; None where there is none that can be read, or the
            body comes in chunks.
    """

    method: str
    path: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, repr=False)
    body: bytes | Readable = attrs.field(default=b"", repr=False)
    peer: str = ""
    _lines: Mapping[str, list[str]] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_by_name, takes_self=True)
    )
    announced_length: int | None = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_announced, takes_self=True)
    )

    def header_lines(self, name: str) -> Sequence[str]:
        """The values of every header line of that name, in the order in which they came."""
        return self._lines.get(name.lower(), ())


@attrs.frozen(kw_only=True)
class WebhookResponse:
    """What to answer.

    Attributes:
        status: the HTTP status.
        headers: pairs, Content-Type and Content-Length among them.
        body: JSON.
        after: what to run once the response was handed over, or None; it raises nothing.
        callback_id: the id that the callback was recorded under, as text, or None.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    after: Callable[[], None] | None = attrs.field(default=None, repr=False)
    callback_id: str | None = None


@attrs.frozen
class Body:
    """What was read of a request's body.

    Attributes:
        content: the bytes; no more than one beyond the limit.
        complete: whether everything that was announced came.
    """

    content: bytes = attrs.field(repr=False)
    complete: bool


def read_body(request: WebhookRequest, limit: int) -> Body:
    """The body as far as one byte beyond the limit; never raises, however the connection ends."""
    if isinstance(request.body, (bytes, bytearray, memoryview)):
        content = bytes(request.body[: limit + 1])
        return Body(content, complete=len(content) >= min(request.announced_length or 0, limit))
    announced = request.announced_length
    wanted = limit + 1 if announced is None else min(announced, limit + 1)
    parts: list[bytes] = []
    have = 0
    try:
        while have < wanted:
            part = request.body.read(min(wanted - have, _CHUNK))
            if not part:
                break
            parts.append(part[: wanted - have])
            have += len(parts[-1])
    except Exception:  # noqa: BLE001 - servers and frameworks raise what they like when a connection breaks
        return Body(b"".join(parts), complete=False)
    return Body(b"".join(parts), complete=announced is None or have >= wanted)
