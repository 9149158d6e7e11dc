"""Callbacks on their way: what is to be posted when, what was posted, and posting over real HTTP."""

from __future__ import annotations

import heapq
import http.client
import itertools
import random
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import attrs

from mpesa_core.daraja.operation import HttpResponse

__all__ = ["Courier", "Outbox", "Post", "Posted", "Posting", "Step", "post_over_http"]

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
        correlation: the CheckoutRequestID, ConversationID, RequestRefID or receipt that it is about.
        then: is told what came of it, once it was posted.
    """

    due: datetime
    number: int
    url: str = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    about: str
    correlation: str = attrs.field(repr=False)
    then: Callable[[Posted, HttpResponse | None], None] | None = attrs.field(default=None, repr=False, eq=False)


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

    def post(
        self,
        due: datetime,
        url: str,
        body: bytes,
        *,
        about: str,
        correlation: str,
        then: Callable[[Posted, HttpResponse | None], None] | None = None,
    ) -> None:
        """Plan a callback; the arguments are those of :class:`Posting`."""
        number = next(self._numbers)
        self._add(Posting(due=due, number=number, url=url, body=body, about=about, correlation=correlation, then=then))

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


class Courier:
    """Decides and delivers what lies ahead, when it is told to. Safe to use from any number of threads.

    Args:
        post: posts the callbacks. It is called without the lock held, so it may call back.
        clock: the present moment, aware.

    Attributes:
        changed: the one lock of the local Daraja; notified when there is something new ahead.
        decisions: the steps that decide, which run as soon as anyone looks.
        outbox: callbacks, and steps that post.
    """

    def __init__(self, *, post: Post, clock: Callable[[], datetime]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.clock = clock
        self.decisions = Outbox()
        self.outbox = Outbox()
        self._post = post
        self._posted: list[Posted] = []

    @property
    def posted(self) -> tuple[Posted, ...]:
        """Every callback and validation that was posted, in order."""
        with self.changed:
            return tuple(self._posted)

    def pending(self) -> tuple[Posting, ...]:
        """The callbacks that are yet to be posted, in order of time, of what has been decided by now."""
        with self.changed:
            self.settle(self.clock())
            return self.outbox.postings

    def take_pending(self) -> tuple[Posting, ...]:
        """The same, taken out: they are not posted, and are the caller's to deliver in any way."""
        with self.changed:
            self.settle(self.clock())
            return tuple(self.outbox.take_all_postings())

    def next_due(self) -> datetime | None:
        """When something happens next, or None."""
        with self.changed:
            firsts = (self.decisions.first, self.outbox.first)
            return min((item.due for item in firsts if item is not None), default=None)

    def wait(self, timeout: float) -> None:
        """Block until something is due or was added, or so many seconds have passed. For a thread that delivers."""
        with self.changed:
            due = self.next_due()
            left = timeout if due is None else min(timeout, (due - self.clock()).total_seconds())
            if left > 0:
                self.changed.wait(left)

    def wake(self) -> None:
        """Let everyone who waits look again."""
        with self.changed:
            self.changed.notify_all()

    def deliver_due(self, now: datetime | None = None) -> list[Posted]:
        """Decide and post what is due.

        Args:
            now: until when; the clock's present moment by default.

        Returns:
            what was posted.
        """
        moment = now or self.clock()
        posted: list[Posted] = []
        while (item := self._take(moment)) is not None:
            posted += self._run(item, moment)
        return posted

    def deliver_next(self) -> bool:
        """Decide what is due and post one callback; False where none is due. Several threads may deliver like this."""
        item = self._take(self.clock())
        if item is None:
            return False
        self._run(item, self.clock())
        return True

    def run_until_idle(self, *, seed: int | None = None, limit: int = 10_000) -> list[Posted]:
        """Decide and post everything that lies ahead, without waiting: each at the time that it is due.

        Args:
            seed: post what is ready in an order shuffled with this seed, instead of in order of time.
            limit: posts after which something must be going in circles.

        Returns:
            what was posted.

        Raises:
            RuntimeError: the limit was reached.
        """
        shuffle = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable on purpose
        posted: list[Posted] = []
        while True:
            if shuffle is None:
                item = self._take(None)
                batch = [] if item is None else [item]
            else:
                batch = self._take_shuffled(shuffle)
            if not batch:
                return posted
            for each in batch:
                posted += self._run(each, each.due)
            if len(posted) > limit:
                raise RuntimeError(
                    f"posted {len(posted)} callbacks and there are still more; something goes in circles"
                )

    def settle(self, until: datetime | None) -> None:
        """Take every decision that is due, without posting anything."""
        while (step := self.decisions.first) is not None and (until is None or step.due <= until):
            self.decisions.take()
            assert isinstance(step, Step)
            step.run(step.due)

    def _take(self, until: datetime | None) -> Posting | Step | None:
        """The next thing to post or to run, once the decisions before it are taken."""
        with self.changed:
            while True:
                decision, item = self.decisions.first, self.outbox.first
                if decision is not None and (item is None or decision.due <= item.due):
                    if until is not None and decision.due > until:
                        return None
                    self.settle(decision.due)
                    continue
                if item is None or (until is not None and item.due > until):
                    return None
                return self.outbox.take()

    def _take_shuffled(self, shuffle: random.Random) -> list[Posting | Step]:
        with self.changed:
            self.settle(None)
            batch: list[Posting | Step] = [*self.outbox.take_all_steps()] or [*self.outbox.take_all_postings()]
            shuffle.shuffle(batch)
            return batch

    def _run(self, item: Posting | Step, at: datetime) -> list[Posted]:
        return item.run(item.due) if isinstance(item, Step) else [self.send(item, at)[0]]

    def send(self, posting: Posting, at: datetime) -> tuple[Posted, HttpResponse | None]:
        """Post, without the lock held, and note it."""
        error, answer = None, None
        try:
            came = self._post(posting.url, posting.body)
            answer = came if isinstance(came, HttpResponse) else HttpResponse(status=came)
        except OSError as problem:
            error = f"{type(problem).__name__}: {problem}"
        posted = Posted(posting=posting, at=at, status=None if answer is None else answer.status, error=error)
        with self.changed:
            self._posted.append(posted)
            if posting.then is not None:
                posting.then(posted, answer)
                self.changed.notify_all()
        return posted, answer


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
