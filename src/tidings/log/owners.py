"""Owners of stored events: the subjects that published them, for limits that no subject can use up for the others."""

from typing import Final

SEPARATOR: Final = "\x1f"
"""Stands between a subject and the id of its producer in a scope: the unit separator is in neither."""


def owner_of(scope: str) -> str:
    """Return the subject in the scope of an event; "" for events that were published without authentication."""
    return scope.partition(SEPARATOR)[0] if SEPARATOR in scope else ""
