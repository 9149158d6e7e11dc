"""What other packages lose, each through the views and in tables: nothing of it is lost, and nothing settles twice."""

import pytest

pytest.importorskip("django")

from mpesa_core.payments.records import Key
from mpesa_core.sandbox import Answer, Api, Behaviour
from mpesa_core.testing.payloads import c2b_confirmation, posted, stk_result, stk_success
from mpesa_django import mpesa, signals
from tests.django.hosting import Callback, Transaction, post, taking_money
from tests.django.stores import Callback as CallbackRow
from tests.django.stores import empty_repository
from tests.webhook_host import sample_body

PAY = {"phone_number": "0708374149", "amount": 100, "account_reference": "INV-1"}
PAYOUT = {"phone_number": "0712345678", "amount": 100, "idempotency_key": "payout-1"}
SILENT = Behaviour(deliver=())


@pytest.fixture(params=["django_sqlite", "django_postgres"])
def shop(request, monkeypatch):
    """The local Daraja, which reports nothing by itself, the repository, and the names of the signals that fired."""
    empty = empty_repository(request.getfixturevalue(request.param))
    heard, receivers = [], {}
    for name in signals.SIGNALS:
        receivers[name] = lambda _name=name, **_: heard.append(_name)
        signals.SIGNALS[name].connect(receivers[name], weak=False)
    with taking_money(monkeypatch, empty) as (daraja, repository):
        daraja.when(SILENT)
        yield daraja, repository, heard
    for name, receiver in receivers.items():
        signals.SIGNALS[name].disconnect(receiver)


def report(body, path="/pay/stk/callback/", times=1):
    answers = [post(path, body if isinstance(body, bytes) else posted(body)) for _ in range(times)]
    assert [200] * times == [answer.status_code for answer in answers]


def stk(shop):
    payment = mpesa.stk_push(**PAY)
    return payment, payment.checkout_request_id


def status(shop, payment):
    return shop[1].get(payment.id).status


def test_the_code_zero_as_text(shop):
    """A success whose ResultCode is "0" is a success."""
    payment, checkout = stk(shop)
    body = stk_success(checkout)
    body["Body"]["stkCallback"]["ResultCode"] = "0"
    report(body)
    assert "SUCCESS" == status(shop, payment)
    assert 1 == shop[2].count("payment_confirmed")


def test_a_code_with_letters(shop):
    """SFC_IC0003 in a result is recorded and understood as a failure, not a crash."""
    payment, checkout = stk(shop)
    report(stk_result("SFC_IC0003", "No such party", checkout))
    row = shop[1].get(payment.id)
    assert ("FAILED", None, "SFC_IC0003") == (row.status, row.result_code, row.result_code_text)
    assert (1, 0) == (shop[2].count("payment_failed"), shop[2].count("payment_confirmed"))


def test_a_callback_before_its_row(shop):
    """A callback that overtakes the row settles it once the row is there."""
    _, repository, heard = shop
    report(stk_success("ws_CO_early"))
    payment = mpesa.stk_push(**PAY)
    changed = repository.get(payment.id)
    repository.change(payment.id, changed.version, {"checkout_request_id": "ws_CO_early"})
    (waiting,) = repository.open_callbacks(correlation_ids=["ws_CO_early"])
    mpesa.replay(waiting.id)
    assert "SUCCESS" == status(shop, payment)
    assert 1 == heard.count("payment_confirmed")


@pytest.mark.parametrize(
    "changes",
    [{}, {"msisdn": "a" * 64}, {"reference": "INVOICE-0123456789"}],
    ids=["eight times", "a number of 64 digits", "a reference of 18 characters"],
)
def test_c2b_payments(shop, changes):
    """A C2B payment is settled once, however often it is reported, whatever its number and its reference look like."""
    body = c2b_confirmation(**changes)
    report(body, "/pay/c2b/confirm/", times=8)
    row = shop[1].find(Key.RECEIPT, ("174379", "NLJ7RT61SV"))
    assert ("SUCCESS", changes.get("reference", "INV-1")) == (row.status, row.account_reference)
    assert (body["MSISDN"], 1) == (row.phone_number, row.generation)
    assert 1 == shop[2].count("payment_confirmed")


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b"[]", b"null", b"[" * 5000], ids=lambda body: repr(body[:2]))
def test_malformed_json(shop, body):
    """What is no JSON, or not what was expected, is kept to the byte and acknowledged."""
    report(body)
    assert [body] == [row.raw_bytes for row in _callbacks(shop[1])]
    assert 0 == shop[2].count("payment_confirmed")


def _callbacks(repository):
    return list(CallbackRow.objects.using(repository._callbacks.database.alias))


def test_a_payout_on_503(shop):
    """A payout whose answer was 503 is not sent again, by the same call neither."""
    daraja, repository, _ = shop
    daraja.script(Behaviour(answer=Answer.UNAVAILABLE, accepted=True, deliver=()), api=Api.B2C)
    first = mpesa.payout(**PAYOUT)
    again = mpesa.payout(**PAYOUT)
    assert first.id == again.id
    assert "PROCESSING" == repository.get(first.id).status
    assert 1 == [request.api for request in daraja.requests].count(Api.B2C)


def test_a_late_success(shop):
    """A payment that was given up and then paid is confirmed, and said to be late."""
    payment, checkout = stk(shop)
    late = []
    receiver = lambda **given: late.append(given.get("late"))  # noqa: E731
    signals.payment_confirmed.connect(receiver, weak=False)
    report(stk_result(1037, "No response from user.", checkout))
    report(stk_success(checkout))
    signals.payment_confirmed.disconnect(receiver)
    assert "SUCCESS" == status(shop, payment)
    assert [True] == late


def test_an_underpayment(shop):
    """A success over less than was asked for settles nothing: a person has to look."""
    payment, checkout = stk(shop)
    report(stk_success(checkout, amount=1))
    assert "SUCCESS" != status(shop, payment)
    assert 1 == shop[2].count("settlement_conflict")
    assert 0 == shop[2].count("payment_confirmed")


def test_one_payment_reported_twice(shop):
    """A payment that comes as STK callback and as C2B confirmation is one payment."""
    payment, checkout = stk(shop)
    report(stk_success(checkout))
    report(c2b_confirmation(reference="INV-1"), "/pay/c2b/confirm/")
    assert "SUCCESS" == status(shop, payment)
    assert payment.id == shop[1].find(Key.RECEIPT, ("174379", "NLJ7RT61SV")).id
    assert 1 == shop[2].count("payment_confirmed")


def test_a_queue_timeout_that_echoes_the_request(shop):
    """The notice holds no result: it is kept, the payout stays open, and nothing is called failed."""
    payout = mpesa.payout(**PAYOUT)
    body = sample_body("b2c__callback__queue_timeout_echoes_request")
    body = body.replace(b"600997_Test_32et3241ed8yu", payout.originator_conversation_id.encode())
    report(body, "/pay/b2c/timeout/")
    assert "PROCESSING" == status(shop, payout)
    assert 0 == shop[2].count("payout_failed")


def test_a_receiver_that_raises(shop):
    """The payment is settled, acknowledged, and announced to the others."""

    def broken(**_):
        raise RuntimeError

    signals.payment_confirmed.connect(broken, sender=Transaction)
    signals.callback_received.connect(broken, sender=Callback)
    payment, checkout = stk(shop)
    report(stk_success(checkout))
    signals.payment_confirmed.disconnect(broken, sender=Transaction)
    signals.callback_received.disconnect(broken, sender=Callback)
    assert "SUCCESS" == status(shop, payment)
    assert 1 == shop[2].count("payment_confirmed")
