"""The URL paths of the callbacks: which callback type each one is, and the absolute URLs that M-PESA is given.

The same paths are served below the prefix that the host chooses, in every framework. Each may be followed by a token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import attrs

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import ConfigurationError, InvalidField
from mpesa_core.values import callback_url

if TYPE_CHECKING:
    from mpesa_core.settings import Settings

__all__ = ["ROUTES", "Match", "Route", "callback_urls", "match_path"]


@attrs.frozen
class Route:
    """One path.

    Attributes:
        path: below the host's prefix, with a slash at its end and none at its beginning.
        callback_type: what comes in there.
        setting: the name of the setting that holds this product's own URL.
    """

    path: str
    callback_type: CallbackType
    setting: str


ROUTES = (
    Route("stk/callback/", CallbackType.STK, "stk_callback_url"),
    Route("c2b/validate/", CallbackType.C2B_VALIDATION, "c2b_validation_url"),
    Route("c2b/confirm/", CallbackType.C2B_CONFIRMATION, "c2b_confirmation_url"),
    Route("b2c/result/", CallbackType.B2C_RESULT, "b2c_result_url"),
    Route("b2c/timeout/", CallbackType.B2C_TIMEOUT, "b2c_timeout_url"),
    Route("reversal/result/", CallbackType.REVERSAL_RESULT, "reversal_result_url"),
    Route("reversal/timeout/", CallbackType.REVERSAL_TIMEOUT, "reversal_timeout_url"),
    Route("balance/result/", CallbackType.BALANCE_RESULT, "balance_result_url"),
    Route("balance/timeout/", CallbackType.BALANCE_TIMEOUT, "balance_timeout_url"),
    Route("status/result/", CallbackType.STATUS_RESULT, "status_result_url"),
    Route("status/timeout/", CallbackType.STATUS_TIMEOUT, "status_timeout_url"),
    Route("b2b/result/", CallbackType.B2B_RESULT, "b2b_result_url"),
    Route("b2b/timeout/", CallbackType.B2B_TIMEOUT, "b2b_timeout_url"),
    Route("b2b/express/", CallbackType.B2B_EXPRESS, "b2b_express_url"),
    Route("bills/payment/", CallbackType.BILL_PAYMENT, "bill_payment_url"),
    Route("ratiba/callback/", CallbackType.STANDING_ORDER, "standing_order_url"),
)
"""Every path that is served. ``STK_QUERY`` and ``PULL`` have none: they are answers that the SDK records itself."""

_BY_PATH = {route.path.rstrip("/"): route for route in ROUTES}
_BY_TYPE = {route.callback_type: route for route in ROUTES}
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{1,128}", re.ASCII)


@attrs.frozen
class Match:
    """What a path leads to.

    Attributes:
        route: the route.
        token: the last part, where there is one beyond the route's own path.
    """

    route: Route
    token: str | None = attrs.field(default=None, repr=False)


def match_path(path: str) -> Match | None:
    """The route of a path below the prefix, or None where nothing is served.

    Args:
        path: with or without a slash at its beginning and its end; ``stk/callback``, ``/stk/callback/1f0c…/``.
    """
    first, _, rest = path.removeprefix("/").removesuffix("/").partition("/")
    second, slash, token = rest.partition("/")
    route = _BY_PATH.get(f"{first}/{second}")
    if route is None or (slash and not _TOKEN.fullmatch(token)):
        return None
    return Match(route, token or None)


def callback_urls(settings: Settings, callback_type: CallbackType, token: str | None = None) -> str:
    """The absolute URL that M-PESA is given for one callback type.

    It is the product's own URL from the settings, else the path below ``callback_base_url``; a token becomes the last
    part of its path, before any question mark.

    Raises:
        ConfigurationError: neither URL is set.
        InvalidField: the callback type has no URL, or Daraja would refuse the URL with this token in it.
    """
    route = _BY_TYPE.get(callback_type)
    if route is None:
        raise InvalidField("callback_type", str(callback_type), expected="a type that M-PESA posts to us")
    own: str | None = getattr(settings, route.setting)
    if own is None:
        if settings.callback_base_url is None:
            problem = (
                f"callback_base_url: not set, and neither is {route.setting}; "
                "set one to where the callbacks are served, such as https://shop.example/pay/"
            )
            raise ConfigurationError([problem])
        parts = urlsplit(settings.callback_base_url)
        parts = parts._replace(path=parts.path.rstrip("/") + "/" + route.path)
    else:
        parts = urlsplit(own)
    if token:
        end = "/" if parts.path.endswith("/") else ""
        parts = parts._replace(path=parts.path.rstrip("/") + "/" + token + end)
    return callback_url(urlunsplit(parts), route.setting, production=settings.is_production)
