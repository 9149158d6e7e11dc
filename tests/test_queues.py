"""What all task queues share: publishing never holds anybody up, and a job tells its queue no more than it may."""

from __future__ import annotations

import logging
import threading
from uuid import UUID, uuid4

import pytest

from mpesa_core.errors import MpesaError, StorageError, StorageUnavailable
from mpesa_core.queues import QueueRunner, process_job, sweep_job
from mpesa_core.settlement.engine import Closed
from mpesa_core.settlement.recovery import Recovered

ID = UUID("5f0c1b1e-7a52-4c43-9a3e-0d2f6c1b8e11")


@pytest.fixture
def runner():
    """A runner with what was published, and what holds its broker up."""
    made = QueueRunner(lambda each: (made.open.wait(20), made.published.append(each)), capacity=2)
    made.open, made.published = threading.Event(), []
    yield made
    made.open.set()
    made.stop()


def test_a_callback_is_published_as_text(runner):
    """The job is the id and nothing else."""
    runner.open.set()
    assert runner.submit(ID) is None
    assert runner.wait(20)
    assert [str(ID)] == runner.published


def test_a_broker_that_hangs_holds_nobody_up(runner):
    """Submitting returns while the broker answers nothing, however many callbacks come; what is too much is let go."""
    for _ in range(10):
        runner.submit(uuid4())
    assert [] == runner.published
    runner.open.set()
    assert runner.wait(20)
    assert 1 <= len(runner.published) <= 3  # the one under way, and two that waited


def test_a_broker_that_is_down_is_a_line_in_the_log(caplog):
    """What cannot be published raises nothing, and its line quotes nothing of the broker's."""

    def refuse(_id):
        raise ConnectionError("redis://user:password@broker")

    runner = QueueRunner(refuse)
    with caplog.at_level(logging.WARNING):
        runner.submit(ID)
        assert runner.wait(20)
    runner.stop()
    (line,) = caplog.messages
    assert line.startswith(f"Callback {ID} got no job and is left to the sweep: ConnectionError at test_queues.py")
    assert "password" not in line


def test_what_was_submitted_is_published_at_the_end(runner):
    """Stopping publishes what waits, and nothing is taken after it."""
    runner.open.set()
    runner.start()
    runner.submit(ID)
    runner.stop()
    runner.submit(uuid4())
    assert [str(ID)] == runner.published


def test_a_job_says_what_became_of_its_callback():
    """In one word, for the queue's log."""
    seen = []
    assert "not due" == process_job(seen.append, str(ID))
    assert "Closed" == process_job(lambda _id: Closed("duplicate"), str(ID))
    assert [ID] == seen


def test_a_job_with_no_id():
    """What is no id is refused by its text."""
    with pytest.raises(ValueError, match="badly formed"):
        process_job(print, "nothing")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(StorageUnavailable("row of 254712345678"), StorageError), (KeyError("254712345678"), MpesaError)],
)
def test_a_job_that_fails_quotes_nothing(raised, kind):
    """A queue keeps what its jobs raise, so no phone number is in it, nor in what it was raised from."""

    def fail(_id):
        raise raised

    with pytest.raises(MpesaError) as caught:
        process_job(fail, str(ID))
    assert kind is type(caught.value)
    assert type(raised).__name__ in str(caught.value)
    assert "254712345678" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_sweep_says_what_it_did():
    """Its result is for the queue's log, and what it raises quotes nothing."""
    assert repr(Recovered(callbacks=3)) == sweep_job(lambda: Recovered(callbacks=3))
    with pytest.raises(MpesaError, match="goes on with the next round: ZeroDivisionError"):
        sweep_job(lambda: 1 / 0)
