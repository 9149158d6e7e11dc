"""Engines for the tests of SQLAlchemy's stores; without SQLAlchemy they are not asked for."""

from __future__ import annotations

import pytest

__all__ = ["alchemy_mariadb", "alchemy_postgres", "alchemy_sqlite"]


@pytest.fixture(scope="session")
def alchemy_sqlite(tmp_path_factory):
    """An engine on an SQLite file with the tables of the tests' classes."""
    from tests.ext.stores import made_engine

    with made_engine(f"sqlite:///{tmp_path_factory.mktemp('alchemy') / 'shop.db'}") as engine:
        yield engine


@pytest.fixture(scope="session")
def alchemy_postgres(postgres):
    """Likewise, on a PostgreSQL database."""
    from tests.ext.stores import made_engine

    name = postgres.new_database()
    with made_engine(f"postgresql+psycopg://mpesa@127.0.0.1:{postgres.port}/{name}") as engine:
        yield engine
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def alchemy_mariadb(mariadb):
    """Likewise, on a MariaDB database."""
    from tests.ext.stores import made_engine

    name = mariadb.new_database()
    with made_engine(f"mysql+pymysql://mpesa@127.0.0.1:{mariadb.port}/{name}?charset=utf8mb4") as engine:
        yield engine
    mariadb.drop_database(name)
