"""A host for the webhooks' tests: a repository in a dictionary, whose failures are chosen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from mpesa_core.payments.records import CallbackDraft
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, WebhookResponse, Webhooks

SAFARICOM = "196.201.214.200"
SAMPLES = Path(__file__).parent / "samples"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def sample_body(name: str) -> bytes:
    """The body of a sample as bytes, spelt as in the file."""
    text = (SAMPLES / f"{name}.json").read_text()
    start = re.search(r'^  "body": ', text, re.MULTILINE).end()
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]].encode()


class Store:
    """The part of a repository that receives; ``failures`` are raised by its next calls, one each."""

    def __init__(self, failures: Iterable[BaseException | None] = ()) -> None:
        self.rows: dict[UUID, CallbackDraft] = {}
        self.failures = list(failures)
        self.calls = 0

    def add_callback(self, draft: CallbackDraft) -> UUID:
        self.calls += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.rows.setdefault(draft.id, draft)
        return draft.id

    @property
    def only(self) -> CallbackDraft:
        (row,) = self.rows.values()
        return row


class FakeHost:
    def __init__(self, store: Any = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.repository = Store() if store is None else store
        self.now = START
        self.submitted: list[UUID] = []
        self.recorded_when_submitted: list[bool] = []
        self.submit_error: Exception | None = None
        self.after: Callable[[], None] | None = None
        self.asked: list[Mapping[str, Any]] = []
        self.decide: Callable[[Mapping[str, Any]], Any] = lambda _payload: None
        self._count = 0

    def clock(self) -> datetime:
        return self.now

    def tick(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def new_id(self) -> UUID:
        self._count += 1
        return UUID(int=self._count)

    def submit(self, callback_id: UUID, recorded: CallbackDraft | None = None) -> Callable[[], None] | None:
        if self.submit_error is not None:
            raise self.submit_error
        self.submitted.append(callback_id)
        self.recorded_when_submitted.append(callback_id in getattr(self.repository, "rows", ()))
        return self.after

    def validate_c2b(self, raw_payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.asked.append(raw_payload)
        return self.decide(raw_payload)


def post(
    host: FakeHost,
    body: Any = b"{}",
    path: str = "stk/callback/",
    *,
    headers: Any = (),
    peer: str = SAFARICOM,
    method: str = "POST",
    webhooks: Webhooks | None = None,
) -> WebhookResponse:
    webhooks = webhooks or Webhooks(host, pause=lambda _seconds: None)
    return webhooks.receive(WebhookRequest(method=method, path=path, headers=headers, body=body, peer=peer))
