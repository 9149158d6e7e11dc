"""Access tokens, as Daraja gives them out.

Source: the "Authorization" page of Safaricom's developer portal. A token is good for 3599 seconds, and a new one makes
the one before it invalid (the portal's FAQ).
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain
from mpesa_core.daraja.codec import to_decimal
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.errors import RequestRefused, TokenRefused

__all__ = ["FetchToken", "Token"]

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_USUAL_LIFETIME = 3599.0
_LONGEST_LIFETIME = 86_400.0
_HINT = (
    "Check consumer_key and consumer_secret, and that they belong to this environment: "
    "the sandbox's keys are refused in production, and the other way round."
)


@attrs.frozen(kw_only=True)
class Token:
    """An access token.

    Attributes:
        access_token: what goes after ``Bearer``; a secret.
        lifetime: seconds from the request for it until it expires.
    """

    access_token: str = attrs.field(repr=False)
    lifetime: float


@attrs.frozen(kw_only=True)
class FetchToken:
    """Get a new access token for an app. The clients do this by themselves.

    Attributes:
        consumer_key, consumer_secret: the app's keys from the developer portal.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    consumer_key: str = attrs.field(repr=False)
    consumer_secret: str = attrs.field(repr=False)

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature
        """The request, which brings its own (Basic) authorization."""
        keys = base64.b64encode(f"{self.consumer_key}:{self.consumer_secret}".encode()).decode("ascii")
        return HttpRequest(
            method="GET",
            path="/oauth/v1/generate?grant_type=client_credentials",
            headers={"Authorization": f"Basic {keys}", "Accept": "application/json"},
        )

    def parse(self, response: HttpResponse) -> Token:
        """The token. Its lifetime comes as a number or as text; the documented 3599 where it is missing or unreadable.

        Raises:
            TokenRefused: the keys were refused. Keys of the other environment are refused with an empty body.
            DarajaError: the gateway is too busy, or said no for another reason.
            UnexpectedAnswer: HTML, broken JSON, or no usable token in it.
        """
        if response.status in (400, 401) and not response.body.strip():
            raise TokenRefused("an empty answer", status=response.status, hint=_HINT)
        refused: TokenRefused | RequestRefused
        try:
            body = parse_json_answer(response, moves_money=False)
        except (TokenRefused, RequestRefused) as error:
            refused = error
        else:
            token = body.get("access_token")
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise uncertain(response, "access_token is missing or is no token", moves_money=False)
            return Token(access_token=token, lifetime=_lifetime(body.get("expires_in")))
        if refused.status not in (400, 401):
            raise refused
        raise TokenRefused(
            refused.message, status=refused.status, code=refused.code, request_id=refused.request_id, hint=_HINT
        )


def _lifetime(value: object) -> float:
    seconds = to_decimal(value)
    if seconds is None or not Decimal(0) <= seconds <= Decimal(_LONGEST_LIFETIME):
        return _USUAL_LIFETIME
    return float(seconds)
