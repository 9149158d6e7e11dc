"""What is claimed about speed, runnable: ``nox -s bench``, or ``python -m benchmarks`` with the names of some.

Each benchmark compares the SDK with a floor that is written against the bare driver in the same file. Both take turns
in one run on one machine, and after each turn the invariant is checked (each payment settled once, each body kept): a
figure whose invariant does not hold is no figure.
"""
