"""Registering URLs, simulating payments, and our replies to M-PESA's questions."""

from __future__ import annotations

import json

import pytest

from mpesa_core.daraja.c2b import (
    RegisterUrls,
    Rejection,
    ResponseType,
    SimulateC2B,
    accept_payment,
    acknowledge_payment,
    reject_payment,
)
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import ConfigurationError, InvalidField, OutcomeUnknown
from tests.daraja.requested import as_text, body_of, context
from tests.sampled import names, sample


def register(**changes):
    fields = {
        "confirmation_url": "https://mydomain.com/confirmation",
        "validation_url": "https://mydomain.com/validation",
    }
    return RegisterUrls(**{**fields, **changes})


@pytest.mark.parametrize(
    ("name", "version", "response_type", "short_code"),
    [
        ("c2b_register__request__v1", 1, "Cancelled", "601426"),
        ("c2b_register__request__v2", 2, ResponseType.COMPLETED, "600984"),
    ],
)
def test_a_registration_is_the_published_request(name, version, response_type, short_code):
    """Field by field, on the path of its version."""
    request = register(version=version, response_type=response_type).build(context(short_code=short_code))
    assert f"/mpesa/c2b/v{version}/registerurl" == request.path
    assert as_text(sample(name).json) == as_text(body_of(request))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_type", "completed"),
        ("response_type", None),
        ("version", 3),
        ("version", True),
        ("version", "1"),
        ("confirmation_url", "https://x.example/sql"),
        ("validation_url", ""),
    ],
)
def test_what_a_registration_cannot_say_is_refused(field, value):
    """Daraja takes the two words in one spelling only, and clean URLs."""
    with pytest.raises(InvalidField) as caught:
        register(**{field: value})
    assert field == caught.value.field


def simulate(**changes):
    return SimulateC2B(**{"phone_number": "254708374149", "amount": 1, "account_reference": "Test Ref", **changes})


def test_a_simulated_payment_to_a_paybill_is_the_published_request():
    """Field by field."""
    request = simulate().build(context(short_code="600984"))
    assert "/mpesa/c2b/v2/simulate" == request.path
    assert as_text(sample("c2b_simulate__request").json) == as_text(body_of(request))
    assert "/mpesa/c2b/v1/simulate" == simulate(version=1).build(context()).path


@pytest.mark.parametrize("reference", ["ignored", None])
def test_a_simulated_payment_to_a_till_has_a_null_reference(reference):
    """Tills have no reference; the key is sent all the same."""
    request = simulate(account_reference=reference).build(context(short_code="600000", till_number="600984"))
    assert as_text(sample("c2b_simulate__request__till_null_ref").json) == as_text(body_of(request))


def test_a_paybill_needs_a_reference():
    """What the customer would type is missing."""
    with pytest.raises(InvalidField, match="account_reference"):
        simulate(account_reference=None).build(context())


@pytest.mark.parametrize(
    ("field", "value"),
    [("phone_number", "020123456"), ("amount", "1.5"), ("account_reference", "x" * 21), ("version", 0)],
)
def test_what_a_simulation_cannot_say_is_refused(field, value):
    """The error names the field."""
    with pytest.raises(InvalidField) as caught:
        simulate(**{field: value})
    assert field == caught.value.field


def test_an_older_acceptance_has_no_code_but_another_code_is_no_acceptance():
    """Its absence is tolerated, a code that cannot be read is not."""
    body = sample("c2b_simulate__response__v1_no_responsecode").json
    with pytest.raises(OutcomeUnknown):
        simulate().parse(HttpResponse(status=200, body=json.dumps({**body, "ResponseCode": False}).encode()))


@pytest.mark.parametrize("operation", [register(), simulate()], ids=type)
def test_the_short_code_is_needed(operation):
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match="short_code"):
        operation.build(context(short_code=""))


def test_our_replies_are_the_published_ones():
    """Acceptance, each rejection, and the acknowledgement of a confirmation."""
    replies = {
        "c2b_validation__response__accept_string": accept_payment(),
        "c2b_confirmation__response__ack": acknowledge_payment(),
        **{
            f"c2b_validation__response__reject_C2B000{n}": reject_payment(Rejection(f"C2B000{n}"))
            for n in range(12, 17)
        },
    }
    assert set(replies) == set(names("response", "c2b_validation", "c2b_confirmation"))
    for name, reply in replies.items():
        assert sample(name).json == reply


def test_an_acceptance_may_carry_an_id_of_ours():
    """It comes back in the confirmation."""
    assert {"ResultCode": "0", "ResultDesc": "Accepted", "ThirdPartyTransID": "1234567890"} == accept_payment(
        "1234567890"
    )


def test_what_moves_money_says_so():
    """Registering may be repeated; a simulated payment may not."""
    assert (False, True) == (RegisterUrls.moves_money, SimulateC2B.moves_money)
