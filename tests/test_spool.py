"""Tests of the spool: durable files that a database takes in later."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import StorageBusy, StorageRefused, StorageUnavailable
from mpesa_core.payments.records import CallbackDraft
from mpesa_core.spool import Spool
from tests.webhook_host import START, Store

HOSTILE = [
    b"",
    b"\x00",
    b"\n",
    b"\n\n{",
    b"\xff\xfe\x00",
    b"NaN",
    b"[" * 2000,
    b'{"a": "\\ud800"}',
    bytes(range(256)) * 1024,
]


def draft(number=1, body=b'{"a": 1.10}', **changes):
    base = CallbackDraft(
        id=UUID(int=number),
        callback_type=CallbackType.STK,
        raw_bytes=body,
        headers={"A": "b\ud800"},
        source_ip="196.201.214.200",
        token="abc",
        received_at=START + timedelta(seconds=number),
        next_attempt_at=START + timedelta(seconds=number),
    )
    return attrs.evolve(base, **changes)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_every_body_comes_back_byte_for_byte(tmp_path, body):
    """Whatever the bytes, and whatever they do to a text file, the repository gets the same."""
    spool, store = Spool(tmp_path), Store()

    spool.put(draft(body=body))
    taken = spool.take_in(store)

    assert (1, 0, draft(body=body)) == (taken, spool.waiting(), attrs.evolve(store.only, raw_body=None))


@given(
    body=st.binary(max_size=300),
    token=st.none() | st.text(max_size=20),
    headers=st.dictionaries(st.text(max_size=9), st.text(max_size=9)),
)
def test_everything_known_of_a_callback_comes_back(tmp_path_factory, body, token, headers):
    """Token, headers, times and bytes survive the file."""
    spool, store = Spool(tmp_path_factory.mktemp("spool")), Store()
    wanted = draft(body=body, token=token, headers=headers)

    spool.put(wanted)
    spool.take_in(store)

    assert wanted == attrs.evolve(store.only, raw_body=None)


def test_the_body_is_parsed_again_when_it_is_taken_in(tmp_path):
    """Numbers are exact, as if it had gone to the repository at once."""
    spool, store = Spool(tmp_path), Store()
    spool.put(draft())

    spool.take_in(store)

    assert "1.10" == str(store.only.raw_body["a"])


def test_files_are_taken_in_oldest_first_and_up_to_a_limit(tmp_path):
    """The order of arrival is kept across files."""
    spool, store = Spool(tmp_path), Store()
    for number in (3, 1, 12, 2):
        spool.put(draft(number))

    assert 3 == spool.take_in(store, limit=3)
    assert [UUID(int=number) for number in (1, 2, 3)] == list(store.rows)
    assert (1, 1, 0) == (spool.waiting(), spool.take_in(store), spool.waiting())


def test_the_same_callback_twice_is_one_file_and_one_row(tmp_path):
    """A crash between recording and removing leaves a file that changes nothing when it is read again."""
    spool, store = Spool(tmp_path), Store()
    path = spool.put(draft())
    spool.put(draft())
    content = path.read_bytes()

    first = (spool.waiting(), spool.take_in(store))
    path.write_bytes(content)
    second = spool.take_in(store)

    assert ((1, 1), 1, 1, 0) == (first, second, len(store.rows), spool.waiting())


def test_a_directory_that_is_not_there_is_empty(tmp_path):
    """Recovery may look before the first callback was ever spooled."""
    spool = Spool(tmp_path / "none")

    assert (0, 0) == (spool.waiting(), spool.take_in(Store()))
    assert not (tmp_path / "none").exists()


def test_only_the_owner_may_read_the_files(tmp_path):
    """Callbacks hold names and numbers of people."""
    path = Spool(tmp_path / "a" / "spool").put(draft())

    assert (0o600, 0o700) == (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))


def test_a_callback_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    """The file is synced before the rename and the directory after it: the order that survives a power cut."""
    steps = []
    sync, rename = os.fsync, type(tmp_path).replace

    def fsync(descriptor):
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replace(self, target):
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr("mpesa_core.spool.os.fsync", fsync)
    monkeypatch.setattr("pathlib.Path.replace", replace)

    Spool(tmp_path).put(draft())

    assert ["file", "rename", "directory"] == steps


@pytest.mark.parametrize("step", ["mpesa_core.spool.os.fsync", "mpesa_core.spool.os.open", "pathlib.Path.replace"])
def test_a_file_that_could_not_be_made_durable_is_not_there(tmp_path, monkeypatch, step):
    """A full or read-only disk raises OSError and leaves nothing that a recovery would take in."""

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space"):
        Spool(tmp_path).put(draft())
    monkeypatch.undo()

    assert (0, []) == (Spool(tmp_path).waiting(), list(tmp_path.iterdir()))


def test_an_unfinished_file_is_not_taken_in(tmp_path):
    """What a crash left half written was never acknowledged."""
    spool = Spool(tmp_path)
    path = spool.put(draft())
    path.rename(tmp_path / f".{UUID(int=1).hex}.unfinished")

    assert (0, 0) == (spool.waiting(), spool.take_in(Store()))


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "headless", "foreign", "longer", "list", "type"])
def test_a_damaged_file_is_set_aside_and_the_rest_goes_on(tmp_path, damage, caplog):
    """Its bytes stay on the disk under another name, the log tells, and it is not tried again."""
    spool, store = Spool(tmp_path), Store()
    path = spool.put(draft(1, b"x" * 100))
    spool.put(draft(2))
    content = path.read_bytes()
    damaged = {
        "cut": content[:-1],
        "flipped": content[:-1] + b"y",
        "emptied": b"",
        "headless": content[5:],
        "foreign": content.replace(b'"format": 1', b'"format": 9'),
        "longer": content + b"x",
        "list": b"[1]\n" + content,
        "type": content.replace(b'"STK"', b'"NEW"'),
    }[damage]
    path.write_bytes(damaged)

    taken = spool.take_in(store)

    (aside,) = tmp_path.iterdir()
    assert (1, [UUID(int=2)], damaged) == (taken, list(store.rows), aside.read_bytes())
    assert aside.name.endswith(".damaged")
    assert "damaged" in caplog.text
    assert 0 == spool.take_in(store)


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), StorageBusy("locked")])
def test_a_repository_that_is_still_down_is_not_asked_for_every_file(tmp_path, failure):
    """Everything stays, and three refusals in a row are enough for one round."""
    spool, store = Spool(tmp_path), Store([failure] * 100)
    for number in range(1, 11):
        spool.put(draft(number))

    assert (0, 10, 3) == (spool.take_in(store), spool.waiting(), store.calls)
    store.failures.clear()
    assert (10, 0) == (spool.take_in(store), spool.waiting())


@pytest.mark.parametrize("failure", [ValueError("no such JSON"), StorageRefused("no such JSON")])
def test_a_body_that_the_repository_cannot_parse_into_a_column_goes_in_bare(tmp_path, failure):
    """The bytes are taken in without what was read out of them."""
    spool, store = Spool(tmp_path), Store([failure])
    spool.put(draft())

    assert 1 == spool.take_in(store)
    assert (b'{"a": 1.10}', None, {}) == (store.only.raw_bytes, store.only.raw_body, store.only.headers)


@pytest.mark.parametrize("failure", [ValueError("not this one"), StorageRefused("not this one")])
def test_one_that_never_goes_in_does_not_keep_the_others_out(tmp_path, failure):
    """A repository that raises an error of its own for some rows still gets the rest."""

    class Picky(Store):
        def add_callback(self, each):
            if each.id.int <= 5:
                raise failure
            return super().add_callback(each)

    spool, store = Spool(tmp_path), Picky()
    for number in range(1, 11):
        spool.put(draft(number))

    assert (5, 5) == (spool.take_in(store), spool.waiting())


def test_two_recoveries_at_once_record_each_callback_once(tmp_path):
    """While one reads a file the other may have removed it: no error, no row twice."""
    spool, store = Spool(tmp_path), Store()
    for number in range(1, 6):
        spool.put(draft(number))

    class Racing(Store):
        def add_callback(self, each):
            spool.take_in(store)
            return store.add_callback(each)

    taken = spool.take_in(Racing())

    assert (5, 0, 1) == (len(store.rows), spool.waiting(), taken)


def test_times_of_any_zone_keep_their_moment(tmp_path):
    """The file's name sorts by UTC whatever zone the host's clock answers in."""
    spool, store = Spool(tmp_path), Store()
    moment = datetime.fromisoformat("2026-03-01T15:00:00.000001+03:00")

    path = spool.put(draft(received_at=moment, next_attempt_at=None))
    spool.take_in(store)

    assert path.name.startswith("20260301T120000000001Z-")
    assert (moment.astimezone(UTC), moment) == (store.only.received_at, store.only.next_attempt_at)


def test_a_spool_shows_its_directory(tmp_path):
    """The repr is for logs."""
    assert f"Spool({str(tmp_path)!r})" == repr(Spool(tmp_path))


def test_spool_that_cannot_be_read_does_not_end_the_sweep(tmp_path, caplog):
    """A file where the directory should be: the sweep says so, and goes on to what else it has to do."""
    (tmp_path / "spool").write_text("not a directory")
    assert 0 == Spool(tmp_path / "spool").take_in(Store())
    assert "could not be read" in caplog.text
