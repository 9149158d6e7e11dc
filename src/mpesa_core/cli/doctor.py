"""What ``mpesa doctor`` looks at."""

from __future__ import annotations

import email.utils
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import attrs

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import MpesaError
from mpesa_core.payments.records import Sweep
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.routes import ROUTES, callback_urls
from mpesa_core.settings import Settings
from mpesa_core.values import to_nairobi

__all__ = ["Finding", "examine"]


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what it is.
        verdict: ``ok``, ``warning``, ``wrong`` or ``skipped``.
        detail: one sentence, with what to do where something is to be done.
    """

    OK: ClassVar[str] = "ok"
    WARNING: ClassVar[str] = "warning"
    WRONG: ClassVar[str] = "wrong"
    SKIPPED: ClassVar[str] = "skipped"

    what: str
    verdict: str
    detail: str


def examine(environ: Mapping[str, str], database: str | None, *, offline: bool) -> list[Finding]:
    """Everything that the doctor finds, in order."""
    try:
        settings = Settings.from_environ(environ, also=("database",))
    except MpesaError as error:
        return [Finding("settings", Finding.WRONG, str(error))]
    return list(_findings(settings, database, offline=offline))


def _findings(settings: Settings, database: str | None, *, offline: bool) -> Iterator[Finding]:
    yield Finding("settings", Finding.OK, f"{settings.environment}, accounts: {', '.join(settings.account_names)}")
    for name in settings.account_names:
        yield from _account(settings, name)
    yield from _callback_urls(settings)
    yield _sources(settings)
    yield from _recovery(database)
    if offline:
        yield Finding("clock", Finding.SKIPPED, "asked not to reach Daraja")
        yield Finding("token", Finding.SKIPPED, "asked not to reach Daraja")
    else:
        yield _clock(settings)
        for name in settings.account_names:
            yield _token(settings, name)


def _account(settings: Settings, name: str) -> Iterator[Finding]:
    account = settings.account(name)
    what = f"account {name}"
    can = {
        "STK push": ("consumer_key", "consumer_secret", "short_code", "passkey"),
        "payouts, reversals and status": ("consumer_key", "consumer_secret", "short_code", "initiator_name"),
    }
    for product, needed in can.items():
        missing = [field for field in needed if not getattr(account, field)]
        if missing:
            yield Finding(what, Finding.WARNING, f"no {product}: {', '.join(missing)} not set")
        else:
            yield Finding(what, Finding.OK, f"{product}: set up")
    if account.initiator_password is not None:
        yield _credential(settings, name)


def _credential(settings: Settings, name: str) -> Finding:
    what = f"certificate of account {name}"
    if find_spec("cryptography") is None:
        return Finding(
            what, Finding.WRONG, "initiator_password needs cryptography: pip install 'mpesa-core[initiator]'"
        )
    from mpesa_core.initiator import security_credential  # noqa: PLC0415 - cryptography is an extra

    account = settings.account(name)
    assert account.initiator_password is not None
    try:
        security_credential(account.initiator_password.reveal(), account.certificate, settings.environment)
    except MpesaError as error:
        return Finding(what, Finding.WRONG, str(error))
    source = "your own" if account.certificate is not None else "the bundled one of the environment"
    return Finding(what, Finding.OK, f"readable ({source}); it encrypts the operator's password")


def _callback_urls(settings: Settings) -> Iterator[Finding]:
    if settings.callback_base_url is None:
        yield Finding(
            "callback URLs", Finding.WARNING, "callback_base_url is not set: nothing that needs a callback can be sent"
        )
        return
    token = "0" * 64 if settings.callback_tokens else None
    wrong = 0
    for route in ROUTES:
        try:
            callback_urls(settings, route.callback_type, token)
        except MpesaError as error:
            wrong += 1
            yield Finding("callback URLs", Finding.WRONG, str(error))
    if not wrong:
        example = callback_urls(settings, CallbackType.STK)
        yield Finding(
            "callback URLs", Finding.OK, f"Daraja accepts their form; serve them where they point, such as {example}"
        )
    if settings.callback_secret is None:
        yield Finding(
            "callback URLs",
            Finding.WARNING,
            "callback_secret is not set: a callback without a valid token is not refused by its URL",
        )


def _sources(settings: Settings) -> Finding:
    if not settings.verify_callback_source_ip:
        return Finding(
            "callback sources", Finding.WARNING, "verify_callback_source_ip is off: anybody may post callbacks"
        )
    return Finding(
        "callback sources", Finding.OK, f"{len(settings.callback_ip_allowlist)} addresses or networks are allowed"
    )


def _recovery(database: str | None) -> Iterator[Finding]:
    what = "recovery"
    if database is None:
        yield Finding(what, Finding.SKIPPED, "give --database to see whether anybody recovers")
        return
    if not Path(database).exists():
        yield Finding(what, Finding.WARNING, f"there is no file {database} yet")
        return
    try:
        repository = SqliteRepository(database)
        old = datetime.now(UTC) - timedelta(minutes=5)
        left = {
            "callbacks due": len(repository.due_callbacks(old, 1000)),
            "settlements unannounced": len(repository.due(Sweep.UNANNOUNCED, old, 1000)),
            "questions due": len(repository.due(Sweep.TO_ASK, old, 1000)),
        }
        open_conflicts = len(repository.conflicts(1000))
        repository.close()
    except (MpesaError, sqlite3.Error) as error:
        yield Finding(what, Finding.WRONG, f"{database} cannot be read: {error}")
        return
    waiting = [f"{count} {name}" for name, count in left.items() if count]
    if waiting:
        detail = f"{', '.join(waiting)} for over five minutes: nobody sweeps. Run `mpesa worker`, or start the gateway."
        yield Finding(what, Finding.WRONG, detail)
    else:
        yield Finding(what, Finding.OK, "nothing has been waiting for over five minutes")
    if open_conflicts:
        yield Finding("conflicts", Finding.WARNING, f"{open_conflicts} open; see `mpesa conflicts`")


def _clock(settings: Settings) -> Finding:
    request = urllib.request.Request(settings.base_url + "/", method="HEAD")  # noqa: S310 - http(s), checked by Settings
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - as above
            stamp = response.headers.get("Date")
    except urllib.error.HTTPError as error:
        stamp = error.headers.get("Date")
        error.close()
    except (OSError, ValueError):
        return Finding("clock", Finding.SKIPPED, f"{settings.base_url} cannot be reached from here")
    ours = datetime.now(UTC)
    local = f"{to_nairobi(ours):%Y-%m-%d %H:%M:%S} in Nairobi"
    try:
        theirs = email.utils.parsedate_to_datetime(stamp or "")
    except ValueError:
        return Finding("clock", Finding.SKIPPED, f"{local}; Daraja did not tell its own time")
    apart = abs((ours - theirs).total_seconds())
    if apart > 60:
        return Finding("clock", Finding.WRONG, f"{local}; {apart:.0f} seconds from Daraja's. Set the clock by NTP.")
    return Finding("clock", Finding.OK, f"{local}; within a minute of Daraja's")


def _token(settings: Settings, name: str) -> Finding:
    what = f"token of account {name}"
    account = settings.account(name)
    if not (account.consumer_key and account.consumer_secret):
        return Finding(what, Finding.SKIPPED, "consumer_key and consumer_secret are not set")
    from mpesa_core.client import DarajaClient  # noqa: PLC0415 - httpx is loaded only where something is sent

    with DarajaClient(settings) as client:
        try:
            client.check_keys(account=name)
        except MpesaError as error:
            return Finding(what, Finding.WRONG, str(error))
    return Finding(what, Finding.OK, "Daraja accepts the consumer key and secret")
