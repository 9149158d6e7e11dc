"""B2B express checkout: what is refused before it is sent, and its own envelope of acceptance."""

from __future__ import annotations

import pytest

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import InvalidField, OutcomeUnknown, RequestRefused
from tests.daraja import products as make


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payer_till", "1"),
        ("payer_till", "0712345678"),
        ("amount", 0),
        ("amount", "1.50"),
        ("amount", 1.0),
        ("payment_reference", ""),
        ("payment_reference", "x" * 51),
        ("callback_url", "https://shop.example/mpesa"),
        ("partner_name", ""),
        ("partner_name", "two\nlines"),
        ("partner_name", "x" * 51),
        ("request_id", ""),
        ("request_id", "with blank"),
    ],
)
def test_what_a_prompt_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.express(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize("code", ["4104", 4104])
def test_a_code_of_a_failure_is_a_refusal(code):
    """A code that the page lists as a failure says that nobody is prompted."""
    body = f'{{"code": {code!r}, "status": "Missing Nominated Number"}}'.replace("'", '"')
    with pytest.raises(RequestRefused) as caught:
        make.express().parse(HttpResponse(status=200, body=body.encode()))
    assert "4104" == caught.value.code
    assert "nominated number" in caught.value.hint


@pytest.mark.parametrize("code", ['"1"', '"00"', "true", "null", '"4201"', '""'])
def test_another_code_leaves_it_open(code):
    """A code that no page lists, or that of a network error, does not say that nobody is prompted."""
    with pytest.raises(OutcomeUnknown):
        make.express().parse(HttpResponse(status=200, body=f'{{"code": {code}, "status": "words"}}'.encode()))
