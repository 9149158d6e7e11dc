"""The account and the moment that the requests of the tests are built for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from mpesa_core.daraja.operation import Context, HttpRequest

PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
"""The sandbox passkey that Safaricom publishes for everybody."""

CONTEXT = Context(
    now=datetime(2021, 6, 28, 6, 24, 8, tzinfo=UTC),
    short_code="174379",
    passkey=PASSKEY,
    initiator_name="testapi",
    security_credential="BASE64RSA==",
)


def context(**changes: Any) -> Context:
    """The account, changed."""
    return attrs.evolve(CONTEXT, **changes)


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON that a request sends."""
    assert "POST" == request.method
    assert {"Content-Type": "application/json"} == dict(request.headers)
    found: dict[str, Any] = json.loads(request.body, parse_float=Decimal)
    return found


def as_text(body: dict[str, Any]) -> dict[str, str | None]:
    """Daraja takes numbers as text and text as numbers; so they compare as text, without secrets' differences."""
    return {key: None if value is None else str(value) for key, value in body.items()}
