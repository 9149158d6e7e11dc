"""What all tests share: repeatable seeds, and a run in which nothing may be skipped."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests import trials
from tests.servers.fixtures import *  # noqa: F403 - fixtures for every test

# Examples follow from the test alone, so that a failure here is a failure everywhere; a test has no deadline of its own,
# because machines differ. MPESA_SEED looks for examples that were not tried before.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None, print_blob=True)
settings.register_profile("seeded", deadline=None, print_blob=True)
settings.load_profile("seeded" if trials.CHOSEN else "fixed")

NO_SKIPS = os.environ.pop("MPESA_NO_SKIPS", "") not in {"", "0"}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hand the seed to Hypothesis, and take interrupts where a script that started this in the background ignores them.

    What ignores them hands that on to the programs that it starts, and some tests end those by an interrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if trials.CHOSEN and getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(trials.SEED)


def pytest_report_header() -> str:
    """Where this run's trials come from."""
    again = f"; MPESA_SEED={trials.SEED} repeats them" if trials.CHOSEN else ""
    return f"trials: seed {trials.SEED}, {trials.FACTOR:g} times as many{again}"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"MPESA_NO_SKIPS is set, and this was skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under MPESA_NO_SKIPS a skipped test has failed: continuous integration must not pass by leaving tests out."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    _refuse_skip(report)
    return report
