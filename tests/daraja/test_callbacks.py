"""What each callback says, from the samples of real traffic; one row a sample, written from Safaricom's pages."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

from mpesa_core.daraja.balance import Balance
from mpesa_core.daraja.callbacks import (
    BalanceCallback,
    BillPayment,
    C2BCallback,
    Callback,
    CallbackType,
    ExpressCallback,
    PullRow,
    ResultCallback,
    StandingOrderCallback,
    StatusCallback,
    StkCallback,
    StkQueryAnswer,
    TimeoutNotice,
    Unreadable,
    decode_callback,
)
from mpesa_core.daraja.codes import Outcome
from tests.sampled import names, sample

S, F, C, X, P, U = (
    Outcome.SUCCESS,
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.EXPIRED,
    Outcome.PENDING,
    Outcome.UNKNOWN,
)
STK, VALIDATION, CONFIRMATION = CallbackType.STK, CallbackType.C2B_VALIDATION, CallbackType.C2B_CONFIRMATION
B2C, B2B, BALANCE = CallbackType.B2C_RESULT, CallbackType.B2B_RESULT, CallbackType.BALANCE_RESULT
REVERSAL, STATUS, TIMEOUT = CallbackType.REVERSAL_RESULT, CallbackType.STATUS_RESULT, CallbackType.B2C_TIMEOUT

# sample: type, outcome, result code, receipt, amount, correlation id
CALLBACKS: dict[str, tuple[CallbackType, Outcome, int | str | None, str | None, str | None, str]] = {
    "stk_push__callback__success_docs": (STK, S, 0, "NLJ7RT61SV", "1.00", "ws_CO_191220191020363925"),
    "stk_push__callback__success_2019_production": (
        STK, S, 0, "NCB9FJNAIT", "1.00", "ws_CO_DMZ_264695293_11032019122104433",
    ),
    "stk_push__callback__success_2026_captured": (STK, S, 0, "UJ60000001", "1", "ws_CO_06102026095000000708374149"),
    "stk_push__callback__success_masked_phone": (STK, S, 0, "NLJ7RT61SV", "1.00", "ws_CO_191220191020363925"),
    "stk_push__callback__success_reordered_string_values": (STK, S, 0, "QHJ7XYZ123", "100", "ws_CO_txstr"),
    "stk_push__callback__success_empty_items": (STK, S, 0, None, None, "ws_CO_empty"),
    "stk_push__callback__cancelled_1032_prefixed": (STK, C, 1032, None, None, "ws_CO_27072017151044001"),
    "stk_push__callback__cancelled_1032_capital_c": (STK, C, 1032, None, None, "ws_CO_1007202409152617172396192"),
    "stk_push__callback__wrong_pin_2001_prefixed": (STK, F, 2001, None, None, "ws_CO_DMZ_264800546_11032019141837240"),
    "stk_push__callback__timeout_1036_prefixed": (STK, X, 1036, None, None, "ws_CO_DMZ_262987371_09032019203456095"),
    "stk_push__callback__timeout_1036_2018": (STK, X, 1036, None, None, "ws_CO_DMZ_190417717_26112018210044373"),
    "stk_push__callback__unreachable_1037_ds_timeout": (STK, X, 1037, None, None, "ws_CO_1007202409152617172396192"),
    "stk_push__callback__unreachable_1037_no_response_2026": (
        STK, X, 1037, None, None, "ws_CO_06102026093000000708374149",
    ),
    "stk_push__callback__locked_1001": (STK, F, 1001, None, None, "ws_CO_f_1001"),
    "c2b_validation__callback__2017": (VALIDATION, P, None, None, "10.00", "LGR219G3EY"),
    "c2b_confirmation__callback__2017": (CONFIRMATION, S, None, "LGR219G3EY", "10.00", "LGR219G3EY"),
    "c2b_confirmation__callback__2018_plain_msisdn": (CONFIRMATION, S, None, "MIE11H6OY9", "1200.00", "MIE11H6OY9"),
    "c2b_confirmation__callback__v1_masked": (CONFIRMATION, S, None, "RKTQDM7W6S", "10", "RKTQDM7W6S"),
    "c2b_confirmation__callback__v1_sha256_msisdn": (CONFIRMATION, S, None, "RKTQDM7W6S", "10.00", "RKTQDM7W6S"),
    "c2b_confirmation__callback__v2_masked_no_spaces": (CONFIRMATION, S, None, "RKL51ZDR4F", "5.00", "RKL51ZDR4F"),
    "c2b_confirmation__callback__v2_names_absent": (CONFIRMATION, S, None, "RKL51ZDR4F", "5.00", "RKL51ZDR4F"),
    "c2b_confirmation__callback__till_customer_merchant_payment": (
        CONFIRMATION, S, None, "RKL51ZDR4F", "5.00", "RKL51ZDR4F",
    ),
    "c2b_confirmation__callback__org_to_org": (CONFIRMATION, S, None, "RKL51ZDR4F", "500.00", "RKL51ZDR4F"),
    "b2c__callback__success_2024": (B2C, S, 0, "SG632NMUAB", "10", "AG_20240706_2010364430d9bbdaf872"),
    "b2c__callback__success_2017": (B2C, S, 0, "LGH3197RIB", "8000", "AG_20170717_00006be9c8b5cc46abb6"),
    "b2c__callback__fail_2001_2024": (B2C, F, 2001, None, None, "AG_20240707_201062f6f6f5804f7a33"),
    "b2c__callback__fail_2001_2019": (B2C, F, 2001, None, None, "AG_20191219_00006c6fddb15123addf"),
    "b2c__callback__fail_insufficient_1": (B2C, F, 1, None, None, "AG_20240707_201062f6f6f5804f7a33"),
    "b2c__callback__queue_timeout_echoes_request": (TIMEOUT, U, None, None, None, "600997_Test_32et3241ed8yu"),
    "any__callback__queue_timeout_flat_guess": (TIMEOUT, U, 1, None, None, "AG_20191219_00004e48cf7e3533f581"),
    "b2pochi__callback__locked_8006_single_param_object": (
        B2C, F, 8006, None, None, "AG_20261006_201000000000000000a1",
    ),
    "b2b_paybill__callback__success_strings": (B2B, S, 0, "QKA81LK5CY", "190.00", "12345677dfdf89099B3"),
    "b2b_buygoods__callback__success_strings": (B2B, S, 0, "QKA81LK5CY", "190.00", "12345677dfdf89099B3"),
    "b2b_paybill__callback__success_numbers_2017": (
        B2B, S, 0, "LGR519G2QV", "10", "AG_20170727_00006baee344f4ce0796",
    ),
    "b2b_paybill__callback__fail_2001_param_list": (B2B, F, 2001, None, None, "AG_20200120_0000657265d5fa9ae5c0"),
    "b2b_paybill__callback__locked_8006_reference_list": (
        B2B, F, 8006, None, None, "AG_20261006_201000000000000000a2",
    ),
    "b2b__callback__fail_sfc_ic0003": (B2B, F, "SFC_IC0003", None, None, "AG_20230420_2010759fd5662ef6d054"),
    "b2c_topup__callback__success": (B2B, S, 0, "QKA81LK5CY", "190.00", "12345677dfdf89099B3"),
    "b2c_topup__callback__fail_single_param_numeric": (B2B, F, 2001, None, None, "AG_20200120_0000657265d5fa9ae5c0"),
    "tax__callback__success": (B2B, S, 0, "QKA81LK5CY", "190.00", "AG_20181005_00004d7ee675c0c7ee0b"),
    "tax__callback__locked_8006": (B2B, F, 8006, None, None, "AG_20261006_201000000000000000a3"),
    "b2b_express__callback__success": (
        CallbackType.B2B_EXPRESS, S, 0, "RDQ01NFT1Q", "71.0", "404e1aec-19e0-4ce3-973d-bd92e94c8021",
    ),
    "b2b_express__callback__cancelled_4001": (
        CallbackType.B2B_EXPRESS, C, 4001, None, "71.0", "c2a9ba32-9e11-4b90-892c-7bc54944609a",
    ),
    "reversal__callback__success_2021_numbers": (
        REVERSAL, S, 0, "SKE52PAWR9", "1.00", "AG_20211114_201018edbbf9f1582eaa",
    ),
    "reversal__callback__code21_success_text_strings": (
        REVERSAL, U, 21, None, "100", "AG_20181005_00004d7ee675c0c7ee0b",
    ),
    "reversal__callback__fail_R000002": (REVERSAL, F, "R000002", None, None, "AG_20211114_2010573069aefb6b625a"),
    # "Already reversed" is done after checking: it may have been this very request, so it is asked about.
    "reversal__callback__fail_R000001_already_reversed": (
        REVERSAL, U, "R000001", None, None, "AG_20211114_2010573069aefb6b625a",
    ),
    "transaction_status__callback__success_2017_spaced_keys": (
        STATUS, S, 0, "LGR919G2AV", "10", "AG_20170727_00004492b1b6d0078fbe",
    ),
    "transaction_status__callback__b2b_2024": (
        STATUS, S, 0, "SDE00000AA", "190", "AG_20230420_2010759fd5662ef6d054",
    ),
    "transaction_status__callback__not_found_2032": (STATUS, U, 2032, None, None, "AG_20261006_201000000000000000a4"),
    "transaction_status__callback__bad_param_25": (STATUS, U, 25, None, None, "AG_20210709_1234409f86436c583e3f"),
    "account_balance__callback__success_strings": (BALANCE, S, 0, None, None, "AG_20200206_00005e091a8ec6b9eac5"),
    "account_balance__callback__success_2020_single_account": (
        BALANCE, S, 0, None, None, "AG_20200927_00007cdb1f9fb6494315",
    ),
    "account_balance__callback__success_2024_actiontype": (
        BALANCE, S, 0, None, None, "AG_20191219_00004e48cf7e3533f581",
    ),
    "account_balance__callback__locked_8006": (BALANCE, F, 8006, None, None, "AG_20261006_201000000000000000a5"),
    "billmanager_payment__callback": (CallbackType.BILL_PAYMENT, S, None, "RJB53MYR1N", "5000", "RJB53MYR1N"),
    "ratiba__callback__success_camel": (
        CallbackType.STANDING_ORDER, S, 0, None, None, "0acc0239-20fa-4a52-8b9d-9bd64c0465c3",
    ),
    "ratiba__callback__fail_1037_pascal": (
        CallbackType.STANDING_ORDER, X, 1037, None, None, "c8c2bb31-3b3a-402e-84fc-21ef35161e48",
    ),
}  # fmt: skip


def test_every_sample_callback_has_its_row():
    """A sample that nobody said anything about fails here."""
    assert set(CALLBACKS) == set(names("callback"))


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_sample_decodes_to_what_it_says(name):
    """Outcome, code, receipt, amount and correlation are those of the row, and a clear sample has no problem."""
    kind, outcome, code, receipt, amount, correlation = CALLBACKS[name]
    found = decode_callback(kind, sample(name).body)
    told = (found.callback_type, found.outcome, found.result_code, found.receipt_number, found.amount)
    assert (kind, outcome, code, receipt, None if amount is None else Decimal(amount)) == told
    assert type(code) is type(found.result_code)
    assert (None if code is None else str(code)) == found.result_code_text
    assert correlation == found.correlation_id
    assert (kind is TIMEOUT) == found.notice
    if outcome is S:
        assert found.problem is None


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_type_may_be_given_as_text(name):
    """A stored type is text, and decodes the same."""
    kind = CALLBACKS[name][0]
    assert decode_callback(kind, sample(name).body) == decode_callback(str(kind), sample(name).body)


def decoded(name: str) -> Any:
    return decode_callback(CALLBACKS[name][0], sample(name).body)


def test_an_stk_success_has_its_particulars():
    """Phone, time in UTC, both ids and M-PESA's words are read."""
    assert StkCallback(
        callback_type=CallbackType.STK,
        outcome=S,
        correlation_id="ws_CO_191220191020363925",
        result_code=0,
        result_desc="The service request is processed successfully.",
        receipt_number="NLJ7RT61SV",
        amount=Decimal(1),
        phone_number="254708374149",
        occurred_at=datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC),
        checkout_request_id="ws_CO_191220191020363925",
        merchant_request_id="29115-34620561-1",
    ) == decoded("stk_push__callback__success_docs")


def test_a_masked_phone_and_a_written_time_are_kept_and_read():
    """The mask stays as sent; a time as text is Nairobi time too."""
    assert "254708***430" == decoded("stk_push__callback__success_masked_phone").phone_number
    reordered = decoded("stk_push__callback__success_reordered_string_values")
    assert datetime(2026, 4, 26, 9, 30, tzinfo=UTC) == reordered.occurred_at
    assert reordered.phone_number is None


def test_a_c2b_confirmation_has_its_particulars():
    """Names, short code, reference, the balance and the id that we gave at validation are read; blanks are None."""
    assert C2BCallback(
        callback_type=CallbackType.C2B_CONFIRMATION,
        outcome=S,
        correlation_id="LGR219G3EY",
        receipt_number="LGR219G3EY",
        amount=Decimal(10),
        phone_number="254708374149",
        short_code="600134",
        account_reference="xyz",
        occurred_at=datetime(2017, 7, 27, 7, 42, 47, tzinfo=UTC),
        transaction_id="LGR219G3EY",
        transaction_type=None,
        third_party_id="1234567890",
        first_name="John",
        middle_name="Doe",
        org_balance=Decimal("49197.00"),
    ) == decoded("c2b_confirmation__callback__2017")


@pytest.mark.parametrize(
    ("name", "phone"),
    [
        ("c2b_confirmation__callback__v1_masked", "25470****149"),
        (
            "c2b_confirmation__callback__v1_sha256_msisdn",
            "bbff37cea44ac0b2d964ee0dfb8d2df8513dc7ba1b36129a929fc3fbd6dd4af4",
        ),
        ("c2b_confirmation__callback__v2_masked_no_spaces", "2547*****126"),
        ("c2b_confirmation__callback__till_customer_merchant_payment", "2547 ***** 032"),
        ("c2b_confirmation__callback__org_to_org", "600000"),
        ("b2c__callback__success_2024", "254700000012"),
        ("reversal__callback__success_2021_numbers", "254700000012"),
        ("b2b_paybill__callback__success_strings", None),
        ("transaction_status__callback__success_2017_spaced_keys", "254708374149"),
        ("billmanager_payment__callback", "254700000003"),
        ("ratiba__callback__success_camel", "254******867"),
    ],
)
def test_phone_numbers_are_kept_as_sent(name, phone):
    """Plain, masked, hashed, beside a name, or a short code instead."""
    assert phone == decoded(name).phone_number


def test_a_validation_is_pending_and_proves_nothing():
    """What is asked about is not paid: no receipt yet, and the id is under its own name."""
    asked = decoded("c2b_validation__callback__2017")
    assert (P, None, "LGR219G3EY", "600134") == (
        asked.outcome,
        asked.receipt_number,
        asked.transaction_id,
        asked.short_code,
    )


def test_a_payout_result_has_its_particulars():
    """Ids, time and every parameter are read, in their order."""
    paid = decoded("b2c__callback__success_2024")
    assert isinstance(paid, ResultCallback)
    assert ("AG_20240706_2010364430d9bbdaf872", "53e3-4aa8-9fe0-8fb5e4092cdd3533373") == (
        paid.conversation_id,
        paid.originator_conversation_id,
    )
    assert datetime(2024, 7, 6, 19, 48, 52, tzinfo=UTC) == paid.occurred_at
    assert "254700000012 - JANE DOE" == paid.party_name
    assert ("B2CChargesPaidAccountAvailableFunds", Decimal("-1980.00")) == paid.parameters[-1]
    assert ("TransactionAmount", 10) == paid.parameters[0]


def test_the_id_of_a_failed_payout_is_no_receipt():
    """A failure's TransactionID looks like a receipt and proves nothing."""
    failed = decoded("b2c__callback__fail_2001_2024")
    assert ("SG722NMVXQ", None) == (failed.transaction_id, failed.receipt_number)


def test_a_reversal_names_the_payment_that_was_given_back():
    """The original's receipt is not the reversal's."""
    done = decoded("reversal__callback__success_2021_numbers")
    assert ("SKC82PACB8", "SKE52PAWR9") == (done.original_transaction_id, done.receipt_number)


def test_a_reversal_that_contradicts_itself_is_left_to_a_person():
    """A failing code with the particulars of a success is unknown and says so."""
    odd = decoded("reversal__callback__code21_success_text_strings")
    assert (U, None) == (odd.outcome, odd.receipt_number)
    assert odd.problem


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("b2b_paybill__callback__locked_8006_reference_list", "353353"),
        ("tax__callback__locked_8006", "PRN1234XN"),
        ("b2b_paybill__callback__success_numbers_2017", "aaa"),
    ],
)
def test_a_bill_reference_is_text_however_it_is_sent(name, reference):
    """Numbers and text alike, from a list with items that have no value."""
    assert reference == decoded(name).account_reference


def test_one_parameter_may_stand_without_a_list():
    """A single object instead of a list, as Daraja sends it, is a list of one."""
    found = decoded("b2pochi__callback__locked_8006_single_param_object")
    assert (("CreditPartyName", "254700000012 - JANE DOE"),) == found.parameters


def test_a_status_answer_tells_of_the_payment_and_not_of_the_question():
    """Its ids are the payment's, from either spelling; the question's own id has a name of its own."""
    spaced = decoded("transaction_status__callback__success_2017_spaced_keys")
    assert isinstance(spaced, StatusCallback)
    assert ("AG_20170727_00004492b1b6d0078fbe", "19455-773836-1", "AG_20170727_000059c52529a8e080bd") == (
        spaced.conversation_id,
        spaced.originator_conversation_id,
        spaced.question_conversation_id,
    )
    assert ("Completed", "Salary Payment via API") == (spaced.transaction_status, spaced.reason_type)
    assert datetime(2017, 7, 27, 7, 14, 15, tzinfo=UTC) == spaced.occurred_at
    missing = decoded("transaction_status__callback__not_found_2032")
    assert (None, None, "AG_20261006_201000000000000000a4") == (
        missing.conversation_id,
        missing.originator_conversation_id,
        missing.question_conversation_id,
    )


@pytest.mark.parametrize(
    ("status", "outcome", "receipt"),
    [
        ("Completed", S, "SDE00000AA"),
        ("Cancelled", F, None),
        ("Declined", F, None),
        ("Expired", F, None),
        ("Initiated", P, None),
        ("Authorized", P, None),
        ("Pending Authorized", P, None),
        ("Something new", U, None),
        (None, U, None),
        (1, U, None),
        (["Completed"], U, None),
    ],
)
def test_only_a_completed_transaction_is_paid(status, outcome, receipt):
    """Each TransactionStatus has its outcome, and a receipt is proof only with Completed."""
    body = sample("transaction_status__callback__b2b_2024").json
    for item in body["Result"]["ResultParameters"]["ResultParameter"]:
        if item["Key"] == "TransactionStatus":
            item["Value"] = status
    found = decode_callback("STATUS_RESULT", json.dumps(body).encode())
    assert (outcome, receipt) == (found.outcome, found.receipt_number)


def test_balances_are_read_into_accounts():
    """Name, currency and the four amounts of each, negative ones too."""
    found = decoded("account_balance__callback__success_strings")
    assert isinstance(found, BalanceCallback)
    assert ["Working Account", "Float Account", "Utility Account", "Charges Paid Account",
            "Organization Settlement Account"] == [each.name for each in found.balances]  # fmt: skip
    assert Balance(
        name="Charges Paid Account",
        currency="KES",
        current=Decimal("-1540.00"),
        available=Decimal("-1540.00"),
        reserved=Decimal(0),
        uncleared=Decimal(0),
    ) == found.balances[3]  # fmt: skip
    assert () == decoded("account_balance__callback__locked_8006").balances


def test_a_queue_timeout_that_posts_our_request_back_shows_no_credential():
    """The ids are read, the credential is gone from the parsed body, and nothing is said of the payment."""
    notice = decoded("b2c__callback__queue_timeout_echoes_request")
    assert isinstance(notice, TimeoutNotice)
    assert "600997_Test_32et3241ed8yu" == notice.originator_conversation_id
    assert "BASE64RSA==" not in json.dumps(notice.raw)
    assert "BusinessPayment" == notice.raw["CommandID"]


def test_a_timeout_notice_is_never_an_outcome():
    """Even a result with the code of a success says nothing on that path."""
    body = sample("b2c__callback__success_2024").body
    assert U is decode_callback("B2C_TIMEOUT", body).outcome
    assert decode_callback("STATUS_TIMEOUT", b"not json").notice


def test_other_products_have_their_particulars():
    """Express, bill payments and standing orders."""
    express = decoded("b2b_express__callback__cancelled_4001")
    assert isinstance(express, ExpressCallback)
    assert "MAndbubry3hi" == express.payment_reference
    bill = decoded("billmanager_payment__callback")
    assert isinstance(bill, BillPayment)
    assert ("349350555", "LGHJIO789") == (bill.short_code, bill.account_reference)
    order = decoded("ratiba__callback__success_camel")
    assert isinstance(order, StandingOrderCallback)
    assert ("SC8F2IQMH5", "OKAY", None) == (order.standing_order_id, order.status, order.receipt_number)


@pytest.mark.parametrize("name", ["pull_query__response__rows", "pull_query__response__rows_string_msisdn"])
def test_a_pulled_row_is_a_payment(name):
    """Each row of the samples, recorded by itself, is a success with its receipt and amount."""
    row = sample(name).json["Response"][0][0]
    found = decode_callback("PULL", json.dumps(row, default=str).encode())
    assert isinstance(found, PullRow)
    assert (S, row["transactionId"], Decimal(row["amount"])) == (found.outcome, found.receipt_number, found.amount)
    assert str(row["msisdn"]) == found.phone_number


# sample of an STK query's answer: outcome, code
QUERIES: dict[str, tuple[Outcome, int | str | None]] = {
    "stk_query__response__success_triple_s": (S, 0),
    "stk_query__response__no_response_1037": (X, 1037),
    "stk_query__response__still_processing_4999_string": (P, 4999),
    "stk_query__response__still_processing_4999_number": (P, 4999),
    "stk_query__response__sandbox_e3008": (F, "E3008"),
    "stk_query__error__being_processed_500": (P, None),
    "stk_query__error__being_processed_pascalcase": (P, None),
    "stk_query__error__invalid_checkoutrequestid": (P, None),
    "stk_query__error__no_transaction_found": (P, None),
}


def test_every_sample_of_a_query_has_its_row():
    """A sample that nobody said anything about fails here."""
    assert set(QUERIES) == {*names("response", "stk_query"), *names("error", "stk_query")}


@pytest.mark.parametrize("name", QUERIES)
def test_a_recorded_query_answer_says_what_it_said(name):
    """The recorded answer of a query is evidence like a callback; it never has a receipt."""
    found = decode_callback(CallbackType.STK_QUERY, sample(name).body)
    assert isinstance(found, StkQueryAnswer)
    assert (*QUERIES[name], None, None) == (found.outcome, found.result_code, found.receipt_number, found.amount)


def stk_with(code: Any, *, absent: bool = False) -> bytes:
    body = sample("stk_push__callback__success_docs").json
    body["Body"]["stkCallback"]["ResultCode"] = code
    if absent:
        del body["Body"]["stkCallback"]["ResultCode"]
    return json.dumps(body, default=str).encode()


@pytest.mark.parametrize(
    ("literal", "code", "outcome"),
    [
        ("0", 0, S),
        ('"0"', 0, S),
        ("0.0", 0, S),
        ('" 0 "', 0, S),
        ("0e0", 0, S),
        ("true", None, U),
        ("false", None, U),
        ("null", None, U),
        ('""', None, U),
        ('"00"', "00", U),
        ('"0.0"', "0.0", U),
        ("[0]", None, U),
        ('{"0": 0}', None, U),
        ('"zero"', "zero", U),
        ("987654", 987654, U),
        ("0.5", "0.5", U),
        ("4999", 4999, P),
    ],
)
@pytest.mark.parametrize("name", ["stk_push__callback__success_docs", "b2c__callback__success_2024"])
def test_a_result_code_counts_in_each_of_its_forms_and_in_no_other(name, literal, code, outcome):
    """Zero as number or text is a success; a boolean, null, a list and odd text are unknown: no success, no failure."""
    if literal == "4999" and name.startswith("b2c"):
        outcome = U
    text = sample(name).body.decode()
    changed = text.replace('"ResultCode": 0,', f'"ResultCode": {literal},')
    assert text != changed or literal == "0"
    found = decode_callback(CALLBACKS[name][0], changed.encode())
    assert (code, outcome) == (found.result_code, found.outcome)
    assert (outcome is S) == (found.receipt_number is not None)


@pytest.mark.parametrize("name", ["stk_push__callback__success_docs", "b2c__callback__success_2024"])
def test_without_a_result_code_nothing_is_known(name):
    """A success whose code was left out is neither success nor failure."""
    text = sample(name).body.decode()
    changed = text.replace('"ResultCode": 0,', "")
    assert text != changed
    found = decode_callback(CALLBACKS[name][0], changed.encode())
    assert (None, None, U, None) == (found.result_code, found.result_code_text, found.outcome, found.receipt_number)


@pytest.mark.parametrize(
    "item",
    [
        {"Name": "Amount", "Value": "1.0O"},
        {"Name": "Amount", "Value": True},
        {"Name": "Amount", "Value": [1]},
        {"Name": "Amount", "Value": 2},
        {"Name": "Amount", "Value": "1.001"},
        {"Name": "Amount", "Value": 10**12},
        {"Name": "MpesaReceiptNumber", "Value": "XXX7RT61SV"},
        {"Name": "MpesaReceiptNumber", "Value": {"a": 1}},
        {"Name": "MpesaReceiptNumber", "Value": "a receipt"},
        "not an item",
        {"Nome": "Amount"},
    ],
)
def test_a_success_whose_facts_cannot_be_read_is_unknown(item):
    """An amount or receipt that is unreadable, or told twice in different ways, is no proof of payment."""
    body = json.loads(sample("stk_push__callback__success_docs").body)
    body["Body"]["stkCallback"]["CallbackMetadata"]["Item"].append(item)
    found = decode_callback("STK", json.dumps(body).encode())
    assert (U, None) == (found.outcome, found.receipt_number)
    assert found.problem


def test_a_fact_told_twice_alike_is_told():
    """The same amount in two forms is one amount."""
    body = json.loads(sample("stk_push__callback__success_docs").body)
    body["Body"]["stkCallback"]["CallbackMetadata"]["Item"].append({"Name": "Amount", "Value": "1.00"})
    assert S is decode_callback("STK", json.dumps(body).encode()).outcome


def test_a_failure_with_a_receipt_is_unknown():
    """A cancelled push that names a receipt contradicts itself, and is left to a person."""
    found = decode_callback("STK", stk_with(1032))
    assert (U, 1032, None) == (found.outcome, found.result_code, found.receipt_number)
    assert found.problem


def test_a_dummy_receipt_is_none():
    """Three letters and seven zeros stand for no receipt."""
    body = sample("stk_push__callback__success_docs").body.replace(b"NLJ7RT61SV", b"NLJ0000000")
    found = decode_callback("STK", body)
    assert (S, None) == (found.outcome, found.receipt_number)


def test_the_first_of_several_messages_is_not_the_last_word():
    """ResultType 1 means that further messages follow: nothing is settled by it."""
    body = sample("b2c__callback__success_2024").body.replace(b'"ResultType": 0', b'"ResultType": 1')
    assert P is decode_callback("B2C_RESULT", body).outcome


def test_the_answer_to_a_question_is_no_payment():
    """A status or balance answer that strays to the URL of payouts does not settle one."""
    for name in ("transaction_status__callback__b2b_2024", "account_balance__callback__success_strings"):
        assert U is decode_callback("B2C_RESULT", sample(name).body).outcome


def test_two_receipts_in_one_result_are_unknown():
    """TransactionReceipt and TransactionID are the same, or the result proves nothing."""
    body = sample("b2c__callback__success_2024").body.replace(
        b'"TransactionID": "SG632NMUAB"', b'"TransactionID": "SG632NMUAX"'
    )
    found = decode_callback("B2C_RESULT", body)
    assert (U, None) == (found.outcome, found.receipt_number)


def test_the_success_of_2017_without_parameters_is_a_success():
    """A result without ResultParameters has its receipt in TransactionID and no amount."""
    body = json.loads(sample("b2c__callback__success_2017").body)
    del body["Result"]["ResultParameters"]
    found = decode_callback("B2C_RESULT", json.dumps(body).encode())
    assert (S, "LGH3197RIB", None, None) == (found.outcome, found.receipt_number, found.amount, found.problem)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"TransAmount": ""}, U),
        ({"TransAmount": "0.00"}, U),
        ({"TransAmount": "-5"}, U),
        ({"TransAmount": "ten"}, U),
        ({"TransAmount": 10.0}, S),
        ({"TransID": "LGR0000000"}, U),
        ({"TransID": ["LGR219G3EY"]}, U),
        ({"BusinessShortCode": None}, U),
        ({"BillRefNumber": "x" * 300}, U),
        ({"ResultCode": 1}, U),
        ({"MSISDN": None}, S),
        ({"FirstName": None, "MiddleName": 5, "LastName": ["Doe"]}, S),
        ({"BillRefNumber": 12345}, S),
        ({"Unheard": {"of": []}}, S),
    ],
)
def test_a_confirmation_must_say_what_was_paid_and_to_whom(change, outcome):
    """Receipt, amount and short code are what it proves; names and the phone may be missing."""
    body = {**json.loads(sample("c2b_confirmation__callback__2017").body), **change}
    found = decode_callback("C2B_CONFIRMATION", json.dumps(body).encode())
    assert isinstance(found, C2BCallback)
    assert outcome is found.outcome
    assert (outcome is S) == (found.problem is None) == (found.receipt_number is not None)


def query(**change: Any) -> Callback:
    body = {**json.loads(sample("stk_query__response__success_triple_s").body), **change}
    return decode_callback("STK_QUERY", json.dumps(body).encode())


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, S),
        ({"ResponseCode": 0, "ResultCode": 0}, S),
        ({"ResponseCode": "1"}, U),
        ({"ResponseCode": None}, U),
        ({"ResultCode": None}, U),
        ({"ResultCode": True}, U),
        ({"ResultCode": "1", "ResultDesc": "The transaction is still under processing"}, P),
        ({"ResultCode": "1", "ResultDesc": "The balance is insufficient for the transaction."}, F),
        ({"ResultCode": "12345"}, U),
        ({"errorCode": "500.001.1001", "errorMessage": "The transaction is being processed"}, P),
        ({"errorCode": "500.001.1001", "errorMessage": "Unable to"}, U),
    ],
)
def test_a_query_settles_only_by_both_of_its_codes(change, outcome):
    """The question's code and the payment's both count, and an error is not an outcome."""
    assert outcome is query(**change).outcome


def test_a_standing_order_that_disagrees_with_itself_is_unknown():
    """Two codes that differ, or a status that is no success, are no success."""
    text = sample("ratiba__callback__success_camel").body.decode()
    for old, new in (('"responseCode": "0"', '"responseCode": "1037"'), ("OKAY", "ERROR")):
        changed = text.replace(old, new, 1)
        assert text != changed
        assert U is decode_callback("STANDING_ORDER", changed.encode()).outcome


@pytest.mark.parametrize("kind", CallbackType)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{}",
        b'{"Result": []}',
        b'{"Body": {"stkCallback": null}}',
        b"\xff",
        b"<html>",
    ],
)
def test_what_is_not_the_type_is_unreadable_and_unknown(kind, body):
    """Every type takes every wrong body without raising, and says what was wrong."""
    found = decode_callback(kind, body)
    assert U is found.outcome
    assert kind is found.callback_type
    if not kind.endswith("_TIMEOUT") and kind is not CallbackType.STK_QUERY:
        assert isinstance(found, Unreadable)
        assert found.problem


@pytest.mark.parametrize("kind", ["", "stk", "UNHEARD", "STK\n"])
def test_an_unknown_type_is_unreadable(kind):
    """A type that does not exist is no exception either."""
    found = decode_callback(kind, sample("stk_push__callback__success_docs").body)
    assert (True, None, U) == (isinstance(found, Unreadable), found.callback_type, found.outcome)


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_shows_no_phone_number_and_survives_pickling(name):
    """The repr of every callback is fit for a log line; equality and hash hold across processes."""
    found = decoded(name)
    for canary in (
        "254708374149",
        "0708374149",
        "708374149",
        "254700000012",
        "254700000003",
        "BASE64RSA",
        "JANE",
        "John",
    ):
        assert canary not in repr(found)
    assert found == pickle.loads(pickle.dumps(found))
    assert hash(found) == hash(pickle.loads(pickle.dumps(found)))


def test_every_field_can_be_read_on_every_kind_of_callback():
    """The engine reads one set of fields, whatever came."""
    fields = {field.name for field in attrs.fields(Callback)} | {"result_code_text"}
    for name, row in CALLBACKS.items():
        found = decode_callback(row[0], sample(name).body)
        assert all(hasattr(found, field) for field in fields)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            found.outcome = S


@pytest.mark.parametrize("name", ["SecurityCredential", "PASSWORD", r"Pass\u0077ord", r"Pass\u212aey", "Pass\u212aey"])
def test_a_credential_is_blotted_out_however_its_name_is_spelt(name):
    """In any case, by an escape, or by a letter beyond ASCII that is a K in lower case."""
    body = f'{{"Result": {{"ResultCode": 0, "{name}": "secret"}}}}'.encode()
    (blotted,) = (value for key, value in decode_callback(B2C, body).raw["Result"].items() if key != "ResultCode")
    assert "…" == blotted
