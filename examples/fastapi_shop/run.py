"""The shop, with an M-PESA of its own: ``python examples/fastapi_shop/run.py``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import uvicorn

from mpesa_core.sandbox import MAGIC_PHONES, DarajaServer, LocalDaraja, Rules

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shop import create_app, settings_of


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
        app = create_app(f"sqlite:///{database}", settings_of(daraja.settings(mpesa.base_url), given.port))
        print(f"The shop: http://127.0.0.1:{given.port}/")
        print("Any Kenyan phone number pays. These provoke what goes wrong:")
        for phone, (what, _) in MAGIC_PHONES.items():
            print(f"  {phone}  {what}")
        print("Ctrl-C ends it.", flush=True)
        # Without proxy_headers, the peer is whoever is connected; a header may say anything.
        uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", proxy_headers=False)


if __name__ == "__main__":
    main()
