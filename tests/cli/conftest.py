"""The command as its tests run it: in this process, or as a process of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = [sys.executable, "-c", "from mpesa_core.cli import main; main()"]


def environment(**given):
    """This process's environment, without settings, with the package in its path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MPESA_")}
    return {**inherited, "PYTHONPATH": str(SOURCE), "COLUMNS": "80", **given}


@pytest.fixture
def mpesa(monkeypatch, tmp_path):
    """Run the command in this process, in an empty folder: ``mpesa("explain", "0", MPESA_X="y")``."""
    pytest.importorskip("click")
    pytest.importorskip("rich")
    from click.testing import CliRunner

    from mpesa_core.cli.commands import mpesa as command

    for name in list(os.environ):
        if name.startswith("MPESA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root, noisy = logging.getLogger(), logging.getLogger("httpx")
    before = root.level, list(root.handlers), noisy.level

    def run(*arguments, stdin=None, **environ):
        return CliRunner().invoke(
            command, [str(each) for each in arguments], input=stdin, env=environ, catch_exceptions=False
        )

    yield run
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    noisy.setLevel(before[2])


@pytest.fixture
def start(tmp_path):
    """Start the command as a process of its own, in an empty folder; whatever still runs at the end is killed."""
    started = []

    def begin(*arguments, **environ):
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def ended(process, by):
    """What a process told since, once it has ended by a signal; it is killed if it does not."""
    killer = threading.Timer(30, process.kill)
    killer.start()
    process.send_signal(by)
    told = process.stdout.read()  # communicate() would not see what was read ahead of a line
    process.wait()
    killer.cancel()
    return told


@pytest.fixture
def stored(tmp_path):
    """A payments file in the empty folder, with rows to be put into it."""
    from tests.cli.stored import Stored

    return Stored(tmp_path / "payments.sqlite3")


@pytest.fixture
def heard():
    """What a program's receivers in this process heard: each signal's name with its transaction's id."""
    from mpesa_core.signals import SIGNALS

    said = []
    receivers = {}
    for name in ("payment_confirmed", "payment_failed", "payout_completed"):
        receivers[name] = lambda sender, transaction, name=name, **more: said.append((name, transaction.id))
        SIGNALS[name].connect(receivers[name])
    yield said
    for name, receiver in receivers.items():
        SIGNALS[name].disconnect(receiver)
