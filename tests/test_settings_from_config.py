"""The settings in an app's configuration."""

from __future__ import annotations

import pytest

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import Settings


def problems(config):
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config(config)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "config",
    [
        {"MPESA_SHORT_CODE": "174379", "MPESA_STK_DEADLINE": 60, "DEBUG": True},
        {"MPESA": {"SHORT_CODE": "174379", "STK_DEADLINE": 60}, "DEBUG": True},
        {"MPESA": {"short_code": "174379", "stk_deadline": 60}},
    ],
    ids=["keys", "a mapping", "lower case"],
)
def test_the_forms_mean_the_same(config):
    """Keys of the app, or one mapping; other keys are the host's."""
    found = Settings.from_config(config)
    assert ("174379", 60.0) == (found.short_code, found.stk_deadline)


def test_settings_may_stand_there_already():
    """Those of the environment, say: they are taken as they are."""
    settings = Settings.from_environ({"MPESA_SHORT_CODE": "174379", "MPESA_CALLBACK_IP_ALLOWLIST": "127.0.0.1"})
    assert settings is Settings.from_config({"MPESA": settings})


def test_nothing_is_needed_to_receive():
    """Without any key the settings are the defaults."""
    assert Settings.from_config({}).short_code is None


@pytest.mark.parametrize("till", [{"SHORT_CODE": "300584"}, {"short_code": "300584"}])
def test_accounts_are_written_as_the_rest(till):
    """Their names stay as they are, their settings in upper or lower case."""
    assert "300584" == Settings.from_config({"MPESA_ACCOUNTS": {"Till": till}}).account("Till").short_code


def test_every_problem_comes_at_once_under_its_key():
    """Unknown keys with the nearest known one, and wrong values, as the host wrote them."""
    found = problems({"MPESA_SHORTCODE": "174379", "MPESA_SHORT_CODE": "17", "MPESA_MAX_BODY_BYTES": 0})
    assert ["MPESA_MAX_BODY_BYTES", "MPESA_SHORTCODE", "MPESA_SHORT_CODE"] == sorted(
        each.split(":")[0] for each in found
    )
    assert any("did you mean MPESA_SHORT_CODE?" in each for each in found)


def test_a_mapping_has_its_own_names_in_problems():
    """Without the prefix that its names do not have."""
    [found] = problems({"MPESA": {"SHORTCODE": "174379"}})
    assert found.startswith("SHORTCODE: ")
    assert "did you mean SHORT_CODE?" in found


def test_both_forms_are_refused():
    """One could contradict the other; the message names the keys."""
    [found] = problems({"MPESA": {}, "MPESA_PASSKEY": "hunter2", "MPESA_SHORT_CODE": "174379"})
    assert "MPESA_PASSKEY, MPESA_SHORT_CODE" in found
    assert "hunter2" not in found


def test_a_name_given_twice_is_refused():
    """In two cases it could have two values."""
    assert ["PASSKEY: given twice, in upper and lower case"] == problems({"MPESA": {"PASSKEY": "a", "passkey": "b"}})


@pytest.mark.parametrize("value", [None, "sandbox", 7])
def test_what_is_no_mapping_is_told(value):
    """Its kind and what was expected."""
    assert [f"MPESA: got {type(value).__name__}, expected a mapping of names to values, or Settings"] == problems(
        {"MPESA": value}
    )
