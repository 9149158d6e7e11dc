"""For the tests of those who build on the core: the contract that every repository keeps, as pytest classes.

Raises:
    ImportError: pytest is not installed.
"""

from __future__ import annotations

try:
    import pytest
except ImportError as error:
    raise ImportError("mpesa_core.testing needs pytest: install mpesa-core[testing].") from error

# Before they are imported: so that a failing assertion in them shows its values.
pytest.register_assert_rewrite("mpesa_core.testing.contract", "mpesa_core.testing.dues")

from mpesa_core.testing.contract import RepositoryContract  # noqa: E402 - see above

__all__ = ["RepositoryContract"]
