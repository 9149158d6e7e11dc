"""Runs the engine's procedures in seeded schedules: interleaved, crashed, and with time passing at any moment.

::

    python -m tests.settlement.scheduler --count 200000 --seed 7
    python -m tests.settlement.scheduler --scenario c2b_and_stk --seed 4711 --trace
    python -m tests.settlement.scheduler --mutant no_fence

A schedule is drawn from its scenario's name and its seed alone, so the command that is printed for a failing one replays
it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from datetime import timedelta
from random import Random

import attrs

from mpesa_core.settlement.effects import StoreCall
from mpesa_core.settlement.reconciliation import reconcile
from mpesa_core.settlement.recovery import recover
from tests.settlement.invariants import RULES
from tests.settlement.scenarios import OPTIONS, SCENARIOS
from tests.settlement.simulation import SETTINGS, Variant, World, quiet_engine

__all__ = ["Failure", "Result", "command", "run", "search"]

_READS = frozenset({"get", "find", "get_callback", "due", "due_callbacks", "open_callbacks", "candidates", "conflicts"})
_LONGEST = 400
"""Steps of the stormy part of a schedule."""


@attrs.frozen
class Result:
    """What came of one schedule."""

    scenario: str
    seed: int
    variant: str
    violations: tuple[tuple[str, str], ...]
    steps: int
    crashes: int
    lines: tuple[str, ...] = ()


def run(scenario, seed, variant=None, *, rules=None, trace=False):
    """Run one schedule to its end and check it."""
    variant = variant or Variant()
    rng = Random(f"{scenario}:{seed}")
    world = World(rng, variant, settings=OPTIONS.get(scenario, SETTINGS), rules=rules, trace=trace)
    books = world.books
    try:
        SCENARIOS[scenario](world)
        _storm(world, rng)
        if not books.violations:
            _calm(world)
        if not books.violations:
            books.close()
    except Exception:  # whatever it is, it is a finding, with the seed that shows it
        last = traceback.format_exc().strip().splitlines()
        books.violated("broken", " | ".join(last[-3:]))
    return Result(
        scenario,
        seed,
        variant.name,
        tuple(books.violations),
        world.steps,
        world.crashes,
        tuple(world.lines or ()),
    )


def _storm(world, rng):
    """The part in which processes die, stall and race."""
    stays = rng.choice((0.0, 0.0, 0.6, 0.9))
    dies = rng.choice((0.0, 0.01, 0.04, 0.12))
    deaths = rng.choice((1, 1, 2, 4)) if dies else 0
    passes = rng.choice((0.0, 0.0, 0.02, 0.08))
    sweeps = rng.choice((0.0, 0.02, 0.1))
    actors, last = world.actors, None
    random = rng.random
    for _ in range(_LONGEST):
        if world.books.violations:
            return
        arrived = world.arrived() if world.letters else ()
        if not actors and not arrived:
            if not _wake(world, rng):
                break
            continue
        draw = random()
        if draw < passes:
            world.pass_time(rng.choice((1, 3, 10, 21, 45, 65)))
            continue
        if draw < passes + sweeps:
            if len(actors) < 6:
                _sweep(world, rng)
            continue
        if last is None or last.effect is None or random() >= stays:
            chosen = int(random() * (len(actors) + len(arrived)))
            if chosen >= len(actors):
                last = world.open_letter(arrived[chosen - len(actors)])
                continue
            last = actors[chosen]
        effect = last.effect
        if deaths and random() < dies and not (_is_read(effect) and random() < 0.5):
            deaths -= 1
            if type(effect) is StoreCall and random() < 0.2:
                world.fail(last, after=random() < 0.5)
            else:
                world.crash(last, after=random() < 0.6)
                last = None
            continue
        world.step(last)
    world.drain()


def _is_read(effect):
    return type(effect) is StoreCall and effect.operation in _READS


def _wake(world, rng):
    """Nothing is going on: go to the next moment at which something is due. False at the end of the storm."""
    event = world.next_event()
    if event is None or (not world.letters and rng.random() < 0.3):
        return False
    world.pass_to(event + timedelta(seconds=rng.choice((0, 0, 1, 25))))
    if rng.random() < 0.8:
        _sweep(world, rng)
        if rng.random() < 0.3:
            _sweep(world, rng)
    return True


def _sweep(world, rng):
    name, procedure = rng.choice((("recover", recover), ("reconcile", reconcile)))
    world.spawn(name, procedure(world.engine))


def _calm(world):
    """No more crashes: time passes, the sweeps run, and what is still on its way arrives, until nothing is due."""
    world.note("== the storm is over ==")
    world.calm = True
    latest = max([world.now, *(letter.at for letter in world.letters)])
    end = latest + timedelta(seconds=SETTINGS.horizon + SETTINGS.unmatched_after)
    books = world.books
    for _ in range(300):
        for _ in range(30):
            arrived = world.arrived()
            for letter in arrived:
                world.open_letter(letter)
            world.drain()
            done = world.run("recover", recover(world.engine))
            if books.violations:
                return
            if not done and not arrived:
                asked = world.run("reconcile", reconcile(world.engine))
                if not asked and not world.arrived():
                    break
        else:
            books.violated("livelock", "the sweeps go on for ever at one moment")
            return
        event = world.next_event()
        if event is None or event > end:
            return
        world.pass_to(event)
    books.violated("livelock", "something is due for ever")


# -- many of them -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Failure:
    """A schedule that broke a rule, and how many ran before it."""

    result: Result
    tried: int

    @property
    def rules(self):
        """The names of the rules that it broke."""
        return {rule for rule, _ in self.result.violations}

    def __str__(self):
        lines = [f"  {rule}: {text}" for rule, text in self.result.violations]
        return "\n".join([f"after {self.tried} schedules:", *lines, command(self.result)])


def command(result):
    """The command that replays a schedule with its steps."""
    mutant = "" if result.variant == "real" else f" --mutant {result.variant}"
    return f"python -m tests.settlement.scheduler --scenario {result.scenario} --seed {result.seed} --count 1{mutant} --trace"


def search(count, seed, *, scenarios=None, variant=None, rules=None, failures=1, tally=None):
    """Run schedules over the scenarios in turn until some break a rule.

    Args:
        count: how many schedules.
        seed: of the first; each round over the scenarios has the next one.
        scenarios: names; all by default.
        variant: what runs.
        rules: only these count; all by default.
        failures: stop after so many.
        tally: a Counter of schedules, steps and crashes.

    Returns:
        The failures, at most that many.
    """
    names = list(scenarios or SCENARIOS)
    found = []
    with quiet_engine():
        for index in range(count):
            turn, place = divmod(index, len(names))
            result = run(names[place], seed + turn, variant, rules=rules)
            if tally is not None:
                tally.update(schedules=1, steps=result.steps, crashes=result.crashes)
            if result.violations:
                found.append(Failure(result, index + 1))
                if len(found) >= failures:
                    break
    return found


def main(arguments=None):
    from tests.settlement.mutants import MUTANTS

    parser = argparse.ArgumentParser(prog="python -m tests.settlement.scheduler", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="how many schedules (20,000)")
    parser.add_argument("--seed", type=int, default=None, help="of the first; a fresh one by default")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), help="only this; may be repeated")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="an engine or a store with one rule taken out")
    parser.add_argument("--rule", action="append", choices=sorted(RULES), help="only this counts; may be repeated")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many failing schedules")
    parser.add_argument("--trace", action="store_true", help="print every step of the last schedule")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000_000
    variant = MUTANTS[options.mutant]() if options.mutant else Variant()
    if options.trace and options.count == 1:
        name = (options.scenario or list(SCENARIOS))[0]
        with quiet_engine():
            result = run(name, seed, variant, rules=options.rule, trace=True)
        print("\n".join(result.lines))
        for rule, text in result.violations:
            print(f"\nBROKEN {rule}: {text}")
        return int(bool(result.violations))
    tally, began = Counter(), time.perf_counter()
    found = search(
        options.count,
        seed,
        scenarios=options.scenario,
        variant=variant,
        rules=options.rule,
        failures=options.failures,
        tally=tally,
    )
    seconds = time.perf_counter() - began
    print(
        f"seed {seed}: {tally['schedules']} schedules, {tally['steps']} steps, {tally['crashes']} crashes "
        f"in {seconds:.1f} s ({1000 * seconds / max(1, tally['schedules']):.2f} ms each)"
    )
    for failure in found:
        print(failure)
    if options.trace and found:
        with quiet_engine():
            first = found[0].result
            print("\n".join(run(first.scenario, first.seed, variant, rules=options.rule, trace=True).lines))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
