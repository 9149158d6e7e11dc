"""Canaries through the whole stack: no secret anywhere, and no whole phone number in a log line, an error or a repr."""

from __future__ import annotations

import contextlib
import gc
import logging
import pickle
import re
import sqlite3
import traceback

import pytest

from mpesa_core import signals
from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import MpesaError
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.sandbox import Answer, Api, Behaviour, Delivery, Ending, Organisation
from mpesa_core.webhooks import WebhookRequest
from tests.faults.shop import Shop
from tests.settlement.desk import confirmation, result, stk_result, stk_success

SUBSCRIBER = "722987654"
PHONE = re.compile(r"(?<!\d)(?:\+?254|0)?[ -]?7[ -]?2[ -]?2[ -]?9[ -]?8[ -]?7[ -]?6[ -]?5[ -]?4(?!\d)")
SECRETS = {
    "consumer_key": "CANARYkey" + "k" * 20,
    "consumer_secret": "CANARYsecret" + "s" * 20,
}
ORGANISATION = {"passkey": "CANARYpasskey" + "p" * 20, "initiator_password": "CANARYinitiator99!"}
CALLBACK_SECRET = "CANARYcallback" + "c" * 20
OURS = ("mpesa_core", "mpesa_django", "mpesa_flask", "tests.django.stores", "tests.ext.stores")
"""Whose objects are looked at: the SDK's, and the rows that are a host's."""


class Sink(logging.Handler):
    """Everything that is logged, as a file would have it: with its arguments and tracebacks."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelno, self.format(record)))


@pytest.fixture
def sink():
    """The root logger, and those of the libraries, at DEBUG."""
    handler = Sink()
    loggers = [logging.getLogger(name) for name in (None, "mpesa_core", "httpx", "httpcore")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


class Told:
    """What people get to see: errors in every form, and the repr of whatever the SDK holds in memory."""

    def __init__(self):
        self.texts, self.insides, self.given = [], [], []

    def call(self, work, *arguments, **keywords):
        try:
            self.given.append(work(*arguments, **keywords))  # held, so that it is among what is shown
            return self.given[-1]
        except MpesaError as error:
            chain = error
            while chain is not None:
                self.texts += [str(chain), repr(chain), repr(chain.args)]
                self.insides += [repr(vars(chain)), pickle.dumps(chain).decode("latin-1")]
                chain = chain.__cause__ or chain.__context__
            self.texts.append("".join(traceback.format_exception(error)))
            return getattr(error, "transaction", None)

    @staticmethod
    def reprs():
        """The repr of every object of the SDK that there is, but for the pretend M-PESA, whose secrets they are."""
        found = {}
        for each in gc.get_objects():
            module = type(each).__module__
            if not isinstance(module, str):  # of some C types it is a descriptor
                continue
            if module.startswith(OURS) and not module.startswith("mpesa_core.sandbox"):
                with contextlib.suppress(ReferenceError):
                    found.setdefault(type(each), []).append(repr(each))
        return found


def everything(shop, told):
    """One of everything that can happen, good and bad."""
    phone = f"0{SUBSCRIBER}"
    gateway, daraja = shop.gateway, shop.daraja
    paid = told.call(gateway.stk_push, phone_number=phone, amount=10, account_reference="A", idempotency_key="a")
    shop.sweep()
    told.call(gateway.stk_push, phone_number=phone, amount=11, account_reference="A", idempotency_key="a")
    told.call(gateway.stk_push, phone_number=phone + "1", amount=11, account_reference="A")
    told.call(gateway.stk_push, phone_number=phone, amount="1.5", account_reference=f"to {phone} and more")
    told.call(gateway.reverse, paid, amount=11)
    told.call(gateway.reverse, paid, amount=4)
    told.call(gateway.account_balance)
    told.call(gateway.register_urls)
    told.call(gateway.account, f"no {phone}")
    shop.sweep()
    daraja.customer_pays(amount=20, reference=f"acc {phone}", phone=phone)
    for number, ending in enumerate((Ending.PAY, Ending.NOT_A_CUSTOMER, Ending.WRONG_PIN, Ending.INTERNAL_FAILURE)):
        daraja.script(
            Behaviour(ending=ending, deliver=(Delivery(copies=2), Delivery(says=Ending.NO_FUNDS))), api=Api.B2C
        )
        told.call(gateway.payout, phone_number=phone, amount=30, idempotency_key=f"ending {number} {phone}")
        shop.sweep(31)
    for number, answer in enumerate(Answer):
        for api, call in ((Api.B2C, gateway.payout), (Api.STK_PUSH, gateway.stk_push)):
            daraja.script(Behaviour(answer=answer), api=api)
            more = {"account_reference": "B"} if api is Api.STK_PUSH else {}
            told.call(call, phone_number=phone, amount=40, idempotency_key=f"{api} {number}", **more)
        shop.sweep(61)
    open_push = told.call(gateway.stk_push, phone_number=phone, amount=50, account_reference="C")
    path = f"stk/callback/{open_push.callback_token}"
    said = f"Sent to {phone} of 254{SUBSCRIBER}; token {SECRETS['consumer_key']}"
    bodies = [
        (path, stk_success(open_push.checkout_request_id, 49, phone=f"254{SUBSCRIBER}")),
        (path, stk_result(1, f"no funds on 254{SUBSCRIBER}", open_push.checkout_request_id)),
        (path, stk_result("SFC_NEW", f"a code that nobody knows, of {phone}", open_push.checkout_request_id)),
        (path, b'{"Body": "254' + SUBSCRIBER.encode()),
        ("c2b/validate", confirmation("XYZ1234567", msisdn=f"254{SUBSCRIBER}")),
        ("c2b/confirm", confirmation("XYZ1234567", reference=phone, msisdn=f"254{SUBSCRIBER}")),
        ("c2b/confirm", confirmation("XYZ1234567", "abc", reference=phone, msisdn=f"254{SUBSCRIBER}")),
        ("b2c/result", result(0, "XYZ7654321", f"AG_254{SUBSCRIBER}", said)),
        (f"stk/callback/{phone}", stk_success("ws_CO_other", phone=f"254{SUBSCRIBER}")),
        (f"nowhere/254{SUBSCRIBER}", {}),
    ]
    headers = {"X-Forwarded-For": f"254{SUBSCRIBER}", "User-Agent": f"phone {phone}"}
    for where, body in bodies:
        for peer in ("196.201.214.200", "203.0.113.9"):
            raw = body if isinstance(body, bytes) else dumps(body)
            response = shop.webhooks.receive(
                WebhookRequest(method="POST", path=where, headers=headers, body=raw, peer=peer)
            )
            if response.after is not None:
                response.after()
    shop.sweep(200)
    for callback in gateway.conflicts():
        told.call(gateway.accept, callback.id)
        told.call(gateway.dismiss, callback.id)
    told.call(gateway.get, phone)
    shop.sweep(90_000)
    shop.sweep(90_000)


class Kept:
    """A store: what makes its repository, a bus of its framework on which a receiver raises, and its rows as text."""

    def __init__(self, make, bus, dump):
        self.make, self.bus, self.dump = make, bus, dump


RAISING = ("payment_confirmed", "payout_failed", "settlement_conflict")


@pytest.fixture(params=["core", "django_sqlite", "django_postgres", "alchemy_sqlite", "alchemy_postgres"])
def kept(request, tmp_path):
    """Each store."""
    framework, _, _ = request.param.partition("_")
    make = {"core": kept_by_the_core, "django": kept_by_django, "alchemy": kept_by_sqlalchemy}[framework]
    yield from make(request, tmp_path)


def kept_by_the_core(_request, tmp_path):
    def bus(broken):
        receiver = lambda _sender, **arguments: broken(**arguments)  # noqa: E731 - it is disconnected by itself
        connected.extend((getattr(signals, name), receiver) for name in RAISING)
        for signal, each in connected:
            signal.connect(each)
        return signals.BlinkerBus()

    connected = []
    path = tmp_path / "canary.db"
    yield Kept(lambda: SqliteRepository(path), bus, lambda *columns: dumped(path, *columns))
    for signal, receiver in connected:
        signal.disconnect(receiver)


def kept_by_django(request, _tmp_path):
    pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")
    from mpesa_django import signals as django_signals
    from tests.django.stores import MODELS, empty_repository

    def bus(broken):
        connected.append(lambda sender, signal, **arguments: broken(**arguments))
        for name in RAISING:
            getattr(django_signals, name).connect(connected[0])
        return django_signals.DjangoBus(*MODELS)

    def dump(*columns):
        for model in MODELS[:2]:
            names = [field.attname for field in model._meta.concrete_fields]
            wanted = [name for name in names if not columns or name in {column for _, column in columns}]
            yield from (str(value) for row in model.objects.using(alias).values_list(*wanted) for value in row)

    connected, alias = [], request.getfixturevalue(request.param)
    repository = empty_repository(alias)
    yield Kept(lambda: repository, bus, dump)
    for name in RAISING:
        getattr(django_signals, name).disconnect(connected[0])


def kept_by_sqlalchemy(request, _tmp_path):
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")
    pytest.importorskip("flask", reason="Flask is not installed: pip install 'mpesa-core[flask]'")
    from mpesa_flask.surroundings import FlaskBus
    from tests.ext.stores import Callback, Payment, empty_repository
    from tests.flask.hosting import make_app

    def bus(broken):
        receiver = lambda _sender, **arguments: broken(**arguments)  # noqa: E731 - it is held here
        app = make_app()
        connected.extend((app, receiver))
        for name in RAISING:
            getattr(signals, name).connect(receiver, sender=app)
        return FlaskBus(app)

    def dump(*columns):
        with engine.connect() as connection:
            for table in (Payment.__table__, Callback.__table__):
                wanted = [each for each in table.columns if not columns or each.name in {name for _, name in columns}]
                rows = connection.execute(table.select().with_only_columns(*wanted)) if wanted else ()
                yield from (str(value) for row in rows for value in row)

    connected, engine = [], request.getfixturevalue(request.param)
    repository = empty_repository(engine)
    yield Kept(lambda: repository, bus, dump)
    for name in RAISING:
        getattr(signals, name).disconnect(connected[1], sender=connected[0])


@pytest.mark.faults
def test_canaries_through_the_whole_stack(kept, sink):
    """Every call, failure, callback and refusal with canaries: grep the log, the errors, the reprs and the database."""
    pytest.importorskip("cryptography")
    daraja = {**SECRETS, "organisations": [Organisation(**ORGANISATION)]}
    told = Told()
    raised = []

    def broken(**arguments):
        raised.append(arguments)
        raise ValueError(f"could not tell 0{SUBSCRIBER} with {SECRETS['consumer_secret']}")

    shop = Shop(kept.make, daraja=daraja, callback_secret=lambda: CALLBACK_SECRET)
    shop.gateway.bus = shop.gateway._driver._bus = kept.bus(broken)
    everything(shop, told)
    seen_tokens = [str(token) for token in shop.daraja._calls.tokens]
    reprs = told.reprs()
    assert raised
    assert "Transaction" in {type(row).__name__.replace("Payment", "Transaction") for row in told.given}
    assert seen_tokens
    assert len(reprs) > 40
    secrets = [*SECRETS.values(), *ORGANISATION.values(), CALLBACK_SECRET, *seen_tokens]
    shown = {
        "log": [line for _, line in sink.lines],
        "errors": told.texts + told.insides,
        "reprs": [text for texts in reprs.values() for text in texts],
        "database": list(kept.dump()),
    }
    assert len(shown["errors"]) > 50
    assert len(shown["log"]) > 50
    for where, texts in shown.items():
        hits = [text for text in texts if any(secret in text for secret in secrets)]
        if where in ("database", "reprs"):  # what M-PESA said is kept as it came; it said the canary key on purpose
            hits = [text for text in hits if "token CANARYkey" not in text]
        assert [] == hits[:3], f"secrets in {where}"
    assert [] == [line for level, line in sink.lines if level > logging.DEBUG and PHONE.search(line)][:3]
    assert [] == [text for text in told.texts if PHONE.search(text)][:3]
    numbers = {kind.__qualname__: [t for t in texts if PHONE.search(t)][:1] for kind, texts in reprs.items()}
    assert {} == {kind: texts for kind, texts in numbers.items() if texts}
    log_columns = list(kept.dump(("mpesa_callbacks", "error"), ("mpesa_transactions", "conflicts")))
    assert [] == [text for text in log_columns if PHONE.search(text)][:3]


def dumped(path, *columns):
    """The database's values as text: those of the columns named, else all."""
    connection = sqlite3.connect(path)
    if columns:
        for table, column in columns:
            yield from (str(value) for (value,) in connection.execute(f"SELECT {column} FROM {table}"))
    else:
        yield from connection.iterdump()
    connection.close()
