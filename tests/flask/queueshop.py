"""A Flask shop with a queue, for processes that tests start: ``celery -A``, ``flask --app``, and RQ's worker as it runs.

What changes comes from the environment: SHOP_RUNNER is ``celery`` or ``rq``, SHOP_BROKER is Redis.
"""

import os
import time
from pathlib import Path

from flask import Flask

from mpesa_core import SqliteRepository, signals
from mpesa_flask import Mpesa

mpesa = Mpesa(repository=lambda _app: SqliteRepository("payments.sqlite3"), runner=os.environ["SHOP_RUNNER"])


def celery_init_app(app):
    """As the page on Celery in Flask's documentation has it."""
    from celery import Celery, Task

    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def rq_init_app(app):
    from redis import Redis
    from rq import Queue

    app.extensions["rq"] = Queue(connection=Redis.from_url(os.environ["SHOP_BROKER"]))


def create_app():
    app = Flask("queueshop")
    app.config["CELERY"] = {
        "broker_url": os.environ["SHOP_BROKER"],
        "task_ignore_result": True,
        "beat_schedule": {"mpesa": {"task": "mpesa_flask.sweep", "schedule": 0.5}},
    }
    app.config["MPESA"] = {
        "SHORT_CODE": "174379",
        "CALLBACK_IP_ALLOWLIST": ["127.0.0.1"],
        "CALLBACK_LEASE": 1,
        "ANNOUNCE_LEASE": 1,
    }
    {"celery": celery_init_app, "rq": rq_init_app}[os.environ["SHOP_RUNNER"]](app)
    mpesa.init_app(app)

    @signals.payment_confirmed.connect_via(app)
    def hear(_sender, transaction, **_):
        with Path("heard").open("a") as heard:
            print(transaction.mpesa_receipt_number, file=heard)
        while transaction.account_reference == "SLOW" and not Path("go").exists():
            time.sleep(0.05)

    return app


if __name__ == "__main__":
    from rq import Worker

    with (app := create_app()).app_context():
        Worker([app.extensions["rq"]], connection=app.extensions["rq"].connection).work(burst=False)
else:
    flask_app = create_app()
    celery_app = flask_app.extensions.get("celery")
