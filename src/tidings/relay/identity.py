"""Event ids for events that came without: the same event, read again, has the same."""

import hashlib

_PREFIX = "relay-"
_DIGEST_BYTES = 20
"""Of 160 bits, no two events share one by chance; with the prefix an id is 46 characters of the 64 allowed."""


def event_id_of(type: str, timestamp: str, trace_id: str, channel: str, data: bytes) -> str:
    """Return the event id of an event, derived from everything that it says.

    Two events that say the same, down to the timestamp, are one: for a service that writes nanoseconds, as Go does,
    these are the same event sent twice.

    Args:
        type: As it was written.
        timestamp: Likewise; it must be there: without it, an event that happens twice looks like one sent twice.
        trace_id: "" where there is none.
        channel: "" where there is none.
        data: The raw JSON.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (type.encode(), timestamp.encode(), trace_id.encode(), channel.encode(), data):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return _PREFIX + digest.hexdigest()
