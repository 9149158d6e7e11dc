"""``mpesa demo``: the story whole, on a plain terminal and on another; and what it says when something is broken."""

from __future__ import annotations

import io
import re
import subprocess
import time

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from rich.console import Console

from mpesa_core.cli import demo as demo_module
from mpesa_core.cli.demo import run_demo
from mpesa_core.cli.shop import Shop
from mpesa_core.sandbox import Delivery, LocalDaraja
from mpesa_core.sandbox.ledger import Ledger
from mpesa_core.settlement.engine import Engine
from tests.cli.conftest import COMMAND, environment

STORY = """
1. A prompt, a PIN, and a callback that comes twice
order INV-1, a kettle: asks 2547…678 for 1,500 shillings
shows the prompt; the customer enters the PIN
payment_confirmed: INV-1 is paid, receipt (.{10})
posts the same callback again
logs a duplicate; nothing changes, nobody is told twice
2. A prompt that the customer cancels
shows the prompt; the customer presses cancel
payment_failed: INV-2: Request Cancelled by user.
3. A customer pays by himself (C2B), and M-PESA asks the shop first
pays 2,300 for INV-33, a slip of the finger
c2b_validation_received: no order INV-33, no payment please
takes no money (C2B00012)
pays 2,300 for INV-3
payment_confirmed: INV-3 is paid, receipt (.{10})
4. The shop pays its supplier
payout_completed: 700 are sent, receipt (.{10})
5. The kettle comes back: its payment is reversed
reversal_completed: the customer is paid back for INV-1
6. The money moved, and the callback never comes
takes the money, and loses the callback
30 seconds pass (the clock is put forward)
has heard nothing, and asks M-PESA what became of it
payment_confirmed: INV-4 is paid, as M-PESA says when asked
7. A process is killed after it settled a payment, before the shop heard
another process takes it, settles, and is killed (SIGKILL)
the payment is SUCCESS, and the order is still open
60 seconds pass (the clock is put forward)
starts again, and announces what the dead one settled
payment_confirmed: INV-5 is paid, receipt (.{10})
The books
transaction status shop's books M-PESA's ledger receipt
STK_PUSH INV-1 REVERSED 1,500.00 1,500.00 (.{10})
STK_PUSH INV-2 FAILED 0.00 0.00
C2B INV-3 SUCCESS 2,300.00 2,300.00 (.{10})
B2C to 2547…111 SUCCESS -700.00 -700.00 (.{10})
REVERSAL of INV-1 SUCCESS -1,500.00 -1,500.00 (.{10})
STK_PUSH INV-4 SUCCESS 4,200.00 4,200.00 (.{10})
STK_PUSH INV-5 SUCCESS 950.00 950.00 (.{10})
balance 6,750.00 6,750.00
The books balance. Each payment was settled once and announced once.
""".strip().splitlines()


def in_order(story, told):
    """The first line of the story that does not come after those before it, or None."""
    left = [re.sub(r"\s+", " ", re.sub(r"^\d\d:\d\d:\d\d +\S+ +", "", line)).strip() for line in told.splitlines()]
    for line in story:
        pattern = re.escape(line).replace(re.escape("(.{10})"), "[A-Z0-9]{10}")
        while left and not re.fullmatch(pattern, left[0]):
            left.pop(0)
        if not left:
            return line
    return None


def test_the_story_is_told_whole_on_a_plain_terminal(tmp_path):
    """As a process whose output is a file, whatever proxies and settings are around: no colours, 80 columns, status 0."""
    began = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "demo"],
        cwd=tmp_path,
        env=environment(HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", MPESA_SHORT_CODE="wrong"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert in_order(STORY, done.stdout) is None
    assert "\x1b" not in done.stdout
    assert [] == [line for line in done.stdout.splitlines() if len(line) > 80 or line != line.rstrip()]
    assert 60 > time.monotonic() - began
    assert [] == list(tmp_path.iterdir())


class Screen(Console):
    """A console whose text can be read afterwards."""

    def __init__(self, **options):
        super().__init__(file=io.StringIO(), highlight=False, width=80, **options)

    @property
    def told(self):
        return self.file.getvalue()


@pytest.fixture
def impatient(monkeypatch):
    """Wait for less long for what never comes."""
    monkeypatch.setattr(demo_module, "_PATIENCE", 2.0)


def broken(screen):
    """Tell the story; it must come out that the books do not balance, in a time that has a bound."""
    began = time.monotonic()
    assert run_demo(screen) is False
    assert 60 > time.monotonic() - began
    assert "The books do not balance." in screen.told
    assert "The books balance" not in screen.told
    return re.sub(r"\s+", " ", screen.told.split("please report it:")[1])


def only(monkeypatch, *scenes):
    """Leave out the other scenes: a broken book shows without them too."""
    for scene in (
        "paid_and_reported_twice",
        "cancelled",
        "paid_without_being_asked",
        "paid_out",
        "reversed",
        "callback_that_never_comes",
        "killed_before_announcing",
    ):
        if scene not in scenes:
            monkeypatch.setattr(demo_module._Story, scene, lambda _story: None)


def test_a_callback_that_never_comes_breaks_it_off(monkeypatch, impatient):
    """What did not happen is told, and the books are drawn up from what did."""
    monkeypatch.setattr(demo_module, "Delivery", lambda copies: Delivery(copies=1))
    assert "The second callback was not seen to be a duplicate, within 2 seconds " in broken(Screen())


def test_an_announcement_that_is_lost_is_found(monkeypatch, impatient):
    """The payment is settled, and the shop never hears."""
    only(monkeypatch, "paid_and_reported_twice")

    def mute(engine, row, parent=None):
        return
        yield

    monkeypatch.setattr(Engine, "fire", mute)
    said = broken(Screen())
    assert "Order INV-1 never was paid, within 2 seconds " in said
    assert "payment_confirmed was heard 0 times, and not 1, for transaction " in said
    assert "order INV-1 is open, and should be refunded " in said


def test_an_announcement_that_comes_twice_is_found(monkeypatch):
    """Each is counted."""
    only(monkeypatch, "cancelled")
    fire = Engine.fire

    def twice(engine, row, parent=None):
        yield from fire(engine, row, parent)
        yield from fire(engine, row, parent)

    monkeypatch.setattr(Engine, "fire", twice)
    assert "payment_failed was heard 2 times, and not 1, for transaction " in broken(Screen())


def test_money_that_mpesa_alone_knows_of_is_found(monkeypatch):
    """A movement without a transaction stands in the table as missing."""
    only(monkeypatch, "paid_out")
    shown = LocalDaraja().ledger
    entries = Ledger.entries.fget

    def with_another(ledger):
        real = entries(ledger)
        return (*real, *(demo_module_entry(each) for each in real[:1]))

    def demo_module_entry(entry):
        import attrs

        return attrs.evolve(entry, receipt="UKL0000001", conversation_id="x", originator_conversation_id="y")

    assert () == shown.entries
    monkeypatch.setattr(Ledger, "entries", property(with_another))
    screen = Screen()
    assert "is 0.00 in the shop's books and -700.00 in M-PESA's ledger" in broken(screen)
    assert re.search(r"^b2c\s+missing\s+0\.00\s+-700\.00\s+UKL0000001$", screen.told, re.MULTILINE | re.IGNORECASE)


def test_a_receiver_that_raises_is_found(monkeypatch, impatient):
    """It undoes no settlement, and its order stays open."""
    only(monkeypatch, "cancelled")

    def fail(_shop, *_arguments, **_more):
        raise RuntimeError

    monkeypatch.setattr(Shop, "payment_failed", fail)
    said = broken(Screen())
    assert "Order INV-2 never was failed, within 2 seconds " in said
    assert "heard" not in said


def test_a_daraja_that_refuses_breaks_it_off(monkeypatch):
    """An error of the SDK's is told, and not raised."""
    monkeypatch.setattr(
        LocalDaraja, "consumer_key", property(lambda _daraja: "x", lambda _daraja, _value: None), raising=False
    )
    assert "Daraja answered HTTP 400" in broken(Screen())


def test_on_a_terminal_it_has_colours_and_pauses(monkeypatch):
    """For whoever reads along."""
    only(monkeypatch, "cancelled")
    monkeypatch.setattr(demo_module._Story, "unlike_orders", lambda _story: [])
    monkeypatch.setattr(demo_module, "_PAUSE", 0.2)
    pauses = []
    monkeypatch.setattr(
        demo_module.time, "sleep", lambda seconds, sleep=time.sleep: (pauses.append(seconds), sleep(seconds))
    )
    screen = Screen(force_terminal=True, color_system="standard")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run_demo(screen)
    assert "\x1b[32mshop" in screen.told
    assert 1 == pauses.count(0.2)


def test_the_databases_are_kept_on_request(monkeypatch, tmp_path):
    """In a folder of their own, which is told."""
    only(monkeypatch, "cancelled")
    monkeypatch.setattr(demo_module._Story, "unlike_orders", lambda _story: [])
    screen = Screen()
    assert run_demo(screen, str(tmp_path / "kept"))
    [folder] = (tmp_path / "kept").iterdir()
    assert {"payments.sqlite3", "shop.sqlite3"} <= {path.name for path in folder.iterdir()}
    assert f"The databases are in {folder}\n" in screen.told


def test_without_cryptography_the_story_is_the_same(monkeypatch):
    """A ready-made credential takes the place of the encrypted password."""
    from mpesa_core.sandbox import credentials

    only(monkeypatch, "paid_out")
    monkeypatch.setattr(credentials, "can_decrypt", lambda: False)
    monkeypatch.setattr(demo_module._Story, "unlike_orders", lambda _story: [])
    assert run_demo(Screen())


def test_a_directory_that_cannot_be_made_is_named(mpesa, tmp_path):
    """A file stands in its way: one line says so, before the story begins."""
    (tmp_path / "file").touch()
    done = mpesa("demo", "--directory", tmp_path / "file" / "below")
    assert (1, "") == (done.exit_code, done.stdout)
    assert done.stderr.startswith("Error: --directory: ")
    assert "cannot be made" in done.stderr
