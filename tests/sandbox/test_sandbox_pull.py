"""Pulled transactions: registration, the window, the pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mpesa_core.sandbox import Behaviour, Rules


@pytest.fixture
def puller(world):
    """A world whose paybill is registered."""
    world.register_pull()
    return world


def rows(answer):
    status, body = answer
    assert (200, "1000", "Success") == (status, body["ResponseCode"], body["ResponseMessage"])
    (page,) = body["Response"]
    return page


def none(answer):
    status, body = answer
    return (200, "1001", [[]]) == (status, body["ResponseCode"], body["Response"])


def test_registering(world):
    """Once with 1000, then with 1001 and spaced keys; a query needs it."""
    status, refused = world.pull()
    assert (400, "400.001") == (status, refused["errorCode"])
    assert ("1000", "174379") == tuple(world.register_pull()[1][name] for name in ("ResponseStatus", "ShortCode"))
    assert "1001" == world.register_pull()[1]["Response Status"]
    assert none(world.pull())


def test_registering_without_a_request(world):
    """As a test may want it."""
    world.daraja.register_pull("600200")
    assert none(world.pull(ShortCode="600100"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ShortCode": "600000"}, "ShortCode"),
        ({"RequestType": "Push"}, "RequestType"),
        ({"NominatedNumber": "7"}, "NominatedNumber"),
        ({"CallBackURL": "x"}, "CallBackURL"),
    ],
)
def test_registration_fields_are_checked(world, changes, words):
    """Each field is refused by its name."""
    status, answer = world.register_pull(**changes)
    assert (400, f"Bad Request - Invalid {words}") == (status, answer["errorMessage"])


def test_what_came_in_is_listed(puller):
    """STK and C2B payments of that short code are rows, whatever became of their callbacks; payouts are not."""
    puller.daraja.when(Behaviour(deliver=()))
    puller.push()
    puller.daraja.run_until_idle()
    puller.daraja.customer_pays(amount="50.50", reference="INV-2", phone="0711111111")
    puller.daraja.customer_pays(amount=60, short_code="600200")
    puller.payout()
    puller.daraja.run_until_idle()
    push, own = rows(puller.pull())
    entry = puller.daraja.ledger.entries[0]
    assert {
        "transactionId": entry.receipt,
        "trxDate": "2026-10-06T09:50:00Z",
        "msisdn": 254712345678,
        "sender": "MPESA",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "INV-1",
        "amount": "100.00",
        "organizationname": "Duka Limited",
    } == push
    assert "50.50" == own["amount"]


def test_a_masked_phone(make_world):
    """The form of 2026 has the phone masked, as text."""
    world = make_world(rules=Rules(mask_pulled_phone=True))
    world.daraja.register_pull()
    world.daraja.customer_pays(amount=1)
    assert "2547 ***** 149" == rows(world.pull())[0]["msisdn"]


def test_the_window(puller):
    """Both ends belong to it, and 48 hours back it is closed."""
    puller.daraja.customer_pays(amount=1)
    assert 1 == len(rows(puller.pull(StartDate="2026-10-06 09:50", EndDate="2026-10-06 9:50:000")))
    assert none(puller.pull(StartDate="2026-10-06 09:50:01"))
    assert none(puller.pull(EndDate="2026-10-06 09:49:59"))
    puller.now += timedelta(hours=48)
    puller.token = None
    assert 1 == len(rows(puller.pull(StartDate="2026-10-01 00:00:00")))
    puller.now += timedelta(seconds=1)
    assert none(puller.pull(StartDate="2026-10-01 00:00:00"))


def test_pages(puller):
    """A page has a hundred rows, and the offset counts rows."""
    for _ in range(230):
        puller.daraja.customer_pays(amount=1)
    pages = [rows(puller.pull(OffSetValue=str(offset))) for offset in (0, 100, 200)]
    assert [100, 100, 30] == [len(page) for page in pages]
    assert 230 == len({row["transactionId"] for page in pages for row in page})
    assert none(puller.pull(OffSetValue="230"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ShortCode": "600000"}, "ShortCode"),
        ({"ShortCode": "600200"}, "ShortCode"),
        ({"StartDate": "06.10.2026"}, "StartDate"),
        ({"StartDate": "2026-13-06 00:00:00"}, "StartDate"),
        ({"EndDate": ...}, "EndDate"),
        ({"EndDate": "2026-10-01 00:00:00"}, "EndDate"),
        ({"OffSetValue": "-1"}, "OffSetValue"),
    ],
)
def test_query_fields_are_checked(puller, changes, words):
    """Each field is refused by its name."""
    status, answer = puller.pull(**changes)
    assert (400, f"Bad Request - Invalid {words}") == (status, answer["errorMessage"])


def test_its_own_refusal_of_a_token(world):
    """Pull refuses a token in its own way, without the token in its words."""
    status, answer = world.call("/pulltransactions/v1/query", {}, token="x" * 28)
    assert (401, "401.001", "Error Occurred - Invalid Access Token - ") == (
        status,
        answer["errorCode"],
        answer["errorMessage"],
    )
