"""Databases for the tests of Django's adapter; without Django its tests are skipped."""

from __future__ import annotations

import importlib
import importlib.util

from tests.django.databases import *  # noqa: F403 - fixtures for every test

if importlib.util.find_spec("django"):  # models can be imported once Django is configured, which this does
    importlib.import_module("tests.django.stores")
