"""The documentation: its programs run and print what it says, its links lead somewhere, its tables are the code's.

A Python block that is a whole program stands below ``<!-- file: NAME -->``; a text block below
``<!-- run: NAME ARGUMENTS -->`` is what it prints, on a page's programs in the order of the page, all in one folder. The
ports of the pages become free ones, and the local Daraja of the pages is a real one. Identifiers, receipts and times
differ from run to run and are compared by their form.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import attrs
import pytest

import mpesa_core
from mpesa_core import AsyncGateway, Gateway, Outcome, Settings, errors
from mpesa_core.daraja import callbacks
from mpesa_core.daraja.codes import Family, Turn
from mpesa_core.payments.announcements import announcements
from mpesa_core.payments.decide import Source
from mpesa_core.payments.invoices import INVOICE_TRANSITIONS, InvoiceRow
from mpesa_core.payments.machine import TRANSITIONS, is_known
from mpesa_core.payments.records import (
    CallbackRow,
    Disposition,
    Key,
    Status,
    Sweep,
    Transaction,
    TransactionType,
)
from mpesa_core.payments.subscriptions import SUBSCRIPTION_TRANSITIONS, SubscriptionRow
from mpesa_core.repository.protocol import InvoiceRepository, Repository, SubscriptionRepository
from mpesa_core.routes import ROUTES
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.settings import kinds
from mpesa_core.settings.account import ACCOUNT_FIELDS
from mpesa_core.settlement import initiation
from mpesa_core.settlement.dues import Dues, InvoiceStore, SubscriptionStore
from mpesa_core.signals import SIGNALS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATIENCE = 30.0

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[a-z]+): (?P<words>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@attrs.frozen
class Block:
    """A fenced block: its language, its text, and the comment right above it."""

    page: Path
    number: int
    language: str
    text: str
    mark: str | None
    words: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, number, found["language"], found["text"], found["mark"], found["words"] or "")
        for number, found in enumerate(_FENCE.finditer(page.read_text("utf-8")), 1)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL_BLOCKS if block.language == "python"]


# -- programs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{name_of(block.page)}:{block.number}")
def test_python_compiles(block):
    """Every Python block is Python."""
    compile(block.text, name_of(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


_FORMS = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\bU[A-Z0-9]{9}\b"), "<receipt>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\bin \d+\.\d+s\b"), "in <time>"),
)


def _form(line: str) -> str:
    for pattern, name in _FORMS:
        line = pattern.sub(name, line)
    return line.rstrip()


class _Reader(threading.Thread):
    """Reads a program's output line by line, so that it can be waited for."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self._stream = stream
        self._changed = threading.Condition()
        self.lines = []
        self.ended = False
        self.start()

    def run(self):
        for line in self._stream:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            self._changed.wait_for(lambda: self.ended or len(self.lines) >= count, PATIENCE)


def _run(command, folder, expected):
    """Run a program until it ends, or has printed as many lines as are expected; return what it printed."""
    program, *arguments = shlex.split(command)
    if program == "mpesa":
        pytest.importorskip("click")
        pytest.importorskip("rich")
        start = ["-c", "from mpesa_core.cli import main; main()"]
    elif program == "pytest":
        start = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    else:
        start = ["-u", program]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MPESA_")}
    environ["PYTHONPATH"] = str(Path(mpesa_core.__file__).parents[1])  # the one that is tested, wherever it is
    process = subprocess.Popen(
        [sys.executable, *start, *arguments],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        said, complained = _Reader(process.stdout), _Reader(process.stderr)
        said.wait_for(len(expected))
        said.join(0.3)  # whatever it prints beyond, or its end
        stopped = not said.ended
        if stopped:
            process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        said.join(PATIENCE)
        complained.join(PATIENCE)
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        process.stderr.close()
    if not stopped:
        assert 0 == process.returncode, "".join(complained.lines)
    return said.lines, "".join(complained.lines)


RUNNING = [page for page in PAGES if any(block.mark == "run" for block in blocks(page))]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_programs_print_what_the_page_says(page, tmp_path):
    """The programs of a page, run in its order, print what stands there."""
    ports = {"8000": str(_free_port())}
    with DarajaServer(LocalDaraja(magic=True)) as server:
        ports["8070"] = server.base_url.rpartition(":")[2]
        for block in blocks(page):
            if block.mark == "file":
                if "from flask import" in block.text:
                    pytest.importorskip("flask")
                if "import uvicorn" in block.text:
                    pytest.importorskip("fastapi")
                    pytest.importorskip("uvicorn")
                if "from sqlalchemy import" in block.text:
                    pytest.importorskip("sqlalchemy")
                text = re.sub(
                    r"(?<=127\.0\.0\.1[:\"], )\b8000\b|(?<=127\.0\.0\.1:)(?:8000|8070)\b|(?<=port=)8000\b",
                    _port(ports),
                    block.text,
                )
                (tmp_path / block.words).write_text(text, "utf-8")
            elif block.mark == "run":
                expected = block.text.splitlines()
                printed, complaint = _run(block.words, tmp_path, expected)
                # Several threads print, so the order of two lines may differ.
                assert sorted(map(_form, expected)) == sorted(map(_form, printed)), complaint


def _port(ports):
    return lambda found: ports[found[0]]


def test_every_page_program_is_run():
    """No program stands on a page without being run there, and nothing is run that is not there."""
    for page in PAGES:
        named = {block.words for block in blocks(page) if block.mark == "file"}
        run = {word for block in blocks(page) if block.mark == "run" for word in shlex.split(block.words)[:2]}
        assert named <= run, name_of(page)
        assert {word for word in run if word.endswith(".py")} <= named, name_of(page)


# -- links ---------------------------------------------------------------------------------------------------------

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [target for target in _LINK.findall(text) if not target.startswith(("http://", "https://"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """Every relative link names a file that is there, and a heading in it where it names one."""
    for target in _links(page):
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.is_file(), target
        if anchor:
            assert anchor in _anchors(goal), target


def test_every_page_can_be_found():
    """The README leads to every page."""
    listed = {(ROOT / target.partition("#")[0]).resolve() for target in _links(ROOT / "README.md")}
    assert set() == {name_of(page) for page in PAGES[1:] if page.resolve() not in listed}


# -- the two commands ----------------------------------------------------------------------------------------------


def test_the_two_commands():
    """The README's two lines are those that continuous integration runs."""
    demo, tests = (
        "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt '.[cli,initiator]' && .venv/bin/mpesa demo",
        "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[dev]' && .venv/bin/pytest",
    )
    lines = [line for block in blocks(ROOT / "README.md") if block.language == "sh" for line in block.text.splitlines()]
    assert [demo, tests] == lines
    script = (ROOT / ".ci" / "run").read_text()
    assert f'demo="{demo}"\ntests="{tests}"\n' in script
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"cli", "initiator", "dev"} <= extras.keys()


# -- tables --------------------------------------------------------------------------------------------------------


def rows(page: str, first: str) -> list[list[str]]:
    """The rows of the tables of a page whose head begins with that column."""
    found = []
    head = None
    for line in (ROOT / "docs" / page).read_text("utf-8").splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip()[1:-1].split("|")]
        if head is None:
            head = cells[0]
        elif head == first and not set(cells[0]) <= set("- "):
            found.append(cells)
    assert found, f"{page} has no table that begins with {first}"
    return found


def code(cell: str) -> str:
    """What stands between backticks."""
    return re.search(r"`([^`]+)`", cell)[1]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


_KINDS = {
    "text": kinds.TEXT,
    "secret": kinds.SECRET,
    "short code": kinds.SHORT_CODE,
    "file": kinds.FILE,
    "folder": kinds.PATH,
    "URL": kinds.URL,
    "environment": kinds.ENVIRONMENT,
    "flag": kinds.FLAG,
    "number": kinds.COUNT,
    "count": kinds.RETRIES,
    "limit": kinds.LIMIT,
    "duration": kinds.DURATION,
    "networks": kinds.NETWORKS,
    "accounts": kinds.ACCOUNTS,
    "path": kinds.URL_PATH,
    "header": kinds.HEADER,
}


def _kind_name(field):
    return next((name for name, kind in _KINDS.items() if field.metadata == kind), "choice")


def test_settings_table():
    """Every setting is in the reference, in order, with its type and its default."""
    table = rows("reference/settings.md", "setting")
    fields = attrs.fields(Settings)
    assert [field.name for field in fields] == [code(row[0]) for row in table]
    assert [_kind_name(field) for field in fields] == [row[1] for row in table]
    plain = Settings()
    for field, row in zip(fields, table, strict=True):
        default = getattr(plain, field.name)
        if field.name == "callback_ip_allowlist":
            assert 12 == len(default), "the reference says twelve addresses"
        elif field.name == "queries_per_minute":
            assert (5, None) == (default, Settings(environment="production").queries_per_minute)
            assert "`5` in the sandbox, else `None`" == row[2]
        else:
            assert f"`{default!r}`" == row[2], field.name


def test_setting_types_and_account_fields():
    """The reference says what each type takes, and which settings an account has."""
    types = [row[0] for row in rows("reference/settings.md", "type")]
    assert {*_KINDS, "choice"} == set(types)
    names = [code(row[0]) for row in rows("reference/settings.md", "setting")]
    first, last = names.index("consumer_key"), names.index("certificate")
    assert set(ACCOUNT_FIELDS) == set(names[first : last + 1])


def _transaction(kind, status, **more):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return Transaction(id=uuid4(), transaction_type=kind, status=status, initiated_at=start, generation=1, **more)


def test_signals_table():
    """Every signal is in the reference, with the arguments that receivers get."""
    table = {code(row[0]): codes(row[2]) for row in rows("reference/signals.md", "signal")}
    assert list(SIGNALS) == list(table)
    seen = {}
    parent = _transaction(TransactionType.C2B, Status.SUCCESS)
    for kind in TransactionType:
        for status in (Status.SUCCESS, Status.FAILED, Status.TIMEOUT, Status.REVERSED):
            for reason in ("cancelled", "expired", "denied"):
                row = _transaction(kind, status, reason=reason, settled_by=Source.CALLBACK)
                for above in (None, parent):
                    for announcement in announcements(row, above, row):
                        seen[announcement.signal] = list(announcement.arguments)
    for name, arguments in seen.items():
        assert sorted(arguments) == sorted(set(table[name]) - {"None"}), name
    sources = "".join(path.read_text() for path in sorted((ROOT / "src/mpesa_core/settlement").glob("*.py")))
    for name in set(SIGNALS) - set(seen) - {"c2b_validation_received"}:
        given = re.search(rf'"{name}",\s*\{{(.*?)\}}', sources, re.DOTALL)
        documented = re.findall(r"\w+", SIGNALS[name].__doc__.partition("Arguments:")[2])
        said = [each for each in table[name] if each != "None"]
        assert said == (re.findall(r'"(\w+)":', given[1]) if given else [each for each in said if each in documented])


def _effects(procedure):
    """What a procedure asks for, answered by None each time."""
    effects = [next(procedure)]
    with contextlib.suppress(StopIteration):
        while True:
            effects.append(procedure.send(None))
    return effects


@pytest.mark.parametrize("store", [InvoiceStore(), SubscriptionStore()], ids=lambda store: store.kind)
def test_signals_of_invoices_and_subscriptions(store):
    """Those that a row carries are delivered with the arguments of the reference."""
    table = {code(row[0]): codes(row[2]) for row in rows("reference/signals.md", "signal")}
    dues = Dues(store, Settings(), partial(datetime.now, UTC))
    carried = [name for name in table if name.startswith(store.kind) and name != "subscription_charged"]
    for name in carried:
        *_, deliver = _effects(dues._deliver(_transaction("C2B", "SUCCESS"), 1, name, uuid4()))
        assert table[name] == list(deliver.arguments), name
    assert len(carried) == {"invoice": 3, "subscription": 4}[store.kind]


def _tree():
    """The error tree as the module draws it."""
    drawn = inspect.getdoc(errors).split("::\n")[1]
    return [line.strip() for line in re.findall(r"^    (\S.*|[│├└ ].*)$", drawn, re.MULTILINE) if line.strip()]


def test_errors_tree():
    """The tree in the reference is the one in the module, and has every error."""
    drawn = [line.strip() for line in blocks(ROOT / "docs/reference/errors.md")[0].text.splitlines()]
    assert _tree() == drawn
    names = [re.search(r"[A-Z]\w+", line)[0] for line in drawn]
    assert sorted(errors.__all__) == sorted(names)


def test_error_attributes():
    """The attributes in the reference are those of the errors."""
    for row in rows("reference/errors.md", "error"):
        kind = getattr(errors, code(row[0]))
        said = {name for name in codes(row[1]) if name != "None"}
        if kind is errors.MpesaError:
            assert {"transaction"} == said
            continue
        described = re.search(r"Attributes:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(kind), re.DOTALL)[1]
        assert set(re.findall(r"^\s*(\w+):", described, re.MULTILINE)) == said, kind


def _state(status, known):
    return f"FAILED, {'known' if known else 'not known'}" if status is Status.FAILED else str(status)


def test_machine_table():
    """The table of transitions in the reference is the machine's."""
    expected = {
        _state(status, known): {_state(*target) for target in targets}
        for (status, known), targets in TRANSITIONS.items()
    }
    said = {row[0]: set(filter(None, row[1].split("; "))) for row in rows("reference/statuses.md", "from")}
    assert expected == said


def test_status_and_source_tables():
    """Every status and every source is in the reference, and which of them make a failure known."""
    assert list(Status) == [code(row[0]) for row in rows("reference/statuses.md", "status")]
    sources = rows("reference/statuses.md", "`settled_by`")
    assert list(Source) == [code(row[0]) for row in sources]
    for row in sources:
        assert ("known" if is_known(Status.FAILED, code(row[0])) else "not known") == row[2], row[0]
    assert list(Disposition) == [code(row[0]) for row in rows("reference/statuses.md", "disposition")]


def test_row_tables():
    """Every field of a transaction and of a callback is in the reference."""
    table = rows("reference/statuses.md", "field")
    named = [name for row in table for name in codes(row[0])]
    wanted = [field.name for kind in (Transaction, CallbackRow) for field in attrs.fields(kind)]
    assert sorted(wanted) == sorted(named)
    kinds_said = next(codes(row[1]) for row in table if code(row[0]) == "transaction_type")
    assert list(TransactionType) == kinds_said


def _public(kind):
    """Its calls, and those that it has from the classes that make it up."""
    made_up_of = [each for each in kind.__mro__ if each.__name__.endswith("Gateway")]
    return {
        name
        for each in made_up_of
        for name, value in vars(each).items()
        if callable(value) and not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("kind", "heading", "record", "transitions"),
    [
        ("invoice", "field of an invoice", InvoiceRow, INVOICE_TRANSITIONS),
        ("subscription", "field of a subscription", SubscriptionRow, SUBSCRIPTION_TRANSITIONS),
    ],
)
def test_due_tables(kind, heading, record, transitions):
    """Every status of an invoice and a subscription with where it may go, and every field, is in the reference."""
    said = {code(row[0]): set(codes(row[2])) for row in rows("reference/statuses.md", kind)}
    assert {str(status): {*map(str, targets)} for status, targets in transitions.items()} == said
    named = [name for row in rows("reference/statuses.md", heading) for name in codes(row[0])]
    assert sorted(field.name for field in attrs.fields(record)) == sorted(named)


def test_gateway_tables():
    """Every call of the gateway is in the reference, with its arguments and their defaults."""
    said = {code(row[0]) for row in rows("reference/gateway.md", "call")}
    internal = {"submit", "validate_c2b", "close"}
    assert _public(Gateway) - internal == {each.partition("(")[0] for each in said}
    for each in said:
        name, _, arguments = each.rstrip(")").partition("(")
        parameters = [
            parameter.replace(annotation=inspect.Parameter.empty, kind=_sorted_kind(parameter))
            for parameter in list(inspect.signature(getattr(Gateway, name)).parameters.values())[1:]
        ]
        assert arguments == ", ".join(map(_told, parameters)), name
    argument_names = list(inspect.signature(Gateway.__init__).parameters)[1:]
    assert argument_names == [name for row in rows("reference/gateway.md", "argument") for name in codes(row[0])]


def test_what_becomes_of_a_call():
    """The reference's table has every case of the one that stands beside the code, with the same row and signal."""
    table = inspect.getdoc(initiation).split("the caller gets\n")[1].partition("\n")[2].partition("\n===")[0]
    cases = {}
    for line in table.splitlines():
        name, *cells = line[:20].strip(), line[20:48].strip(), line[48:83].strip().replace("``", "`")
        before = cases[list(cases)[-1]] if not name else ["", ""]
        cases[name or list(cases)[-1]] = [f"{first} {more}".strip() for first, more in zip(before, cells, strict=True)]
    assert 4 == len(cases)
    said = {
        row[0].partition(" (")[0]: [row[1].replace("`", ""), row[2]]
        for row in rows("reference/gateway.md", "what happened")
    }
    for name, (row, signal_of_it) in cases.items():
        assert row.replace("`", "") in said[name][0], name
        assert signal_of_it == said[name][1], name


def _sorted_kind(parameter):
    variable = parameter.kind is inspect.Parameter.VAR_KEYWORD
    return parameter.kind if variable else inspect.Parameter.POSITIONAL_OR_KEYWORD


def _told(parameter):
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    default = f'"{parameter.default}"' if isinstance(parameter.default, str) else repr(parameter.default)
    return f"{parameter.name}={default}"


def test_async_gateway():
    """The reference names what the asynchronous gateway has not."""
    text = (ROOT / "docs/reference/gateway.md").read_text("utf-8")
    sentence = re.search(r"except that it has no (.+?)\.", text, re.DOTALL)[1]
    missing = set(codes(sentence)) - {"runner"}
    assert (_public(Gateway) - _public(AsyncGateway)) - {"validate_c2b"} == missing


def test_callback_tables():
    """Paths, callback types and their settings are those that are served; the classes have the fields that are said."""
    table = rows("reference/callbacks.md", "path")
    assert [(route.path, route.callback_type, route.setting) for route in ROUTES] == [
        tuple(map(code, row)) for row in table
    ]
    common = {field.name for field in attrs.fields(callbacks.Callback)}
    said = {}
    for row in rows("reference/callbacks.md", "class"):
        kind = getattr(callbacks, code(row[0]), None)
        if kind is not None:
            said[kind] = set(re.findall(r"`(\w+)`", row[2].split("those of")[0])) | (
                set(re.findall(r"`([a-z]\w+)`", row[2])) if "those of" in row[2] else set()
            )
    every = {
        kind for kind in vars(callbacks).values() if inspect.isclass(kind) and issubclass(kind, callbacks.Callback)
    }
    assert every - {callbacks.Callback} == set(said)
    results = {field.name for field in attrs.fields(callbacks.ResultCallback)}
    for kind, names in said.items():
        known = results if kind in (callbacks.StatusCallback, callbacks.BalanceCallback) else common
        expected = {field.name for field in attrs.fields(kind)} - known
        assert expected == names - ({"problem"} if kind is callbacks.Unreadable else set()), kind


def test_code_words():
    """Outcomes, turns and products in the reference are the code's."""
    assert list(Outcome) == [code(row[0]) for row in rows("reference/codes.md", "outcome")]
    assert list(Turn) == [code(row[0]) for row in rows("reference/codes.md", "turn")]
    assert list(Family) == [code(row[0]) for row in rows("reference/codes.md", "product")]


def test_operations_table():
    """Every operation of the wire layer is in the reference, with its module."""
    said = {tuple(pair.rsplit(".", 1)) for row in rows("reference/operations.md", "API") for pair in codes(row[1])}
    every = set()
    for path in sorted((ROOT / "src/mpesa_core/daraja").glob("*.py")):
        module = import_module(f"mpesa_core.daraja.{path.stem}")
        for name in getattr(module, "__all__", ()):
            kind = getattr(module, name)
            if inspect.isclass(kind) and hasattr(kind, "build") and attrs.has(kind):
                every.add((path.stem, name))
    assert every == said


def test_repository_table():
    """Every operation of the protocol is in the reference, with its arguments; and every key and sweep."""
    said = [code(row[0]) for row in rows("reference/repository.md", "operation")]
    assert _operations(Repository) == said
    optional = [code(row[0]) for row in rows("reference/repository.md", "optional operation")]
    assert _operations(InvoiceRepository) + _operations(SubscriptionRepository) == optional
    assert list(Key) == [code(row[0]) for row in rows("reference/repository.md", "key")]
    assert list(Sweep) == [code(row[0]) for row in rows("reference/repository.md", "sweep")]


def _operations(protocol):
    """The operations of a protocol, with their arguments, as the reference writes them."""
    found = []
    for name, operation in vars(protocol).items():
        if inspect.isfunction(operation) and not name.startswith("_"):
            parameters = list(inspect.signature(operation).parameters.values())[1:]
            plain = [
                parameter.replace(annotation=inspect.Parameter.empty, kind=_sorted_kind(parameter))
                for parameter in parameters
            ]
            found.append(f"{name}({', '.join(map(_told, plain))})")
    return found


def test_command_table():
    """Every subcommand and every option of the command is in the reference, and no other."""
    click = pytest.importorskip("click")
    pytest.importorskip("rich")
    from mpesa_core.cli.commands import mpesa

    expected = {}

    def collect(command, words):
        options = {
            max(parameter.opts, key=len)
            for parameter in command.params
            if isinstance(parameter, click.Option) and parameter.opts
        }
        if words:
            expected[" ".join(words)] = options - {"--help"}
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                collect(each, [*words, name])

    collect(mpesa, [])
    said = {
        re.sub(r" [A-Z].*", "", code(row[0]).removeprefix("mpesa ")): {
            each.split()[0] for each in codes(row[2]) if each.startswith("--")
        }
        for row in rows("reference/command.md", "command")
    }
    assert expected == said
