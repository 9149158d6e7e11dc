"""Transfers, tax, Pochi and the payout with an identity check: what is refused before it is sent, and what is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.daraja.b2b import B2BCommand
from mpesa_core.errors import InvalidField
from tests.daraja import products as make
from tests.daraja.requested import body_of, context

ANY_RESULT = [
    ("remarks", "x"),
    ("remarks", "x" * 101),
    ("result_url", "https://shop.example/mpesa/"),
    ("timeout_url", "nowhere"),
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *ANY_RESULT,
        ("command", "BusinessPayment"),
        ("command", None),
        ("receiver", "1234"),
        ("receiver", "0712345678"),
        ("receiver_type", "1"),
        ("receiver_type", True),
        ("amount", 0),
        ("amount", 10.0),
        ("amount", "10.005"),
        ("account_reference", None),
        ("account_reference", "x" * 14),
        ("account_reference", "a&b"),
        ("requester", "0201234567"),
        ("occasion", "x" * 101),
        ("originator_conversation_id", ""),
    ],
)
def test_what_a_transfer_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.b2b(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize("command", [each for each in B2BCommand if each is not B2BCommand.PAY_BILL])
def test_only_a_paybill_needs_an_account(command):
    """The other commands go without a reference, and then none is sent."""
    body = body_of(make.b2b(command=command, account_reference=None).build(context()))
    assert command.value == body["CommandID"]
    assert "AccountReference" not in body


def test_a_till_may_be_named_as_one():
    """Type 2 is what one production report says of tills; the misspelt key carries it."""
    body = body_of(make.b2b(command="BusinessBuyGoods", receiver_type=2).build(context()))
    assert ("4", "2") == (body["SenderIdentifierType"], body["RecieverIdentifierType"])


def test_what_is_optional_is_left_out_or_sent():
    """Requester, occasion and our own id are sent when they are given, and never as nothing."""
    bare = body_of(make.b2b().build(context()))
    assert not {"Requester", "Occassion", "OriginatorConversationID"} & set(bare)
    full = make.b2b(requester="0712345678", occasion="June", originator_conversation_id="mine-1")
    body = body_of(full.build(context()))
    assert ("254712345678", "June", "mine-1") == (
        body["Requester"],
        body["Occassion"],
        body["OriginatorConversationID"],
    )


@pytest.mark.parametrize(
    ("amount", "text"), [(10, "10"), ("10.00", "10"), ("10.50", "10.50"), (Decimal("0.05"), "0.05")]
)
def test_an_amount_is_written_exactly(amount, text):
    """Whole shillings without a point, cents with both digits."""
    assert text == body_of(make.b2b(amount=amount).build(context()))["Amount"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *ANY_RESULT,
        ("amount", -1),
        ("payment_registration_number", ""),
        ("payment_registration_number", "x" * 14),
        ("payment_registration_number", None),
    ],
)
def test_what_a_tax_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.tax(**{field: value})
    assert field == caught.value.field


def test_a_tax_goes_to_the_revenue_authority_alone():
    """The receiver cannot be chosen."""
    with pytest.raises(TypeError):
        make.tax(receiver="600000")
    assert "572572" == body_of(make.tax().build(context()))["PartyB"]


@pytest.mark.parametrize("maker", [make.pochi, make.identity])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *ANY_RESULT,
        ("amount", 9),
        ("amount", "10.50"),
        ("phone_number", "0201234567"),
        ("originator_conversation_id", None),
        ("originator_conversation_id", "with blank"),
    ],
)
def test_what_these_payouts_cannot_say_is_refused(maker, field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        maker(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id_type", 1),
        ("id_type", "ID"),
        ("id_type", ""),
        ("id_number", 12345678),
        ("id_number", "1 2"),
        ("command", "x"),
    ],
)
def test_what_an_identity_check_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.identity(**{field: value})
    assert field == caught.value.field


def test_an_identity_number_is_in_no_error():
    """A refused identity number is masked in the error as a phone number is."""
    with pytest.raises(InvalidField) as caught:
        make.identity(id_number="27,345,678,9")
    assert "345,678" not in str(caught.value)


def test_a_pochi_without_an_occasion_sends_none():
    """An occasion of nothing is not sent."""
    assert "Occassion" not in body_of(make.pochi(occasion=None).build(context()))
