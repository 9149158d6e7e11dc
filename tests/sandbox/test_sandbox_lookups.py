"""QR codes, names, SIM cards, Bonga points and the IoT portal."""

from __future__ import annotations

import base64
import struct
import zlib
from datetime import date
from decimal import Decimal

import pytest

from mpesa_core.sandbox import Answer, Behaviour, Customer, Ending, Kind, Rules

JOHN = Customer(
    phone="254722000000",
    first_name="john",
    middle_name="Mwangi",
    last_name="Maina",
    last_swap=date(2026, 9, 1),
    registered_on=date(2022, 3, 1),
)


@pytest.fixture
def world(make_world):
    """A world that knows one customer."""
    return make_world(customers=[JOHN])


def qr(world, **changes):
    fields = {
        "MerchantName": "TEST SUPERMARKET",
        "RefNo": "Invoice Test",
        "Amount": 1,
        "TrxCode": "BG",
        "CPI": "373132",
        "Size": "300",
    }
    return world.call("/mpesa/qrcode/v1/generate", world._changed(fields, changes))


def image(png):
    """Width, height and rows of a PNG with one bit a pixel; every chunk's checksum is right."""
    assert b"\x89PNG\r\n\x1a\n" == png[:8]
    chunks, rest = {}, png[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        name, data = rest[4:8], rest[8 : 8 + length]
        assert struct.pack(">I", zlib.crc32(name + data)) == rest[8 + length : 12 + length]
        chunks[name], rest = data, rest[12 + length :]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert [1, 0, 0, 0, 0] == kind
    rows = zlib.decompress(chunks[b"IDAT"])
    assert height * (1 + (width + 7) // 8) == len(rows)
    assert b"IEND" in chunks
    return width, height, rows


def test_a_qr_code_is_a_png(world):
    """A whole image of the asked size, the same for the same request, and another for another."""
    status, answer = qr(world)
    assert (200, "00") == (status, answer["ResponseCode"])
    png = base64.b64decode(answer["QRCode"], validate=True)
    width, height, rows = image(png)
    assert (300, 300) == (width, height)
    assert 2 < len(set(rows))
    assert answer["QRCode"] == qr(world)[1]["QRCode"]
    assert answer["QRCode"] != qr(world, Amount=2)[1]["QRCode"]
    assert (21, 21) == image(base64.b64decode(qr(world, Size="21")[1]["QRCode"]))[:2]
    assert 200 == qr(world, TrxCode="SM", CPI="254722000000", Size=...)[0]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"TrxCode": "XX"}, "400", "TrxCode"),
        ({"MerchantName": ""}, "400.002.02", "MerchantName"),
        ({"RefNo": ...}, "400.002.02", "RefNo"),
        ({"Amount": 0}, "400.002.02", "Amount"),
        ({"CPI": "254722000000"}, "400.002.02", "CPI"),
        ({"TrxCode": "SM"}, "400.002.02", "CPI"),
        ({"Size": "2001"}, "400.002.02", "Size"),
        ({"Size": "big"}, "400.002.02", "Size"),
    ],
)
def test_qr_fields_are_checked(world, changes, code, field):
    """Each field is refused by its name."""
    status, answer = qr(world, **changes)
    assert (400, code, f"Bad Request - Invalid {field}") == (status, answer["errorCode"], answer["errorMessage"])


def hakikisha(world, **changes):
    asked = {"msisdn": "254722000000", "shortcode": "174379", **changes}
    header = {"requestID": "h-1", "timestamp": "1748933384"}
    return world.call("/mpesa/b2c/hakikisha/v1/hakikisha", {"header": header, "body": asked})


def test_a_name(world):
    """The first name is whole and the others are masked; the request's header comes back."""
    status, answer = hakikisha(world)
    assert (200, "h-1", "200") == (status, answer["header"]["requestID"], answer["header"]["status"])
    assert {"firstName": "john", "middleName": "M******", "lastName": "M******"} == answer["body"]
    assert {"firstName": "JANE", "middleName": "", "lastName": "D******"} == hakikisha(world, msisdn="254711111111")[1][
        "body"
    ]


def test_no_such_customer(world):
    """The refusal is in the header, and its words in the body."""
    world.daraja.when(Behaviour(ending=Ending.NOT_A_CUSTOMER), api="hakikisha", phone="0722000000")
    _, answer = hakikisha(world)
    assert ("400", "The customer does not exist.") == (answer["header"]["status"], answer["body"]["message"])
    assert "200" == hakikisha(world, msisdn="254711111111")[1]["header"]["status"]


def test_hakikisha_fields_are_checked(world):
    """Number and short code, and both objects."""
    assert "Bad Request - Invalid msisdn" == hakikisha(world, msisdn="0722000000")[1]["errorMessage"]
    assert "Bad Request - Invalid shortcode" == hakikisha(world, shortcode="600000")[1]["errorMessage"]
    status, refused = world.call("/mpesa/b2c/hakikisha/v1/hakikisha", {"header": "x"})
    assert (400, "400.002.05") == (status, refused["errorCode"])


@pytest.mark.parametrize(
    ("number", "kind", "name"),
    [
        ("174379", "4", "Duka Limited"),
        ("600200", "2", "Kiosk"),
        ("600100", "4", "Kiosk"),
        ("600200", "4", ""),
        ("174379", "2", ""),
        ("600000", "4", ""),
    ],
)
def test_organisations(world, number, kind, name):
    """A number that is an identifier of that type has a name, with the code 4000; any other has none."""
    fields = {"IdentifierType": kind, "Identifier": number}
    status, answer = world.call("/sfcverify/v1/query/info", fields)
    assert (200, name, "4000" if name else "1") == (status, answer["OrganizationName"], answer["ResponseCode"])


def test_organisation_fields_are_checked(world):
    """Type and number."""
    for fields, field in (
        ({"IdentifierType": "1", "Identifier": "174379"}, "IdentifierType"),
        ({"IdentifierType": "4"}, "Identifier"),
    ):
        answer = world.call("/sfcverify/v1/query/info", fields)[1]
        assert f"Bad Request - Invalid {field}" == answer["errorMessage"]


def ati(world, version, phone="254722000000"):
    return world.call(f"/imsi/{version}/checkATI", {"customerNumber": phone})


def test_sim_cards(world):
    """A recent swap is told, an old one is 1900, and the hash of the card changes with the card."""
    _, told = ati(world, "v1")
    assert ("01-09-2026", "01-03-2022", "200") == (
        told["lastSwapDate"],
        told["msisdnRegistrationDate"],
        told["responseCode"],
    )
    assert "01-09-2026 00:00" == ati(world, "v2")[1]["lastSwapDate"]
    assert "01-01-1900 00:00" == ati(world, "v2", "254711111111")[1]["lastSwapDate"]
    assert told["imsi"] == ati(world, "v1")[1]["imsi"]
    assert told["imsi"] != ati(world, "v1", "254711111111")[1]["imsi"]
    world.wait(90 * 86_400)
    world.token = None
    assert "01-01-1900 00:00" == ati(world, "v2")[1]["lastSwapDate"]


def test_sim_card_fields_are_checked(world):
    """The number is needed in M-PESA's form."""
    assert "Bad Request - Invalid customerNumber" == ati(world, "v1", "0722000000")[1]["errorMessage"]


def test_points_are_worth_something(make_world):
    """Amount is points times the house's rate."""
    world = make_world(rules=Rules(bonga_rate=Decimal("0.25")))
    status, answer = world.call("/v1/lipa/na/bonga/calculate-points", {"points": "42"})
    assert (200, 200) == (status, answer["header"]["responseCode"])
    assert {"amount": "10.5", "points": "42", "rate": "0.25"} == answer["body"]
    refused = world.call("/v1/lipa/na/bonga/calculate-points", {})[1]
    assert (6006, None) == (refused["header"]["responseCode"], refused["body"])


def redeem(world, **changes):
    fields = {
        "msisdn": "254722000000",
        "amount": 50,
        "bongaPoints": 250,
        "conversionRate": 0.2,
        "shortCode": "174379",
        "accountNumber": "INV-7",
    }
    return world.call("/v1/lipa/na/bonga/redeem-paybill", world._changed(fields, changes))


def test_a_redemption_is_a_payment(world):
    """It is taken, and then comes in and is confirmed like any other payment."""
    world.register()
    status, answer = redeem(world)
    assert (200, 200, None) == (status, answer["header"]["responseCode"], answer["body"])
    world.daraja.run_until_idle()
    (told,) = world.bodies("/confirm")
    assert ("50.00", "INV-7", "john") == (told["TransAmount"], told["BillRefNumber"], told["FirstName"])
    assert Decimal(50) == world.daraja.ledger.total(Kind.C2B)


@pytest.mark.parametrize("ending", [Ending.CANCEL, Ending.UNREACHABLE, Ending.WRONG_PIN])
def test_a_redemption_that_fails(world, ending):
    """Nothing comes of it, and nothing says so."""
    world.register()
    world.daraja.when(Behaviour(ending=ending))
    assert 200 == redeem(world)[0]
    assert [] == [each for each in world.daraja.run_until_idle() if "confirm" in each.posting.url]
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("msisdn", "0722000000", 6006),
        ("amount", 0, 6006),
        ("bongaPoints", ..., 6006),
        ("conversionRate", "0.2", 6006),
        ("conversionRate", -1, 6006),
        ("shortCode", "600000", 6005),
        ("accountNumber", "", 6006),
    ],
)
def test_redemption_fields_are_checked(world, field, value, code):
    """Each field is refused by its name, with the product's own codes."""
    _, answer = redeem(world, **{field: value})
    assert code == answer["header"]["responseCode"]
    assert field in answer["header"]["responseMessage"]
    world.daraja.run_until_idle()
    assert () == world.daraja.ledger.entries


def test_the_iot_portal(world):
    """A life cycle is told; a call about one SIM card needs its number."""
    status, answer = world.call("/simportal/v1/queryLifeCycleStatus", {"msisdn": "300000020***"})
    assert (200, 200, "Active") == (status, answer["header"]["responseCode"], answer["body"]["status"])
    assert 400 == world.call("/simportal/v1/simactivation", {})[1]["header"]["responseCode"]
    assert "0" == world.call("/simportal/v1/getallmessages?pageNo=1", {})[1]["body"]["statusCode"]


def test_lookups_go_wrong_when_told_to(world):
    """A rule may name a question; one without an API does not touch it, and what fits no call is passed over."""
    world.daraja.when(Behaviour(answer=Answer.UNAVAILABLE))
    assert 200 == hakikisha(world)[0]
    world.daraja.when(Behaviour(answer=Answer.UNAVAILABLE), api="imsi")
    assert 503 == world.send("/imsi/v1/checkATI", {"customerNumber": "254722000000"}).status
