"""M-PESA for Django: the adapter of mpesa_core.

It holds what only Django needs and nothing that decides what a payment means: abstract models that a host subclasses
(:mod:`mpesa_django.models`; :mod:`mpesa_django.default_models` is for those who want none of their own), the repository
on the ORM, the ``MPESA`` settings, callback views and URLs, ``django.dispatch`` signals, system checks and management
commands, and the front door::

    from mpesa_django import mpesa

    mpesa.stk_push(phone_number="0712345678", amount=100, account_reference="INV-1", order=order)

In a coroutine, ``await ampesa.stk_push(...)`` is the same. Importing the package needs no settings; the first use of
``mpesa`` or ``ampesa`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpesa_django.front import ampesa, mpesa

__all__ = ["ampesa", "mpesa"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mpesa_django import front  # noqa: PLC0415 - the package can be imported where Django is absent

    return getattr(front, name)
