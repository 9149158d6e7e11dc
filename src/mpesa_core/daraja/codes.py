"""Result codes and error codes."""

from enum import StrEnum


class Outcome(StrEnum):
    """What a callback or an answer says of the payment."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PENDING = "pending"
    UNKNOWN = "unknown"
