"""The engine's procedures in seeded schedules: they hold, and with any one rule taken out they do not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.settlement.invariants import RULES
from tests.settlement.mutants import MUTANTS
from tests.settlement.scenarios import SCENARIOS
from tests.settlement.scheduler import main, run, search
from tests.settlement.simulation import Batched, Joint, JointlyBatched, quiet_engine
from tests.trials import SEED, fresh_seed, scaled

FIXED = 20_261_121
"""The first seed of the schedules that find the mutants."""


def hold(count, seed, variant=None):
    tally = Counter()
    found = search(scaled(count), seed, tally=tally, variant=variant)
    print(f"{tally['schedules']} schedules from seed {seed}: {tally['steps']} steps, {tally['crashes']} crashes")
    assert not found, f"\n{found[0]}"
    return tally


@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
def test_every_invariant_holds_in_fixed_schedules(part):
    """Workers interleaved and crashed at every effect break no promise: 10,000 schedules with fixed seeds."""
    tally = hold(2500, SEED + part * 1_000_000)
    assert tally["crashes"] >= tally["schedules"] // 4


@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
def test_every_invariant_holds_in_fresh_schedules(part):
    """The same, 10,000 times, from a seed that is new in each run and printed where it fails."""
    hold(2500, fresh_seed() + part)


@pytest.mark.faults
@pytest.mark.parametrize("part", range(2))
def test_every_invariant_holds_for_callbacks_side_by_side(part):
    """The same, where recovery takes up all that is due together, and dies before or after a whole batch."""
    hold(2000, fresh_seed() + part, Batched())


@pytest.mark.faults
@pytest.mark.parametrize("variant", [Joint, JointlyBatched])
def test_every_invariant_holds_for_settling_and_closing_in_one(variant):
    """The same, where a callback that settles is not claimed, and is closed by what settles: by itself and in batches."""
    hold(2500, fresh_seed(), variant())


# What is found here is what the rule is there for: not that it is broken, but what comes of it. Beside each bound stands
# how many schedules it took when this was written.
@pytest.mark.parametrize(
    ("mutant", "scenarios", "rules", "bound"),
    [
        ("no_fence", ["query_races_callback", "late_success", "late_failure"], {"unannounced"}, 3000),  # 148
        ("conflict_elsewhere", ["amount_differs_and_is_asked_about"], {"held"}, 2000),  # 72
        ("mark_first", None, {"unannounced"}, 1000),  # 34
        ("no_claim", None, {"told again"}, 200),  # 1
        ("read_check_save", ["reversal_unknown", "reversals_race"], {"over-refunded"}, 500),  # 7
        ("closes_anyway", None, {"outcome"}, 2000),  # 169
    ],
)
def test_each_rule_is_needed(mutant, scenarios, rules, bound):
    """With one rule taken out, a signal is lost or doubled, a conflict overrun, or too much given back."""
    found = search(bound, FIXED, scenarios=scenarios, variant=MUTANTS[mutant](), rules=rules)
    assert found
    print(f"{mutant}: {found[0]}")
    assert rules >= found[0].rules


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_breaking_a_rule_is_seen_at_once(mutant):
    """All invariants together find each mutant within a few hundred schedules over all the scenarios."""
    assert search(1500, FIXED, variant=MUTANTS[mutant]())


def test_read_check_save_settles_twice():
    """Without compare-and-set a transaction is settled, or announced, more than once."""
    rules = {"success twice", "generation", "table", "announced again"}
    assert search(1500, FIXED, variant=MUTANTS["read_check_save"](), rules=rules)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_seed_is_a_schedule(scenario):
    """The same scenario and seed give the same steps, so that a failure can be replayed."""
    with quiet_engine():
        first, second = (run(scenario, 5, trace=True) for _ in range(2))
    assert first.lines == second.lines
    assert first.steps > 0


def test_a_failing_seed_is_printed_as_a_command(capsys):
    """What is printed for a failure replays it, with a readable trace of its steps."""
    status = main(["--count", "2000", "--seed", str(FIXED), "--mutant", "mark_first"])
    printed = capsys.readouterr().out
    assert status == 1
    command = next(line for line in printed.splitlines() if line.startswith("python -m"))
    assert command.split()[2] == "tests.settlement.scheduler"
    assert main(command.split()[3:]) == 1
    traced = capsys.readouterr().out
    assert "BROKEN" in traced
    assert "DELIVER" in traced


def test_every_effect_is_crashed_at():
    """Processes die before and after every kind of effect: each repository operation, each send, each signal."""
    died = Counter()
    with quiet_engine():
        for scenario in SCENARIOS:
            for seed in range(600 if scenario == "payout" else 100):
                for line in run(scenario, seed, trace=True).lines:
                    if ": DIES " in line or ": the store FAILS " in line:
                        when, what = line.split(": DIES " if ": DIES " in line else ": the store FAILS ")[1].split(
                            " ", 1
                        )
                        died[when, what.split("(")[0]] += 1
    operations = {
        "get",
        "find",
        "add",
        "change",
        "due",
        "candidates",
        "add_callback",
        "get_callback",
        "change_callback",
        "due_callbacks",
        "open_callbacks",
    }
    sends = {"SEND StkPush", "SEND StkQuery", "SEND B2CPayment", "SEND Reversal", "SEND TransactionStatus"}
    signals = {
        "DELIVER payment_confirmed",
        "DELIVER payment_failed",
        "DELIVER payout_completed",
        "DELIVER callback_received",
    }
    expected = {(when, what) for when in ("before", "after") for what in operations | sends | signals}
    assert set() == expected - set(died)


def test_every_scenario_ends_with_money_in_the_books():
    """The scenarios reach what they are about: each terminal status, conflicts, and refunds."""
    seen = Counter()
    with quiet_engine():
        for scenario in SCENARIOS:
            for seed in range(20):
                text = " ".join(run(scenario, seed, trace=True).lines)
                for word in (
                    "SUCCESS",
                    "FAILED",
                    "TIMEOUT",
                    "REVERSED",
                    "settlement_conflict",
                    "payment_refunded",
                    "C2B",
                ):
                    seen[word] += word in text
    assert all(count > 5 for count in seen.values()), seen


def test_rules_are_named():
    """Every invariant of the fault table that a schedule can show is among the rules."""
    text = " ".join(RULES.values())
    assert [] == [number for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10) if f"I{number}" not in text]
