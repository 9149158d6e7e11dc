"""How many trials a test makes, and from which seed: fixed by default, more or others on request.

``MPESA_TRIALS=10`` makes ten times as many trials wherever a test says ``scaled(...)``; ``MPESA_SEED=7`` runs them from
another seed, and Hypothesis too. Both are taken out of the environment here: the commands that tests start would refuse
them as unknown settings.
"""

from __future__ import annotations

import os
import random
import secrets

__all__ = ["FRESH", "SEED", "fresh_seed", "rng", "scaled"]

FACTOR = float(os.environ.pop("MPESA_TRIALS", "1"))
_given = os.environ.pop("MPESA_SEED", "")
FRESH = _given == "fresh"
SEED = secrets.randbelow(2**31) if FRESH else int(_given or 20_260_901)
CHOSEN = bool(_given)


def scaled(trials: int) -> int:
    """That many trials, times ``MPESA_TRIALS``, but at least one."""
    return max(1, round(trials * FACTOR))


def rng(*of: object) -> random.Random:
    """A generator of its own for a test: the same in each run of one seed."""
    return random.Random(":".join(map(str, (SEED, *of))))


def fresh_seed() -> int:
    """A seed that was never tried; print it where a trial fails, so that the trial can be run again."""
    return secrets.randbelow(2**31)
