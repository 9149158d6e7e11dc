"""The further products against the published samples: every request is built, every answer and error is read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import attrs
import pytest

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.b2b import B2BCommand
from mpesa_core.daraja.bills import BillManagerAnswer, acknowledge_bill_push
from mpesa_core.daraja.bonga import BongaRedemption, BongaValue
from mpesa_core.daraja.express_checkout import ExpressCheckoutAccepted
from mpesa_core.daraja.hakikisha import CustomerName
from mpesa_core.daraja.imsi import ImsiAnswer, SimSwapAnswer
from mpesa_core.daraja.iot import IotAnswer
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.daraja.organisation import Organisation
from mpesa_core.daraja.pull import PullPage, PullRegistered
from mpesa_core.daraja.qr import QrCode
from mpesa_core.daraja.ratiba import StandingOrderAccepted
from mpesa_core.errors import ConfigurationError, DarajaError, OutcomeUnknown, RequestRefused, TokenRefused
from tests.daraja import products as make
from tests.daraja.requested import context
from tests.sampled import FOLDER, names, sample

APIS = sorted(
    {path.stem.split("__")[0] for path in FOLDER.glob("*.json")}
    - {"account_balance", "any", "b2c", "c2b_confirmation", "c2b_register", "c2b_simulate", "c2b_validation", "gateway"}
    - {"oauth", "reversal", "stk_push", "stk_query", "transaction_status"}
)
"""Every API of the samples but those that have their own tests."""

CALLER = {"initiator_name": "API_Usename", "short_code": "123456"}
REQUESTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "b2b_buygoods__request": (
        make.b2b(command="BusinessBuyGoods", requester="0700000000"),
        CALLER,
        "/mpesa/b2b/v1/paymentrequest",
    ),
    "b2b_paybill__request": (
        make.b2b(
            requester="254700000000",
            timeout_url="http://0.0.0.0:0000/ResultsListener.php",
            result_url="http://0.0.0.0:8888/TimeOutListener.php",
        ),
        CALLER,
        "/mpesa/b2b/v1/paymentrequest",
    ),
    "b2c_topup__request": (make.top_up(), {"short_code": "600979"}, "/mpesa/b2b/v1/paymentrequest"),
    "tax__request": (
        make.tax(),
        {"initiator_name": "TaxPayer", "short_code": "888880"},
        "/mpesa/b2b/v1/remittax",
    ),
    "b2pochi__request": (
        make.pochi(),
        {"short_code": "600992", "security_credential": "RC6E9WDxXR4b9X2c6z3gp0oC5Th =="},
        "/mpesa/b2pochi/v1/paymentrequest",
    ),
    "b2c_validate__request": (make.identity(), {"short_code": "600992"}, "/mpesa/b2cvalidate/v2/paymentrequest"),
    "b2b_express__request": (make.express(), {"short_code": "000002"}, "/v1/ussdpush/get-msisdn"),
    "qr__request": (make.qr(), {}, "/mpesa/qrcode/v1/generate"),
    "billmanager_optin__request": (make.opt_in(), {"short_code": "718003"}, "/v1/billmanager-invoice/optin"),
    "billmanager_optin_update__request": (
        make.change_opt_in(),
        {"short_code": "718003"},
        "/v1/billmanager-invoice/change-optin-details",
    ),
    "billmanager_single_invoice__request": (make.send_invoice(), {}, "/v1/billmanager-invoice/single-invoicing"),
    "billmanager_bulk_invoice__request": (make.send_invoices(), {}, "/v1/billmanager-invoice/bulk-invoicing"),
    "billmanager_cancel_single__request": (
        make.cancel_invoice(),
        {},
        "/v1/billmanager-invoice/cancel-single-invoice",
    ),
    "billmanager_cancel_bulk__request": (make.cancel_invoices(), {}, "/v1/billmanager-invoice/cancel-bulk-invoices"),
    "billmanager_acknowledgment__request": (make.acknowledge(), {}, "/v1/billmanager-invoice/reconciliation"),
    "ratiba__request__2025": (make.standing_order(), {}, "/standingorder/v1/createStandingOrderExternal"),
    "ratiba__request__2026_ext_third_party": (
        make.standing_order_2026(),
        {},
        "/standingorder/v1/createStandingOrderExternal",
    ),
    "pull_register__request": (make.register_pull(), {"short_code": "600000"}, "/pulltransactions/v1/register"),
    "pull_query__request": (make.pull(), {"short_code": "600000"}, "/pulltransactions/v1/query"),
    "imsi__request": (make.imsi(), {}, "/imsi/v1/checkATI"),
    "swap__request": (make.swap(), {}, "/imsi/v2/checkATI"),
    "hakikisha__request": (
        make.hakikisha(),
        {"short_code": "123456", "now": datetime(2025, 6, 3, 6, 49, 44, tzinfo=UTC)},
        "/mpesa/b2c/hakikisha/v1/hakikisha",
    ),
    "query_org_info__request": (make.organisation(), {}, "/sfcverify/v1/query/info"),
    "bonga_calculate__request": (make.calculate(), {}, "/v1/lipa/na/bonga/calculate-points"),
    "bonga_redeem__request": (make.redeem(), {"short_code": "888880"}, "/v1/lipa/na/bonga/redeem-paybill"),
    "iot_lifecycle__request": (make.iot(), {}, "/simportal/v1/queryLifeCycleStatus"),
}

CHANGED: dict[str, dict[str, str]] = {
    # The published URL is not absolute, and Daraja would refuse it.
    "billmanager_optin_update__request": {"callbackurl": "http://my.server.com/bar"},
    # The published times have hours of one digit and seconds of three.
    "pull_query__request": {"StartDate": "2020-08-04 08:36:00", "EndDate": "2020-08-16 10:10:00"},
}

B2B_ACCEPTED = Accepted(
    conversation_id="AG_20230420_2010759fd5662ef6d054",
    originator_conversation_id="5118-111210482-1",
    response_code="0",
    response_description="Accept the service request successfully.",
)
ANSWERS: dict[str, tuple[Any, Any]] = {
    "b2b__response": (make.b2b(), B2B_ACCEPTED),
    "b2c_topup__response": (make.top_up(), B2B_ACCEPTED),
    "tax__response": (make.tax(), B2B_ACCEPTED),
    "b2pochi__response": (
        make.pochi(),
        Accepted(
            conversation_id="AG_20240706_20106e9209f64bebd05b",
            originator_conversation_id="600997_Test_32et3241ed8yu",
            response_code="0",
            response_description="Accept the service request successfully.",
        ),
    ),
    "b2b_express__response__accepted": (
        make.express(),
        ExpressCheckoutAccepted(code="0", status="USSD Initiated Successfully"),
    ),
    "qr__response__captured_2026": (
        make.qr(),
        QrCode(
            png=b"\x89PNG\r\n\x1a\n",
            response_code="00",
            response_description="The service request is processed successfully.",
        ),
    ),
    "billmanager_optin__response": (
        make.opt_in(),
        BillManagerAnswer(rescode="200", resmsg="Success", app_key="AG_2376487236_126732989KJ"),
    ),
    "billmanager_optin_update__response": (make.change_opt_in(), BillManagerAnswer(rescode="200", resmsg="Success")),
    "billmanager_single_invoice__response": (
        make.send_invoice(),
        BillManagerAnswer(rescode="200", resmsg="Success", status_message="Invoice sent successfully"),
    ),
    "billmanager_bulk_invoice__response": (
        make.send_invoices(),
        BillManagerAnswer(rescode="200", resmsg="Success", status_message="Invoice sent successfully"),
    ),
    "billmanager_cancel__response": (
        make.cancel_invoice(),
        BillManagerAnswer(rescode="200", resmsg="Success", status_message="Invoice cancelled successfuly."),
    ),
    "billmanager_acknowledgment__response": (
        make.acknowledge(),
        BillManagerAnswer(rescode="200", resmsg="Success"),
    ),
    "ratiba__response__accepted": (
        make.standing_order(),
        StandingOrderAccepted(
            response_ref_id="4dd9b5d9-d738-42ba-9326-2cc99e966000",
            response_code="200",
            response_description="Request accepted for processing",
        ),
    ),
    "pull_register__response__ok": (
        make.register_pull(),
        PullRegistered(
            already=False,
            reference="feb5e3f2-fbc-4745-844c-ee37b546f627",
            description="Shortcode Registered Successfully",
        ),
    ),
    "pull_register__response__already_spaced_keys": (
        make.register_pull(),
        PullRegistered(already=True, reference="18633-7271215-1", description="ShortCode already Registered"),
    ),
    "pull_query__response__none_documented": (
        make.pull(),
        PullPage(rows=(), reference="26178-42530161-2", code="1001", message="Null"),
    ),
    "imsi__response": (
        make.imsi(),
        ImsiAnswer(
            imsi="9233817055099406",
            last_swap=date(2022, 5, 1),
            swapped_long_ago=False,
            last_swap_text="01-05-2022",
            registered_on=date(2022, 3, 1),
            request_ref_id="971f-4359-b611-6845a1be45ef280786",
        ),
    ),
    "swap__response": (
        make.swap(),
        SimSwapAnswer(
            last_swap=None,
            swapped_long_ago=True,
            last_swap_text="01-01-1900 00:00",
            request_ref_id="4277-415525-1",
        ),
    ),
    "hakikisha__response__ok": (
        make.hakikisha(),
        CustomerName(
            first_name="john",
            middle_name="M******",
            last_name="M******",
            request_id="06aae68f-7d5a-4b44-a22d-8aa77126689b",
        ),
    ),
    "query_org_info__response__ok": (
        make.organisation(),
        Organisation(
            short_code="666677",
            name="Daraja",
            charge_profile_id="20013",
            conversation_id="410c-48e1-b4ab-57d897c8c7a0141968",
        ),
    ),
    "bonga_calculate__response": (
        make.calculate(),
        BongaValue(amount=Decimal(8), points=40, rate=Decimal("0.2")),
    ),
    "bonga_redeem__response": (
        make.redeem(),
        BongaRedemption(
            request_ref_id="55b2b8bd-0be4-4430-b0dc-792efccdc690",
            message="Operation Successfully.",
            customer_message="Operation Successfully.",
        ),
    ),
    "iot_lifecycle__response": (
        make.iot(),
        IotAnswer(
            request_ref_id="228f-45a2-9987-5780c2ff600f362",
            message="Success",
            customer_message="Operation Successfull",
            body={"desc": "Operation successfull", "status": "Active", "statusCode": "0"},
        ),
    ),
}

ERRORS: dict[str, tuple[Any, type[DarajaError], str, str]] = {
    "b2b_express__error__401": (make.express(), TokenRefused, "401", "Unauthorized"),
    "billmanager__error__not_enabled_401": (make.opt_in(), TokenRefused, "401", "Unauthorized"),
    "billmanager_optin__error__already_registered": (make.opt_in(), RequestRefused, "409", "already Registered"),
    "billmanager_cancel__error__conflict": (make.cancel_invoice(), RequestRefused, "409", "cannot be cancelled"),
    "hakikisha__error__no_customer": (make.hakikisha(), RequestRefused, "400", "does not exist"),
    "pull_register__error__401": (make.register_pull(), TokenRefused, "401.001", "Invalid Access Token"),
    "qr__error__invalid_trxcode": (make.qr(), RequestRefused, "400", "Invalid TrxCode"),
    "query_org_info__response__not_found": (make.organisation(), RequestRefused, "1", "Invalid Identifier"),
    "ratiba__error__shortcode_400": (make.standing_order(), RequestRefused, "400", "BusinessShortCode"),
}

ELSEWHERE = {
    "billmanager_payment__response": "what we reply",
    "pull_query__response__rows": "test_pull.py",
    "pull_query__response__rows_string_msisdn": "test_pull.py",
    "qr__response__docs": "test_qr.py",
}


def answer_of(name: str) -> HttpResponse:
    """The response with a sample's body, and 200 where the source does not say."""
    found = sample(name)
    return HttpResponse(status=found.status or 200, body=found.body)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_the_published_one(name):
    """Field by field, with the published JSON types: text as text, numbers as numbers, the array as an array."""
    operation, changes, path = REQUESTS[name]
    request = operation.build(context(**changes))
    wanted = sample(name).json
    if name in CHANGED:
        wanted = {**wanted, **CHANGED[name]}
    assert ("POST", path) == (request.method, request.path)
    assert {"Content-Type": "application/json"} == dict(request.headers)
    assert wanted == json.loads(request.body, parse_float=Decimal)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read(name):
    """Each published answer is the typed answer, part by part."""
    operation, wanted = ANSWERS[name]
    assert wanted == operation.parse(answer_of(name))


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_raised(name):
    """Each published error is the error of the tree that says what may be done, with the code and the words."""
    operation, error, code, words = ERRORS[name]
    with pytest.raises(error) as caught:
        operation.parse(answer_of(name))
    assert code == caught.value.code
    assert words in caught.value.message


def test_every_sample_of_these_products_has_its_line():
    """A sample that is added without an expectation is found."""
    assert set(REQUESTS) == set(names("request", *APIS))
    listed = {*ANSWERS, *ERRORS, *ELSEWHERE}
    assert listed == {*names("response", *APIS), *names("error", *APIS)}


def test_the_reply_to_a_bill_payment_is_the_published_one():
    """Until this comes M-PESA posts the payment again."""
    assert sample("billmanager_payment__response").json == acknowledge_bill_push()


ALL = [
    make.b2b(), make.top_up(), make.tax(), make.pochi(), make.identity(), make.express(), make.qr(), make.opt_in(),
    make.change_opt_in(), make.send_invoice(), make.send_invoices(), make.cancel_invoice(), make.cancel_invoices(),
    make.acknowledge(), make.standing_order(), make.standing_order_2026(), make.register_pull(), make.pull(),
    make.imsi(), make.swap(), make.hakikisha(), make.organisation(), make.calculate(), make.redeem(), make.iot(),
    make.check_identity(),
]  # fmt: skip
MOVE_MONEY = {
    "B2BPayment", "TaxRemittance", "B2Pochi", "B2CIdentityPayment", "ExpressCheckout", "SendInvoice", "SendInvoices",
    "CreateStandingOrder", "RedeemBongaPoints",
}  # fmt: skip


def named(operation: Any) -> str:
    """The name of an operation's class."""
    return type(operation).__name__


@pytest.mark.parametrize("operation", ALL, ids=named)
def test_what_moves_money_says_so(operation):
    """Nothing that pays, or asks somebody to pay, is ever repeated by the client."""
    assert (named(operation) in MOVE_MONEY) is operation.moves_money
    assert operation.needs_credential is (
        named(operation) in {"B2BPayment", "TaxRemittance", "B2Pochi", "B2CIdentityPayment"}
    )


@pytest.mark.parametrize("operation", ALL, ids=named)
@pytest.mark.parametrize("status", [200, 500, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html></html>", b"{}", b"[]", b"null", b'{"ResponseCode": true}', b"\xff"])
def test_an_answer_that_says_nothing_is_no_success_and_no_refusal(operation, status, body):
    """Where money may have moved the error says that nobody knows, elsewhere that the answer made no sense."""
    with pytest.raises(Exception) as caught:
        operation.parse(HttpResponse(status=status, body=body))
    assert ("OutcomeUnknown" if operation.moves_money else "UnexpectedAnswer") == type(caught.value).__name__


@pytest.mark.parametrize("operation", ALL, ids=named)
def test_a_repr_shows_no_phone_number(operation):
    """Neither a phone number nor an identity number nor the account's credential is in a repr."""
    shown = repr(operation)
    for secret in (
        "254700",
        "0700000",
        "254708374149",
        "0708374149",
        "0722000000",
        "0710000000",
        "00000000'",
        "BASE64",
    ):
        assert secret not in shown


@attrs.frozen
class Needs:
    """The settings that a call cannot do without."""

    names: tuple[str, ...]
    all: ClassVar[tuple[str, ...]] = ("short_code", "initiator_name", "security_credential")


@pytest.mark.parametrize(
    ("operation", "needs"),
    [
        (make.b2b(), Needs(Needs.all)),
        (make.tax(), Needs(Needs.all)),
        (make.pochi(), Needs(Needs.all)),
        (make.identity(), Needs(Needs.all)),
        (make.express(), Needs(("short_code",))),
        (make.check_identity(), Needs(("short_code", "passkey", "initiator_name"))),
        (make.opt_in(), Needs(("short_code",))),
        (make.standing_order(), Needs(("short_code",))),
        (make.register_pull(), Needs(("short_code",))),
        (make.pull(), Needs(("short_code",))),
        (make.hakikisha(), Needs(("short_code",))),
        (make.redeem(), Needs(("short_code",))),
    ],
)
def test_a_missing_setting_is_named(operation, needs):
    """The error names the setting and the call, before anything is sent."""
    for name in needs.names:
        with pytest.raises(ConfigurationError, match=f"{name}: not set, and {named(operation)} needs it"):
            operation.build(context(**{name: "" if name == "short_code" else None}))


@pytest.mark.parametrize("command", list(B2BCommand))
def test_a_lost_answer_to_a_transfer_is_unknown(command):
    """A gateway's timeout leaves every transfer open."""
    fault = b'{"fault":{"faultstring":"Gateway Timeout","detail":{"errorcode":"messaging.adaptors.http.flow.GatewayTimeout"}}}'
    with pytest.raises(OutcomeUnknown):
        make.b2b(command=command).parse(HttpResponse(status=504, body=fault))
