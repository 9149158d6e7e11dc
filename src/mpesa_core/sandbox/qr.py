"""Dynamic QR: a real PNG image, made with the standard library. It holds a pattern of its request, and no QR code.

Source: the "Dynamic QR Code" page of Safaricom's portal; the answer's form is that of a capture of 2026.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Mapping
from typing import Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call, Desk, Handler
from mpesa_core.sandbox.endings import Api

__all__ = ["PATHS", "QrCodes", "pattern"]

PATHS: Final[Mapping[str, tuple[Api, str]]] = {"/mpesa/qrcode/v1/generate": (Api.QR, "v1")}

_TO_PHONE: Final = ("SM", "SB")
_MODULES: Final = 21
"""Squares on a side, as the smallest QR code has."""


class QrCodes:
    """Makes QR codes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls: Mapping[Api, Handler] = {Api.QR: self._make}

    def _make(self, call: Call) -> HttpResponse:
        fields = call.fields
        merchant = checks.matching(fields, "MerchantName", r".{1,50}")
        reference = checks.matching(fields, "RefNo", r".{1,50}")
        amount = checks.amount(fields)
        kind = checks.text(fields, "TrxCode")
        if kind not in ("BG", "WA", "PB", *_TO_PHONE):
            raise Refused(400, "400", "Bad Request - Invalid TrxCode")
        if kind in _TO_PHONE:
            receiver = checks.phone(fields, "CPI")
        else:
            receiver = checks.matching(fields, "CPI", checks.SHORT_CODE)
        size = int(checks.matching(fields, "Size", r"[1-9]\d{0,3}")) if "Size" in fields else 300
        if size > 2000:
            raise checks.invalid("Size")
        png = pattern("|".join((merchant, reference, str(amount), kind, receiver)), size)
        return bodies.json_response(
            200,
            {
                "ResponseCode": "00",
                "ResponseDescription": "The service request is processed successfully.",
                "QRCode": base64.b64encode(png).decode(),
            },
        )


def pattern(text: str, size: int) -> bytes:
    """A PNG of ``size`` pixels on a side, black on white, in a pattern that is the text's own."""
    bits = int.from_bytes(hashlib.shake_256(text.encode()).digest((_MODULES * _MODULES + 7) // 8))
    rows = [_row(bits >> each * _MODULES, size) for each in range(_MODULES)]
    lines = b"".join(rows[y * _MODULES // size] for y in range(size))
    head = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)  # one bit a pixel, grey
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _row(bits: int, size: int) -> bytes:
    """One line of pixels, after the byte that says that it is not filtered; a set bit is a black square."""
    row = bytearray((size + 7) // 8)
    for x in range(size):
        if not bits >> (x * _MODULES // size) & 1:
            row[x // 8] |= 0x80 >> x % 8
    return b"\0" + bytes(row)
