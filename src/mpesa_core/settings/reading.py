"""Settings from a mapping, from a web framework's configuration, and from the environment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from mpesa_core.errors import ConfigurationError
from mpesa_core.settings.account import ACCOUNT_FIELDS, Account
from mpesa_core.settings.checks import no_such
from mpesa_core.settings.kinds import kind_of

if TYPE_CHECKING:
    from mpesa_core.settings.schema import Settings

__all__ = ["from_config", "from_environ", "from_mapping"]


def from_mapping(cls: type[Settings], mapping: Mapping[str, Any], *, show: Callable[[str], str]) -> Settings:
    """See :meth:`mpesa_core.settings.Settings.load`."""
    if not isinstance(mapping, Mapping):
        raise ConfigurationError([f"settings: got {type(mapping).__name__}, expected a mapping of names to values"])
    known = [field.name for field in attrs.fields(cls)]
    problems = [no_such("setting", show(str(name)), map(show, known)) for name in mapping if name not in known]
    values = {name: value for name, value in mapping.items() if name in known}
    if isinstance(values.get("accounts"), Mapping):
        values["accounts"] = {name: _account(name, entry, problems) for name, entry in values["accounts"].items()}
    try:
        settings = cls(**values)
    except ConfigurationError as error:
        problems += error.problems
    else:
        if not problems:
            return settings
    raise ConfigurationError(_shown(problem, known, show) for problem in problems)


def _account(name: object, entry: Any, problems: list[str]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    unknown = [str(key) for key in entry if key not in ACCOUNT_FIELDS]
    problems += [f"accounts[{name!r}].{no_such('setting of an account', key, ACCOUNT_FIELDS)}" for key in unknown]
    return Account(**{key: value for key, value in entry.items() if key in ACCOUNT_FIELDS})


def _shown(problem: str, known: list[str], show: Callable[[str], str]) -> str:
    """The problem with its setting's name as the user wrote it."""
    found = re.match(r"[a-z_0-9]+(?=[:\[])", problem)
    return show(found[0]) + problem[found.end() :] if found and found[0] in known else problem


def from_config(cls: type[Settings], config: Mapping[str, Any], *, name: str) -> Settings:
    """See :meth:`mpesa_core.settings.Settings.from_config`."""
    prefix = f"{name}_"
    keys = {key: value for key, value in config.items() if key.startswith(prefix)}
    if name not in config:
        return from_mapping(cls, _lowered(keys, cut=len(prefix)), show=lambda each: prefix + each.upper())
    mapping = config[name]
    if keys:
        given = ", ".join(sorted(keys))
        raise ConfigurationError(
            [f"{name}: given as a mapping, beside {given}; give all settings in one of the two forms"]
        )
    if isinstance(mapping, cls):
        return mapping
    if not isinstance(mapping, Mapping):
        problem = f"{name}: got {type(mapping).__name__}, expected a mapping of names to values, or {cls.__name__}"
        raise ConfigurationError([problem])
    return from_mapping(cls, _lowered(mapping), show=str.upper)


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


def from_environ(cls: type[Settings], environ: Mapping[str, str], *, prefix: str, also: tuple[str, ...]) -> Settings:
    """See :meth:`mpesa_core.settings.Settings.from_environ`."""
    kinds = {field.name: kind_of(field) for field in attrs.fields(cls)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable, text in environ.items():
        name = variable.removeprefix(prefix).lower()
        if not variable.startswith(prefix) or name in also or not text.strip():
            continue
        if name not in kinds:
            values[name] = text
            continue
        try:
            values[name] = kinds[name].read(text)
        except ValueError as error:
            shown = "" if kinds[name].secret else f"got {text[:100]!r}, "
            problems.append(f"{variable}: {shown}{error}")
    try:
        settings = from_mapping(cls, values, show=lambda name: prefix + name.upper())
    except ConfigurationError as error:
        problems += error.problems
    else:
        if not problems:
            return settings
    raise ConfigurationError(problems)
