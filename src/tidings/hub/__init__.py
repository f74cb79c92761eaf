"""The hub: staging, delivery, lanes, catching up, operations, and the rules of a connection."""
