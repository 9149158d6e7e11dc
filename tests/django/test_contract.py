"""The repository contract on each database that Django is used with here."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from django.db import connections

from mpesa_core.testing import RepositoryContract
from mpesa_django.repository import DjangoRepository
from tests.django.stores import MODELS, empty_repository


class _Contract(RepositoryContract):
    any_text = False
    host_fields = {"note": "from the host"}

    @pytest.fixture
    def repository(self, alias):
        return empty_repository(alias)

    @pytest.fixture
    def reopen(self, alias):
        return lambda: DjangoRepository(*MODELS, using=alias)

    def host_of(self, row):
        return {"note": row.note}

    def race(self, *work):
        """Threads of their own close their connections, as Django's own do."""

        def closing(each):
            try:
                return each()
            finally:
                connections.close_all()

        return super().race(*[lambda each=each: closing(each) for each in work])


class TestSqlite(_Contract):
    """An SQLite file, whose transactions are IMMEDIATE."""

    @pytest.fixture
    def alias(self, django_sqlite):
        return django_sqlite


class TestPostgres(_Contract):
    """A PostgreSQL server."""

    @pytest.fixture
    def alias(self, django_postgres):
        return django_postgres


class TestPreparedOnPostgres(_Contract):
    """A PostgreSQL server, on which statements are prepared."""

    rounds = 2

    @pytest.fixture
    def alias(self, django_prepared):
        return django_prepared


class TestMariaDB(_Contract):
    """A MariaDB server."""

    rounds = 2

    @pytest.fixture
    def alias(self, django_mariadb):
        return django_mariadb
