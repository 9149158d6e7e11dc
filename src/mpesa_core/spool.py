"""Where a callback goes when the database refuses it: one durable file each, taken in later.

A file holds one line of JSON (what is known of the callback, and the length and SHA-256 of its body) and then the
body's exact bytes. It gets its final name only when all of it is on the disk, and only then is the callback
acknowledged: one with that name is whole, and one without it was never acknowledged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import StorageError, StorageRefused
from mpesa_core.outline import outline
from mpesa_core.payments.records import CallbackDraft
from mpesa_core.reading import with_reading, without_reading

if TYPE_CHECKING:
    from mpesa_core.repository.protocol import Repository

__all__ = ["Spool"]

_log = logging.getLogger("mpesa_core.spool")
_SUFFIX = ".callback"
_DAMAGED = ".damaged"
_FORMAT = 1
_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would change line ends
_FAILURES_IN_A_ROW = 3


class Spool:
    """A directory of callbacks that wait for the database.

    It may be shared by processes of one machine, not by machines. Whoever can read it can read the callbacks, so the
    directory and its files are made for their owner alone.

    Args:
        directory: made, with its parents, when the first callback comes.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def __repr__(self) -> str:
        return f"Spool({str(self.directory)!r})"

    def put(self, draft: CallbackDraft) -> Path:
        """Write the callback; it is on the disk, under its final name, when this returns.

        Raises:
            OSError: it could not be made durable (a full or read-only disk, say); nothing may be acknowledged.
        """
        self._make_directory()
        target = self.directory / f"{draft.received_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{draft.id.hex}{_SUFFIX}"
        unfinished = self.directory / f".{draft.id.hex}.unfinished"
        try:
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
            descriptor = os.open(unfinished, _EXCLUSIVE, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_written(draft))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        _sync_directory(self.directory)
        return target

    def _make_directory(self) -> None:
        if self.directory.is_dir():
            return
        # Every directory that is new is an entry in the one above it, which has to be on the disk as well.
        new = [self.directory, *(parent for parent in self.directory.parents if not parent.exists())]
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in new:
            _sync_directory(directory.parent)

    def waiting(self) -> int:
        """How many callbacks wait here."""
        return len(self._files())

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.directory.iterdir() if path.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []

    def take_in(self, repository: Repository, *, limit: int | None = None) -> int:
        """Record the waiting callbacks, oldest first, and remove each file once the repository has it for good.

        Harmless to repeat and to run in several processes: the id is in the file, and the same id is recorded once. A
        file that is damaged is renamed (``.damaged``) and reported in the log; its bytes stay. While the repository
        keeps refusing, the rest waits for the next time.

        Args:
            repository: where they go.
            limit: how many at the most; None for all.

        Returns:
            How many were recorded.
        """
        taken = failures = 0
        try:
            files = self._files()
        except OSError as error:  # whoever sweeps has more to do than this
            _log.error("The spool %s could not be read: %s", self.directory, outline(error))
            return 0
        for path in files[:limit]:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # another process took it in
            except OSError as error:
                _log.error("The spooled callback %s could not be read: %s", path.name, outline(error))
                continue
            try:
                draft = _read(content)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._set_aside(path, error)
                continue
            try:
                _record(repository, draft)
            except Exception as error:  # noqa: BLE001 - a repository's driver may raise anything; the file stays for later
                _log.warning("The spooled callback %s could not be recorded yet: %s", draft.id, outline(error))
                failures += isinstance(error, StorageError) and not isinstance(error, StorageRefused)
                if failures == _FAILURES_IN_A_ROW:
                    break
                continue
            failures = 0
            taken += 1
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        if taken:
            _log.info("Took in %d callbacks from the spool.", taken)
        return taken

    def _set_aside(self, path: Path, error: Exception) -> None:
        with contextlib.suppress(OSError):
            path.rename(path.with_name(path.name + _DAMAGED))
        _log.error("A spooled callback is damaged and was set aside as %s%s: %s", path.name, _DAMAGED, outline(error))


def _record(repository: Repository, draft: CallbackDraft) -> None:
    try:
        repository.add_callback(draft)
    except StorageRefused:
        repository.add_callback(without_reading(draft))
    except StorageError:
        raise
    except Exception:  # noqa: BLE001 - the store may not take what was read out of the body; the bytes it has to take
        repository.add_callback(without_reading(draft))


def _written(draft: CallbackDraft) -> bytes:
    known: dict[str, Any] = {
        "format": _FORMAT,
        "id": draft.id.hex,
        "callback_type": str(draft.callback_type),
        "received_at": draft.received_at.isoformat(),
        "next_attempt_at": draft.next_attempt_at and draft.next_attempt_at.isoformat(),
        "source_ip": draft.source_ip,
        "token": draft.token,
        "headers": dict(draft.headers),
        "length": len(draft.raw_bytes),
        "sha256": hashlib.sha256(draft.raw_bytes).hexdigest(),
    }
    return json.dumps(known).encode() + b"\n" + draft.raw_bytes


def _read(content: bytes) -> CallbackDraft:
    line, _, body = content.partition(b"\n")
    known = json.loads(line)
    if known["format"] != _FORMAT:
        raise ValueError("an unknown format")
    if known["length"] != len(body) or known["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("the body is not the one that was written")
    received_at = datetime.fromisoformat(known["received_at"])
    due = known["next_attempt_at"]
    draft = CallbackDraft(
        id=UUID(known["id"]),
        callback_type=CallbackType(known["callback_type"]),
        raw_bytes=body,
        headers=dict(known["headers"]),
        source_ip=known["source_ip"],
        token=known["token"],
        received_at=received_at,
        next_attempt_at=datetime.fromisoformat(due) if due else received_at,
    )
    return with_reading(draft)


def _sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; Windows has no such operation, and its rename is journalled."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
