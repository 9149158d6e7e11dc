"""A world in which the engine's own procedures run: workers interleaved at every effect, crashed at any of them.

It is the third driver of :mod:`mpesa_core.settlement.drivers`. An actor is one process: it performs one effect of its
procedure at a time, and dies before an effect, or after the effect took place and before its result was seen. Time
stands still until somebody moves it.
"""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from mpesa_core.daraja.callbacks import decode_callback
from mpesa_core.errors import MpesaError, StorageUnavailable
from mpesa_core.payments.records import CallbackDraft
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.settings import Settings
from mpesa_core.settlement import engine as engine_module
from mpesa_core.settlement.effects import Deliver, Heard, Recorded, ResolveC2B, Send, StoreBatch, StoreCall
from mpesa_core.settlement.engine import Engine
from mpesa_core.settlement.initiation import Initiation
from tests.settlement.invariants import Books
from tests.settlement.script import Daraja

__all__ = ["SETTINGS", "START", "Actor", "Batched", "Joint", "JointlyBatched", "Variant", "World", "quiet_engine"]

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

SETTINGS = Settings(
    consumer_key="key",
    consumer_secret="secret",
    short_code="174379",
    passkey="passkey",
    initiator_name="api",
    security_credential="credential",
    callback_base_url="https://shop.example/pay/",
    callback_tokens=True,
    queries_per_minute=1_000_000,
    query_after=30,
    query_interval=30,
    query_interval_longest=240,
    stk_deadline=180,
    payout_deadline=300,
    horizon=1200,
    unsent_after=60,
    callback_lease=20,
    announce_lease=20,
    adoption_grace=40,
    unmatched_after=900,
)
"""Durations of seconds and minutes, so that few sweeps bring everything to its end."""


class Variant:
    """What runs: the real engine on the real repository. A mutant overrides one of the two."""

    name = "real"
    heard = True
    """Somebody listens to callback_received."""

    def engine(self, world: World) -> Engine:
        return Engine(world.settings, world.clock, world.new_id)

    def repository(self) -> MemoryRepository:
        return MemoryRepository()


class Batched(Variant):
    """A repository that does several operations at once: recovery takes callbacks side by side."""

    name = "batched"

    def engine(self, world: World) -> Engine:
        return Engine(world.settings, world.clock, world.new_id, batches=True)


class Joint(Variant):
    """A repository that settles and closes in one operation, and nobody listens to callback_received."""

    name = "joint"
    heard = False

    def engine(self, world: World) -> Engine:
        return Engine(world.settings, world.clock, world.new_id, joint=True)


class JointlyBatched(Joint):
    """Both."""

    name = "jointly_batched"

    def engine(self, world: World) -> Engine:
        return Engine(world.settings, world.clock, world.new_id, batches=True, joint=True)


class Actor:
    """One process, running one procedure."""

    __slots__ = ("effect", "error", "name", "person", "procedure", "result", "world")

    def __init__(self, world, name, procedure, *, person=False):
        self.world = world
        self.name = name
        self.procedure = procedure
        self.person = person
        self.effect = None
        self.result = None
        self.error = None


class World:
    """Repository, clock, Daraja and processes of one schedule.

    Args:
        rng: what every choice is drawn from.
        variant: what runs.
        settings: the host's.
        rules: the invariants that count; all by default.
        trace: keep a line for each step.
    """

    def __init__(
        self, rng: Random, variant: Variant, *, settings: Settings = SETTINGS, rules=None, trace: bool = False
    ) -> None:
        self.rng = rng
        self.settings = settings
        self.now = START
        self.steps = 0
        self.crashes = 0
        self.lines: list[str] | None = [] if trace else None
        self._ids = 0
        self._names = 0
        self.heard = variant.heard
        self.repository = variant.repository()
        self.books = Books(self, rules)
        self.daraja = Daraja(self)
        self.engine = variant.engine(self)
        self.initiation = Initiation(self.engine, self.new_id)
        self.actors: list[Actor] = []
        self.letters: list = []
        self.calm = False  # the storm is over
        self.people = False  # a person resolves conflicts
        self.adopting = False  # a payment that a customer made by hand may be taken for the prompt's

    def clock(self) -> datetime:
        return self.now

    def new_id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)

    def note(self, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{(self.now - START).total_seconds():8.1f}s  {text}")

    # -- processes -------------------------------------------------------------------------------------------------

    def spawn(self, name, procedure, *, person=False):
        """A new process; it stands before its first effect."""
        self._names += 1
        actor = Actor(self, f"{name}-{self._names}", procedure, person=person)
        self.actors.append(actor)
        self._resume(actor, procedure.send, None)
        return actor

    def step(self, actor):
        """Perform the effect that an actor stands before, and let it go on to its next."""
        self.steps += 1
        try:
            result = self._perform(actor, actor.effect)
        except MpesaError as error:
            if self.lines is not None:
                self.note(f"{actor.name}: {show(actor.effect)} !! {error!r}")
            self._resume(actor, actor.procedure.throw, error)
        else:
            if self.lines is not None and not (self.calm and result == []):
                self.note(f"{actor.name}: {show(actor.effect)} -> {show(result)}")
            self._resume(actor, actor.procedure.send, result)

    def crash(self, actor, *, after):
        """The process dies: before its effect, or after it took place and before its result was seen."""
        self.crashes += 1
        if after:
            with suppress(MpesaError):
                self._perform(actor, actor.effect)
        self.note(f"{actor.name}: DIES {'after' if after else 'before'} {show(actor.effect)}")
        actor.procedure.close()
        self.actors.remove(actor)

    def fail(self, actor, *, after):
        """The store fails, before it did what was asked or after it; the process goes on with that error."""
        self.crashes += 1
        if after:
            with suppress(MpesaError):
                self._perform(actor, actor.effect)
        self.note(f"{actor.name}: the store FAILS {'after' if after else 'before'} {show(actor.effect)}")
        self._resume(actor, actor.procedure.throw, StorageUnavailable("the connection was lost"))

    def run(self, name, procedure):
        """Run a procedure to its end at once, and return what it returns."""
        actor = self.spawn(name, procedure)
        while actor.effect is not None:
            self.step(actor)
        if actor.error is not None:
            self.books.violated("raised", f"{name} raised {actor.error!r}")
        return actor.result

    def drain(self):
        """Run every process to its end, interleaved."""
        while self.actors:
            self.step(self.actors[int(self.rng.random() * len(self.actors))])
            if self.books.violations or self.steps > 20_000:
                self.books.check(self.steps <= 20_000, "livelock", "processes that never end")
                return

    def _resume(self, actor, resume, value):
        try:
            actor.effect = resume(value)
        except StopIteration as end:
            actor.effect = None
            actor.result = end.value
            self.actors.remove(actor)
        except MpesaError as error:
            actor.effect = None
            actor.error = error
            self.actors.remove(actor)
            if self.lines is not None:
                self.note(f"{actor.name}: ends with {error!r}")

    def _perform(self, actor, effect):
        kind = type(effect)
        if kind is StoreCall:
            name = effect.operation
            if name == "change":
                return self._change(actor, *effect.arguments)
            if name == "change_callback":
                return self._change_callback(actor, *effect.arguments)
            if name == "change_with_callback":
                return self._change_both(actor, *effect.arguments)
            result = getattr(self.repository, name)(*effect.arguments, **effect.keywords)
            if name == "add":
                self.books.added(actor, result)
            return result
        if kind is StoreBatch:
            return [self._attempt(actor, call) for call in effect.calls]
        if kind is Deliver:
            return self.books.delivered(actor, effect)
        if kind is Send:
            return self.daraja.answer(effect.operation)
        if kind is Recorded:
            return None
        if kind is Heard:
            return self.heard
        assert kind is ResolveC2B
        return {"order": 7}

    def _attempt(self, actor, call):
        """One of a batch: what it brings, or what it raises."""
        try:
            return self._perform(actor, call)
        except MpesaError as error:
            return error

    def _change(self, actor, transaction_id, version, changes):
        before = self.repository.get(transaction_id)
        after = self.repository.change(transaction_id, version, changes)
        if after is not None:
            self.books.changed(actor, before, after)
        return after

    def _change_callback(self, actor, callback_id, expected, changes):
        before = self.repository.get_callback(callback_id)
        done = self.repository.change_callback(callback_id, expected, changes)
        if done:
            self.books.callback_changed(actor, before, self.repository.get_callback(callback_id))
        return done

    def _change_both(self, actor, transaction_id, version, changes, callback_id, expected, closing):
        row, callback = self.repository.get(transaction_id), self.repository.get_callback(callback_id)
        after = self.repository.change_with_callback(transaction_id, version, changes, callback_id, expected, closing)
        if after is not None:
            self.books.changed(actor, row, after)
            self.books.callback_changed(actor, callback, self.repository.get_callback(callback_id))
        return after

    # -- time and post ---------------------------------------------------------------------------------------------

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.note(f"-- {seconds:g} s pass")

    def pass_to(self, moment):
        if moment > self.now:
            self.now = moment
            if not self.calm:
                self.note("-- time has passed")

    def arrived(self):
        """Letters whose time has come."""
        return [letter for letter in self.letters if letter.at <= self.now]

    def open_letter(self, letter):
        """M-PESA posts a callback: a process of the host's web server takes it in."""
        self.letters.remove(letter)
        return self.spawn(f"post[{letter.payment.name}:{letter.says}]", self._receive(letter))

    def _receive(self, letter):
        draft = CallbackDraft(
            id=self.new_id(),
            callback_type=letter.callback_type,
            raw_bytes=letter.raw_bytes,
            raw_body=letter.body,
            token=letter.token,
            correlation_id=letter.correlation_id,
            received_at=self.now,
            next_attempt_at=self.now,
        )
        self.books.sent(draft, letter)
        yield from self.engine.store.add_callback(draft)
        self.books.acknowledged(draft)
        for _ in range(letter.jobs):  # none: the broker lost the job; two: it delivered it twice
            self.spawn(f"work[{letter.payment.name}:{letter.says}]", self.engine.process(draft.id))

    def next_event(self):
        """When something is due next, or None."""
        times = [letter.at for letter in self.letters]
        for row in self.repository._transactions.values():
            times += [row.next_check_at, row.announce_until]
        times += [callback.next_attempt_at for callback in self.repository._callbacks.values()]
        return min((time for time in times if time is not None), default=None)


def show(value):
    """A short text of an effect or a result, for the trace."""
    kind = type(value)
    if kind is StoreCall:
        return f"{value.operation}({', '.join(map(show, (*value.arguments, *value.keywords.values())))})"
    if kind is StoreBatch:
        return f"BATCH {', '.join(map(show, value.calls))}"
    if kind is Deliver:
        return f"DELIVER {value.signal}({show(value.transaction or value.arguments.get('transaction'))})"
    if kind is Send:
        return f"SEND {type(value.operation).__name__}"
    if kind is UUID:
        return f"#{value.int}" if value.int < 10_000 else f"#{str(value)[:6]}"
    if kind is datetime:
        return f"{(value - START).total_seconds():g}s"
    if hasattr(value, "transaction_type"):
        marks = f" gen={value.generation}" + (" fence" if value.announce_until else "")
        marks += f" conflicts={list(value.conflicts)}" if value.conflicts else ""
        return f"<{show(value.id)} {value.transaction_type} {value.status} v{getattr(value, 'version', 0)}{marks}>"
    if hasattr(value, "callback_type") and hasattr(value, "id"):
        return f"<callback {show(value.id)} {value.callback_type} {value.disposition or 'open'}>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={show(item)}" for key, item in value.items() if not key.startswith("raw")) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)[:80]


_decode = functools.lru_cache(maxsize=4096)(decode_callback)


@contextmanager
def quiet_engine():
    """While schedules run: no log lines, and each distinct body is decoded once (decoding is pure)."""
    loggers = [logging.getLogger(name) for name in ("mpesa_core.settlement", "mpesa_core.signals")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    engine_module.decode_callback = _decode
    try:
        yield
    finally:
        engine_module.decode_callback = decode_callback
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
