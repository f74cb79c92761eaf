"""Killed at any moment, the log holds what it acknowledged, and gives no place twice."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.log.sqlite.crash_writer import RETENTION

from tidings.log.sqlite.database import FILE, connect_read_only
from tidings.log.sqlite.inspect import verify

pytestmark = pytest.mark.alone

KILLS = 100
_LONGEST_LIFE_S = 0.12
_PATIENCE_S = 30.0


class Life:
    """What one writer said before it was killed."""

    def __init__(self, lines: list[str]) -> None:
        assert not [line for line in lines if line.startswith("failed")], lines
        said = [line.split(maxsplit=2) for line in lines]
        self.tried: dict[str, list[tuple[str, str]]] = {
            number: [(type, key) for type, key in json.loads(events)]
            for word, number, events in said
            if word == "trying"
        }
        self.first: dict[str, int] = {}
        """Of each batch that was acknowledged."""
        self.epochs: set[str] = set()
        for word, number, rest in said:
            if word == "acked":
                first, epoch = rest.split()
                self.first[number] = int(first)
                self.epochs.add(epoch)


@contextmanager
def nursery(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.log.sqlite.crash_writer", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(_PATIENCE_S)


def live_and_die(process: "subprocess.Popen[str]") -> Life:
    """Let a writer be born, write for a while, and be killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    born = process.stdout.readline().split()
    lines: list[str] = []
    if born[0] != "born":  # the writer was the first to speak
        lines.append(" ".join(born))
        while (line := process.stdout.readline()).split()[0] != "born":
            lines.append(line)
        born = line.split()
    time.sleep(random.uniform(0.0, _LONGEST_LIFE_S))  # not a wait for something: the moment of death is any
    os.kill(int(born[1]), signal.SIGKILL)
    lines += iter(process.stdout.readline, "dead\n")
    return Life(lines)


class Rows:
    """What a dead writer left."""

    def __init__(self, folder: Path) -> None:
        with closing(connect_read_only(folder / FILE)) as connection:
            self.meta = dict(connection.execute("SELECT name, value FROM meta"))
            self.by_offset = {
                offset: json.loads(data) for offset, data in connection.execute("SELECT offset, data FROM events")
            }
            self.floors = {
                (channel, key): trimmed
                for channel, key, trimmed in connection.execute("SELECT channel, key, trimmed FROM floors")
            }

    def check(self, life: Life, given: dict[int, str]) -> None:
        """See that each batch is there whole, but for what retention says that it took; and what was acknowledged, is.

        Args:
            life: Of the writer that died.
            given: The batch of each offset that was ever given, to which its own are added.
        """
        first_of = {data["batch"]: offset - data["place"] for offset, data in self.by_offset.items()}
        for number, events in life.tried.items():
            first = life.first.get(number, first_of.get(number))
            if first is None:
                continue  # it was killed before that was in the log
            for place, (type, key) in enumerate(events):
                offset = first + place
                assert given.setdefault(offset, number) == number, f"offset {offset} was given twice"
                if offset in self.by_offset:
                    assert self.by_offset[offset] == {"batch": number, "place": place}
                else:
                    assert offset <= self._taken(type, key), (
                        f"{type} {key} at {offset} is gone; {life.first.get(number)}"
                    )

    def _taken(self, type: str, key: str) -> int:
        """Return the offset up to which retention may have taken events of `key`."""
        if type == "operation:progress":
            return int(self.meta["latest_floor"])
        floor = int(self.meta["durable_floor"])
        return max(floor, self.floors.get(("operations", key), 0)) if type == "operation:log" else floor


@pytest.mark.timeout(120)
def test_acknowledged_events_survive_a_hundred_kills(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    given: dict[int, str] = {}
    acknowledged, epochs = 0, set[str]()
    with nursery(folder) as process:
        for _ in range(KILLS):
            life = live_and_die(process)
            acknowledged += len(life.first)
            epochs |= life.epochs
            for number, first in life.first.items():
                assert first > max(given, default=0) or given.get(first) == number, f"offset {first} was given twice"
            if (folder / FILE).exists():  # else killed before there was a log
                assert verify(folder).faults == ()
                Rows(folder).check(life, given)
    assert acknowledged > KILLS
    assert len(epochs) == 1, "the machine ran all the time: positions go on"
    with closing(sqlite3.connect(folder / FILE)) as connection:
        facts = dict(connection.execute("SELECT name, value FROM meta"))
        (kept,) = connection.execute("SELECT count(*) FROM events WHERE latest = 0").fetchone()
    # It was killed amid all of this.
    assert facts["checkpoints"] > KILLS / 10
    assert facts["durable_floor"] > RETENTION.events
    assert facts["generation"] > KILLS / 10
    assert kept < 10 * RETENTION.events
