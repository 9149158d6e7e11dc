"""Duplicates at one moment, through a real server with several processes, on PostgreSQL."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.starting import free_port

ROOT = Path(__file__).parents[2]
COPIES = 8
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def served(what, place, told):
    """One of the commands; what it prints."""
    command = [sys.executable, "-m", "tests.faults.served", what, place, told]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@contextmanager
def gunicorn(place, told):
    """A server of four processes with two threads each; its port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers=4", "--threads=2", f"--bind=127.0.0.1:{port}"]
    with (told.parent / "gunicorn.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--no-control-socket", "tests.faults.served:application()"],
            cwd=ROOT,
            env={**ENVIRONMENT, "SERVED_PLACE": place, "SERVED_TOLD": str(told)},
            stdout=log,
            stderr=log,
        )
    try:
        _wait(server, port, told.parent / "gunicorn.log")
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _wait(server, port, log):
    latest = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            if server.poll() is not None or time.monotonic() > latest:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()


def storm(port, posts):
    """As many posters as there are copies, who begin together and post everything once, each in an order of its own."""
    barrier, statuses = threading.Barrier(COPIES), []

    def post_all(number):
        mine = posts.copy()
        random.Random(number // 2).shuffle(mine)  # two and two in the same order: they collide
        barrier.wait(60)
        for path, body in mine:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", f"/pay/{path}", base64.b64decode(body), {"Content-Type": "application/json"})
            statuses.append(connection.getresponse().status)
            connection.close()

    posters = [threading.Thread(target=post_all, args=(number,)) for number in range(COPIES)]
    for poster in posters:
        poster.start()
    for poster in posters:
        poster.join()
    return statuses


@pytest.mark.faults
@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed: pip install it")
def test_twenty_payments_of_each_kind_eight_times_each(on_postgres, tmp_path):
    """STK, C2B and B2C: 20 settlements and 20 signals each, across processes, and all 480 bodies are kept."""
    told = tmp_path / "told"
    posts = served("prepare", on_postgres, told)
    with gunicorn(on_postgres, told) as port:
        assert [200] * COPIES * 60 == storm(port, posts)
        counts = served("count", on_postgres, told)
    each = {"STK_PUSH": 20, "C2B": 20, "B2C": 20}
    assert (0, each, 1) == (counts["busy"], counts["settled"], counts["most settlements of one"])
    assert (each, 1) == (counts["signals"], counts["most signals of one"])
    assert {body: COPIES for _, body in posts} == counts["bodies"]
    assert 1 < counts["processes"]
