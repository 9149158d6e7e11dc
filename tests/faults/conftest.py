"""The places beside the core's own file: Django and Flask, each on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib.util

import pytest

from tests.django.databases import *  # noqa: F403 - fixtures
from tests.ext.databases import *  # noqa: F403 - fixtures

_NEEDED = {"django": ("django",), "flask": ("flask", "sqlalchemy")}


@pytest.fixture(params=["django", "flask"])
def on_sqlite(request):
    """A place with a file, as the commands of this folder name it."""
    return _named(request.param)


@pytest.fixture(params=["django", "flask"])
def on_postgres(request, postgres, postgres_database):
    """A place with a PostgreSQL database of its own."""
    return f"{_named(request.param)}:{postgres.port}/{postgres_database}"


def _named(framework):
    for module in _NEEDED[framework]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'mpesa-core[{framework}]'")
    return framework
