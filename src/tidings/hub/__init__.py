"""The hub: staging, delivery, lanes, cursors, and the rules of a connection."""
