"""The cursor by which the statements that each callback needs are executed on Django's connection.

It is Django's own. Where the project lets psycopg prepare statements (``"OPTIONS": {"prepare_threshold": 1}``, which
Django leaves out because a pooler such as PgBouncer may not keep them), it is one of psycopg's that does so, in
Django's wrapper: Django's own prepares nothing, unless the server is to bind the parameters of the whole project.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

try:
    import psycopg
    import psycopg.pq
except ImportError:  # another driver, or another database
    psycopg = None  # type: ignore[assignment]

__all__ = ["cursor_on"]

_DJANGOS: Final = "django.db.backends.postgresql.base"


def cursor_on(connection: BaseDatabaseWrapper, *, binary: bool = False) -> Any:
    """A cursor on the connection, which is opened where it is not; to be used as a context.

    Args:
        connection: Django's, to PostgreSQL. Whatever looks on at its statements sees these as well.
        binary: have values sent in PostgreSQL's binary format, where the driver may choose.
    """
    if psycopg is None or connection.queries_logged or "cursor" in vars(connection):  # somebody records what is said
        return connection.cursor()
    if type(connection).__module__ != _DJANGOS:  # a backend of somebody's, which may set a tenant's schema, say
        return connection.cursor()
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    driver: Any = connection.connection
    if getattr(driver, "prepare_threshold", None) is None or driver.cursor_factory.__module__ != _DJANGOS:
        return connection.cursor()
    connection.validate_thread_sharing()
    own: Any = psycopg.Cursor(driver)
    own.format = psycopg.pq.Format.BINARY if binary else psycopg.pq.Format.TEXT
    return connection.make_cursor(own)
