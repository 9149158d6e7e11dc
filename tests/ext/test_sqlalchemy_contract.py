"""The repository contract on SQLAlchemy, with each database that it is used with here."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from mpesa_core.testing import RepositoryContract
from tests.ext.stores import empty_repository, repository_on


class _Contract(RepositoryContract):
    any_text = False
    host_fields = {"order_id": 7}

    @pytest.fixture
    def repository(self, engine):
        return empty_repository(engine)

    @pytest.fixture
    def reopen(self, engine):
        return lambda: repository_on(engine)

    def host_of(self, row):
        return {"order_id": row.order_id}


class TestSqlite(_Contract):
    """An SQLite file."""

    @pytest.fixture
    def engine(self, alchemy_sqlite):
        return alchemy_sqlite


class TestPostgres(_Contract):
    """A PostgreSQL server."""

    @pytest.fixture
    def engine(self, alchemy_postgres):
        return alchemy_postgres


class TestMariaDB(_Contract):
    """A MariaDB server."""

    rounds = 2

    @pytest.fixture
    def engine(self, alchemy_mariadb):
        return alchemy_mariadb
