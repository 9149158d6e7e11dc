"""Callbacks on an ASGI server: uvicorn, with the rows in PostgreSQL."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

pytest.importorskip("django")
pytest.importorskip(
    "celery", reason="celery is not installed: pip install 'mpesa-core[celery]'"
)  # the shop's app has it
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'mpesa-core[dev]'")

from mpesa_core.testing.payloads import c2b_confirmation, posted
from tests.servers.program import running, until
from tests.servers.starting import free_port

RECEIPTS = [f"NLJ7RT61S{letter}" for letter in "ABCDE"]


@pytest.fixture(params=["thread", "inline"])
def server(request, tmp_path, postgres, postgres_database):
    """The port of the shop, with either runner."""
    port = free_port()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.django.queueshop.settings",
        "SHOP_DATABASE_PORT": str(postgres.port),
        "SHOP_DATABASE": postgres_database,
        "SHOP_MPESA": f'{{"RUNNER": "{request.param}"}}',
    }
    with running("-m", "django", "migrate", "--verbosity=0", folder=tmp_path, environment=environment) as migration:
        assert 0 == migration.await_end(), migration.told
    command = (
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "tests.django.queueshop.asgi:application",
    )
    with running(*command, folder=tmp_path, environment=environment) as program:
        program.await_port(port)
        yield port
        assert "" == program.told


def test_duplicates_settle_once(server, tmp_path):
    """Eight posts of each payment at once are all acknowledged, and each payment is announced once."""

    def post(receipt):
        with closing(http.client.HTTPConnection("127.0.0.1", server, timeout=20)) as connection:
            body = posted(c2b_confirmation(receipt=receipt))
            connection.request("POST", "/pay/c2b/confirm/", body, {"Content-Type": "application/json"})
            return connection.getresponse().status

    with ThreadPoolExecutor(8) as pool:
        assert [200] * 40 == list(pool.map(post, RECEIPTS * 8))

    def heard():
        file = tmp_path / "heard"
        return sorted(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else []

    until(lambda: len(heard()) >= len(RECEIPTS), heard)
    assert RECEIPTS == heard()
