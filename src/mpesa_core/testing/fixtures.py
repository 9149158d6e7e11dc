"""Pytest fixtures for the tests of a program that takes or sends money.

In your ``conftest.py``::

    pytest_plugins = ["mpesa_core.testing.fixtures"]

``mpesa`` is a gateway in memory over a local Daraja in the same process: nothing is sent anywhere, no thread runs, and
callbacks arrive when you say so::

    def test_order_is_paid(mpesa, local_daraja):
        payment = mpesa.stk_push(phone_number="0712345678", amount=100, account_reference="INV-1")
        local_daraja.run_until_idle()
        assert mpesa.get(payment).status == "SUCCESS"
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.gateway import Gateway
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import DarajaServer, LocalDaraja, post_over_http
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, Webhooks

__all__ = ["daraja_server", "local_daraja", "mpesa", "mpesa_settings", "mpesa_webhooks"]

_PREFIX: Final = "/pay/"
_SOURCE: Final = "196.201.214.200"


class _Route:
    """Where the local Daraja posts: to the test's own gateway where there is one, else over HTTP."""

    def __init__(self) -> None:
        self.webhooks: Webhooks | None = None

    def __call__(self, url: str, body: bytes) -> HttpResponse:
        if self.webhooks is None:
            return post_over_http(url, body)
        path = urlsplit(url).path.removeprefix(_PREFIX)
        response = self.webhooks.receive(WebhookRequest(method="POST", path=path, body=body, peer=_SOURCE))
        if response.after is not None:
            response.after()
        return HttpResponse(status=response.status, headers=dict(response.headers), body=response.body)


@pytest.fixture
def _callback_route() -> _Route:
    return _Route()


@pytest.fixture
def local_daraja(_callback_route: _Route) -> LocalDaraja:
    """A local Daraja of this test's own. Choose what happens with ``when`` and ``script``, and see ``ledger``."""
    return LocalDaraja(post=_callback_route)


@pytest.fixture
def daraja_server(local_daraja: LocalDaraja) -> Iterator[DarajaServer]:
    """The same Daraja as an HTTP server on a free port of loopback, which delivers its callbacks by itself."""
    with DarajaServer(local_daraja) as server:
        yield server


@pytest.fixture
def mpesa_settings(local_daraja: LocalDaraja) -> Settings:
    """Settings of the local Daraja's organisation; override this fixture to change them."""
    return Settings(**local_daraja.settings(), callback_base_url=f"https://shop.example{_PREFIX}")


@pytest.fixture
def mpesa(local_daraja: LocalDaraja, mpesa_settings: Settings, _callback_route: _Route) -> Iterator[Gateway]:
    """A gateway in memory over the local Daraja; its callbacks are processed as they are delivered.

    Its signals have a sender of their own: connect receivers without a sender, or with ``sender=mpesa.bus.sender``.
    """
    client = DarajaClient.over(local_daraja.handle, mpesa_settings)
    with Gateway(mpesa_settings, MemoryRepository(), client=client, runner="inline", sender=object()) as gateway:
        _callback_route.webhooks = Webhooks(gateway)
        yield gateway


@pytest.fixture
def mpesa_webhooks(mpesa: Gateway) -> Webhooks:
    """The webhooks of that gateway, for posting bodies of your own (see :mod:`mpesa_core.testing.payloads`)."""
    return Webhooks(mpesa)
