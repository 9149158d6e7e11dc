"""The calls, how each may end, and the code and words in which M-PESA says so.

Result codes and texts are those of Safaricom's pages for each product, and for R002 and R003, which no page has, those
of the projects that use the identity check in production (edlugz/daraja, global-121/121-platform).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["ENDINGS", "Api", "Ending"]


class Api(StrEnum):
    """The calls that it serves; ``C2B`` is a customer who pays without being asked (simulated ones too).

    ``BILL_PAYMENT`` is a customer who pays an invoice.
    """

    OAUTH = "oauth"
    STK_PUSH = "stk_push"
    STK_QUERY = "stk_query"
    CHECK_IDENTITY = "check_identity"
    C2B_REGISTER = "c2b_register"
    C2B_SIMULATE = "c2b_simulate"
    C2B = "c2b"
    B2C = "b2c"
    B2C_IDENTITY = "b2c_identity"
    POCHI = "pochi"
    B2B = "b2b"
    TAX = "tax"
    EXPRESS_CHECKOUT = "express_checkout"
    REVERSAL = "reversal"
    STATUS = "status"
    BALANCE = "balance"
    QR = "qr"
    HAKIKISHA = "hakikisha"
    ORGANISATION_INFO = "organisation_info"
    IMSI = "imsi"
    SIM_SWAP = "sim_swap"
    BONGA_CALCULATE = "bonga_calculate"
    BONGA_REDEEM = "bonga_redeem"
    IOT = "iot"
    BILLS_OPT_IN = "bills_opt_in"
    BILLS_CHANGE_OPT_IN = "bills_change_opt_in"
    BILLS_INVOICE = "bills_invoice"
    BILLS_INVOICES = "bills_invoices"
    BILLS_CHANGE_INVOICE = "bills_change_invoice"
    BILLS_CHANGE_INVOICES = "bills_change_invoices"
    BILLS_CANCEL = "bills_cancel"
    BILLS_CANCEL_MANY = "bills_cancel_many"
    BILLS_ACKNOWLEDGE = "bills_acknowledge"
    BILL_PAYMENT = "bill_payment"
    STANDING_ORDER = "standing_order"
    PULL_REGISTER = "pull_register"
    PULL_QUERY = "pull_query"


class Ending(StrEnum):
    """How a payment (or a question with a result) ends."""

    PAY = "pay"
    """Money moves; a question is answered; a standing order stands."""
    CANCEL = "cancel"
    EXPIRE = "expire"
    """The prompt lapses, a prompt's lifetime after it was shown."""
    WRONG_PIN = "wrong_pin"
    """The customer's PIN; for a payout the operator's password (M-PESA says the same of both)."""
    NO_FUNDS = "no_funds"
    UNREACHABLE = "unreachable"
    LOCKED_SUBSCRIBER = "locked_subscriber"
    LOCKED_CREDENTIAL = "locked_credential"
    NOT_PERMITTED = "not_permitted"
    NOT_A_CUSTOMER = "not_a_customer"
    UNKNOWN_RECEIVER = "unknown_receiver"
    """The short code that is paid does not exist, or not as an identifier of that type."""
    ID_TYPE_UNKNOWN = "id_type_unknown"
    """The customer has no identity document of that type."""
    ID_MISMATCH = "id_mismatch"
    """The customer's document has another number."""
    KYC_FAILED = "kyc_failed"
    """The business that is to pay has not been verified."""
    NO_NOMINATED_NUMBER = "no_nominated_number"
    """The till that is to pay has no number that could be prompted."""
    DUPLICATE_NAME = "duplicate_name"
    """The customer has a standing order of that name."""
    INTERNAL_FAILURE = "internal_failure"
    """M-PESA's own failure: nothing moved here, but its code does not say so."""
    ALREADY_REVERSED = "already_reversed"
    UNKNOWN_RECEIPT = "unknown_receipt"
    NEVER = "never"
    """Never decided: no result comes (but a forged one may), and every question is told that it is being processed."""


_DONE: Final = "The service request is processed successfully."
_CREDENTIALS: Final = {
    Ending.WRONG_PIN: (2001, "The initiator information is invalid."),
    Ending.LOCKED_CREDENTIAL: (8006, "The security credential is locked."),
}
_SHORT: Final = (1, "The balance is insufficient for the transaction.")
_FAILURE: Final = (17, "System internal error.")
_NOT_ALLOWED: Final = (21, "The initiator is not allowed to initiate this request.")
_NOT_ASSIGNED: Final = (2028, "The request is not permitted according to product assignment.")
_CANCELLED: Final = (1032, "Request Cancelled by user.")
_UNREACHABLE: Final = (1037, "DS timeout user cannot be reached.")
_LOCKED_SUBSCRIBER: Final = (1001, "Unable to lock subscriber, a transaction is already in process.")

_PAYOUT: Final[Mapping[Ending, tuple[int | str, str]]] = {
    Ending.PAY: (0, _DONE),
    Ending.NO_FUNDS: _SHORT,
    Ending.NOT_PERMITTED: _NOT_ASSIGNED,
    Ending.NOT_A_CUSTOMER: (
        2040,
        "Credit Party customer type (Unregistered or Registered Customer) can't be supported.",
    ),
    Ending.INTERNAL_FAILURE: _FAILURE,
    **_CREDENTIALS,
}
_BUSINESS: Final[Mapping[Ending, tuple[int | str, str]]] = {
    Ending.PAY: (0, "The service request is processed successfully"),
    Ending.NO_FUNDS: _SHORT,
    Ending.NOT_PERMITTED: _NOT_ALLOWED,
    Ending.UNKNOWN_RECEIVER: ("SFC_IC0003", "Receiver party is invalid"),
    Ending.INTERNAL_FAILURE: _FAILURE,
    **_CREDENTIALS,
}

ENDINGS: Final[Mapping[Api, Mapping[Ending, tuple[int | str, str]]]] = MappingProxyType(
    {
        Api.STK_PUSH: {
            Ending.PAY: (0, _DONE),
            Ending.CANCEL: _CANCELLED,
            Ending.EXPIRE: (1019, "Transaction has expired."),
            Ending.NO_FUNDS: _SHORT,
            Ending.UNREACHABLE: _UNREACHABLE,
            Ending.LOCKED_SUBSCRIBER: _LOCKED_SUBSCRIBER,
            Ending.NOT_PERMITTED: _NOT_ASSIGNED,
            Ending.INTERNAL_FAILURE: (9999, "An error occurred while sending a push request."),
            **_CREDENTIALS,
        },
        Api.C2B: {Ending.PAY: (0, _DONE), Ending.CANCEL: _CANCELLED, Ending.NO_FUNDS: _SHORT},
        Api.BILL_PAYMENT: {Ending.PAY: (0, _DONE), Ending.CANCEL: _CANCELLED, Ending.NO_FUNDS: _SHORT},
        Api.B2C: _PAYOUT,
        Api.POCHI: _PAYOUT,
        Api.B2C_IDENTITY: {
            **_PAYOUT,
            Ending.ID_TYPE_UNKNOWN: ("R002", "ID type not found."),
            Ending.ID_MISMATCH: ("R003", "ID number mismatch."),
        },
        Api.B2B: _BUSINESS,
        Api.TAX: _BUSINESS,
        Api.EXPRESS_CHECKOUT: {
            Ending.PAY: (0, _DONE),
            Ending.CANCEL: (4001, "User cancelled transaction"),
            Ending.NO_FUNDS: _SHORT,
            Ending.KYC_FAILED: (4102, "Merchant KYC Fail"),
            Ending.NO_NOMINATED_NUMBER: (4104, "Missing Nominated Number"),
            Ending.UNREACHABLE: (4201, "USSD Network Error"),
            Ending.INTERNAL_FAILURE: (4203, "USSD Exception Error"),
        },
        Api.BONGA_REDEEM: {
            Ending.PAY: (0, _DONE),
            Ending.CANCEL: (1031, "Request cancelled by user"),
            Ending.UNREACHABLE: _UNREACHABLE,
            Ending.WRONG_PIN: _CREDENTIALS[Ending.WRONG_PIN],
        },
        Api.STANDING_ORDER: {
            Ending.PAY: (0, "The service request is processed successfully"),
            Ending.CANCEL: _CANCELLED,
            Ending.UNREACHABLE: _UNREACHABLE,
            Ending.LOCKED_SUBSCRIBER: _LOCKED_SUBSCRIBER,
            Ending.WRONG_PIN: _CREDENTIALS[Ending.WRONG_PIN],
            Ending.INTERNAL_FAILURE: (1025, "An error occurred while sending a push request."),
            Ending.DUPLICATE_NAME: (1050, "A standing order with that name exists."),
        },
        Api.REVERSAL: {
            Ending.PAY: (0, _DONE),
            Ending.NO_FUNDS: _SHORT,
            Ending.NOT_PERMITTED: _NOT_ALLOWED,
            Ending.ALREADY_REVERSED: ("R000001", "The transaction has already been reversed."),
            Ending.UNKNOWN_RECEIPT: ("R000002", "The OriginalTransactionID is invalid."),
            Ending.INTERNAL_FAILURE: _FAILURE,
            **_CREDENTIALS,
        },
        Api.STATUS: {
            Ending.PAY: (0, _DONE),
            Ending.UNKNOWN_RECEIPT: (2032, "The transaction receipt number does not exist."),
            Ending.NOT_PERMITTED: _NOT_ALLOWED,
            Ending.INTERNAL_FAILURE: _FAILURE,
            **_CREDENTIALS,
        },
        Api.BALANCE: {
            Ending.PAY: (0, _DONE),
            Ending.NOT_PERMITTED: _NOT_ALLOWED,
            Ending.INTERNAL_FAILURE: _FAILURE,
            **_CREDENTIALS,
        },
        Api.HAKIKISHA: {Ending.PAY: (0, "Success"), Ending.NOT_A_CUSTOMER: (400, "The customer does not exist.")},
    }
)
"""Result code and text of each ending, for each call that it makes sense for. NEVER has none and is known to all."""
