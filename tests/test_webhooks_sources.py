"""Tests of where a callback comes from: spoofed, chained and broken X-Forwarded-For headers."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.webhooks.sources import Source, Sources, in_networks, networks, read_address, source_of
from tests.webhook_host import SAFARICOM, FakeHost, post

PROXIES = ("10.0.0.0/8", "192.0.2.10", "fd00::/8", "::1")
STRANGER = "203.0.113.7"
NEAR = "196.201.214.201"  # beside Safaricom's addresses, and not one of them
TEN = ", ".join(["10.0.0.9"] * 100)
HUNDRED = ", ".join([SAFARICOM] * 100)

# peer, X-Forwarded-For lines, the address it comes from (None: nobody), whether it is let in
TABLE = [
    # directly connected: the header is not believed, whatever it says
    (SAFARICOM, [], SAFARICOM, True),
    (STRANGER, [], STRANGER, False),
    (NEAR, [], NEAR, False),
    (STRANGER, [SAFARICOM], STRANGER, False),
    (STRANGER, [f"{SAFARICOM}, {SAFARICOM}"], STRANGER, False),
    (STRANGER, [SAFARICOM, SAFARICOM], STRANGER, False),
    (STRANGER, [HUNDRED], STRANGER, False),
    (STRANGER, [f"{SAFARICOM}, 10.0.0.1"], STRANGER, False),
    (SAFARICOM, [STRANGER], SAFARICOM, True),
    (SAFARICOM, ["junk"], SAFARICOM, True),
    (SAFARICOM, [""], SAFARICOM, True),
    ("11.0.0.1", [SAFARICOM], "11.0.0.1", False),
    ("127.0.0.1", [SAFARICOM], "127.0.0.1", False),
    ("192.0.2.11", [SAFARICOM], "192.0.2.11", False),
    # the peer itself in other spellings
    (f"::ffff:{SAFARICOM}", [], SAFARICOM, True),
    (f"::FFFF:{SAFARICOM}", [], SAFARICOM, True),
    ("::ffff:c4c9:d6c8", [], SAFARICOM, True),
    (f"[::ffff:{SAFARICOM}]:443", [], SAFARICOM, True),
    (f"{SAFARICOM}:5678", [], SAFARICOM, True),
    (f" {SAFARICOM} ", [], SAFARICOM, True),
    (f"::ffff:{STRANGER}", [], STRANGER, False),
    (f"::{SAFARICOM}", [], "::c4c9:d6c8", False),
    (f"64:ff9b::{SAFARICOM}", [], "64:ff9b::c4c9:d6c8", False),
    ("2001:db8::7", [], "2001:db8::7", False),
    ("fe80::1%eth0", [], "fe80::1", False),
    (f"::ffff:{SAFARICOM}%eth0", [], None, False),
    ("", [], None, False),
    ("unix:", [SAFARICOM], None, False),
    ("localhost", [SAFARICOM], None, False),
    ("196.201.214.0200", [], None, False),
    ("0196.201.214.200", [], None, False),
    ("0xc4c9d6c8", [], None, False),
    ("3301562056", [], None, False),
    ("196.201.54984", [], None, False),
    ("\uff11\uff19\uff16.201.214.200", [], None, False),
    (f"{SAFARICOM}\x00", [], None, False),
    (f"{SAFARICOM}/32", [], None, False),
    # behind one trusted proxy
    ("10.0.0.1", [SAFARICOM], SAFARICOM, True),
    ("10.0.0.1", [STRANGER], STRANGER, False),
    ("10.0.0.1", [f"{SAFARICOM}:5678"], SAFARICOM, True),
    ("10.0.0.1", [f"[::ffff:{SAFARICOM}]:80"], SAFARICOM, True),
    ("10.0.0.1", [f"::ffff:{SAFARICOM}"], SAFARICOM, True),
    ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7", False),
    ("10.0.0.1", [f"  {SAFARICOM}\t"], SAFARICOM, True),
    ("::ffff:10.0.0.1", [SAFARICOM], SAFARICOM, True),
    ("[::1]:80", [SAFARICOM], SAFARICOM, True),
    ("fd00::7", [SAFARICOM], SAFARICOM, True),
    ("192.0.2.10", [SAFARICOM], SAFARICOM, True),
    ("10.255.255.255", [SAFARICOM], SAFARICOM, True),
    # what a stranger wrote before the proxy added the stranger's own address
    ("10.0.0.1", [f"{SAFARICOM}, {STRANGER}"], STRANGER, False),
    ("10.0.0.1", [f"{SAFARICOM},{STRANGER}"], STRANGER, False),
    ("10.0.0.1", [SAFARICOM, STRANGER], STRANGER, False),
    ("10.0.0.1", [f"{HUNDRED}, {STRANGER}"], STRANGER, False),
    ("10.0.0.1", [f"{TEN}, {STRANGER}"], STRANGER, False),
    ("10.0.0.1", [f"{SAFARICOM}, 10.0.0.9, {STRANGER}"], STRANGER, False),
    ("10.0.0.1", [f"{SAFARICOM}, ::1, {STRANGER}:99"], STRANGER, False),
    ("10.0.0.1", [f"{STRANGER}, {SAFARICOM}"], SAFARICOM, True),
    ("10.0.0.1", [f"junk, {SAFARICOM}"], SAFARICOM, True),
    ("10.0.0.1", [f", {SAFARICOM}"], SAFARICOM, True),
    ("10.0.0.1", ["<script>", SAFARICOM], SAFARICOM, True),
    # behind several trusted proxies
    ("10.0.0.1", [f"{SAFARICOM}, 10.0.0.2"], SAFARICOM, True),
    ("10.0.0.1", [f"{SAFARICOM}, 10.0.0.3, 10.0.0.2"], SAFARICOM, True),
    ("10.0.0.1", [SAFARICOM, "10.0.0.3", "fd00::2"], SAFARICOM, True),
    ("10.0.0.1", [f"{SAFARICOM}, {TEN}"], SAFARICOM, True),
    ("10.0.0.1", [f"{SAFARICOM}, {STRANGER}, 10.0.0.2"], STRANGER, False),
    ("10.0.0.1", [f"{SAFARICOM}, 192.0.2.11, 10.0.0.2"], "192.0.2.11", False),
    # nothing is left but proxies: it comes from the outermost one, which is in no allowlist
    ("10.0.0.1", [], "10.0.0.1", False),
    ("10.0.0.1", ["10.0.0.2"], "10.0.0.2", False),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", False),
    # junk where the source should stand: nobody, however good what stands left of it looks
    ("10.0.0.1", ["unknown"], None, False),
    ("10.0.0.1", [""], None, False),
    ("10.0.0.1", [" "], None, False),
    ("10.0.0.1", [","], None, False),
    ("10.0.0.1", [f"{SAFARICOM}, unknown"], None, False),
    ("10.0.0.1", [f"{SAFARICOM},"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}, "], None, False),
    ("10.0.0.1", [SAFARICOM, ""], None, False),
    ("10.0.0.1", [f"{SAFARICOM}, , 10.0.0.2"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}; {STRANGER}"], None, False),
    ("10.0.0.1", [f"{SAFARICOM} {STRANGER}"], None, False),
    ("10.0.0.1", [f"for={SAFARICOM}"], None, False),
    ("10.0.0.1", [f'"{SAFARICOM}"'], None, False),
    ("10.0.0.1", [f"{SAFARICOM}:"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}:123456"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}:80:80"], None, False),
    ("10.0.0.1", [f"[{SAFARICOM}"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}\r\nX-Forwarded-For: {SAFARICOM}"], None, False),
    ("10.0.0.1", [f"{SAFARICOM}\x00"], None, False),
    ("10.0.0.1", ["196.201.214.*"], None, False),
    ("10.0.0.1", ["196.201.214.200/24"], None, False),
    ("10.0.0.1", ["9" * 100_000], None, False),
    ("10.0.0.1", [":" * 100_000], None, False),
    ("10.0.0.1", [f"{SAFARICOM}, ", STRANGER], STRANGER, False),
]  # fmt: skip


def test_the_table_is_as_long_as_it_promises():
    """At least sixty rows."""
    assert len(TABLE) >= 60


@pytest.mark.parametrize(("peer", "forwarded", "source", "let_in"), TABLE)
def test_the_source_is_the_rightmost_address_that_is_no_proxy(peer, forwarded, source, let_in):
    """No row is a bypass and none a false block; what is refused is kept with its body and its address."""
    host = FakeHost(trusted_proxies=PROXIES)
    lines = [("x-forwarded-FOR", line) for line in forwarded]

    response = post(host, b"body", headers=[("Host", "a"), *lines], peer=peer)

    row = host.repository.only
    assert (200 if let_in else 403, source, b"body") == (response.status, row.source_ip, row.raw_bytes)
    assert (None if let_in else "refused") == row.disposition


def test_what_is_remembered_of_an_address_is_what_was_found():
    """One webhook that has seen every row of the table says the same of each once more, whatever came in between."""
    sources = Sources([SAFARICOM], PROXIES)
    expected = [Source(source, let_in) for _, _, source, let_in in TABLE]

    assert expected == [sources.find(peer, forwarded) for peer, forwarded, _, _ in TABLE]
    assert expected[::-1] == [sources.find(peer, forwarded) for peer, forwarded, _, _ in TABLE[::-1]]


def test_strangers_fill_no_memory():
    """However many addresses call and however much they forward, what is remembered of them is bounded."""
    sources = Sources([SAFARICOM], PROXIES)
    tracemalloc.start()
    try:
        for number in range(4000):
            sources.find(f"203.0.{number % 250}.{number // 250}", [f"{number}" + "9" * 200])
        for number in range(300):
            sources.find("10.0.0.1", [f"{number}" + "9" * 10_000])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 2**20


@pytest.mark.parametrize("peer", ["10.0.0.1", STRANGER, "127.0.0.1", "::1"])
def test_without_trusted_proxies_no_header_is_ever_believed(peer):
    """The default trusts nobody, private addresses included."""
    host = FakeHost()

    assert 403 == post(host, headers={"X-Forwarded-For": SAFARICOM}, peer=peer).status
    assert peer == host.repository.only.source_ip


@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Real-IP", "X_Forwarded_For", "True-Client-IP", "CF-Connecting-IP", "Client-IP"]
)
def test_other_headers_are_never_believed(name):
    """Even behind a trusted proxy: a proxy that does not write them would pass on a stranger's."""
    host = FakeHost(trusted_proxies=PROXIES)

    assert 403 == post(host, headers={name: SAFARICOM}, peer="10.0.0.1").status


def test_an_allowlist_of_networks_and_mapped_addresses_is_understood():
    """Networks, IPv6 and IPv4-mapped entries admit what they name and nothing else."""
    allowed = networks(["196.201.214.192/26", "2001:db8::/32", "::ffff:192.0.2.0/120", "::ffff:198.51.100.1"])

    inside = ["196.201.214.200", "2001:db8::1", "192.0.2.9", "::ffff:192.0.2.9", "198.51.100.1"]
    outside = ["196.201.214.1", "2001:db9::1", "192.0.3.9", "198.51.100.2", "::"]
    assert inside == [text for text in inside + outside if in_networks(read_address(text), allowed)]


def test_nobody_is_in_no_network():
    """An address that could not be read is not in the network of everybody."""
    assert not in_networks(None, networks(["0.0.0.0/0", "::/0"]))


@given(
    st.lists(st.text(max_size=40) | st.ip_addresses().map(str), max_size=6),
    st.text(max_size=40) | st.ip_addresses().map(str),
)
def test_what_a_stranger_writes_never_changes_the_source(written, stranger):
    """Whatever stands left of the entry that the proxy added, the source is that entry, or nobody."""
    trusted = networks(PROXIES)
    expected = read_address(stranger)
    if in_networks(expected, trusted) or "," in stranger:
        return

    assert expected == source_of("10.0.0.1", [*written, stranger], trusted)
    assert expected == source_of("10.0.0.1", [", ".join([*written, stranger])], trusted)
