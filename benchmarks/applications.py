"""What gunicorn serves in :mod:`benchmarks.acknowledging`; each function is called in a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

_USER = "mpesa"
_ANSWER = b'{"ResultCode":0,"ResultDesc":"Accepted"}'

urlpatterns: list[Any] = []
"""Django's; filled where Django is served."""


class _Nobody:
    """A runner that leaves everything to a worker elsewhere."""

    def submit(self, callback_id: UUID) -> None:
        """Leave it."""

    def start(self) -> None:
        """Nothing."""

    def stop(self, *, wait: bool = True) -> None:
        """Nothing."""


def nobody(_gateway: object) -> _Nobody:
    """The runner, as the adapters want it made."""
    return _Nobody()


def _place() -> tuple[int, str]:
    return int(os.environ["MPESA_BENCH_PORT"]), os.environ["MPESA_BENCH_DATABASE"]


def _inserting() -> Callable[[bytes, str], None]:
    """One prepared INSERT, committed, on a connection of the process's own."""
    import psycopg  # noqa: PLC0415

    port, database = _place()
    sql = (
        f"INSERT INTO {os.environ['MPESA_BENCH_CALLBACKS']} (id, callback_type, raw_bytes, headers, source_ip,"
        " raw_body, received_at, next_attempt_at, processed, attempts)"
        " VALUES (%s, 'STK', %s, '{}', %s, %s, %s, %s, false, 0)"
    )
    connections: dict[int, Any] = {}

    def insert(body: bytes, peer: str) -> None:
        process = os.getpid()
        if process not in connections:
            connections[process] = psycopg.connect(
                host="127.0.0.1", port=port, user=_USER, dbname=database, autocommit=True
            )
        now = datetime.now(UTC)
        connections[process].execute(sql, (uuid4(), body, peer, body.decode(), now, now), prepare=True)

    return insert


def bare() -> Callable[..., Iterable[bytes]]:
    """The floor: the INSERT and the answer."""
    insert = _inserting()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        insert(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), environ["REMOTE_ADDR"])
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(_ANSWER)))])
        return [_ANSWER]

    return application


def flask_bare() -> Any:
    """The floor in a view of Flask's: what is left to us where Flask is used."""
    from flask import Flask, Response, request  # noqa: PLC0415

    app, insert = Flask("shop"), _inserting()

    @app.post("/pay/stk/callback/")
    def callback() -> Response:
        insert(request.get_data(), request.remote_addr or "")
        return Response(_ANSWER, content_type="application/json")

    return app


def _sqlalchemy_repository() -> Any:
    from sqlalchemy import create_engine  # noqa: PLC0415

    from benchmarks.postgres import models  # noqa: PLC0415
    from mpesa_core.ext.sqlalchemy import SqlAlchemyRepository  # noqa: PLC0415

    port, database = _place()
    _, payment, callback = models()
    engine = create_engine(f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/{database}")
    return SqlAlchemyRepository(engine, transaction_model=payment, callback_model=callback)


def core_shop() -> Any:
    """The core's own WSGI application on SQLAlchemy, without a framework."""
    from mpesa_core import Gateway, Settings  # noqa: PLC0415
    from mpesa_core.webhooks import Webhooks  # noqa: PLC0415
    from mpesa_core.webhooks.wsgi import wsgi_application  # noqa: PLC0415

    settings = Settings(short_code="174379", verify_callback_source_ip=False)
    return wsgi_application(Webhooks(Gateway(settings, _sqlalchemy_repository(), runner=_Nobody())), prefix="/pay/")


def flask_shop() -> Any:
    """Flask on SQLAlchemy."""
    from flask import Flask  # noqa: PLC0415

    from mpesa_flask import Mpesa  # noqa: PLC0415

    app = Flask("shop")
    app.config["MPESA"] = {"SHORT_CODE": "174379", "VERIFY_CALLBACK_SOURCE_IP": False}
    Mpesa(app, repository=lambda _app: _sqlalchemy_repository(), runner=nobody)
    return app


def django_bare() -> Any:
    """The floor in a view of Django's."""
    _configure_django()
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415
    from django.views.decorators.csrf import csrf_exempt  # noqa: PLC0415

    insert = _inserting()

    @csrf_exempt
    def callback(request: HttpRequest) -> HttpResponse:
        insert(request.body, request.META["REMOTE_ADDR"])
        return HttpResponse(_ANSWER, content_type="application/json")

    urlpatterns.append(path("pay/stk/callback/", callback))
    return get_wsgi_application()


def django_shop() -> Any:
    """Django with persistent connections."""
    _configure_django()
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from django.urls import include, path  # noqa: PLC0415

    urlpatterns.append(path("pay/", include("mpesa_django.urls")))
    return get_wsgi_application()


def _configure_django() -> None:
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    port, database = _place()
    server = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": port}
    settings.configure(
        SECRET_KEY="of no importance",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["mpesa_django", "mpesa_django.default_models"],
        DATABASES={"default": {**server, "USER": _USER, "NAME": database, "CONN_MAX_AGE": 600}},
        ROOT_URLCONF="benchmarks.applications",
        USE_TZ=True,
        MPESA={
            "SHORT_CODE": "174379",
            "VERIFY_CALLBACK_SOURCE_IP": False,
            "TRANSACTION_MODEL": "default_models.MpesaTransaction",
            "CALLBACK_LOG_MODEL": "default_models.MpesaCallbackLog",
            "RUNNER": nobody,
        },
    )
    django.setup()
