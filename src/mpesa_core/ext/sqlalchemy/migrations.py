"""What Alembic, and Flask-Migrate with it, has to know to write a migration: how the column types are spelled.

The types are more than those of any one database, so a migration names them as they are here, and the same migration
serves PostgreSQL, SQLite, MySQL and MariaDB. It needs the import that comes with the name.
"""

from __future__ import annotations

from typing import Any, Literal

from mpesa_core.ext.sqlalchemy import columns

__all__ = ["render_item"]

_ALIAS = "mpesa_columns"


def render_item(type_: str, obj: Any, autogen_context: Any) -> str | Literal[False]:
    """Spell a column type of the mixins in a migration, with its import.

    Hand it to Alembic: ``context.configure(..., render_item=render_item)`` in ``env.py``, or with Flask-Migrate
    ``Migrate(app, db, render_item=render_item)``. If you have a function of your own there, call this one from it.

    Args:
        type_: what is rendered, such as ``type`` or ``column``.
        obj: the thing itself.
        autogen_context: Alembic's ``AutogenContext``.

    Returns:
        The Python text, or False: Alembic spells it by itself.
    """
    if type_ != "type" or type(obj).__module__ != columns.__name__:
        return False
    autogen_context.imports.add(f"from mpesa_core.ext.sqlalchemy import columns as {_ALIAS}")
    return f"{_ALIAS}.{type(obj).__name__}()"
