"""``python -m benchmarks [--quick] [--json FILE] [NAME ...]``: the benchmarks of those names, or all."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.harness import SUBJECTS, main

if __name__ == "__main__":
    names = sorted(each.name for each in pkgutil.iter_modules(benchmarks.__path__))
    for name in names:
        importlib.import_module(f"benchmarks.{name}")
    sys.exit(main(SUBJECTS))
