"""Databases with the tables of the tests' models, for whatever tests a repository on Django's ORM."""

from __future__ import annotations

import pytest

__all__ = ["django_mariadb", "django_postgres", "django_prepared", "django_sqlite", "server_closing_connections"]


@pytest.fixture(scope="module")
def django_sqlite(tmp_path_factory):
    """The alias of an SQLite file with tables for the tests' models."""
    from tests.django.stores import made_database

    options = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF",
        "timeout": 30,
    }
    path = tmp_path_factory.mktemp("django") / "store.sqlite3"
    with made_database("store_sqlite", ENGINE="django.db.backends.sqlite3", NAME=str(path), OPTIONS=options) as alias:
        yield alias


@pytest.fixture(scope="module")
def django_postgres(postgres):
    """Likewise, a PostgreSQL database."""
    from tests.django.stores import made_database

    name = postgres.new_database()
    server = {"HOST": "127.0.0.1", "PORT": postgres.port, "USER": "mpesa"}
    with made_database("store_postgres", ENGINE="django.db.backends.postgresql", NAME=name, **server) as alias:
        yield alias
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def django_prepared(postgres):
    """Likewise, where the project has psycopg prepare statements."""
    from tests.django.stores import made_database

    name = postgres.new_database()
    server = {"HOST": "127.0.0.1", "PORT": postgres.port, "USER": "mpesa", "OPTIONS": {"prepare_threshold": 1}}
    with made_database("store_prepared", ENGINE="django.db.backends.postgresql", NAME=name, **server) as alias:
        yield alias
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def django_mariadb(mariadb):
    """Likewise, a MariaDB database, by a driver in Python that passes for MySQLdb."""
    pymysql = pytest.importorskip("pymysql", reason="pymysql is not installed: pip install 'mpesa-core[dev]'")
    pymysql.install_as_MySQLdb()
    from tests.django.stores import made_database

    name = mariadb.new_database()
    server = {"HOST": "127.0.0.1", "PORT": mariadb.port, "USER": "mpesa", "OPTIONS": {"charset": "utf8mb4"}}
    with made_database("store_mariadb", ENGINE="django.db.backends.mysql", NAME=name, **server) as alias:
        yield alias
    mariadb.drop_database(name)


@pytest.fixture
def server_closing_connections(monkeypatch):
    """The town's server closes the connections of each of its threads with it, as Django's does."""
    from django.db import connections

    from tests.end_to_end import town

    serve = town._Server.process_request_thread

    def serve_and_close(server, *request):
        try:
            serve(server, *request)
        finally:
            connections.close_all()

    monkeypatch.setattr(town._Server, "process_request_thread", serve_and_close)
