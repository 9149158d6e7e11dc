"""The extension: factories, several apps, and the gateway of the current one."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("flask")

from flask import Flask

import mpesa_flask
from mpesa_core import Gateway, MemoryRepository, SqliteRepository
from mpesa_core.errors import ConfigurationError
from mpesa_core.tasks import InlineRunner, ThreadRunner
from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_flask import Mpesa, callbacks
from tests.flask.hosting import SAFARICOM, SETTINGS, hearing, make_app, post

PAID = posted(c2b_confirmation())


def received(app):
    """How many callbacks the app's store has."""
    with app.app_context():
        return len(app.extensions["mpesa"].repository._callbacks)


def test_a_view_gets_the_apps_gateway():
    """Each attribute of the extension is that of the current app's gateway, which is made once."""
    mpesa = Mpesa(repository=MemoryRepository(), runner="inline")
    app = make_app(extension=mpesa)
    with app.app_context():
        assert isinstance(mpesa.gateway, Gateway)
        assert mpesa.gateway is mpesa.gateway
        assert mpesa.gateway.stk_push == mpesa.stk_push
        assert "174379" == mpesa.settings.short_code
        assert app is mpesa.bus.sender


def test_the_app_may_be_given_at_once():
    """As in a program of one file."""
    app = Flask("shop")
    app.config["MPESA_SHORT_CODE"] = "174379"
    mpesa = Mpesa(app, repository=MemoryRepository(), runner="inline")
    with app.app_context():
        assert "174379" == mpesa.settings.short_code


def test_outside_of_an_app_context_it_says_what_to_do():
    """And it can be inspected all the same."""
    mpesa = Mpesa(repository=MemoryRepository())
    make_app(extension=mpesa)
    with pytest.raises(RuntimeError, match="no telling which app's gateway is meant"):
        mpesa.stk_push(phone_number="0712345678", amount=1, account_reference="A")
    assert not hasattr(mpesa, "__wrapped__")
    assert "stk_push" in dir(mpesa)


def test_an_app_that_was_not_initialised_is_named():
    """Instead of a KeyError."""
    with Flask("other").app_context(), pytest.raises(RuntimeError, match=r"'other'.*init_app"):
        Mpesa(repository=MemoryRepository()).gateway  # noqa: B018 - the access is what is tested


def test_an_app_is_initialised_once():
    """Two gateways of one app would work on the same callbacks by different settings."""
    with pytest.raises(RuntimeError, match="before"):
        Mpesa(make_app(), repository=MemoryRepository())


def test_a_repository_is_asked_for():
    """A store in memory by default would lose payments."""
    with pytest.raises(ConfigurationError, match="repository: not given"):
        Mpesa(Flask("shop"))


def test_a_repository_is_made_of_the_app_once(tmp_path):
    """In an app context, when it is first needed, as one on the host's own database wants."""
    made = []

    def make(app):
        from flask import current_app

        made.append(current_app.config["PAYMENTS"])
        return SqliteRepository(app.config["PAYMENTS"], synchronous="OFF")

    mpesa = Mpesa(repository=make, runner="inline")
    app = make_app(extension=mpesa)
    app.config["PAYMENTS"] = tmp_path / "payments.sqlite3"
    assert [] == made
    assert [200, 200] == [post(app, "/pay/stk/callback/").status_code for _ in range(2)]
    assert [tmp_path / "payments.sqlite3"] == made
    app.extensions["mpesa"].repository.close()


def test_threads_that_come_first_get_one_gateway():
    """At the same moment, and the repository is made once too."""
    made, barrier = [], threading.Barrier(8)

    def make(_app):
        time.sleep(0.05)  # the others come meanwhile
        made.append(MemoryRepository())
        return made[-1]

    state = make_app(repository=make).extensions["mpesa"]

    def come(_):
        barrier.wait()
        return state.gateway

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(come, range(8)))
    assert (1, {got[0]}) == (len(made), set(got))
    assert made[0] is got[0].repository


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tried here
def test_a_fork_while_a_thread_makes_the_gateway():
    """The lock that the parent's thread holds is not the child's, which makes a gateway of its own."""
    making, go_on = threading.Event(), threading.Event()

    def make(_app):
        if not making.is_set():
            making.set()
            go_on.wait(30)
        return MemoryRepository()

    state = make_app(repository=make).extensions["mpesa"]
    thread = threading.Thread(target=lambda: state.gateway)
    thread.start()
    assert making.wait(10)
    child = os.fork()
    if not child:
        threading.Thread(target=lambda: (time.sleep(10), os._exit(1)), daemon=True).start()
        os._exit(0 if state.gateway is state.gateway else 1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go_on.set()
    thread.join()
    assert 0 == ended


def test_what_is_no_repository_is_told():
    """By what it is and what was expected."""
    app = make_app(repository=lambda app: None)
    with app.app_context(), pytest.raises(ConfigurationError, match="the function made NoneType"):
        app.extensions["mpesa"].gateway  # noqa: B018 - the access is what is tested


def test_two_apps_do_not_see_each_other():
    """One extension, two apps with different settings and stores: neither has anything of the other's."""
    mpesa = Mpesa(runner="inline")
    strict = make_app("strict", SETTINGS, mpesa, repository=MemoryRepository())
    open_ = make_app(
        "open", {"SHORT_CODE": "600000", "VERIFY_CALLBACK_SOURCE_IP": False}, mpesa, repository=MemoryRepository()
    )
    heard = []
    with (
        hearing("payment_confirmed", lambda sender, **_: heard.append(sender.name), strict),
        hearing("payment_confirmed", lambda sender, **_: heard.append(sender.name), open_),
    ):
        assert 403 == post(strict, "/pay/c2b/confirm/", PAID, peer="203.0.113.9").status_code
        assert 200 == post(open_, "/pay/c2b/confirm/", PAID, peer="203.0.113.9").status_code
    assert ["open"] == heard
    codes = []
    for app in (strict, open_):
        with app.app_context():
            codes.append((mpesa.settings.short_code, mpesa.runner is app.extensions["mpesa"].gateway.runner))
    assert [("174379", True), ("600000", True)] == codes
    assert [1, 1] == [received(app) for app in (strict, open_)]
    assert not {"gateway", "settings", "app", "_app"} & set(vars(mpesa))


@pytest.mark.parametrize(
    ("settings", "options", "path"),
    [
        (SETTINGS, {}, "/pay/stk/callback/"),
        ({"CALLBACK_BASE_URL": "https://shop.example/a/b"}, {}, "/a/b/stk/callback/"),
        ({"CALLBACK_BASE_URL": "https://shop.example"}, {}, "/stk/callback/"),
        ({}, {}, "/pay/stk/callback/"),
        (SETTINGS, {"url_prefix": "/money/"}, "/money/stk/callback/"),
        (SETTINGS, {"url_prefix": ""}, "/stk/callback/"),
    ],
    ids=["base", "deep", "root", "default", "given", "given root"],
)
def test_the_callbacks_are_served_where_they_are_sent(settings, options, path):
    """Below the path of callback_base_url, unless the host says where."""
    assert 200 == post(make_app(settings=settings, **options), path).status_code


def test_the_host_may_register_the_blueprint():
    """Where it pleases."""
    app = make_app(blueprint=False)
    assert 404 == post(app, "/pay/stk/callback/").status_code
    other = make_app("other", blueprint=False)
    other.register_blueprint(callbacks, url_prefix="/till")
    assert 200 == post(other, "/till/stk/callback/").status_code


# --- runners


@pytest.mark.parametrize(("word", "kind"), [("inline", InlineRunner), ("thread", ThreadRunner)])
def test_runners_by_name(word, kind):
    """They are the core's."""
    app = make_app(runner=word)
    assert isinstance(app.extensions["mpesa"].gateway.runner, kind)


class Queue:
    """A task runner that keeps the ids."""

    def __init__(self):
        self.ids = []
        self.started = 0

    def submit(self, callback_id):
        self.ids.append(callback_id)

    def start(self):
        self.started += 1

    def stop(self, *, wait=True):
        pass


@pytest.mark.parametrize("made", [False, True], ids=["given", "made of the app"])
def test_a_task_runner_gets_the_callbacks(made):
    """It is started with the process's first request, once, and handed each callback's id."""
    queue = Queue()
    app = make_app(runner=(lambda app: queue) if made else queue)
    assert 0 == queue.started
    assert [200, 200] == [post(app, "/pay/stk/callback/").status_code for _ in range(2)]
    assert (1, 2) == (queue.started, len(queue.ids))


@pytest.mark.parametrize("runner", ["threads", "Celery"])
def test_an_unknown_runner_is_told_at_once(runner):
    """When the app is made, not with the first callback."""
    with pytest.raises(ConfigurationError, match=f"runner: got '{runner}'"):
        make_app(runner=runner)


def test_what_is_no_runner_is_told():
    """By what it is."""
    app = make_app(runner=7)
    with pytest.raises(ConfigurationError, match="runner: got int"):
        app.extensions["mpesa"].gateway  # noqa: B018 - the access is what is tested


def test_any_request_starts_the_thread_runner():
    """Recovery goes on in a process that serves pages, although no callback ever comes to it."""
    app = make_app(runner="thread")
    app.add_url_rule("/", view_func=lambda: "a page")
    state = app.extensions["mpesa"]
    assert not state.gateway.runner.running
    assert 200 == app.test_client().get("/").status_code
    assert state.gateway.runner.running
    state.gateway.close()
    assert 200 == app.test_client().get("/").status_code
    assert not state.gateway.runner.running


def test_another_apps_requests_are_none_of_ours():
    """An app without the extension serves its pages beside one that has it."""
    make_app()
    other = Flask("other")
    other.add_url_rule("/", view_func=lambda: "hello")
    assert b"hello" == other.test_client().get("/").data


def test_a_page_does_not_go_down_with_the_store(caplog):
    """What keeps recovery from starting is logged, and tried again with the next request."""
    failures = [OSError("the database is away: secret")]

    def make(app):
        if failures:
            raise failures.pop()
        return MemoryRepository()

    app = make_app(repository=make)
    app.add_url_rule("/", view_func=lambda: "a page")
    assert 200 == app.test_client().get("/").status_code
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text
    caplog.clear()
    assert 200 == app.test_client().get("/").status_code
    assert "" == caplog.text
    assert 200 == post(app, "/pay/stk/callback/", peer=SAFARICOM).status_code


def test_the_adapter_is_thin():
    """What is not Flask's own is the core's: the package stays under 600 lines."""
    folder = Path(mpesa_flask.__file__).parent
    assert sum(len(file.read_text("utf-8").splitlines()) for file in folder.glob("*.py")) < 600
