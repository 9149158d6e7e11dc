"""Daraja's answers: every published answer and error, and every way to answer with nothing certain."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from mpesa_core.daraja.answers import (
    Accepted,
    parse_acceptance,
    parse_answer,
    parse_json_answer,
    refusal,
    without_secrets,
)
from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.balance import AccountBalance
from mpesa_core.daraja.c2b import C2BSimulated, RegisterUrls, RegisterUrlsAnswer, SimulateC2B
from mpesa_core.daraja.callbacks import CallbackType, StkQueryAnswer
from mpesa_core.daraja.codec import wire
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.express import StkPush, StkPushAccepted, StkQuery
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import (
    Busy,
    DarajaError,
    MpesaError,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    UnexpectedAnswer,
)
from tests.sampled import names, sample

URLS = {"result_url": "https://shop.example/pay/r", "timeout_url": "https://shop.example/pay/t"}
PUSH = StkPush(phone_number="0712345678", amount=1, account_reference="A1", callback_url="https://shop.example/pay/stk")
PAYOUT = B2CPayment(phone_number="0712345678", amount=10, originator_conversation_id="x-1", **URLS)
REVERSAL = Reversal(transaction_id="NLJ7RT61SV", amount=1, **URLS)
STATUS = TransactionStatus(transaction_id="NLJ7RT61SV", **URLS)
BALANCE = AccountBalance(**URLS)
REGISTER = RegisterUrls(confirmation_url="https://shop.example/pay/c", validation_url="https://shop.example/pay/v")
SIMULATE = SimulateC2B(phone_number="0712345678", amount=1, account_reference="A1")

OPERATIONS: dict[str, Any] = {
    "stk_push": PUSH,
    "b2c": PAYOUT,
    "reversal": REVERSAL,
    "transaction_status": STATUS,
    "account_balance": BALANCE,
    "c2b_register": REGISTER,
    "c2b_simulate": SIMULATE,
}


def operation_for(name: str) -> Any:
    api = name.split("__", maxsplit=1)[0]
    if api == "stk_query":
        body = sample(name).json
        return StkQuery(checkout_request_id=body.get("CheckoutRequestID", "ws_CO_1") if isinstance(body, dict) else "x")
    return OPERATIONS[api]


def answered(status: int, body: bytes | str | dict[str, Any], **headers: str) -> HttpResponse:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    return HttpResponse(
        status=status, body=raw, headers={key.replace("_", "-"): value for key, value in headers.items()}
    )


def pushed(merchant: str, checkout: str) -> StkPushAccepted:
    words = "Success. Request accepted for processing"
    return StkPushAccepted(
        merchant_request_id=merchant,
        checkout_request_id=checkout,
        response_code="0",
        response_description=words,
        customer_message=words,
    )


def accepted(conversation: str, originator: str, words: str = "Accept the service request successfully.") -> Accepted:
    return Accepted(
        conversation_id=conversation,
        originator_conversation_id=originator,
        response_code="0",
        response_description=words,
    )


def registered(originator: str, code: str, words: str) -> RegisterUrlsAnswer:
    return RegisterUrlsAnswer(originator_conversation_id=originator, response_code=code, response_description=words)


def queried(outcome: Outcome, code: int | str, words: str, merchant: str, checkout: str) -> StkQueryAnswer:
    return StkQueryAnswer(
        callback_type=CallbackType.STK_QUERY,
        outcome=outcome,
        correlation_id=checkout,
        result_code=code,
        result_desc=words,
        checkout_request_id=checkout,
        merchant_request_id=merchant,
        response_code="0",
    )


STILL = "The transaction is still under processing"
SIMULATED = "Accept the service request successfully."

ANSWERS: dict[str, Any] = {
    "stk_push__response__accepted_2019": pushed("29115-34620561-1", "ws_CO_191220191020363925"),
    "stk_push__response__accepted_2024": pushed("2654-4b64-97ff-b827b542881d3130", "ws_CO_1007202409152617172396192"),
    "stk_query__response__success_triple_s": queried(
        Outcome.SUCCESS,
        0,
        "The service request is processed successfully.",
        "22205-34066-1",
        "ws_CO_13012021093521236557",
    ),
    "stk_query__response__no_response_1037": queried(
        Outcome.EXPIRED,
        1037,
        "No response from user.",
        "ac7b-470b-8df7-23ab3cef38271071873",
        "ws_CO_06102026093000000708374149",
    ),
    "stk_query__response__still_processing_4999_string": queried(
        Outcome.PENDING, 4999, STILL, "234f-43a9-ae11-d0b0c2dbe930108127", "ws_CO_170820261404032708374149"
    ),
    "stk_query__response__still_processing_4999_number": queried(
        Outcome.PENDING, 4999, STILL, "234f-43a9-ae11-d0b0c2dbe930108127", "ws_CO_170820261404032708374149"
    ),
    "stk_query__response__sandbox_e3008": queried(
        Outcome.FAILED,
        "E3008",
        "Error, the user has a bad debt contract.",
        "234f-43a9-ae11-d0b0c2dbe930108127",
        "ws_CO_170820261404032708374149",
    ),
    "c2b_register__response__v2": registered("6e86-45dd-91ac-fd5d4178ab523408729", "0", "Success"),
    "c2b_register__response__v1_lowercase": registered("7619-37765134-1", "0", "success"),
    "c2b_register__response__code_00000000": registered("6e86-45dd-91ac-fd5d4178ab520000001", "00000000", "Success"),
    "c2b_simulate__response__v2": C2BSimulated(
        originator_conversation_id="53e3-4aa8-9fe0-8fb5e4092cdd3405976",
        response_code="0",
        response_description=SIMULATED,
    ),
    "c2b_simulate__response__v1_no_responsecode": C2BSimulated(
        originator_conversation_id="12362-3240472-1",
        conversation_id="AG_20180402_00004a92452ef78e864d",
        response_description=SIMULATED,
    ),
    "b2c__response__accepted_v1": accepted("AG_20191219_00005797af5d7d75f652", "16740-34861180-1"),
    "b2c__response__accepted_v3": accepted("AG_20240706_20106e9209f64bebd05b", "600997_Test_32et3241ed8yu"),
    "reversal__response": accepted("AG_20210706_20106e9209f64bebd05b", "f1e2-4b95-a71d-b30d3cdbb7a7735297"),
    "transaction_status__response": accepted("AG_20210709_1234409f86436c583e3f", "1236-7134259-1"),
    "account_balance__response": accepted(
        "AG_20200123_0000417fed8ed666e976", "515-5258779-3", "Accept the service request successfully"
    ),
}

# sample: the error, and Daraja's code in it. An unknown outcome is what a payment has after anything not certain.
ERRORS: dict[str, tuple[type[MpesaError], str | None]] = {
    "stk_push__error__invalid_businessshortcode": (RequestRefused, "400.002.02"),
    "stk_push__error__invalid_businessshortcode_github": (RequestRefused, "400.002.02"),
    "stk_push__error__invalid_callbackurl": (RequestRefused, "400.002.02"),
    "stk_push__error__invalid_remarks": (RequestRefused, "400.002.02"),
    "stk_push__error__wrong_credentials": (RequestRefused, "500.001.1001"),
    "stk_push__error__invalid_access_token_404": (TokenRefused, "404.001.03"),
    "stk_push__error__invalid_token_401_003_01": (TokenRefused, "401.003.01"),
    "stk_push__error__spike_arrest_500": (Busy, "500.003.02"),
    "stk_push__error__system_busy": (Busy, "500.003.02"),
    "stk_push__error__quota": (Busy, "500.003.03"),
    "stk_push__error__method_not_allowed": (RequestRefused, "405.001"),
    "stk_query__error__being_processed_500": (NotYet, "500.001.1001"),
    "stk_query__error__being_processed_pascalcase": (NotYet, "500.001.1001"),
    "stk_query__error__invalid_checkoutrequestid": (NotYet, "400.002.02"),
    "stk_query__error__no_transaction_found": (NotYet, "01"),
    "c2b_register__error__own_shortcode": (RequestRefused, "400.003.02"),
    "c2b_register__error__already_registered": (RequestRefused, "500.003.1001"),
    "c2b_register__error__duplicate_notification_info": (RequestRefused, "500.003.1001"),
    "c2b_register__error__soap_fault_in_json": (RequestRefused, "soap:Server"),
    "b2c__error__duplicate_originator": (OutcomeUnknown, "500.002.1001"),
    "b2c__error__invalid_token_401_002_01": (TokenRefused, "401.002.01"),
    "b2c__error__not_authorized_403": (RequestRefused, "403.002.1001"),
    "reversal__error__invalid_transactionid": (RequestRefused, "400.002.02"),
    "account_balance__error__invalid_token_401_002_01": (TokenRefused, "401.002.01"),
}


def test_every_sample_answer_and_error_of_these_products_has_its_row():
    """A sample that nobody said anything about fails here."""
    products = (*OPERATIONS, "stk_query")
    assert set(ANSWERS) == set(names("response", *products))
    assert set(ERRORS) == set(names("error", *products))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_sample_answer_is_read(name):
    """Each published answer becomes the typed one, field by field."""
    found = operation_for(name).parse(HttpResponse(status=200, body=sample(name).body))
    assert ANSWERS[name] == found
    assert type(ANSWERS[name]) is type(found)


@pytest.mark.parametrize("name", ERRORS)
def test_a_sample_error_is_raised(name):
    """Each published error becomes the right kind of refusal, with Daraja's code and without its token."""
    kind, code = ERRORS[name]
    status = sample(name).status or 400
    with pytest.raises(kind) as caught:
        operation_for(name).parse(HttpResponse(status=status, body=sample(name).body))
    assert type(caught.value) is kind
    assert (status, code) == (caught.value.status, caught.value.code)
    assert "BJGFGOXv5aZnw90KkA4TDtu4Xdyf" not in repr(pickle.loads(pickle.dumps(caught.value))) + str(
        vars(caught.value)
    )
    if isinstance(caught.value, DarajaError):
        assert caught.value.hint
        assert caught.value.message


@pytest.mark.parametrize("operation", [PUSH, PAYOUT, REVERSAL, SIMULATE, STATUS, BALANCE, REGISTER], ids=type)
def test_the_firewalls_page_is_no_answer(operation):
    """HTML with status 503 leaves a payment open, and is no answer to a question."""
    page = sample("gateway__error__incapsula_html")
    with pytest.raises(OutcomeUnknown if operation.moves_money else UnexpectedAnswer, match="Incapsula"):
        operation.parse(HttpResponse(status=page.status, body=page.body))


NOTHING_CERTAIN = [
    (200, b""),
    (200, b"   "),
    (200, b"<html>ok</html>"),
    (200, b"null"),
    (200, b"[]"),
    (200, b'"0"'),
    (200, b"{}"),
    (200, b'{"ResponseCode": "0"}'),
    (200, b'{"ResponseCode": "0", "ConversationID": "AG_1", "CheckoutRequestID": "ws_CO_1"'),
    (200, b'{"ResponseCode": "0", "ResponseCode": "0", "CheckoutRequestID": "a", "MerchantRequestID": "b"}'),
    (200, b'{"ResponseCode": "0", "CheckoutRequestID": "", "MerchantRequestID": "b"}'),
    (200, b'{"ResponseCode": "0", "CheckoutRequestID": null, "MerchantRequestID": "b"}'),
    (200, b'{"ResponseCode": "0", "ConversationID": "AG_1", "OriginatorConversationID": ["x"]}'),
    (200, (b'{"ResponseCode": null, "CheckoutRequestID": "a", "MerchantRequestID": "b", "ConversationID": "c", '
          b'"OriginatorConversationID": "d"}')),
    (200, (b'{"ResponseCode": true, "CheckoutRequestID": "a", "MerchantRequestID": "b", "ConversationID": "c", '
          b'"OriginatorConversationID": "d"}')),
    (200, (b'{"CheckoutRequestID": "a", "MerchantRequestID": "b", "ConversationID": "c", '
          b'"OriginatorConversationID": "d"}')),
    (200, b"\xff\xfe"),
    (204, b""),
    (302, b""),
    (400, b""),
    (404, b"<html>"),
    (500, b""),
    (500, b"{}"),
    (500, b'{"errorCode": "500.001.1001", "errorMessage": "Internal"}'),
    (502, b"<html>"),
    (503, b"{"),
    (504, (b'{"fault": {"faultstring": "Gateway Timeout", "detail": {"errorcode": '
          b'"messaging.adaptors.http.flow.GatewayTimeout", "reason": "TARGET_READ_TIMEOUT"}}}')),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), NOTHING_CERTAIN)
@pytest.mark.parametrize("operation", [PUSH, PAYOUT, REVERSAL], ids=type)
def test_a_payment_whose_answer_says_nothing_certain_is_unknown(operation, status, body):
    """Cut off, empty, HTML, without its ids, or a server error: it may have been carried out, and is never 'failed'."""
    with pytest.raises(OutcomeUnknown) as caught:
        operation.parse(answered(status, body))
    assert status == caught.value.status


@pytest.mark.parametrize(("status", "body"), NOTHING_CERTAIN)
@pytest.mark.parametrize("operation", [STATUS, BALANCE], ids=type)
def test_a_question_whose_answer_says_nothing_is_unexpected(operation, status, body):
    """The same answers to a question, which moves nothing."""
    with pytest.raises(UnexpectedAnswer) as caught:
        operation.parse(answered(status, body))
    assert status == caught.value.status


@pytest.mark.parametrize("name", ["stk_push__response__accepted_2024", "b2c__response__accepted_v3"])
def test_an_acceptance_cut_anywhere_is_unknown(name):
    """Whatever byte the answer ends at, an incomplete acceptance leaves the payment open."""
    whole = sample(name).body
    for length in range(len(whole)):
        with pytest.raises(OutcomeUnknown):
            operation_for(name).parse(answered(200, whole[:length]))


@pytest.mark.parametrize("code", ["1", 1, "15", "C2B", "0.0", "00"])
def test_another_response_code_is_a_refusal(code):
    """Only "0" and eight zeros accept."""
    body = {**json.loads(sample("stk_push__response__accepted_2024").body), "ResponseCode": code}
    with pytest.raises(RequestRefused) as caught:
        PUSH.parse(answered(200, body))
    assert str(code) == caught.value.code


@pytest.mark.parametrize("code", ["0", 0, "00000000"])
def test_an_acceptance_may_be_a_number(code):
    """The code counts as text or number."""
    body = {**json.loads(sample("b2c__response__accepted_v3").body), "ResponseCode": code}
    assert str(code) == PAYOUT.parse(answered(200, body)).response_code


def test_being_processed_is_no_refusal_of_a_payment():
    """To a question it means later; to a payment it may be this very one."""
    words = {"errorCode": "500.001.1001", "errorMessage": "The transaction is being processed"}
    with pytest.raises(OutcomeUnknown):
        PUSH.parse(answered(500, words))
    with pytest.raises(NotYet):
        StkQuery(checkout_request_id="ws_CO_1").parse(answered(500, words))


ENVELOPES = [
    ({"requestId": "r", "errorCode": "c", "errorMessage": "m"}, ("c", "m", "r")),
    ({"errorCode": "01", "errorMessage": "m"}, ("01", "m", "")),
    ({"RequestID": "r", "ErrorCode": "c", "ErrorMessage": "m"}, ("c", "m", "r")),
    ({"errorCode": 401, "errorMessage": None}, ("401", "", "")),
    ({"fault": {"faultstring": "m", "detail": {"errorcode": "policies.x"}}}, ("policies.x", "m", "")),
    ({"fault": {"faultstring": "m"}}, ("", "m", "")),
    ({"fault": {}}, ("", "gateway fault", "")),
    ({"Envelope": {"Body": {"Fault": {"faultcode": "soap:Server", "faultstring": "m"}}}}, ("soap:Server", "m", "")),
    ({"Envelope": {}}, ("", "SOAP fault", "")),
    (
        {"requestRefId": "r", "responseMessage": "m", "responseCode": 400, "timestamp": "t"},
        ("400", "m", "r"),
    ),
    (
        {"resmsg": "Action Forbidden", "rescode": "409", "Status_Message": "m", "errors": []},
        ("409", "Action Forbidden. m", ""),
    ),
    ({"header": {"status": "400", "message": "m", "requestID": "r"}, "body": {}}, ("400", "m", "r")),
    ({"header": {"responseCode": 500, "responseMessage": "m", "requestRefId": "r"}}, ("500", "m", "r")),
    ({"header": {"responseCode": 200, "responseMessage": "m"}, "body": {}}, None),
    ({"rescode": "200", "resmsg": "Success"}, None),
    ({"requestRefID": "r", "responseCode": "200", "responseDesc": "m"}, None),
    ({"ResponseCode": "0"}, None),
    ({"ResponseCode": "4000"}, None),
    ({}, None),
    ([], None),
    (None, None),
    ("text", None),
]


@pytest.mark.parametrize(("body", "expected"), ENVELOPES)
def test_each_error_envelope_is_recognised(body, expected):
    """Code, words and request id are found in every shape, and an answer that is none is none."""
    assert expected == refusal(body)


def test_the_gateways_spike_arrest_says_when_to_come_back():
    """A fault with status 429 is Busy, with the seconds that Retry-After says, where it says seconds."""
    body = {
        "fault": {
            "faultstring": "Spike arrest violation. Allowed rate : MessageRate{messagesPerPeriod=5}",
            "detail": {"errorcode": "policies.ratelimit.SpikeArrestViolation"},
        }
    }
    for header, seconds in (
        ("12", 12.0),
        ("", None),
        ("-1", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("9" * 9, None),
    ):
        with pytest.raises(Busy) as caught:
            PUSH.parse(answered(429, body, retry_after=header))
        assert seconds == caught.value.retry_after


def test_an_error_in_an_answer_with_status_200_is_an_error():
    """The envelope counts, whatever status the gateway gave it."""
    with pytest.raises(TokenRefused):
        PUSH.parse(answered(200, {"requestId": "r", "errorCode": "404.001.03", "errorMessage": "Invalid Access Token"}))
    with pytest.raises(RequestRefused):
        parse_json_answer(answered(200, {"rescode": "409", "resmsg": "Conflict"}), moves_money=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Error Occurred - Invalid Access Token - BJGFGOXv5aZnw90KkA4TDtu4Xdyf",
            "Error Occurred - Invalid Access Token - …",
        ),
        ("Invalid access token: abcdefgh12345678", "Invalid access token: …"),
        ("Authorization: Bearer BJGFGOXv5aZnw90KkA4TDtu4Xdyf", "Authorization: Bearer …"),
        ("the key Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3== is wrong", "the key … is wrong"),
        ("PhoneNumber 254712345678 is wrong", "PhoneNumber 2547…678 is wrong"),
        ("Invalid Access Token", "Invalid Access Token"),
        ("Bad Request - Invalid BusinessShortCode", "Bad Request - Invalid BusinessShortCode"),
        ("two\nlines\tand \x1b[31mcolour", "two lines and \ufffd[31mcolour"),
        ("ws_CO_06102026093000000708374149", "ws_CO_06102026093000…149"),
        ("AG_20191219_00005797af5d7d75f652", "AG_20191219_00005797af5d7d75f652"),
        ("x " * 400, ("x " * 150)[:299] + "…"),
    ],
)
def test_words_from_outside_are_fit_for_a_log_line(text, expected):
    """No token, credential or whole phone number, one line, and not endless."""
    assert expected == without_secrets(text)


def test_no_secret_of_an_answer_gets_into_an_error():
    """A token, a phone number and a credential in any part of any answer stay out of every error's text."""
    canaries = ("BJGFGOXv5aZnw90KkA4TDtu4Xdyf", "254712345678", "Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3")
    for canary in canaries:
        bodies = [
            {"errorCode": "401.002.01", "errorMessage": f"Invalid Access Token - {canary}"},
            {"errorCode": canary, "errorMessage": canary},
            {"fault": {"faultstring": canary, "detail": {"errorcode": canary}}},
            {"ResponseCode": canary, "ResponseDescription": canary},
            {"ResponseCode": "0", "ConversationID": canary},
            f"<html>{canary}</html>",
            f'{{"a": "{canary}"',
        ]
        for body in bodies:
            for status in (200, 400, 401, 500):
                for operation in (PUSH, STATUS):
                    with pytest.raises(MpesaError) as caught:
                        operation.parse(answered(status, body))
                    assert canary not in str(caught.value) + repr(caught.value)


@attrs.frozen(kw_only=True)
class Plain:
    name: str = attrs.field(metadata=wire("Name"))


def test_an_answer_without_a_code_is_read_by_its_fields():
    """Calls that answer at once, without an acceptance code, are read the same way."""
    assert Plain(name="x") == parse_answer(answered(200, {"Name": "x"}), Plain, moves_money=False)
    with pytest.raises(UnexpectedAnswer, match="Name"):
        parse_answer(answered(200, {}), Plain, moves_money=False)


def test_an_acceptance_may_have_another_code():
    """The key and the codes of an acceptance are the product's own."""
    body = {"code": "200", "Name": "x"}
    found = parse_acceptance(
        answered(200, body), Plain, moves_money=True, code_name="code", accepted=frozenset({"200"})
    )
    assert Plain(name="x") == found
