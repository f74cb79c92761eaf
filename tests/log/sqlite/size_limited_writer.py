"""A process that reaches the kernel's limit on file sizes in the middle of a commit; prints the outcome as JSON."""

import json
import sys
from pathlib import Path

from tests.file_limits import files_limited_to
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogError
from tidings.log.base import Retention
from tidings.testing.log_conformance.harness import EventFactory


def main() -> None:
    folder = Path(sys.argv[1])
    make = EventFactory()
    outcome: dict[str, object] = {}
    wal = folder / "log.db-wal"
    with SqliteHarness() as harness:
        assert isinstance(harness, SqliteHarness)
        log = harness.open_at(folder)
        harness.append(log, *(make("data:update", data=b"1" * 1_000) for _ in range(20)))
        outcome["before"] = before = wal.stat().st_size
        with files_limited_to(before + 60_000):
            try:
                harness.append(log, *(make("data:update", data=b"1" * 1_000) for _ in range(300)))
            except LogError as error:
                outcome["refused"] = type(error).__name__
            outcome["written"] = wal.stat().st_size
            outcome["head"] = log.head
        outcome["after"] = harness.append(log, *(make("data:update") for _ in range(10)))
        again = harness.reopen(log, Retention())
        outcome["history"] = [record.offset for record in harness.history(again)]
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
