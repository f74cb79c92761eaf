"""Parts for testing code built on tidings: a clock and a loop that move by hand, and a whole hub in memory.

Nothing here opens a socket, starts a thread or reads the machine's clock.
"""
