"""What a caller gets back instead of an answer: refused tokens and products, and everything that goes wrong between.

Sources: the error tables of Safaricom's portal pages, and captured refusals (the gateway's and the firewall's own).
"""

from __future__ import annotations

from typing import Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import bodies
from mpesa_core.sandbox.behaviour import Answer
from mpesa_core.sandbox.checks import Refused
from mpesa_core.sandbox.desk import Call
from mpesa_core.sandbox.endings import Api

__all__ = ["disguise", "product_refusal", "spike_arrest", "token_refusal"]

_INTERNAL_ERRORS: Final = {
    Api.STK_PUSH: ("500.001.1001", "Internal Server Error"),
    Api.STK_QUERY: ("500.001.1001", "Internal Server Error"),
    Api.C2B_REGISTER: ("500.003.1001", "Internal Server Error"),
    Api.C2B_SIMULATE: ("500.003.1001", "Internal Server Error"),
}


def token_refusal(api: Api, token: str) -> Refused:
    """Every product refuses a token in its own way."""
    if api in (Api.STK_PUSH, Api.STK_QUERY):
        return Refused(404, "404.001.03", "Invalid Access Token")
    if api in (Api.C2B_REGISTER, Api.C2B_SIMULATE):
        return Refused(400, "400.003.01", "Invalid Access Token")
    if api is Api.OAUTH:
        return Refused(400, "400.008.01", "Bad Request - invalid credentials")
    if api in (Api.PULL_REGISTER, Api.PULL_QUERY):
        return Refused(401, "401.001", "Error Occurred - Invalid Access Token - ")
    return Refused(401, "401.002.01", f"Error Occurred - Invalid Access Token - {token}")


def product_refusal(api: Api) -> Refused:
    """The app lacks the product: captured for payouts (403), Bill Manager and express checkout (401)."""
    if api in (Api.B2C, Api.B2C_IDENTITY, Api.POCHI):
        return Refused(403, "403.002.1001", "You are not authorized to initiate this transaction")
    return Refused(401, "401", "Unauthorized - Invalid Access Token")


def spike_arrest(*, retry_after: int) -> HttpResponse:
    """The gateway's own refusal of too many requests; ``retry_after`` is seconds."""
    rate = "MessageRate{messagesPerPeriod=5, periodInMicroseconds=60000000, maxBurstMessageCount=1.0}"
    text = f"Spike arrest violation. Allowed rate : {rate}"
    return bodies.gateway_fault(429, text, "policies.ratelimit.SpikeArrestViolation", retry_after=retry_after)


def disguise(api: Api, call: Call, *, token: str, request_id: str) -> HttpResponse | None:
    """What the caller gets instead of the normal answer; None for none.

    Args:
        api: which call.
        call: with its behaviour, and its normal answer where it was carried out.
        token: the access token that it came with.
        request_id: for an error envelope.
    """
    match call.behaviour.answer:
        case Answer.LOST | Answer.NO_CONNECTION:
            return None
        case Answer.TRUNCATED:
            whole = call.response.body if call.response else b'{"requestId":"","errorCode":""}'
            headers = {"content-type": "application/json", "content-length": str(len(whole))}
            return HttpResponse(status=200, headers=headers, body=whole[: call.behaviour.truncate_at])
        case Answer.GARBAGE:
            return HttpResponse(status=200, headers={"content-type": "application/json"}, body=b"\x00\xff not json")
        case Answer.EMPTY:
            return HttpResponse(status=200)
        case Answer.SPIKE_ARREST:
            return spike_arrest(retry_after=12)
        case Answer.UNAVAILABLE:
            return bodies.firewall_page(503)
        case Answer.FORBIDDEN:
            return bodies.firewall_page(403)
        case Answer.GATEWAY_TIMEOUT:
            code = "messaging.adaptors.http.flow.GatewayTimeout"
            return bodies.gateway_fault(504, "Gateway Timeout", code, reason="TARGET_READ_TIMEOUT")
        case Answer.UNAUTHORIZED:
            refusal = token_refusal(api, token)
        case Answer.SYSTEM_BUSY:
            refusal = Refused(500, "500.003.02", "System is busy. Please try again in few minutes.")
        case _:
            refusal = Refused(500, *_INTERNAL_ERRORS.get(api, ("500.002.1001", "System internal error.")))
    return bodies.error(refusal.status, refusal.code, refusal.message, request_id)
