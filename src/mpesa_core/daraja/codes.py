"""What M-PESA's result codes and Daraja's error codes mean, whose turn it is, and what to tell the customer.

Everything is data: :data:`RESULT_CODES`, :data:`ERROR_RULES` and :data:`ACCEPTANCE_CODES` are tuples of frozen records,
each with its source and with ``certain=False`` where one weak source says so or sources disagree. The same number means
different things for different products: 2001 is the customer's wrong PIN in an STK push and the operator's credential
in a payout; 1 is the customer's balance in an STK push and the payer's utility account in a payout. So every question
here takes a :class:`Family`.

What no table knows is :attr:`Outcome.UNKNOWN`: neither success nor failure, and never settled.
"""

from __future__ import annotations

import re
from enum import StrEnum

import attrs

from mpesa_core.daraja.codec import to_code

__all__ = [
    "ACCEPTANCE_CODES",
    "ERROR_RULES",
    "RESULT_CODES",
    "TRANSACTION_STATUSES",
    "AcceptanceCode",
    "ErrorClass",
    "ErrorRule",
    "Explanation",
    "Family",
    "Outcome",
    "Turn",
    "classify_error",
    "explain",
    "explain_error",
    "outcome_of",
    "reason_of",
    "transaction_status_outcome",
]


class Outcome(StrEnum):
    """What a callback or an answer says of the payment."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PENDING = "pending"
    UNKNOWN = "unknown"


class Family(StrEnum):
    """The products that share a table of codes; in the order in which a code without a product is read."""

    STK = "stk"
    B2C = "b2c"
    B2B = "b2b"
    REVERSAL = "reversal"
    STATUS = "status"
    BALANCE = "balance"
    C2B = "c2b"
    EXPRESS = "express"
    RATIBA = "ratiba"
    BILLS = "bills"
    BONGA = "bonga"


class Turn(StrEnum):
    """Who has to do something next."""

    CUSTOMER = "customer"
    """The payer or recipient: enter the right PIN, top up, give another number."""

    OPERATOR = "operator"
    """The merchant: fund an account, mend the settings, call Safaricom."""

    WAIT = "wait"
    """Nobody: the outcome is still open and will be asked about. Nothing may be sent again."""

    RETRY = "retry"
    """Anybody, after a pause: the same thing may work then."""


class ErrorClass(StrEnum):
    """What a refusal by Daraja itself means for the request."""

    TOKEN = "token"  # noqa: S105 - a name, no secret
    """The access token (or the app's keys) were refused: one fresh token and one more try are in order."""

    REFUSED = "refused"
    """Nothing was done, and the same request would be refused again."""

    BUSY = "busy"
    """Nothing was done; the same request may work later."""

    NOT_YET = "not_yet"
    """The answer to a question: still being processed, or not known yet. To a request that moves money: unknown."""

    UNKNOWN = "unknown"
    """It may have been carried out."""


@attrs.frozen(kw_only=True)
class Explanation:
    """What a code means.

    Attributes:
        code: an int where M-PESA's code is a number, else text.
        families: the products in which it means this; empty for the code of a synchronous error.
        meaning: one sentence for the merchant.
        outcome: of the payment; None where the code is no outcome (that of an error, or of an answer). For
            ``Family.STATUS`` and ``Family.BALANCE`` success says that the question was answered, no more.
        turn: who has to do something next; None where nothing is left to do.
        reason: ``denied`` (funds, PIN, limits), ``rejected`` (configuration, credentials) or ``failed``, for a failure.
        remedy: what to do, or "".
        customer_message: what to show to a customer, in English; "" where the customer should not be told.
        customer_message_sw: the same in Swahili.
        source: where this is known from.
        certain: False where one weak source says so, or sources disagree.
        error_class: for the code of a synchronous error.
        others: further meanings of the same code, where none of the products was asked for.
    """

    code: int | str
    families: tuple[Family, ...] = ()
    meaning: str
    outcome: Outcome | None = None
    turn: Turn | None = None
    reason: str | None = None
    remedy: str = ""
    customer_message: str = ""
    customer_message_sw: str = ""
    source: str
    certain: bool = True
    error_class: ErrorClass | None = None
    others: tuple[Explanation, ...] = ()


@attrs.frozen(kw_only=True)
class ErrorRule:
    """One way in which Daraja says no. The first rule that fits decides.

    Attributes:
        code: Daraja's error code, or None for any.
        status: the HTTP status, or None for any.
        words: lower-case words that the message must contain; "" for any message.
        error_class: what it means for the request.
        meaning: one sentence for the merchant.
        turn: who has to do something next.
        remedy: what to do.
        source: where this is known from.
        certain: False where one weak source says so, or sources disagree.
    """

    code: str | None = None
    status: int | None = None
    words: str = ""
    error_class: ErrorClass
    meaning: str
    turn: Turn
    remedy: str = ""
    source: str
    certain: bool = True


@attrs.frozen(kw_only=True)
class AcceptanceCode:
    """The code with which a product says that it took a request (never that anything was paid).

    Attributes:
        product: the product's name.
        key: where the code stands in the answer.
        code: as text.
        meaning: one sentence.
        source: where this is known from.
    """

    product: str
    key: str
    code: str
    meaning: str
    source: str


# --- where the facts come from --------------------------------------------------------------------------------------

_EXPRESS_PAGE = 'Safaricom developer portal, "M-PESA Express Simulate" page'
_QUERY_PAGE = 'Safaricom developer portal, "M-PESA Express Query" page'
_C2B_PAGE = 'Safaricom developer portal, "Customer To Business (C2B)" page'
_REGISTER_PAGE = 'Safaricom developer portal, "Customer To Business Register URL" page'
_B2C_PAGE = 'Safaricom developer portal, "Business To Customer (B2C)" page'
_B2B_PAGE = 'Safaricom developer portal, "Business Pay Bill" and "B2C Account Top Up" pages'
_REVERSAL_PAGE = 'Safaricom developer portal, "Reversal" page'
_STATUS_PAGE = 'Safaricom developer portal, "Transaction Status" page'
_BALANCE_PAGE = 'Safaricom developer portal, "Account Balance" page'
_USSD_PAGE = 'Safaricom developer portal, "B2B Express Checkout" page'
_RATIBA_PAGE = 'Safaricom developer portal, "M-PESA Ratiba" page'
_PULL_PAGE = 'Safaricom developer portal, "Pull Transactions" page'
_BILLS_PAGE = 'Safaricom developer portal, "Bill Manager" page'
_OAUTH_PAGE = 'Safaricom developer portal, "Authorization" page'
_FAQ = "Safaricom developer portal, FAQ"
_OLD_PORTAL = "Safaricom developer portal, 2017-2020 samples and code tables (copy in Ghostscypher/php-mpesa)"
_EDLUGZ = "edlugz/daraja (production code)"
_KEPAS = "kepas-tech/daraja-js (copies of 2026 portal pages, production observations)"
_AID = "global-121/121-platform (production payouts)"
_STK_NOTES = "ronnyabuto/mpesa-stk (live sandbox observations, 2026)"
_ERROR_LIST = "ronnyabuto/daraja-error-codes"
_CAPTURES = "newtonmunene99/mpesa-api (sandbox captures, 2026)"
_UMOJA = "umoja-hub project notes (sandbox, 2026)"
_DJANGO_DARAJA = "martinmogusu/django-daraja tests (captures of 2018-2019)"
_DRH = "DrH97/mpesa tests"
_GOLANG = "jwambugu/mpesa-golang-sdk tests"
_PROBE = "a public probe of the sandbox, 2026"

# --- what a customer is told ----------------------------------------------------------------------------------------

_Words = tuple[str, str]

_NOTHING: _Words = ("", "")
_RECEIVED: _Words = ("Thank you. Your payment was received.", "Asante. Malipo yako yamepokelewa.")
_NO_FUNDS: _Words = (
    "You do not have enough money in M-PESA for this payment. Please top up and try again.",
    "Huna salio la kutosha la M-PESA kwa malipo haya. Tafadhali ongeza salio kisha ujaribu tena.",
)
_WRONG_PIN: _Words = (
    "The M-PESA PIN was not correct. Please try again.",
    "PIN ya M-PESA si sahihi. Tafadhali jaribu tena.",
)
_PIN_BLOCKED: _Words = (
    "Your M-PESA PIN is blocked. Please contact Safaricom customer care, then try again.",
    "PIN yako ya M-PESA imefungwa. Tafadhali wasiliana na huduma kwa wateja ya Safaricom kisha ujaribu tena.",
)
_CANCELLED: _Words = (
    "The payment was cancelled. If you still wish to pay, please try again.",
    "Malipo yameghairiwa. Ikiwa bado ungependa kulipa, tafadhali jaribu tena.",
)
_LAPSED: _Words = (
    (
        "The payment request expired. If you have received an M-PESA message, please do not pay again; "
        "if not, please try again."
    ),
    (
        "Muda wa ombi la malipo umekwisha. Ikiwa umepokea ujumbe wa M-PESA, tafadhali usilipe tena; "
        "la sivyo, tafadhali jaribu tena."
    ),
)
_UNREACHABLE: _Words = (
    (
        "We could not reach your phone, or the request was not answered in time. If you have received an M-PESA "
        "message, please do not pay again; if not, check that your phone is on and try again."
    ),
    (
        "Hatukuweza kufikia simu yako, au ombi halikujibiwa kwa wakati. Ikiwa umepokea ujumbe wa M-PESA, tafadhali "
        "usilipe tena; la sivyo, hakikisha simu yako imewashwa kisha ujaribu tena."
    ),
)
_TOO_SMALL: _Words = (
    "This amount is below the smallest that M-PESA allows.",
    "Kiasi hiki kiko chini ya kiwango cha chini kinachoruhusiwa na M-PESA.",
)
_TOO_LARGE: _Words = (
    "This amount is more than M-PESA allows in one transaction. Please try a smaller amount.",
    "Kiasi hiki kinazidi kiwango kinachoruhusiwa na M-PESA kwa muamala mmoja. Tafadhali jaribu kiasi kidogo zaidi.",
)
_DAILY_LIMIT: _Words = (
    "You have reached your M-PESA limit for today. Please try again tomorrow.",
    "Umefikia kikomo chako cha M-PESA cha leo. Tafadhali jaribu tena kesho.",
)
_SAME_AGAIN: _Words = (
    "A payment of the same amount was made moments ago. Please wait two minutes before you try again.",
    "Malipo ya kiasi hiki yamefanywa hivi punde. Tafadhali subiri dakika mbili kabla ya kujaribu tena.",
)
_PHONE_BUSY: _Words = (
    "Another M-PESA request is open on your phone. Please finish it, wait a few minutes and try again.",
    "Kuna ombi lingine la M-PESA kwenye simu yako. Tafadhali likamilishe, subiri dakika chache kisha ujaribu tena.",
)
_NOT_NOW: _Words = (
    "We cannot take M-PESA payments at the moment. Please try again later.",
    "Hatuwezi kupokea malipo ya M-PESA kwa sasa. Tafadhali jaribu tena baadaye.",
)
_SYSTEM_BUSY: _Words = (
    "M-PESA is busy at the moment. Please try again in a few minutes.",
    "M-PESA ina shughuli nyingi kwa sasa. Tafadhali jaribu tena baada ya dakika chache.",
)
_FAILED_AGAIN: _Words = (
    "The payment did not go through. Please try again.",
    "Malipo hayakufaulu. Tafadhali jaribu tena.",
)
_STILL_GOING: _Words = (
    "Your payment is still being processed. Please do not pay again.",
    "Malipo yako bado yanashughulikiwa. Tafadhali usilipe tena.",
)
_RECIPIENT_FULL: _Words = (
    "This payment would take your M-PESA balance above its limit. Please reduce your balance, then ask us again.",
    "Malipo haya yatapitisha kiwango cha juu cha salio lako la M-PESA. Tafadhali punguza salio, kisha utuombe tena.",
)
_NOT_REGISTERED: _Words = (
    "This phone number cannot receive money through M-PESA. Please give us a number registered for M-PESA.",
    "Nambari hii ya simu haiwezi kupokea pesa kwa M-PESA. Tafadhali tupe nambari iliyosajiliwa kwa M-PESA.",
)
_ID_MISMATCH: _Words = (
    "The ID number does not match the one registered for this phone number. Please check it and let us know.",
    "Nambari ya kitambulisho hailingani na iliyosajiliwa kwa simu hii. Tafadhali ihakikishe kisha utujulishe.",
)
_BAD_PHONE: _Words = (
    "This phone number cannot be used for this payment.",
    "Nambari hii ya simu haiwezi kutumika kwa malipo haya.",
)
_BAD_ACCOUNT: _Words = (
    "The account number is not correct. Please check it and try again.",
    "Nambari ya akaunti si sahihi. Tafadhali ihakikishe kisha ujaribu tena.",
)
_BAD_AMOUNT: _Words = (
    "The amount is not correct. Please check it and try again.",
    "Kiasi si sahihi. Tafadhali kihakikishe kisha ujaribu tena.",
)
_BAD_DETAILS: _Words = (
    "We could not confirm your details. Please contact us.",
    "Hatukuweza kuthibitisha maelezo yako. Tafadhali wasiliana nasi.",
)
_BAD_BUSINESS: _Words = (
    "The business number is not correct. Please check it and try again.",
    "Nambari ya biashara si sahihi. Tafadhali ihakikishe kisha ujaribu tena.",
)
_NOT_ACCEPTED: _Words = (
    "Your payment could not be accepted. Please contact us.",
    "Malipo yako hayakuweza kukubaliwa. Tafadhali wasiliana nasi.",
)
_NAME_TAKEN: _Words = (
    "You already have a standing order of this name. Please choose another name.",
    "Tayari una agizo la malipo ya mara kwa mara lenye jina hili. Tafadhali chagua jina lingine.",
)

# --- result codes ---------------------------------------------------------------------------------------------------

DENIED, REJECTED, PLAIN_FAILURE = "denied", "rejected", "failed"


def _row(
    code: int | str,
    families: Family | tuple[Family, ...],
    outcome: Outcome,
    meaning: str,
    *,
    turn: Turn | None,
    source: str,
    reason: str | None = None,
    words: _Words = _NOTHING,
    remedy: str = "",
    certain: bool = True,
) -> Explanation:
    if reason is None:
        reason = {
            Outcome.CANCELLED: "cancelled",
            Outcome.EXPIRED: "expired",
            Outcome.FAILED: REJECTED if turn is Turn.OPERATOR else PLAIN_FAILURE,
        }.get(outcome)
    return Explanation(
        code=code,
        families=families if isinstance(families, tuple) else (families,),
        meaning=meaning,
        outcome=outcome,
        turn=turn,
        reason=reason,
        remedy=remedy,
        customer_message=words[0],
        customer_message_sw=words[1],
        source=source,
        certain=certain,
    )


_OK, _NO, _END, _LATE, _OPEN, _UNSURE = (
    Outcome.SUCCESS,
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.EXPIRED,
    Outcome.PENDING,
    Outcome.UNKNOWN,
)
_ASK_FIRST = "Check with a status query or the receipts before the goods are sold again or the money is sent again."
_ASK = "Ask for the transaction's status; never send it again meanwhile."
_FUND = "Fund the account, then make a new request."
_MEND_CREDENTIAL = (
    "Check initiator name, password and certificate; stop sending until it is mended, or the operator gets locked."
)
_UNLOCK = "Have the operator's password reset on the M-PESA organisation portal; send nothing until then."
_ROLE = "Give the API operator the role for this product on the M-PESA organisation portal."
_LATER = "Wait a few minutes, then try again."

_STK: tuple[Explanation, ...] = (
    _row(0, Family.STK, _OK, "Paid.", turn=None, words=_RECEIVED, source=_EXPRESS_PAGE),
    _row(
        1,
        Family.STK,
        _NO,
        "The customer's balance is too low, Fuliza included.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_NO_FUNDS,
        source=_EXPRESS_PAGE,
    ),
    _row(
        2,
        Family.STK,
        _NO,
        "The amount is below M-PESA's minimum of one shilling.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_TOO_SMALL,
        source=_EXPRESS_PAGE,
    ),
    _row(
        3,
        Family.STK,
        _NO,
        "The amount is above M-PESA's maximum for one transaction.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_TOO_LARGE,
        source=_EXPRESS_PAGE,
    ),
    _row(
        4,
        Family.STK,
        _NO,
        "The customer's daily limit would be exceeded.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_DAILY_LIMIT,
        source=_EXPRESS_PAGE,
    ),
    _row(
        8,
        Family.STK,
        _NO,
        "The merchant's account would exceed its maximum balance.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Move money out of the account, or have Safaricom raise its limit.",
        source=_EXPRESS_PAGE,
    ),
    _row(
        17,
        Family.STK,
        _NO,
        "The same amount from the same customer within two minutes (older pages: an internal failure).",
        turn=Turn.RETRY,
        words=_SAME_AGAIN,
        remedy="Wait two minutes before the next prompt.",
        source=f"{_EXPRESS_PAGE}; {_OLD_PORTAL}",
    ),
    _row(
        20,
        Family.STK,
        _NO,
        "M-PESA does not know the initiator.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Check the short code and its go-live with Safaricom.",
        source=f"{_OLD_PORTAL}; {_EDLUGZ}",
    ),
    _row(
        21,
        Family.STK,
        _NO,
        "The initiator may not do this.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Check the short code and its go-live with Safaricom.",
        source=f"{_OLD_PORTAL}; {_EDLUGZ}",
    ),
    _row(
        26,
        Family.STK,
        _LATE,
        "M-PESA was too busy to prompt the customer.",
        turn=Turn.RETRY,
        words=_SYSTEM_BUSY,
        remedy=_LATER,
        source=f"{_BALANCE_PAGE}; {_EDLUGZ}",
    ),
    _row(
        1001,
        Family.STK,
        _NO,
        "The customer's line is locked by another M-PESA session.",
        turn=Turn.RETRY,
        words=_PHONE_BUSY,
        remedy="Wait one to three minutes before the next prompt.",
        source=f"{_ERROR_LIST}; {_STK_NOTES}; {_KEPAS}",
    ),
    _row(
        1019,
        Family.STK,
        _LATE,
        "The transaction expired before it was completed.",
        turn=Turn.RETRY,
        words=_LAPSED,
        remedy=_ASK_FIRST,
        source=_EXPRESS_PAGE,
    ),
    _row(
        1025,
        Family.STK,
        _NO,
        "The prompt could not be sent; its text may be longer than 182 characters.",
        turn=Turn.OPERATOR,
        reason=PLAIN_FAILURE,
        words=_FAILED_AGAIN,
        remedy="Shorten the account reference and the description, then try again.",
        source=_EXPRESS_PAGE,
    ),
    _row(
        1031,
        Family.STK,
        _END,
        "Cancelled by the customer, or the PIN was not entered in time.",
        turn=Turn.CUSTOMER,
        words=_CANCELLED,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        1032,
        Family.STK,
        _END,
        "Cancelled by the customer (one list says: also when the prompt lapses).",
        turn=Turn.CUSTOMER,
        words=_CANCELLED,
        source=f"{_EXPRESS_PAGE}; {_ERROR_LIST}",
    ),
    _row(
        1036,
        Family.STK,
        _LATE,
        "The network did not confirm the prompt in time (2018-2019).",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        remedy=_ASK_FIRST,
        source=_DJANGO_DARAJA,
    ),
    _row(
        1037,
        Family.STK,
        _LATE,
        "The phone could not be reached, or the customer did not answer the prompt.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        remedy=_ASK_FIRST,
        source=_EXPRESS_PAGE,
    ),
    _row(
        1101,
        Family.STK,
        _NO,
        "The prefix of the prompt is too long.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Shorten the account reference and the description.",
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        1102,
        Family.STK,
        _NO,
        "The message of the prompt is too long.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Shorten the account reference and the description.",
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2001,
        Family.STK,
        _NO,
        "The customer entered a wrong PIN (the text speaks of the initiator all the same).",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_WRONG_PIN,
        source=f"{_EXPRESS_PAGE}; {_DJANGO_DARAJA}",
    ),
    _row(
        2008,
        Family.STK,
        _NO,
        "The customer could not be authenticated.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_FAILED_AGAIN,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2026,
        Family.STK,
        _NO,
        "The customer's session expired.",
        turn=Turn.CUSTOMER,
        words=_FAILED_AGAIN,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2028,
        Family.STK,
        _NO,
        "The short code may not do this: transaction type and receiving number do not fit together.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="For a till use CustomerBuyGoodsOnline, the store number and the till number; for a paybill its own.",
        source=_EXPRESS_PAGE,
    ),
    _row(
        4999,
        Family.STK,
        _OPEN,
        "The transaction is still being processed.",
        turn=Turn.WAIT,
        words=_STILL_GOING,
        remedy="Ask again later.",
        source=f"{_UMOJA}; {_STK_NOTES}; several SDKs",
    ),
    _row(
        8006,
        Family.STK,
        _NO,
        "The customer's PIN is blocked.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_PIN_BLOCKED,
        source=_EXPRESS_PAGE,
    ),
    _row(
        9999,
        Family.STK,
        _LATE,
        "The prompt could not be sent.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        remedy=_ASK_FIRST,
        source=f"{_ERROR_LIST}; {_EDLUGZ}",
    ),
    _row(
        "E3008",
        Family.STK,
        _NO,
        "A bad debt contract stands against the number (seen in the sandbox with a real handset).",
        turn=Turn.CUSTOMER,
        words=_NOT_ACCEPTED,
        source=_UMOJA,
    ),
    _row(
        "SFC_IC0003",
        Family.STK,
        _NO,
        "The receiving number does not exist, or does not fit the transaction type.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        remedy="Check the short code, the till number and the transaction type.",
        source=_EXPRESS_PAGE,
    ),
    _row(
        100000100,
        Family.STK,
        _OPEN,
        "M-PESA could not store something; what became of the payment is open.",
        turn=Turn.WAIT,
        words=_STILL_GOING,
        remedy=_ASK,
        source=_EDLUGZ,
        certain=False,
    ),
)

_B2C: tuple[Explanation, ...] = (
    _row(0, Family.B2C, _OK, "Paid out.", turn=None, source=_B2C_PAGE),
    _row(
        1,
        Family.B2C,
        _NO,
        "The utility account holds too little (working and settlement accounts do not count).",
        turn=Turn.OPERATOR,
        reason=DENIED,
        remedy=_FUND,
        source=_B2C_PAGE,
    ),
    _row(
        2,
        Family.B2C,
        _NO,
        "The amount is below the minimum.",
        turn=Turn.OPERATOR,
        reason=DENIED,
        remedy="A payout is ten shillings or more.",
        source=_B2C_PAGE,
    ),
    _row(
        3,
        Family.B2C,
        _NO,
        "The amount is above the maximum for one transaction.",
        turn=Turn.OPERATOR,
        reason=DENIED,
        remedy="Pay in several parts, or have the limit raised.",
        source=_B2C_PAGE,
    ),
    _row(
        4,
        Family.B2C,
        _NO,
        "A daily limit would be exceeded.",
        turn=Turn.OPERATOR,
        reason=DENIED,
        remedy="Try again tomorrow.",
        source=_B2C_PAGE,
    ),
    _row(
        7,
        Family.B2C,
        _NO,
        "M-PESA does not know the recipient.",
        turn=Turn.CUSTOMER,
        words=_NOT_REGISTERED,
        source=_B2C_PAGE,
    ),
    _row(
        8,
        Family.B2C,
        _NO,
        "The recipient's balance would exceed its limit.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_RECIPIENT_FULL,
        source=_B2C_PAGE,
    ),
    _row(
        11,
        Family.B2C,
        _NO,
        "The paying account is in a state that does not allow this.",
        turn=Turn.OPERATOR,
        remedy="Ask Safaricom for the state of the short code.",
        source=_B2C_PAGE,
    ),
    _row(
        14,
        Family.B2C,
        _NO,
        "The receiving account is not valid.",
        turn=Turn.CUSTOMER,
        words=_NOT_REGISTERED,
        source=_B2C_PAGE,
    ),
    _row(
        15,
        Family.B2C,
        _OPEN,
        "M-PESA saw this OriginatorConversationID before: the first request may well have been paid.",
        turn=Turn.WAIT,
        remedy="Ask for the status of the first one; never send again under a new id before that.",
        source=_BALANCE_PAGE,
    ),
    _row(
        17,
        Family.B2C,
        _UNSURE,
        "An internal failure of M-PESA; whether it was paid is open.",
        turn=Turn.WAIT,
        remedy=_ASK,
        source=f"{_OLD_PORTAL}; {_BALANCE_PAGE}",
    ),
    _row(
        20,
        Family.B2C,
        _NO,
        "M-PESA does not know the initiator.",
        turn=Turn.OPERATOR,
        remedy=_MEND_CREDENTIAL,
        source=_B2C_PAGE,
    ),
    _row(
        21,
        Family.B2C,
        _NO,
        "The initiator lacks the role for this.",
        turn=Turn.OPERATOR,
        remedy=_ROLE,
        source=_B2C_PAGE,
    ),
    _row(
        26,
        Family.B2C,
        _UNSURE,
        "M-PESA was too busy; whether it was paid is open.",
        turn=Turn.WAIT,
        remedy=_ASK,
        source=_BALANCE_PAGE,
        certain=False,
    ),
    _row(
        1005,
        Family.B2C,
        _NO,
        "The reference is not valid.",
        turn=Turn.OPERATOR,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2001,
        Family.B2C,
        _NO,
        "The operator's credential is wrong: user name, password or certificate.",
        turn=Turn.OPERATOR,
        remedy=_MEND_CREDENTIAL,
        source=_B2C_PAGE,
    ),
    _row(
        2006,
        Family.B2C,
        _NO,
        "The account's status does not allow this.",
        turn=Turn.OPERATOR,
        remedy="Ask Safaricom for the state of the short code.",
        source=_B2C_PAGE,
    ),
    _row(
        2007,
        Family.B2C,
        _NO,
        "An external validation failed.",
        turn=Turn.OPERATOR,
        reason=PLAIN_FAILURE,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2020,
        Family.B2C,
        _NO,
        "The amount has a wrong format.",
        turn=Turn.OPERATOR,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2028,
        Family.B2C,
        _NO,
        "The short code does not have this product.",
        turn=Turn.OPERATOR,
        remedy="Have Safaricom enable the product for the short code.",
        source=_B2C_PAGE,
    ),
    _row(
        2029,
        Family.B2C,
        _NO,
        "A party could not be resolved.",
        turn=Turn.OPERATOR,
        reason=PLAIN_FAILURE,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2040,
        Family.B2C,
        _NO,
        "The recipient is not registered, or of a kind that cannot receive this.",
        turn=Turn.CUSTOMER,
        words=_NOT_REGISTERED,
        source=_B2C_PAGE,
    ),
    _row(
        2043,
        Family.B2C,
        _NO,
        "The party is no child of the organisation.",
        turn=Turn.OPERATOR,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2051,
        Family.B2C,
        _NO,
        "The phone number is not valid.",
        turn=Turn.CUSTOMER,
        words=_NOT_REGISTERED,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        2202,
        Family.B2C,
        _NO,
        "The account number is not valid.",
        turn=Turn.OPERATOR,
        source=_EDLUGZ,
        certain=False,
    ),
    _row(
        8006,
        Family.B2C,
        _NO,
        "The API operator's password is locked.",
        turn=Turn.OPERATOR,
        remedy=_UNLOCK,
        source=_B2C_PAGE,
    ),
    _row(
        "R002",
        Family.B2C,
        _NO,
        "The recipient has no identity document of the type that was given.",
        turn=Turn.CUSTOMER,
        words=_ID_MISMATCH,
        source=f"{_EDLUGZ}; {_AID}",
    ),
    _row(
        "R003",
        Family.B2C,
        _NO,
        "The identity number is not the recipient's.",
        turn=Turn.CUSTOMER,
        words=_ID_MISMATCH,
        source=f"{_EDLUGZ}; {_AID}",
    ),
    _row(
        "SFC_IC0003",
        Family.B2C,
        _NO,
        "The phone number is not valid, or not on M-PESA.",
        turn=Turn.CUSTOMER,
        words=_NOT_REGISTERED,
        source=_B2C_PAGE,
    ),
    _row(
        "TP40153",
        Family.B2C,
        _NO,
        "The operator lacks the permission, or belongs to another organisation.",
        turn=Turn.OPERATOR,
        remedy=_ROLE,
        source=_KEPAS,
    ),
)

_TRANSFERS = (Family.B2B, Family.REVERSAL)
_B2B: tuple[Explanation, ...] = (
    _row(0, Family.B2B, _OK, "Transferred.", turn=None, source=_B2B_PAGE),
    _row(0, Family.REVERSAL, _OK, "Reversed.", turn=None, source=_REVERSAL_PAGE),
    _row(
        1,
        _TRANSFERS,
        _NO,
        "The paying account holds too little.",
        turn=Turn.OPERATOR,
        reason=DENIED,
        remedy=_FUND,
        source=f"{_REVERSAL_PAGE}; {_B2B_PAGE}",
    ),
    _row(
        11,
        _TRANSFERS,
        _NO,
        "The paying account is in a state that does not allow this.",
        turn=Turn.OPERATOR,
        remedy="Ask Safaricom for the state of the short code.",
        source=f"{_REVERSAL_PAGE}; {_KEPAS}",
    ),
    _row(
        17,
        _TRANSFERS,
        _UNSURE,
        "An internal failure of M-PESA; whether the money moved is open.",
        turn=Turn.WAIT,
        remedy=_ASK,
        source=f"{_OLD_PORTAL}; {_BALANCE_PAGE}",
    ),
    _row(
        21,
        Family.B2B,
        _NO,
        "The initiator lacks the role for this (a transfer from utility to working account: the portal only).",
        turn=Turn.OPERATOR,
        remedy=_ROLE,
        source=f"{_B2B_PAGE}; {_KEPAS}",
    ),
    _row(
        21,
        Family.REVERSAL,
        _NO,
        "The initiator lacks the role for this (an older sample has 21 beside a text of success: then it is open).",
        turn=Turn.OPERATOR,
        remedy=_ROLE,
        source=f"{_REVERSAL_PAGE}; {_OLD_PORTAL}",
    ),
    _row(
        26,
        _TRANSFERS,
        _UNSURE,
        "M-PESA was too busy; whether the money moved is open.",
        turn=Turn.WAIT,
        remedy=_ASK,
        source=_BALANCE_PAGE,
        certain=False,
    ),
    _row(
        2001,
        _TRANSFERS,
        _NO,
        "The operator's credential is wrong: user name, password or certificate.",
        turn=Turn.OPERATOR,
        remedy=_MEND_CREDENTIAL,
        source=f"{_REVERSAL_PAGE}; {_B2B_PAGE}",
    ),
    _row(
        2006,
        _TRANSFERS,
        _NO,
        "The account's status does not allow this.",
        turn=Turn.OPERATOR,
        remedy="Ask Safaricom for the state of the short code.",
        source=f"{_REVERSAL_PAGE}; {_KEPAS}",
    ),
    _row(
        2028,
        _TRANSFERS,
        _NO,
        "The short code does not have this product.",
        turn=Turn.OPERATOR,
        remedy="Have Safaricom enable the product for the short code.",
        source=f"{_REVERSAL_PAGE}; {_KEPAS}",
    ),
    _row(
        8006,
        _TRANSFERS,
        _NO,
        "The API operator's password is locked.",
        turn=Turn.OPERATOR,
        remedy=_UNLOCK,
        source=f"{_REVERSAL_PAGE}; {_CAPTURES}",
    ),
    _row(
        "SFC_IC0003",
        Family.B2B,
        _NO,
        "The receiving number does not exist, or is of another kind (till or paybill) than was said.",
        turn=Turn.OPERATOR,
        remedy="Check the number, and whether it is a till (receiver type 2) or a paybill (4).",
        source=_KEPAS,
    ),
    _row(
        "R000001",
        Family.REVERSAL,
        _UNSURE,
        "The payment is reversed already; by whom, and for how much, is open.",
        turn=Turn.WAIT,
        remedy="Ask for the status of the payment; do not reverse it by other means before.",
        source=_REVERSAL_PAGE,
    ),
    _row(
        "R000002",
        Family.REVERSAL,
        _NO,
        "There is no such payment to reverse.",
        turn=Turn.OPERATOR,
        remedy="Check the receipt; only payments from customers (C2B, STK) can be reversed, payouts cannot.",
        source=f"{_REVERSAL_PAGE}; {_CAPTURES}",
    ),
)

_CORE: tuple[tuple[int | str, str, Turn, str, str, bool], ...] = (
    (5, "An account would fall below its minimum balance.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (6, "M-PESA does not know the primary party.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (7, "M-PESA does not know the receiving party.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (12, "The credit account is not valid.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (13, "M-PESA does not know the debit account.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (14, "M-PESA does not know the credit account.", Turn.OPERATOR, "", _OLD_PORTAL, True),
    (15, "M-PESA saw this request before.", Turn.WAIT, "Wait for the answer to the first one.", _BALANCE_PAGE, True),
    (17, "An internal failure of M-PESA.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (18, "The initiator's credential was refused.", Turn.OPERATOR, _MEND_CREDENTIAL, _BALANCE_PAGE, True),
    (19, "Messages came in an order that M-PESA does not accept.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (20, "M-PESA does not know the initiator.", Turn.OPERATOR, _MEND_CREDENTIAL, _BALANCE_PAGE, True),
    (21, "The initiator may not ask this for the primary party.", Turn.OPERATOR, _ROLE, _BALANCE_PAGE, True),
    (
        22,
        "The initiator is not active, or may not ask this of the receiver.",
        Turn.OPERATOR,
        _ROLE,
        _BALANCE_PAGE,
        True,
    ),
    (24, "A mandatory field is missing.", Turn.OPERATOR, "Check the request.", _BALANCE_PAGE, True),
    (25, "A parameter is not valid.", Turn.OPERATOR, "Check the request.", f"{_BALANCE_PAGE}; {_KEPAS}", True),
    (26, "M-PESA is too busy.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (29, "The command is not valid.", Turn.OPERATOR, "Check the request.", _BALANCE_PAGE, True),
    (2001, "The operator's credential is wrong.", Turn.OPERATOR, _MEND_CREDENTIAL, _STATUS_PAGE, True),
    (8006, "The API operator's password is locked.", Turn.OPERATOR, _UNLOCK, f"{_STATUS_PAGE}; {_CAPTURES}", True),
    ("SFC_IC0003", "M-PESA does not know a party.", Turn.OPERATOR, "Check the short code.", _STATUS_PAGE, True),
    (100000001, "M-PESA is overloaded.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (100000002, "M-PESA throttles requests.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (100000004, "An internal failure of M-PESA.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (100000005, "A value is not valid.", Turn.OPERATOR, "Check the request.", _BALANCE_PAGE, True),
    (100000007, "The service is not in a normal state.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (100000009, "The API is not in a normal state.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
    (100000010, "The permission does not suffice.", Turn.OPERATOR, _ROLE, _BALANCE_PAGE, True),
    (100000011, "Too many requests.", Turn.RETRY, _LATER, _BALANCE_PAGE, True),
)
"""Code, meaning, turn, remedy, source, certain: M-PESA's core, as the "Account Balance" page and older tables say."""

_QUESTIONS: tuple[Explanation, ...] = (
    _row(
        0,
        Family.STATUS,
        _OK,
        "The question was answered; what became of the payment is in TransactionStatus.",
        turn=None,
        source=_STATUS_PAGE,
    ),
    _row(0, Family.BALANCE, _OK, "The balances were read.", turn=None, source=_BALANCE_PAGE),
    # A question that failed says nothing of the payment that it was about ...
    *(
        _row(code, Family.STATUS, _UNSURE, meaning, turn=turn, remedy=remedy, source=source, certain=certain)
        for code, meaning, turn, remedy, source, certain in _CORE
    ),
    # ... while a balance that was not read is no payment, and has simply failed.
    *(
        _row(
            code,
            Family.BALANCE,
            _OPEN if code == 15 else _NO,
            meaning,
            turn=turn,
            remedy=remedy,
            source=source,
            certain=certain,
        )
        for code, meaning, turn, remedy, source, certain in _CORE
    ),
    _row(
        100000000,
        (Family.STATUS, Family.BALANCE),
        _OPEN,
        "M-PESA keeps the request and will send it again.",
        turn=Turn.WAIT,
        source=_BALANCE_PAGE,
    ),
    _row(
        2032,
        Family.STATUS,
        _UNSURE,
        "M-PESA does not know the receipt (soon after sending that proves nothing).",
        turn=Turn.WAIT,
        remedy="Check the receipt and the short code, and ask again later.",
        source=_CAPTURES,
    ),
    _row(
        2033,
        Family.STATUS,
        _UNSURE,
        "M-PESA does not find the receipt (soon after sending that proves nothing).",
        turn=Turn.WAIT,
        remedy="Check the receipt and the short code, and ask again later.",
        source=_EDLUGZ,
    ),
)

_C2B: tuple[Explanation, ...] = tuple(
    _row(code, Family.C2B, _NO, meaning, turn=Turn.CUSTOMER, words=words, source=_C2B_PAGE)
    for code, meaning, words in (
        ("C2B00011", "Validation: the phone number is not valid.", _BAD_PHONE),
        ("C2B00012", "Validation: the account number is not valid.", _BAD_ACCOUNT),
        ("C2B00013", "Validation: the amount is not valid.", _BAD_AMOUNT),
        ("C2B00014", "Validation: the customer's details are not valid.", _BAD_DETAILS),
        ("C2B00015", "Validation: the short code is not valid.", _BAD_BUSINESS),
        ("C2B00016", "Validation: another reason of the merchant's.", _NOT_ACCEPTED),
    )
)

_EXPRESS: tuple[Explanation, ...] = (
    _row(0, Family.EXPRESS, _OK, "Paid by the other merchant's till.", turn=None, words=_RECEIVED, source=_USSD_PAGE),
    _row(
        4001, Family.EXPRESS, _END, "Cancelled by the payer.", turn=Turn.CUSTOMER, words=_CANCELLED, source=_USSD_PAGE
    ),
    _row(
        4102,
        Family.EXPRESS,
        _NO,
        "The payer's merchant details (KYC) were not accepted.",
        turn=Turn.CUSTOMER,
        words=_BAD_DETAILS,
        source=_USSD_PAGE,
    ),
    _row(
        4104,
        Family.EXPRESS,
        _NO,
        "The paying till has no nominated number that could approve the payment.",
        turn=Turn.CUSTOMER,
        remedy="The payer has Safaricom add a nominated number to the till.",
        words=_NOT_ACCEPTED,
        source=_USSD_PAGE,
    ),
    _row(
        4201,
        Family.EXPRESS,
        _LATE,
        "The prompt did not reach the phone: a network error.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        remedy=_ASK_FIRST,
        source=_USSD_PAGE,
    ),
    _row(
        4203,
        Family.EXPRESS,
        _LATE,
        "The prompt did not reach the phone: an exception in USSD.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        remedy=_ASK_FIRST,
        source=_USSD_PAGE,
    ),
)

_RATIBA: tuple[Explanation, ...] = (
    _row(0, Family.RATIBA, _OK, "The customer agreed to the standing order.", turn=None, source=_RATIBA_PAGE),
    _row(
        200, Family.RATIBA, _OPEN, "The request was taken; the customer is asked.", turn=Turn.WAIT, source=_RATIBA_PAGE
    ),
    _row(
        1001,
        Family.RATIBA,
        _NO,
        "The customer's line is locked by another M-PESA session.",
        turn=Turn.RETRY,
        words=_PHONE_BUSY,
        remedy="Wait one to three minutes before the next prompt.",
        source=_RATIBA_PAGE,
    ),
    _row(
        1025,
        Family.RATIBA,
        _NO,
        "The prompt could not be sent.",
        turn=Turn.RETRY,
        words=_FAILED_AGAIN,
        source=_RATIBA_PAGE,
    ),
    _row(
        1032,
        Family.RATIBA,
        _END,
        "Cancelled by the customer.",
        turn=Turn.CUSTOMER,
        words=_CANCELLED,
        source=_RATIBA_PAGE,
    ),
    _row(
        1037,
        Family.RATIBA,
        _LATE,
        "The phone could not be reached, or the customer did not answer the prompt.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        source=_RATIBA_PAGE,
    ),
    _row(
        1050,
        Family.RATIBA,
        _NO,
        "The customer has a standing order of this name already.",
        turn=Turn.CUSTOMER,
        words=_NAME_TAKEN,
        remedy="Choose another name.",
        source=_KEPAS,
    ),
    _row(
        1051,
        Family.RATIBA,
        _NO,
        "A field of the standing order is not valid.",
        turn=Turn.OPERATOR,
        remedy="Check dates, frequency and transaction type.",
        source=_KEPAS,
    ),
    _row(
        2001,
        Family.RATIBA,
        _NO,
        "The customer entered a wrong PIN.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_WRONG_PIN,
        source=_RATIBA_PAGE,
    ),
)

_BONGA: tuple[Explanation, ...] = (
    _row(
        6000,
        Family.BONGA,
        _OPEN,
        "The redemption was taken; the payment shows on the C2B confirmation URL.",
        turn=Turn.WAIT,
        source=_KEPAS,
    ),
    _row(6001, Family.BONGA, _NO, "The redemption failed.", turn=Turn.RETRY, words=_FAILED_AGAIN, source=_KEPAS),
    _row(
        6005,
        Family.BONGA,
        _NO,
        "Credentials were refused.",
        turn=Turn.OPERATOR,
        words=_NOT_NOW,
        source=_KEPAS,
    ),
    _row(6006, Family.BONGA, _NO, "A field is missing.", turn=Turn.OPERATOR, words=_NOT_NOW, source=_KEPAS),
    *(
        _row(code, Family.BONGA, _UNSURE, meaning, turn=Turn.WAIT, words=_STILL_GOING, remedy=_ASK, source=_KEPAS)
        for code, meaning in (
            (17, "An internal failure; what became of the redemption is open."),
            (6004, "A server error; what became of the redemption is open."),
            (6007, "The system is busy; what became of the redemption is open."),
            (6008, "The system is busy; what became of the redemption is open."),
            (6009, "The system is busy; what became of the redemption is open."),
            (6011, "A database error; what became of the redemption is open."),
        )
    ),
    _row(
        1031,
        Family.BONGA,
        _LATE,
        "The customer did not enter the PIN in time.",
        turn=Turn.CUSTOMER,
        words=_LAPSED,
        source=_KEPAS,
    ),
    _row(
        1037,
        Family.BONGA,
        _LATE,
        "The phone could not be reached, or the customer did not answer.",
        turn=Turn.RETRY,
        words=_UNREACHABLE,
        source=_KEPAS,
    ),
    _row(
        2001,
        Family.BONGA,
        _NO,
        "The customer entered a wrong PIN.",
        turn=Turn.CUSTOMER,
        reason=DENIED,
        words=_WRONG_PIN,
        source=_KEPAS,
    ),
)

RESULT_CODES: tuple[Explanation, ...] = (
    *_STK,
    *_B2C,
    *_B2B,
    *_QUESTIONS,
    *_C2B,
    *_EXPRESS,
    *_RATIBA,
    *_BONGA,
)
"""Every result code that is known; a code and a family occur together once."""

_BY_FAMILY: dict[tuple[Family, int | str], Explanation] = {
    (family, row.code): row for row in RESULT_CODES for family in row.families
}

TRANSACTION_STATUSES: dict[str, Outcome] = {
    "completed": Outcome.SUCCESS,
    "declined": Outcome.FAILED,
    "cancelled": Outcome.FAILED,
    "expired": Outcome.FAILED,
    "initiated": Outcome.PENDING,
    "authorized": Outcome.PENDING,
    "pending authorized": Outcome.PENDING,
}
"""A status result's TransactionStatus, in lower case. Source: Safaricom developer portal, "Transaction Status" page."""

_STILL_PROCESSING = re.compile(r"(?i)(?:still under|being) process")
_SAYS_SUCCESS = re.compile(r"(?i)(?<!un)\bsuc+es")


def outcome_of(
    code: object,
    family: Family,
    *,
    from_query: bool = False,
    description: str = "",
) -> Outcome:
    """What a result code says of the payment.

    Args:
        code: as :func:`~mpesa_core.daraja.codec.to_code` gives it; a number as text is read as the number. None or a
            boolean is no code.
        family: the product. For STATUS, success says only that the question was answered (the payment's outcome is in
            TransactionStatus), and a failed question is UNKNOWN, because it says nothing of the payment.
        from_query: it comes from the answer to an STK query.
        description: its text. A text never makes a payment succeed or fail; it can only make it uncertain.

    Returns:
        UNKNOWN for everything that the tables do not have.
    """
    found = _find(to_code(code), family)
    if found is None or found.outcome is None:
        return Outcome.UNKNOWN
    if from_query and _STILL_PROCESSING.search(description):
        return Outcome.PENDING  # one SDK saw code 1 with "The transaction is still under processing"
    if found.code == 21 and family is Family.REVERSAL and _SAYS_SUCCESS.search(description):
        return Outcome.UNKNOWN  # an older official sample has 21 with a text and parameters of success
    return found.outcome


def transaction_status_outcome(status: object) -> Outcome:
    """What a status result's TransactionStatus ("Completed") says of the payment; UNKNOWN for any other word."""
    text = " ".join(status.split()).lower() if isinstance(status, str) else ""
    return TRANSACTION_STATUSES.get(text, Outcome.UNKNOWN)


def reason_of(code: object, family: Family, outcome: Outcome) -> str | None:
    """Why it did not succeed, in one word: the ``reason`` of a transaction.

    Returns:
        ``cancelled``, ``expired``, ``denied`` (funds, PIN, limits), ``rejected`` (configuration or credentials) or
        ``failed``; None for a success and for what is not settled.
    """
    if outcome is Outcome.CANCELLED:
        return "cancelled"
    if outcome is Outcome.EXPIRED:
        return "expired"
    if outcome is not Outcome.FAILED:
        return None
    found = _find(to_code(code), family)
    known = found.reason if found is not None and found.outcome is Outcome.FAILED else None
    return known or PLAIN_FAILURE


def _find(code: int | str | None, family: Family) -> Explanation | None:
    return None if code is None else _BY_FAMILY.get((family, code))


# --- the codes of an acceptance -------------------------------------------------------------------------------------


def _took(product: str, key: str, code: str, source: str, meaning: str = "The request was taken.") -> AcceptanceCode:
    return AcceptanceCode(product=product, key=key, code=code, meaning=meaning, source=source)


ACCEPTANCE_CODES: tuple[AcceptanceCode, ...] = (
    _took("STK push, C2B, B2C, B2B, reversal, status, balance", "ResponseCode", "0", _EXPRESS_PAGE),
    _took("C2B register", "ResponseCode", "0", _REGISTER_PAGE, "The URLs are registered."),
    _took("C2B register", "ResponseCode", "00000000", _CAPTURES, "The URLs are registered."),
    _took("C2B validation, our reply", "ResultCode", "0", _C2B_PAGE, "The payment may go on."),
    _took("Dynamic QR", "ResponseCode", "00", _CAPTURES, "The code was made."),
    _took("B2B express checkout", "code", "0", _USSD_PAGE, "The payer is being prompted."),
    _took("Ratiba", "ResponseHeader.responseCode", "200", _RATIBA_PAGE, "The customer is being asked."),
    _took("Bill Manager", "rescode", "200", _BILLS_PAGE),
    _took("Pull transactions, register", "ResponseStatus", "1000", _PULL_PAGE, "The short code is registered."),
    _took("Pull transactions, register", "ResponseStatus", "1001", _OLD_PORTAL, "It was registered already."),
    _took("Pull transactions, query", "ResponseCode", "1000", _PULL_PAGE, "There are rows."),
    _took("Pull transactions, query", "ResponseCode", "1001", _PULL_PAGE, "There are no rows."),
    _took("IMSI and swap", "responseCode", "200", 'Safaricom developer portal, "IMSI" and "Swap" pages', "Answered."),
    _took("Hakikisha", "header.status", "200", _KEPAS, "The customer was found."),
    _took("Organisation info", "ResponseCode", "4000", f"{_KEPAS}; {_EDLUGZ}", "The organisation was found."),
    _took("Lipa na Bonga", "header.responseCode", "200", _KEPAS),
)
"""What each product says when it takes a request. A Dynamic QR answer may have a conversation id in place of a code."""

# --- errors ---------------------------------------------------------------------------------------------------------

_NEW_TOKEN = "Get a fresh token and try once more; nothing was done."  # noqa: S105 - an advice, no secret
_MEND_REQUEST = "Mend what the message names; nothing was done."
_BACK_OFF = "Wait, then try again; nothing was done."
_NEVER_AGAIN = "It may have been carried out: ask for its status, and do not send it again."


def _rule(
    error_class: ErrorClass,
    meaning: str,
    *,
    source: str,
    code: str | None = None,
    status: int | None = None,
    words: str = "",
    turn: Turn | None = None,
    remedy: str = "",
    certain: bool = True,
) -> ErrorRule:
    usual_turn, usual_remedy = {
        ErrorClass.TOKEN: (Turn.RETRY, _NEW_TOKEN),
        ErrorClass.REFUSED: (Turn.OPERATOR, _MEND_REQUEST),
        ErrorClass.BUSY: (Turn.RETRY, _BACK_OFF),
        ErrorClass.NOT_YET: (Turn.WAIT, "Ask again later."),
        ErrorClass.UNKNOWN: (Turn.WAIT, _NEVER_AGAIN),
    }[error_class]
    return ErrorRule(
        code=code,
        status=status,
        words=words,
        error_class=error_class,
        meaning=meaning,
        turn=turn or usual_turn,
        remedy=remedy or usual_remedy,
        source=source,
        certain=certain,
    )


_TOKEN, _REFUSED, _BUSY, _NOT_YET, _MAYBE = (
    ErrorClass.TOKEN,
    ErrorClass.REFUSED,
    ErrorClass.BUSY,
    ErrorClass.NOT_YET,
    ErrorClass.UNKNOWN,
)
_PRODUCT_MISSING = (
    "The token was refused; where a fresh one is refused too, the app does not have this product. Add it on the "
    "developer portal."
)

ERROR_RULES: tuple[ErrorRule, ...] = (
    # Codes that say several things: the words decide, and come first.
    _rule(
        _NOT_YET,
        "The question came before Daraja knew of the push, or its CheckoutRequestID is wrong.",
        code="400.002.02",
        words="invalid checkoutrequestid",
        source=f"{_STK_NOTES}; {_QUERY_PAGE}",
    ),
    _rule(
        _REFUSED,
        "Daraja's firewall saw a threat, mostly a word in a callback URL.",
        code="400.002.02",
        words="threat detected",
        remedy="Choose callback URLs without words such as mpesa, safaricom, exec, cmd, sql or query.",
        source="GitHub, Safaricom/LNMOnlineAndroidSample issue 44",
    ),
    _rule(
        _REFUSED, "A field of the request is not valid; the message names it.", code="400.002.02", source=_EXPRESS_PAGE
    ),
    _rule(
        _REFUSED,
        "Daraja does not know the short code as a merchant for this.",
        code="500.001.1001",
        words="merchant does not exist",
        remedy="Check the short code, and that its passkey and product are live in this environment.",
        source=f"{_EXPRESS_PAGE}; {_ERROR_LIST}",
    ),
    _rule(
        _REFUSED,
        "The STK password is wrong: short code, passkey and timestamp do not fit together.",
        code="500.001.1001",
        words="wrong credentials",
        remedy="Check the passkey of this short code and environment.",
        source=f"{_EXPRESS_PAGE}; {_ERROR_LIST}",
    ),
    _rule(
        _BUSY,
        "Another M-PESA session holds the customer's line.",
        code="500.001.1001",
        words="unable to lock subscriber",
        remedy="Wait at least a minute before the next prompt.",
        source=f"{_EXPRESS_PAGE}; {_ERROR_LIST}",
    ),
    _rule(
        _NOT_YET,
        "The payment is still being processed.",
        code="500.001.1001",
        words="being processed",
        source=f"{_QUERY_PAGE}; openMF/ph-ee-connector-mpesa",
    ),
    _rule(
        _NOT_YET,
        "The question came before Daraja knew of the payment, or its id is wrong.",
        code="500.001.1001",
        words="transaction does not exist",
        source=_CAPTURES,
    ),
    _rule(_MAYBE, "An internal error of Daraja.", code="500.001.1001", source=_EXPRESS_PAGE),
    _rule(
        _MAYBE,
        "Daraja saw this OriginatorConversationID before: the first request may well have been paid.",
        code="500.002.1001",
        words="duplicate",
        remedy="Ask for the status of the first one; never send again under a new id before that.",
        source=f"{_B2C_PAGE}; {_AID}",
    ),
    _rule(
        _MAYBE,
        "An internal error of M-PESA.",
        code="500.002.1001",
        source=f"{_BALANCE_PAGE}; GitHub, gathuku/laravel_mpesa issue 21",
    ),
    _rule(
        _REFUSED,
        "The URLs of this short code are registered already.",
        code="500.003.1001",
        words="already registered",
        remedy="Delete them on the developer portal first, then register again.",
        source=_REGISTER_PAGE,
    ),
    _rule(
        _REFUSED,
        "The URLs of this short code are registered already, perhaps on Safaricom's older platform.",
        code="500.003.1001",
        words="duplicate notification info",
        remedy="Have Safaricom remove them from the older platform, then register again.",
        source=f"{_REGISTER_PAGE}; {_PROBE}",
    ),
    _rule(
        _MAYBE,
        "Daraja could not reach the service behind it.",
        code="500.003.1001",
        words="unreachable",
        source=_PROBE,
    ),
    _rule(_MAYBE, "An internal error of Daraja.", code="500.003.1001", source=f"{_REGISTER_PAGE}; {_BALANCE_PAGE}"),
    _rule(
        _REFUSED,
        "The URLs of this short code are registered already (a SOAP fault from behind the gateway).",
        words="addurlvault failed. reason: responsecode 409",
        remedy="Delete them on the developer portal first, then register again.",
        source="GitHub, bnjunge/MPESA-API-Tutorial issues 3 and 9",
    ),
    _rule(
        _TOKEN,
        "No product of the app covers this call.",
        words="no apiproduct match found",
        turn=Turn.OPERATOR,
        remedy="Add the product to the app on the developer portal; a token minted after that will do.",
        source=f"{_FAQ}; {_PROBE}",
    ),
    # Tokens and keys.
    _rule(_TOKEN, "The access token was refused.", code="400.003.01", source=_REGISTER_PAGE),
    _rule(_TOKEN, "The access token was refused.", code="401.001", source=f"{_PULL_PAGE}; {_CAPTURES}"),
    _rule(_TOKEN, "The access token was refused.", code="401.002.01", source=f"{_BALANCE_PAGE}; {_GOLANG}"),
    _rule(
        _TOKEN,
        "The access token was refused.",
        code="401.003.01",
        source="GitHub, Safaricom/LNMOnlineAndroidSample issue 11",
        certain=False,
    ),
    _rule(
        _TOKEN,
        "The access token was refused (with status 404, which means it all the same).",
        code="404.001.03",
        source=f"{_EXPRESS_PAGE}; openMF/ph-ee-connector-mpesa",
    ),
    _rule(_TOKEN, _PRODUCT_MISSING, code="401", turn=Turn.OPERATOR, source=f"{_CAPTURES}; {_KEPAS}"),
    _rule(
        _TOKEN,
        "The app's consumer key and secret were refused, or were not sent as Basic authorization.",
        code="400.008.01",
        turn=Turn.OPERATOR,
        remedy="Check consumer key and secret, and that they belong to this environment.",
        source=f"{_OAUTH_PAGE}; {_DRH}",
    ),
    _rule(_REFUSED, "The grant type is not client_credentials.", code="400.008.02", source=_OAUTH_PAGE),
    # Refused as it is.
    _rule(_REFUSED, "The request's body is not valid.", code="400.002.05", source=_REGISTER_PAGE),
    _rule(
        _REFUSED,
        "A bad request; in the sandbox often a short code that is not the app's own.",
        code="400.003.02",
        source=f"{_REGISTER_PAGE}; {_DRH}",
    ),
    _rule(_REFUSED, "The short code is not valid for pull transactions.", code="400.001", source=_PULL_PAGE),
    _rule(_REFUSED, "A field of the request is not valid.", code="400", source=_GOLANG, certain=False),
    _rule(
        _REFUSED,
        "The app may not initiate this transaction.",
        code="403.002.1001",
        remedy="Have Safaricom enable it for the app; for B2C, version 1 may work where version 3 does not.",
        source=_KEPAS,
    ),
    _rule(_REFUSED, "There is nothing at this path.", code="404.001.01", source=_EXPRESS_PAGE),
    _rule(_REFUSED, "There is nothing at this path.", code="404.002.01", source=_BALANCE_PAGE),
    _rule(_REFUSED, "There is nothing at this path.", code="404.003.01", source=_REGISTER_PAGE),
    _rule(
        _REFUSED,
        "The authorization header, or the HTTP method, is not valid.",
        code="404.001.04",
        source=_REGISTER_PAGE,
    ),
    _rule(_REFUSED, "The HTTP method is not allowed.", code="405.001", source=_EXPRESS_PAGE),
    _rule(
        _REFUSED,
        "Bill Manager refuses it: already registered, a reference used before, a paid invoice, or a wrong field.",
        code="409",
        source=f"{_BILLS_PAGE}; {_KEPAS}",
    ),
    # Too much, too soon.
    _rule(_BUSY, "Too many requests in a short time.", code="500.003.02", words="spike arrest", source=_EXPRESS_PAGE),
    _rule(
        _BUSY,
        "M-PESA is busy. Its own advice is to try again; that nothing was done, it does not say.",
        code="500.003.02",
        remedy="Wait some minutes, then try again; a payout only when its status is known.",
        source=_EXPRESS_PAGE,
        certain=False,
    ),
    _rule(_BUSY, "The quota is used up.", code="500.003.03", remedy="Wait for long.", source=_EXPRESS_PAGE),
    _rule(
        _BUSY,
        "Too many requests in a short time (the sandbox allows 5 STK queries a minute for an app).",
        code="policies.ratelimit.SpikeArrestViolation",
        source=_STK_NOTES,
    ),
    _rule(
        _BUSY,
        "The quota is used up.",
        code="policies.ratelimit.QuotaViolation",
        remedy="Wait for long.",
        source="Apigee, error codes of the Quota policy",
    ),
    _rule(_BUSY, "Too many requests in a short time.", status=429, source=_STK_NOTES),
    # Not known, or not known yet.
    _rule(
        _NOT_YET,
        "Daraja does not know the transaction, or not yet.",
        code="01",
        words="no transaction",
        source=_DRH,
        certain=False,
    ),
    _rule(_MAYBE, "Daraja is under maintenance.", code="00.002.1001", source=_FAQ),
    _rule(
        _MAYBE,
        "The service behind the gateway did not answer in time.",
        code="messaging.adaptors.http.flow.GatewayTimeout",
        source=_CAPTURES,
    ),
    _rule(_MAYBE, "A timeout.", status=408, source='Safaricom developer portal, "IMSI" page'),
    # Whatever else comes with a status that means one thing.
    _rule(_TOKEN, "The access token was refused.", status=401, source=_FAQ),
)
"""In the order in which they are tried. What none of them knows is decided by the status alone: see
:func:`classify_error`."""

_FIREWALL = _rule(
    _BUSY,
    "The firewall before Daraja refused it, mostly after a burst of requests.",
    status=403,
    remedy="Wait some minutes, then try again, more slowly.",
    source=_PROBE,
)
_STATUS_SAYS_UNTOUCHED = frozenset({405, 411, 413, 414, 415, 431})
"""Statuses with which any HTTP server says that it did not look at the request's content."""

_DARAJA_REFUSES = _rule(
    _REFUSED, "Daraja refused the request with a code that is in no table of ours.", source=f"{_FAQ} (4xx)"
)
_NOT_EVEN_READ = _rule(_REFUSED, "The server refused the request by its form.", source="RFC 9110, section 15.5")
_SAYS_NOTHING = _rule(_MAYBE, "An answer that says nothing certain.", source="caution: no source says more")


def _matching_rule(status: int, code: str, message: str) -> ErrorRule:
    text = " ".join(message.lower().split())
    for rule in ERROR_RULES:
        if (
            (rule.code is None or rule.code == code)
            and (rule.status is None or rule.status == status)
            and rule.words in text
        ):
            return rule
    if status in _STATUS_SAYS_UNTOUCHED:
        return _NOT_EVEN_READ
    if 400 <= status < 500:
        if code:
            return _DARAJA_REFUSES
        if status == 403:
            return _FIREWALL
    return _SAYS_NOTHING


def classify_error(status: int, code: str, message: str) -> ErrorClass:
    """What an error means for the request.

    The first of :data:`ERROR_RULES` that fits decides. After them: a 4xx with some code of Daraja's is REFUSED; a 403
    without one is the firewall's, BUSY; a 4xx without a code is UNKNOWN, unless its status says that the content was
    not looked at; and every 5xx (500, 502, 503, 504, HTML among them), like anything else, is UNKNOWN.

    Args:
        status: the HTTP status.
        code: Daraja's error code as text, or "".
        message: its words; they decide where one code says several things (500.001.1001).
    """
    return _matching_rule(status, code, message).error_class


def explain_error(status: int, code: str, message: str = "") -> Explanation:
    """What one error means, its words taken into account: more exact than :func:`explain` of the code alone."""
    return _explain_rule(_matching_rule(status, code, message), code or str(status))


def _explain_rule(rule: ErrorRule, code: int | str) -> Explanation:
    return Explanation(
        code=code,
        meaning=rule.meaning,
        turn=rule.turn,
        remedy=rule.remedy,
        source=rule.source,
        certain=rule.certain,
        error_class=rule.error_class,
    )


# --- asking ---------------------------------------------------------------------------------------------------------


def explain(code: int | str, family: Family | None = None) -> Explanation:
    """What a result code, an error code or a C2B validation code means.

    Args:
        code: 1032, "1032", "SFC_IC0003", "400.002.02", "C2B00012".
        family: the product; without it the first product that knows the code answers (in the order of
            :class:`Family`), its meaning names the products that differ, and ``others`` holds theirs. A code that only
            other products know is explained with the outcome UNKNOWN.

    Returns:
        Always an explanation: that of an unknown code says so, with the outcome UNKNOWN.
    """
    wanted = to_code(code)
    text = str(code).strip()
    readings = tuple(row for row in RESULT_CODES if row.code == wanted) if wanted is not None else ()
    if family is not None:
        exact = _find(wanted, family)
        if exact is not None:
            return exact
    if readings:
        return _read_together(readings, family)
    rules = tuple(rule for rule in ERROR_RULES if rule.code == text)
    if rules:
        return _rules_together(rules, text)
    accepted = tuple(row for row in ACCEPTANCE_CODES if row.code == text)
    if accepted:
        return Explanation(
            code=text,
            meaning=" ".join(f"{row.product}: {row.meaning}" for row in accepted),
            source="; ".join(dict.fromkeys(row.source for row in accepted)),
        )
    return Explanation(
        code=wanted if wanted is not None else text,
        families=(family,) if family is not None else (),
        meaning="No table has this code; it is taken neither for a success nor for a failure.",
        outcome=Outcome.UNKNOWN,
        turn=Turn.WAIT,
        remedy="Ask for the transaction's status. If it stays open, ask Safaricom, with the code and the receipt.",
        customer_message=_STILL_GOING[0],
        customer_message_sw=_STILL_GOING[1],
        source="none",
        certain=False,
    )


def _read_together(readings: tuple[Explanation, ...], family: Family | None) -> Explanation:
    order = list(Family)
    ranked = sorted(readings, key=lambda row: order.index(row.families[0]))
    first, others = ranked[0], tuple(ranked[1:])
    if family is not None:
        known = ", ".join(each.value for row in ranked for each in row.families)
        return attrs.evolve(
            first,
            families=(family,),
            meaning=f"No table of {family.value} has this code; others do ({known}): {first.meaning}",
            outcome=Outcome.UNKNOWN,
            turn=Turn.WAIT,
            reason=None,
            remedy=_ASK,
            customer_message=_STILL_GOING[0],
            customer_message_sw=_STILL_GOING[1],
            certain=False,
            others=tuple(ranked),
        )
    different: dict[str, list[str]] = {}
    for row in others:
        if row.meaning != first.meaning:
            different.setdefault(row.meaning, []).extend(each.value for each in row.families)
    tail = "".join(f" In {', '.join(names)}: {meaning}" for meaning, names in different.items())
    return attrs.evolve(first, meaning=first.meaning + tail, others=others)


def _rules_together(rules: tuple[ErrorRule, ...], code: str) -> Explanation:
    """One code, several messages: without the message it says what all of them may mean, and asks for caution."""
    first = _explain_rule(rules[0], code)
    if len(rules) == 1:
        return first
    parts = [f'"{rule.words}": {rule.meaning}' if rule.words else f"otherwise: {rule.meaning}" for rule in rules]
    classes = {rule.error_class for rule in rules}
    return attrs.evolve(
        first,
        meaning="Its message decides. " + " ".join(parts),
        turn=first.turn if len(classes) == 1 else Turn.WAIT,
        remedy="Read the message.",
        error_class=first.error_class if len(classes) == 1 else ErrorClass.UNKNOWN,
        others=tuple(_explain_rule(rule, code) for rule in rules),
    )
