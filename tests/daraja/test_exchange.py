"""What one call does, step by step, without any I/O."""

from __future__ import annotations

import itertools
import traceback
from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
import pytest

from mpesa_core.daraja.exchange import NeedToken, Sleep, Transmit, exchange, growing_pause
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    MpesaError,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    UnexpectedAnswer,
)
from mpesa_core.settings import Secret

CONTEXT = Context(now=datetime(2026, 3, 1, tzinfo=UTC), short_code="600000")
OK = HttpResponse(status=200, body=b"ok")
TOKEN_REFUSED = HttpResponse(status=401, body=b"token")


def _parse(response: HttpResponse) -> str:
    if response.status == 401:
        raise TokenRefused("Invalid Access Token", status=401)
    if response.status == 429:
        raise Busy("Spike arrest", status=429)
    if response.status == 400:
        raise RequestRefused("Invalid Amount", status=400)
    if response.status == 500:
        raise NotYet("being processed", status=500)
    if response.body == b"odd":
        raise UnexpectedAnswer("odd", status=response.status)
    if response.body == b"bug":
        return {}["254712345678"]  # type: ignore[no-any-return]
    return response.body.decode()


@attrs.frozen
class Question:
    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    def build(self, context: Context) -> HttpRequest:
        return HttpRequest(path="/ask", headers={"X": "y"}, body=b"{}")

    def parse(self, response: HttpResponse) -> str:
        return _parse(response)


@attrs.frozen
class Payout:
    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    def build(self, context: Context) -> HttpRequest:
        return HttpRequest(path="/pay", body=b"{}")

    def parse(self, response: HttpResponse) -> str:
        return _parse(response)


def play(operation: Any, replies: list[Any], *, retries: int = 2) -> tuple[list[Any], Any]:
    """Drive the exchange with these replies, one for each step but the sleeps; the steps, and the answer or error."""
    steps = exchange(operation, CONTEXT, retries=retries)
    seen: list[Any] = []
    rest = iter(replies)
    try:
        step = next(steps)
        while True:
            seen.append(step)
            reply = None if isinstance(step, Sleep) else next(rest)
            reply = Secret(reply) if isinstance(reply, str) else reply
            step = steps.throw(reply) if isinstance(reply, Exception) else steps.send(reply)
    except StopIteration as stop:
        result = stop.value
    except MpesaError as error:
        result = error
    assert list(rest) == [], "replies that nobody asked for"
    return seen, result


def sent(steps: list[Any]) -> list[HttpRequest]:
    return [step.request for step in steps if isinstance(step, Transmit)]


def test_the_token_goes_into_the_request() -> None:
    """A call asks for a token and sends it as a bearer token beside the operation's own headers."""
    steps, answer = play(Question(), ["T1", OK])
    assert answer == "ok"
    assert steps[0] == NeedToken(None)
    assert [dict(request.headers) for request in sent(steps)] == [{"X": "y", "Authorization": "Bearer T1"}]


def test_a_request_with_its_own_authorization_needs_no_token() -> None:
    """The request for a token is sent as it is, and a refusal of it is not repeated."""

    class Keys(Question):
        def build(self, context: Context) -> HttpRequest:
            return HttpRequest(method="GET", path="/token", headers={"Authorization": "Basic x"})

    steps, answer = play(Keys(), [OK])
    assert (["ok"], 1) == ([answer], len(steps))
    steps, refused = play(Keys(), [TOKEN_REFUSED])
    assert isinstance(refused, TokenRefused)
    assert len(steps) == 1


@pytest.mark.parametrize("operation", [Question(), Payout()], ids=["question", "payout"])
def test_a_refused_token_is_renewed_once(operation: Any) -> None:
    """After a refused token a new one is asked for, naming the refused one, and the same request is sent once more."""
    steps, answer = play(operation, ["T1", TOKEN_REFUSED, "T2", OK])
    assert answer == "ok"
    assert steps[2].refused == Secret("T1")
    assert [request.headers["Authorization"] for request in sent(steps)] == ["Bearer T1", "Bearer T2"]
    assert len({request.body for request in sent(steps)}) == 1


@pytest.mark.parametrize("operation", [Question(), Payout()], ids=["question", "payout"])
def test_a_token_refused_twice_is_the_callers(operation: Any) -> None:
    """A second refusal is not repeated a third time."""
    steps, error = play(operation, ["T1", TOKEN_REFUSED, "T2", TOKEN_REFUSED])
    assert isinstance(error, TokenRefused)
    assert len(sent(steps)) == 2


def test_keys_that_are_refused_are_not_a_refused_token() -> None:
    """TokenRefused from the token request itself goes to the caller at once."""
    steps, error = play(Payout(), [TokenRefused("invalid credentials", status=400)])
    assert isinstance(error, TokenRefused)
    assert len(steps) == 1


@pytest.mark.parametrize("operation", [Question(), Payout()], ids=["question", "payout"])
@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_not_sent_is_repeated_as_often_as_it_was_said(operation: Any, retries: int) -> None:
    """NotSent is tried again ``retries`` times, with a growing pause, and says how often it was tried."""
    steps, error = play(operation, ["T1", *[NotSent("no route")] * (retries + 1)], retries=retries)
    assert isinstance(error, NotSent)
    assert (retries + 1, retries + 1) == (error.attempts, len(sent(steps)))
    pauses = [step.seconds for step in steps if isinstance(step, Sleep)]
    assert pauses == [growing_pause(attempt) for attempt in range(1, retries + 1)]


def test_not_sent_and_then_sent() -> None:
    """A payout that did not leave at first is sent when the network is back."""
    steps, answer = play(Payout(), ["T1", NotSent("a"), NotSent("b"), OK])
    assert answer == "ok"
    assert len(sent(steps)) == 3


@pytest.mark.parametrize("before", [[], [NotSent("x")], [NotSent("x"), NotSent("y")]])
@pytest.mark.parametrize("renewed", [False, True])
def test_money_of_unknown_outcome_is_never_sent_again(before: list[Exception], renewed: bool) -> None:
    """OutcomeUnknown on a payout ends the call, whatever came before it and however many retries are left."""
    start = ["T1", TOKEN_REFUSED, "T2"] if renewed else ["T1"]
    _, error = play(Payout(), [*start, *before, OutcomeUnknown("read timeout")], retries=9)
    assert isinstance(error, OutcomeUnknown)


def test_every_history_sends_money_at_most_once_after_a_byte_left() -> None:
    """Over all histories of five transmissions, a payout is repeated only after NotSent or one refused token."""
    kinds: dict[str, Any] = {"unsent": NotSent("n"), "unknown": OutcomeUnknown("u"), "refused": TOKEN_REFUSED, "ok": OK}
    kinds["busy"] = HttpResponse(status=429)
    for history in itertools.product(kinds, repeat=5):
        steps = exchange(Payout(), CONTEXT, retries=2)
        done: list[str] = []
        try:
            step: Any = next(steps)
            while True:
                if isinstance(step, Transmit):
                    done.append(history[len(done)])
                    reply = kinds[done[-1]]
                    step = steps.throw(reply) if isinstance(reply, Exception) else steps.send(reply)
                else:
                    step = steps.send(Secret("T") if isinstance(step, NeedToken) else None)
        except (StopIteration, MpesaError, IndexError):
            pass
        assert set(done[:-1]) <= {"unsent", "refused"}, done
        assert done[:-1].count("refused") <= 1, done


def test_a_question_of_unknown_outcome_is_asked_once_more() -> None:
    """A question does no harm twice: it is repeated once after OutcomeUnknown, and not a second time."""
    steps, answer = play(Question(), ["T1", OutcomeUnknown("reset"), OK])
    assert answer == "ok"
    steps, error = play(Question(), ["T1", OutcomeUnknown("reset"), OutcomeUnknown("reset")], retries=5)
    assert isinstance(error, OutcomeUnknown)
    assert len(sent(steps)) == 2
    _, error = play(Question(), ["T1", OutcomeUnknown("reset")], retries=0)
    assert isinstance(error, OutcomeUnknown)


def test_a_question_that_may_have_arrived_does_not_end_as_not_sent() -> None:
    """Once one attempt may have arrived, a later one that did not leave does not make the call unsent."""
    _, error = play(Question(), ["T1", OutcomeUnknown("reset"), *[NotSent("down")] * 2], retries=1)
    assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize("operation", [Question(), Payout()], ids=["question", "payout"])
@pytest.mark.parametrize(("status", "kind"), [(429, Busy), (400, RequestRefused), (500, NotYet)])
def test_other_refusals_are_not_repeated(operation: Any, status: int, kind: type[Exception]) -> None:
    """Busy, a refusal and "not yet" go to the caller, who knows when to try again."""
    steps, error = play(operation, ["T1", HttpResponse(status=status)])
    assert type(error) is kind
    assert len(sent(steps)) == 1


@pytest.mark.parametrize("trouble", [OutcomeUnknown("timeout"), UnexpectedAnswer("HTML", status=200), NotSent("down")])
@pytest.mark.parametrize("renewing", [False, True])
def test_without_a_token_nothing_was_sent(trouble: Exception, renewing: bool) -> None:
    """Whatever became of the token request, the payout that wanted the token did not leave."""
    steps, error = play(Payout(), (["T1", TOKEN_REFUSED] if renewing else []) + [trouble])
    assert isinstance(error, NotSent)
    assert len(sent(steps)) == int(renewing)


def test_a_fault_in_parsing_does_not_look_like_a_refusal() -> None:
    """An operation whose parse has a bug, or calls money's answer merely unexpected, leaves money's outcome unknown."""
    for body in (b"bug", b"odd"):
        _, error = play(Payout(), ["T1", HttpResponse(status=200, body=body)])
        assert isinstance(error, OutcomeUnknown)
        assert error.status == 200
        _, error = play(Question(), ["T1", HttpResponse(status=200, body=body)])
        assert isinstance(error, UnexpectedAnswer)
    _, error = play(Payout(), ["T1", HttpResponse(status=200, body=b"bug")])
    assert "Payout.parse failed on an HTTP 200 answer: KeyError at test_exchange.py:" in str(error)


def test_errors_drag_no_other_error_along() -> None:
    """The final error has no context or cause whose text could hold what the body held."""
    for operation, replies in (
        (Payout(), ["T1", HttpResponse(status=200, body=b"bug")]),
        (Payout(), ["T1", TOKEN_REFUSED, "T2", OutcomeUnknown("x")]),
        (Question(), ["T1", TOKEN_REFUSED, OutcomeUnknown("x")]),
    ):
        _, error = play(operation, replies)
        shown = "".join(traceback.format_exception(error))
        assert "During handling" not in shown
        assert "254712345678" not in shown


def test_a_missing_setting_ends_it_before_any_step() -> None:
    """What build raises comes before the first step: nothing was asked for, not even a token."""

    class Lacking(Question):
        def build(self, context: Context) -> HttpRequest:
            raise ConfigurationError(["passkey: missing"])

    steps, error = play(Lacking(), [])
    assert isinstance(error, ConfigurationError)
    assert steps == []


def test_steps_show_no_token() -> None:
    """The repr of a step holds neither the refused token nor the one being sent."""
    steps, _ = play(Payout(), ["CANARY-1", TOKEN_REFUSED, "CANARY-2", OK])
    assert "CANARY" not in repr(steps)
