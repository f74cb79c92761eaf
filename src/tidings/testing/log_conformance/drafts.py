"""Drafts as a hub would stage them: each type with its channel, class and effect, one second after the other."""

from tidings.contract.event_types import BUILTIN
from tidings.log.base import Draft
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.timestamps import from_nanoseconds

NS = 1_000_000_000
_TYPES = {str(event.type): event for event in BUILTIN if event.channel is not None}
_START_NS = 1_767_225_600 * NS


class DraftMaker:
    """Makes drafts, no two alike, on a clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = _START_NS
        """The hub's wall clock, nanoseconds since 1970."""
        self._made = 0

    def advance(self, seconds: float) -> int:
        """Let time pass; return the new time."""
        self.now_ns += int(seconds * NS)
        return self.now_ns

    def __call__(
        self,
        type: str,
        key: str | None = None,
        *,
        channel: str | None = None,
        trace_id: str = "0123456789abcdef0123456789abcdef",
        event_id: str | None = None,
        scope: str = "",
        effect: SlotEffect | None = None,
        data: bytes | None = None,
    ) -> Draft:
        """Return a new draft of `type`; what is not said is as the catalogue has it."""
        row = _TYPES[type]
        self._made += 1
        event = Event(
            type=type,
            timestamp=from_nanoseconds(self.now_ns),
            trace_id=trace_id,
            data=b'{"n":%d}' % self._made if data is None else data,
            channel=channel or str(row.channel),
            key=key,
            event_class=row.event_class,
            event_id=event_id,
            effect=effect if effect is not None else SlotEffect.END if row.ends_key else SlotEffect.REPLACE,
        )
        return Draft(event=event, received_ns=self.now_ns, scope=scope)
