"""Controls: the records of a log that are not events: about the nodes of a journal, and about what hubs share.

Their tags and the order of their fields are stored: never change one, and add fields at the end, with a default.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tidings.log.revocations import RevocationKind

MAX_NAME_BYTES = 64
MAX_NOTE_BYTES = 64 << 10
"""Maximum size of the body of a note."""
MAX_KEY_BYTES = 16 << 10
"""Maximum size of the line of an API key: its grants make it long."""
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_BYTES)]
Seconds = Annotated[float, Meta(ge=0)]


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
    drains: bool = False
    """Whether its hub drains, and so does not lead any more."""


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


class HeldClaim(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An operation that a producer claims to hold when it attaches."""

    operation_id: str
    attempt: Number | None
    """The producer's attempt; None means the current one."""
    lease_s: Seconds
    """The lease that the operation has from then on, in seconds."""


class ProducerAttached(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """A producer attached on a connection of the hub that records it."""

    producer_id: str
    connection: Number
    """The connection, by a number that the hub gives to no other one."""
    lease_s: Seconds
    """Default lease of its operations, in seconds."""
    claims: list[HeldClaim]
    takes_over: bool = True
    """Whether it takes the place of another connection of the producer; if not, that one stays."""


class ProducerDetached(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=9):
    """The end of a connection on which a producer attached, on the hub that records it."""

    producer_id: str
    connection: Number


class ProducerSeen(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """A sign of life of a producer without a connection."""

    producer_id: str
    lease_s: Seconds
    """Default lease of its operations, in seconds."""
    age_s: Seconds
    """Time between the sign of life and this control, in seconds."""


class CancelRequested(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=11):
    """The end of one attempt is requested; the first of several requests counts, and the others join it."""

    operation_id: str
    attempt: Number
    push_id: str
    """Id of the request, and of the push to the holder of the operation."""
    requested_ns: Number
    """Time of the request, nanoseconds since 1970."""
    reason: str | None
    cancelled_by: str | None
    parent_id: str = ""
    """The operation that it is cancelled with; empty for one that was named."""
    is_due: bool = True
    """Whether the holder is asked now; False while the descendants come first."""


class CancelAnswered(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=12):
    """The answer of a holder to the push of a request."""

    operation_id: str
    push_id: str
    verdict: Literal["stopping", "refused"]
    reason: str | None


class HubNote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=13):
    """A note of a hub to the others, of which the log folds nothing."""

    about: Name
    body: Annotated[bytes, Meta(max_length=MAX_NOTE_BYTES)]


class Seed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=14):
    """States, in the first entry of a journal, that its log begins with that of a folder; it counts nowhere else.

    The session of that entry is a random name, which the folder keeps until its log has the state of the entry.
    """

    node: Name
    """The node that has the folder."""


class KeyShared(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=15):
    """An API key in the key file of one node, which all nodes accept; the newest line of a key counts.

    From rules 2 on.
    """

    id: Name
    """The public id of the key."""
    node: Name
    """The node whose file has it; see `Begin.node`."""
    line: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    """The key as the file describes it, with a hash instead of the secret; see `tidings.access.keys.ApiKey`."""


class KeyRemoved(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=16):
    """The file of a node has a key no longer. It counts only if the newest line of the key is from this node.

    From rules 2 on.
    """

    id: Name
    node: Name
    """The node whose file had it."""


KeyControl = KeyShared | KeyRemoved
"""Controls that are about API keys."""
HubControl = (
    ProducerAttached | ProducerDetached | ProducerSeen | CancelRequested | CancelAnswered | HubNote | KeyControl
)
"""Controls that a hub records for all hubs of its log; see `tidings.log.base.Log.record`."""
Control = Begin | Heartbeat | NodeGone | NewEpoch | Forget | Revoke | ClockJump | Seed | HubControl
"""Every control."""
