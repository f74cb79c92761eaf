"""Writes lines to a stdout that is not a terminal, and notices when its reader exits."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable

from msgspec import structs

from tidings.client.events import Gap, Item, LicenseEnded, PathsRemoved, ReceivedEvent
from tidings.protocol import messages
from tidings.protocol.envelope import Event, encode_event_v1, encode_message
from tidings.protocol.message_types import EventClass, MessageType


class StdoutPipe:
    """Unbuffered standard output.

    While a write waits for its reader, the watch is a slow reader of the hub, which then conflates for it.
    """

    def __init__(self) -> None:
        # A waiting write must end at the first Ctrl-C, and nothing needs to be cleaned up.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._file = sys.stdout.fileno()

    def write(self, lines: Iterable[bytes]) -> None:
        """Write lines.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        rest = memoryview(b"".join(line + b"\n" for line in lines))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def on_reader_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` in another thread when the reader has exited; `| head -1` must not wait for another line."""
        if not hasattr(select, "poll"):
            return  # on Windows the next write fails
        threading.Thread(target=self._await_end, args=(callback,), name="tidings-reader", daemon=True).start()

    def _await_end(self, callback: Callable[[], None]) -> None:
        waiting = select.poll()
        waiting.register(self._file, 0)
        while not any(events & (select.POLLERR | select.POLLHUP) for _, events in waiting.poll()):
            continue
        callback()


def v1_envelope(item: Item, *, timestamp: str, trace_id: str) -> bytes:
    """Return the bytes that a `tidings.v1` connection receives for `item`.

    Args:
        item: An event or a notice.
        timestamp: Time of a notice, which has none of its own.
        trace_id: Trace id of a notice, which has none of its own.
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
    if isinstance(item, PathsRemoved):
        left = messages.Unsubscribed(channels=list(item.remaining))
        return messages.encode_hub_message(left, timestamp=timestamp, trace_id=trace_id)
    if isinstance(item, LicenseEnded):
        return encode_message(MessageType.LICENSE_EXPIRED, item.data, timestamp=timestamp, trace_id=trace_id)
    data = {"position": item.position, "outcome": item.outcome}
    return encode_message(messages.LIVE, data, timestamp=timestamp, trace_id=trace_id, position=item.position)
