"""The permissions that the user of the hubs needs at a NATS server, and the one that a server refused."""

import re

from tidings.log.journal.jetstream_stream import JetStreamAddress

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)
SUBSCRIBE = ("_INBOX.>",)
"""Subjects that the hubs subscribe to: answers, and the entries of the journal."""


def list_publish_permissions(address: JetStreamAddress) -> list[str]:
    """Return the subjects that the hubs publish to, with wildcards; docs/cluster.md lists them."""
    stream, snapshots = address.stream, address.snapshot_stream
    api = [
        f"{call}.{name}"
        for call in ("STREAM.INFO", "STREAM.CREATE", "STREAM.PURGE", "STREAM.MSG.GET")
        for name in (stream, snapshots)
    ]
    consumers = [f"CONSUMER.{call}.{stream}.>" for call in ("CREATE", "DELETE")]
    return [
        address.subject,
        f"{stream}.snapshot.>",
        *(f"$JS.API.{call}" for call in (*api, *consumers)),
        f"$JS.FC.{stream}.>",
    ]


def find_denied(error: Exception, address: JetStreamAddress) -> str | None:
    """Return the permission that is missing, such as ``publish "hubs.journal"``; None if the error is another one."""
    found = _DENIED.search(str(error))
    if found is None:
        return None
    publishes, subject = found[1].lower() == "publish", found[2]
    for pattern in list_publish_permissions(address) if publishes else SUBSCRIBE:
        # The driver turns errors into lower case.
        if re.fullmatch(re.escape(pattern).replace(">", ".+"), subject, re.IGNORECASE):
            subject = pattern
    return f'{"publish" if publishes else "subscribe"} "{subject}"'
