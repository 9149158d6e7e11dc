"""Acknowledging over HTTP: gunicorn with two workers, durable on PostgreSQL, asked by ``wrk`` with eight connections.

The floor is a bare WSGI function that inserts the same row on a connection of its own. Another floor is the same INSERT
in a view of the framework: what is between the two is the framework's. No side works on what it has recorded: that is
what the benchmarks of settling measure.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import Reach, Scale, Turn, Unavailable, alone, benchmark, require
from benchmarks.postgres import Tables, django_tables, postgres, sqlalchemy_tables
from benchmarks.settling import body_of

_WORKERS, _CONNECTIONS = 2, 8
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
done = function(summary, latency, requests)
  io.write(string.format("TOLD %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.timeout
    + summary.errors.connect + summary.errors.read + summary.errors.write))
end
"""


@attrs.define
class _Served:
    """An application of :mod:`benchmarks.applications` under gunicorn."""

    tables: Tables
    port: int
    seconds: int
    _told: int = 0

    def ready(self) -> None:
        """No callbacks; and the workers are awake."""
        self._ask()
        with self.tables.connect() as connection:
            connection.execute(f"TRUNCATE {self.tables.callbacks}")

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}/pay/stk/callback/"

    def _ask(self) -> None:
        headers = {"Content-Type": "application/json"}
        for _ in range(_WORKERS * 4):
            request = urllib.request.Request(self._url, body_of(1), headers, method="POST")
            with urllib.request.urlopen(request, timeout=10) as answer:
                require(answer.status == 200, f"answered with {answer.status}")

    def work(self) -> Turn:
        """Let wrk ask."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(_SCRIPT.replace("{body}", body_of(1).decode()))
            script.flush()
            command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{self.seconds}s", "-s", script.name, self._url]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"TOLD (\d+) (\d+) (\d+) (\d+) (\d+)", said)
        require(found is not None, f"wrk said {said}")
        asked, microseconds, half, most, errors = (int(each) for each in found.groups()) if found else (0,) * 5
        require(errors == 0, f"{errors} requests failed")
        self._told = asked
        return Turn(asked, microseconds / 1e6, notes={"p50 ms": half / 1000, "p99 ms": most / 1000})

    def check(self) -> None:
        """As many bodies as were acknowledged; each connection may have had one more under way when wrk ended."""
        time.sleep(0.2)
        kept = self.tables.bodies()
        require(self._told <= len(kept) <= self._told + _CONNECTIONS, f"{self._told} answers, {len(kept)} bodies kept")
        require(set(kept) == {body_of(1)}, "a body was not kept as it came")


@contextmanager
def _gunicorn(application: str, tables: Tables, port: int) -> Iterator[None]:
    environment = {
        **os.environ,
        "MPESA_BENCH_PORT": str(postgres().port),
        "MPESA_BENCH_DATABASE": tables.database,
        "MPESA_BENCH_CALLBACKS": tables.callbacks,
    }
    command = [sys.executable, "-m", "gunicorn", "-w", str(_WORKERS), "-b", f"127.0.0.1:{port}", "--log-level", "error"]
    root = Path(__file__).parent.parent
    process = subprocess.Popen([*command, f"benchmarks.applications:{application}()"], env=environment, cwd=root)
    try:
        for _ in range(100):
            require(process.poll() is None, f"gunicorn ended with {process.poll()}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _needed() -> None:
    if shutil.which("wrk") is None:
        raise Unavailable("wrk is not installed: the system's package wrk")
    try:
        import gunicorn  # noqa: F401, PLC0415
    except ImportError:
        raise Unavailable("gunicorn is not installed: pip install 'mpesa-core[dev]'") from None


def _add(name: str, floor: str, application: str, make: Any, reach: Reach) -> None:
    @benchmark(f"acknowledge over HTTP, {name}", reach)
    @contextmanager
    def _sides(scale: Scale) -> Iterator[tuple[_Served, _Served]]:
        from tests.servers.starting import free_port  # noqa: PLC0415

        _needed()
        tables, seconds = make(), scale.many(4, 1)
        bare, ours = free_port(), free_port()
        with _gunicorn(floor, tables, bare), _gunicorn(application, tables, ours):
            yield _Served(tables, bare, seconds), _Served(tables, ours, seconds)


_ASKED = Reach(rate=0.75, notes={"p99 ms": 10.0})
_add("no framework", "bare", "core_shop", sqlalchemy_tables, _ASKED)
_add("Flask", "bare", "flask_shop", sqlalchemy_tables, _ASKED)
_add("Django", "bare", "django_shop", django_tables, _ASKED)
_add("Flask against a view of its own", "flask_bare", "flask_shop", sqlalchemy_tables, Reach())
_add("Django against a view of its own", "django_bare", "django_shop", django_tables, Reach())

alone(__name__)
