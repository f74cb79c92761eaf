"""Writing to a stdout that is no screen: a line at a time, and an end when nobody reads it any more."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable

from msgspec import structs

from tidings.client.events import Gap, Item, Live, ReceivedEvent
from tidings.protocol import messages
from tidings.protocol.envelope import Event, encode_event_v1, encode_message
from tidings.protocol.message_types import EventClass


class StdoutPipe:
    """Standard output, written through at once.

    A write that waits for its reader makes the watch a slow reader of the hub, which then conflates for it.
    """

    def __init__(self) -> None:
        # A write that waits must end at the first Ctrl-C, and there is nothing to be tidied up.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._file = sys.stdout.fileno()

    def write(self, lines: Iterable[bytes]) -> None:
        """Write lines.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        rest = memoryview(b"".join(line + b"\n" for line in lines))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def on_reader_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback`, in a thread of its own, when the reader has gone; `| head -1` must not wait for a line."""
        if not hasattr(select, "poll"):
            return  # Windows tells by the next write
        threading.Thread(target=self._await_end, args=(callback,), name="tidings-reader", daemon=True).start()

    def _await_end(self, callback: Callable[[], None]) -> None:
        waiting = select.poll()
        waiting.register(self._file, 0)
        while not any(events & (select.POLLERR | select.POLLHUP) for _, events in waiting.poll()):
            continue
        callback()


def v1_envelope(item: Item, *, timestamp: str, trace_id: str) -> bytes:
    """Return what a `tidings.v1` connection reads for `item`.

    Args:
        item: An event, or a notice.
        timestamp: For a notice, which has none of its own.
        trace_id: Likewise.
    """
    if isinstance(item, ReceivedEvent):
        event = Event(
            item.type,
            item.timestamp,
            item.trace_id,
            item.data,
            item.channel,
            item.key,
            EventClass.DURABLE,
            item.event_id,
        )
        return encode_event_v1(event, item.position)
    if isinstance(item, Gap):
        notice = messages.Gap(**structs.asdict(item))
        return messages.encode_hub_message(notice, timestamp=timestamp, trace_id=trace_id)
    assert isinstance(item, Live)
    data = {"position": item.position, "outcome": item.outcome}
    return encode_message(messages.LIVE, data, timestamp=timestamp, trace_id=trace_id, position=item.position)
