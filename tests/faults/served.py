"""A place behind a real server with many processes.

    python -m tests.faults.served prepare PLACE FILE   its tables, and 60 payments; prints the posts that M-PESA makes
    gunicorn 'tests.faults.served:application()'       with the place and the file in SERVED_PLACE and SERVED_TOLD
    python -m tests.faults.served count PLACE FILE     waits until nothing is worked on, and prints what was counted

Receivers write what they are told into the file, which outlives and is shared by all processes.
"""

from __future__ import annotations

import base64
import collections
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import NotYet
from mpesa_core.settings import Settings
from tests.faults.life import subject
from tests.faults.places import place_of
from tests.faults.races import Floor, _initiated
from tests.faults.record import Record
from tests.settlement.desk import SETTINGS

FLOWS = ("STK", "C2B", "B2C")
EACH = 20


class Silent:
    """An M-PESA that has nothing to say yet."""

    def send(self, operation: Any, *, account: str = "default") -> Any:
        raise NotYet("It is being processed.", status=500)


def application() -> Any:
    """The WSGI application of one worker process."""
    told = Path(os.environ["SERVED_TOLD"])
    place, record = place_of(os.environ["SERVED_PLACE"], told.parent), Record(told)

    def hear(name: str, arguments: Mapping[str, Any]) -> None:
        row = subject(name, arguments)
        if row is not None:
            record.tell("signal", name=name, id=row.id, generation=row.generation, by=os.getpid())

    settings = Settings(**SETTINGS, callback_ip_allowlist=["127.0.0.1"])
    place.serve(settings, place.repository(), place.bus(hear), client=Silent(), runner="thread")
    return place.application


def prepare(text: str, told: Path) -> Any:
    """The tables, the payments, and the posts: each a path and a body."""
    floor = Floor(told.parent, text)
    posts = [_initiated(floor, flow, 100 * kind + number) for kind, flow in enumerate(FLOWS) for number in range(EACH)]
    return [(path, base64.b64encode(dumps(body)).decode()) for path, body in posts]


def count(text: str, told: Path) -> Any:
    """What is there when nothing is left to do."""
    place = place_of(text, told.parent)
    latest = time.monotonic() + 60
    while True:
        rows, callbacks = place.transactions(), place.callbacks()
        busy = sum(row["announce_until"] is not None for row in rows)
        busy += sum(row["next_attempt_at"] is not None for row in callbacks)
        if not busy or time.monotonic() > latest:
            break
        time.sleep(0.1)
    settled = collections.Counter(line["id"] for line in place.history() if line["status"] == "SUCCESS")
    signals = collections.Counter(
        line["id"] for line in Record(told).read("signal") if line["name"] in ("payment_confirmed", "payout_completed")
    )
    return {
        "busy": busy,
        "settled": collections.Counter(row["transaction_type"] for row in rows if row["status"] == "SUCCESS"),
        "most settlements of one": max(settled.values()),
        "signals": collections.Counter(row["transaction_type"] for row in rows if signals[row["id"]]),
        "most signals of one": max(signals.values()),
        "processes": len({line["by"] for line in Record(told).read("signal") if "by" in line}),
        "bodies": collections.Counter(base64.b64encode(row["raw_bytes"]).decode() for row in callbacks),
    }


if __name__ == "__main__":
    print(json.dumps({"prepare": prepare, "count": count}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
