"""``mpesa register-urls``, against the local Daraja over HTTP."""

from __future__ import annotations

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.sandbox import DarajaServer, LocalDaraja


def environ_of(daraja, base_url):
    given = {**daraja.settings(base_url), "callback_base_url": "http://127.0.0.1:9/pay/"}
    names = ("environment", "consumer_key", "consumer_secret", "short_code", "callback_base_url")
    return {f"MPESA_{name.upper()}": given[name] for name in names}


def test_the_urls_of_the_settings_are_registered(mpesa, stored):
    """Both, below callback_base_url, with what is to happen where nobody answers."""
    daraja = LocalDaraja()
    with DarajaServer(daraja) as server:
        done = mpesa(
            "register-urls",
            "--response-type",
            "Cancelled",
            "--database",
            stored.path,
            **environ_of(daraja, server.base_url),
        )
    assert (0, "Registered the URLs of the account default.\n") == (done.exit_code, done.stdout)
    made = daraja._mpesa.registered["174379"]
    assert "Cancelled" == made.response_type
    assert made.confirmation_url.startswith("http://127.0.0.1:9/pay/c2b/confirm/")


def test_what_cannot_be_registered_is_told(mpesa, stored):
    """Exit status 1, without a traceback."""
    done = mpesa("register-urls", "--database", stored.path, "--account", "till")
    assert (1, True) == (done.exit_code, "no such account" in done.stderr)
