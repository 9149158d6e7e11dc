"""The shop, with an M-PESA of its own: ``python examples/flask_shop/run.py``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from werkzeug.serving import make_server

from mpesa_core.sandbox import MAGIC_PHONES, DarajaServer, LocalDaraja, Rules

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shop import create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Run the shop on this machine, with a local M-PESA.")
    parser.add_argument("--port", type=int, default=8000, help="of the shop (default: 8000)")
    parser.add_argument("--database", type=Path, help="an SQLite file to keep; otherwise it is deleted at the end")
    parser.add_argument(
        "--pace", type=float, default=3.0, metavar="SECONDS", help="how long a customer takes for the PIN (default: 3)"
    )
    given = parser.parse_args()
    daraja = LocalDaraja(magic=True, rules=Rules(decide_after=given.pace))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, DarajaServer(daraja) as mpesa:
        database = (given.database or Path(folder) / "shop.sqlite3").absolute()
        settings = {
            **daraja.settings(mpesa.base_url),
            "callback_base_url": f"http://127.0.0.1:{given.port}/pay/",
            "callback_ip_allowlist": ["127.0.0.1"],
        }
        app = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}", "MPESA": settings})
        server = make_server("127.0.0.1", given.port, app, threaded=True)
        print(f"The shop:   http://127.0.0.1:{given.port}/")
        print(f"For staff:  http://127.0.0.1:{given.port}/staff/payments/   user staff, password staff")
        print("Any Kenyan phone number pays. These provoke what goes wrong:")
        for phone, (what, _) in MAGIC_PHONES.items():
            print(f"  {phone}  {what}")
        print("Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        app.extensions["mpesa"].gateway.close()


if __name__ == "__main__":
    main()
