"""The column types: what a database would refuse, cut or round is kept exactly, or as near to it as it can.

The same value is stored alike everywhere: text is compared to the letter, a character that a database cannot hold (NUL,
a lone surrogate) becomes U+FFFD, JSON keeps fractions as :class:`~decimal.Decimal`, and times are aware and in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, LargeBinary, Numeric, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

from mpesa_core.errors import InvalidField
from mpesa_core.repository.columns import json_text, json_value
from mpesa_core.repository.texts import KEY_WIDTH, holdable, key_text
from mpesa_core.values import EXACT, in_cents

__all__ = ["Amount", "Body", "Code", "ExactText", "Json", "KeyText", "Moment", "Raw"]


def _is_mysql(dialect: Dialect) -> bool:
    return dialect.name in ("mysql", "mariadb")


def _exact(dialect: Dialect) -> dict[str, str]:
    """The collation that compares to the letter, blanks at the end included."""
    maria = dialect.name == "mariadb" or getattr(dialect, "is_mariadb", False)
    return {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin" if maria else "utf8mb4_0900_bin"}


class ExactText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        return dialect.type_descriptor(mysql.LONGTEXT(**_exact(dialect)) if _is_mysql(dialect) else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - alike on all
        """The text with what no database can hold replaced."""
        return None if value is None else holdable(str(value))


class KeyText(TypeDecorator[str]):
    """Text that rows are found by; a longer one is kept as its beginning and its SHA-256, and found all the same."""

    impl = String(KEY_WIDTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        wanted = mysql.VARCHAR(KEY_WIDTH, **_exact(dialect)) if _is_mysql(dialect) else String(KEY_WIDTH)
        return dialect.type_descriptor(wanted)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - alike on all
        """The text; one that is too long, or that no database can hold, as its beginning and its digest."""
        return None if value is None else key_text(str(value))


class Moment(TypeDecorator[datetime]):
    """An aware time, to the microsecond, in UTC whatever zone the server or the connection has."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if _is_mysql(dialect) else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC; without a zone where the database keeps none.

        Raises:
            InvalidField: it is not aware.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise InvalidField("time", value, expected="an aware datetime", remedy="Write datetime.now(UTC).")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Amount(TypeDecorator[Decimal]):
    """Shillings, with two decimals; whole cents on SQLite, which has no exact fractions."""

    impl = Numeric(15, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric(15, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """The amount; never rounded.

        Raises:
            InvalidField: it is no Decimal or int, has more than two decimals, or more than fifteen digits.
        """
        if value is None:
            return None
        amount = in_cents(Decimal(value)) if isinstance(value, (Decimal, int)) else None
        if amount is None:
            raise InvalidField("amount", value, expected="shillings with at most two decimals, below 10 ** 13")
        return int(EXACT.scaleb(amount, 2)) if dialect.name == "sqlite" else amount

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """In shillings."""
        if value is None:
            return None
        return EXACT.scaleb(Decimal(value), -2) if dialect.name == "sqlite" else Decimal(value)


class Code(TypeDecorator[int]):
    """M-PESA's result code. One that 64 bits do not hold is left out: ``result_code_text`` has every code."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - alike on all
        """The number, or None."""
        return value if value is not None and -(2**63) <= value < 2**63 else None


class Raw(TypeDecorator[bytes]):
    """Exact bytes."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        return dialect.type_descriptor(mysql.LONGBLOB() if _is_mysql(dialect) else LargeBinary())


class Json(TypeDecorator[Any]):
    """JSON as text in ASCII: every database holds every text and every number in it exactly."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type."""
        return dialect.type_descriptor(mysql.LONGTEXT(**_exact(dialect)) if _is_mysql(dialect) else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - alike on all
        """The JSON.

        Raises:
            InvalidField: JSON cannot hold it.
        """
        if value is None:
            return None
        try:
            return json_text(value)
        except (TypeError, RecursionError) as error:
            return self.unholdable(value, str(error))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - alike on all
        """The value, its fractions as Decimal."""
        return None if value is None else json_value(value)

    def unholdable(self, value: Any, why: str) -> str | None:
        """What is stored of a value that cannot be."""
        raise InvalidField("JSON", type(value), expected="what JSON can hold", remedy=why)


class Body(Json):
    """A body of M-PESA's, parsed; None where JSON cannot hold it, because the bytes are kept besides."""

    cache_ok = True

    def unholdable(self, value: Any, why: str) -> None:  # noqa: ARG002 - there is nothing to say
        """Nothing."""
        return
