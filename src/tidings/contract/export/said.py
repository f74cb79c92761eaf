"""What the hub says besides events: replies to commands, and pushes (CONTRACT §5)."""

from collections.abc import Mapping

import msgspec

from tidings.contract import commands
from tidings.contract.payloads import ErrorData

SAID: Mapping[str, type[msgspec.Struct]] = {
    "channel:subscribed": commands.Subscribed,
    "channel:unsubscribed": commands.Unsubscribed,
    "channel:live": commands.Live,
    "channel:gap": commands.Gap,
    "connection:error": ErrorData,
    "connection:notice": commands.Notice,
    "connection:pong": commands.Pong,
    "connection:position": commands.PositionNotice,
    "event:accepted": commands.Accepted,
    "operation:cancel_outcome": commands.CancelOutcome,
    "producer:attached": commands.Attached,
}
"""By type: what each holds. Events that go to one connection alone are in the catalogue."""
