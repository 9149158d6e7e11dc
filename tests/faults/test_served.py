"""Duplicates at one moment, through a real server with several processes, on PostgreSQL."""

from __future__ import annotations

import base64
import gzip
import http.client
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.starting import free_port
from tests.test_webhooks_hostile import exchange, head

ROOT = Path(__file__).parents[2]
COPIES = 8
BOMB = gzip.compress(b" " * 50_000_000)
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
needs_gunicorn = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed: pip install it"
)


def served(what, place, told):
    """One of the commands; what it prints."""
    command = [sys.executable, "-m", "tests.faults.served", what, place, told]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@contextmanager
def gunicorn(place, told):
    """A server of four processes with two threads each; its port and its process."""
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
        yield port, server.pid
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


def memory_of(server):
    """The server's workers, and the most memory that each has had, in bytes."""
    workers = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    told = [Path(f"/proc/{worker}/status").read_text() for worker in workers]
    return workers, [1024 * int(re.search(r"VmHWM:\s+(\d+)", each)[1]) for each in told]


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
@needs_gunicorn
def test_twenty_payments_of_each_kind_eight_times_each(on_postgres, tmp_path):
    """STK, C2B and B2C: 20 settlements and 20 signals each, across processes, and all 480 bodies are kept."""
    told = tmp_path / "told"
    posts = served("prepare", on_postgres, told)
    with gunicorn(on_postgres, told) as (port, _):
        assert [200] * COPIES * 60 == storm(port, posts)
        counts = served("count", on_postgres, told)
    each = {"STK_PUSH": 20, "C2B": 20, "B2C": 20}
    assert (0, each, 1) == (counts["busy"], counts["settled"], counts["most settlements of one"])
    assert (each, 1) == (counts["signals"], counts["most signals of one"])
    assert {body: COPIES for _, body in posts} == counts["bodies"]
    assert 1 < counts["processes"]


BLOCK = b"x" * 65_536
CHUNK = b"10000\r\n" + BLOCK + b"\r\n"
HOSTILE = {
    "a gigabyte, announced": [b"Content-Length: 1073741824"],
    "16 MiB, announced": [b"Content-Length: 16777216", *[BLOCK] * 256],
    "16 MiB in chunks": [b"Transfer-Encoding: chunked", *[CHUNK] * 256, b"0\r\n\r\n"],
    "16 MiB in one chunk": [b"Transfer-Encoding: chunked", b"1000000\r\n", *[BLOCK] * 256, b"\r\n0\r\n\r\n"],
    "less than announced": [b"Content-Length: 1000", b'{"a":'],
    "no length": [b"Content-Length: many", b"{}"],
    "two lengths": [b"Content-Length: 2\r\nContent-Length: 3", b"{}"],
    "broken chunks": [b"Transfer-Encoding: chunked", b"zz\r\n{}"],
    "packed": [b"Content-Encoding: gzip\r\nContent-Length: %d" % len(BOMB), BOMB],
}
"""The lines of a head, and what follows it."""


@pytest.mark.faults
@needs_gunicorn
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the memory of a process")
def test_sockets_that_are_hostile(on_postgres, tmp_path):
    """Huge bodies, lies about lengths, broken chunks and a bomb: refused or kept, in bounded memory, and it serves on."""
    told = tmp_path / "told"
    posts = served("prepare", on_postgres, told)
    with gunicorn(on_postgres, told) as (port, server):
        storm(port, posts[:4])  # everybody has imported everything
        workers, before = memory_of(server)
        path = f"/pay/{posts[0][0]}"
        answers = {
            name: exchange(("127.0.0.1", port), head(lines, path=path), *parts)
            for name, (lines, *parts) in HOSTILE.items()
        }
        storm(port, posts[20:24])
        again, after = memory_of(server)
        counts = served("count", on_postgres, told)
    refused = {name: status for name, status in answers.items() if status != 200}
    assert {"packed": 200} == {name: status for name, status in answers.items() if status == 200}
    assert {400, 413} >= set(refused.values()) - {0}  # 0: reset under the sender before it read the answer
    assert workers == again
    assert 8 * 2**20 > max(after) - max(before)
    assert 8 == sum(counts["settled"].values())
    assert 1 == counts["bodies"][base64.b64encode(BOMB).decode()]
