from __future__ import annotations

import json

import pytest

from mpesa_core.errors import NotSent, OutcomeUnknown
from mpesa_core.sandbox import Answer, Api, Behaviour, LostAnswer, NoConnection

PATH = "/mpesa/b2c/v3/paymentrequest"


def respond(world, behaviour):
    """The raw response to one payout under a behaviour."""
    world.daraja.script(behaviour)
    return world.send(PATH, world.payout_fields())


@pytest.mark.parametrize("accepted", [True, False])
def test_a_lost_answer(world, accepted):
    """The connection drops, and only the ledger knows whether the payout happened."""
    with pytest.raises(LostAnswer) as caught:
        respond(world, Behaviour(answer=Answer.LOST, accepted=accepted))
    world.daraja.run_until_idle()
    assert isinstance(caught.value, OutcomeUnknown)
    assert accepted == caught.value.accepted == bool(world.daraja.ledger.entries)
    seen = world.daraja.requests[-1]
    assert (accepted, None, "payout-1") == (seen.accepted, seen.status, seen.originator_conversation_id)


def test_no_connection(world):
    """A refused connection is not even seen."""
    with pytest.raises(NoConnection) as caught:
        respond(world, Behaviour(answer=Answer.NO_CONNECTION))
    assert isinstance(caught.value, NotSent)
    assert 0 == world.daraja.count("b2c")
    assert [Api.OAUTH] == [seen.api for seen in world.daraja.requests]
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    ("answer", "status", "part"),
    [
        (Answer.SPIKE_ARREST, 429, b"policies.ratelimit.SpikeArrestViolation"),
        (Answer.SYSTEM_BUSY, 500, b"500.003.02"),
        (Answer.INTERNAL_ERROR, 500, b"500.002.1001"),
        (Answer.UNAVAILABLE, 503, b"Incapsula incident ID"),
        (Answer.FORBIDDEN, 403, b"<html>"),
        (Answer.UNAUTHORIZED, 401, b"401.002.01"),
    ],
)
@pytest.mark.parametrize("accepted", [None, True])
def test_a_refusal_at_the_door(world, answer, status, part, accepted):
    """Faults usually mean that nothing was done, but one may be asked for that hides an accepted payout."""
    response = respond(world, Behaviour(answer=answer, accepted=accepted))
    world.daraja.run_until_idle()
    assert status == response.status
    assert part in response.body
    assert bool(accepted) == bool(world.daraja.ledger.entries) == world.daraja.requests[-1].accepted


def test_spike_arrest_says_when_to_come_back(world):
    """The 429 carries the gateway's fault envelope and a Retry-After."""
    response = respond(world, Behaviour(answer=Answer.SPIKE_ARREST))
    assert {"fault"} == set(json.loads(response.body))
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("answer", "status"), [(Answer.GATEWAY_TIMEOUT, 504), (Answer.GARBAGE, 200), (Answer.EMPTY, 200)]
)
def test_answers_that_hide_an_accepted_payout(world, answer, status):
    """Behind a gateway timeout and an unreadable answer the payout happens."""
    response = respond(world, Behaviour(answer=answer))
    world.daraja.run_until_idle()
    assert status == response.status
    assert b"ConversationID" not in response.body
    assert 1 == len(world.daraja.ledger.entries)


@pytest.mark.parametrize("length", [0, 1, 50, 10_000])
def test_a_truncated_answer(world, length):
    """The answer is cut after the given number of bytes and says how long it should have been."""
    response = respond(world, Behaviour(answer=Answer.TRUNCATED, truncate_at=length))
    whole = int(response.headers["content-length"])
    assert min(length, whole) == len(response.body)
    assert b'{"ConversationID":"AG_'[:length] == response.body[: min(length, 22)]


def test_a_slow_answer(world):
    """The answer waits for the given time, through the injected sleep."""
    respond(world, Behaviour(answer_after=12.5))
    assert [12.5] == world.slept


def test_a_fault_on_another_call(world):
    """Token and query calls fail as asked too, by their own name only."""
    world.daraja.when(Behaviour(answer=Answer.UNAVAILABLE), api=("oauth", "stk_query"), times=1)
    assert 503 == world.oauth().status
    assert 200 == world.oauth().status


def test_a_refused_request_uses_up_no_rule(world):
    """A scripted behaviour waits for a request that is in order."""
    world.daraja.script(Behaviour(answer=Answer.LOST))
    assert 400 == world.payout(Amount="x")[0]
    with pytest.raises(LostAnswer):
        world.payout()
    assert 200 == world.payout(OriginatorConversationID="payout-2")[0]


def test_a_bad_token_uses_up_no_rule(world):
    """A scripted behaviour survives the 401 that a client answers with a new token."""
    world.daraja.script(Behaviour(answer=Answer.LOST))
    assert 401 == world.call(PATH, {}, token="old")[0]
    with pytest.raises(LostAnswer):
        world.payout()


def test_lost_answers_hold_no_secret(world):
    """The error's text has neither phone number nor credential."""
    with pytest.raises(LostAnswer) as caught:
        respond(world, Behaviour(answer=Answer.LOST))
    assert "254712345678" not in repr(caught.value) + str(caught.value)
