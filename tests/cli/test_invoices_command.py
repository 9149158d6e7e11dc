"""``mpesa invoices send``: a file's invoices, against the local Daraja over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
from decimal import Decimal

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.bills import OptInToBillManager
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import Answer, Behaviour, DarajaServer, LocalDaraja
from mpesa_core.settings import Settings
from tests.cli.conftest import COMMAND, environment

KEYS = {"MPESA_CONSUMER_KEY": "local-key", "MPESA_CONSUMER_SECRET": "local-secret", "MPESA_SHORT_CODE": "174379"}
HEADING = "external_reference,full_name,phone_number,period,invoice_name,due,account_reference,amount"


def line(number, **more):
    fields = {
        "external_reference": f"E-{number}",
        "full_name": "Jane Doe",
        "phone_number": "0722000000",
        "period": "November 2026",
        "invoice_name": "Rent",
        "due": "2026-12-05",
        "account_reference": f"A-{number}",
        "amount": "1500.50",
        **more,
    }
    return ",".join(fields.values())


def csv_of(path, *lines):
    path.write_text("\n".join([HEADING, *lines]) + "\n", "utf-8-sig")
    return path


@pytest.fixture
def daraja():
    daraja = LocalDaraja(post=lambda url, body: 200)
    client = DarajaClient.over(daraja.handle, Settings(**daraja.settings()))
    url = "https://shop.example/pay/bills/payment/"
    client.send(OptInToBillManager(email="a@b.example", official_contact="0710000000", callback_url=url))
    return daraja


@pytest.fixture
def send(mpesa, daraja, tmp_path):
    """Run ``mpesa invoices send`` on a file, with a database and the local Daraja."""
    with DarajaServer(daraja) as server:

        def run(file, *options, **environ):
            given = ["--database", tmp_path / "shop.db", "--unheard", *options]
            return mpesa("invoices", "send", file, *given, **{**KEYS, "MPESA_ENVIRONMENT": server.base_url, **environ})

        yield run


def test_a_csv_file(send, daraja, tmp_path):
    """Each line is an invoice; sending the file again sends none twice."""
    file = csv_of(tmp_path / "rent.csv", *(line(number) for number in range(5)))
    for _ in range(2):
        done = send(file)
        assert (0, "5 invoices: 5 sent.\n") == (done.exit_code, done.output)
    assert [f"E-{number}" for number in range(5)] == [each.external_reference for each in daraja.invoices]
    assert {Decimal("1500.50")} == {each.amount for each in daraja.invoices}
    assert 1 == daraja.count("bills_invoices")


def test_a_json_file(send, daraja, tmp_path):
    """Amounts are exact, and items are sent."""
    fields = dict(zip(HEADING.split(","), line(1).split(","), strict=True))
    items = [{"name": "food", "amount": 0.1}, {"name": "water", "amount": "1500.40"}]
    file = tmp_path / "rent.JSON"
    file.write_text(json.dumps([{**fields, "amount": 1500.5, "due": "2026-12-05T12:00:00+03:00", "items": items}]))
    assert "1 invoices: 1 sent.\n" == send(file).output
    [invoice] = daraja.invoices
    assert (["0.10", "1500.40"], "2026-12-05 12:00:00.00") == (
        [each["amount"] for each in invoice.fields["invoiceItems"]],
        invoice.fields["dueDate"],
    )


def test_a_dry_run(send, daraja, tmp_path):
    """It checks the file, sends nothing, and makes no database."""
    done = send(csv_of(tmp_path / "rent.csv", line(1)), "--dry-run")
    assert ("1 invoices are in order; nothing was sent.\n", 0) == (done.output, daraja.count("bills_invoices"))
    assert not (tmp_path / "shop.db").exists()


def test_every_problem_at_once(send, daraja, tmp_path):
    """Each with its line and field; nothing is sent, not even what is in order."""
    file = csv_of(
        tmp_path / "rent.csv",
        line(1),
        line(2, phone_number="12"),
        line(3, due="tomorrow"),
        line(4, amount=""),
        line(5, due="2026-12-05T12:00:00"),
        line(1, amount="7"),
    )
    done = send(file)
    assert (1, 0) == (done.exit_code, daraja.count("bills_invoices"))
    for part in (
        "line 3: phone_number",
        "line 4: due: got 'tomorrow'",
        "line 5: amount",
        "line 6: due",
        "line 7: external_reference: 'E-1' stands in line 2 already",
    ):
        assert part in done.output


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("a.csv", b"", "expected at least one invoice"),
        ("a.csv", HEADING.encode() + b"\n\xff", "expected UTF-8"),
        ("a.json", b"{", "no JSON"),
        ("a.json", b"{}", "got a JSON dict, expected a list"),
        ("a.json", b"[1]", "invoice 1: external_reference"),
        ("a.csv", (HEADING + ",colour\n" + line(1) + ",red").encode(), "line 2: colour"),
        ("a.csv", b"x\n" * 40, "... and 19 more."),
    ],
)
def test_a_file_that_is_none(send, tmp_path, name, body, words):
    """What is wrong with it is said, without a traceback."""
    (tmp_path / name).write_bytes(body)
    done = send(tmp_path / name)
    assert (1, True) == (done.exit_code, words in done.output), done.output


def test_an_answer_that_is_lost(send, daraja, tmp_path):
    """What became of them is unknown, which the exit status says; sending the file again finds out."""
    file = csv_of(tmp_path / "rent.csv", line(1), line(2))
    daraja.script(Behaviour(answer=Answer.LOST), api="bills_invoices")
    done = send(file)
    assert (1, True, True) == (done.exit_code, "2 pending" in done.output, "Send the file again" in done.output)
    assert "2 invoices: 2 sent.\n" == send(file).output
    assert 2 == len(daraja.invoices)


def test_one_that_is_refused(send, daraja, tmp_path):
    """It is named with Bill Manager's reason, the others are sent, and the exit status says that not all is well."""
    send(csv_of(tmp_path / "one.csv", line(2)))
    (tmp_path / "shop.db").unlink()  # so that it is another program's invoice
    done = send(csv_of(tmp_path / "rent.csv", *(line(number) for number in range(4))))
    assert (1, 4) == (done.exit_code, len(daraja.invoices))
    assert "4 invoices: 3 sent, 1 refused." in done.output
    assert "E-2 was refused: Conflict. externalReference already exists." in done.output


def test_another_account(send, daraja, tmp_path):
    """An account of the settings sends them; one that is not there is named."""
    done = send(csv_of(tmp_path / "rent.csv", line(1)), "--account", "till")
    assert (1, True) == (done.exit_code, "till: no such account" in done.output)


def test_a_bar_on_a_terminal(daraja, tmp_path):
    """Where standard error is a terminal it shows how far it is; standard output holds the result alone."""
    pytest.importorskip("pty")
    file = csv_of(tmp_path / "rent.csv", *(line(number) for number in range(300)))
    ours, theirs = os.openpty()
    with DarajaServer(daraja) as server:
        done = subprocess.run(
            [*COMMAND, "invoices", "send", str(file), "--database", "shop.db", "--unheard"],
            cwd=tmp_path,
            env=environment(**KEYS, MPESA_ENVIRONMENT=server.base_url, TERM="xterm"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=60,
        )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert (b"300 invoices: 300 sent.\n", True) == (done.stdout, "━" in shown)
    store = SqliteRepository(tmp_path / "shop.db")
    assert "sent" == store.find_invoice("174379", "E-299").status
    store.close()
