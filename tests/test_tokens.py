"""Access tokens: shared, renewed early, fetched by one for all."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mpesa_core.errors import Busy, ConfigurationError, NotSent
from mpesa_core.settings import Secret
from mpesa_core.tokens import MemoryTokenStore, TokenKeeper, token_key

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
KEY = token_key("https://sandbox.safaricom.co.ke", "key", "secret")


class Clock:
    """A wall clock and a monotonic one that a test sets."""

    def __init__(self) -> None:
        self.wall = START
        self.ticks = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds


class Source:
    """Where tokens come from: T1, T2, ...; counts, and can be slow or out of order."""

    def __init__(self, lifetime: float = 3599.0, delay: float = 0.0, names: str = "T") -> None:
        self.count = 0
        self.lifetime = lifetime
        self.delay = delay
        self.names = names
        self.at_once = 0
        self.most_at_once = 0
        self.failure: Exception | None = None

    def _make(self) -> tuple[str, float]:
        self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        return f"{self.names}{self.count}", self.lifetime

    def _begin(self) -> None:
        self.count += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)

    def __call__(self) -> tuple[str, float]:
        self._begin()
        time.sleep(self.delay)
        return self._make()

    async def slowly(self) -> tuple[str, float]:
        self._begin()
        await asyncio.sleep(self.delay)
        return self._make()


class Plain(TokenKeeper):
    """A keeper whose tokens are plain text, which reads better in a test."""

    def obtain(self, key: str, refused: Any, fetch: Any, sleep: Any) -> Any:
        def fetch_secret() -> Any:
            token, lifetime = fetch()
            return Secret(token), lifetime

        return super().obtain(key, Secret(refused) if refused else None, fetch_secret, sleep).reveal()

    async def obtain_async(self, key: str, refused: Any, fetch: Any, sleep: Any) -> Any:
        async def fetch_secret() -> Any:
            token, lifetime = await fetch()
            return Secret(token), lifetime

        return (await super().obtain_async(key, Secret(refused) if refused else None, fetch_secret, sleep)).reveal()


def keeper(clock: Clock | None = None, store: Any = None, **more: Any) -> Plain:
    at = clock or Clock()
    store = MemoryTokenStore() if store is None else store
    return Plain(store, clock=lambda: at.wall, monotonic=lambda: at.ticks, **more)


def no_sleep(seconds: float) -> None:
    raise AssertionError("nobody else fetches, so there is nothing to wait for")


def test_a_token_is_fetched_once_and_kept() -> None:
    """The second caller gets the first one's token without a fetch."""
    tokens, source = keeper(), Source()
    assert ["T1", "T1"] == [tokens.obtain(KEY, None, source, no_sleep) for _ in range(2)]
    assert source.count == 1


@pytest.mark.parametrize(("lifetime", "margin"), [(3599.0, 60.0), (600.0, 60.0), (100.0, 10.0), (10.0, 1.0)])
def test_a_token_is_renewed_early(lifetime: float, margin: float) -> None:
    """A token is used until a minute, or a tenth of a short life, before it expires, and not a moment longer."""
    clock = Clock()
    tokens, source = keeper(clock), Source(lifetime)
    tokens.obtain(KEY, None, source, no_sleep)
    clock.pass_(lifetime - margin - 0.01)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T1"
    clock.pass_(0.02)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T2"


def test_a_token_without_a_life_is_used_once() -> None:
    """A token that expires at once serves the call that fetched it and no other."""
    tokens, source = keeper(), Source(0.0)
    assert ["T1", "T2"] == [tokens.obtain(KEY, None, source, no_sleep) for _ in range(2)]


def test_the_age_counts_from_before_the_request() -> None:
    """The time that a slow token request takes is taken off the token's life."""
    clock = Clock()
    tokens = keeper(clock)

    def slow() -> tuple[str, float]:
        clock.pass_(100)
        return "T1", 3599.0

    tokens.obtain(KEY, None, slow, no_sleep)
    clock.pass_(3599 - 60 - 100 + 1)
    assert tokens.obtain(KEY, None, Source(names="N"), no_sleep) == "N1"


@pytest.mark.parametrize("jump", [-7200.0, -3600.0, -1.0, 0.0])
def test_a_wall_clock_set_back_does_not_lengthen_a_tokens_life(jump: float) -> None:
    """After the host's clock is set back, the token is still given up when it is old by the monotonic clock, not earlier."""
    clock = Clock()
    tokens, source = keeper(clock), Source()
    tokens.obtain(KEY, None, source, no_sleep)
    clock.wall += timedelta(seconds=jump)
    clock.pass_(3599 - 61)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T1"
    clock.pass_(2)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T2"


def test_a_wall_clock_set_forward_costs_one_fetch() -> None:
    """A clock that jumps an hour ahead makes the token look old; the new one then lives its whole life by both clocks."""
    clock = Clock()
    tokens, source = keeper(clock), Source()
    tokens.obtain(KEY, None, source, no_sleep)
    clock.wall += timedelta(hours=1)
    assert ["T2", "T2"] == [tokens.obtain(KEY, None, source, no_sleep) for _ in range(2)]
    clock.wall -= timedelta(hours=1)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T2"
    clock.pass_(3599)
    assert tokens.obtain(KEY, None, source, no_sleep) == "T3"


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_another_machines_clock_does_not_lengthen_a_tokens_life(skew: float) -> None:
    """A token stored by a machine whose clock is an hour off is used for one lifetime at most."""
    store, theirs, ours = MemoryTokenStore(), Clock(), Clock()
    theirs.wall += timedelta(seconds=skew)
    keeper(theirs, store).obtain(KEY, None, Source(), no_sleep)
    tokens, source = keeper(ours, store), Source(names="N")
    first = tokens.obtain(KEY, None, source, no_sleep)
    assert first == ("T1" if skew > 0 else "N1")
    ours.pass_(3599 - 59)
    assert tokens.obtain(KEY, None, source, no_sleep) == ("N1" if skew > 0 else "N2")


def test_a_refused_token_is_replaced_once() -> None:
    """Whoever comes with the refused token gets the one that replaced it, and only the first of them fetches."""
    tokens, source = keeper(), Source()
    old = tokens.obtain(KEY, None, source, no_sleep)
    assert ["T2"] * 5 == [tokens.obtain(KEY, old, source, no_sleep) for _ in range(5)]
    assert tokens.obtain(KEY, None, source, no_sleep) == "T2"
    assert source.count == 2


def test_a_daraja_that_hands_out_the_refused_token_again_does_not_loop() -> None:
    """A fetch that brings the refused token back is believed: the call that uses it is refused, and ends."""
    tokens = keeper()
    fetched: list[str] = []

    def same() -> tuple[str, float]:
        fetched.append("S")
        return "S", 3599.0

    assert tokens.obtain(KEY, tokens.obtain(KEY, None, same, no_sleep), same, no_sleep) == "S"
    assert len(fetched) == 2


def _together(count: int, work: Callable[[], Any]) -> list[Any]:
    """Run the work in that many threads that start at once; results and errors."""
    barrier = threading.Barrier(count)

    def one(_: int) -> Any:
        barrier.wait()
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_256_threads_at_expiry_fetch_once() -> None:
    """256 threads that find the token expired cause exactly one fetch, at each of five expiries."""
    clock = Clock()
    tokens, source = keeper(clock), Source(delay=0.05)
    for round_ in range(1, 6):
        assert [f"T{round_}"] * 256 == _together(256, lambda: tokens.obtain(KEY, None, source, no_sleep))
        assert source.count == round_
        clock.pass_(3599)


def test_256_threads_with_one_refused_token_fetch_once() -> None:
    """256 threads whose token was refused cause exactly one fetch, although some come when it is long over."""
    tokens, source = keeper(), Source(delay=0.02)
    for round_ in range(1, 6):
        old = tokens.obtain(KEY, None, source, no_sleep)
        assert [f"T{round_ + 1}"] * 256 == _together(256, lambda: tokens.obtain(KEY, old, source, no_sleep))  # noqa: B023
        assert source.count == round_ + 1


def test_256_tasks_fetch_once() -> None:
    """256 tasks cause exactly one fetch at an expiry and one for a refused token."""
    clock = Clock()
    tokens, source = keeper(clock), Source(delay=0.01)

    async def all_of_them(refused: str | None) -> set[str]:
        calls = [tokens.obtain_async(KEY, refused, source.slowly, asyncio.sleep) for _ in range(256)]
        return set(await asyncio.gather(*calls))

    assert asyncio.run(all_of_them(None)) == {"T1"}
    assert asyncio.run(all_of_them("T1")) == {"T2"}
    clock.pass_(3599)
    assert asyncio.run(all_of_them(None)) == {"T3"}
    assert source.count == 3


def test_tasks_of_several_event_loops_fetch_once() -> None:
    """Tasks of eight event loops in eight threads share one fetch."""
    tokens, source = keeper(), Source(delay=0.05)

    async def some() -> list[str]:
        return await asyncio.gather(*(tokens.obtain_async(KEY, None, source.slowly, asyncio.sleep) for _ in range(32)))

    assert [["T1"] * 32] * 8 == _together(8, lambda: asyncio.run(some()))
    assert source.count == 1


def test_those_who_wait_share_the_failure() -> None:
    """A fetch that fails is not tried again by each of those who waited for it, and each gets an exception of his own."""
    tokens, source = keeper(), Source(delay=0.2)
    source.failure = Busy("quota", status=429, code="500.003.03", retry_after=7.0)
    errors = _together(64, lambda: tokens.obtain(KEY, None, source, no_sleep))
    assert source.count == 1
    assert {(Busy, "500.003.03", 7.0)} == {(type(error), error.code, error.retry_after) for error in errors}
    assert len({id(error) for error in errors}) == 64
    source.failure = None
    assert tokens.obtain(KEY, None, source, no_sleep) == "T2"


def test_a_cancelled_leader_hands_over() -> None:
    """When the task that fetches is cancelled, one of those who wait fetches in its place and all get the token."""
    tokens, source = keeper(), Source(delay=0.05)

    async def story() -> list[str]:
        leader = asyncio.create_task(tokens.obtain_async(KEY, None, source.slowly, asyncio.sleep))
        await asyncio.sleep(0)
        others = [asyncio.create_task(tokens.obtain_async(KEY, None, source.slowly, asyncio.sleep)) for _ in range(20)]
        await asyncio.sleep(0.01)
        leader.cancel()
        return await asyncio.gather(*others)

    assert asyncio.run(story()) == ["T2"] * 20
    assert source.count == 2


def test_a_cancelled_waiter_disturbs_nobody() -> None:
    """A task that is cancelled while it waits takes neither the fetch nor the other tasks with it."""
    tokens, source = keeper(), Source(delay=0.05)

    async def story() -> list[str]:
        tasks = [asyncio.create_task(tokens.obtain_async(KEY, None, source.slowly, asyncio.sleep)) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in tasks[1::2]:
            task.cancel()
        return await asyncio.gather(*tasks[::2])

    assert asyncio.run(story()) == ["T1"] * 5
    assert source.count == 1


class SharedStore(MemoryTokenStore):
    """A store as a host would write it: not the in-memory class itself to the keeper, and it can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.threads: set[int] = set()

    def _try(self, name: str) -> None:
        self.threads.add(threading.get_ident())
        if name in self.broken:
            raise ConnectionError("redis://:CANARY@cache:6379")

    def get(self, key: str) -> str | None:
        self._try("get")
        return super().get(key)

    def set(self, key: str, value: str, seconds: float) -> None:
        self._try("set")
        super().set(key, value, seconds)

    def claim(self, key: str, seconds: float) -> bool:
        self._try("claim")
        return super().claim(key, seconds)

    def release(self, key: str) -> None:
        self._try("release")
        super().release(key)


def test_keepers_with_one_store_fetch_once() -> None:
    """Eight keepers, as in eight processes, that share a store fetch one token at an expiry and one for a refusal."""
    store, source = SharedStore(), Source(delay=0.1)
    several = [keeper(store=store) for _ in range(8)]
    for refused, expected in ((None, "T1"), ("T1", "T2")):
        turn = iter(several * 4)
        calls = _together(32, lambda: next(turn).obtain(KEY, refused, source, time.sleep))  # noqa: B023
        assert calls == [expected] * 32
    assert source.count == 2


def test_a_claim_whose_holder_died_is_waited_for_and_passed_over() -> None:
    """Another process that claimed and died delays the next one by the claim's length, and does not stop it."""
    store, source, slept = SharedStore(), Source(), []
    store.claim(KEY, 3600)
    tokens = keeper(store=store, claim_seconds=2.0)
    assert tokens.obtain(KEY, None, source, slept.append) == "T1"
    assert sum(slept) == pytest.approx(2.0)
    assert store.claim(KEY, 1) is False, "the other's claim is not ours to release"


def test_what_another_process_fetched_meanwhile_is_taken() -> None:
    """Whoever waits for another process's claim takes the token that it stored, without a fetch."""
    store, source = SharedStore(), Source()
    store.claim(KEY, 3600)
    tokens = keeper(store=store)

    def other_process(seconds: float) -> None:
        store.release(KEY)
        keeper(store=store).obtain(KEY, None, Source(names="O"), no_sleep)

    assert tokens.obtain(KEY, None, source, other_process) == "O1"
    assert source.count == 0


@pytest.mark.parametrize("method", ["get", "set", "claim"])
def test_a_broken_store_means_not_sent(method: str) -> None:
    """What a store raises becomes NotSent that names the method, without the store's own text."""
    store = SharedStore()
    store.broken = {method}
    with pytest.raises(NotSent, match=f"{method} failed with ConnectionError") as raised:
        keeper(store=store).obtain(KEY, None, Source(), no_sleep)
    assert "CANARY" not in repr((raised.value, raised.value.__cause__, raised.value.__context__))
    store.broken = set()
    assert keeper(store=store).obtain(KEY, None, Source(), no_sleep).startswith("T")


def test_a_claim_that_cannot_be_released_harms_nothing() -> None:
    """A store that fails at the release does not take the token away that was just fetched."""
    store = SharedStore()
    store.broken = {"release"}
    assert keeper(store=store).obtain(KEY, None, Source(), no_sleep) == "T1"


def test_a_failed_fetch_gives_the_claim_back() -> None:
    """After a fetch that failed another process need not wait for the claim to lapse."""
    store, source = SharedStore(), Source()
    source.failure = ConfigurationError(["consumer_key: missing"])
    with pytest.raises(ConfigurationError):
        keeper(store=store).obtain(KEY, None, source, no_sleep)
    assert store.claim(KEY, 1) is True


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "T1",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        b"\xff",
        7,
        '{"access_token":"X","obtained_at":"2026-03-01T09:00:00","expires_at":"2027-03-01T09:00:00"}',
        '{"access_token":"","obtained_at":"2026-03-01T09:00:00+00:00","expires_at":"2026-03-01T10:00:00+00:00"}',
        '{"access_token":"X","obtained_at":"2026-03-01T09:00:00+00:00","expires_at":"2026-02-01T10:00:00+00:00"}',
        '{"access_token":"X","obtained_at":5,"expires_at":6}',
    ],
)
def test_garbage_in_the_store_is_no_token(garbage: Any) -> None:
    """A value that the keeper did not write is passed over, and replaced."""
    store = MemoryTokenStore()
    store.set(KEY, garbage, 60)
    tokens, source = keeper(store=store), Source()
    assert ["T1", "T1"] == [tokens.obtain(KEY, None, source, no_sleep) for _ in range(2)]


def test_a_store_that_may_block_is_called_in_a_thread() -> None:
    """The async keeper calls a host's store outside the event loop's thread."""
    store, source = SharedStore(), Source()

    async def story() -> int:
        await keeper(store=store).obtain_async(KEY, None, source.slowly, asyncio.sleep)
        return threading.get_ident()

    assert asyncio.run(story()) not in store.threads
    assert store.threads


def test_the_key_tells_credentials_apart_and_tells_nothing_about_them() -> None:
    """Each host and pair of keys has its own name, in which neither of them can be read."""
    keys = {
        token_key(host, key, secret)
        for host in ("https://a", "https://b")
        for key, secret in (("ab", "c"), ("a", "bc"), ("CANARY", "CANARY"))
    }
    assert len(keys) == 6
    assert not any("CANARY" in key for key in keys)
    assert token_key("https://a", "ab", "c") in keys


def test_tokens_of_different_credentials_do_not_mix() -> None:
    """Two apps have two tokens in one store."""
    tokens, source = keeper(), Source()
    assert ["T1", "T2", "T1"] == [tokens.obtain(key, None, source, no_sleep) for key in ("a", "b", "a")]


def test_nothing_shows_a_token() -> None:
    """Neither a keeper nor a store nor what they hold shows a token in its repr."""
    store = MemoryTokenStore()
    tokens = keeper(store=store)
    tokens.obtain(KEY, None, Source(names="CANARY"), no_sleep)
    shown = repr((tokens, store, tokens._seen, tokens._flights))
    assert "CANARY" not in shown


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_in_the_middle_of_a_fetch_holds_nobody_up() -> None:
    """A child forked while a thread of the parent fetched, and held the locks, gets a token of its own."""
    store = MemoryTokenStore()
    tokens = keeper(store=store)
    inside, go = threading.Event(), threading.Event()

    def parents() -> tuple[str, float]:
        inside.set()
        go.wait(10)
        return "PARENT", 3599.0

    thread = threading.Thread(target=lambda: tokens.obtain(KEY, None, parents, no_sleep))
    thread.start()
    inside.wait(10)
    with tokens._lock, store._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            fetched = tokens.obtain(KEY, None, Source(names="CHILD"), no_sleep)
            os._exit(0 if fetched == "CHILD1" else 1)
    _, status = os.waitpid(child, 0)
    go.set()
    thread.join(10)
    assert status == 0
    assert tokens.obtain(KEY, None, Source(), no_sleep) == "PARENT"
