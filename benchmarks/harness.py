"""Rounds in alternating order, medians, spreads, and an invariant after each turn."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import attrs

__all__ = [
    "SUBJECTS",
    "Outcome",
    "Reach",
    "Scale",
    "Side",
    "Subject",
    "Turn",
    "benchmark",
    "besides",
    "cells",
    "main",
    "require",
]


class InvariantError(Exception):
    """What was measured did not do what it has to do: its time means nothing."""


def require(holds: object, what: str) -> None:
    """Stop the benchmark where its invariant does not hold."""
    if not holds:
        raise InvariantError(what)


@attrs.frozen
class Scale:
    """How much is measured.

    Attributes:
        rounds: turns of each side that count; one more of each goes before them and does not.
        quick: a glance, to see that everything works.
        share: of the units of work that make a full turn, for a machine that is slow or busy.
    """

    rounds: int
    quick: bool
    share: float = 1.0

    def many(self, count: int, quickly: int) -> int:
        """``count``, or ``quickly`` of it in a glance."""
        return quickly if self.quick else max(quickly, round(count * self.share))


@attrs.frozen
class Turn:
    """One turn of one side.

    Attributes:
        count: units of work that were done.
        seconds: for all of them.
        latencies: seconds of each unit, where each was looked at.
        notes: what else was seen, by name; the table shows the median of each.
    """

    count: int
    seconds: float
    latencies: Sequence[float] = ()
    notes: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def unit(self) -> float:
        """Seconds for one unit of work."""
        return self.seconds / self.count


class Side(Protocol):
    """One of the two that are compared. A turn makes ready, works, and is checked; only the work is timed."""

    def ready(self) -> None:
        """Everything before the clock starts."""

    def work(self) -> Turn:
        """Work, and say how long it took."""
        ...

    def check(self) -> None:
        """Raise where the invariant does not hold."""


@attrs.frozen
class Timed:
    """A side that is one function without an invariant of its own beyond what it returns.

    Attributes:
        function: the unit of work; it returns what ``holds`` looks at.
        count: how often it is called in a turn.
        holds: what is raised for, of the last result.
    """

    function: Callable[[], Any]
    count: int
    holds: Callable[[Any], None]
    _results: list[Any] = attrs.field(factory=list)

    def ready(self) -> None:
        """Nothing."""
        self._results.clear()

    def work(self) -> Turn:
        """Call it as often as it is to be called."""
        function = self.function
        started = time.perf_counter()
        for _ in range(self.count):
            result = function()
        seconds = time.perf_counter() - started
        self._results.append(result)
        return Turn(self.count, seconds)

    def check(self) -> None:
        """Look at the last result."""
        self.holds(self._results[-1])


@attrs.frozen
class Reach:
    """What is asked of a row.

    Attributes:
        time: our time is at most so many times the floor's.
        rate: our rate is at least so many times the floor's.
        p99: milliseconds that 99 of 100 units take at the most.
        notes: the greatest value of a note.
    """

    time: float | None = None
    rate: float | None = None
    p99: float | None = None
    notes: Mapping[str, float] = attrs.field(factory=dict)

    def __str__(self) -> str:
        parts = []
        if self.time is not None:
            parts.append(f"time <= {self.time:g}x")
        if self.rate is not None:
            parts.append(f"rate >= {self.rate:g}x")
        if self.p99 is not None:
            parts.append(f"p99 <= {self.p99:g} ms")
        parts += [f"{name} <= {value:g}" for name, value in self.notes.items()]
        return ", ".join(parts)


@attrs.frozen
class Subject:
    """One row of the table.

    Attributes:
        name: what is measured.
        reach: what is asked of it.
        sides: makes the floor (None where there is none) and ours; both stay open for all rounds.
    """

    name: str
    reach: Reach
    sides: Callable[[Scale], AbstractContextManager[tuple[Side | None, Side]]]


SUBJECTS: list[Subject] = []
"""Every row of the benchmarks that were imported, in their order."""


def benchmark(
    name: str, reach: Reach
) -> Callable[[Callable[[Scale], AbstractContextManager[Any]]], Callable[[Scale], AbstractContextManager[Any]]]:
    """A decorator for a context manager that yields both sides of a row."""

    def added(sides: Callable[[Scale], AbstractContextManager[Any]]) -> Callable[[Scale], AbstractContextManager[Any]]:
        SUBJECTS.append(Subject(name, reach, sides))
        return sides

    return added


@attrs.frozen
class Outcome:
    """What was measured.

    Attributes:
        name: of the row.
        reach: what was asked.
        reached: whether it is so.
        floor: seconds of a unit at the floor, the median; None where there is no floor.
        ours: seconds of a unit of ours.
        ratio: the median of the rounds' ratios, times or rates as the reach has it; None without a floor.
        spread: the smallest and the greatest of them.
        p50: milliseconds of a unit of ours, the median of the turns' medians, where each was looked at.
        p99: likewise.
        notes: medians.
        rounds: the seconds of a unit in each round: floor and ours.
    """

    name: str
    reach: str
    reached: bool
    floor: float | None
    ours: float
    ratio: float | None
    spread: tuple[float, float] | None
    p50: float | None
    p99: float | None
    notes: dict[str, float]
    rounds: list[tuple[float | None, float]]


def _turn(side: Side) -> Turn:
    side.ready()
    turn = side.work()
    side.check()
    return turn


def measure(subject: Subject, scale: Scale) -> Outcome:
    """All rounds of a row."""
    floors: list[Turn] = []
    ours: list[Turn] = []
    with subject.sides(scale) as (floor, own):
        for number in range(-1, scale.rounds):  # the first warms up, and does not count
            pair = [(floor, floors), (own, ours)]
            for side, turns in pair if number % 2 else reversed(pair):
                if side is not None:
                    turn = _turn(side)
                    if number >= 0:
                        turns.append(turn)
    return _outcome(subject, floors, ours)


def _outcome(subject: Subject, floors: Sequence[Turn], ours: Sequence[Turn]) -> Outcome:
    reach = subject.reach
    ratios = [
        own.unit / base.unit if reach.rate is None else base.unit / own.unit
        for base, own in zip(floors, ours, strict=False)
    ]
    ratio = statistics.median(ratios) if ratios else None
    seen = [sorted(turn.latencies) for turn in ours if turn.latencies]
    p50 = statistics.median(each[len(each) // 2] for each in seen) * 1000 if seen else None
    p99 = statistics.median(each[len(each) * 99 // 100] for each in seen) * 1000 if seen else None
    notes = {name: statistics.median(turn.notes[name] for turn in ours) for name in ours[0].notes}
    reached = (
        (reach.time is None or (ratio is not None and ratio <= reach.time))
        and (reach.rate is None or (ratio is not None and ratio >= reach.rate))
        and (reach.p99 is None or (p99 is not None and p99 <= reach.p99))
        and all(notes[name] <= most for name, most in reach.notes.items())
    )
    return Outcome(
        name=subject.name,
        reach=str(reach),
        reached=reached,
        floor=statistics.median(turn.unit for turn in floors) if floors else None,
        ours=statistics.median(turn.unit for turn in ours),
        ratio=ratio,
        spread=(min(ratios), max(ratios)) if ratios else None,
        p50=p50,
        p99=p99,
        notes=notes,
        rounds=[(floors[index].unit if index < len(floors) else None, turn.unit) for index, turn in enumerate(ours)],
    )


_COLUMNS = (("benchmark", 46), ("floor", 10), ("ours", 10), ("ratio", 7), ("spread", 14), ("asked", 34))


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def cells(outcome: Outcome) -> tuple[str, str, str, str, str]:
    """Name, floor, ours, ratio and spread."""
    spread = "-" if outcome.spread is None else "{:.2f} - {:.2f}".format(*outcome.spread)
    ratio = "-" if outcome.ratio is None else f"{outcome.ratio:.2f}x"
    return outcome.name, _seconds(outcome.floor), _seconds(outcome.ours), ratio, spread


def besides(outcome: Outcome) -> str:
    """What else was seen."""
    extras = [f"{name} {value:.4g}" for name, value in outcome.notes.items()]
    if outcome.p99 is not None:
        extras.insert(0, f"p50 {outcome.p50:.3g} ms, p99 {outcome.p99:.3g} ms")
    return ", ".join(extras)


def _line(outcome: Outcome, *, judged: bool) -> str:
    verdict = (": yes" if outcome.reached else ": NO") if judged and outcome.reach else ""
    columns = [*cells(outcome), outcome.reach + verdict]
    line = "  ".join(cell.ljust(width) for cell, (_, width) in zip(columns, _COLUMNS, strict=True)).rstrip()
    return f"{line}\n    {more}" if (more := besides(outcome)) else line


def _machine() -> dict[str, Any]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count(), "load": load}


def main(subjects: Sequence[Subject], arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 where an invariant did not hold.

    Args:
        subjects: all there are.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(description="Speed against a floor written on the bare driver.")
    parser.add_argument("names", nargs="*", help="only rows whose name has one of these in it")
    parser.add_argument("--quick", action="store_true", help="a glance: does everything work, does its invariant hold?")
    parser.add_argument("--rounds", type=int, default=5, help="of each side, at least five where figures are wanted")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of a full turn's work, such as 0.25 on a slow machine"
    )
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--page", type=Path, help="also put the table on this page of the documentation")
    parser.add_argument("--no-skips", action="store_true", help="a row that cannot be measured here is an error")
    given = parser.parse_args(arguments)
    from benchmarks.page import put_on_page  # noqa: PLC0415 - it needs what is made here

    scale = Scale(rounds=1 if given.quick else given.rounds, quick=given.quick, share=given.share)
    wanted = [name.lower() for name in given.names] or [""]
    chosen = [each for each in subjects if any(name in each.name.lower() for name in wanted)]
    before = _machine()
    print("  ".join(name.ljust(width) for name, width in _COLUMNS).rstrip(), flush=True)
    outcomes: list[Outcome] = []
    failed = False
    for outcome in _measured(chosen, scale):
        if isinstance(outcome, Outcome):
            outcomes.append(outcome)
            print(_line(outcome, judged=not scale.quick), flush=True)
        else:
            failed = failed or isinstance(outcome[1], InvariantError) or given.no_skips
            print(f"{outcome[0].ljust(_COLUMNS[0][1])}  {outcome[1]}", flush=True)
    after = _machine()
    print(f"\nPython {after['python']}, {after['cpus']} CPUs, load before {before['load']}, after {after['load']}")
    if given.json is not None:
        rows = [attrs.asdict(outcome) for outcome in outcomes]
        given.json.write_text(json.dumps({"before": before, "after": after, "rows": rows}, indent=1) + "\n")
    if given.page is not None:
        put_on_page(given.page, outcomes, scale.rounds)
    return 1 if failed else 0


class Unavailable(Exception):  # noqa: N818 - it is no error on a machine that has no such server
    """Something that a row needs is not installed; the text says what."""


def _measured(subjects: Sequence[Subject], scale: Scale) -> Iterator[Outcome | tuple[str, Exception]]:
    for subject in subjects:
        try:
            yield measure(subject, scale)
        except (InvariantError, Unavailable) as error:
            yield subject.name, error


def alone(module: str) -> None:
    """Where a benchmark is run by itself: measure the rows of its module."""
    if module == "__main__":
        sys.exit(main(SUBJECTS))
