"""Processes that are really killed, at each step between receiving a callback and marking it announced.

    python -m tests.faults.kills                         1,200 kills from the fixed seed
    python -m tests.faults.kills --kills 10000 --seed 7  more, from another
    python -m tests.faults.kills --window announced      between a signal and its mark (``settled``: before the signal)
    python -m tests.faults.kills --place django          through Django's handler, on its ORM; see tests.faults.places
    python -m tests.faults.kills --trial 7:12:40:31:61:3: one trial again, with everything that it told

A trial is a scenario (one or two payments, from the seed and a number) and the steps at which something happens: the
first process may be stopped at one while a rival lives on the same file, and is killed at another one; the process that
recovers may be killed too. Then one more process recovers and sweeps until nothing is due, and the invariants are
checked on what is left.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import attrs

from tests import trials
from tests.faults.books import SIGNALS, unannounced, violations
from tests.faults.defects import DEFECTS, Defect
from tests.faults.life import Life, Steps
from tests.faults.places import place_of
from tests.faults.record import Record
from tests.faults.stories import STORIES, Payment

__all__ = ["Campaign", "Trial"]

WINDOWS = {
    "": frozenset[str](),
    "settled": frozenset(f"before {name}" for name in SIGNALS.values()),
    "announced": frozenset(f"after {name}" for name in SIGNALS.values()),
}
"""Between a settlement's commit and its signal; between the signal and its mark."""

LAPSES = (0, 61, 200)
"""Seconds that a stopped process sleeps: less than every lease; more than the leases; more than ``unsent_after``."""


@attrs.frozen
class Trial:
    """What is done in one trial.

    Attributes:
        seed: of the campaign.
        scenario: the number of its scenario.
        kill_at: the step at which the first process is killed; 0 for none.
        stop_at: the step at which it is stopped before that; 0 for none.
        lapse: for how many seconds.
        second: the step at which the process that recovers is killed; 0 for none.
        window: the first process is killed in this one of WINDOWS.
    """

    seed: int
    scenario: int
    kill_at: int = 0
    stop_at: int = 0
    lapse: int = 0
    second: int = 0
    window: str = ""

    def __str__(self) -> str:
        return ":".join(map(str, attrs.astuple(self)))

    @property
    def payments(self) -> list[Payment]:
        """Every story in turn, alone and with another one."""
        names = list(STORIES)
        chosen = [names[self.scenario % len(names)]]
        generator = random.Random(f"{self.seed}:{self.scenario}")
        if generator.random() < 0.3:
            chosen.append(generator.choice(names))
        stories = [STORIES[name] for name in chosen]
        if len({story.queue_timeout for story in stories if story.flow == "B2C"}) > 1:
            stories = stories[:1]
        return [Payment(number, story) for number, story in enumerate(stories, 1)]


@attrs.frozen
class Outcome:
    """What came of a trial: how many processes were killed, where, and what did not hold."""

    kills: int
    places: tuple[str, ...]
    steps: int
    violations: tuple[str, ...]


class Campaign:
    """Trials in one place; its files are in memory, where there is such a directory.

    Args:
        seed: see :class:`Trial`.
        place: see :mod:`tests.faults.places`.
        defect: one to put in.
        show: print what the processes told.
    """

    def __init__(self, seed: int, defect: Defect | None = None, *, place: str = "core", show: bool = False) -> None:
        self.seed = seed
        self.defect = defect
        self.show = show
        memory = Path("/dev/shm")
        where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
        self._directory = Path(tempfile.mkdtemp(prefix="mpesa-kills-", dir=where))
        self._place = place_of(place, self._directory)
        if self._in_child(self._place.make):
            raise RuntimeError("the tables could not be made")
        self._warm()

    def _warm(self) -> None:
        """Live once in this process, so that those forked from it need not import and compile everything anew."""
        told = Record(self._directory / "warm")
        Life(self._place, told, Trial(self.seed, 0).payments, seed="warm").live()
        self._place.leave()
        os.close(told._file)

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._directory)

    @staticmethod
    def parse(text: str) -> Trial:
        """The trial that a failure named."""
        *numbers, window = text.split(":")
        return Trial(*map(int, numbers), window=window)

    def in_window(self, window: str) -> Iterator[Trial]:
        """One trial of each scenario, killed there."""
        return (Trial(self.seed, scenario, window=window) for scenario in itertools.count())

    def trials(self) -> Iterator[Trial]:
        """For each scenario one trial that nothing happens in, then one for each of its steps."""
        scenario = 0
        while True:
            whole = Trial(self.seed, scenario)
            yield whole
            generator = random.Random(f"{self.seed}:{scenario}:steps")
            for kill_at in range(1, self._steps + 1):
                stop_at = generator.randint(1, kill_at) if generator.random() < 0.5 else 0
                second = generator.randint(1, 40) if generator.random() < 0.4 else 0
                yield Trial(self.seed, scenario, kill_at, stop_at, generator.choice(LAPSES) if stop_at else 0, second)
            scenario += 1

    def run(self, trial: Trial) -> Outcome:
        """One trial."""
        self._steps = 0
        place, told = self._place, self._directory / "told"
        place.empty()
        told.unlink(missing_ok=True)
        record = Record(told)
        killed = 0

        def life(part: str, age: float, steps: Steps) -> Life:
            seed = f"{trial}:{part}" if part != "first" else f"{trial.seed}:{trial.scenario}"
            return Life(place, record, trial.payments, seed=seed, age=age, steps=steps, defect=self.defect)

        def note_window() -> None:
            # Whoever died with a fence up may have announced already: that settlement is announced once more.
            told = record.read()
            if told and told[-1]["what"] == "killed":
                announced = {f"{line['id']}/{line['generation']}" for line in told if "seen" in line}
                record.tell("window", settlements=[each for each in unannounced(place) if each in announced])

        def first() -> None:
            steps = Steps(record, trial.kill_at, trial.stop_at, kill_on=WINDOWS[trial.window])
            living = life("first", 0, steps)

            def wait() -> None:
                # What this process announces when it goes on, the rival may have announced too.
                if trial.lapse:
                    record.tell("window", settlements=unannounced(place))
                self._in_child(lambda: life("rival", trial.lapse, Steps(record)).live())
                living.now += timedelta(seconds=trial.lapse)

            steps.wait = wait
            living.live()
            record.tell("steps", taken=steps.taken)

        def again() -> None:
            note_window()
            life("again", trial.lapse + 61, Steps(record, trial.second)).live()

        def last() -> None:
            note_window()
            living = life("last", trial.lapse + 130, Steps(record))
            living.live()
            living.sweep_until_quiet()
            for problem in violations(place, record, trial.payments):
                record.tell("broken", problem=problem)

        for process in (first, again, last) if trial.second else (first, last):
            killed += self._in_child(process, record)
        lines = record.read()
        os.close(record._file)
        self._steps = next((line["taken"] for line in lines if line["what"] == "steps"), 0)
        broken = [line["problem"] for line in lines if line["what"] == "broken"]
        broken += [line["trace"] for line in lines if line["what"] == "died"]
        if self.show:
            for line in lines:
                print(line)
            self._in_child(lambda: print(*place.transactions(), sep="\n", flush=True))
        return Outcome(
            killed, tuple(line["at"] for line in lines if line["what"] == "killed"), self._steps, tuple(broken)
        )

    def _in_child(self, work: Callable[[], None], record: Record | None = None) -> bool:
        """Do it in a process of its own; whether that was killed."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 0
            try:
                self._place.forked()
                work()
                sys.stdout.flush()
            except BaseException:
                status = 1
                if record is not None:
                    record.tell("died", trace=traceback.format_exc())
                else:
                    traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=trials.scaled(1200))
    parser.add_argument("--seed", type=int, default=trials.SEED)
    parser.add_argument("--trial", help="one trial again")
    parser.add_argument("--window", choices=WINDOWS, default="")
    parser.add_argument("--defect", choices=DEFECTS)
    parser.add_argument("--place", default="core", help="core, django, flask, or one of them with :PORT/NAME")
    options = parser.parse_args(arguments)
    seed = int(options.trial.partition(":")[0]) if options.trial else options.seed
    campaign = Campaign(seed, DEFECTS.get(options.defect), place=options.place, show=bool(options.trial))
    logging.disable()
    gc.disable()
    gc.freeze()
    try:
        if options.trial:
            outcome = campaign.run(campaign.parse(options.trial))
            print(*outcome.violations, sep="\n")
            return bool(outcome.violations)
        return _campaign(campaign, options)
    finally:
        campaign.close()


def _campaign(campaign: Campaign, options: argparse.Namespace) -> int:
    kills, places = 0, Counter[str]()
    trials_made = campaign.in_window(options.window) if options.window else campaign.trials()
    for number, trial in enumerate(trials_made, 1):
        outcome = campaign.run(trial)
        kills += outcome.kills
        places.update(outcome.places)
        if outcome.violations:
            print(f"found after {kills} kills in {number} trials:", *outcome.violations, sep="\n  ")
            again = f"python -m tests.faults.kills --trial {trial}"
            again += f" --place {options.place}" if options.place != "core" else ""
            print("again:", again + (f' --defect "{options.defect}"' if options.defect else ""))
            return 1
        if kills >= options.kills:
            print(f"{kills} kills in {number} trials of {trial.scenario + 1} scenarios, seed {campaign.seed}: all hold")
            print(*(f"  {count:5} {place}" for place, count in sorted(places.items())), sep="\n")
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
