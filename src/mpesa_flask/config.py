"""The settings in ``app.config``: keys that begin with ``MPESA_``, or one mapping under ``MPESA``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings import Settings

__all__ = ["settings_of"]

_PREFIX = "MPESA_"


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The core's settings in an app's configuration.

    ``MPESA_SHORT_CODE`` is ``short_code``, and so is ``SHORT_CODE`` in the mapping ``MPESA`` (there, and in accounts,
    in upper or lower case).

    Raises:
        ConfigurationError: everything that is wrong, at once, an unknown name with the nearest known one; or both forms
            were used.
    """
    keys = {key: value for key, value in config.items() if key.startswith(_PREFIX)}
    if "MPESA" not in config:
        return Settings.load(_lowered(keys, cut=len(_PREFIX)), show=lambda name: _PREFIX + name.upper())
    mapping = config["MPESA"]
    if keys:
        raise ConfigurationError(
            [f"MPESA: given as a mapping, beside {', '.join(sorted(keys))}; give all settings in one of the two forms"]
        )
    if not isinstance(mapping, Mapping):
        raise ConfigurationError([f"MPESA: got {type(mapping).__name__}, expected a mapping of names to values"])
    return Settings.load(_lowered(mapping), show=str.upper)


def _lowered(given: Mapping[Any, Any], cut: int = 0) -> dict[str, Any]:
    names = Counter(str(key)[cut:].lower() for key in given)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ConfigurationError([f"{name.upper()}: given twice, in upper and lower case" for name in twice])
    values = {str(key)[cut:].lower(): value for key, value in given.items()}
    accounts = values.get("accounts")
    if isinstance(accounts, Mapping):
        values["accounts"] = {
            name: _lowered(entry) if isinstance(entry, Mapping) else entry for name, entry in accounts.items()
        }
    return values
