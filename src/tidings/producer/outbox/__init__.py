"""The outbox: its events and claims, and the thread that sends them to the hub."""
