"""Kinds of settings: what a value may be, what to say where it is something else, and how it is read from text."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import attrs

from mpesa_core.settings.secret import Secret

__all__ = [
    "ACCOUNTS",
    "CHOICE_OF",
    "COUNT",
    "DURATION",
    "ENVIRONMENT",
    "FILE",
    "FLAG",
    "HEADER",
    "LIMIT",
    "NETWORKS",
    "PATH",
    "RETRIES",
    "SECRET",
    "SHORT_CODE",
    "TEXT",
    "URL",
    "URL_PATH",
    "Kind",
    "kind_of",
    "seconds",
    "texts",
]


@attrs.frozen
class Kind:
    """A kind of setting.

    Attributes:
        expected: what a value should be, in words.
        accepts: whether a value is of this kind.
        read: the value from a text of the environment; raises ValueError where it cannot be one.
        secret: a wrong value is never shown.
        optional: None is allowed, and means what the setting's documentation says.
    """

    expected: str
    accepts: Callable[[Any], bool]
    read: Callable[[str], Any] = str.strip
    secret: bool = False
    optional: bool = True

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if (value is None and self.optional) or self.accepts(value):
            return None
        shown = type(value).__name__ if self.secret else repr(value)[:100]
        return f"got {shown}, expected {self.expected}"


_METADATA_KEY: Final = "mpesa_core.settings.kind"


def _metadata(kind: Kind) -> Mapping[str, Kind]:
    return {_METADATA_KEY: kind}


def kind_of(field: attrs.Attribute[Any]) -> Kind:
    """The kind that a field was declared with."""
    return cast("Kind", field.metadata[_METADATA_KEY])


# Converters. What they cannot convert they leave as it is, for the check to report with everything else.


def seconds(value: float | timedelta) -> float:
    """A duration in seconds, from a number of seconds or a timedelta."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """A tuple from a list, tuple or set."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    return cast("tuple[str, ...]", value)


# Reading from text


def _read_flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("expected true or false")


def _read_whole(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text):
        raise ValueError("expected a whole number")
    return int(text)


def _read_limit(text: str) -> int | None:
    return None if text.strip().lower() == "none" else _read_whole(text)


_LONGEST_DURATION: Final = 100 * 365 * 86_400
"""Seconds; a time that lies much further ahead is none that a datetime holds."""

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _read_duration(text: str) -> float:
    found = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([smhd]?)\s*", text.lower())
    if found is None:
        raise ValueError("expected seconds such as 90, or a number with s, m, h or d such as 15m")
    return float(found[1]) * _UNITS[found[2]]


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read_accounts(text: str) -> Any:
    try:
        accounts = json.loads(text)
    except ValueError:
        accounts = None
    if not isinstance(accounts, dict):
        # Outside of the except clause: the text may hold secrets, and the decoder's error would bring it along.
        raise ValueError('expected a JSON object such as {"till": {"short_code": "600000"}}')  # noqa: TRY004
    return accounts


# What a value may be


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < 10**12


def _is_secret(value: object) -> bool:
    return isinstance(value, Secret) and not value.has_blanks_around()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value == value.strip()


def _is_network(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


TEXT = _metadata(Kind("text without blanks around it", _is_text))
SECRET = _metadata(
    Kind("text without blanks around it, or a callable that returns it", _is_secret, read=str, secret=True)
)
SHORT_CODE = _metadata(
    Kind(
        "a short code as text of 5 to 7 digits (as a number it would lose a leading zero)",
        lambda value: isinstance(value, str) and re.fullmatch(r"[0-9]{5,7}", value) is not None,
    )
)
FILE = _metadata(
    Kind(
        "a path, or the certificate itself as bytes",
        lambda value: isinstance(value, (str, Path, bytes)) and bool(value),
    )
)
PATH = _metadata(Kind("the path of a folder", lambda value: isinstance(value, (str, Path)) and bool(value)))
URL = _metadata(Kind("an absolute URL such as https://shop.example/pay/", _is_text))
URL_PATH = _metadata(
    Kind(
        "a path such as /v1/billmanager-invoice",
        lambda value: isinstance(value, str) and re.fullmatch(r"(?:/[A-Za-z0-9_.\-]+)+", value) is not None,
        optional=False,
    )
)
HEADER = _metadata(
    Kind(
        "the name of an HTTP header",
        lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_\-]{1,64}", value) is not None,
        optional=False,
    )
)
ENVIRONMENT = _metadata(Kind("'sandbox', 'production' or the base URL of a local Daraja", _is_text, optional=False))
FLAG = _metadata(Kind("True or False", lambda value: isinstance(value, bool), read=_read_flag, optional=False))
COUNT = _metadata(Kind("a whole number above 0", _is_whole(1), read=_read_whole, optional=False))
RETRIES = _metadata(Kind("a whole number, 0 for none", _is_whole(0), read=_read_whole, optional=False))
LIMIT = _metadata(Kind("a whole number above 0, or None for no limit", _is_whole(1), read=_read_limit))
DURATION = _metadata(
    Kind(
        "a positive number of seconds or a timedelta, of 100 years at the most",
        lambda value: _is_number(value) and 0 < value <= _LONGEST_DURATION,
        read=_read_duration,
        optional=False,
    )
)
NETWORKS = _metadata(
    Kind(
        "a list of addresses or networks such as 196.201.214.200 or 10.0.0.0/8",
        lambda value: isinstance(value, tuple) and all(map(_is_network, value)),
        read=_read_list,
        optional=False,
    )
)
ACCOUNTS = _metadata(
    Kind(
        "a mapping of names to accounts",
        lambda value: isinstance(value, Mapping),
        read=_read_accounts,
        secret=True,
        optional=False,
    )
)


def CHOICE_OF(*choices: str, optional: bool = False) -> Mapping[str, Kind]:  # noqa: N802 - it stands among constants
    """One of some words."""
    words = " or ".join(map(repr, choices))
    return _metadata(Kind(words, lambda value: isinstance(value, str) and value in choices, optional=optional))
