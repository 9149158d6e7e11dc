"""Who has a short code at the local Daraja, and the house rules that everyone there lives by."""

from __future__ import annotations

from decimal import Decimal

import attrs

from mpesa_core.sandbox.behaviour import QueryAnswer
from mpesa_core.sandbox.endings import Api

__all__ = ["Organisation", "Rules"]


@attrs.frozen(kw_only=True)
class Organisation:
    """A short code and its operator, as M-PESA knows them.

    Attributes:
        short_code: the paybill, or a till's store number.
        till_number: the till, where it has one.
        name: what customers see.
        passkey: for STK passwords; by default the one that Safaricom publishes for its sandbox's 174379.
        initiator_name, initiator_password: the API operator's.
        utility, working: opening balances in shillings; payments come into the utility account and payouts leave it.
        payout_charge: M-PESA's charge for a payout to a customer, in shillings.
        business_charge: M-PESA's charge for a payment to a business, in shillings.
        external_validation: whether the registered validation URL is called (Safaricom switches it on when asked).
    """

    short_code: str = "174379"
    till_number: str | None = None
    name: str = "Duka Limited"
    passkey: str = attrs.field(default="bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919", repr=False)
    initiator_name: str = "testapi"
    initiator_password: str = attrs.field(default="Safaricom999!*!", repr=False)
    utility: Decimal = Decimal(1_000_000)
    working: Decimal = Decimal(1_000_000)
    payout_charge: Decimal = Decimal(0)
    business_charge: Decimal = Decimal(0)
    external_validation: bool = True


@attrs.frozen(kw_only=True)
class Rules:
    """House rules. Durations are seconds, amounts shillings.

    Attributes:
        token_lifetime: of an access token.
        new_token_revokes: a new token ends the one before (source: the portal's FAQ).
        expires_in_as_text: send ``expires_in`` as text, as older answers do.
        decide_after: from a request to its decision, where the behaviour does not say.
        prompt_lifetime: of an STK prompt; until it has passed or was answered, the phone takes no other.
        payout_minimum, transaction_limit: outside of these a payout is accepted and then fails with code 2 or 3.
        query_visible_after: until then a query about a push is told ``unknown_query``.
        unknown_query: the answer about a CheckoutRequestID that is unknown, or not yet visible.
        pending_query: the answer about an undecided push.
        queries_per_minute: STK queries that are let through; None for no limit (Safaricom's sandbox: 5).
        register_once: a second C2B registration of a short code is refused, as in production.
        status_echoes_originator: acknowledge a status question with the OriginatorConversationID that was asked about.
        mask_stk_phone: STK callbacks show the phone number masked, as text.
        validation_deadline: how long the answer to a C2B validation may take.
        missing: products that the app does not have; each of their calls is refused as a captured one was.
        tills_want_type_2: a till is paid as identifier type "2" only, as one SDK reports from production; else as "4"
            too, as the pages have it.
        strict_receivers: a short code that is nobody's here does not exist; else it is some other business's.
        bonga_rate: what one Bonga point is worth.
        bill_tries: how often a bill's payment is posted until it is acknowledged (source: "Bill Manager" page).
        bill_retry_after: from one such try to the next.
        mask_pulled_phone: pulled transactions show the phone number masked, as text.
    """

    token_lifetime: float = 3599.0
    new_token_revokes: bool = True
    expires_in_as_text: bool = False
    decide_after: float = 0.0
    prompt_lifetime: float = 60.0
    payout_minimum: Decimal = Decimal(10)
    transaction_limit: Decimal = Decimal(250_000)
    query_visible_after: float = 0.0
    unknown_query: QueryAnswer = QueryAnswer.DOES_NOT_EXIST
    pending_query: QueryAnswer = QueryAnswer.STILL_PROCESSING
    queries_per_minute: int | None = None
    register_once: bool = False
    status_echoes_originator: bool = False
    mask_stk_phone: bool = False
    validation_deadline: float = 8.0
    missing: frozenset[Api] = frozenset()
    tills_want_type_2: bool = False
    strict_receivers: bool = False
    bonga_rate: Decimal = Decimal("0.2")
    bill_tries: int = 5
    bill_retry_after: float = 60.0
    mask_pulled_phone: bool = False
