"""The runners of task queues by name: what they need, and what a worker without an app context is told."""

from __future__ import annotations

from uuid import uuid4

import pytest

pytest.importorskip("flask")

from mpesa_core import MemoryRepository, queues
from mpesa_core.errors import ConfigurationError, MpesaError
from mpesa_flask import Mpesa
from mpesa_flask.queues import process_callback, queue_runner
from tests.flask.hosting import make_app


@pytest.mark.parametrize(("runner", "kind"), [("celery", "a Celery app"), ("rq", "an rq.Queue")])
def test_an_app_without_a_queue(runner, kind):
    """The error names what is expected, and where."""
    with pytest.raises(ConfigurationError, match=f"expected {kind} in app.extensions"):
        queue_runner(runner, make_app())


@pytest.mark.parametrize("runner", ["celery", "rq"])
def test_a_queue_that_is_not_installed(monkeypatch, runner):
    """It is told when the app is made, with the command that installs it."""
    monkeypatch.setattr(queues.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'mpesa-core\[{runner}\]'"):
        make_app(extension=Mpesa(repository=MemoryRepository(), runner=runner))


def test_a_worker_without_an_app_context():
    """A job that does not know which app it is of fails with what to do."""
    with pytest.raises(MpesaError, match=r"with app\.app_context"):
        process_callback(str(uuid4()))


def test_a_worker_in_an_app_context():
    """In one, it is that app's gateway that processes the callback."""
    with make_app().app_context():
        assert "not due" == process_callback(str(uuid4()))
