"""Receivers, hooks and work in an app context, in whichever thread."""

from __future__ import annotations

import asyncio
import threading
from uuid import UUID

import pytest

pytest.importorskip("flask")

from flask import current_app, g, has_app_context, request

from mpesa_core import MemoryRepository
from mpesa_core.testing.contract import callback_draft
from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_flask import Mpesa
from mpesa_flask.surroundings import FlaskBus
from tests.flask.hosting import hearing, make_app, post

PAID = posted(c2b_confirmation())


def test_receivers_have_the_app_in_worker_threads():
    """The thread runner's threads have no request, and still the receiver finds the app and its sender."""
    app = make_app(runner="thread")
    heard = []

    def hear(sender, transaction, **_):
        heard.append((current_app._get_current_object(), sender, threading.current_thread().name))

    with hearing("payment_confirmed", hear, app):
        assert 200 == post(app, "/pay/c2b/confirm/", PAID).status_code
        assert app.extensions["mpesa"].gateway.runner.wait(10)
    app.extensions["mpesa"].gateway.close()
    [(current, sender, thread)] = heard
    assert (app, app) == (current, sender)
    assert thread.startswith("mpesa-callbacks")


def test_each_receiver_has_a_context_of_its_own():
    """What one left in it is not there for the next, and its teardown runs, with what it raised."""
    app = make_app()
    seen, torn = [], []
    app.teardown_appcontext(lambda error: torn.append((g.get("mark"), type(error).__name__)))

    def first(sender, **_):
        seen.append(g.get("mark"))
        g.mark = "one"
        raise ValueError("broken")

    def second(sender, **_):
        seen.append(g.get("mark"))
        g.mark = "two"

    with hearing("payment_confirmed", first, app), hearing("payment_confirmed", second, app):
        post(app, "/pay/c2b/confirm/", PAID)
    assert [None, None] == seen
    assert {("one", "ValueError"), ("two", "NoneType")} <= set(torn)


def test_a_receiver_that_raises_undoes_nothing(caplog):
    """M-PESA is acknowledged, the payment is settled, the next receiver hears of it, and the log quotes nothing."""
    app = make_app()
    heard = []

    def broken(sender, **_):
        raise ValueError("0712345678 is a secret")

    with (
        hearing("payment_confirmed", broken, app),
        hearing("payment_confirmed", lambda sender, transaction, **_: heard.append(transaction.status), app),
    ):
        assert 200 == post(app, "/pay/c2b/confirm/", PAID).status_code
    assert ["SUCCESS"] == heard
    assert "ValueError" in caplog.text
    assert "0712345678" not in caplog.text


def test_receivers_may_be_coroutine_functions():
    """By the app's ensure_sync, which an app may have replaced; others that return an awaitable are awaited too."""
    app = make_app()
    made, heard = [], []
    given = app.ensure_sync

    def ensure_sync(function):
        made.append(function)
        return given(function)

    app.ensure_sync = ensure_sync

    async def hear(sender, transaction, **_):
        heard.append((current_app.name, transaction.status))

    class Hears:
        async def __call__(self, sender, transaction, **_):
            heard.append((current_app.name, "object"))

    other = Hears()
    with hearing("payment_confirmed", hear, app), hearing("payment_confirmed", other, app):
        post(app, "/pay/c2b/confirm/", PAID)
    assert {("shop", "SUCCESS"), ("shop", "object")} == set(heard)
    assert hear in made


def test_coroutine_functions_hear_of_what_a_coroutine_view_does():
    """A view that is a coroutine has an event loop in its thread: its receivers are run to their end all the same."""
    mpesa = Mpesa(repository=MemoryRepository(), runner="inline")
    app, heard = make_app(extension=mpesa), []

    @app.post("/settle")
    async def settle():
        mpesa.replay(UUID(request.args["callback"]))
        return "done"

    async def hear(sender, transaction, **_):
        await asyncio.sleep(0)
        heard.append((current_app.name, request.path, "function"))

    class Hears:
        async def __call__(self, sender, transaction, **_):
            heard.append((current_app.name, request.path, "object"))

    callback = callback_draft(callback_type="C2B_CONFIRMATION", raw_bytes=PAID, correlation_id="NLJ7RT61SV")
    other = Hears()
    with hearing("payment_confirmed", hear, app), hearing("payment_confirmed", other, app):
        with app.app_context():
            mpesa.repository.add_callback(callback)
        assert b"done" == app.test_client().post(f"/settle?callback={callback.id}").data
    assert {("shop", "/settle", "function"), ("shop", "/settle", "object")} == set(heard)


def test_a_bus_in_an_event_loop():
    """Where an AsyncGateway of the host's has the app's bus, receivers have the app in their context too."""
    app, heard = make_app(), []

    async def hear(sender, transaction, **_):
        heard.append((current_app.name, transaction))

    with hearing("payment_confirmed", hear, app):
        asyncio.run(FlaskBus(app).adeliver("payment_confirmed", {"transaction": 1}))
    assert [("shop", 1)] == heard


def test_validations_are_asked_in_an_app_context():
    """They have a thread of their own, for the deadline."""
    app = make_app()

    def reject(sender, raw_payload, **_):
        return {"ResultCode": "C2B00012", "ResultDesc": current_app.name}

    with hearing("c2b_validation_received", reject, app):
        answer = post(app, "/pay/c2b/validate/", PAID)
    assert {"ResultCode": "C2B00012", "ResultDesc": "shop"} == answer.get_json()


class Watching(MemoryRepository):
    """A store on the host's own session, which needs an app."""

    def __init__(self):
        super().__init__()
        self.inside = []

    def change_callback(self, *arguments, **options):
        self.inside.append(has_app_context())
        return super().change_callback(*arguments, **options)


@pytest.mark.parametrize("runner", ["inline", "thread"])
def test_the_store_and_the_hooks_have_an_app_context(runner):
    """Also after the response, when the request's own is gone, and in threads; resolve_c2b gives the host's fields."""
    store = Watching()
    asked = []

    def resolve(callback):
        asked.append(current_app.name)
        return {"order": 41}

    app = make_app(repository=store, runner=runner, resolve_c2b=resolve)
    orders = []
    with hearing("payment_confirmed", lambda sender, transaction, **_: orders.append(transaction.host["order"]), app):
        post(app, "/pay/c2b/confirm/", PAID)
        gateway = app.extensions["mpesa"].gateway
        if runner == "thread":
            assert gateway.runner.wait(10)
    gateway.close()
    assert ([41], ["shop"]) == (orders, asked)
    assert store.inside
    assert all(store.inside)
