"""Result codes and error codes, against tables written from Safaricom's pages."""

from __future__ import annotations

import re
import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.daraja.codes import (
    ACCEPTANCE_CODES,
    ERROR_RULES,
    RESULT_CODES,
    TRANSACTION_STATUSES,
    ErrorClass,
    Family,
    Outcome,
    Turn,
    classify_error,
    explain,
    explain_error,
    outcome_of,
    reason_of,
    transaction_status_outcome,
)

S, F, C, X, P, U = (
    Outcome.SUCCESS,
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.EXPIRED,
    Outcome.PENDING,
    Outcome.UNKNOWN,
)
CUSTOMER, OPERATOR, WAIT, RETRY = Turn.CUSTOMER, Turn.OPERATOR, Turn.WAIT, Turn.RETRY

TABLE = {
    Family.STK: {
        0: (S, None, None),
        1: (F, CUSTOMER, "denied"),
        2: (F, CUSTOMER, "denied"),
        3: (F, CUSTOMER, "denied"),
        4: (F, CUSTOMER, "denied"),
        8: (F, OPERATOR, "rejected"),
        17: (F, RETRY, "failed"),
        20: (F, OPERATOR, "rejected"),
        21: (F, OPERATOR, "rejected"),
        26: (X, RETRY, "expired"),
        1001: (F, RETRY, "failed"),
        1019: (X, RETRY, "expired"),
        1025: (F, OPERATOR, "failed"),
        1031: (C, CUSTOMER, "cancelled"),
        1032: (C, CUSTOMER, "cancelled"),
        1036: (X, RETRY, "expired"),
        1037: (X, RETRY, "expired"),
        1101: (F, OPERATOR, "rejected"),
        1102: (F, OPERATOR, "rejected"),
        2001: (F, CUSTOMER, "denied"),
        2008: (F, CUSTOMER, "denied"),
        2026: (F, CUSTOMER, "failed"),
        2028: (F, OPERATOR, "rejected"),
        4999: (P, WAIT, None),
        8006: (F, CUSTOMER, "denied"),
        9999: (X, RETRY, "expired"),
        "E3008": (F, CUSTOMER, "failed"),
        "SFC_IC0003": (F, OPERATOR, "rejected"),
        100000100: (P, WAIT, None),
    },
    Family.B2C: {
        0: (S, None, None),
        1: (F, OPERATOR, "denied"),
        2: (F, OPERATOR, "denied"),
        3: (F, OPERATOR, "denied"),
        4: (F, OPERATOR, "denied"),
        7: (F, CUSTOMER, "failed"),
        8: (F, CUSTOMER, "denied"),
        11: (F, OPERATOR, "rejected"),
        14: (F, CUSTOMER, "failed"),
        15: (P, WAIT, None),
        17: (U, WAIT, None),
        20: (F, OPERATOR, "rejected"),
        21: (F, OPERATOR, "rejected"),
        26: (U, WAIT, None),
        1005: (F, OPERATOR, "rejected"),
        2001: (F, OPERATOR, "rejected"),
        2006: (F, OPERATOR, "rejected"),
        2007: (F, OPERATOR, "failed"),
        2020: (F, OPERATOR, "rejected"),
        2028: (F, OPERATOR, "rejected"),
        2029: (F, OPERATOR, "failed"),
        2040: (F, CUSTOMER, "failed"),
        2043: (F, OPERATOR, "rejected"),
        2051: (F, CUSTOMER, "failed"),
        2202: (F, OPERATOR, "rejected"),
        8006: (F, OPERATOR, "rejected"),
        "R002": (F, CUSTOMER, "failed"),
        "R003": (F, CUSTOMER, "failed"),
        "SFC_IC0003": (F, CUSTOMER, "failed"),
        "TP40153": (F, OPERATOR, "rejected"),
    },
    Family.B2B: {
        0: (S, None, None),
        1: (F, OPERATOR, "denied"),
        11: (F, OPERATOR, "rejected"),
        17: (U, WAIT, None),
        21: (F, OPERATOR, "rejected"),
        26: (U, WAIT, None),
        2001: (F, OPERATOR, "rejected"),
        2006: (F, OPERATOR, "rejected"),
        2028: (F, OPERATOR, "rejected"),
        8006: (F, OPERATOR, "rejected"),
        "SFC_IC0003": (F, OPERATOR, "rejected"),
    },
    Family.REVERSAL: {
        0: (S, None, None),
        1: (F, OPERATOR, "denied"),
        11: (F, OPERATOR, "rejected"),
        17: (U, WAIT, None),
        21: (F, OPERATOR, "rejected"),
        26: (U, WAIT, None),
        2001: (F, OPERATOR, "rejected"),
        2006: (F, OPERATOR, "rejected"),
        2028: (F, OPERATOR, "rejected"),
        8006: (F, OPERATOR, "rejected"),
        "R000001": (U, WAIT, None),
        "R000002": (F, OPERATOR, "rejected"),
    },
    Family.C2B: {f"C2B0001{digit}": (F, CUSTOMER, "failed") for digit in range(1, 7)},
    Family.EXPRESS: {
        0: (S, None, None),
        4001: (C, CUSTOMER, "cancelled"),
        4102: (F, CUSTOMER, "failed"),
        4104: (F, CUSTOMER, "failed"),
        4201: (X, RETRY, "expired"),
        4203: (X, RETRY, "expired"),
    },
    Family.RATIBA: {
        0: (S, None, None),
        200: (P, WAIT, None),
        1001: (F, RETRY, "failed"),
        1025: (F, RETRY, "failed"),
        1032: (C, CUSTOMER, "cancelled"),
        1037: (X, RETRY, "expired"),
        1050: (F, CUSTOMER, "failed"),
        1051: (F, OPERATOR, "rejected"),
        2001: (F, CUSTOMER, "denied"),
    },
    Family.BONGA: {
        17: (U, WAIT, None),
        1031: (X, CUSTOMER, "expired"),
        1037: (X, RETRY, "expired"),
        2001: (F, CUSTOMER, "denied"),
        6000: (P, WAIT, None),
        6001: (F, RETRY, "failed"),
        6004: (U, WAIT, None),
        6005: (F, OPERATOR, "rejected"),
        6006: (F, OPERATOR, "rejected"),
        6007: (U, WAIT, None),
        6008: (U, WAIT, None),
        6009: (U, WAIT, None),
        6011: (U, WAIT, None),
    },
}
QUESTION_FAILURES = [
    5, 6, 7, 12, 13, 14, 17, 18, 19, 20, 21, 22, 24, 25, 26, 29, 2001, 8006, "SFC_IC0003",
    100000001, 100000002, 100000004, 100000005, 100000007, 100000009, 100000010, 100000011,
]  # fmt: skip
CASES = [
    pytest.param(family, code, *wanted, id=f"{family.value}-{code}")
    for family, rows in TABLE.items()
    for code, wanted in rows.items()
]


@pytest.mark.parametrize(("family", "code", "outcome", "turn", "reason"), CASES)
def test_a_code_has_its_familys_outcome_turn_and_reason(family, code, outcome, turn, reason):
    """Each code of each product says what Safaricom's table of that product says."""
    found = explain(code, family)
    assert (outcome, turn, reason, code) == (found.outcome, found.turn, found.reason, found.code)
    assert outcome is outcome_of(code, family)
    assert reason == reason_of(code, family, outcome)


def test_the_tables_hold_no_code_that_is_not_tested():
    """A row that is added without a line in the tables of this test is found."""
    for family in Family:
        known = {row.code for row in RESULT_CODES if family in row.families}
        if family is Family.STATUS:
            tested = {0, 15, 2032, 2033, 100000000, *QUESTION_FAILURES}
        elif family is Family.BALANCE:
            tested = {0, 15, 100000000, *QUESTION_FAILURES}
        else:
            tested = set(TABLE.get(family, {}))
        assert tested == known, family


def test_a_code_stands_once_in_a_family():
    """No product has two meanings for one code."""
    pairs = [(family, row.code) for row in RESULT_CODES for family in row.families]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("code", [*QUESTION_FAILURES, 15, 2032, 2033, 999])
def test_a_question_that_failed_settles_no_payment(code):
    """A status query's own failure is never read as the failure of the payment that it asked about."""
    assert outcome_of(code, Family.STATUS) is U
    assert explain(code, Family.STATUS).outcome is U


@pytest.mark.parametrize("code", QUESTION_FAILURES)
def test_a_balance_that_was_not_read_has_failed(code):
    """A balance query moves nothing, so its failure is one."""
    assert F is outcome_of(code, Family.BALANCE)


def test_an_answered_question_is_a_success_of_the_question():
    """Code 0 says of a status and of a balance that the question was answered."""
    assert [S, S] == [outcome_of(0, family) for family in (Family.STATUS, Family.BALANCE)]
    assert [P, P] == [outcome_of(100000000, family) for family in (Family.STATUS, Family.BALANCE)]
    assert P is outcome_of(15, Family.BALANCE)


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("Completed", S), ("completed", S), (" Completed ", S), ("Declined", F), ("Cancelled", F), ("Expired", F),
        ("Initiated", P), ("Authorized", P), ("Pending Authorized", P), ("Pending  Authorized", P),
        ("Uncompleted", U), ("", U), (None, U), (0, U), ("Reversed", U),
    ],
)  # fmt: skip
def test_only_completed_is_paid(word, outcome):
    """A status result's word decides; one that nobody documented decides nothing."""
    assert outcome is transaction_status_outcome(word)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("code", [None, True, False, "", " ", "00", "0.0", Decimal("0.5"), [], {}, 777777, "ZZ9"])
def test_an_unknown_code_is_neither_success_nor_failure(family, code):
    """What no table has is unknown, which settles nothing and has no reason."""
    assert U is outcome_of(code, family)
    assert reason_of(code, family, U) is None


@given(st.one_of(st.integers(), st.text(max_size=40), st.booleans(), st.none()), st.sampled_from(list(Family)))
def test_only_listed_codes_settle(code, family):
    """Whatever comes, an outcome other than unknown is one that the table of that product has."""
    outcome = outcome_of(code, family)
    listed = {str(row.code) for row in RESULT_CODES if family in row.families and row.outcome is outcome}
    assert outcome is U or str(code).strip() in listed


@pytest.mark.parametrize("code", [0, "0", " 0 ", Decimal(0), Decimal("0.0")])
def test_a_number_is_read_however_it_was_sent(code):
    """A success is the number zero as number or text."""
    assert S is outcome_of(code, Family.STK)


def test_the_same_number_means_different_things():
    """2001 is the customer's PIN in a push and the operator's credential in a payout; 1 is whose funds are short."""
    assert [CUSTOMER, OPERATOR] == [explain(2001, family).turn for family in (Family.STK, Family.B2C)]
    assert [CUSTOMER, OPERATOR] == [explain(1, family).turn for family in (Family.STK, Family.B2C)]
    assert "PIN" in explain(2001, Family.STK).customer_message
    assert explain(2001, Family.B2C).customer_message == ""


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (1, "The transaction is still under processing", P),
        ("1", "The transaction is being processed", P),
        (0, "The transaction is still under processing", P),
        (4999, "The transaction is still under processing", P),
        (1, "The balance is insufficient for the transaction.", F),
        (0, "The service request is processed successfully.", S),
        (8765, "The transaction is still under processing", U),
    ],
)
def test_a_query_that_says_it_is_still_processing_settles_nothing(code, text, outcome):
    """In the answer to a query the text can take the certainty away, and never gives it."""
    assert outcome is outcome_of(code, Family.STK, from_query=True, description=text)


def test_the_text_of_a_callback_does_not_make_it_pending():
    """Only a query's text is looked at for that."""
    assert F is outcome_of(1, Family.STK, description="still under processing")


def test_a_reversal_with_code_21_and_a_text_of_success_is_unknown():
    """The older official sample that contradicts itself is not guessed at."""
    said = "The service request is processed successfully"
    assert U is outcome_of("21", Family.REVERSAL, description=said)
    assert F is outcome_of("21", Family.REVERSAL, description="The request was unsuccessful.")
    assert F is outcome_of("21", Family.B2C, description=said)


def test_the_reason_of_a_failure_without_a_row_is_plain():
    """A failure concluded elsewhere has the reason failed, and what did not fail has none."""
    assert [None, "failed", "cancelled", "expired", None, None] == [
        reason_of("?", Family.STK, outcome) for outcome in (S, F, C, X, P, U)
    ]


ERRORS = [
    (400, "400.002.02", "Bad Request - Invalid BusinessShortCode", ErrorClass.REFUSED),
    (400, "400.002.02", "Bad Request - Invalid Amount", ErrorClass.REFUSED),
    (400, "400.002.02", "Bad Request - Threat Detected", ErrorClass.REFUSED),
    (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID", ErrorClass.NOT_YET),
    (400, "400.002.05", "Invalid Request Payload", ErrorClass.REFUSED),
    (400, "400.003.01", "Invalid Access Token", ErrorClass.TOKEN),
    (400, "400.003.02", "Bad Request - Kindly use your own ShortCode", ErrorClass.REFUSED),
    (400, "400.001", "Invalid short code", ErrorClass.REFUSED),
    (400, "400.008.01", "Invalid Authentication passed", ErrorClass.TOKEN),
    (400, "400.008.02", "Invalid grant type passed", ErrorClass.REFUSED),
    (400, "400", "Bad Request - Invalid TrxCode", ErrorClass.REFUSED),
    (401, "401.001", "Error Occurred - Invalid Access Token - ", ErrorClass.TOKEN),
    (401, "401.002.01", "Error Occurred - Invalid Access Token - xyz", ErrorClass.TOKEN),
    (401, "401.003.01", "Error Occurred - Invalid Access Token", ErrorClass.TOKEN),
    (401, "401", "Unauthorized - Invalid Access Token", ErrorClass.TOKEN),
    (401, "", "Invalid API call as no apiproduct match found", ErrorClass.TOKEN),
    (401, "", "", ErrorClass.TOKEN),
    (403, "403.002.1001", "Not authorized to initiate this transaction", ErrorClass.REFUSED),
    (403, "", "<html>Request unsuccessful. Incapsula</html>", ErrorClass.BUSY),
    (404, "404.001.03", "Invalid Access Token", ErrorClass.TOKEN),
    (404, "404.001.01", "Resource not found", ErrorClass.REFUSED),
    (404, "404.002.01", "Resource not found", ErrorClass.REFUSED),
    (404, "404.003.01", "Resource not found", ErrorClass.REFUSED),
    (404, "404.001.04", "Invalid Authentication Header", ErrorClass.REFUSED),
    (405, "405.001", "Method Not Allowed", ErrorClass.REFUSED),
    (405, "", "", ErrorClass.REFUSED),
    (429, "policies.ratelimit.SpikeArrestViolation", "Spike arrest violation", ErrorClass.BUSY),
    (429, "", "", ErrorClass.BUSY),
    (500, "500.001.1001", "Merchant does not exist", ErrorClass.REFUSED),
    (500, "500.001.1001", "[MerchantValidate] - Wrong credentials", ErrorClass.REFUSED),
    (500, "500.001.1001", "Unable to lock subscriber, a transaction is already in process", ErrorClass.BUSY),
    (500, "500.001.1001", "The transaction is being processed", ErrorClass.NOT_YET),
    (500, "500.001.1001", "The transaction does not Exist", ErrorClass.NOT_YET),
    (500, "500.001.1001", "Internal Server Error", ErrorClass.UNKNOWN),
    (500, "500.001.1001", "", ErrorClass.UNKNOWN),
    (500, "500.002.1001", "Duplicate OriginatorConversationID.", ErrorClass.UNKNOWN),
    (500, "500.002.1001", "System internal error.", ErrorClass.UNKNOWN),
    (500, "500.003.1001", "Internal Server Error", ErrorClass.UNKNOWN),
    (500, "500.003.1001", "Urls are already registered", ErrorClass.REFUSED),
    (500, "500.003.1001", "Duplicate notification info, SP ID 1", ErrorClass.REFUSED),
    (500, "500.003.1001", "Service is currently unreachable", ErrorClass.UNKNOWN),
    (500, "500.003.02", "Error Occurred: Spike Arrest Violation", ErrorClass.BUSY),
    (500, "500.003.02", "System is busy. Please try again in few minutes.", ErrorClass.BUSY),
    (500, "500.003.03", "Error Occurred: Quota Violation", ErrorClass.BUSY),
    (
        500, "soap:Server",
        "Execution of ServiceCallout SCO-AddURLVault failed. Reason: ResponseCode 409 is treated as error",
        ErrorClass.REFUSED,
    ),
    (
        500, "soap:Server",
        "Execution of ServiceCallout SC-SearchURL failed. Reason: ResponseCode 503 is treated as error",
        ErrorClass.UNKNOWN,
    ),
    (503, "", "<html>Incapsula incident ID: 1</html>", ErrorClass.UNKNOWN),
    (504, "messaging.adaptors.http.flow.GatewayTimeout", "Gateway Timeout", ErrorClass.UNKNOWN),
    (500, "00.002.1001", "Service is under maintenance", ErrorClass.UNKNOWN),
    (500, "01", "No transaction found", ErrorClass.NOT_YET),
    (409, "409", "Conflict. partially or fully paid invoices cannot be cancelled.", ErrorClass.REFUSED),
    (408, "", "", ErrorClass.UNKNOWN),
    (408, "408", "Request timeout", ErrorClass.UNKNOWN),
    (500, "500", "anything", ErrorClass.UNKNOWN),
    (502, "", "Bad Gateway", ErrorClass.UNKNOWN),
    (501, "", "", ErrorClass.UNKNOWN),
    (400, "", "", ErrorClass.UNKNOWN),
    (404, "", "", ErrorClass.UNKNOWN),
    (413, "", "", ErrorClass.REFUSED),
    (422, "422.001", "something of Daraja's", ErrorClass.REFUSED),
    (200, "", "", ErrorClass.UNKNOWN),
    (302, "", "", ErrorClass.UNKNOWN),
    (0, "", "", ErrorClass.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message", "wanted"), ERRORS)
def test_an_error_is_classified(status, code, message, wanted):
    """Each error of Daraja's tables is the class that says what may be done about it."""
    assert wanted is classify_error(status, code, message)
    assert wanted is classify_error(status, code, message.upper())
    assert wanted is explain_error(status, code, message).error_class


def test_every_error_rule_is_reached_by_the_table():
    """No rule stands behind another one that hides it, and none goes untested."""
    reached = {explain_error(status, code, message).meaning for status, code, message, _ in ERRORS}
    assert {rule.meaning for rule in ERROR_RULES} - reached <= {"The quota is used up."}


@given(
    st.one_of(st.integers(500, 599), st.integers(100, 399)),
    st.one_of(st.just(""), st.text(max_size=20)),
    st.text(max_size=60),
)
def test_no_unlisted_server_error_is_called_a_refusal(status, code, message):
    """A server error says only then that nothing was done when a rule for its code says so."""
    named = code in {rule.code for rule in ERROR_RULES} or any(
        rule.words and rule.code is None and rule.words in " ".join(message.lower().split()) for rule in ERROR_RULES
    )
    assert named or classify_error(status, code, message) is ErrorClass.UNKNOWN


def test_every_entry_has_a_source_and_a_meaning():
    """Nothing in the tables is of unknown origin, and what is not certain is marked."""
    for entry in (*RESULT_CODES, *ERROR_RULES, *ACCEPTANCE_CODES):
        assert entry.source.strip(), entry
        assert entry.meaning.endswith("."), entry
    assert {1031, 1101, 1102, 2008, 100000100} <= {
        row.code for row in RESULT_CODES if Family.STK in row.families and not row.certain
    }
    assert all(row.certain for row in RESULT_CODES if row.code in (0, 1032, 1037))


def test_whatever_a_customer_reads_is_in_both_languages():
    """A text for the customer comes in English and in Swahili, short, in sentences, without a code or an apology owed."""
    texts = {(row.customer_message, row.customer_message_sw) for row in RESULT_CODES}
    assert all(bool(english) is bool(swahili) for english, swahili in texts)
    for english, swahili in texts - {("", "")}:
        assert english != swahili
        for text in (english, swahili):
            assert len(text) <= 220
            assert text[0] in string.ascii_uppercase
            assert text.endswith(".")
            assert not re.search(r"\d", text)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 17, 1001, 1019, 1031, 1032, 1036, 1037, 2001, 8006])
def test_a_payer_is_told_what_to_do(code):
    """Every outcome of a push that is the customer's to mend has words for the customer."""
    assert explain(code, Family.STK).customer_message


@pytest.mark.parametrize("code", [1019, 1036, 1037, 9999, 4999])
def test_a_payer_whose_payment_may_have_gone_through_is_not_told_to_pay_again(code):
    """Where money may have moved the words say when not to pay again."""
    assert "do not pay again" in explain(code, Family.STK).customer_message
    assert "usilipe tena" in explain(code, Family.STK).customer_message_sw


def test_a_code_without_a_product_is_the_payers_first():
    """A bare 2001 is explained as the push's wrong PIN, and names the products that differ."""
    found = explain("2001")
    assert (2001, (Family.STK,), CUSTOMER) == (found.code, found.families, found.turn)
    assert "credential" in found.meaning
    assert {Family.B2C, Family.B2B, Family.STATUS, Family.RATIBA} <= {
        family for other in found.others for family in other.families
    }


def test_a_code_of_another_product_is_unknown_here():
    """A push's 1032 in a payout is explained, with the outcome unknown."""
    found = explain(1032, Family.B2C)
    assert (U, WAIT, (Family.B2C,), False) == (found.outcome, found.turn, found.families, found.certain)
    assert "Cancelled by the customer" in found.meaning
    assert "please try again" not in found.customer_message.lower()


@pytest.mark.parametrize("family", [None, *Family])
@pytest.mark.parametrize("code", ["nonsense", 123456789, -1, "", "💥", "9" * 500, True])
def test_an_unknown_code_is_explained_honestly(code, family):
    """An unknown code says so, and is never an exception."""
    found = explain(code, family)
    assert (U, WAIT, False) == (found.outcome, found.turn, found.certain)
    assert found.meaning.startswith("No table has this code")


@given(st.one_of(st.text(), st.integers()), st.one_of(st.none(), st.sampled_from(list(Family))))
def test_explaining_never_raises(code, family):
    """Any text and any number has an explanation with a meaning."""
    assert explain(code, family).meaning


@pytest.mark.parametrize(
    ("code", "words", "error_class"),
    [
        ("404.001.03", "token", ErrorClass.TOKEN),
        ("500.003.03", "quota", ErrorClass.BUSY),
        ("500.001.1001", "message decides", ErrorClass.UNKNOWN),
        ("400.002.02", "message decides", ErrorClass.UNKNOWN),
        ("401", "product", ErrorClass.TOKEN),
        ("01", "does not know", ErrorClass.NOT_YET),
    ],
)
def test_an_error_code_is_explained(code, words, error_class):
    """An error code without its message says what it may mean, and no more than that."""
    found = explain(code)
    assert words in found.meaning
    assert (code, error_class, None) == (found.code, found.error_class, found.outcome)


def test_an_error_is_explained_by_its_message():
    """With the message the overloaded code has one meaning."""
    busy = explain_error(500, "500.001.1001", "Unable to lock subscriber, a transaction is already in process")
    assert (ErrorClass.BUSY, RETRY) == (busy.error_class, busy.turn)
    assert "line" in busy.meaning


@pytest.mark.parametrize(("code", "words"), [("C2B00012", "account number"), ("C2B00013", "amount")])
def test_a_validation_code_is_explained(code, words):
    """The codes of our own rejections are explained like M-PESA's."""
    assert words in explain(code).meaning
    assert explain(code).customer_message_sw


@pytest.mark.parametrize(
    ("code", "product"), [("4000", "Organisation info"), ("00000000", "C2B register"), (1000, "Pull")]
)
def test_an_acceptance_is_no_outcome(code, product):
    """The codes of an acceptance are explained, and are the outcome of nothing."""
    found = explain(code)
    assert product in found.meaning
    assert found.outcome is None


def test_the_words_of_a_transaction_status_are_the_documented_ones():
    """Seven words, of which one is paid."""
    wanted = {"completed", "declined", "cancelled", "expired", "initiated", "authorized", "pending authorized"}
    assert wanted == set(TRANSACTION_STATUSES)
