"""A project of a host's own, in a folder, whose programs run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["MODELS", "make_app", "make_project", "manage", "run"]

ROOT = Path(__file__).parents[2]
MODELS = """
from django.db import models
from django.conf import settings
from mpesa_django.models import AbstractMpesaTransaction, AbstractMpesaCallbackLog

class MpesaTransaction(AbstractMpesaTransaction):
    # Add your domain-specific fields here
    order = models.ForeignKey(
        "orders.Order",
        on_delete=models.PROTECT,
        null=True, blank=True,
    )
    initiated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True, blank=True,
    )

    class Meta(AbstractMpesaTransaction.Meta):
        verbose_name = "M-PESA Transaction"

class MpesaCallbackLog(AbstractMpesaCallbackLog):
    class Meta(AbstractMpesaCallbackLog.Meta):
        verbose_name = "M-PESA Callback Log"
"""
"""The models that a host is told to write."""


def make_project(folder: Path, *apps: str, **settings: object) -> Path:
    """Write a project with those apps, on SQLite; the last has the two models."""
    label = apps[-1].partition(".apps.")[0].rpartition(".")[2]
    installed = ["django.contrib.contenttypes", "django.contrib.auth", "mpesa_django", *apps]
    more = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    (folder / "project_settings.py").write_text(
        textwrap.dedent(f"""
            SECRET_KEY = "x"
            USE_TZ = True
            DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
            OPTIONS = {{"transaction_mode": "IMMEDIATE"}}
            DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "project.sqlite3", "OPTIONS": OPTIONS}}}}
            INSTALLED_APPS = {installed!r}
            MPESA = {{
                "TRANSACTION_MODEL": "{label}.MpesaTransaction",
                "CALLBACK_LOG_MODEL": "{label}.MpesaCallbackLog",
            }}
            """)
        + more
    )
    return folder


def make_app(folder: Path, name: str, **modules: str) -> None:
    """Write an app of those modules, without migrations yet."""
    (folder / name / "migrations").mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    (folder / name / "migrations" / "__init__.py").touch()
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)


def run(folder: Path, *arguments: str) -> str:
    """Run Python on the project, with every warning an error; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def manage(folder: Path, *command: str) -> str:
    """Run a command of the project; what it said."""
    return run(folder, "-m", "django", *command)
