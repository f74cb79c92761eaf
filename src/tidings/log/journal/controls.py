"""Controls: the records in a journal that are about the hubs themselves, and not events.

Their tags and the order of their fields are stored: never change one, and add fields at the end, with a default.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tidings.log.revocations import RevocationKind

MAX_NAME_BYTES = 64
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_BYTES)]


class Begin(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """The first control of a session: a node that takes part from now on. Ends an earlier session of the same node."""

    node: Name
    """The node's own name, which no other one uses: a worker's folder, or a host and a folder."""
    after: Number
    """The sequence up to which the node had folded the journal when it began."""
    rules: Number
    """The newest rules by which the node can fold; see `tidings.log.journal.entries.RULES`."""
    version: Name
    """The node's version of tidings, for people."""


class Heartbeat(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """A sign of life, and how far its node has folded the journal."""

    seq: Number
    """The newest entry that the node had folded."""
    crc: Number
    """CRC-32 of all outcomes up to it: two nodes that differ have folded the same entries in different ways."""


class NodeGone(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """The end of a session, which the lead declares after silence.

    It counts only if the session's newest entry is still the one with `number`: a node that was only slow stays.
    """

    session: Name
    number: Number


class NewEpoch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """The name of the epoch in which events are appended from now on. The first of several proposals counts."""

    name: Name
    instead_of: Annotated[str, Meta(max_length=MAX_NAME_BYTES)]
    """The epoch that it follows; empty for the first one."""


class Forget(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """The time by which all nodes apply their retention now: what they forget is then the same."""

    now_ns: Number
    ids_until: Number = 0
    """Offset up to which event ids are forgotten."""


class Revoke(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """A revocation; see `tidings.log.revocations.Revocation`."""

    kind: RevocationKind
    name: str
    issued_before_ns: int
    kept_until_ns: int | None


class ClockJump(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """A jump of the wall clock: every event so far counts as received so much later, in nanoseconds."""

    jump_ns: int


Control = Begin | Heartbeat | NodeGone | NewEpoch | Forget | Revoke | ClockJump
"""Every control."""
