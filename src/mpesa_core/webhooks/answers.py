"""What M-PESA wants to hear: the acknowledgements, and the decision on a payment that is to be validated.

Sources: Safaricom's "Customer to Business" and "Bill Manager" pages. M-PESA reads nothing into the answer to a result;
the answer to a validation decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mpesa_core.daraja import codec
from mpesa_core.daraja.callbacks import CallbackType

__all__ = ["ACCEPT", "REJECT", "acknowledgement", "normalised"]

ACCEPT: Mapping[str, str] = {"ResultCode": "0", "ResultDesc": "Accepted"}
REJECT: Mapping[str, str] = {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}
"""The rejection for any other reason than the five that M-PESA has codes for."""

_REASONS = frozenset({"C2B00011", "C2B00012", "C2B00013", "C2B00014", "C2B00015", "C2B00016"})
_LONGEST_DESCRIPTION = 90
_LONGEST_ID = 64


_ACKNOWLEDGEMENT = codec.dumps({"ResultCode": 0, "ResultDesc": "Accepted"})
_ACKNOWLEDGEMENTS = {
    CallbackType.C2B_VALIDATION: codec.dumps(dict(ACCEPT)),
    CallbackType.BILL_PAYMENT: codec.dumps({"resmsg": "Success", "rescode": "200"}),
    CallbackType.C2B_CONFIRMATION: codec.dumps({"ResultCode": 0, "ResultDesc": "Success"}),
}


def acknowledgement(callback_type: CallbackType) -> bytes:
    """The body that tells M-PESA that its callback has arrived. A validation is accepted by it."""
    return _ACKNOWLEDGEMENTS.get(callback_type, _ACKNOWLEDGEMENT)


def normalised(answer: object) -> Mapping[str, str] | None:
    """A receiver's answer to a validation as M-PESA wants it, or None where it decides nothing that can be understood.

    ``None`` accepts, and so does a mapping whose ``ResultCode`` is 0. Any other code rejects, as it does at M-PESA:
    one of ``C2B00011`` to ``C2B00016`` is kept, everything else becomes ``C2B00016`` (other error). A description is
    cut to 90 characters, and a ``ThirdPartyTransID`` (of up to 64) is passed on: M-PESA gives it back with the
    confirmation.
    """
    if answer is None:
        return ACCEPT
    if not isinstance(answer, Mapping):
        return None
    code: Any = answer.get("ResultCode")
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, (int, str, Decimal)):
        return None
    text = str(code).strip()
    if not text:
        return None
    zero = not text.strip("0") or (isinstance(code, Decimal) and code == 0)
    decision = dict(ACCEPT) if zero else dict(REJECT)
    if text.upper() in _REASONS:
        decision["ResultCode"] = text.upper()
    description = answer.get("ResultDesc")
    if isinstance(description, str) and description.strip():
        decision["ResultDesc"] = description.strip()[:_LONGEST_DESCRIPTION]
    third_party = answer.get("ThirdPartyTransID")
    if isinstance(third_party, (str, int)) and not isinstance(third_party, bool) and str(third_party):
        decision["ThirdPartyTransID"] = str(third_party)[:_LONGEST_ID]
    return decision
