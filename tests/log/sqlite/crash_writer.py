"""A process that forks writers of a log, to be killed one after the other: a fork takes a hundredth of a process start.

For each line on its standard input it forks a writer, prints `started PID`, and once that writer is dead, `dead`. A
writer prints `trying NUMBER EVENTS` before each batch (EVENTS are pairs of type and key, in JSON), and
`acked NUMBER FIRST EPOCH` when the batch is in the log.
"""

import json
import random
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.log.killed_writers import report, serve_writers

from tidings.exceptions import LogError
from tidings.log.base import Outcome, PublishResult, Retention
from tidings.log.sqlite import checkpointer, saved_index
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.message_types import SlotEffect
from tidings.testing.log_conformance.harness import EventFactory

RETENTION = Retention(
    events=400,
    superseded_events=50,
    superseded_age_s=0.02,
    finished_s=0.05,
    newest_age_s=0.5,
    newest_per_type=40,
    keep_newest={"operation:log": 10},
)
TYPES = ("operation:start", "operation:progress", "operation:log", "operation:complete", "data:update", "system:alert")


class Writer:
    """A writer, and the scheduler of its log."""

    def __init__(self, folder: Path) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._make = EventFactory()
        self._log = SqliteLog(
            folder, self, lambda: secrets.token_hex(4), retention=RETENTION, ballast_bytes=0, save_every=300
        )

    def call_soon(self, callback: Callable[[], object], /) -> None:
        self._waiting.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        self._waiting.append(callback)

    def write_forever(self) -> None:
        while True:
            self._append()
            while self._waiting:
                time.sleep(0.0005)
                self._waiting.popleft()()
            for _ in range(random.randrange(4)):
                self._log.maintain(self._make.now_ns)

    def _append(self) -> None:
        self._make.now_ns = time.time_ns()
        number = secrets.token_hex(8)
        count = random.choice((1, 2, 5, 40))
        batch = []
        for place in range(count):
            type = random.choice(TYPES)
            # An operation of its own for each start and each end: the log refuses what a life does not allow.
            own = type in ("operation:start", "operation:complete")
            batch.append(
                self._make(
                    type,
                    f"{number}-{place}" if own else f"key-{random.randrange(60)}",
                    data=b'{"batch":"%b","place":%d}' % (number.encode(), place),
                    effect=SlotEffect.CLEAR if type == "system:alert" and random.random() < 0.5 else None,
                    event_id=f"{number}-{place:08}" if random.random() < 0.2 else None,
                )
            )

        def done(result: Sequence[Outcome] | LogError) -> None:
            assert not isinstance(result, LogError), result
            offsets = [outcome.offset for outcome in result if isinstance(outcome, PublishResult)]
            assert len(offsets) == len(batch), result
            report(f"acked {number} {offsets[0]} {self._log.epoch}")

        events = json.dumps([[entry.event.type, entry.event.key] for entry in batch], separators=(",", ":"))
        report(f"trying {number} {events}")
        self._log.append(batch, done)


def main() -> None:
    folder = Path(sys.argv[1])
    checkpointer.CHECK_INTERVAL_S = 0.005
    checkpointer.MAX_WAL_BYTES = checkpointer.MIN_WAL_BYTES = 100_000
    saved_index.PIECE_SIZE = 20
    serve_writers(lambda: Writer(folder).write_forever())


if __name__ == "__main__":
    main()
