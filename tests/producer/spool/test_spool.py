import os
import threading
from pathlib import Path

import pytest
from tests.producer.drafts import draft, event_id

from tidings.client.publish_queue import QueueLimits, Rank
from tidings.exceptions import ConfigError, TidingsError
from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.file import parse_spool
from tidings.producer.spool.spool import Spool
from tidings.protocol.payloads import OperationStartData


def made(folder: Path, errors: list[TidingsError], **more: int) -> Spool:
    return Spool(SpoolOptions(folder=folder, **more), "ws://hub/ws", "p-1", errors.append)


def pending(folder: Path) -> list[str]:
    (path,) = folder.iterdir()
    return list(parse_spool(path.read_bytes())[1])


def test_spool_file_is_created_with_the_first_event(tmp_path: Path) -> None:
    errors: list[TidingsError] = []
    spool = made(tmp_path / "spool", errors)
    spool.done(event_id(1))
    spool.close()
    assert not (tmp_path / "spool").exists()
    assert errors == []


def test_end_is_spooled_with_the_start_of_the_next_attempt(tmp_path: Path) -> None:
    spool = made(tmp_path, [])
    again = OperationStartData(operation_id="op-1", name="import", resumes="op-1")
    spool.keep(draft(1, "operation:complete"), attempt=3, again=again)
    (path,) = tmp_path.iterdir()
    header, kept = parse_spool(path.read_bytes())
    assert header is not None
    assert (header.producer_id, header.pid, header.url) == ("p-1", os.getpid(), "ws://hub/ws")
    end = kept[event_id(1)]
    assert (end.attempt, end.again) == (3, again)
    spool.done(event_id(1))
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_reported_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    errors: list[TidingsError] = []
    spool = made(blocked, errors)
    for number in range(3):
        spool.keep(draft(number))
        spool.done(event_id(number))
    spool.close()
    (trouble,) = errors
    assert isinstance(trouble, ConfigError)
    assert trouble.option == "spool"
    assert "TIDINGS_SPOOL" in trouble.hint


def test_spool_of_one_producer_is_bounded_and_reports_drops(tmp_path: Path) -> None:
    errors: list[TidingsError] = []
    spool = made(tmp_path, errors, bytes_of_one=10_000)
    for number in range(200):
        spool.keep(draft(number))
        (path,) = tmp_path.iterdir()
        assert path.stat().st_size <= 10_500
    kept = pending(tmp_path)
    assert kept == [event_id(number) for number in range(200 - len(kept), 200)], "the newest stay"
    assert len(kept) > 20
    assert "oldest" in str(errors[0])
    spool.close()


def test_spool_never_fills_if_the_hub_takes_everything(tmp_path: Path) -> None:
    errors: list[TidingsError] = []
    spool = made(tmp_path, errors, bytes_of_one=10_000)
    spool.keep(draft(0))
    for number in range(1, 500):
        spool.keep(draft(number))
        spool.done(event_id(number))
    assert pending(tmp_path) == [event_id(0)]
    assert errors == []
    spool.close()


def test_events_of_many_threads_are_spooled(tmp_path: Path) -> None:
    spool = made(tmp_path, [])
    events = PendingEvents(QueueLimits(), spool)

    def offer(first: int) -> None:
        for number in range(first, first + 50):
            events.offer(draft(number, operation_id=f"op-{number}"), Rank.LIFECYCLE, f"op-{number}")
            if number % 2:
                events.abandon({f"op-{number}"})

    threads = [threading.Thread(target=offer, args=(first,)) for first in (0, 50, 100, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pending(tmp_path)) == [event_id(number) for number in range(0, 200, 2)]
    spool.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_writes_nothing_and_the_parents_lock_holds(tmp_path: Path) -> None:
    spool = made(tmp_path, [])
    spool.keep(draft(1))
    if (pid := os.fork()) == 0:
        try:
            spool.keep(draft(2))
            spool.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    spool.keep(draft(3))
    assert pending(tmp_path) == [event_id(1), event_id(3)]
    spool.close()
