"""The way in: a callback's HTTP request is recorded, acknowledged and handed on, without a framework.

A web adapter turns its framework's request into a :class:`WebhookRequest`, sends back the :class:`WebhookResponse` that
:meth:`Webhooks.receive` makes of it, and then runs the response's ``after``, where there is one.
"""

from mpesa_core.webhooks.exchange import WebhookRequest, WebhookResponse
from mpesa_core.webhooks.receive import Host, Webhooks

__all__ = ["Host", "WebhookRequest", "WebhookResponse", "Webhooks"]
