"""The ``MPESA`` dict: what it becomes, and what is said of everything that is wrong in it."""

import pytest

pytest.importorskip("django")

from mpesa_core.errors import ConfigurationError
from mpesa_core.tasks import InlineRunner
from mpesa_django import conf
from tests.django import hosting


def problems_of(mapping):
    with pytest.raises(ConfigurationError) as caught:
        conf.read(mapping)
    return list(caught.value.problems)


def test_every_core_setting_is_known_in_upper_case():
    """Core settings are given in upper case, secrets as callables, an account's likewise."""
    found = conf.read(
        {"SHORT_CODE": "174379", "PASSKEY": lambda: "key", "ACCOUNTS": {"till": {"SHORT_CODE": "600000"}}}
    )
    assert "174379" == found.core.short_code
    assert "key" == found.core.passkey.reveal()
    assert "600000" == found.core.account("till").short_code


def test_everything_wrong_is_told_at_once():
    """Unknown names, wrong values, wrong models and unloadable functions come in one error, each by its name."""
    found = problems_of(
        {
            "SHORT_COD": "174379",
            "short_code": "174379",
            "TRANSACTION_MODLE": "shop.Payment",
            "MAX_BODY_BYTES": 0,
            "CALLBACK_LOG_MODEL": "Callback",
            "RESOLVE_C2B": "nowhere.at_all",
            "RUNNER": "threads",
            "ACCOUNTS": {"till": {"SHORT_COD": "600000"}},
        }
    )
    assert ["SHORT_COD: no such setting; did you mean SHORT_CODE?"] == [p for p in found if p.startswith("SHORT_COD:")]
    assert any(p.startswith("short_code: no such setting; did you mean SHORT_CODE?") for p in found)
    assert any("did you mean TRANSACTION_MODEL?" in p for p in found)
    assert any(p.startswith("MAX_BODY_BYTES: got 0") for p in found)
    assert any(p.startswith("CALLBACK_LOG_MODEL: got 'Callback'") for p in found)
    assert any(p.startswith("RESOLVE_C2B: 'nowhere.at_all' cannot be imported") for p in found)
    assert any(p.startswith("RUNNER: 'threads' cannot be imported") for p in found)
    assert any(
        "ACCOUNTS['till'].SHORT_COD: no such setting of an account; did you mean SHORT_CODE?" in p for p in found
    )
    assert 8 == len(found)


@pytest.mark.parametrize("given", [None, "x", [("SHORT_CODE", "174379")]])
def test_what_is_no_dict_is_refused(given):
    """Anything but a mapping is named by its type."""
    assert [f"MPESA: got {type(given).__name__}, expected a dict of names to values"] == problems_of(given)


@pytest.mark.parametrize(
    ("given", "runner"),
    [
        ({}, "thread"),
        ({"USE_CELERY": False}, "inline"),
        ({"USE_CELERY": True}, "celery"),
        ({"USE_CELERY": True, "RUNNER": "celery"}, "celery"),
        ({"RUNNER": "inline"}, "inline"),
        ({"RUNNER": "thread"}, "thread"),
    ],
)
def test_the_runner_that_is_chosen(given, runner):
    """Threads by default; USE_CELERY = False is RUNNER = 'inline', and True is 'celery'."""
    assert runner == conf.read(given).runner


def test_a_runner_by_its_dotted_path():
    """A dotted path leads to the factory itself."""
    assert InlineRunner is conf.read({"RUNNER": "mpesa_core.tasks.InlineRunner"}).runner


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"USE_CELERY": False, "RUNNER": "thread"}, "got 'thread' while USE_CELERY is False, which means 'inline'"),
        ({"USE_CELERY": True, "RUNNER": "inline"}, "got 'inline' while USE_CELERY is True, which means 'celery'"),
        ({"USE_CELERY": "yes"}, "got 'yes', expected True or False"),
        ({"USE_CELERY": []}, "got [], expected True or False"),
        ({"RUNNER": []}, "got [], expected 'thread', 'inline', 'celery', 'django_tasks' or a factory"),
    ],
)
def test_runner_and_use_celery_at_odds(given, word):
    """USE_CELERY beside a runner that is another one is refused, and so is what is neither True nor False."""
    (problem,) = problems_of(given)
    assert word in problem


def test_the_dict_is_read_anew_when_it_is_overridden():
    """A test's override counts at once."""
    with hosting.override_settings(MPESA={"SHORT_CODE": "600000"}):
        assert "600000" == conf.configuration().core.short_code
    assert conf.configuration().core.short_code is None
