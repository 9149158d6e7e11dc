"""Where the commands work: a file, or the program's own gateway; and what is said where they cannot."""

from __future__ import annotations

import sys
from uuid import uuid4

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.cli import place as place_module
from mpesa_core.signals import SIGNALS, Signal

FIRING = [
    ["worker", "--once"],
    ["recover"],
    ["reconcile"],
    ["replay", uuid4()],
    ["announce", uuid4()],
    ["conflicts", "accept", uuid4()],
]
QUIET = [["conflicts"], ["conflicts", "dismiss", uuid4()]]
ALL = FIRING + QUIET


@pytest.fixture
def nobody_listens(monkeypatch):
    """Signals to which nothing in this process is connected."""
    monkeypatch.setattr(place_module, "SIGNALS", {name: Signal(name) for name in SIGNALS})


def plain(done, status):
    """The error, which is one message and no traceback."""
    assert (status, "") == (done.exit_code, done.stdout)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_place_is_asked_for(mpesa, command):
    """Exit status 2, with both ways of naming it."""
    said = plain(mpesa(*command), 2)
    assert "--database" in said
    assert "--gateway" in said


@pytest.mark.parametrize("command", ALL, ids=str)
def test_one_place_is_enough(mpesa, command):
    """Two could be two different ones; variables count."""
    said = plain(mpesa(*command, "--database", "a.sqlite3", MPESA_GATEWAY="shop:gateway"), 2)
    assert "a.sqlite3" in said
    assert "shop:gateway" in said


@pytest.mark.parametrize("command", [each for each in ALL if each[0] != "worker"], ids=str)
def test_a_file_that_is_not_there_is_not_made(mpesa, tmp_path, command):
    """Exit status 1: a mistyped name must not look like an empty shop."""
    assert "There is no file payment.sqlite3" in plain(mpesa(*command, "--database", "payment.sqlite3"), 1)
    assert not list(tmp_path.iterdir())


def test_a_worker_may_be_there_before_the_program(mpesa, tmp_path, heard):
    """It makes the file."""
    assert 0 == mpesa("worker", "--once", "--database", "payments.sqlite3").exit_code
    assert (tmp_path / "payments.sqlite3").exists()


@pytest.mark.parametrize("command", ALL, ids=str)
def test_wrong_settings_are_told_whole(mpesa, stored, command):
    """Exit status 1, and every problem."""
    environ = {"MPESA_SHORT_CODE": "17", "MPESA_SHORTCODE": "174379", "MPESA_PASSKEY": " hunter2"}
    said = plain(mpesa(*command, MPESA_DATABASE=str(stored.path), **environ), 1)
    assert ["MPESA_PASSKEY", "MPESA_SHORTCODE", "MPESA_SHORT_CODE"] == sorted(
        line.strip("- ").split(":")[0] for line in said.splitlines()[1:]
    )
    assert "hunter2" not in said


def test_wrong_settings_make_no_file(mpesa, tmp_path):
    """They are read first."""
    plain(mpesa("worker", "--once", "--database", "payments.sqlite3", MPESA_SHORT_CODE="17"), 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_file_that_is_no_database_is_told(mpesa, tmp_path, heard, command):
    """Exit status 1, with its name."""
    (tmp_path / "notes.txt").write_text("These are not the payments you are looking for. " * 50)
    assert "notes.txt" in plain(mpesa(*command, "--database", "notes.txt"), 1)


def test_a_folder_is_no_database(mpesa, tmp_path):
    """Exit status 2."""
    assert "is a directory" in plain(mpesa("recover", "--database", tmp_path), 2)


# --- who hears


@pytest.mark.parametrize("command", FIRING, ids=str)
def test_signals_do_not_fire_where_nobody_listens(mpesa, stored, nobody_listens, command):
    """What is announced to nobody is lost on the program: refused, and nothing is touched."""
    row = stored.settled(announced=False)
    said = plain(mpesa(*command, "--database", stored.path), 2)
    assert "--gateway" in said
    assert "--unheard" in said
    assert stored.row(row.id).announce_until is not None


def test_one_may_insist(mpesa, stored, nobody_listens):
    """For a program that has no receivers."""
    row = stored.settled(announced=False)
    assert 0 == mpesa("recover", "--database", stored.path, "--unheard").exit_code
    assert stored.row(row.id).announce_until is None


def test_looking_needs_no_receivers(mpesa, stored, nobody_listens):
    """To list conflicts fires nothing."""
    done = mpesa("conflicts", "--database", stored.path)
    assert (0, "No open conflicts.\n") == (done.exit_code, done.stdout)


# --- the program's own gateway

PROGRAM = """
from mpesa_core import AsyncGateway, Gateway, MemoryRepository, Settings, SqliteRepository, signals

def tell(sender, transaction, **more):
    print("heard of", transaction.account_reference)

signals.payment_confirmed.connect(tell, sender="the shop")

def make():
    return Gateway(Settings(), SqliteRepository("payments.sqlite3"), sender="the shop")

gateway = make()
deaf = Gateway(Settings(), MemoryRepository(), sender="another sender")
concurrent = AsyncGateway(Settings(), MemoryRepository())
number = 7
"""


@pytest.fixture
def program(tmp_path, stored, monkeypatch):
    """A program in the present folder, as its author would have it; its name is imported but once."""
    name = f"shop_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(PROGRAM)
    yield name
    module = sys.modules.pop(name, None)
    if module is not None:
        module.signals.payment_confirmed.disconnect(module.tell, sender="the shop")
        module.gateway.repository.close()


@pytest.mark.parametrize("name", ["gateway", "make"])
def test_the_programs_own_gateway_is_used(mpesa, stored, program, name):
    """With its receivers, its repository and its settings; the environment's are not looked at."""
    row = stored.settled(announced=False)
    done = mpesa("recover", MPESA_GATEWAY=f"{program}:{name}", MPESA_SHORT_CODE="wrong")
    assert (0, "") == (done.exit_code, done.stderr)
    assert "heard of INV-1\n0 callbacks processed, 1 announced late, 0 never sent\n" == done.stdout
    assert stored.row(row.id).announce_until is None


def test_the_doctor_looks_at_the_programs_own_gateway(mpesa, stored, program):
    """Its settings, and what waits in its repository."""
    done = mpesa("doctor", "--offline", "--gateway", f"{program}:gateway", MPESA_SHORT_CODE="wrong")
    assert (0, True) == (done.exit_code, "nothing has been waiting" in done.stdout)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("{}:deaf", 2, "knows no receiver"),
        ("{}:concurrent", 1, "got AsyncGateway"),
        ("{}:number", 1, "got int"),
        ("{}:nothing", 1, "got NoneType"),
        ("{}", 2, "expected MODULE:NAME"),
        (":gateway", 2, "expected MODULE:NAME"),
        ("nowhere_at_all:gateway", 1, "nowhere_at_all cannot be imported"),
    ],
)
def test_what_is_no_gateway_is_told(mpesa, program, name, status, said):
    """With what came, and what was expected."""
    assert said in plain(mpesa("recover", "--gateway", name.format(program)), status)
