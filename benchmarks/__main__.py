"""``python -m benchmarks [--quick] [--json FILE] [--page FILE] [NAME ...]``: the benchmarks of those names, or all."""

from __future__ import annotations

import importlib
import sys

from benchmarks.harness import SUBJECTS, main

MODULES = (
    "decode",
    "importing",
    "calling",
    "validating",
    "settle_sqlite",
    "settle_postgres",
    "draining",
    "storming",
    "acknowledging",
    "sweeping",
    "remembering",
)
"""Those with rows, in the order of the table."""

if __name__ == "__main__":
    for name in MODULES:
        importlib.import_module(f"benchmarks.{name}")
    sys.exit(main(SUBJECTS))
