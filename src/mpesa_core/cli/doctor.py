"""``mpesa doctor``: what would keep payments from working, found before a customer finds it."""

from __future__ import annotations

import email.utils
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.text import Text

from mpesa_core.cli.place import Place, at_a_place, settings
from mpesa_core.cli.telling import beside
from mpesa_core.errors import ConfigurationError, MpesaError, NotSent
from mpesa_core.payments.records import Sweep
from mpesa_core.repository.protocol import Repository
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.routes import ROUTES, callback_urls
from mpesa_core.settings import Settings
from mpesa_core.values import to_nairobi

__all__ = ["Finding", "Verdict", "doctor", "examine", "examine_callback_urls", "examine_sources"]

_PATIENCE = 5.0
"""Seconds to wait for Daraja's clock."""

_LAPSED = timedelta(minutes=5)
"""Work that waits for longer has nobody who does it: sweeps are seconds apart."""

_MANY = 1000

_SECRET_LENGTH = 32
"""A shorter callback_secret can be guessed from one token, at leisure and without a request to us."""


class Verdict(StrEnum):
    """How something was found."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red", Verdict.SKIPPED: "dim"}


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what it is.
        verdict: how it was found.
        detail: one sentence, with what to do where something is to be done.
    """

    what: str
    verdict: Verdict
    detail: str


@click.command(short_help="Find what would keep payments from working.")
@at_a_place
@click.option("--offline", is_flag=True, help="Do not try to reach Daraja.")
def doctor(place: Place, *, offline: bool) -> None:
    """Check settings, certificate, callback URLs, whether anybody recovers, the clock and the app's keys.

    Nothing is asked to move. Exit status 1 when something is wrong.
    """
    console = Console(highlight=False)
    wrong = False
    for finding in examine(place, offline=offline):
        heading = Text.assemble((f"{finding.verdict:>7}", _STYLES[finding.verdict]), f"  {finding.what:<20}  ")
        console.print(beside(heading, finding.detail, console.width), soft_wrap=True)
        wrong = wrong or finding.verdict is Verdict.WRONG
    sys.exit(1 if wrong else 0)


def examine(place: Place, *, offline: bool) -> Iterator[Finding]:
    """Everything that the doctor finds, in order.

    Args:
        place: where transactions are, if told; a gateway brings its settings along.
        offline: leave out what Daraja would have to be reached for.
    """
    with ExitStack() as stack:
        repository: Repository | None = None
        try:
            if place.gateway:
                gateway = stack.enter_context(place.open())
                found, repository = gateway.settings, gateway.repository
            else:
                found = settings()
        except ConfigurationError as error:
            for problem in error.problems:
                yield Finding("settings", Verdict.WRONG, problem)
            return
        names = ", ".join(found.account_names)
        yield Finding("settings", Verdict.OK, f"read, for {found.environment}; accounts: {names}")
        for name in found.account_names:
            yield from _account(found, name)
        yield from examine_callback_urls(found)
        yield examine_sources(found)
        yield from _recovery(repository, place)
        yield from _daraja(found, offline=offline)


def _account(found: Settings, name: str) -> Iterator[Finding]:
    account = found.account(name)
    what = f"account {name}"
    can = {
        "STK push": ("consumer_key", "consumer_secret", "short_code", "passkey"),
        "payouts, reversals and status": ("consumer_key", "consumer_secret", "short_code", "initiator_name"),
    }
    for product, needed in can.items():
        missing = [field for field in needed if not getattr(account, field)]
        if missing:
            yield Finding(what, Verdict.WARNING, f"no {product}: {', '.join(missing)} not set")
        else:
            yield Finding(what, Verdict.OK, f"{product}: set up")
    if account.initiator_password is not None:
        yield _credential(found, name)


def _credential(found: Settings, name: str) -> Finding:
    what = f"certificate, {name}"
    if find_spec("cryptography") is None:
        detail = "initiator_password needs cryptography: pip install 'mpesa-core[initiator]'"
        return Finding(what, Verdict.WRONG, detail)
    from mpesa_core.initiator import security_credential  # noqa: PLC0415 - cryptography is an extra

    account = found.account(name)
    assert account.initiator_password is not None
    try:
        security_credential(account.initiator_password.reveal(), account.certificate, found.environment)
    except MpesaError as error:
        return Finding(what, Verdict.WRONG, str(error))
    source = "your own" if account.certificate is not None else "the bundled one of the environment"
    return Finding(what, Verdict.OK, f"readable ({source}); it encrypts the operator's password")


def examine_callback_urls(found: Settings) -> Iterator[Finding]:
    """Whether callbacks have somewhere to go, and are known by a secret."""
    what = "callback URLs"
    given = [route for route in ROUTES if found.callback_base_url or getattr(found, route.setting)]
    if not given:
        yield Finding(
            what, Verdict.WARNING, "callback_base_url is not set: nothing that is answered by a callback can be sent"
        )
        return
    example = callback_urls(found, given[0].callback_type)
    yield Finding(what, Verdict.OK, f"Daraja accepts their form; serve them where they point, such as {example}")
    if found.callback_secret is None:
        yield Finding(
            what,
            Verdict.WARNING,
            "callback_secret is not set: a callback without a valid token is not refused by its URL",
        )
        return
    try:
        length = len(found.callback_secret.reveal())
    except MpesaError as error:
        yield Finding(what, Verdict.WRONG, f"callback_secret: {error}")
        return
    if length < _SECRET_LENGTH:
        yield Finding(
            what,
            Verdict.WARNING,
            f"callback_secret has {length} characters, expected {_SECRET_LENGTH} random ones or more: whoever guesses "
            "it can make valid tokens",
        )


def examine_sources(found: Settings) -> Finding:
    """Whether it is looked at where callbacks come from."""
    what = "callback sources"
    if not found.verify_callback_source_ip:
        return Finding(what, Verdict.WARNING, "verify_callback_source_ip is off: anybody may post callbacks")
    return Finding(what, Verdict.OK, f"{len(found.callback_ip_allowlist)} addresses or networks are allowed")


def _recovery(repository: Repository | None, place: Place) -> Iterator[Finding]:
    """Whether anybody does the work that is due."""
    what = "recovery"
    if repository is not None:
        yield from _left_undone(repository)
    elif place.database is None:
        yield Finding(what, Verdict.SKIPPED, "give --database or --gateway to see whether anybody recovers")
    elif not Path(place.database).exists():
        yield Finding(what, Verdict.WARNING, f"there is no file {place.database} yet")
    else:
        try:
            opened = SqliteRepository(place.database)
        except MpesaError as error:
            yield Finding(what, Verdict.WRONG, str(error))
            return
        try:
            yield from _left_undone(opened)
        finally:
            opened.close()


def _left_undone(repository: Repository) -> Iterator[Finding]:
    what = "recovery"
    before = datetime.now(UTC) - _LAPSED
    try:
        left = {
            "open callbacks": len(repository.due_callbacks(before, _MANY)),
            "unannounced settlements": len(repository.due(Sweep.UNANNOUNCED, before, _MANY)),
            "transactions to ask about": len(repository.due(Sweep.TO_ASK, before, _MANY)),
            "transactions never sent": len(repository.due(Sweep.UNSENT, before, _MANY)),
        }
        conflicts = len(repository.conflicts(_MANY))
    except Exception as error:  # noqa: BLE001 - a program's own repository may raise anything
        yield Finding(what, Verdict.WRONG, f"the repository cannot be read: {type(error).__name__}: {error}")
        return
    waiting = [f"{name}: {count}{' or more' if count == _MANY else ''}" for name, count in left.items() if count]
    if waiting:
        yield Finding(
            what,
            Verdict.WRONG,
            f"for over five minutes nobody has seen to {'; '.join(waiting)}. Run `mpesa worker` or your gateway.",
        )
    else:
        yield Finding(what, Verdict.OK, "nothing has been waiting for over five minutes")
    if conflicts:
        yield Finding("conflicts", Verdict.WARNING, f"{conflicts} open: see `mpesa conflicts`")


def _daraja(found: Settings, *, offline: bool) -> Iterator[Finding]:
    """The clock, and whether Daraja accepts the keys, as far as it can be reached."""
    reached, clock = (False, Finding("clock", Verdict.SKIPPED, "--offline")) if offline else _clock(found)
    yield clock
    for name in found.account_names:
        what = f"keys, {name}"
        account = found.account(name)
        if not (account.consumer_key and account.consumer_secret):
            yield Finding(what, Verdict.SKIPPED, "consumer_key and consumer_secret are not set")
        elif not reached:
            yield Finding(what, Verdict.SKIPPED, "--offline" if offline else "Daraja cannot be reached")
        else:
            yield _keys(found, name, what)


def _clock(found: Settings) -> tuple[bool, Finding]:
    """Whether Daraja can be reached, and what its clock says."""
    request = urllib.request.Request(found.base_url + "/", method="HEAD")  # noqa: S310 - http(s), checked by Settings
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310 - as above
            stamp = response.headers.get("Date")
    except urllib.error.HTTPError as error:
        stamp = error.headers.get("Date")
        error.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        detail = f"{found.base_url} cannot be reached from here ({why}); --offline leaves this out"
        return False, Finding("clock", Verdict.WARNING, detail)
    return True, _compared(stamp)


def _compared(stamp: str | None) -> Finding:
    ours = datetime.now(UTC)
    local = f"{to_nairobi(ours):%Y-%m-%d %H:%M:%S} in Nairobi"
    try:
        theirs = email.utils.parsedate_to_datetime(stamp or "").replace(tzinfo=UTC)  # HTTP's dates are in GMT
    except ValueError:
        return Finding("clock", Verdict.SKIPPED, f"{local}; Daraja did not tell its own time")
    apart = abs((ours - theirs).total_seconds())
    if apart > 60:
        return Finding("clock", Verdict.WRONG, f"{local}; {apart:.0f} seconds from Daraja's. Set the clock by NTP.")
    return Finding("clock", Verdict.OK, f"{local}; within a minute of Daraja's")


def _keys(found: Settings, name: str, what: str) -> Finding:
    from mpesa_core.client import DarajaClient  # noqa: PLC0415 - httpx is loaded only where something is sent

    with DarajaClient(found) as client:
        try:
            client.check_keys(account=name)
        except NotSent as error:
            return Finding(what, Verdict.WARNING, str(error))
        except MpesaError as error:
            return Finding(what, Verdict.WRONG, str(error))
    return Finding(what, Verdict.OK, "Daraja accepts the consumer key and secret")
