"""Every error that the SDK raises, as one tree.

::

    MpesaError
    ├── ConfigurationError        the settings, all problems at once
    ├── InvalidField              a value that M-PESA would refuse (also a ValueError); nothing was sent
    ├── NotSent                   no byte left this machine: safe to repeat
    ├── OutcomeUnknown            it may have been carried out: never repeat, ask
    ├── DarajaError               Daraja answered, and the answer was no
    │   ├── TokenRefused          the access token or the app's keys were refused
    │   ├── RequestRefused        the request itself was refused; sending the same again is refused again
    │   ├── NotYet                a question was asked too early, or the payment is still being processed
    │   └── Busy                  refused before it was looked at (rate limit, quota, a lock): later
    ├── UnexpectedAnswer          a question's answer that could not be understood; nothing was asked to move
    ├── IdempotencyMismatch       the key was used before, for something else
    ├── InsideTransaction         a money-moving call inside the caller's own database transaction
    ├── IllegalTransition         not in the machine's table; nothing was changed
    ├── TransactionNotFound       no such transaction, callback or conflict (also a LookupError)
    ├── RefundExceedsPayment      more would go back than came in
    └── StorageError
        ├── DuplicateKey          a unique key is taken: which one, and by whom
        ├── StorageBusy           the store refused for now and nothing was changed: safe to repeat
        ├── StorageRefused        the store refuses this row, each time, and nothing was changed
        └── StorageUnavailable    the store failed and may have carried it out all the same: read again

Every error survives pickling and copying with its attributes. No text of an error shows a whole phone number: each
passes through :func:`mpesa_core.redaction.redact`. Whoever raises an error keeps secrets out of it.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mpesa_core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Busy",
    "ConfigurationError",
    "DarajaError",
    "DuplicateKey",
    "IdempotencyMismatch",
    "IllegalTransition",
    "InsideTransaction",
    "InvalidField",
    "MpesaError",
    "NotSent",
    "NotYet",
    "OutcomeUnknown",
    "RefundExceedsPayment",
    "RequestRefused",
    "StorageBusy",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "TokenRefused",
    "TransactionNotFound",
    "UnexpectedAnswer",
]


class MpesaError(Exception):
    """The base of them all. Its text never shows a whole phone number."""

    transaction: Any = None
    """The transaction's row as it stood when the error was raised, where there is one (a Django instance in Django).

    It stays behind when the error is pickled: a row belongs to the process that read it.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(argument) if isinstance(argument, str) else argument for argument in args))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the attributes: keyword-only arguments do not unpickle by themselves."""
        state = {name: value for name, value in self.__dict__.items() if name != "transaction"}
        return _rebuild, (type(self), self.args, state)


def _rebuild(cls: type[MpesaError], args: tuple[Any, ...], state: dict[str, Any]) -> MpesaError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(MpesaError):
    """The settings are wrong: every problem and every unknown key at once.

    Attributes:
        problems: one sentence each, naming the setting, what came, what was expected and what to do.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(redact(problem) for problem in problems)
        super().__init__("\n".join(["The M-PESA settings need attention:", *(f"  - {line}" for line in self.problems)]))


_PLAIN = (str, int, float, Decimal, datetime, date, UUID, type(None))
_LONGEST_SHOWN = 80


def _shown(value: object) -> str:
    """The repr, masked and cut short: what came may be a megabyte long, or a number too long to be written out.

    A time is shown as ISO 8601 has it.
    """
    try:
        text = redact(
            (value.isoformat() if isinstance(value, datetime) else repr(value))[: 5 * _LONGEST_SHOWN]
        )  # masked before the cut, which could leave most of a phone number
    except Exception:  # noqa: BLE001 - a repr that fails must not hide the refusal that it was asked for
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _unmistakable(value: object) -> object:
    """The value itself where it is plain and no phone number, else as it is shown."""
    if not isinstance(value, _PLAIN) or (isinstance(value, int) and abs(value) >= 10**_LONGEST_SHOWN):
        return _shown(value)
    return value if redact(str(value)) == str(value) else redact(str(value))


class InvalidField(MpesaError, ValueError):  # noqa: N818 - it names a state
    """A value that M-PESA would refuse; nothing was sent.

    Attributes:
        field: the argument's name.
        value: what came; its repr where it is no plain value. Masked where it is a phone number; never a secret.
        expected: what would have been right.
        remedy: what to do about it.
    """

    def __init__(self, field: str, value: object, *, expected: str, remedy: str = "") -> None:
        self.field = field
        self.value = _unmistakable(value)
        self.expected = expected
        self.remedy = remedy
        text = f"{field}: got {_shown(value)}, expected {expected}."
        # The value is masked already, and an example number in what was expected is nobody's: it stays readable.
        Exception.__init__(self, f"{text} {remedy}" if remedy else text)


class NotSent(MpesaError):  # noqa: N818 - it names a state
    """The request did not leave: no byte was written, so it is safe to repeat.

    Attributes:
        attempts: how often it was tried.
    """

    def __init__(self, message: str, *, attempts: int = 1) -> None:
        self.attempts = attempts
        super().__init__(message)


class OutcomeUnknown(MpesaError):  # noqa: N818 - it names a state
    """The request may have been carried out: its answer was lost, cut off, or said nothing certain.

    A payment, payout or reversal in this state is never sent again; it is asked about.

    Attributes:
        status: the HTTP status where one came, else None.
        code: Daraja's error code where one came, else None.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class DarajaError(MpesaError):
    """Daraja answered, and the answer was no.

    Attributes:
        status: the HTTP status.
        code: Daraja's code as text (``400.002.02``), or "" where it sent none.
        message: its words, with any token taken out.
        request_id: Daraja's id of the request, or "".
        hint: what the code means and what to do about it, or "".
        retry_after: seconds to wait where Daraja said so, else None.
        certain: whether it is certain that nothing was done.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        request_id: str = "",
        hint: str = "",
        retry_after: float | None = None,
        certain: bool = True,
    ) -> None:
        self.status = status
        self.code = code
        self.certain = certain
        self.message = redact(message)
        self.request_id = request_id
        self.hint = hint
        self.retry_after = retry_after
        text = f"Daraja answered HTTP {status}{' ' + code if code else ''}: {message}"
        super().__init__(f"{text} ({hint})" if hint else text)


class TokenRefused(DarajaError):  # noqa: N818 - it names a state
    """The access token, or the consumer key and secret, were refused."""


class RequestRefused(DarajaError):  # noqa: N818 - it names a state
    """The request was refused and nothing was done; the same request would be refused again."""


class NotYet(DarajaError):  # noqa: N818 - it names a state
    """Still being processed, or asked before Daraja knew of it: ask again later."""


class Busy(DarajaError):  # noqa: N818 - it names a state
    """Refused at the door (rate limit, quota, a subscriber's lock) and nothing was done: try again later."""


class UnexpectedAnswer(MpesaError):  # noqa: N818 - it names a state
    """A question's answer could not be understood.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class IdempotencyMismatch(MpesaError):  # noqa: N818 - it names a state
    """The idempotency key (of an invoice: its reference) was used before, with other parameters; nothing was sent.

    Attributes:
        key: the key.
        differences: the names of the parameters that differ.
        owner: id of the transaction, invoice or subscription that has the key.
        field: the argument's name: ``idempotency_key``, or an invoice's ``external_reference``.
        kind: what the owner is: ``transaction``, ``invoice`` or ``subscription``.
    """

    def __init__(
        self,
        key: str,
        *,
        differences: Iterable[str],
        owner: UUID,
        field: str = "idempotency_key",
        kind: str = "transaction",
    ) -> None:
        self.key = key
        self.differences = tuple(differences)
        self.owner = owner
        self.field = field
        self.kind = kind
        word = field.rpartition("_")[2]
        new = "payment" if kind == "transaction" else kind
        super().__init__(
            f"{field} {key!r} belongs to {kind} {owner}, which differs in {', '.join(self.differences)}. "
            f"Use a new {word} for a new {new}, or repeat the call with the same parameters."
        )


class InsideTransaction(MpesaError):  # noqa: N818 - it names a state
    """A money-moving call was made inside the caller's database transaction, whose rollback would forget it."""

    def __init__(
        self,
        message: str = (
            "A payment was asked for inside a database transaction: a rollback would forget it after the money moved. "
            "Pass on_commit=True, which sends it after the commit, or call outside of the transaction."
        ),
    ) -> None:
        super().__init__(message)


class IllegalTransition(MpesaError):  # noqa: N818 - it names a state
    """A transition that is not in the machine's table; nothing was changed.

    Attributes:
        status: where the transaction (the invoice, the subscription) stands.
        target: where it was asked to go.
        kind: what it is: ``transaction``, ``invoice`` or ``subscription``.
    """

    def __init__(self, status: str, target: str, *, kind: str = "transaction") -> None:
        self.status = status
        self.target = target
        self.kind = kind
        article = "An" if kind[:1] in "aeiou" else "A"
        super().__init__(f"{article} {kind} that is {status} cannot become {target}.")


class TransactionNotFound(MpesaError, LookupError):  # noqa: N818 - it names a state
    """Nothing is stored under that id."""


class RefundExceedsPayment(MpesaError):  # noqa: N818 - it names a state
    """More would go back than came in; nothing was sent.

    Attributes:
        paid: the payment's amount in shillings.
        reserved: what is already going back, or is back.
        asked: what was asked for now.
    """

    def __init__(self, *, paid: Any, reserved: Any, asked: Any) -> None:
        self.paid = paid
        self.reserved = reserved
        self.asked = asked
        super().__init__(
            f"Asked to send back {asked} of a payment of {paid}, of which {reserved} is already going back or is back."
        )


class StorageError(MpesaError):
    """The store could not do what was asked."""


class DuplicateKey(StorageError):  # noqa: N818 - it names a state
    """A unique key is taken.

    Attributes:
        key: the field, such as ``checkout_request_id`` (see :class:`mpesa_core.payments.records.Key`).
        owner: id of the row that has it, or None where the store could not tell.
    """

    def __init__(self, key: str, owner: UUID | None) -> None:
        self.key = str(key)
        self.owner = owner
        super().__init__(f"{self.key} is already taken by {owner}.")


class StorageBusy(StorageError):  # noqa: N818 - it names a state
    """A lock, a deadlock or a serialization failure: nothing was changed and it is safe to repeat."""


class StorageRefused(StorageError):  # noqa: N818 - it names a state
    """The store refuses this row, and will each time: a column of the host's own that must not be empty, say.

    Nothing was changed.
    """


class StorageUnavailable(StorageError):  # noqa: N818 - it names a state
    """The store failed (a lost connection, a full disk). It may have happened all the same: read again."""
