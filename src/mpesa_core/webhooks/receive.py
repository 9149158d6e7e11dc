"""From a request to a response: allowed? recorded? acknowledged, and handed on.

Nothing is decided about payments here. In this order: the path, the size, the source, the token; then the record,
durable; then the runner; then the answer. Whatever is not durable is not acknowledged.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mpesa_core.callback_tokens import token_is_signed
from mpesa_core.daraja import codec
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import StorageBusy
from mpesa_core.outline import outline
from mpesa_core.payments.records import CallbackDraft, Disposition
from mpesa_core.reading import read_out, without_reading
from mpesa_core.routes import match_path
from mpesa_core.spool import Spool
from mpesa_core.webhooks.answers import acknowledgement
from mpesa_core.webhooks.exchange import WebhookRequest, WebhookResponse, read_body
from mpesa_core.webhooks.refusals import RefusalBudget
from mpesa_core.webhooks.sources import Sources
from mpesa_core.webhooks.validation import Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from mpesa_core.repository.protocol import Repository
    from mpesa_core.settings import Settings

__all__ = ["Host", "Webhooks"]

_log = logging.getLogger("mpesa_core.webhooks")

_PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between the attempts to record a callback in a store that is busy."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_REFUSALS = {400: "incomplete", 403: "forbidden", 404: "not found", 413: "too large", 503: "try again"}


class Host(Protocol):
    """What the webhooks need; :class:`mpesa_core.gateway.Gateway` has it."""

    @property
    def settings(self) -> Settings:
        """The settings."""
        ...

    @property
    def repository(self) -> Repository:
        """Where callbacks are recorded."""
        ...

    def clock(self) -> datetime:
        """The time now, aware."""
        ...

    def new_id(self) -> UUID:
        """An id that nobody has yet."""
        ...

    def submit(self, callback_id: UUID, recorded: CallbackDraft | None = None) -> Callable[[], None] | None:
        """Hand a recorded callback to the task runner; see :meth:`mpesa_core.tasks.TaskRunner.submit`.

        Args:
            callback_id: whose.
            recorded: as it was recorded, for a runner that works on it in this process.
        """
        ...

    def validate_c2b(self, raw_payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Run the receivers of ``c2b_validation_received``; a rejection, or None to accept. It may block and raise."""
        ...


@attrs.frozen
class _Judged:
    """What is to be recorded, and why it is refused, where it is."""

    draft: CallbackDraft
    refusal: int | None = None


class Webhooks:
    """Receives callbacks for a host; one for each process will do, and threads share it.

    Args:
        host: settings, repository, clock, ids and the task runner.
        pause: what waits between attempts to record in a busy store.

    Raises:
        TypeError: the host's repository is asynchronous: nothing would be recorded before it was acknowledged.
    """

    def __init__(self, host: Host, *, pause: Callable[[float], object] = time.sleep) -> None:
        if inspect.iscoroutinefunction(host.repository.add_callback):
            raise TypeError("host.repository: got an asynchronous one, expected a synchronous Repository")
        self._host = host
        self._pause = pause
        settings = host.settings
        self._sources = Sources(settings.callback_ip_allowlist, settings.trusted_proxies)
        self._refusals = RefusalBudget(settings.refused_per_minute)
        self._spool = Spool(settings.spool_dir) if settings.spool_dir is not None else None
        self._validator = Validator(
            host.validate_c2b, deadline=settings.c2b_validation_deadline, default=settings.c2b_validation_default
        )

    def receive(self, request: WebhookRequest) -> WebhookResponse:
        """Record the callback and answer it. It never raises.

        =======  ==================================================================================================
        status   when
        =======  ==================================================================================================
        200      recorded (or spooled) and acknowledged; for a C2B validation, with the decision
        400      the connection ended before the announced length, and what came is no JSON; kept as refused
        403      the source is not in the allowlist; kept as refused
        404      no such path (not kept: there is no type to keep it under); or no valid token, kept as refused
        405      not a POST
        413      larger than ``max_body_bytes``; kept as refused, without its body
        500      a defect in the SDK or the host; nothing was acknowledged
        503      it could be made durable nowhere; or ``callback_secret`` could not be read (kept as refused)
        =======  ==================================================================================================
        """
        try:
            return self._receive(request)
        except Exception as error:  # noqa: BLE001 - nothing inbound may raise out of the webhook, a defect of ours included
            _log.critical("A callback could not be received: %s", outline(error))
            return _response(500, b'{"error":"not received"}')

    async def areceive(self, request: WebhookRequest) -> WebhookResponse:
        """The same for an event loop: the work runs in a thread, so the request's body has to be bytes.

        Raises:
            TypeError: the body is something to read from.
        """
        if not isinstance(request.body, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"body: got {type(request.body).__name__}, expected bytes; read it first, up to max_body_bytes + 1"
            )
        return await asyncio.to_thread(self.receive, request)

    def _receive(self, request: WebhookRequest) -> WebhookResponse:
        match = match_path(request.path)
        if match is None:
            return _response(404, b'{"error":"not found"}')
        if request.method.upper() != "POST":
            return _response(405, b'{"error":"POST only"}', ("Allow", "POST"))
        callback_type = match.route.callback_type
        judged = self._judge(request, callback_type, match.token)
        if judged.refusal is not None:
            return self._refuse(judged.draft, judged.refusal)
        draft = judged.draft
        if self._record(draft):
            decision: Mapping[str, str] | None = None
            if callback_type is CallbackType.C2B_VALIDATION:
                decision = self._validator.decide(draft.raw_body, draft.id)
            body = acknowledgement(callback_type) if decision is None else codec.dumps(dict(decision))
            return _response(200, body, after=self._submit(draft), callback_id=str(draft.id))
        if self._put_in_spool(draft):
            body = acknowledgement(callback_type)
            if callback_type is CallbackType.C2B_VALIDATION:
                body = codec.dumps(dict(self._validator.decide(draft.raw_body, draft.id)))
            return _response(200, body, callback_id=str(draft.id))
        return _response(503, b'{"error":"try again"}', ("Retry-After", "60"))

    def _judge(self, request: WebhookRequest, callback_type: CallbackType, token: str | None) -> _Judged:
        settings = self._host.settings
        now = self._host.clock()
        source = self._sources.find(request.peer, request.header_lines("x-forwarded-for"))
        callback_id = self._host.new_id()
        make = partial(
            CallbackDraft,
            id=callback_id,
            callback_type=callback_type,
            headers=_kept_headers(request),
            source_ip=source.address,
            token=token,
            received_at=now,
            next_attempt_at=now,
        )
        limit = settings.max_body_bytes
        announced = request.announced_length
        if announced is not None and announced > limit:
            error = f"{announced} bytes were announced, {limit} are allowed; the body was not read"
            return _refused(make(raw_bytes=b""), 413, error)
        body = read_body(request, limit)
        if len(body.content) > limit:
            error = f"more than the {limit} bytes that are allowed came; the body was not kept"
            return _refused(make(raw_bytes=b""), 413, error)
        raw_body, correlation_id = read_out(callback_id, callback_type, body.content)
        draft = make(raw_bytes=body.content, raw_body=raw_body, correlation_id=correlation_id)
        if settings.verify_callback_source_ip and not source.allowed:
            why = "could not be read" if source.address is None else "is not in callback_ip_allowlist"
            return _refused(draft, 403, f"the source address {why}")
        refused = self._check_token(draft)
        if refused is not None:
            return refused
        if not body.complete and draft.raw_body is None:
            return _refused(
                draft, 400, f"the connection ended after {len(body.content)} bytes, before the end of the body"
            )
        return _Judged(draft)

    def _check_token(self, draft: CallbackDraft) -> _Judged | None:
        secret = self._host.settings.callback_secret
        if secret is None:
            return None
        try:
            revealed = secret.reveal()
        except Exception as error:  # noqa: BLE001 - the host's callable (a vault, say) may raise anything
            _log.critical("callback_secret could not be read: %s", outline(error))
            return _refused(draft, 503, "callback_secret could not be read, so the URL's token was not checked")
        if draft.token is not None and token_is_signed(revealed, draft.token):
            return None
        why = "has no token" if draft.token is None else "has a token that is not ours"
        # A token that was refused is not one that a transaction may be found by.
        return _refused(attrs.evolve(draft, token=None), 404, f"the URL {why}")

    def _refuse(self, draft: CallbackDraft, status: int) -> WebhookResponse:
        _log.warning(
            "Refused a callback (%d, %s, from %s): %s.",
            status,
            draft.callback_type,
            draft.source_ip or "?",
            draft.error,
        )
        # Not to the spool: it is for what was acknowledged, and strangers could fill its disk.
        kept = self._refusals.spend(draft.received_at) and self._record(draft)
        body = codec.dumps({"error": _REFUSALS[status]})
        return _response(status, body, callback_id=str(draft.id) if kept else None)

    def _record(self, draft: CallbackDraft) -> bool:
        """Whether the repository has it for good. A busy store is asked again, a few times."""
        attempt = draft
        for pause in (*_PAUSES, None):
            try:
                self._host.repository.add_callback(attempt)
            except StorageBusy as error:
                if pause is None:
                    _log.error("Callback %s could not be recorded: %s", draft.id, outline(error))
                    return False
                self._pause(pause)
            except Exception as error:  # noqa: BLE001 - a repository's driver may raise anything; the callback has to survive
                _log.error("Callback %s could not be recorded: %s", draft.id, outline(error))
                if attempt is not draft:
                    return False
                # What was read out of the body may be what the store cannot take; the bytes it has to take.
                attempt = without_reading(draft)
            else:
                return True
        return False

    def _put_in_spool(self, draft: CallbackDraft) -> bool:
        if self._spool is None:
            return False
        try:
            self._spool.put(draft)
        except Exception as error:  # noqa: BLE001 - a full disk, a missing right: the answer is 503 in every case
            _log.critical("Callback %s could not be spooled and was not acknowledged: %s", draft.id, outline(error))
            return False
        _log.warning("Callback %s waits in the spool.", draft.id)
        return True

    def _submit(self, draft: CallbackDraft) -> Callable[[], None] | None:
        try:
            return self._host.submit(draft.id, draft)
        except Exception as error:  # noqa: BLE001 - a broker may be down; the log is the queue of record
            _log.warning("Callback %s could not be handed over and is left to the sweep: %s", draft.id, outline(error))
            return None


def _refused(draft: CallbackDraft, status: int, error: str) -> _Judged:
    closed = attrs.evolve(
        draft, next_attempt_at=None, processed=True, disposition=Disposition.REFUSED, error=f"HTTP {status}: {error}"
    )
    return _Judged(closed, status)


_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def _kept_headers(request: WebhookRequest) -> dict[str, str]:
    """The headers by name, repeated ones joined as HTTP has it.

    M-PESA authenticates with no header, so a value in one of those belongs to somebody else (a proxy, a person's
    browser) and is not kept. Characters that stores refuse are written as escapes.
    """
    kept: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in request.headers:
        lower = name.lower()
        first = names.setdefault(lower, _storable(name))
        text = "…" if lower in _SECRET_HEADERS else _storable(value)
        kept[first] = f"{kept[first]}, {text}" if first in kept else text
    return kept


def _storable(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _UNSTORABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _response(
    status: int,
    body: bytes,
    *headers: tuple[str, str],
    after: Callable[[], None] | None = None,
    callback_id: str | None = None,
) -> WebhookResponse:
    fixed = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return WebhookResponse(status=status, headers=(*fixed, *headers), body=body, after=after, callback_id=callback_id)
