"""A throwaway MariaDB, where the system has one."""

from __future__ import annotations

import shutil
import subprocess
import uuid

from tests.servers.starting import Server, free_port, own_folder, unprivileged

__all__ = ["USER", "MariaDB", "mariadb_is_installed"]

USER = "mpesa"


def _program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name, path="/usr/sbin:/usr/bin:/bin"))), None)


def mariadb_is_installed() -> bool:
    """Whether there is a server to start, and a driver to reach it with."""
    try:
        import pymysql  # noqa: F401
    except ImportError:
        return False
    return bool(_program("mariadbd", "mysqld") and _program("mariadb-install-db", "mysql_install_db"))


class MariaDB:
    """A server of its own, with a user that needs no password."""

    def __init__(self) -> None:
        folder = own_folder("maria")
        self.port = free_port()
        data = folder / "data"
        install = _program("mariadb-install-db", "mysql_install_db")
        options = [f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([install, "--no-defaults", *options], check=True, capture_output=True, **unprivileged())
        first = folder / "first.sql"
        first.write_text(f"CREATE USER '{USER}'@'127.0.0.1';\nGRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n")
        command = [
            _program("mariadbd", "mysqld"),
            "--no-defaults",
            f"--datadir={data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder / 's'}",
            f"--init-file={first}",
            "--skip-name-resolve",
            "--default-time-zone=+03:00",
            "--max-connections=200",
        ]
        first.chmod(0o644)
        self._server = Server("MariaDB", command, folder, self._answers)
        self._server.start()

    def _answers(self) -> bool:
        try:
            self.sql("SELECT 1")
        except OSError:
            return False
        except Exception as error:  # the driver's own: still starting, or the user is not there yet
            if type(error).__name__ != "OperationalError":
                raise
            return False
        return True

    def sql(self, statement: str) -> None:
        """Run one statement."""
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", port=self.port, user=USER, autocommit=True)
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def new_database(self) -> str:
        """Make an empty database; its name."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def drop_database(self, name: str) -> None:
        """Remove it."""
        self.sql(f"DROP DATABASE IF EXISTS {name}")

    def remove(self) -> None:
        """Stop it for good."""
        self._server.remove()
