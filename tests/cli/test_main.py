"""The command itself: its help, its version, and what it says where its extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mpesa_core
from mpesa_core.cli import main
from tests.cli.conftest import COMMAND, environment

SUBCOMMANDS = [
    "demo", "sandbox", "decode", "explain", "doctor", "worker", "recover", "reconcile", "replay", "announce", "conflicts",
]  # fmt: skip


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(missing, monkeypatch):
    """Exit status 1, and the command to type."""
    if missing == "rich":
        pytest.importorskip("click")
    for name in [name for name in sys.modules if name.split(".")[0] == missing or name.startswith("mpesa_core.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert f"The mpesa command needs {missing}: pip install 'mpesa-core[cli]'" == ended.value.code


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch):
    """A defect is shown as one."""
    monkeypatch.setitem(sys.modules, "mpesa_core.cli.commands", None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_the_commands_are_listed_in_the_order_of_their_use(mpesa):
    """Each with a line that is not cut at 80 columns."""
    done = mpesa("--help")
    lines = done.stdout.split("Commands:\n")[1].splitlines()
    listed = [line.split()[0] for line in lines]
    assert (0, SUBCOMMANDS) == (done.exit_code, [name for name in listed if name in SUBCOMMANDS])
    assert [] == [line for line in lines if "..." in line or not line.endswith(".")]


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_each_command_has_help_at_80_columns(mpesa, command):
    """And needs neither settings nor a database for it."""
    done = mpesa(command, "-h")
    assert 0 == done.exit_code
    assert [] == [line for line in done.stdout.splitlines() if len(line) > 80]


def test_the_version_is_told(mpesa):
    """That of the package."""
    assert f"mpesa, version {mpesa_core.__version__}\n" == mpesa("--version").stdout


@pytest.mark.parametrize(("flags", "told"), [((), False), (("-v",), True)])
def test_the_log_is_shown_on_request(mpesa, stored, heard, flags, told):
    """On standard error, so that it does not get into what is piped on."""
    from tests.cli.stored import paid

    stored.payment()
    stored.callback(body=paid(amount=60))
    done = mpesa(*flags, "recover", "--database", stored.path)
    assert told == ("Conflict on transaction" in done.stderr)
    assert "Conflict" not in done.stdout


def test_a_terminal_that_knows_no_ellipsis_is_no_reason_to_stop():
    """What its encoding has no letter for is replaced."""
    pytest.importorskip("click")
    pytest.importorskip("rich")
    done = subprocess.run(
        [*COMMAND, "explain", "2547…"],
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, True) == (done.returncode, "code             2547?\n" in done.stdout)
