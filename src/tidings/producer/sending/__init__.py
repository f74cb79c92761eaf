"""On the way to the hub: what waits, what is held, and the thread that sends it."""
