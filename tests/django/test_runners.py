"""The runners: which one works, and that its threads' connections are looked after."""

import threading

import pytest

pytest.importorskip("django")

from django.db import connections, transaction
from django.test import override_settings

from mpesa_core import queues
from mpesa_core.errors import ConfigurationError
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.tasks import InlineRunner, ThreadRunner
from mpesa_django import conf, runners
from mpesa_django import front as front_module
from tests.django.hosting import MPESA, taking_money
from tests.django.stores import Order


def factory(gateway):
    return InlineRunner(gateway.process, capacity=7)


def wrong_factory(_gateway):
    return "a runner"


def made(monkeypatch, **mpesa):
    monkeypatch.setattr(front_module, "_repository", lambda _models: MemoryRepository())
    return front_module.make_gateway(conf.read({**MPESA, "RUNNER": None, **mpesa}))


@pytest.mark.parametrize(
    ("given", "kind"), [({}, ThreadRunner), ({"RUNNER": "inline"}, InlineRunner), ({"USE_CELERY": False}, InlineRunner)]
)
def test_the_runner_of_the_settings(monkeypatch, given, kind):
    """Threads where nothing is said, inline where it is asked for in either way."""
    with made(monkeypatch, **given) as gateway:
        assert kind is type(gateway.runner)


def test_celery_is_the_runner(monkeypatch):
    """USE_CELERY = True hands callbacks to the task that Celery finds in mpesa_django.tasks."""
    pytest.importorskip("celery", reason="celery is not installed: pip install 'mpesa-core[celery]'")
    from mpesa_core.ext.celery import CeleryRunner

    with made(monkeypatch, USE_CELERY=True) as gateway:
        assert CeleryRunner is type(gateway.runner)
        assert "mpesa_django.process_callback" == gateway.runner._task.name


def test_the_tasks_framework_is_the_runner(monkeypatch):
    """RUNNER = "django_tasks" hands the id to the framework's default backend, whose task processes it."""
    if runners.tasks_framework() is None:
        pytest.skip("django-tasks is not installed: pip install 'mpesa-core[dev]'")
    seen = []
    monkeypatch.setattr(front_module.DjangoGateway, "process", lambda _self, each: seen.append(each))
    with taking_money(monkeypatch, RUNNER="django_tasks"):
        gateway = front_module.front.gateway
        callback = gateway.new_id()
        gateway.submit(callback)
        assert gateway.runner.wait(20)
    assert [callback] == seen


def test_no_tasks_framework(monkeypatch):
    """Before Django 6 it has to be installed, and the error says how."""
    monkeypatch.setattr(runners, "_FRAMEWORKS", ("nowhere",))
    with pytest.raises(ConfigurationError, match="pip install django-tasks"):
        made(monkeypatch, RUNNER="django_tasks")


def test_celery_that_is_not_installed(monkeypatch):
    """The gateway is not made without it, and the error says how to install it."""
    monkeypatch.setattr(queues.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mpesa-core\[celery\]'"):
        made(monkeypatch, USE_CELERY=True)


def test_a_factory_makes_the_runner_of_the_gateway(monkeypatch):
    """A factory gets the gateway, and what it makes is what callbacks are handed to."""
    with made(monkeypatch, RUNNER=factory) as gateway:
        assert 7 == gateway.runner._capacity
        assert gateway.runner._process == gateway.process


def test_a_factory_that_makes_something_else(monkeypatch):
    """What is no runner is refused by its type."""
    with pytest.raises(TypeError, match="made str, expected a TaskRunner"):
        made(monkeypatch, RUNNER=wrong_factory)


def test_every_job_in_a_thread_drops_old_connections(monkeypatch):
    """Before and after each callback and each sweep, in the thread that does it."""
    seen = []
    monkeypatch.setattr(runners, "close_old_connections", lambda: seen.append(threading.current_thread().name))
    with taking_money(monkeypatch, RUNNER="thread", SWEEP_INTERVAL=60):
        gateway = front_module.front.gateway
        seen.clear()
        gateway.start()
        gateway.runner.wait(5)
        gateway.submit(gateway.new_id())
        gateway.runner.wait(5)
        gateway.runner.stop()
    assert 4 == len(seen)
    assert threading.current_thread().name not in seen


def test_a_validation_drops_old_connections(monkeypatch):
    """The receivers of a validation run in a thread of the webhooks' own, before and after which it is done too."""
    seen = []
    monkeypatch.setattr(runners, "close_old_connections", lambda: seen.append(1))
    with made(monkeypatch, RUNNER="inline") as gateway:
        assert gateway.validate_c2b({"TransID": "U1"}) is None
        assert 2 == len(seen)


@pytest.mark.parametrize("database", ["django_sqlite", "django_postgres"])
def test_a_transaction_goes_on_after_a_job(request, database):
    """A connection inside of a transaction, a TestCase's among them, is not closed around a job, however old it is."""
    alias = request.getfixturevalue(database)
    with transaction.atomic(using=alias):
        Order.objects.using(alias).create(name="mine")
        connections[alias].close_at = 0
        with runners.fresh_connections():
            assert 1 == Order.objects.using(alias).count()
        assert 1 == Order.objects.using(alias).count()
        transaction.set_rollback(True, using=alias)
    before = connections[alias].connection
    with runners.fresh_connections():
        assert before is not connections[alias].connection


def test_a_command_works_in_its_own_thread(monkeypatch):
    """A command's gateway has the inline runner, whatever the settings say."""
    monkeypatch.setattr(front_module, "_repository", lambda _models: MemoryRepository())
    with override_settings(MPESA={**MPESA, "RUNNER": "thread"}), front_module.command_gateway() as gateway:
        assert isinstance(gateway.runner, InlineRunner)
