"""Callbacks on their way: what is to be posted when, what was posted, and posting over real HTTP."""

from __future__ import annotations

import heapq
import http.client
import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import attrs

from mpesa_core.daraja.operation import HttpResponse

__all__ = ["Outbox", "Post", "Posted", "Posting", "Step", "post_over_http"]

Post = Callable[[str, bytes], "HttpResponse | int"]
"""Posts a callback body to a URL and returns the response, or only its status. Raises OSError where it cannot."""


@attrs.frozen(kw_only=True)
class Posting:
    """A callback that is to be posted.

    Attributes:
        due: when, aware.
        number: the order in which they were planned; it decides between equal times.
        url: where to.
        body: the exact bytes.
        about: what it is, such as "STK callback".
        correlation: the CheckoutRequestID, ConversationID or receipt that it is about.
    """

    due: datetime
    number: int
    url: str = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    about: str
    correlation: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Step:
    """Something that happens at a time: a decision, or a customer's payment that calls the validation URL.

    Attributes:
        due: when, aware.
        number: the order in which they were planned.
        run: does it, at that time, and returns what it posted.
    """

    due: datetime
    number: int
    run: Callable[[datetime], list[Posted]] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Posted:
    """A callback that was posted: when, and the status that came back or the error that kept it from arriving."""

    posting: Posting
    at: datetime
    status: int | None = None
    error: str | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the receiver answered 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


class Outbox:
    """What lies ahead, in order of time. Not safe by itself: its owner holds a lock."""

    def __init__(self) -> None:
        self._ahead: list[tuple[datetime, int, Posting | Step]] = []
        self._numbers = itertools.count(1)

    def post(self, due: datetime, url: str, body: bytes, *, about: str, correlation: str) -> None:
        """Plan a callback."""
        number = next(self._numbers)
        self._add(Posting(due=due, number=number, url=url, body=body, about=about, correlation=correlation))

    def step(self, due: datetime, run: Callable[[datetime], list[Posted]]) -> None:
        """Plan a step."""
        self._add(Step(due=due, number=next(self._numbers), run=run))

    def _add(self, item: Posting | Step) -> None:
        heapq.heappush(self._ahead, (item.due, item.number, item))

    @property
    def first(self) -> Posting | Step | None:
        """The next one."""
        return self._ahead[0][2] if self._ahead else None

    @property
    def postings(self) -> tuple[Posting, ...]:
        """Every planned callback, in order of time."""
        return tuple(
            item for _, _, item in sorted(self._ahead, key=lambda entry: entry[:2]) if isinstance(item, Posting)
        )

    def take(self) -> Posting | Step:
        """The next one, taken out.

        Raises:
            IndexError: there is none.
        """
        return heapq.heappop(self._ahead)[2]

    def take_all_postings(self) -> list[Posting]:
        """Every planned callback, taken out, in order of time."""
        taken = list(self.postings)
        self._ahead = [entry for entry in self._ahead if isinstance(entry[2], Step)]
        heapq.heapify(self._ahead)
        return taken

    def take_all_steps(self) -> list[Step]:
        """Every planned step, taken out."""
        taken = [item for _, _, item in self._ahead if isinstance(item, Step)]
        self._ahead = [entry for entry in self._ahead if isinstance(entry[2], Posting)]
        heapq.heapify(self._ahead)
        return taken


def post_over_http(url: str, body: bytes, *, timeout: float = 8.0) -> HttpResponse:
    """Post a callback over real HTTP, as JSON, without proxies or redirects.

    Args:
        url: http or https.
        body: the exact bytes.
        timeout: seconds; M-PESA waits about 8 for a C2B validation (source: the "Customer To Business" page).

    Raises:
        OSError: it did not arrive, or was not answered in time or in form.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OSError(f"expected an http or https URL, got one with scheme {parts.scheme!r}")
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return HttpResponse(status=answer.status, headers=headers, body=answer.read(65_536))
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from error
    finally:
        connection.close()
