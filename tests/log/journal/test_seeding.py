"""Folders that may begin a journal of many machines."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journal.harnesses import JetStreamHarness
from tests.log.journal.shared_hub import open_embedded, read_all

from tidings.exceptions import LogForeign, LogUnavailable
from tidings.log.journal.base import Mark
from tidings.log.journal.seeding import (
    check_seedable,
    is_of_one_machine,
    save_first_snapshot,
    seed_journal,
)
from tidings.log.journal.shared_folder import read_replica
from tidings.log.revocations import Revocation
from tidings.log.sqlite.database import FILE
from tidings.testing.log_conformance.harness import EventFactory


@pytest.fixture
def harness() -> Iterator[JetStreamHarness]:
    with JetStreamHarness() as harness:
        assert isinstance(harness, JetStreamHarness)
        yield harness


def fill(folder: Path) -> None:
    with closing(open_embedded(folder)) as log:
        log.append([EventFactory()("data:update", "a")], lambda outcomes: None)


def test_folder_with_events_or_revocations_is_of_one_machine(tmp_path: Path) -> None:
    assert not is_of_one_machine(tmp_path / "none")
    open_embedded(tmp_path / "empty").close()
    assert not is_of_one_machine(tmp_path / "empty")
    fill(tmp_path / "events")
    assert is_of_one_machine(tmp_path / "events")
    with closing(open_embedded(tmp_path / "revocations")) as log:
        revocation = Revocation(kind="credential", name="t", issued_before_ns=1, kept_until_ns=None)
        log.revoke(revocation, lambda result: None)
    assert is_of_one_machine(tmp_path / "revocations")
    with closing(sqlite3.connect(tmp_path / "events" / FILE)) as connection:
        connection.execute("DROP TABLE meta")
        connection.commit()
    assert not is_of_one_machine(tmp_path / "events"), "it is set aside"


def test_folder_that_began_a_journal_is_that_of_a_node(tmp_path: Path, harness: JetStreamHarness) -> None:
    journal = harness.open()
    fill(tmp_path / "a")
    harness.run(check_seedable(journal, harness.run(journal.look()), tmp_path / "a"))
    harness.run(seed_journal(journal, tmp_path / "a", node="a"))
    assert not is_of_one_machine(tmp_path / "a")
    first = harness.run(journal.entry(1))
    replica = read_replica(tmp_path / "a")
    assert first is not None
    assert replica is not None
    assert replica.mark == Mark.of(first)
    for _ in range(2):  # the second time does nothing
        harness.run(save_first_snapshot(journal, harness.run(journal.look()), tmp_path / "a"))
        assert [info.mark for info in harness.run(journal.snapshots.list())] == [replica.mark]


def test_copy_of_a_folder_that_began_a_journal_is_refused(tmp_path: Path, harness: JetStreamHarness) -> None:
    journal = harness.open()
    fill(tmp_path / "a")
    journal.close()
    harness.run(journal.wait_closed())
    with pytest.raises(LogUnavailable):  # it has proposed its name
        harness.run(seed_journal(journal, tmp_path / "a", node="a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    journal = harness.open()
    harness.run(seed_journal(journal, tmp_path / "a", node="a"))
    harness.run(save_first_snapshot(journal, harness.run(journal.look()), tmp_path / "a"))
    with pytest.raises(LogForeign, match="another copy of this folder"):
        harness.run(seed_journal(journal, tmp_path / "b", node="b"))
    with closing(open_embedded(tmp_path / "b")) as log:
        assert len(read_all(log)) == 1
