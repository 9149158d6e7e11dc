"""The error tree: its shape, its texts, and its life beyond one process."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from mpesa_core import errors
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    DarajaError,
    DuplicateKey,
    IdempotencyMismatch,
    IllegalTransition,
    InsideTransaction,
    InvalidField,
    MpesaError,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RefundExceedsPayment,
    RequestRefused,
    StorageBusy,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    TokenRefused,
    TransactionNotFound,
    UnexpectedAnswer,
)

OWNER = UUID("11111111-2222-4333-8444-555555555555")

EXAMPLES = [
    MpesaError("something", 3),
    ConfigurationError(["short_code: missing", "passkey: missing"]),
    InvalidField("amount", Decimal("0.5"), expected="whole shillings", remedy="Round it."),
    NotSent("the connection was refused", attempts=3),
    OutcomeUnknown("the answer was cut off", status=502, code="500.001.1001"),
    DarajaError("no", status=400, code="400.002.02", request_id="1-2-3", hint="look", retry_after=1.5),
    TokenRefused("Invalid Access Token", status=401, code="401.003.01"),
    RequestRefused("Bad Request", status=400, code="400.002.02"),
    NotYet("The transaction is being processed", status=500, code="500.001.1001"),
    Busy("Spike arrest", status=429, retry_after=12.0),
    UnexpectedAnswer("no JSON", status=200),
    IdempotencyMismatch("order-7", differences=["amount", "phone_number"], owner=OWNER),
    InsideTransaction(),
    IllegalTransition("SUCCESS", "PENDING"),
    TransactionNotFound("no transaction 7"),
    RefundExceedsPayment(paid=Decimal("100.00"), reserved=Decimal("60.00"), asked=Decimal("50.00")),
    StorageError("the store"),
    DuplicateKey("checkout_request_id", OWNER),
    StorageBusy("locked"),
    StorageRefused("order_id must not be empty"),
    StorageUnavailable("the disk is full"),
]


def classes(root: type[MpesaError] = MpesaError) -> list[type[MpesaError]]:
    """The classes of the errors module, from a root downwards."""
    below = [cls for cls in root.__subclasses__() if cls.__module__ == errors.__name__]
    return [root, *(found for cls in below for found in classes(cls))]


def tree_in_the_docstring() -> dict[str, str | None]:
    """Each class that the module docstring draws, with the one it hangs below."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^( {4}[ │├└─]*)([A-Z][A-Za-z]+)(?:  |$)", line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        path = [(at, above) for at, above in path if at < depth]
        parents[name] = path[-1][1] if path else None
        path.append((depth, name))
    return parents


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_the_type_the_text_and_every_attribute(error, protocol):
    """An error that crosses a process boundary arrives with its class, text and attributes."""
    arrived = pickle.loads(pickle.dumps(error, protocol))
    assert type(error) is type(arrived)
    assert str(error) == str(arrived)
    assert error.args == arrived.args
    assert vars(error) == vars(arrived)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_copy_is_whole(error):
    """Copying an error keeps its attributes too."""
    assert vars(error) == vars(copy.copy(error))
    assert str(error) == str(copy.deepcopy(error))


def test_every_class_has_an_example():
    """No class of the tree is left out of the tests here."""
    assert set(classes()) == {type(example) for example in EXAMPLES}


def test_every_documented_attribute_is_there():
    """What an Attributes section names is set, and what an initialiser takes is kept under the same name."""
    for example in EXAMPLES:
        for cls in type(example).__mro__[:-1]:
            documented = re.findall(r"^    {4}(\w+): ", cls.__doc__ or "", re.MULTILINE)
            assert [] == [name for name in documented if issubclass(cls, MpesaError) and not hasattr(example, name)]
        taken = set(inspect.signature(type(example).__init__).parameters) - {"self", "args", "message"}
        assert taken <= set(vars(example)), type(example)


def test_the_docstring_draws_the_real_tree():
    """The tree in the module docstring is the tree of the classes."""
    real = {cls.__name__: None if cls is MpesaError else cls.__mro__[1].__name__ for cls in classes()}
    assert real == tree_in_the_docstring()


def test_the_docstring_tells_which_builtin_an_error_also_is():
    """``(also a ValueError)`` in the drawing is true, and no such base is left out of it."""
    also = dict(re.findall(r"([A-Z]\w+) .*\(also a (\w+)\)", errors.__doc__ or ""))
    builtin = {cls: base for cls in classes() for base in cls.__bases__ if base.__module__ == "builtins"}
    del builtin[MpesaError]
    assert {cls.__name__: base.__name__ for cls, base in builtin.items()} == also
    assert {InvalidField: ValueError, TransactionNotFound: LookupError} == builtin


def test_every_class_is_exported_and_says_what_it_means():
    """``__all__`` is the tree, and each class has words of its own."""
    assert sorted(cls.__name__ for cls in classes()) == sorted(errors.__all__)
    assert len(classes()) == len({cls.__doc__ for cls in classes() if cls.__doc__})


def test_a_pickled_error_leaves_the_row_behind():
    """The transaction belongs to the process that read it and may not even pickle."""
    error = OutcomeUnknown("lost")
    error.transaction = lambda: None
    arrived = pickle.loads(pickle.dumps(error))
    assert arrived.transaction is None
    assert "transaction" not in vars(arrived)
    assert error.transaction is not None


def test_an_invalid_field_that_came_as_something_odd_still_pickles():
    """What came may be anything at all; then its repr is kept."""
    error = InvalidField("amount", lambda: 1, expected="a number")
    arrived = pickle.loads(pickle.dumps(error))
    assert error.value == arrived.value
    assert arrived.value.startswith("<function ")


def test_an_invalid_field_names_field_value_expectation_and_remedy():
    """The text alone is enough to mend the call."""
    error = InvalidField("amount", "10.50", expected="whole shillings", remedy="M-PESA does not take cents here.")
    assert str(error) == "amount: got '10.50', expected whole shillings. M-PESA does not take cents here."
    assert ("amount", "10.50", "whole shillings") == (error.field, error.value, error.expected)


def test_a_time_is_shown_as_people_write_it():
    """ISO 8601 with the offset, not a constructor's call; the value itself stays a time."""
    moment = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    error = InvalidField("start", moment, expected="a later time")
    assert "start: got 2026-03-01T08:00:00+00:00, expected a later time." == str(error)
    assert moment == error.value


def test_an_invalid_field_is_a_value_error():
    """Code that knows nothing of the SDK still catches it."""
    with pytest.raises(ValueError, match="amount"):
        raise InvalidField("amount", 0, expected="more")


class Unshowable:
    """A value whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value", ["x" * 1_000_000, 10**5_000, Unshowable(), [["y"] * 10_000], "\ud800\x00\n"], ids=range(5)
)
def test_a_text_stays_short_and_printable_whatever_came(value):
    """A hostile value neither floods the log nor breaks the refusal."""
    text = str(InvalidField("amount", value, expected="a number"))
    assert len(text) < 150
    text.encode()
    assert "\n" not in text


@pytest.mark.parametrize(
    "error",
    [
        InvalidField("reference", "0712345678 &", expected="letters"),
        InvalidField("reference", "x" * 60 + " 254712345678 and more after it", expected="letters"),
        ConfigurationError(["accounts['254712345678']: wrong"]),
        DarajaError("no subscriber +254 712 345 678", status=400, hint="254712345678"),
        NotSent("to 0712-345-678"),
        OutcomeUnknown("ws_CO_14102026101530123712345678 is lost"),
        IdempotencyMismatch("0712345678", differences=["amount"], owner=OWNER),
        TransactionNotFound("no 254712345678"),
        StorageError("key (712345678) exists"),
        MpesaError("0712345678"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_text_shows_a_whole_phone_number(error):
    """Whoever raises it, an error's text, repr and shown parts have the number masked."""
    for shown in (str(error), repr(error), str(error.args)):
        assert "12345678" not in re.sub(r"\D", "", shown)
        assert "12345" not in re.sub(r"[^\d]", "", shown.replace(str(OWNER), ""))


def test_a_masked_text_keeps_its_identifiers():
    """Masking leaves the transaction's id readable."""
    assert str(OWNER) in str(DuplicateKey("mpesa_receipt_number", OWNER))


def test_daraja_errors_text_has_status_code_words_and_hint():
    """The text says what Daraja said and what it means."""
    assert str(EXAMPLES[5]) == "Daraja answered HTTP 400 400.002.02: no (look)"
    assert str(DarajaError("no", status=503)) == "Daraja answered HTTP 503: no"


def test_a_configuration_error_lists_every_problem():
    """All that is wrong stands in one text, a line each."""
    assert str(EXAMPLES[1]).splitlines() == [
        "The M-PESA settings need attention:",
        "  - short_code: missing",
        "  - passkey: missing",
    ]


def test_an_idempotency_mismatch_says_what_differs_and_what_to_do():
    """The caller learns who has the key and how to go on."""
    text = str(EXAMPLES[11])
    assert all(part in text for part in ("'order-7'", str(OWNER), "amount, phone_number", "new key"))


def test_inside_transaction_names_the_remedy():
    """It says both ways out."""
    assert "on_commit=True, which sends it after the commit" in str(InsideTransaction())
    assert "outside of the transaction" in str(InsideTransaction())
    assert str(InsideTransaction("other words")) == "other words"


def test_a_duplicate_key_takes_an_enumeration_for_its_field():
    """The field is kept as plain text, so that it pickles without the enumeration."""
    assert str(DuplicateKey("conversation_id", None)) == "conversation_id is already taken by None."
