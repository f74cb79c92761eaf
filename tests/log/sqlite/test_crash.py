"""A log that is killed at any moment keeps all acknowledged events, and assigns no offset twice."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.killed_writers import run_and_kill_writer, writer_processes
from tests.log.sqlite.crash_writer import RETENTION

from tidings.log.sqlite.database import FILE, connect_read_only
from tidings.log.sqlite.inspect import verify

pytestmark = pytest.mark.alone

KILLS = int(os.environ.get("TIDINGS_KILLS", "60"))
"""Number of writers to kill; a long run takes a thousand."""
_MAX_LINES = 80
"""Lines that a writer prints before it is killed: counted, because what it does in a given time depends on the load."""


class WriterReport:
    """The output of one writer until it was killed."""

    def __init__(self, lines: list[str]) -> None:
        assert not [line for line in lines if line.startswith("failed")], lines
        reports = [line.split(maxsplit=2) for line in lines]
        self.tried: dict[str, list[tuple[str, str]]] = {
            number: [(type, key) for type, key in json.loads(events)]
            for word, number, events in reports
            if word == "trying"
        }
        self.first: dict[str, int] = {}
        """The first offset of each acknowledged batch."""
        self.epochs: set[str] = set()
        for word, number, rest in reports:
            if word == "acked":
                first, epoch = rest.split()
                self.first[number] = int(first)
                self.epochs.add(epoch)


def run_and_kill(process: "subprocess.Popen[str]") -> WriterReport:
    return WriterReport(run_and_kill_writer(process, _MAX_LINES)[1])


class StoredRows:
    """The rows in the file after a writer was killed."""

    def __init__(self, folder: Path) -> None:
        with closing(connect_read_only(folder / FILE)) as connection:
            self.meta = dict(connection.execute("SELECT name, value FROM meta"))
            self.by_offset = {
                offset: json.loads(data) for offset, data in connection.execute("SELECT offset, data FROM events")
            }
            self.trim_marks = {
                (channel, key): trimmed
                for channel, key, trimmed in connection.execute("SELECT channel, key, trimmed FROM floors")
            }

    def check(self, writer: WriterReport, assigned: dict[int, str]) -> None:
        """Check that acknowledged batches are stored, and stored ones whole, except for events that retention removed.

        Args:
            writer: The report of the killed writer.
            assigned: The batch of each offset that was ever assigned; receives those of this writer.
        """
        first_of = {data["batch"]: offset - data["place"] for offset, data in self.by_offset.items()}
        for number, events in writer.tried.items():
            first = writer.first.get(number, first_of.get(number))
            if first is None:
                continue  # the writer was killed before the batch was in the log
            for place, (type, key) in enumerate(events):
                offset = first + place
                assert assigned.setdefault(offset, number) == number, f"offset {offset} was assigned twice"
                if offset in self.by_offset:
                    assert self.by_offset[offset] == {"batch": number, "place": place}
                else:
                    assert offset <= self._removed_to(type, key), (
                        f"{type} {key} at {offset} is missing; {writer.first.get(number)}"
                    )

    def _removed_to(self, type: str, key: str) -> int:
        """Return the offset up to which retention may have removed events of `key`."""
        if type == "operation:progress":
            return int(self.meta["latest_floor"])
        floor = int(self.meta["durable_floor"])
        return max(floor, self.trim_marks.get(("operations", key), 0)) if type == "operation:log" else floor


@pytest.mark.timeout(120 + KILLS)
def test_acknowledged_events_survive_kills(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assigned: dict[int, str] = {}
    acknowledged, epochs = 0, list[set[str]]()
    with writer_processes("tests.log.sqlite.crash_writer", folder) as process:
        for _ in range(KILLS):
            writer = run_and_kill(process)
            acknowledged += len(writer.first)
            epochs.append(writer.epochs)
            for number, first in writer.first.items():
                is_new = first > max(assigned, default=0)
                assert is_new or assigned.get(first) == number, f"offset {first} was assigned twice"
            if (folder / FILE).exists():  # else the writer was killed before it created a log
                assert verify(folder).faults == ()
                StoredRows(folder).check(writer, assigned)
    assert acknowledged > KILLS
    assert len(set[str]().union(*epochs)) == sum(map(len, epochs)) <= KILLS, "every opening begins its own epoch"
    with closing(sqlite3.connect(folder / FILE)) as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        (kept,) = connection.execute("SELECT count(*) FROM events WHERE latest = 0").fetchone()
    # Writers were killed during all of this.
    assert meta["checkpoints"] > KILLS / 10
    assert meta["durable_floor"] > RETENTION.events
    assert meta["generation"] > KILLS / 10
    assert kept < 10 * RETENTION.events
