"""The system checks: each finds its fault, and a sound project is told nothing."""

import re
from pathlib import Path

import pytest

pytest.importorskip("django")

from django.core.checks import run_checks
from django.test import RequestFactory, override_settings
from django.views.debug import ExceptionReporter

from mpesa_core import queues
from mpesa_django import checks
from tests.django.hosting import MPESA

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {"transaction_mode": "IMMEDIATE"}}
SOUND = {**MPESA, "RESOLVE_C2B": dict}


@pytest.fixture
def database(monkeypatch):
    """Changes what the default database's settings say."""
    from django.db import connections

    def change(vendor="sqlite", **changes):
        connection = connections["default"]
        monkeypatch.setattr(connection, "vendor", vendor)
        monkeypatch.setattr(connection, "settings_dict", {**connection.settings_dict, **SQLITE, **changes})

    change()
    return change


def found(mpesa, *, deploy=False, debug=False):
    with override_settings(MPESA=mpesa, DEBUG=debug):
        messages = run_checks(include_deployment_checks=deploy)
    ours = [message for message in messages if (message.id or "").startswith("mpesa_django.")]
    assert all(message.hint for message in ours)
    return [message.id.removeprefix("mpesa_django.") for message in ours], " ".join(message.msg for message in ours)


def test_a_sound_project_is_told_nothing(database):
    """Neither an error nor a warning where all is well."""
    assert ([], "") == found(SOUND)


@pytest.mark.parametrize(
    ("changes", "ids", "word"),
    [
        ({"SHORT_COD": "1", "MAX_BODY_BYTES": 0}, ["E001", "E001"], "SHORT_CODE"),
        ({"CALLBACK_BASE_URL": "https://shop.example/mpesa/"}, ["E001"], "mpesa"),
        ({"CALLBACK_BASE_URL": "http://shop.example/pay/", "ENVIRONMENT": "production"}, ["E001"], "https"),
        ({"USE_CELERY": True, "RUNNER": "thread"}, ["E001"], "USE_CELERY is True"),
        ({"TRANSACTION_MODEL": None, "CALLBACK_LOG_MODEL": None}, ["E002", "E002"], "CALLBACK_LOG_MODEL"),
        ({"TRANSACTION_MODEL": "shop.Nothing"}, ["E003"], "shop.Nothing"),
        ({"RESOLVE_C2B": None}, ["E005"], "tillshop.Transaction.order"),
        ({"VERIFY_CALLBACK_SOURCE_IP": False}, ["W001"], "anybody may post"),
    ],
)
def test_each_fault_is_found(database, changes, ids, word):
    """Each fault has its number and names what is wrong; only what is wrong is told."""
    found_ids, text = found({**SOUND, **changes})
    assert ids == found_ids
    assert word in text


def test_a_model_that_is_none_of_ours(database):
    """A model that does not subclass the abstract one is refused."""
    assert ["E004"] == found({**SOUND, "CALLBACK_LOG_MODEL": "tillshop.Stranger"})[0]


def test_while_debugging_anybody_may_post(database):
    """The allowlist may be off while DEBUG is on."""
    assert [] == found({**SOUND, "VERIFY_CALLBACK_SOURCE_IP": False}, debug=True)[0]


def test_before_deployment_the_urls_are_looked_at(database):
    """--deploy tells of URLs and a secret that are not set up, or too short."""
    assert ["W002"] == found(SOUND, deploy=True)[0]
    urls = {"CALLBACK_BASE_URL": "https://shop.example/pay/"}
    assert ["W002"] == found({**SOUND, **urls}, deploy=True)[0]
    assert ["W002"] == found({**SOUND, **urls, "CALLBACK_SECRET": "short"}, deploy=True)[0]
    assert [] == found({**SOUND, **urls, "CALLBACK_SECRET": "s" * 32}, deploy=True)[0]


@pytest.mark.parametrize(
    ("vendor", "changes", "ids"),
    [
        ("sqlite", {"OPTIONS": {}}, ["W003"]),
        ("postgresql", {"CONN_MAX_AGE": 0, "OPTIONS": {}}, ["W004"]),
        ("postgresql", {"CONN_MAX_AGE": 60, "OPTIONS": {}}, []),
        ("postgresql", {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": True}}, []),
        ("postgresql", {"CONN_MAX_AGE": 60, "AUTOCOMMIT": False}, ["E009"]),
    ],
)
def test_the_database_of_the_transactions(database, vendor, changes, ids):
    """Deferred transactions on SQLite, connecting anew for each request elsewhere, and autocommit that is off."""
    database(vendor, **changes)
    assert ids == found(SOUND)[0]


def test_celery_without_celery(database, monkeypatch):
    """Celery that is chosen and not installed is an error, with the command that installs it."""
    monkeypatch.setattr(queues.importlib.util, "find_spec", lambda _name: None)
    assert (["E008"], "MPESA: the runner 'celery' was chosen, and it cannot work.") == found(
        {**SOUND, "RUNNER": None, "USE_CELERY": True}
    )


def test_celery_without_an_app(database, monkeypatch):
    """A process in which the project's Celery app was never made would publish to a broker that nobody chose."""
    celery = pytest.importorskip("celery", reason="celery is not installed: pip install 'mpesa-core[celery]'")
    using = {**SOUND, "RUNNER": None, "USE_CELERY": True}
    monkeypatch.setattr(celery, "current_app", celery.Celery("default", set_as_current=False))
    assert ["W005"] == found(using)[0]
    monkeypatch.setattr(celery, "current_app", celery.Celery("shop", set_as_current=False))
    assert [] == found(using)[0]


CREDENTIAL = {"INITIATOR_NAME": "api", "SECURITY_CREDENTIAL": "CANARY" * 10}


@pytest.mark.parametrize("where", ["itself", "an account"])
def test_a_secret_that_an_error_report_would_show(database, where):
    """Django masks settings by their names, and SECURITY_CREDENTIAL's says nothing to it; a callable is not shown."""

    def using(**more):
        given = {**CREDENTIAL, **more}
        return {**SOUND, **given} if where == "itself" else {**SOUND, "ACCOUNTS": {"till": given}}

    assert ["W006"] == found(using())[0]
    assert [] == found(using(SECURITY_CREDENTIAL=lambda: "CANARY" * 10))[0]


def test_an_error_report_shows_no_secret(database):
    """Nothing that a sound project keeps in its settings is in the page or the mail of an error."""
    names = ("CONSUMER_KEY", "CONSUMER_SECRET", "PASSKEY", "CALLBACK_SECRET", "BILLS_APP_KEY")
    secrets = {name: f"CANARY{name}" * 4 for name in names}
    keys = {name: value for name, value in secrets.items() if name != "CALLBACK_SECRET"}
    credential = {**CREDENTIAL, "SECURITY_CREDENTIAL": str}
    mpesa = {**SOUND, **secrets, **credential, "ACCOUNTS": {"till": {**keys, "SHORT_CODE": "600000"}}}
    assert [] == found(mpesa)[0]
    with override_settings(MPESA=mpesa, DEBUG=True):
        reporter = ExceptionReporter(RequestFactory().get("/"), None, None, None)
        reports = [reporter.get_traceback_html(), reporter.get_traceback_text()]
    assert ["SECURITY_CREDENTIAL" in report for report in reports] == [True, True]
    assert ["CANARY" in report for report in reports] == [False, False]


def test_every_number_has_its_line():
    """The table of the module names each check that the package makes, and no other."""
    folder = Path(checks.__file__).parent
    made = {
        number
        for file in folder.rglob("*.py")
        for number in re.findall(r'"(?:mpesa_django\.)?([EW]\d{3})"', file.read_text())
    }
    assert made == set(re.findall(r"^([EW]\d{3}) ", checks.__doc__, re.MULTILINE))
