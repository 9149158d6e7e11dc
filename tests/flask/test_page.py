"""The operations page: off unless the host asks for it, protected as the host says, masked, escaped, and for a phone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import wraps

import pytest

pytest.importorskip("flask", reason="Flask is not installed: pip install 'mpesa-core[flask]'")

from flask import abort, request

from mpesa_core import MemoryRepository
from mpesa_core.payments.records import Disposition, Status, TransactionType
from mpesa_core.testing.contract import callback_draft, transaction_draft
from mpesa_flask import operations_page
from tests.flask.hosting import make_app, served

EVIL = "<script>document.title='owned'</script>"


def staff_only(view):
    @wraps(view)
    def guarded():
        if request.headers.get("Authorization") != "staff":
            abort(403)
        return view()

    return guarded


def a_repository(now=None):
    """A day at a shop: what is paid, what failed, what waits, what contradicts, and what a customer may type."""
    now = now or datetime.now(UTC)
    repository = MemoryRepository()

    def add(**fields):
        return repository.add(transaction_draft(**{"phone_number": "254712345678", "short_code": "174379", **fields}))

    paid = add(
        status=Status.SUCCESS,
        account_reference="INV-1041",
        mpesa_receipt_number="UKPNLJ7RT6",
        result_code_text="0",
        result_desc="The service request is processed successfully.",
        initiated_at=now - timedelta(hours=2),
        settled_at=now - timedelta(hours=2),
    )
    add(
        status=Status.FAILED,
        account_reference=EVIL,
        result_code_text="1032",
        result_desc="Request cancelled by user",
        initiated_at=now - timedelta(minutes=50),
    )
    add(
        transaction_type=TransactionType.B2C,
        status=Status.PROCESSING,
        account_reference="wages 0712345678",
        initiated_at=now - timedelta(minutes=20),
        next_check_at=now - timedelta(minutes=9),
        conflicts={"a": {}},
    )
    add(status=Status.PROCESSING, initiated_at=now - timedelta(seconds=8), next_check_at=now + timedelta(seconds=22))
    repository.add_callback(callback_draft(next_attempt_at=now + timedelta(seconds=4), received_at=now))
    conflict = callback_draft(next_attempt_at=now, received_at=now - timedelta(minutes=3), source_ip="196.201.214.200")
    repository.add_callback(conflict)
    changes = {
        "next_attempt_at": None,
        "disposition": Disposition.CONFLICT,
        "related_transaction_id": paid.id,
        "error": "the amount is 90.00, and 100.00 was asked of 0712345678",
    }
    repository.change_callback(conflict.id, now, changes)
    return repository


@pytest.fixture
def app():
    app = make_app(repository=a_repository())
    app.register_blueprint(operations_page(staff_only), url_prefix="/staff/payments")
    return app


def read(app, path="/staff/payments/"):
    answer = app.test_client().get(path, headers={"Authorization": "staff"})
    return answer, answer.get_data(as_text=True)


def test_it_is_off_by_default():
    """An app that does not register it serves no such page."""
    rules = [rule.endpoint for rule in make_app().url_map.iter_rules()]
    assert [] == [endpoint for endpoint in rules if "operations" in endpoint]


def test_who_may_not_see_it_sees_nothing(app):
    """The host's decorator decides before anything is read."""
    answer = app.test_client().get("/staff/payments/")
    assert 403 == answer.status_code
    assert b"INV-1041" not in answer.data


def test_it_can_only_be_read(app):
    """It answers GET, and changes nothing."""
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(app.test_client(), method)("/staff/payments/", headers={"Authorization": "staff"})
        assert 405 == answer.status_code


def test_it_shows_what_there_is(app):
    """Transactions, callbacks, the conflict and what waits, and that nobody works on it."""
    answer, text = read(app)
    assert 200 == answer.status_code
    for expected in (
        "INV-1041",
        "UKPNLJ7RT6",
        "1032: Request cancelled by user",
        "the amount is 90.00",
        "1 overdue.",
        "waits for the first answer",
        "in conflict",
        "attempt 1, due",
    ):
        assert expected in text, expected


def test_what_a_customer_typed_is_text(app):
    """It is escaped, also in an app that has switched escaping off; and so is what is searched for."""
    app.jinja_env.autoescape = False
    _, text = read(app, f"/staff/payments/?search={EVIL}\"'")
    assert "<script" not in text
    assert 2 == text.count("&lt;script&gt;")  # the reference, and the search
    assert "&#34;&#39;" in text


def test_no_phone_number_is_whole(app):
    """They are masked wherever they come from."""
    _, text = read(app)
    assert "712345678" not in text
    assert "2547…678" in text
    assert "wages 07…678" in text


def test_nobody_else_keeps_or_frames_it(app):
    """No cache, no frame, no script, no referrer."""
    answer, _ = read(app)
    assert "no-store" == answer.headers["Cache-Control"]
    assert "no-referrer" == answer.headers["Referrer-Policy"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_search_that_finds_and_one_that_does_not(app):
    """A receipt leads to its transaction; anything else says that there is none."""
    _, found = read(app, "/staff/payments/?search=ukpnlj7rt6")
    assert 'aria-label="What was found"' in found
    _, none = read(app, "/staff/payments/?search=NOSUCHONE1")
    assert "No transaction has that receipt, id or key." in none


def test_older_pages():
    """A link leads to what is further back, until there is no more; a place that is nonsense is the beginning."""
    repository = MemoryRepository()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    drafts = [transaction_draft(account_reference=f"N{n:03}", initiated_at=start + timedelta(n)) for n in range(30)]
    for draft in drafts:
        repository.add(draft)
    app = make_app(repository=repository)
    app.register_blueprint(operations_page(lambda view: view), url_prefix="/ops")
    _, first = read(app, "/ops/")
    assert f"?transactions={drafts[5].id}#transactions" in first
    _, second = read(app, f"/ops/?transactions={drafts[5].id}")
    assert ("N004" in second, "N005" in second, ">Older<" in second) == (True, False, False)
    for number in range(30):
        at = start + timedelta(number)
        repository.add_callback(callback_draft(received_at=at, next_attempt_at=None, source_ip=f"10.0.0.{number}"))
    _, first = read(app, "/ops/")
    [place] = re.findall(r"\?callbacks=([0-9a-f-]+)#callbacks", first)
    _, second = read(app, f"/ops/?callbacks={place}")
    assert ("10.0.0.4<" in second, "10.0.0.5<" in second, "N029" in second) == (True, False, True)
    _, nonsense = read(app, "/ops/?transactions=nonsense&callbacks=1")
    assert "N029" in nonsense


def test_it_can_be_read_on_a_phone(app, browser_page):
    """At the width of a phone nothing sticks out, each value stands beside its name, and it asks for nothing else."""
    asked = []
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.set_extra_http_headers({"Authorization": "staff"})
    browser_page.set_viewport_size({"width": 360, "height": 740})
    with served(app, to_a_browser=True) as port:
        browser_page.goto(f"http://127.0.0.1:{port}/staff/payments/")
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= 360
        table = browser_page.get_by_role("table", name="Last transactions")
        assert 5 == table.get_by_role("row").count()
        label = "getComputedStyle(document.querySelector('#transactions td'), '::before').content"
        assert '"Transaction"' == browser_page.evaluate(label)
        tiles = "[...document.querySelectorAll('nav a')].filter(tile => tile.scrollWidth > tile.clientWidth).length"
        assert 0 == browser_page.evaluate(tiles)
        assert browser_page.locator("td:has(> .nothing)").first.is_hidden()
        browser_page.get_by_label("Receipt, id").fill("UKPNLJ7RT6")
        browser_page.get_by_role("button", name="Find").click()
        browser_page.get_by_role("table", name="What was found").wait_for()
        browser_page.set_viewport_size({"width": 1280, "height": 800})
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert browser_page.locator("td:has(> .nothing)").first.is_visible()
    assert {"127.0.0.1"} == {url.split("/")[2].partition(":")[0] for url in asked}
    assert "Payments of shop" == browser_page.title()
