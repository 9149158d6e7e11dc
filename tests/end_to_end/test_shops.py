"""The example shops on Flask and FastAPI, each in a real browser: from the product to "Paid" and the list of orders.

``SCREENSHOTS=folder`` keeps pictures of what was seen.
"""

from __future__ import annotations

import os
import sqlite3
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError

import pytest

pytest.importorskip("flask_sqlalchemy", reason="Flask-SQLAlchemy is not installed: pip install 'mpesa-core[dev]'")
pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'mpesa-core[dev]'")
pytest.importorskip("uvicorn", reason="Uvicorn is not installed: pip install 'mpesa-core[dev]'")

from tests.servers.program import running
from tests.servers.starting import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURES = os.environ.get("SCREENSHOTS", "")


@pytest.fixture(scope="module", params=["flask_shop", "fastapi_shop"])
def shop(request, tmp_path_factory):
    """The name, the address and the database of a running shop whose customers take half a second for their PIN."""
    folder = tmp_path_factory.mktemp("shop")
    port, database = free_port(), folder / "shop.sqlite3"
    program = str(EXAMPLES / request.param / "run.py")
    options = ("--port", str(port), "--pace", "0.5", "--database", str(database))
    with running(program, *options, folder=folder, environment={}) as started:
        started.await_port(port)
        yield request.param, f"http://127.0.0.1:{port}", database
        assert "Traceback" not in started.told, started.told


def picture(page, name):
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def read(database, question, value):
    connection = sqlite3.connect(database)
    try:
        return connection.execute(question, (value,)).fetchall()
    finally:
        connection.close()


def heading(page, name):
    return page.get_by_role("heading", name=name)


def test_a_customer_pays(shop, browser_page):
    """A wrong number is told; a cancelled prompt is tried again and turns to "Paid" without touching the page."""
    name, address, database = shop
    page = browser_page
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(f"{address}/")
    picture(page, f"{name}-products")
    page.get_by_role("link", name="Kericho tea").click()
    page.get_by_label("M-PESA phone number").fill("0612")
    page.get_by_role("button", name="Pay with M-PESA").click()
    assert "no Kenyan mobile number" in page.get_by_role("alert").inner_text()
    assert "true" == page.get_by_label("M-PESA phone number").get_attribute("aria-invalid")
    picture(page, f"{name}-wrong")
    page.get_by_label("M-PESA phone number").fill("0700 000 001")
    page.get_by_role("button", name="Pay with M-PESA").click()
    heading(page, "Look at your phone").wait_for()
    picture(page, f"{name}-waiting")
    heading(page, "Not paid").wait_for()
    assert "cancelled" in page.locator("#state").inner_text()
    picture(page, f"{name}-failed")
    page.get_by_label("M-PESA phone number").fill("0712 345 678")
    page.get_by_role("button", name="Try again").click()
    heading(page, "Paid").wait_for()
    receipt, order = page.locator("#state strong").inner_text(), page.url.rpartition("/")[2]
    picture(page, f"{name}-paid")
    page.get_by_role("link", name="My orders").click()
    assert ["Paid"] == page.locator(".badge").all_inner_texts()
    picture(page, f"{name}-orders")
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", "/products/tea", "/orders", f"/orders/{order}"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        picture(page, f"{name}-phone{path.replace('/', '-')}")
    rows = read(database, "SELECT status, mpesa_receipt_number, attempt FROM payments WHERE order_id = ?", order)
    assert {("FAILED", None, 1), ("SUCCESS", receipt, 2)} == set(rows)
    assert [("paid", receipt)] == read(database, "SELECT state, receipt FROM orders WHERE id = ?", order)


def test_one_form_is_one_prompt(shop):
    """Pressed eight times at once, the button makes one order and one payment; others do not see it."""
    _, address, database = shop
    cookie = {"Cookie": "customer=somebody"}

    def press(_):
        asked = urllib.request.Request(
            f"{address}/products/honey", data=b"checkout=one-form&phone=0712345678", headers=cookie
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.url

    with ThreadPoolExecutor(8) as pool:
        (url,) = set(pool.map(press, range(8)))
    (orders,) = read(database, "SELECT id FROM orders WHERE customer = ?", "somebody")
    assert f"{address}/orders/{orders[0]}" == url
    assert [(1,)] == read(database, "SELECT count(*) FROM payments WHERE order_id = ?", orders[0])
    with pytest.raises(HTTPError, match="404") as refused:
        urllib.request.urlopen(url, timeout=20)
    refused.value.close()


def test_what_is_no_callback_is_answered_as_the_core_answers(shop):
    """A body beyond the limit is refused, and so is a GET; neither is a payment."""
    _, address, _ = shop
    found = []
    for body in (b"{}" + b" " * 300_000, None):
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"{address}/pay/stk/callback/", data=body, timeout=20)
        found.append(refused.value.code)
        refused.value.close()
    assert [413, 405] == found


@pytest.mark.parametrize("shop", ["flask_shop"], indirect=True)
def test_staff_look_at_payments(shop, browser_page):
    """The operations page asks for a password, and finds the payment by its receipt."""
    _, address, _ = shop
    with pytest.raises(HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{address}/staff/payments/", timeout=20)
    refused.value.close()
    page = browser_page
    page.goto(f"{address}/products/coffee")
    page.get_by_label("M-PESA phone number").fill("0712345678")
    page.get_by_role("button", name="Pay with M-PESA").click()
    heading(page, "Paid").wait_for()
    receipt = page.locator("#state strong").inner_text()
    page.goto(f"http://staff:staff@{address.removeprefix('http://')}/staff/payments/?search={receipt}")
    (_, row) = page.get_by_role("table", name="What was found").get_by_role("row").all_inner_texts()
    assert all(shown in row for shown in ("success", "650.00", "2547…678", "ORDER-", receipt))
    picture(page, "flask_shop-staff")
