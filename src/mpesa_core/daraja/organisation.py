"""Organisation info: the name behind a paybill or a till, to be compared before a business is paid.

Source: copies of the portal's 2026 pages in kepas-tech/daraja-js, and edlugz/daraja. A merchant needs the product on
the app.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.values import short_code

__all__ = ["Organisation", "QueryOrganisation"]


def _identifier(value: object) -> str:
    return short_code(value, "identifier")


def _identifier_type(value: object) -> Literal["2", "4"]:
    if isinstance(value, bool) or value not in ("2", "4", 2, 4):
        raise InvalidField("identifier_type", value, expected='"4" (paybill) or "2" (till)')
    return "2" if value in ("2", 2) else "4"


@attrs.frozen(kw_only=True)
class Organisation:
    """Who is behind the number.

    Attributes:
        short_code: the number.
        name: the organisation's.
        charge_profile_id: its charges, or "".
        conversation_id: Daraja's id of the request, or "".
    """

    short_code: str
    name: str
    charge_profile_id: str = ""
    conversation_id: str = ""


@attrs.frozen(kw_only=True)
class QueryOrganisation:
    """Ask who is behind a paybill or a till.

    Attributes:
        identifier: the number, 5 to 7 digits.
        identifier_type: "4" for a paybill, "2" for a till.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    identifier: str = attrs.field(converter=_identifier, metadata=wire("Identifier"))
    identifier_type: Literal["2", "4"] = attrs.field(default="4", converter=_identifier_type)

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return post("/sfcverify/v1/query/info", {"IdentifierType": self.identifier_type, **to_wire(self)})

    def parse(self, response: HttpResponse) -> Organisation:
        """The organisation. A name says that it was found: the code of a success is 4000, or 0 by the page's table.

        Raises:
            RequestRefused: there is no such organisation.
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without a code, or a success without a name.
        """
        body = parse_json_answer(response, moves_money=self.moves_money)
        code, name = to_text(body.get("ResponseCode")), to_text(body.get("OrganizationName"))
        if code is None or (name is None and code in ("0", "4000")):
            raise uncertain(response, "no code, or no name", moves_money=self.moves_money)
        if name is None:
            words = to_text(body.get("DetailedMessage")) or to_text(body.get("ResponseMessage")) or "no description"
            raise RequestRefused(without_secrets(words), status=response.status, code=without_secrets(code))
        return Organisation(
            short_code=to_text(body.get("OrganizationShortCode")) or self.identifier,
            name=name,
            charge_profile_id=to_text(body.get("ChargeProfileID")) or "",
            conversation_id=to_text(body.get("ConversationID")) or "",
        )
