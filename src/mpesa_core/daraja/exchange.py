"""One call to Daraja from beginning to end, as a generator: the token, its renewal, what is repeated and what never is.

Both clients drive the same generator, so that what may be repeated is decided, and tested, in one place. It yields what
it wants done and is resumed with the result, or has the error thrown in::

    NeedToken(refused)   -> the access token, as a Secret; any error: nothing of this call has left
    Transmit(request)    -> HttpResponse; NotSent or OutcomeUnknown is thrown in
    Sleep(seconds)       -> None

The rules:

- ``NotSent`` is repeated, up to ``retries`` times, with a growing pause: no byte had left.
- ``OutcomeUnknown`` of an operation that moves money is never repeated. Any other operation is asked once more.
- ``TokenRefused`` gets a new token and the request is sent once more, also one that moves money: the gateway looks at
  the token before it looks at the request.
- Every other answer, a refusal for being too busy among them, goes to the caller as it is.
- A token that could not be had means that the call itself was not sent, whatever became of the token request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from mpesa_core.errors import MpesaError, NotSent, OutcomeUnknown, TokenRefused, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse, Operation
    from mpesa_core.settings import Secret

__all__ = ["NeedToken", "Sleep", "Step", "Transmit", "exchange", "growing_pause"]

T = TypeVar("T")


@attrs.frozen
class NeedToken:
    """Wanted: an access token.

    Attributes:
        refused: the token that Daraja has just refused, which must not be given again; None for the first.
    """

    refused: Secret | None = None


@attrs.frozen
class Transmit:
    """Wanted: the response to this request, which is complete but for the host."""

    request: HttpRequest


@attrs.frozen
class Sleep:
    """Wanted: a pause.

    Attributes:
        seconds: how long.
    """

    seconds: float


Step = NeedToken | Transmit | Sleep


def growing_pause(attempt: int) -> float:
    """Seconds to wait after the attempt of that number (from 1): 0.5, 1, 2, 4, and 8 from then on."""
    return min(0.5 * 2.0 ** (attempt - 1), 8.0)


def exchange(
    operation: Operation[T],
    context: Context,
    *,
    retries: int,
    pause: Callable[[int], float] = growing_pause,
) -> Generator[Step, Any, T]:
    """Everything that one call takes; see the module for the steps that it yields.

    A request that brings its own ``Authorization`` (the one for a token) is sent as it is.

    Args:
        operation: what to do.
        context: the account and the moment.
        retries: how often a request that provably did not leave is tried again.
        pause: attempt number, from 1 -> seconds to wait before the next.

    Returns:
        What ``operation.parse`` makes of the response.

    Raises:
        ConfigurationError: the account lacks something; nothing was sent.
        NotSent: no byte left, or no token could be had; ``attempts`` says how often it was tried.
        OutcomeUnknown: it may have been carried out.
        DarajaError: Daraja said no.
        UnexpectedAnswer: the answer to a question could not be understood.
    """
    request = operation.build(context)
    if any(name.lower() == "authorization" for name in request.headers):
        response = yield from _deliver(request, operation.moves_money, retries, pause)
        return _parsed(operation, response)
    token = yield from _token(None)
    response = yield from _deliver(_authorized(request, token), operation.moves_money, retries, pause)
    try:
        return _parsed(operation, response)
    except TokenRefused:
        pass  # left before going on, so that a later error does not carry this one as its context
    token = yield from _token(token)
    response = yield from _deliver(_authorized(request, token), operation.moves_money, retries, pause)
    return _parsed(operation, response)


def _authorized(request: HttpRequest, token: Secret) -> HttpRequest:
    return attrs.evolve(request, headers={**request.headers, "Authorization": f"Bearer {token.reveal()}"})


def _token(refused: Secret | None) -> Generator[Step, Any, Secret]:
    problem: OutcomeUnknown | UnexpectedAnswer
    try:
        token: Secret = yield NeedToken(refused)
    except (OutcomeUnknown, UnexpectedAnswer) as error:
        # What is unknown is only whether a token was made. The call that wanted one has not left.
        problem = error
    else:
        return token
    raise NotSent(f"No access token could be had, so nothing was sent. {problem}")


def _deliver(
    request: HttpRequest,
    moves_money: bool,
    retries: int,
    pause: Callable[[int], float],
) -> Generator[Step, Any, HttpResponse]:
    unsent = unknown = 0
    while True:
        failure: NotSent | OutcomeUnknown
        try:
            response: HttpResponse = yield Transmit(request)
        except NotSent as error:
            unsent += 1
            failure = error
        except OutcomeUnknown as error:
            unknown += 1
            failure = error
        else:
            return response
        if isinstance(failure, OutcomeUnknown):
            if moves_money or unknown > min(retries, 1):
                raise failure
        elif unsent > retries:
            if unknown:  # one of the earlier attempts may have arrived
                raise OutcomeUnknown(str(failure))
            raise NotSent(str(failure), attempts=unsent)
        yield Sleep(pause(unsent + unknown))


def _parsed(operation: Operation[T], response: HttpResponse) -> T:
    # An answer came, so the request was carried out or refused. A fault in parsing must not look like either.
    # What is raised here starts its traceback here: the frames of parsing have the body, with all that is in it.
    failure: MpesaError | None = None
    problem = ""
    try:
        return operation.parse(response)
    except MpesaError as error:
        failure = error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - an operation may be the user's own; its text may quote the body
        problem = f"{type(operation).__name__}.parse failed on an HTTP {response.status} answer: {_where(error)}."
    if isinstance(failure, UnexpectedAnswer) and operation.moves_money:
        problem, failure = str(failure), None
    if failure is not None:
        raise failure
    if operation.moves_money:
        raise OutcomeUnknown(problem, status=response.status)
    raise UnexpectedAnswer(problem, status=response.status)


def _where(error: Exception) -> str:
    """What an operation's author needs to find the fault: its kind, file and line."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(error).__name__
    return f"{type(error).__name__} at {place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}"
