"""What a Daraja call is: an operation builds a request from a context, and parses the response into a typed answer.

A new endpoint is one frozen attrs class with ``build`` and ``parse``; both clients can send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeVar

import attrs

__all__ = ["Context", "HttpRequest", "HttpResponse", "Operation"]

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request, complete but for the host and the access token.

    Attributes:
        method: GET or POST.
        path: from the root, with the query string where there is one.
        headers: names in the case that they are sent in.
        body: the bytes to send; b"" for none.
    """

    method: str = "POST"
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class HttpResponse:
    """A response as it came.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the bytes, decoded from any content encoding.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Context:
    """What an operation needs from its account and its moment; secrets are resolved and never show in a repr.

    Attributes:
        now: the moment of the request, aware.
        short_code: the account's paybill, or a till's store number; "" where none is set.
        till_number: the till, or None for a paybill.
        passkey: for the STK password, or None.
        initiator_name: the API operator, or None.
        security_credential: the operator's encrypted password, or None. It is made only for operations that say
            ``needs_credential``.
    """

    now: datetime
    short_code: str = ""
    till_number: str | None = None
    passkey: str | None = attrs.field(default=None, repr=False)
    initiator_name: str | None = None
    security_credential: str | None = attrs.field(default=None, repr=False)


class Operation(Protocol[T_co]):
    """One call to Daraja. Implementations are frozen attrs classes; their construction checks every field.

    Attributes:
        moves_money: it must never be sent again after :class:`~mpesa_core.errors.OutcomeUnknown`.
        needs_credential: it carries a SecurityCredential.
    """

    moves_money: ClassVar[bool]
    needs_credential: ClassVar[bool]

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks something that this call needs; the text names it.
        """
        ...

    def parse(self, response: HttpResponse) -> T_co:
        """The answer.

        Raises:
            DarajaError: Daraja said no.
            OutcomeUnknown: a call that moves money, and an answer that says nothing certain.
            UnexpectedAnswer: any other call, and an answer that cannot be understood.
        """
        ...


AnyOperation = Operation[Any]
