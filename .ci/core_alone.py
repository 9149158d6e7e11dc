"""Checks that the core imports where none of the modules named is installed: ``python .ci/core_alone.py MODULE...``."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys

OPTIONAL = {"mpesa_core.cli", "mpesa_core.ext"}
"""What an extra is for. Everything else imports with the core's own dependencies (and pytest, for ``testing``)."""


def main(absent: list[str]) -> str | None:
    """What is wrong, or None."""
    if present := [name for name in absent if importlib.util.find_spec(name)]:
        return f"This environment is no test of the core alone: {present} are installed"
    package = importlib.import_module("mpesa_core")
    if heavy := {"httpx", "pytest", "logging.config"} & set(sys.modules):
        return f"import mpesa_core imports {sorted(heavy)}"
    for module in pkgutil.walk_packages(package.__path__, "mpesa_core."):
        if not any(module.name == name or module.name.startswith(f"{name}.") for name in OPTIONAL):
            importlib.import_module(module.name)
    for name in package.__all__:
        getattr(package, name)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
