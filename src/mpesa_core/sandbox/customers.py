"""The customers that the local Daraja knows something about; of all others it knows what every customer has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import attrs

__all__ = ["Customer"]


@attrs.frozen(kw_only=True)
class Customer:
    """A customer of M-PESA.

    Attributes:
        phone: ``2547…`` or ``2541…``.
        first_name, middle_name, last_name: as registered.
        identities: the number of each identity document, by its type ("01" is the national card). Empty: not known
            here, and any is taken for theirs.
        last_swap: the day on which the SIM card was last replaced; None for never.
        registered_on: the day on which the number was registered.
    """

    phone: str = attrs.field(repr=False)
    first_name: str = attrs.field(default="JANE", repr=False)
    middle_name: str = attrs.field(default="", repr=False)
    last_name: str = attrs.field(default="DOE", repr=False)
    identities: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    last_swap: date | None = None
    registered_on: date = date(2019, 1, 1)

    @property
    def name(self) -> str:
        """All names in one."""
        return " ".join(filter(None, (self.first_name, self.middle_name, self.last_name)))

    @property
    def public_name(self) -> str:
        """As results have it: ``254712345678 - JANE DOE``."""
        return f"{self.phone} - {self.name}"
