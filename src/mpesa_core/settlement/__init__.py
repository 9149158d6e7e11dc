"""Settlement: what is done with a callback, from the log to the signal, and with what was left open or never came.

Every procedure is a generator that yields effects (a repository operation, a call to Daraja, a signal to deliver) and
gets their
results: :mod:`~mpesa_core.settlement.drivers` runs them, synchronously or asynchronously, and a test can run them
    under a
scheduler that interleaves and crashes them at every step.
"""
