"""Secrets: a text, or a callable that fetches it, that shows nowhere by accident."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, cast

from mpesa_core.errors import ConfigurationError, NotSent

__all__ = ["Secret", "secret"]


class Secret:
    """A secret: a text, or a callable that fetches it each time it is needed.

    It never shows in a repr, in formatted text or in a pickle; only :meth:`reveal` gives it away.
    """

    __slots__ = ("_source",)

    def __init__(self, source: str | Callable[[], str] | Secret) -> None:
        inner = source._source if isinstance(source, Secret) else source  # noqa: SLF001 - another one of this class
        self._source: str | Callable[[], str] = inner

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            ConfigurationError: the callable returned no text.
            NotSent: the callable raised; whatever needed the secret was not sent.
        """
        value: object = None
        failed = ""
        try:
            value = self._source() if callable(self._source) else self._source
        except Exception as error:  # noqa: BLE001 - a vault's client raises what it likes
            failed = type(error).__name__
        if failed:  # outside of the except clause: the vault's error may quote the secret, and would come along
            raise NotSent(f"A secret could not be fetched: its callable raised {failed}.")
        if not isinstance(value, str):
            raise ConfigurationError([f"a secret's callable returned {type(value).__name__}, expected text"])
        if not value:
            raise ConfigurationError(["a secret's callable returned an empty text, expected the secret"])
        return value

    def has_blanks_around(self) -> bool:
        """Whether it is a text that begins or ends with a blank, such as the line end of the file that it came from."""
        return isinstance(self._source, str) and self._source != self._source.strip()

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Secret is not pickled, nor are settings that hold one: let the other process load its own settings, "
            "and hand it an account's name or a transaction's id"
        )


def secret(value: str | Callable[[], str] | Secret | None) -> Secret | None:
    """The converter of secret settings: an empty text is none; what is no secret is left for the check to report."""
    if value is None or value == "":
        return None
    return Secret(value) if isinstance(value, (str, Secret)) or callable(value) else cast("Secret", value)
