"""The page about Django, followed word by word: a new project becomes one that takes a payment."""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from mpesa_core.testing.payloads import c2b_confirmation, posted
from tests.servers.program import running, until
from tests.servers.starting import free_port

PAGE = (Path(__file__).parents[2] / "docs/how-to/use-django.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def ports():
    """Those of the page to free ones."""
    return {"8000": str(free_port()), "8070": str(free_port())}


@pytest.fixture
def do(tmp_path, ports):
    """Does a command of the page in the project's folder, with every warning an error; what it said."""

    def run(*words):
        program = {"django-admin": ("-m", "django"), "python": ()}[words[0]]
        with running("-W", "error", *program, *words[1:], folder=tmp_path, environment={}) as done:
            assert 0 == done.await_end(), done.told
            return done.told

    return run


def commands(first, last):
    """The page's commands from one to another."""
    lines = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    return [line.split() for line in lines[lines.index(first) : lines.index(last) + 1]]


def post(port, what, reference):
    """What the server answers to a customer's payment."""
    with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)) as connection:
        body = posted(c2b_confirmation(reference=reference))
        connection.request("POST", f"/pay/c2b/{what}/", body, {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["ResultCode"])


def test_a_newcomer_takes_a_payment(tmp_path, ports, do):
    """The page's files and commands, in its order, end with a receipt on the order."""
    written = re.sub(
        r"(?<=127\.0\.0\.1:)(8000|8070)", lambda found: ports[found[0]], "\0".join(text for _, text in BLOCKS)
    )
    files = []
    for text in written.split("\0"):
        first, _, rest = text.partition("\n")
        if match := re.fullmatch(r"# (\w+/\w+\.py)(, at its end)?", first):
            files.append((tmp_path / match[1], bool(match[2]), rest))
    for words in commands("django-admin startproject duka .", "python manage.py startapp shop"):
        do(*words)
    for file, appended, text in files:
        file.write_text((file.read_text() + "\n" if appended else "") + text)
    for words in commands("python manage.py makemigrations shop", "python manage.py check"):
        told = do(*words)
    assert "no issues" in told

    begun, shown = written.split("\0# python manage.py shell\n")[1].split("\0")[:2]
    assert "order.refresh_from_db()" in shown
    sandbox = ("manage.py", "mpesa_sandbox", "--port", ports["8070"])
    server = ("manage.py", "runserver", "--noreload", ports["8000"])
    with (
        running(*sandbox, folder=tmp_path, environment={}) as daraja,
        running(*server, folder=tmp_path, environment={}) as shop,
    ):
        daraja.await_port(int(ports["8070"]))
        shop.await_port(int(ports["8000"]))
        do("python", "manage.py", "shell", "-c", begun)

        def receipt():
            with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
                return database.execute("SELECT receipt FROM shop_order").fetchone()[0]

        until(receipt, lambda: shop.told)
        said = do(
            "python", "manage.py", "shell", "-c", f"from shop.models import *; order = Order.objects.get()\n{shown}"
        )
        assert f"{receipt()} SUCCESS" == said.splitlines()[-1]
        assert ["C2B00012", "0"] == [post(ports["8000"], "validate", typed) for typed in ("nonsense", "A-1")]
        assert "0" == post(ports["8000"], "confirm", "A-1")
        until(lambda: receipt() == "NLJ7RT61SV", lambda: shop.told)
