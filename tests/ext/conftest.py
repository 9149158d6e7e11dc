"""Engines for the tests of SQLAlchemy's stores; without SQLAlchemy they are not asked for."""

from __future__ import annotations

from tests.ext.databases import *  # noqa: F403 - fixtures for every test
