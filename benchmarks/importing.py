"""``import mpesa_core`` in a fresh interpreter, against importing what it stands on."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require

_TIMED = "import time; s = time.perf_counter(); {}; e = time.perf_counter() - s; import sys; print(e); {}"
_LAZY = "print([name for name in ('httpx', 'cryptography', 'sqlalchemy', 'django', 'flask') if name in sys.modules])"


def _fresh(program: str) -> list[str]:
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return found.stdout.splitlines()


@attrs.define
class _Fresh:
    """Imports in interpreters of their own; what counts is the time that the import takes inside."""

    program: str
    count: int
    _loaded: list[str] = attrs.field(factory=list)

    def ready(self) -> None:
        """Nothing."""
        self._loaded.clear()

    def work(self) -> Turn:
        """Import."""
        printed = [_fresh(self.program) for _ in range(self.count)]
        self._loaded = [each[1] for each in printed]
        return Turn(1, statistics.median(float(each[0]) for each in printed))

    def check(self) -> None:
        """Nothing came in that nothing uses."""
        for each in self._loaded:
            require(each == "[]", f"loaded although nothing uses it: {each}")


def _add(name: str, ours: str, reach: Reach) -> None:
    @benchmark(f"import: {name}", reach)
    @contextmanager
    def _sides(scale: Scale) -> Iterator[tuple[_Fresh, _Fresh]]:
        count = scale.many(10, 2)
        floor = _TIMED.format("import attrs, cattrs, blinker", _LAZY)
        yield _Fresh(floor, count), _Fresh(_TIMED.format(ours, _LAZY), count)


_add("the package", "import mpesa_core", Reach(time=1.10))
_add("a program's names of it", "from mpesa_core import Gateway, Settings, SqliteRepository, Webhooks", Reach())

alone(__name__)
