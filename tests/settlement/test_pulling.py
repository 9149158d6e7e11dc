"""Reconciliation from pull transactions: what was missed is found in M-PESA's list and settled once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid5

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import Busy, ConfigurationError, InvalidField, OutcomeUnknown, RequestRefused, UnexpectedAnswer
from mpesa_core.gateway import AsyncGateway
from mpesa_core.payments.records import Key, Status, TransactionDraft, TransactionType
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Account
from mpesa_core.settlement.engine import C2B_NAMESPACE
from tests.settlement.desk import START, Desk, confirmation, payout_success, stk_query, stk_success
from tests.settlement.pulled import MpesaList, Payment

HOUR = timedelta(hours=1)
PULLED = "PullTransactions"


@pytest.fixture
def mpesa(desk):
    """M-PESA's list, empty, as the desk's Daraja shows it."""
    desk.daraja.answers["PullTransactions"] = listed = MpesaList()
    return listed


def confirm(desk, receipt, amount="100.00", at=START - HOUR, **more):
    """A C2B confirmation that arrives."""
    body = confirmation(receipt, amount, **more) | {"TransTime": f"{at + 3 * HOUR:%Y%m%d%H%M%S}"}
    return desk.post("C2B_CONFIRMATION", body)


def row_of(desk, receipt):
    """The payment with that receipt, or None."""
    return desk.repository.find(Key.RECEIPT, ("174379", receipt))


def pull(desk, hours=48, **options):
    """A pull of the last hours."""
    return desk.gateway.pull(desk.clock() - hours * HOUR, **options)


# Ten thousand


def confirmed(number, at, reference):
    """A payment as its confirmation settled it in time, for a store that has to be filled quickly."""
    return TransactionDraft(
        id=uuid5(C2B_NAMESPACE, f"174379:{number}"),
        transaction_type=TransactionType.C2B,
        status=Status.SUCCESS,
        short_code="174379",
        mpesa_receipt_number=number,
        amount=Decimal("100.00"),
        account_reference=reference,
        raw_callback_payload=confirmation(number) | {"TransTime": f"{at + 3 * HOUR:%Y%m%d%H%M%S}"},
        initiated_at=at,
        settled_at=at,
        settled_by="confirmation",
        confirmed_at=at,
        generation=1,
    )


def receipt(number):
    """A receipt of ten characters."""
    return f"SKL{number + 1:07d}"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_hundred_missed_ones_among_ten_thousand(tmp_path, store):
    """A pull over 10,000 payments finds exactly the 100 that were missed and settles them; a second one finds none."""
    repository = MemoryRepository() if store == "memory" else SqliteRepository(tmp_path / "p.db", synchronous="OFF")
    desk = Desk(repository)
    at = [START - 47 * HOUR + number * timedelta(seconds=16) for number in range(10_000)]
    desk.daraja.answers[PULLED] = MpesaList(
        [Payment(receipt(number), at[number], reference=f"A{number}") for number in range(10_000)]
    )
    for number in range(10_000):
        if number % 100 != 7:
            repository.add(confirmed(receipt(number), at[number], f"A{number}"))
    desk.signals.clear()
    report = pull(desk)
    missed = tuple(receipt(number) for number in range(7, 10_000, 100))
    assert (10_000, 9_900, missed, missed) == (report.rows, report.found, report.missing, report.settled)
    assert ((), (), (), 0, ()) == (
        report.enriched, report.waiting, report.conflicts, report.unreadable, report.ours_only,
    )  # fmt: skip
    assert report.complete
    fired = desk.fired("payment_confirmed")
    assert sorted(missed) == sorted(arguments["transaction"].mpesa_receipt_number for _, arguments in fired)
    assert all(row_of(desk, each).status == Status.SUCCESS for each in missed)
    again = pull(desk)
    assert (10_000, 10_000, (), ()) == (again.rows, again.found, again.missing, again.settled)
    assert 100 == len(desk.fired("payment_confirmed"))
    assert {PULLED} == {type(question).__name__ for question in desk.daraja.sent}
    repository.close()


# The span


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [
        ("start", datetime(2026, 11, 21, 8, 0), START),
        ("end", START - HOUR, datetime(2026, 11, 21, 8, 30)),
        ("start", "2026-11-21", START),
        ("end", START, START),
        ("end", START - HOUR, START - 2 * HOUR),
        ("end", START - HOUR, START + timedelta(seconds=1)),
        ("start", START - 49 * HOUR, START),
        ("start", START - 48.5 * HOUR, START - 48.2 * HOUR),
    ],
)
def test_a_span_that_mpesa_cannot_be_asked_about(desk, mpesa, field, start, end):
    """A naive time, the wrong way round, the future, further back than M-PESA remembers: named, and nothing is asked."""
    with pytest.raises(InvalidField) as refused:
        desk.gateway.pull(start, end)
    assert (field, []) == (refused.value.field, mpesa.asked)


def test_the_whole_window_may_be_asked_for(desk, mpesa):
    """48 hours computed a moment ago are still 48 hours, and nothing older or in the future is asked about."""
    report = desk.gateway.pull(START - 48 * HOUR - timedelta(seconds=5))
    assert (START - 48 * HOUR, START) == (report.start, report.end)
    assert START - 48 * HOUR == min(question.start for question in mpesa.asked)
    assert START == max(question.end for question in mpesa.asked)


def test_the_slices_leave_no_gap(desk, mpesa):
    """Each slice begins before the end of the one before it, so that a payment on the edge is listed."""
    pull(desk)
    edges = [(question.start, question.end) for question in mpesa.asked]
    assert len(edges) > 10
    assert all(later[0] < earlier[1] < later[1] for earlier, later in itertools.pairwise(edges))


def test_a_fraction_of_a_second_is_not_cut_off(desk, mpesa):
    """What is sent is whole seconds: the end is rounded up."""
    end = START - HOUR + timedelta(microseconds=200)
    desk.gateway.pull(START - 2 * HOUR, end)
    assert START - HOUR + timedelta(seconds=1) == mpesa.asked[-1].end


def test_an_account_without_a_short_code(repository):
    """It is said before anything is asked."""
    desk = Desk(repository, short_code=None, passkey=None)
    with pytest.raises(ConfigurationError, match="short_code"):
        pull(desk)


def test_another_account(repository):
    """The account chooses the short code that is asked about and recorded."""
    desk = Desk(repository, accounts={"till": Account(short_code="600999")})
    desk.daraja.answers[PULLED] = MpesaList([Payment("SKL0000001")])
    report = desk.gateway.account("till").pull(START - 2 * HOUR)
    assert ("till", "600999", ("SKL0000001",)) == (report.account, report.short_code, report.settled)
    assert "till" == desk.repository.find(Key.RECEIPT, ("600999", "SKL0000001")).account


# Pages that change


def many(count, at=START - HOUR):
    """Payments of one hour, in the order of their time."""
    return [Payment(receipt(number), at + number * timedelta(seconds=1)) for number in range(count)]


def test_no_payment_is_lost_when_one_is_listed_late(desk, mpesa):
    """A payment that appears before the page that is being read is read all the same."""
    mpesa.payments = many(250)
    late = Payment("SKLATE0001", START - HOUR)

    def before(question):
        if question.offset == 200 and late not in mpesa.payments:
            mpesa.payments.insert(50, late)

    mpesa.before = before
    report = pull(desk, 2)
    assert (251, True) == (report.rows, report.complete)
    assert late.receipt in report.settled


@pytest.mark.parametrize("offset", [100, 200])
def test_no_payment_is_lost_when_the_oldest_goes(desk, mpesa, offset):
    """The first ones fall out of the 48 hours, the rest moves up over the edge of a page, and is read all the same."""
    mpesa.payments = many(250)

    def before(question):
        if question.offset == offset and len(mpesa.payments) == 250:
            del mpesa.payments[:3]

    mpesa.before = before
    report = pull(desk, 2)
    assert (250, 250, True) == (report.rows, len(report.settled), report.complete)


def test_a_list_that_never_holds_still_is_not_complete(desk, mpesa):
    """It is read a few times; what was read is settled, and the report says so."""
    mpesa.payments = many(150)
    mpesa.before = lambda question: mpesa.payments.insert(0, Payment(receipt(len(mpesa.payments)), START - HOUR))
    report = pull(desk, 2)
    assert (False, None, None) == (report.complete, report.read_until, report.ours_only)
    assert "changed" in report.problem
    assert len(report.settled) >= 150


def test_a_list_without_offsets_ends(desk, mpesa):
    """One that shows its first page whatever is asked is not read for ever, nor called complete."""
    mpesa.payments, mpesa.by_offset = many(150), False
    report = pull(desk, 2)
    assert (100, False) == (report.rows, report.complete)
    assert len(mpesa.asked) < 20


def test_exactly_a_page(desk, mpesa):
    """A full page is followed by an empty one."""
    mpesa.payments = many(100)
    report = pull(desk, 2)
    assert (100, True, [0, 100]) == (report.rows, report.complete, [question.offset for question in mpesa.asked])


# No answer


@pytest.mark.parametrize(
    "trouble",
    [
        Busy("too many requests", status=429),
        OutcomeUnknown("no answer"),
        UnexpectedAnswer("not JSON", status=200),
        RequestRefused("no", status=400),
    ],
)
def test_what_was_read_before_mpesa_fell_silent_is_settled(desk, mpesa, trouble):
    """The report is not complete and says up to where the list was read; a pull from there finds the rest."""
    mpesa.payments = [Payment("SKLEARLY01", START - 40 * HOUR), Payment("SKLATER001", START - HOUR)]

    def before(question):
        if question.start > START - 30 * HOUR:
            raise trouble

    mpesa.before = before
    report = pull(desk)
    assert (False, ("SKLEARLY01",), str(trouble)) == (report.complete, report.settled, report.problem)
    assert START - 40 * HOUR < report.read_until < START - 24 * HOUR
    mpesa.before = lambda question: None
    rest = desk.gateway.pull(report.read_until)
    assert (True, ("SKLATER001",)) == (rest.complete, rest.settled)


def test_a_short_code_that_is_not_registered(desk, mpesa):
    """A refusal of the first question is raised: nothing was read, and asking again is refused again."""
    desk.daraja.answers[PULLED] = RequestRefused("not registered", status=400)
    with pytest.raises(RequestRefused):
        pull(desk)


def test_busy_from_the_start(desk):
    """Nothing was read, and the report knows nothing."""
    desk.daraja.answers[PULLED] = Busy("later", status=429)
    report = pull(desk)
    assert (False, 0, None, None) == (report.complete, report.rows, report.read_until, report.ours_only)


# Once


def test_a_missed_payment_is_settled_like_a_confirmation(desk, mpesa):
    """It becomes a C2B payment with its receipt, and stands in the callback log with the bytes of its row."""
    mpesa.payments = [Payment("SKL0000001", amount="168.00", reference="ACC 7")]
    report = pull(desk)
    row = row_of(desk, "SKL0000001")
    assert (("SKL0000001",), "C2B", "SUCCESS", Decimal("168.00"), "ACC 7") == (
        report.settled, row.transaction_type, row.status, row.amount, row.account_reference,
    )  # fmt: skip
    assert ["payment_confirmed"] == desk.names()
    ((_, received),) = desk.fired("callback_received")
    callback = received["callback"]
    assert (CallbackType.PULL, "SKL0000001", "174379") == (
        callback.callback_type, callback.correlation_id, callback.raw_body["shortCode"],
    )  # fmt: skip


def test_a_confirmation_that_comes_after_all_is_a_duplicate(desk, mpesa):
    """The payment was settled from the list; its confirmation changes and announces nothing."""
    mpesa.payments = [Payment("SKL0000001")]
    pull(desk)
    late = confirm(desk, "SKL0000001")
    assert "duplicate" == desk.repository.get_callback(late).disposition
    assert ["payment_confirmed"] == desk.names()
    assert [] == list(desk.gateway.conflicts())


def test_an_stk_payment_that_waits_for_its_callback_is_adopted(desk, mpesa):
    """Its row waits, and then settles the STK payment itself: there is no second payment."""
    payment = desk.push()
    mpesa.payments = [Payment("NLJ7RT61SV", START)]
    report = pull(desk, 2)
    assert (("NLJ7RT61SV",), ("NLJ7RT61SV",), ()) == (report.missing, report.waiting, report.settled)
    again = pull(desk, 2)
    assert (("NLJ7RT61SV",), ()) == (again.waiting, again.settled)
    desk.recover(600)
    row = desk.gateway.get(payment)
    assert ("SUCCESS", "NLJ7RT61SV", row.id) == (
        row.status, row.mpesa_receipt_number, row_of(desk, "NLJ7RT61SV").id,
    )  # fmt: skip
    assert ["payment_confirmed"] == [name for name in desk.names() if name.startswith("payment_")]
    assert (1, ()) == (pull(desk, 2).found, pull(desk, 2).missing)


def test_the_stk_callback_that_comes_while_its_row_waits(desk, mpesa):
    """The callback settles, and the row from the list becomes its duplicate."""
    payment = desk.push()
    mpesa.payments = [Payment("NLJ7RT61SV", START)]
    pull(desk, 2)
    desk.post("STK", stk_success(), token=payment.callback_token)
    desk.recover(600)
    assert "SUCCESS" == desk.gateway.get(payment).status
    assert ["payment_confirmed"] == [name for name in desk.names() if name.startswith("payment_")]
    report = pull(desk, 2)
    assert (1, (), ()) == (report.found, report.missing, report.conflicts)


def test_a_payment_that_succeeded_without_its_receipt_gets_it(desk, mpesa):
    """M-PESA said on being asked that it succeeded; the list knows the receipt, and no second signal fires."""
    payment = desk.push()
    desk.daraja.answers["StkQuery"] = lambda operation: stk_query(0)
    desk.gateway.query(payment)
    before = desk.names()
    mpesa.payments = [Payment("NLJ7RT61SV", START)]
    report = pull(desk, 2)
    assert (("NLJ7RT61SV",), ()) == (report.enriched, report.settled)
    assert ("NLJ7RT61SV", before) == (desk.gateway.get(payment).mpesa_receipt_number, desk.names())


def test_another_amount_is_a_conflict_once(desk, mpesa):
    """The list says another amount than the confirmation: a person is told, once, and nothing is changed."""
    confirm(desk, "SKL0000001", "100.00")
    mpesa.payments = [Payment("SKL0000001", amount="1000.00")]
    for _ in range(2):
        report = pull(desk)
        assert (("SKL0000001",), 0, ()) == (report.conflicts, report.found, report.missing)
    assert 1 == desk.names().count("settlement_conflict")
    (conflict,) = desk.gateway.conflicts()
    assert ("PULL", Decimal(100)) == (conflict.callback_type, row_of(desk, "SKL0000001").amount)
    desk.gateway.dismiss(conflict.id)
    assert (1, ()) == (pull(desk).found, pull(desk).conflicts)


def test_a_list_that_changes_its_mind_contradicts_itself(desk, mpesa):
    """A payment was settled from the list, which says another amount later: that is seen."""
    mpesa.payments = [Payment("SKL0000001", amount="100.00")]
    pull(desk)
    mpesa.payments = [Payment("SKL0000001", amount="10.00")]
    assert ("SKL0000001",) == pull(desk).conflicts
    assert 1 == len(desk.gateway.conflicts())


def test_a_row_that_makes_no_sense_is_kept(desk, mpesa):
    """It is counted, and stands in the callback log once, as it came."""
    mpesa.payments = [{"transactionId": "SKL0000009", "amount": "many"}, Payment("SKL0000001")]
    for _ in range(2):
        assert 1 == pull(desk, 2).unreadable
    kept = [arguments for _, arguments in desk.fired("callback_received") if arguments["disposition"] == "unreadable"]
    assert ["many"] == [arguments["callback"].raw_body["amount"] for arguments in kept]


def test_one_that_several_payments_may_own_is_for_a_person(desk, mpesa):
    """Two STK payments of one amount and reference, both without an outcome: neither is settled by guessing."""
    first, second = desk.push(), desk.push()
    mpesa.payments = [Payment("NLJ7RT61SV", START)]
    assert ("NLJ7RT61SV",) == pull(desk, 2).waiting
    desk.recover(600)
    report = pull(desk, 2)
    assert (("NLJ7RT61SV",), ("NLJ7RT61SV",), ()) == (report.missing, report.conflicts, report.settled)
    assert [None, None] == [desk.gateway.get(each).mpesa_receipt_number for each in (first, second)]


def test_a_pull_that_died_is_finished_by_a_sweep(desk, mpesa, monkeypatch):
    """What was recorded and not processed is an open callback like any other."""
    mpesa.payments = [Payment("SKL0000001")]
    monkeypatch.setattr(desk.gateway.engine, "process", lambda callback_id: dies())
    with pytest.raises(KeyboardInterrupt):
        pull(desk)
    monkeypatch.undo()
    assert row_of(desk, "SKL0000001") is None
    desk.recover()
    assert "SUCCESS" == row_of(desk, "SKL0000001").status
    assert ["payment_confirmed"] == desk.names()


def dies():
    """A process that is killed."""
    raise KeyboardInterrupt
    yield


def test_two_pulls_at_once_settle_each_payment_once(repository):
    """Racing threads record and announce each missed payment once, and together report all of them."""
    desk = Desk(repository)
    desk.daraja.answers[PULLED] = MpesaList(many(120))
    barrier, reports = threading.Barrier(2), []

    def run():
        barrier.wait(10)
        reports.append(pull(desk, 2))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 2 == len(reports)
    expected = sorted(receipt(number) for number in range(120))
    fired = [arguments["transaction"].mpesa_receipt_number for _, arguments in desk.fired("payment_confirmed")]
    assert expected == sorted(fired)
    assert set(expected) == {each for report in reports for each in report.settled}
    assert all(120 == report.rows and not report.conflicts for report in reports)
    assert (120, ()) == (pull(desk, 2).found, pull(desk, 2).missing)


# The other way round


def test_a_payment_that_mpesa_does_not_list(desk, mpesa):
    """Ours and settled in the span, and not in the list: it is named; a listed one is not."""
    confirm(desk, "SKL0000001")
    confirm(desk, "SKLFORGED1")
    mpesa.payments = [Payment("SKL0000001")]
    report = pull(desk)
    assert (("SKLFORGED1",), 1, ()) == (report.ours_only, report.found, report.missing)


def test_a_payment_outside_the_span_is_not_missed(desk, mpesa):
    """What was paid before the span and reported inside it is no payment of the span, nor is one a moment old."""
    confirm(desk, "SKLOLD0001", at=START - 5 * HOUR)
    confirm(desk, "SKLNEW0001", at=START - timedelta(minutes=2))
    assert () == pull(desk, 2).ours_only


def test_a_payout_is_not_expected_in_the_list(desk, mpesa):
    """M-PESA lists payments by customers and nothing else."""
    desk.clock.forward(-3600)
    payment = desk.pay()
    desk.post("B2C_RESULT", payout_success(), token=payment.callback_token)
    desk.clock.forward(3600)
    assert "SUCCESS" == desk.gateway.get(payment).status
    assert () == pull(desk).ours_only


def test_every_page_of_our_own_is_gone_through(desk, mpesa):
    """Also where there are more payments of ours than one page of the scan."""
    for number in range(1_100):
        confirm(desk, receipt(number))
    report = pull(desk)
    assert {receipt(number) for number in range(1_100)} == set(report.ours_only)
    assert 1_100 == len(report.ours_only)


class Bare:
    """A repository with the operations of the protocol and nothing besides."""

    def __init__(self, inner):
        for name in (
            "add_callback", "get_callback", "change_callback", "due_callbacks", "open_callbacks", "conflicts",
            "add", "get", "find", "change", "due", "candidates",
        ):  # fmt: skip
            setattr(self, name, getattr(inner, name))


def test_a_repository_without_the_scan(repository):
    """Missed payments are settled as ever; the other side of the report is unknown."""
    desk = Desk(Bare(repository))
    desk.daraja.answers[PULLED] = MpesaList([Payment("SKL0000001")])
    report = pull(desk)
    assert (None, ("SKL0000001",)) == (report.ours_only, report.settled)


# A dry run, and telling how far it is


def test_a_dry_run_touches_nothing(desk, mpesa):
    """It compares both ways, finds amounts that differ, and records and settles nothing."""
    confirm(desk, "SKL0000001")
    confirm(desk, "SKL0000002")
    confirm(desk, "SKLFORGED1")
    desk.signals.clear()
    mpesa.payments = [
        Payment("SKL0000001"), Payment("SKL0000002", amount="5.00"), Payment("SKL0000003"), {"odd": 1},
    ]  # fmt: skip
    for name in ("add_callback", "change_callback", "add", "change"):
        setattr(desk.repository, name, None)
    report = pull(desk, 2, dry_run=True)
    assert (True, 4, 1, ("SKL0000003",), ("SKL0000002",), ("SKLFORGED1",), 1) == (
        report.dry_run, report.rows, report.found, report.missing, report.conflicts, report.ours_only, report.unreadable,
    )  # fmt: skip
    assert ((), (), []) == (report.settled, report.waiting, desk.signals)


def test_progress_is_told_after_each_page(desk, mpesa):
    """How much of the span was read, how many rows there were, and how many nobody had; the last one says all."""
    mpesa.payments = many(250, START - 3 * HOUR)
    told = []
    report = pull(desk, progress=told.append)
    parts = [progress.done for progress in told]
    assert (sorted(parts), 1.0) == (parts, parts[-1])
    assert (250, 250) == (told[-1].rows, told[-1].missing)
    assert len(told) > 12
    assert report.complete


def test_coroutines_pull_likewise(repository):
    """The gateway with coroutines makes the same report."""
    desk = Desk(repository)
    mpesa = MpesaList([Payment("SKL0000001")])

    class Client:
        async def send(self, operation, *, account="default"):
            return mpesa(operation)

    gateway = AsyncGateway(desk.settings, repository, client=Client(), bus=desk, clock=desk.clock)
    report = asyncio.run(gateway.pull(START - 2 * HOUR))
    assert (("SKL0000001",), (), True) == (report.settled, report.ours_only, report.complete)


def test_registering_for_pull_transactions(desk):
    """The nominated number goes out; a URL of our own stands in for the one that M-PESA asks for."""
    desk.gateway.register_pull(nominated_number="0708374149")
    (registration,) = desk.daraja.sent
    assert ("254708374149", "https://shop.example/pay/c2b/confirm/") == (
        registration.nominated_number, registration.callback_url,
    )  # fmt: skip
    assert UTC is START.tzinfo
