"""The figures on a page of the documentation, and what follows from them by arithmetic."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import besides, cells

if TYPE_CHECKING:
    from benchmarks.harness import Outcome

__all__ = ["put_on_page"]

_STORES = ("SQLite, FULL", "SQLite, NORMAL", "PostgreSQL, SQLAlchemy", "PostgreSQL, Django")


def put_on_page(page: Path, outcomes: Sequence[Outcome], rounds: int) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``, for ``figures`` and ``expected``.

    Raises:
        ValueError: the page has no such lines.
    """
    text = page.read_text()
    for name, lines in (("figures", _figures(outcomes, rounds)), ("expected", _expected(outcomes))):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, found_too, after = rest.partition(end)
        if not found or not found_too:
            raise ValueError(f"{page} has no lines {begin.strip()} and {end}")
        text = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after
    page.write_text(text)


def _row(*columns: str) -> str:
    return "| " + " | ".join(columns) + " |"


def _figures(outcomes: Sequence[Outcome], rounds: int) -> list[str]:
    load = f", load {os.getloadavg()[2]:.1f} in the last quarter of an hour" if hasattr(os, "getloadavg") else ""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.platform()}{load}"
    columns = ("benchmark", "floor", "ours", "ratio", "spread", "besides", "asked", "reached")
    lines = [f"{machine}; medians of {rounds} rounds.", "", _row(*columns), "| --- " * len(columns) + "|"]
    for each in outcomes:
        reached = ("yes" if each.reached else "**no**") if each.reach else "-"
        lines.append(_row(*cells(each), besides(each), each.reach, reached))
    return lines


def _expected(outcomes: Sequence[Outcome]) -> list[str]:
    seconds = {each.name: each.ours for each in outcomes}
    lines = [
        _row("payments settled in a second", "1 process", "8 processes here", "10, a core each", "100, a core each"),
        "| --- " * 5 + "|",
    ]
    for store in _STORES:
        alone, together = (seconds.get(f"settle on {store}, {number} at once") for number in (1, 8))
        if alone and together:
            grows = not store.startswith("SQLite")  # which has one writer at a time
            more = [f"{number / alone:,.0f} (extrapolated)" if grows else "as 8: one writer" for number in (10, 100)]
            lines.append(_row(store, f"{1 / alone:,.0f}", f"{1 / together:,.0f}", *more))
    return lines
