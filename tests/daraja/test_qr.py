"""Dynamic QR: the image as bytes, and what is refused before it is sent."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import InvalidField, UnexpectedAnswer
from tests.daraja import products as make
from tests.daraja.requested import body_of, context
from tests.sampled import sample

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_published_image_is_decoded_without_its_stray_full_stop():
    """The page's own text ends with a full stop; the bytes begin as a PNG file with its first part, 300 pixels square."""
    found = make.qr().parse(HttpResponse(status=200, body=sample("qr__response__docs").body))
    assert PNG == found.png[:8]
    assert (b"IHDR", 300, 300) == (
        found.png[12:16],
        int.from_bytes(found.png[16:20], "big"),
        int.from_bytes(found.png[20:24], "big"),
    )
    assert ("AG_20191219_000043fdf61864fe9ff5", "16738-27456357-1") == (found.response_code, found.request_id)
    assert "QR Code Successfully Generated." == found.response_description
    assert "PNG" not in repr(found)


@pytest.mark.parametrize("size", [8, 9, 10, 11, 5000])
def test_an_image_comes_out_as_it_went_in(size):
    """Every length of the bytes survives, with line breaks and a data URL around the base64 too."""
    image = PNG + bytes(range(256)) * 20
    image = image[:size]
    text = b64encode(image).decode()
    for form in (text, text.rstrip("="), "data:image/png;base64," + text, "\r\n".join([text[:4], text[4:]])):
        answer = HttpResponse(status=200, body=json.dumps({"ResponseCode": "00", "QRCode": form}).encode())
        assert image == make.qr().parse(answer).png


@pytest.mark.parametrize("code", [None, "", 12, "no image", b64encode(b"GIF89a").decode(), [], "iVBORw0KGg"])
def test_an_answer_without_an_image_is_no_success(code):
    """The image is the success: a code without one is none."""
    answer = HttpResponse(status=200, body=json.dumps({"ResponseCode": "00", "QRCode": code}).encode())
    with pytest.raises(UnexpectedAnswer, match="PNG"):
        make.qr().parse(answer)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("merchant_name", ""),
        ("merchant_name", "x" * 51),
        ("account_reference", ""),
        ("amount", 0),
        ("amount", "1.50"),
        ("transaction", "XX"),
        ("receiver", "0712345678"),
        ("receiver", "12"),
        ("size", 0),
        ("size", 2001),
        ("size", True),
        ("size", "300"),
    ],
)
def test_what_a_code_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.qr(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize("transaction", ["SM", "SB"])
def test_money_is_sent_to_a_phone_number(transaction):
    """For these two the receiver is a phone number, in any form; a short code is refused."""
    body = body_of(make.qr(transaction=transaction, receiver="0712 345 678", size=100).build(context()))
    assert ("254712345678", transaction, "100") == (body["CPI"], body["TrxCode"], body["Size"])
    with pytest.raises(InvalidField, match="receiver"):
        make.qr(transaction=transaction, receiver="373132")
