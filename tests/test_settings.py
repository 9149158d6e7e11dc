"""Settings: what is refused, what is inherited, how they are read, and that secrets stay hidden."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.errors import ConfigurationError, NotSent
from mpesa_core.settings import SAFARICOM_GATEWAYS, Account, Environment, Secret, Settings
from mpesa_core.settings.kinds import kind_of

CANARY = "CANARY-8d1f"
FIELDS = {field.name: field for field in attrs.fields(Settings)}
URLS = [name for name in FIELDS if name.endswith("_url")]
SECRETS = [
    "consumer_key",
    "consumer_secret",
    "passkey",
    "initiator_password",
    "security_credential",
    "bills_app_key",
    "callback_secret",
]
DURATIONS = [name for name, field in FIELDS.items() if field.type == "float"]


def refused(**settings) -> tuple[str, ...]:
    """The problems with some settings."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**settings)
    return caught.value.problems


def not_loaded(mapping, **options) -> tuple[str, ...]:
    """The problems with a mapping."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(mapping, **options)
    return caught.value.problems


def not_read(environ, **options) -> tuple[str, ...]:
    """The problems with an environment."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environ(environ, **options)
    return caught.value.problems


def full(**others) -> Settings:
    """Settings with every secret in them."""
    given = {name: CANARY + name for name in SECRETS if name != "security_credential"}
    till = Account(short_code="300000", passkey=CANARY, initiator_name="api", security_credential=lambda: CANARY)
    return Settings(**{"initiator_name": "api", "short_code": "600000", "accounts": {"till": till}, **given, **others})


# Defaults


def test_nothing_needs_to_be_set():
    """Someone who only receives callbacks needs no credentials."""
    settings = Settings()
    assert ("sandbox", "https://sandbox.safaricom.co.ke") == (settings.environment, settings.base_url)
    assert settings.callback_ip_allowlist == SAFARICOM_GATEWAYS
    assert not settings.is_production


def test_every_setting_has_a_kind_and_a_default_of_that_kind():
    """No field escapes the check."""
    defaults = Settings()
    for name, field in FIELDS.items():
        assert kind_of(field).problem(getattr(defaults, name)) is None, name


def test_every_setting_is_documented():
    """The class's docstring names each of them, an account's in the account's."""
    words = f"{Settings.__doc__}{Account.__doc__}".replace(",", " ").replace(":", " ").split()
    hidden = set(URLS) - {"callback_base_url", "stk_callback_url", "standing_order_url"}
    assert set() == set(FIELDS) - hidden - set(words)


# Environment


@pytest.mark.parametrize(
    ("given", "environment", "base_url"),
    [
        ("sandbox", "sandbox", "https://sandbox.safaricom.co.ke"),
        (Environment.PRODUCTION, "production", "https://api.safaricom.co.ke"),
        ("https://api.safaricom.co.ke/", "production", "https://api.safaricom.co.ke"),
        ("HTTPS://API.safaricom.co.ke", "production", "https://api.safaricom.co.ke"),
        ("https://sandbox.safaricom.co.ke", "sandbox", "https://sandbox.safaricom.co.ke"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
    ],
)
def test_an_environment_is_a_name_or_a_base_url(given, environment, base_url):
    """Safaricom's hosts are known by name however they are written; any other URL is a local Daraja."""
    settings = Settings(environment=given)
    assert (environment, base_url) == (settings.environment, settings.base_url)
    assert settings.is_production is (environment == "production")
    assert type(settings.environment) is str or settings.environment is given


@pytest.mark.parametrize(
    "given",
    [
        "staging",
        "PRODUCTION",
        "",
        None,
        3,
        "ftp://host",
        "http://",
        "http://host:port",
        "http://[",
        "http://h/?a=1",
        "http://h/#a",
    ],
)
def test_another_environment_is_refused(given):
    """Whatever is neither name nor URL."""
    (problem,) = refused(environment=given)
    assert problem.startswith("environment: got ")
    assert "'sandbox', 'production' or the base URL" in problem


def test_a_password_in_the_base_url_is_refused_and_not_shown():
    """It would stand in every log of the client."""
    (problem,) = refused(environment=f"http://user:{CANARY}@host/")
    assert CANARY not in problem


def test_the_sandboxs_limit_of_queries_is_the_default_there_alone():
    """Five a minute in the sandbox, none elsewhere unless it is set."""
    assert Settings().queries_per_minute == 5
    assert Settings(environment="production").queries_per_minute is None
    assert Settings(environment="http://localhost:1/").queries_per_minute is None
    assert Settings(environment="production", queries_per_minute=7).queries_per_minute == 7
    assert Settings(queries_per_minute=None).queries_per_minute is None


# All problems at once


def test_every_problem_is_reported_at_once():
    """One error lists them all, each naming the setting, what came and what was expected."""
    problems = refused(
        environment="moon",
        short_code="12",
        passkey=5,
        callback_base_url="https://shop.example/mpesa/",
        callback_tokens="yes",
        max_body_bytes=0,
        trusted_proxies="10.0.0.1",
        c2b_validation_deadline=9,
        on_queue_timeout="explode",
        accounts={"till": Account(short_code="1"), "default": Account()},
    )
    named = [problem.partition(":")[0] for problem in problems]
    assert sorted(named) == sorted(
        [
            "environment",
            "short_code",
            "passkey",
            "callback_base_url",
            "callback_tokens",
            "max_body_bytes",
            "trusted_proxies",
            "c2b_validation_deadline",
            "on_queue_timeout",
            "accounts['till'].short_code",
            "accounts['default']",
        ]
    )
    assert all("expected" in problem or "choose" in problem for problem in problems)


WRONG = {
    "str": [5, b"x", [], "", " padded "],
    "secret": [5, 0, b"x", ["x"], " x", "x\n"],
    "bool": [None, 0, 1, "true"],
    "count": [None, 0, -1, 1.0, True, "5", 10**12],
    "seconds": [None, 0, -1, "30", True, float("nan"), float("inf"), Decimal(5), timedelta(0), timedelta(-1), 1e12],
    "list": [None, "10.0.0.1", ["10.0.0.300"], [10], [None], ["host.example"], 5, ["10.0.0.1", "x"]],
    "url_path": [None, 5, "", "v1", "/v1/", "/v 1", "https://api.safaricom.co.ke/v1"],
    "header": [None, 5, "", "app key", "appKey:", "x" * 65],
    "short_code": [174379, b"174379", "1234", "12345678", " 174379", "١٧٤٣٧٩"],
    "choice": [None, "", "no", 1, ["accept"], "Accept"],
    "file": [5, "", b"", ["x"]],
    "url": [5, b"https://shop.example/", "", "shop.example", "https://shop.example/sql/", "https://shop.example/#a"],
}


def each_wrong_value():
    """Each setting with each value that its kind must refuse."""
    for name, field in FIELDS.items():
        kind = {
            "bool": "bool",
            "float": "seconds",
            "tuple[str, ...]": "list",
            "str | Path | None": "path",
            "str | Path | bytes | None": "file",
        }.get(str(field.type), "count" if str(field.type).startswith("int") else "")
        if name in SECRETS:
            kind = "secret"
        elif name in URLS:
            kind = "url"
        elif name in {"short_code", "till_number"}:
            kind = "short_code"
        elif str(field.type).startswith("Literal"):
            kind = "choice"
        elif name == "initiator_name":
            kind = "str"
        elif name == "bills_base_path":
            kind = "url_path"
        elif name == "bills_app_key_header":
            kind = "header"
        for value in [5, "", b"x"] if kind == "path" else WRONG.get(kind, []):
            optional = name in {"queries_per_minute", "ratiba_edition"}
            if not (optional and value is None) and not (name == "send_retries" and value == 0):
                yield pytest.param(name, value, id=f"{name}-{value!r}"[:60])


WRONG_VALUES = list(each_wrong_value())


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_a_value_of_another_kind_is_refused(name, value):
    """Every setting refuses what it cannot be, by name, and says what it should be."""
    problems = refused(**{name: value})
    mine = [problem for problem in problems if problem.startswith(f"{name}: ")]
    assert len(mine) == 1, problems
    assert "expected " in mine[0]


def test_every_setting_is_tried_with_wrong_values():
    """The list above leaves out only what has tests of its own."""
    assert set(FIELDS) - {param.values[0] for param in WRONG_VALUES} == {"environment", "accounts"}


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_is_seconds_or_a_timedelta(name):
    """Both forms mean the same."""
    assert getattr(Settings(**{name: timedelta(milliseconds=1_500)}), name) == 1.5
    assert getattr(Settings(**{name: 2}), name) == 2


@pytest.mark.parametrize("name", ["callback_ip_allowlist", "trusted_proxies"])
@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_a_list_may_be_any_collection(name, kind):
    """Addresses and networks of both versions, kept as a tuple."""
    given = ["10.0.0.0/8", "::1", "196.201.214.200"]
    kept = getattr(Settings(**{name: kind(given)}), name)
    assert isinstance(kept, tuple)
    assert sorted(given) == sorted(kept)


def test_an_empty_allowlist_would_refuse_everybody():
    """It is reported, unless the addresses are not looked at."""
    (problem,) = refused(callback_ip_allowlist=[])
    assert "every callback would be refused" in problem
    assert Settings(callback_ip_allowlist=[], verify_callback_source_ip=False).callback_ip_allowlist == ()


def test_a_validation_must_be_answered_before_mpesa_stops_waiting():
    """Eight seconds are too late."""
    assert Settings(c2b_validation_deadline=7.9).c2b_validation_deadline == 7.9
    (problem,) = refused(c2b_validation_deadline=timedelta(seconds=8))
    assert "less than 8" in problem


@pytest.mark.parametrize("name", URLS)
def test_production_wants_https(name):
    """Plain http is for the sandbox and a local Daraja."""
    url = "http://shop.example/pay/"
    assert getattr(Settings(**{name: url}), name) == url
    (problem,) = refused(environment="production", **{name: url})
    assert problem.startswith(f"{name}: ")
    assert "https in production" in problem
    assert Settings(environment="production", **{name: "https://shop.example/pay/"}).is_production


def test_keys_that_are_of_use_only_together():
    """An operator has a name and one of a password and a credential."""
    assert "initiator_name: missing" in refused(initiator_password="x")[0]
    assert "initiator_name: missing" in refused(security_credential="x")[0]
    assert "initiator_password: missing" in refused(initiator_name="api")[0]
    assert "not both" in refused(initiator_name="api", initiator_password="x", security_credential="y")[0]
    assert "accounts['a'].initiator_name: missing" in refused(accounts={"a": Account(initiator_password="x")})[0]


def test_a_till_needs_its_store_number():
    """The store number signs the request; a paybill's short code is none."""
    assert "short_code: missing; for a till" in refused(till_number="400000")[0]
    (problem,) = refused(short_code="174379", accounts={"t": Account(till_number="400000")})
    assert problem.startswith("accounts['t'].short_code: missing; for a till")
    assert Settings(short_code="300000", till_number="400000").till_number == "400000"


@pytest.mark.parametrize("accounts", [[], "till", 5, None, [("till", Account())]])
def test_accounts_are_a_mapping(accounts):
    """Anything else is named by its type and not shown: it holds secrets."""
    (problem,) = refused(accounts=accounts)
    assert problem == f"accounts: got {type(accounts).__name__}, expected a mapping of names to accounts"


def test_accounts_have_names_and_are_accounts():
    """Names of a reasonable length, and no default beside the default."""
    assert "expected a name" in refused(accounts={"": Account()})[0]
    assert "expected a name" in refused(accounts={"x" * 65: Account()})[0]
    assert "expected a name" in refused(accounts={5: Account()})[0]
    assert "choose another name" in refused(accounts={"default": Account()})[0]
    assert refused(accounts={"till": {"passkey": CANARY}}) == ("accounts['till']: got dict, expected an Account",)


# Unknown names


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("pass_key", "passkey"),
        ("shortcode", "short_code"),
        ("calback_base_url", "callback_base_url"),
        ("SHORT_CODE", "short_code"),
        ("xyzzy", None),
    ],
)
def test_an_unknown_setting_is_reported_with_the_nearest_known_one(name, nearest):
    """A misspelt name never passes for a default."""
    (problem,) = not_loaded({name: "174379"})
    assert problem.startswith(f"{name}: no such setting; ")
    assert (f"did you mean {nearest}?" if nearest else "settings reference") in problem


def test_unknown_and_wrong_are_reported_together():
    """Also those of the accounts."""
    problems = not_loaded(
        {
            "pass_key": "x",
            "short_code": "1",
            5: "x",
            "accounts": {"till": {"short_cod": "300000", "passkey": 3}, "b": 4},
        }
    )
    assert [problem.partition(": ")[0] for problem in problems] == [
        "pass_key",
        "5",
        "accounts['till'].short_cod",
        "short_code",
        "accounts['till'].passkey",
        "accounts['b']",
    ]
    assert "did you mean short_code?" in problems[2]


def test_an_unknown_account_is_reported_with_those_that_there_are():
    """The name that was meant is suggested, or all are listed."""
    settings = Settings(accounts={"till": Account(), "payouts": Account()})
    assert settings.account_names == ("default", "till", "payouts")
    with pytest.raises(ConfigurationError, match=r"tills: no such account; did you mean till\?"):
        settings.account("tills")
    with pytest.raises(ConfigurationError, match="expected one of default, till, payouts"):
        settings.account("xyz")


@pytest.mark.parametrize("mapping", [None, [], "short_code", 5])
def test_only_a_mapping_is_loaded(mapping):
    """Something else is named by its type."""
    assert "expected a mapping" in not_loaded(mapping)[0]


def test_problems_show_names_as_the_user_wrote_them():
    """The adapter says how."""
    problems = not_loaded(
        {"pass_key": 1, "short_code": 1, "accounts": {"t": {"passkey": 1}}},
        show=lambda name: f"MPESA[{name.upper()!r}]",
    )
    assert [problem.partition(": ")[0] for problem in problems] == [
        "MPESA['PASS_KEY']",
        "MPESA['SHORT_CODE']",
        "MPESA['ACCOUNTS']['t'].passkey",
    ]
    assert "did you mean MPESA['PASSKEY']?" in problems[0]


def test_loading_gives_what_the_class_gives():
    """Mappings become accounts; accounts stay."""
    till = Account(short_code="300000")
    loaded = Settings.load(
        {"short_code": "600000", "horizon": timedelta(days=1), "accounts": {"a": {"short_code": "300000"}, "b": till}}
    )
    assert Settings(short_code="600000", horizon=86_400, accounts={"a": till, "b": till}) == loaded


def test_settings_do_not_follow_a_mapping_that_changes_later():
    """What was checked is what is used."""
    accounts = {"till": Account()}
    settings = Settings(accounts=accounts)
    accounts["default"] = Account()
    assert settings.account_names == ("default", "till")


# Accounts


def test_the_default_account_is_made_of_the_settings():
    """Its keys are those beside accounts."""
    account = full().account()
    assert ("600000", None, "api") == (account.short_code, account.till_number, account.initiator_name)
    assert account == full().account("default")


def given_default(**others) -> Settings:
    """Settings whose default account has everything."""
    return Settings(
        **{
            "short_code": "600000",
            "till_number": "600001",
            "consumer_key": "k",
            "consumer_secret": "s",
            "passkey": "p",
            "initiator_name": "api",
            "initiator_password": "pw",
            "certificate": "own.cer",
            **others,
        }
    )


def shown(account: Account) -> dict[str, object]:
    """What an account has, secrets revealed."""
    values = attrs.asdict(account, recurse=False)
    return {name: v.reveal() if isinstance(v, Secret) else v for name, v in values.items() if v is not None}


def test_an_account_on_another_short_code_never_gets_the_defaults_passkey_or_till():
    """They belong to a short code; the app, the operator and the certificate are shared."""
    account = given_default(accounts={"other": Account(short_code="300000")}).account("other")
    assert shown(account) == {
        "short_code": "300000",
        "consumer_key": "k",
        "consumer_secret": "s",
        "initiator_name": "api",
        "initiator_password": "pw",
        "certificate": "own.cer",
    }


@pytest.mark.parametrize("own", [{}, {"short_code": "600000"}])
def test_an_account_on_the_same_short_code_gets_everything_that_it_leaves_out(own):
    """Given again or left out, the short code is the default's."""
    settings = given_default(accounts={"same": Account(**own)})
    assert shown(settings.account()) == shown(settings.account("same"))


def test_a_second_till_of_the_same_store_keeps_its_own_number():
    """Store, passkey and keys are the default's."""
    account = given_default(accounts={"second": Account(till_number="600002")}).account("second")
    assert ("600000", "600002", "p") == (account.short_code, account.till_number, shown(account)["passkey"])


@pytest.mark.parametrize("code", [None, "600000", "300000"])
def test_an_operator_is_taken_whole_or_not_at_all(code):
    """Nobody's name with somebody else's password: M-PESA locks an operator out for that."""
    own = Account(short_code=code, initiator_name="other", security_credential="cred")
    account = given_default(accounts={"a": own}).account("a")
    assert ("other", None) == (account.initiator_name, account.initiator_password)
    assert shown(account)["security_credential"] == "cred"


@pytest.mark.parametrize("code", [None, "600000", "300000"])
def test_the_apps_keys_are_taken_together_or_not_at_all(code):
    """One app's key with another's secret is refused by Daraja."""
    account = given_default(accounts={"a": Account(short_code=code, consumer_key="other")}).account("a")
    assert ("other", None) == (shown(account)["consumer_key"], account.consumer_secret)


def test_an_account_without_a_default_short_code_keeps_to_itself():
    """Where the default has none, another account's short code is its own."""
    settings = Settings(passkey="p", accounts={"a": Account(short_code="300000")})
    assert shown(settings.account("a")) == {"short_code": "300000"}


# Secrets


def test_a_secret_is_a_text_or_a_callable():
    """A callable is asked each time, so that it may change."""
    answers = iter(["one", "two"])
    changing = Secret(lambda: next(answers))
    assert ["one", "two"] == [changing.reveal(), changing.reveal()]
    assert Secret(Secret("text")).reveal() == "text"
    assert Settings(passkey=lambda: "late").passkey.reveal() == "late"
    assert Settings(passkey=Secret("kept")).passkey == Secret("kept")
    assert Settings(passkey="").passkey is None


@pytest.mark.parametrize("answer", [None, "", 5, b"bytes"])
def test_a_callable_must_return_text(answer):
    """What it returned is not shown."""
    with pytest.raises(ConfigurationError, match="secret's callable returned") as caught:
        Secret(lambda: answer).reveal()
    assert "bytes'" not in str(caught.value)


def test_a_callable_that_fails_means_that_nothing_was_sent():
    """A vault that is down is NotSent, and what its client said, which may quote the secret, is left behind."""

    def vault():
        raise ConnectionError("hunter2")

    with pytest.raises(NotSent, match="ConnectionError") as caught:
        Secret(vault).reveal()
    assert "hunter2" not in str(caught.value)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)


def test_secrets_are_compared_and_hashed_by_their_source():
    """Equal texts are equal secrets."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


def sinks(thing: object):
    """Everything that prints, formats or converts a thing."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing} {thing!r} {thing!a}"
    yield "%s %r" % (thing, thing)  # noqa: UP031 - logging formats like this
    yield repr([thing])
    yield str(vars(thing) if hasattr(thing, "__dict__") else "")
    yield logging.LogRecord("x", 10, "f", 1, "%s %r", (thing, [thing]), None).getMessage()
    if attrs.has(type(thing)):
        yield str(attrs.asdict(thing))
        yield str(attrs.astuple(thing))
        yield str(attrs.asdict(thing, recurse=False))
        yield json.dumps(attrs.asdict(thing), default=str)


def test_no_secret_shows_by_accident():
    """Not in a repr, in text, in a log line or in a conversion to a dict."""
    settings = full()
    assert CANARY in settings.passkey.reveal()
    for thing in (settings, settings.account(), settings.account("till"), settings.passkey):
        assert "Secret(…)" in repr(thing)
        for text in sinks(thing):
            assert CANARY not in text


def test_secrets_are_no_json():
    """A careless dump fails instead of writing them down."""
    with pytest.raises(TypeError, match="Secret"):
        json.dumps(attrs.asdict(full()))


@pytest.mark.parametrize("thing", [Secret(CANARY), full(), full().account("till"), {"settings": full()}], ids=range(4))
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_holds_a_secret_is_not_pickled(thing, protocol):
    """It refuses, and says what to do instead."""
    with pytest.raises(TypeError, match=r"not pickled.*load its own settings"):
        pickle.dumps(thing, protocol)


def test_settings_without_secrets_pickle():
    """There is nothing to hide in them."""
    settings = Settings(short_code="600000", accounts={"a": Account(short_code="300000")})
    assert settings == pickle.loads(pickle.dumps(settings))


def test_settings_can_be_copied_compared_hashed_and_changed():
    """A deep copy has the same secrets, a changed copy is checked again, and settings are keys."""
    settings = full()
    assert settings == copy.copy(settings) == copy.deepcopy(settings) == attrs.evolve(settings)
    assert copy.deepcopy(settings).passkey is settings.passkey
    assert hash(settings) == hash(copy.deepcopy(settings))
    assert attrs.evolve(settings, horizon=5).horizon == 5
    with pytest.raises(ConfigurationError, match="horizon"):
        attrs.evolve(settings, horizon=-5)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        settings.passkey = "other"


def test_no_problem_shows_a_secret():
    """Wrong, misplaced or unreadable: what came for a secret is named by its type, in every link of the error's chain."""
    tries = [
        lambda: full(passkey=f" {CANARY}"),
        lambda: full(passkey=[CANARY]),
        lambda: full(passkey=CANARY.encode()),
        lambda: full(accounts={"a": {"passkey": CANARY}}),
        lambda: full(accounts=CANARY),
        lambda: Settings.load({"pass_key": CANARY}),
        lambda: Settings.load({"passkey": [CANARY], "accounts": {"a": {"passkey": [CANARY], "pass_key": CANARY}}}),
        lambda: Settings.from_environ({"MPESA_PASS_KEY": CANARY, "MPESA_PASSKEY": f"{CANARY} "}),
        lambda: Settings.from_environ({"MPESA_ACCOUNTS": f'{{"a": {{"passkey": "{CANARY}"'}),
        lambda: Settings.from_environ({"MPESA_ACCOUNTS": f'["{CANARY}"]'}),
        lambda: Settings.from_environ({"MPESA_ACCOUNTS": f'{{"a": "{CANARY}"}}'}),
        lambda: Secret(CANARY.encode).reveal(),
    ]
    for attempt in tries:
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        link = caught.value
        while link is not None:
            assert CANARY not in repr(vars(link)) + repr(link.args)
            link = link.__cause__ or link.__context__


# The environment


def test_settings_are_read_from_the_environment():
    """Each kind is read from its text."""
    settings = Settings.from_environ(
        {
            "MPESA_ENVIRONMENT": " production ",
            "MPESA_CONSUMER_KEY": "k",
            "MPESA_CONSUMER_SECRET": "s",
            "MPESA_SHORT_CODE": "012345",
            "MPESA_CALLBACK_BASE_URL": "https://shop.example/pay/",
            "MPESA_CALLBACK_TOKENS": "no",
            "MPESA_VERIFY_BEFORE_SETTLE": "TRUE",
            "MPESA_TRUSTED_PROXIES": "10.0.0.0/8, ::1,",
            "MPESA_MAX_BODY_BYTES": "1000",
            "MPESA_SEND_RETRIES": "0",
            "MPESA_QUERIES_PER_MINUTE": "none",
            "MPESA_HORIZON": "2d",
            "MPESA_STK_DEADLINE": "15m",
            "MPESA_READ_TIMEOUT": "2.5",
            "MPESA_CONNECT_TIMEOUT": "3 s",
            "MPESA_PAYOUT_DEADLINE": "1H",
            "MPESA_ON_QUEUE_TIMEOUT": "timeout",
            "MPESA_SPOOL_DIR": "/var/spool/pay",
            "MPESA_PASSKEY": "",
            "MPESA_INITIATOR_NAME": "   ",
            "MPESA_ACCOUNTS": '{"till": {"short_code": "300000", "till_number": "400000", "passkey": "pk"}}',
            "PATH": "/bin",
            "XMPESA_PASSKEY": "no",
            "mpesa_passkey": "no",
        }
    )
    expected = Settings(
        environment="production",
        consumer_key="k",
        consumer_secret="s",
        short_code="012345",
        callback_base_url="https://shop.example/pay/",
        callback_tokens=False,
        verify_before_settle=True,
        trusted_proxies=("10.0.0.0/8", "::1"),
        max_body_bytes=1000,
        send_retries=0,
        queries_per_minute=None,
        horizon=172_800,
        stk_deadline=900,
        read_timeout=2.5,
        connect_timeout=3,
        payout_deadline=3_600,
        on_queue_timeout="timeout",
        spool_dir="/var/spool/pay",
        accounts={"till": Account(short_code="300000", till_number="400000", passkey="pk")},
    )
    assert expected == settings


def test_every_kind_of_text_survives_the_way_through_the_environment():
    """What a value is written as is read as that value."""
    for text, value in {
        "1": True,
        "true": True,
        "Yes": True,
        "on": True,
        "0": False,
        "FALSE": False,
        "off": False,
        "no": False,
    }.items():
        assert Settings.from_environ({"MPESA_CALLBACK_TOKENS": text}).callback_tokens is value
    assert Settings.from_environ({"PAY_HORIZON": "5"}, prefix="PAY_").horizon == 5
    assert Settings.from_environ({"MPESA_CERTIFICATE": "a.cer"}).certificate == "a.cer"
    assert Settings(certificate=Path("a.cer"), spool_dir=Path("s")).spool_dir == Path("s")


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CALLBACK_TOKENS", "maybe", "got 'maybe', expected true or false"),
        ("MAX_BODY_BYTES", "1e3", "got '1e3', expected a whole number"),
        ("MAX_BODY_BYTES", "-1", "expected a whole number"),
        ("MAX_BODY_BYTES", "0", "got 0, expected a whole number above 0"),
        ("MAX_BODY_BYTES", "9" * 5_000, "expected a whole number"),
        ("MAX_BODY_BYTES", "١٢", "expected a whole number"),
        ("SEND_RETRIES", "none", "expected a whole number"),
        ("HORIZON", "soon", "got 'soon', expected seconds such as 90"),
        ("HORIZON", "-5", "expected seconds"),
        ("HORIZON", "nan", "expected seconds"),
        ("HORIZON", "inf", "expected seconds"),
        ("HORIZON", "0", "expected a positive number of seconds"),
        ("HORIZON", "5w", "expected seconds"),
        ("HORIZON", "40000d", "100 years at the most"),
        ("ACCOUNTS", "{", "expected a JSON object"),
        ("ACCOUNTS", "[]", "expected a JSON object"),
        ("ACCOUNTS", '{"t": {"short_code": 300000}}', "['t'].short_code: got 300000, expected a short code as text"),
        ("ACCOUNTS", '{"t": {"shortcode": "300000"}}', "did you mean short_code?"),
        ("TRUSTED_PROXIES", "10.0.0.1 10.0.0.2", "expected a list of addresses"),
        ("ENVIRONMENT", "prod", "expected 'sandbox', 'production'"),
        ("PASSKEY", " x ", "got Secret, expected text without blanks around it"),
        ("SHORTCODE", "174379", "did you mean MPESA_SHORT_CODE?"),
    ],
    ids=range(22),
)
def test_what_cannot_be_read_is_reported_by_its_variable(variable, text, expected):
    """The name is the variable's, and the rest says what was expected."""
    (problem,) = not_read({f"MPESA_{variable}": text})
    assert problem.startswith(f"MPESA_{variable}")
    assert expected in problem
    assert len(problem) < 300


def test_everything_wrong_in_the_environment_is_reported_at_once():
    """Unreadable, unknown and wrong ones together."""
    problems = not_read(
        {"MPESA_HORIZON": "x", "MPESA_PASS_KEY": "y", "MPESA_SHORT_CODE": "1", "MPESA_TILL_NUMBER": "400000"}
    )
    assert [problem.partition(":")[0] for problem in problems] == [
        "MPESA_HORIZON",
        "MPESA_PASS_KEY",
        "MPESA_SHORT_CODE",
    ]


def test_the_callers_own_variables_are_passed_over():
    """The command has some beside the settings."""
    assert Settings.from_environ({"MPESA_DATABASE": "x"}, also=("database",)) == Settings()
    assert "no such setting" in not_read({"MPESA_DATABASE": "x"})[0]


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.decimals(),
    st.timedeltas(),
)


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(FIELDS)), st.text(max_size=8)), ANYTHING, max_size=6))
def test_any_mapping_is_loaded_or_refused_with_reasons(mapping):
    """Whatever a host configures, it is settings or one error that lists reasons."""
    try:
        settings = Settings.load(mapping)
    except ConfigurationError as error:
        reasons = error.problems
    else:
        assert Settings.load({name: getattr(settings, name) for name in mapping}) == settings
        return
    assert reasons
    assert all(reasons)


@given(st.dictionaries(st.sampled_from([f"MPESA_{name.upper()}" for name in FIELDS]), st.text(max_size=12), max_size=5))
def test_any_environment_is_read_or_refused_with_reasons(environ):
    """Whatever the variables hold."""
    try:
        Settings.from_environ(environ)
    except ConfigurationError as error:
        named = [problem for problem in error.problems if problem.startswith("MPESA_")]
        assert list(error.problems) == named
