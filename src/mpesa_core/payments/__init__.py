"""What a transaction is, where it may go, and what evidence makes of it. Pure: no I/O, clock or randomness."""
