"""The app with the receivers; Celery is made here, where Django has read its settings."""

import os
import time
from pathlib import Path

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "tests.django.queueshop"
    label = "queueshop"

    def ready(self):
        from mpesa_django.signals import payment_confirmed
        from tests.django.queueshop import celery

        assert celery.app is not None
        payment_confirmed.connect(hear)


def hear(sender, transaction, **_):
    """Write the receipt down; a payment for SLOW takes as long as nobody writes ``go``."""
    with Path("heard").open("a") as heard:
        print(transaction.mpesa_receipt_number, transaction.account_reference, os.getpid(), file=heard)
    while transaction.account_reference == "SLOW" and not Path("go").exists():
        time.sleep(0.05)
