"""Phone numbers, amounts, references, callback URLs and times."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from enum import IntEnum
from types import SimpleNamespace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core import values
from mpesa_core.errors import InvalidField
from mpesa_core.values import (
    NAIROBI,
    callback_url,
    daraja_timestamp,
    flag,
    free_text,
    from_nairobi,
    money,
    phone_number,
    reference,
    row_id,
    shillings,
    short_code,
    to_nairobi,
)

SUBSCRIBERS = st.from_regex(r"[17][0-9]{8}", fullmatch=True)
ODD = [None, True, False, 1.5, b"0712345678", [], {}, object(), "", " ", "\x00", "\ud800", 10**5_000, -1]


def kind(value: object) -> str:
    """A test's name that does not write out a number of five thousand digits."""
    return type(value).__name__


class Number(IntEnum):
    """A whole number of another class."""

    TILL = 600_000


# Phone numbers


@pytest.mark.parametrize(
    "written",
    [
        "0712345678",
        "712345678",
        "254712345678",
        "+254712345678",
        " 0712 345 678 ",
        "0712-345-678",
        "0712.345.678",
        "(0712) 345678",
        "+254 712 345 678",
        "+254-712-345-678",
        "254\u00a0712\u2013345\u2212678",
        "\u202a+254 712 345678\u202c",
        712345678,
        254712345678,
    ],
)
def test_a_mobile_number_becomes_what_mpesa_writes(written):
    """Every usual way to write a number leads to 2547…."""
    assert phone_number(written) == "254712345678"


def test_the_newer_prefix_is_a_mobile_number_too():
    """01… and 1… become 2541…."""
    assert ["254110123456"] * 3 == [phone_number(text) for text in ("0110123456", "110 123 456", "+254110123456")]


@pytest.mark.parametrize(
    "written",
    [
        *ODD,
        "0201234567",
        "+254201234567",
        "0412345678",
        "254812345678",
        "0612345678",
        "+255712345678",
        "+1 712 345 678",
        "+712345678 9",
        "071234567",
        "07123456789",
        "2547123456789",
        "25471234567",
        "00712345678",
        "+0712345678",
        "++254712345678",
        "254+712345678",
        "0712345678x",
        "0712,345,678",
        "0712/345678",
        "٠٧١٢٣٤٥٦٧٨",
        "07١٢٣٤٥٦٧٨",
        "\uff10\uff17\uff11\uff12345678",
        "²54712345678",
        -712345678,
        -254712345678,
        712345678.0,
        Decimal(254712345678),
        "254708***430",
        "0712345678\n0712345678",
    ],
    ids=kind,
)
def test_what_is_no_kenyan_mobile_number_is_refused(written):
    """Landlines, other countries, other alphabets' digits, too few or too many digits and other types."""
    with pytest.raises(InvalidField, match="Kenyan mobile number") as caught:
        phone_number(written, "payer")
    assert caught.value.field == "payer"


@given(
    SUBSCRIBERS,
    st.sampled_from(["", "0", "254", "+254"]),
    st.lists(st.sampled_from(" -.()\u00a0\u2011"), max_size=6),
    st.data(),
)
def test_every_mobile_number_is_read_however_it_is_spaced(subscriber, prefix, noise, data):
    """Spaces, dashes, dots and brackets anywhere change nothing, and reading the result again does not either."""
    written = list(prefix + subscriber)
    for mark in noise:
        written.insert(data.draw(st.integers(0, len(written))), mark)
    assert f"254{subscriber}" == phone_number("".join(written)) == phone_number(phone_number("".join(written)))


@given(st.text())
def test_any_text_is_a_number_or_refused_with_its_digits_masked(text):
    """Nothing but a mobile number comes out, and a refusal shows no more than five characters of what came."""
    try:
        assert phone_number(text)[:4] in {"2547", "2541"}
    except InvalidField as error:
        assert len(error.value) <= 12
        assert len(text) <= 8 or text not in str(error)


@pytest.mark.parametrize(
    "written", ["07123456789", "+255712345678", "0712345678x", "254712345678901", "0712345678 or so"]
)
def test_a_refused_number_is_not_shown(written):
    """The text of the refusal has the number masked, and so has its attribute."""
    with pytest.raises(InvalidField) as caught:
        phone_number(written)
    shown = str(caught.value) + repr(caught.value) + caught.value.value
    assert written not in shown
    assert "12345" not in shown.replace(caught.value.expected, "")


# Amounts


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (1, "1.00"),
        (Number.TILL, "600000.00"),
        ("10", "10.00"),
        (" 10.5 ", "10.50"),
        ("1,200", "1200.00"),
        ("1,234,567.89", "1234567.89"),
        ("0.01", "0.01"),
        ("007", "7.00"),
        (Decimal("190.00"), "190.00"),
        (Decimal("1E+3"), "1000.00"),
        ("10.000", "10.00"),
        ("9999999999.99", "9999999999.99"),
    ],
)
def test_money_is_exact_and_has_two_decimals(value, amount):
    """Whole numbers, decimals and text become a Decimal with cents."""
    assert Decimal(amount) == money(value)
    assert money(value).as_tuple().exponent == -2


@pytest.mark.parametrize(
    "value",
    [
        *ODD,
        0,
        "0",
        "0.00",
        Decimal(0),
        Decimal("-0"),
        -5,
        "-5",
        "+5",
        "12,50",
        "1,2",
        "1,23,456",
        ",100",
        "1,000,",
        "1 000",
        "1_000",
        "1e3",
        "1e999999999",
        "0x10",
        ".5",
        "5.",
        "KES 5",
        "١٢",
        "NaN",
        "Infinity",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1e999999"),
        Decimal("1e-999999"),
        "0.001",
        "10.005",
        Decimal("1.00000000000000000000000000000000000000000001"),
        "10000000000",
        10_000_000_000,
        float("nan"),
        10.0,
    ],
    ids=kind,
)
def test_what_is_no_amount_is_refused(value):
    """No float, no exponent, no comma that could be a decimal point, nothing below a cent, nothing without end."""
    with pytest.raises(InvalidField, match=r"^price: got .*, expected a positive amount"):
        money(value, "price")


def test_a_float_is_told_how_to_become_exact():
    """The remedy shows the very call."""
    with pytest.raises(InvalidField, match=r"Write Decimal\('10\.1'\)"):
        money(10.1)


def test_a_decimal_comma_is_told_about_points():
    """A European comma is never read as thousands."""
    with pytest.raises(InvalidField, match="after a point"):
        money("12,50")


def test_money_does_not_depend_on_the_callers_decimal_context():
    """A host that rounds its own decimals at four digits does not round payments."""
    with localcontext(prec=4):
        assert str(money("123456.78")) == "123456.78"
        assert str(shillings(1_234_567)) == "1234567.00"


@given(st.decimals(min_value="0.01", max_value="9999999999.99", places=2))
def test_every_amount_with_cents_survives(amount):
    """An amount is read back as itself from a Decimal, from text and from text with thousands."""
    assert amount == money(amount) == money(str(amount)) == money(f"{amount:,}")


@given(st.integers(1, 9_999_999_999))
def test_every_whole_amount_survives_as_shillings(amount):
    """Whole shillings are whole in every form."""
    assert amount == shillings(amount) == shillings(f"{amount:,}.00") == shillings(Decimal(amount))


@given(st.one_of(st.text(), st.floats(), st.decimals(), st.integers(), st.binary(), st.none(), st.booleans()))
def test_money_gives_a_positive_amount_or_refuses(value):
    """No other error and no other result, whatever comes."""
    try:
        amount = money(value)
    except InvalidField:
        return
    assert 0 < amount < 10_000_000_000
    assert amount == Decimal(str(value).strip().replace(",", ""))


@pytest.mark.parametrize("value", ["10.50", Decimal("0.01"), "1.01"])
def test_cents_are_refused_where_shillings_are_whole(value):
    """10.50 is an amount, and no whole one."""
    with pytest.raises(InvalidField, match="whole shillings"):
        shillings(value)


def test_shillings_have_a_least_and_a_most():
    """The bounds are allowed, what lies beyond names them."""
    assert 10 == shillings(10, minimum=10)
    assert 250_000 == shillings(250_000, maximum=250_000)
    with pytest.raises(InvalidField, match="at least 10 shillings"):
        shillings(9, minimum=10)
    with pytest.raises(InvalidField, match="at most 250000 shillings"):
        shillings(250_001, maximum=250_000)


# Short codes, references and other text


@pytest.mark.parametrize("value", ["12345", "174379", "6000000", " 174379 ", 174379, Number.TILL, "012345"])
def test_a_short_code_has_five_to_seven_digits(value):
    """It comes out as text, as it was written."""
    assert str(int(value)) == short_code(value).removeprefix("0")
    assert isinstance(short_code(value), str)


@pytest.mark.parametrize(
    "value", [*ODD, "1234", "12345678", "17437a", "17 4379", "١٧٤٣٧٩", 1234, -174379, 174379.0], ids=kind
)
def test_what_is_no_short_code_is_refused(value):
    """Anything else names what it should be."""
    with pytest.raises(InvalidField, match="5 to 7 digits"):
        short_code(value)


@pytest.mark.parametrize("value", ["A", "Ord 12/3-4.", "x" * 12, "  padded  ", 123456789012])
def test_a_reference_fits_in_twelve_plain_characters(value):
    """Letters, digits, spaces and - . / pass, without the spaces around them."""
    assert str(value).strip() == reference(value)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("", "1 to 12 characters. Give one"),
        ("   ", "Give one"),
        (None, "Give one"),
        ("x" * 13, "Shorten it"),
        (10**12, "Shorten it"),
        (10**5_000, "1 to 12 characters"),
        ("a@b", "letters A-Z"),
        ("a#b", "letters A-Z"),
        ("a&b", "letters A-Z"),
        ("a\nb", "letters A-Z"),
        ("Café", "letters A-Z"),
        ("a_b", "letters A-Z"),
        ("\u0661", "letters A-Z"),
        (True, "expected text"),
        (1.5, "expected text"),
        (b"abc", "expected text"),
        (["a"], "expected text"),
    ],
    ids=kind,
)
def test_what_is_no_reference_is_refused(value, because):
    """Too long, empty, with a character that breaks calls, or no text."""
    with pytest.raises(InvalidField, match=because):
        reference(value)


def test_free_text_has_its_own_bounds():
    """The shortest and longest are the caller's; nothing at all may be allowed."""
    assert free_text(None, "occasion", shortest=0, longest=5) == ""
    assert free_text("ab", "remarks", shortest=2, longest=2) == "ab"
    with pytest.raises(InvalidField, match=r"^remarks: got 'a', expected 2 to 5 characters\. Lengthen it\.$"):
        free_text("a", "remarks", shortest=2, longest=5)
    with pytest.raises(InvalidField, match="expected text"):
        free_text(b"", "remarks", shortest=0, longest=5)


@given(st.text(string.ascii_letters + string.digits + " -./", min_size=1, max_size=12).filter(str.strip))
def test_every_plain_reference_passes(text):
    """What fits is sent as it is."""
    assert text.strip() == reference(text)


def test_a_refused_reference_shows_no_phone_number():
    """Customers are often told to use their number as the reference."""
    with pytest.raises(InvalidField) as caught:
        reference("0712345678 &")
    assert "0712345678" not in str(caught.value)


# Callback URLs

PLAIN_URLS = [
    "https://shop.example/pay/",
    "http://127.0.0.1:8000/pay/",
    "https://shop.example:8443/a/b/c/?x=1",
    "https://196.201.214.200/pay/",
    "http://[::1]:8000/pay/",
    "HTTPS://SHOP.EXAMPLE/PAY",
]


@pytest.mark.parametrize("url", PLAIN_URLS)
def test_a_plain_url_is_accepted_as_it_is(url):
    """Absolute, http or https, without forbidden words."""
    assert url == callback_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *ODD,
        "shop.example/pay",
        "/pay/",
        "//shop.example/pay/",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "https://",
        "https:///pay",
        "https://shop.example:port/",
        "https://shop.example:99999/",
        "https://[::1/",
        "https://shop.example/a b",
        "https://shop.example/a\tb",
        "https://shop.example/\n",
        "https://shop.example\\@evil.example/",
        "https://shöp.example/",
        "https://shop.example/pay/#part",
        "https://user@shop.example/",
        "https://user:hunter2@shop.example/pay/",
    ],
    ids=kind,
)
def test_what_is_no_callback_url_is_refused(url):
    """Not absolute, with blanks, beyond ASCII, with a fragment or a user."""
    with pytest.raises(InvalidField, match=r"^result_url: got .*expected (an absolute URL|a URL without)"):
        callback_url(url, "result_url")


def test_a_password_in_a_url_is_not_shown():
    """The refusal shows the host and not the user."""
    with pytest.raises(InvalidField) as caught:
        callback_url("https://user:hunter2@shop.example/pay/")
    assert "hunter2" not in str(caught.value) + repr(vars(caught.value))
    assert "shop.example" in str(caught.value)


@pytest.mark.parametrize("word", ["mpesa", "m-pesa", "safaricom", "exe", "exec", "cmd", "sql", "query"])
@pytest.mark.parametrize(
    "shape",
    [
        "https://shop.example/{}/",
        "https://{}.example/pay/",
        "https://shop.example/pay?{}=1",
        "https://shop.example/x{}x",
    ],
)
@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_the_words_that_darajas_firewall_refuses_are_refused(word, shape, spelling):
    """Anywhere in the URL and in any case, naming the word and the way out."""
    with pytest.raises(InvalidField, match=r"without the word .* neutral path"):
        callback_url(shape.format(spelling(word)))


@pytest.mark.parametrize(
    "url", ["https://shop.example/%6dpesa/", "https://shop.example/M%50ESA/", "https://shop.example/m_pesa/"]
)
def test_a_forbidden_word_in_disguise_is_refused(url):
    """A firewall decodes before it looks."""
    with pytest.raises(InvalidField, match="without the word"):
        callback_url(url)


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("http://shop.example/pay/", "https in production"),
        ("https://localhost/pay/", "reach from outside"),
        ("https://127.0.0.1/pay/", "reach from outside"),
        ("https://10.1.2.3/pay/", "reach from outside"),
        ("https://[::1]/pay/", "reach from outside"),
        ("https://shop.local/pay/", "reach from outside"),
    ],
)
def test_production_wants_https_and_a_host_that_can_be_reached(url, because):
    """What the sandbox tolerates is refused where money moves."""
    assert url == callback_url(url)
    with pytest.raises(InvalidField, match=because):
        callback_url(url, production=True)


def test_production_accepts_a_public_https_url():
    """A name or a public address."""
    for url in ("https://shop.example/pay/", "https://196.201.214.200/pay/"):
        assert url == callback_url(url, production=True)


def test_no_hex_token_can_hold_a_forbidden_word():
    """Each word has a letter that hex lacks, so a random token of hex never makes its URL refused."""
    assert all(set(word) - set(string.hexdigits) for word in values._FORBIDDEN_URL_WORDS)


@given(st.binary(min_size=16, max_size=32))
def test_a_hex_token_keeps_a_good_url_good(token):
    """A base URL that passed passes with any token behind it."""
    url = f"https://shop.example/pay/stk/callback/{token.hex()}/"
    assert url == callback_url(url, production=True)


# Time

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(9998, 1, 1),
    timezones=st.sampled_from([UTC, NAIROBI, timezone(timedelta(hours=-11)), timezone(timedelta(hours=5, minutes=45))]),
)


def test_nairobi_is_three_hours_ahead_the_whole_year():
    """There is no daylight saving."""
    for month in range(1, 13):
        moment = datetime(2026, month, 1, 12, tzinfo=UTC)
        assert moment.replace(hour=15).replace(tzinfo=NAIROBI) == to_nairobi(moment)
        assert to_nairobi(moment).hour == 15


def test_the_timestamp_is_in_nairobi_time():
    """Late in the evening in UTC it is the next day in Nairobi."""
    assert daraja_timestamp(datetime(2021, 12, 31, 22, 4, 8, tzinfo=UTC)) == "20220101010408"


@pytest.mark.parametrize("function", [to_nairobi, daraja_timestamp])
def test_a_naive_time_is_refused(function):
    """A time without a zone is a guess."""
    with pytest.raises(ValueError, match="aware"):
        function(datetime(2026, 1, 1))


@given(MOMENTS)
def test_times_go_to_nairobi_and_back(moment):
    """What is written for M-PESA is read as the same moment, in UTC."""
    second = moment.replace(microsecond=0)
    read = from_nairobi(daraja_timestamp(moment))
    assert second == read
    assert read is not None
    assert read.utcoffset() == timedelta(0)
    assert moment == to_nairobi(moment)
    assert moment.astimezone(UTC) == from_nairobi(to_nairobi(moment).strftime("%Y-%m-%d %H:%M:%S.%f"))
    assert second == from_nairobi(to_nairobi(moment).strftime("%d.%m.%Y %H:%M:%S"))
    assert second == from_nairobi(int(daraja_timestamp(moment))) == from_nairobi(Decimal(daraja_timestamp(moment)))


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("20191219102115", datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC)),
        (20191219102115, datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC)),
        (Decimal("20191219102115.0"), datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC)),
        (Decimal("2.0191219102115E+13"), datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC)),
        ("06.07.2024 22:48:52", datetime(2024, 7, 6, 19, 48, 52, tzinfo=UTC)),
        ("2021-09-15 00:00:00.00", datetime(2021, 9, 14, 21, 0, tzinfo=UTC)),
        ("2026-04-26 12:30:00", datetime(2026, 4, 26, 9, 30, tzinfo=UTC)),
        ("2020-08-05T10:13:00Z", datetime(2020, 8, 5, 7, 13, tzinfo=UTC)),
        ("2025-02-24T12:29:05.484864516", datetime(2025, 2, 24, 9, 29, 5, 484864, tzinfo=UTC)),
        (" 20191219102115 ", datetime(2019, 12, 19, 7, 21, 15, tzinfo=UTC)),
    ],
    ids=kind,
)
def test_mpesas_ways_to_write_a_time_are_read(written, moment):
    """Every form that was seen, as the moment that it means in Nairobi."""
    assert moment == from_nairobi(written)


@pytest.mark.parametrize(
    "written",
    [
        *ODD,
        "2019121910211",
        "201912191021155",
        "20191319102115",
        "20190231000000",
        "20191219246060",
        "2019-12-19",
        "19-12-2019 10:21",
        "6.7.2024 22:48:52",
        "٢٠١٩١٢١٩١٠٢١١٥",
        "00000000000000",
        "00010101000000",
        20191219102115.0,
        Decimal("NaN"),
        Decimal("1e999999"),
        Decimal("20191219102115.5"),
        "9" * 1_000_000,
    ],
    ids=kind,
)
def test_what_is_no_time_is_none(written):
    """An unreadable, shortened or impossible time is not guessed at, and never raises."""
    assert from_nairobi(written) is None


@given(st.one_of(st.text(), st.integers(), st.decimals(), st.floats(), st.none(), st.binary()))
def test_reading_a_time_never_raises(written):
    """Whatever came, it is an aware time in UTC or None."""
    read = from_nairobi(written)
    assert read is None or read.utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_a_flag(value):
    """True and False stay what they are."""
    assert value is flag(value, "pochi")


@pytest.mark.parametrize("value", [None, 0, 1, "", "no", "true", [], Decimal(1)])
def test_what_only_counts_as_a_flag_is_refused(value):
    """Nothing else is taken for True or False."""
    with pytest.raises(InvalidField, match="expected True or False"):
        flag(value, "pochi")


def test_a_row_is_named_in_three_ways():
    """By itself, by its id, and by its id as text."""
    wanted = uuid4()
    assert {wanted} == {row_id(named, "payment") for named in (SimpleNamespace(id=wanted), wanted, str(wanted))}


@pytest.mark.parametrize("value", [None, 7, "", "INV-1", b"x", SimpleNamespace(id=7), SimpleNamespace()])
def test_what_names_no_row_is_refused(value):
    """Anything else is told by the name of its argument."""
    with pytest.raises(InvalidField, match=r"payment: got .*its id as text"):
        row_id(value, "payment")
