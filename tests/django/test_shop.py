"""The example shop in a real browser: a customer pays, and staff look after what went wrong.

``SCREENSHOTS=docs/images`` has it make the pictures of the documentation, too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("django")

from tests.servers.program import running, until
from tests.servers.starting import free_port

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples/django_shop"
PICTURES = os.environ.pop("SCREENSHOTS", "")


@pytest.fixture
def shop(tmp_path):
    """The address of a running shop whose customers take half a second for their PIN."""
    port = free_port()
    with running(
        str(SHOP / "run.py"), "--port", str(port), "--pace", "0.5", folder=tmp_path, environment={}
    ) as started:
        started.await_port(port)
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in started.told, started.told


def picture(page, name, last):
    """Take a picture for the documentation, down to the end of an element, where it was asked for."""
    if not PICTURES:
        return
    from playwright.sync_api import Error

    page.set_viewport_size({"width": 1000, "height": 2000})
    page.evaluate("scrollTo(0, 0)")
    box = page.locator(last).last.bounding_box()
    page.set_viewport_size({"width": 1000, "height": round(box["y"] + box["height"] + 24)})
    for _ in range(10):
        page.wait_for_load_state("networkidle")
        try:
            page.screenshot(path=str(ROOT / PICTURES / f"{name}.png"))
        except Error:  # Chromium has nothing to show while it paints
            time.sleep(0.2)
        else:
            return
    raise AssertionError(name)


def heading(page, name):
    return page.get_by_role("heading", name=name, exact=True)


def buy(page, shop, product, phone):
    page.goto(f"{shop}/")
    page.get_by_role("link", name=product).click()
    page.get_by_label("M-PESA phone number").fill(phone)
    page.get_by_role("button", name="Pay with M-PESA").click()
    heading(page, "Look at your phone").wait_for()
    return page.url


def log_in(page, shop):
    page.goto(f"{shop}/admin/")
    page.get_by_label("Username").fill("staff")
    page.get_by_label("Password").fill("staff")
    page.get_by_role("button", name="Log in").click()


def dressed(page):
    """How the admin's breadcrumbs look: Django's releases differ in how they are written."""
    look = "node => { const {color, backgroundColor} = getComputedStyle(node); return [color, backgroundColor] }"
    return page.locator(".breadcrumbs").evaluate(look)


def refuse_scripts_errors(page):
    page.on("pageerror", lambda error: pytest.fail(str(error)))


def test_its_migrations_are_those_of_its_models(tmp_path):
    """makemigrations has nothing to make."""
    names = ("DATABASE", "ADDRESS", "DARAJA", "CONSUMER_KEY", "CONSUMER_SECRET", "PASSKEY", "INITIATOR", "CREDENTIAL")
    environment = {f"SHOP_{name}": "http://127.0.0.1:1" for name in names}
    environment |= {"PYTHONPATH": str(SHOP), "DJANGO_SETTINGS_MODULE": "project.settings"}
    command = ("-W", "error", "-m", "django", "makemigrations", "--check", "--dry-run", "shop")
    environment["SHOP_DATABASE"] = str(tmp_path / "shop.sqlite3")
    with running(*command, folder=tmp_path, environment=environment) as checking:
        assert 0 == checking.await_end(), checking.told


def test_a_customer_pays_and_staff_give_it_back(shop, browser_page):
    """From the product to "Paid" without touching the page; a wrong number is told, a cancelled prompt tried again."""
    page = browser_page
    refuse_scripts_errors(page)
    page.goto(f"{shop}/")
    page.get_by_role("link", name="Kericho tea").click()
    page.get_by_label("M-PESA phone number").fill("0612")
    page.get_by_role("button", name="Pay with M-PESA").click()
    assert "no Kenyan mobile number" in page.get_by_role("alert").inner_text()
    buy(page, shop, "Kericho tea", "0700 000 001")
    heading(page, "Not paid").wait_for()
    assert "cancelled" in page.locator("#state").inner_text()
    page.get_by_label("M-PESA phone number").fill("0712 345 678")
    page.get_by_role("button", name="Try again").click()
    heading(page, "Paid").wait_for()
    order = page.url
    receipt = page.locator("#state strong").inner_text()
    picture(page, "django-shop", "main a")
    page.get_by_role("link", name="My orders").click()
    assert ["Paid"] == page.locator(".badge").all_inner_texts()

    log_in(page, shop)
    page.goto(f"{shop}/admin/shop/mpesatransaction/?q={receipt}")
    (row,) = page.locator("#result_list tbody tr").all_inner_texts()
    assert all(shown in row for shown in ("Success", "2547…678", receipt))
    assert "0712345678" not in row
    page.locator("#result_list tbody a").first.click()
    heading(page, "Timeline").wait_for()
    assert ["Recorded", "STK", "Settled"] == page.locator(".mpesa-timeline li strong").all_inner_texts()
    page.get_by_text("Body", exact=True).click()
    assert receipt in page.locator(".mpesa-timeline pre").inner_text()

    dress = dressed(page)
    page.get_by_role("link", name="Reverse…").click()
    assert dress == dressed(page)
    page.get_by_role("button", name="Reverse it").click()
    assert "Asked M-PESA to give it back" in page.locator(".messagelist").inner_text()

    def is_refunded():
        page.goto(order)
        return heading(page, "Refunded").count()

    until(is_refunded)


def test_a_form_sent_twice_is_one_order(shop, browser_page):
    """Whoever presses the button twice is asked for one PIN."""
    page = browser_page
    page.goto(f"{shop}/product/coffee/")
    form = {name: page.locator(f"[name={name}]").input_value() for name in ("csrfmiddlewaretoken", "checkout")}
    for _ in range(2):
        assert page.request.post(page.url, form={**form, "phone_number": "0712345678"}).ok
    page.goto(f"{shop}/orders/")
    assert 1 == page.locator(".orders li").count()
    log_in(page, shop)
    page.goto(f"{shop}/admin/shop/mpesatransaction/")
    assert 1 == page.locator("#result_list tbody tr").count()


def test_staff_accept_a_conflict(shop, browser_page):
    """A success after a failure waits for a person; once it is accepted, the customer's page says so."""
    page = browser_page
    refuse_scripts_errors(page)
    order = buy(page, shop, "Kiondo basket", "0700 000 018")
    heading(page, "Not paid").wait_for()

    log_in(page, shop)
    listed = f"{shop}/admin/shop/mpesatransaction/?attention=conflict"

    def is_in_conflict():
        page.goto(listed)
        return page.locator("#result_list tbody a").count()

    until(is_in_conflict)
    page.locator("#result_list tbody a").first.click()
    heading(page, "Open conflict: nothing settles this by itself").wait_for()
    page.get_by_label("Toggle navigation").click()
    picture(page, "django-admin", ".mpesa-timeline")
    page.get_by_role("link", name="See the callback").click()
    page.get_by_role("link", name="Accept…").click()
    page.get_by_role("button", name="Accept it").click()
    assert "Accepted: STK_PUSH of 1,800.00 shillings is SUCCESS" in page.locator(".messagelist").inner_text()
    page.goto(order)
    heading(page, "Paid").wait_for()
