"""Settings, accounts and environments.

:class:`Settings` is one frozen class, checked as a whole: every problem and every unknown key is reported at once. The
names are the same everywhere: lower case here, upper case in Django's ``MPESA`` dict, ``MPESA_*`` in the environment.

A setting is declared once, with its kind (:mod:`~mpesa_core.settings.kinds`): what it may be, and how it is read
from text.
"""

from mpesa_core.settings.account import Account
from mpesa_core.settings.schema import SAFARICOM_GATEWAYS, Environment, Settings
from mpesa_core.settings.secret import Secret

__all__ = ["SAFARICOM_GATEWAYS", "Account", "Environment", "Secret", "Settings"]
