"""Account balance: asks what is in the short code's accounts; the answer comes as a result.

Source: the "Account Balance" page of Safaricom's developer portal.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_decimal, to_wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, post, setting

__all__ = ["AccountBalance", "Balance", "read_balances"]

_MOST_ACCOUNTS = 64
"""M-PESA lists five; a string with more than this is not one of its own."""


@attrs.frozen(kw_only=True)
class Balance:
    """One account of a short code, in units of its currency; None where M-PESA sent no amount.

    Attributes:
        name: such as ``Utility Account`` (payouts leave it), ``Working Account``, ``Charges Paid Account`` (negative).
        currency: ``KES``.
        current: what is there; ``available`` and ``reserved`` together.
        available: what can be spent now.
        reserved: what is held.
        uncleared: what has not arrived yet.
    """

    name: str
    currency: str
    current: Decimal | None
    available: Decimal | None
    reserved: Decimal | None
    uncleared: Decimal | None


def read_balances(text: str) -> tuple[Balance, ...]:
    """The accounts in M-PESA's string: ``Name|Currency|Current|Available|Reserved|Uncleared``, joined by ``&``.

    Only the names of the parts up to ``available`` are sure: two published tables give the last two in another order.
    Parts that are missing or no number are None; an account without a name is left out.
    """
    accounts = []
    for entry in text.split("&", _MOST_ACCOUNTS)[:_MOST_ACCOUNTS]:
        name, currency, *amounts = [*(part.strip() for part in entry.split("|", 6)[:6]), "", ""][:6] + [""] * 4
        if name:
            current, available, reserved, uncleared = map(to_decimal, amounts[:4])
            accounts.append(
                Balance(
                    name=name,
                    currency=currency,
                    current=current,
                    available=available,
                    reserved=reserved,
                    uncleared=uncleared,
                )
            )
    return tuple(accounts)


@attrs.frozen(kw_only=True)
class AccountBalance(ResultUrls):
    """Ask for the balances of the account's short code.

    Attributes:
        remarks: 2 to 100 characters.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`. M-PESA posts the result once only.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = True

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "Initiator": setting(context, "initiator_name", "AccountBalance"),
            "SecurityCredential": setting(context, "security_credential", "AccountBalance"),
            "CommandID": "AccountBalance",
            "PartyA": setting(context, "short_code", "AccountBalance"),
            "IdentifierType": "4",  # a short code
            **to_wire(self),
        }
        return post("/mpesa/accountbalance/v1/query", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
