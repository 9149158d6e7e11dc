"""A payment through Flask: from a view to the receiver, with the callback posted to a real server."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from uuid import UUID

import pytest

pytest.importorskip("flask")

from mpesa_core import SqliteRepository
from mpesa_core.sandbox import DarajaServer, LocalDaraja, post_over_http
from mpesa_flask import Mpesa
from tests.flask.hosting import hearing, make_app, served


def free_port():
    """The callback URL has to be known before the server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_from_the_prompt_to_the_paid_order(tmp_path, runner):
    """A view asks for the money, the local Daraja reports over HTTP, and the payment is settled and announced once.

    Eight more copies of the callback, posted at once, change nothing.
    """
    heard, paid = [], threading.Event()

    def hear(sender, transaction, **_):
        heard.append((sender.name, transaction.host["order"], transaction.account_reference))
        paid.set()

    mpesa = Mpesa(repository=lambda app: SqliteRepository(tmp_path / "payments.sqlite3"), runner=runner)
    daraja, port = LocalDaraja(), free_port()
    with DarajaServer(daraja) as server:
        given = {
            **daraja.settings(server.base_url),
            "callback_base_url": f"http://127.0.0.1:{port}/pay/",
            "callback_ip_allowlist": ["127.0.0.1"],
        }
        app = make_app(settings=given, extension=mpesa)

        @app.post("/order/<int:order>/pay")
        def pay(order):
            payment = mpesa.stk_push(phone_number="0712345678", amount=100, account_reference="INV-1", order=order)
            return {"id": str(payment.id), "status": payment.status}

        with served(app, port), hearing("payment_confirmed", hear, app):
            asking = urllib.request.Request(f"http://127.0.0.1:{port}/order/41/pay", data=b"", method="POST")
            with urllib.request.urlopen(asking, timeout=10) as answer:
                payment = json.load(answer)
            assert paid.wait(20)
            [done] = daraja.posted
            copies = [
                threading.Thread(target=post_over_http, args=(done.posting.url, done.posting.body)) for _ in range(8)
            ]
            for copy in copies:
                copy.start()
            for copy in copies:
                copy.join(20)
        state = app.extensions["mpesa"]
        state.gateway.close()
        row = state.repository.get(UUID(payment["id"]))
        state.repository.close()
    assert payment["status"] in {"PROCESSING", "SUCCESS"}  # the callback may be faster than the answer
    assert [("shop", 41, "INV-1")] == heard
    assert ("SUCCESS", 1) == (row.status, row.generation)
    assert 200 == done.status
