"""The shop, with an M-PESA of its own: ``python examples/django_shop/run.py``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from mpesa_core.sandbox import MAGIC_PHONES, DarajaServer, LocalDaraja, Rules

HERE = Path(__file__).resolve().parent


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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, DarajaServer(daraja) as server:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SHOP_ADDRESS": f"http://127.0.0.1:{given.port}",
            "SHOP_DATABASE": str((given.database or Path(folder) / "shop.sqlite3").absolute()),
            "SHOP_DARAJA": server.base_url,
            "SHOP_CONSUMER_KEY": daraja.consumer_key,
            "SHOP_CONSUMER_SECRET": daraja.consumer_secret,
            "SHOP_PASSKEY": daraja.organisations[0].passkey,
            "SHOP_INITIATOR": daraja.organisations[0].initiator_name,
            "SHOP_CREDENTIAL": daraja.security_credential,
        }
        serve(given.port)


def serve(port: int) -> None:
    """Make the tables and the staff's account, and serve."""
    sys.path.insert(0, str(HERE))
    import django  # noqa: PLC0415 - needs the settings above

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - needs Django to be set up
    from django.core.management import call_command  # noqa: PLC0415 - as above

    print("Making the tables...", flush=True)
    call_command("migrate", verbosity=0)
    if not get_user_model().objects.filter(username="staff").exists():
        get_user_model().objects.create_superuser("staff", password="staff")  # noqa: S106 - for this machine alone
    address = os.environ["SHOP_ADDRESS"]
    print(f"The shop:   {address}/")
    print(f"The admin:  {address}/admin/   user staff, password staff")
    print("Any Kenyan phone number pays. These provoke what goes wrong:")
    for phone, (what, _) in MAGIC_PHONES.items():
        print(f"  {phone}  {what}")
    print("Ctrl-C ends it.", flush=True)
    from mpesa_django import mpesa  # noqa: PLC0415 - as above

    try:
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
    finally:
        mpesa.close()


if __name__ == "__main__":
    main()
