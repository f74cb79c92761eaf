import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.file_limits import files_limited_to
from tests.producer.drafts import draft, event_id

from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader, file_name, parse_spool

HEADER = SpoolHeader(url="ws://hub/ws", producer_id="p-1", pid=7)


def kept(number: int) -> SpooledEvent:
    return SpooledEvent(draft=draft(number))


def pending(path: Path) -> list[str]:
    return list(parse_spool(path.read_bytes())[1])


def test_file_holds_events_until_they_are_done(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    path = tmp_path / file_name(HEADER.url, HEADER.producer_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    empty = path.stat().st_size
    file.keep(kept(1))
    file.keep(kept(2))
    file.done(event_id(1))
    assert pending(path) == [event_id(2)]
    file.done(event_id(2))
    assert path.stat().st_size == empty == file.size, "what holds nothing takes no room"
    file.done(event_id(9))
    file.close()
    assert not path.exists()


def test_file_with_events_is_kept_when_closed(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    file.keep(kept(1))
    assert SpoolFile.open_dead(file.path) is None, "its owner is at it"
    file.close()
    recovered = SpoolFile.open_dead(file.path)
    assert recovered is not None
    assert (recovered.header, list(recovered.pending)) == (HEADER, [event_id(1)])
    assert SpoolFile.open_dead(file.path) is None, "the other opening has the lock"
    recovered.done(event_id(1))
    recovered.close()
    assert list(tmp_path.iterdir()) == []
    assert SpoolFile.open_dead(file.path) is None


def test_file_in_use_is_not_replaced_by_another_process(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    with pytest.raises(FileExistsError):
        SpoolFile.create(tmp_path, HEADER)
    file.keep(kept(1))
    file.close()
    assert pending(file.path) == [event_id(1)], "what the first process keeps has the file's name"
    assert list(tmp_path.iterdir()) == [file.path]


def test_death_of_its_process_unlocks_the_file(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.producer.spool.test_file import HEADER, kept, SpoolFile\n"
        "file = SpoolFile.create(Path(sys.argv[1]), HEADER)\n"
        "file.keep(kept(1))\n"
        "os.write(1, b'kept\\n')\n"
        "os.read(0, 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == b"kept\n"
        (path,) = tmp_path.iterdir()
        assert SpoolFile.open_dead(path) is None
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()
        process.stdin.close()
    file = SpoolFile.open_dead(path)
    assert file is not None
    assert list(file.pending) == [event_id(1)]
    file.close()


def test_partial_line_is_ended_before_the_next_write(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    file.keep(kept(1))
    file.keep(kept(2))
    file.close()
    torn = file.path.read_bytes()[:-20]
    file.path.write_bytes(torn)
    recovered = SpoolFile.open_dead(file.path)
    assert recovered is not None
    assert list(recovered.pending) == [event_id(1)]
    recovered.keep(kept(3))
    assert pending(file.path) == [event_id(1), event_id(3)]
    recovered.close()


def test_invalid_file_is_opened_empty_so_that_it_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"hello")
    file = SpoolFile.open_dead(path)
    assert file is not None
    assert file.pending == {}
    assert file.header.url == ""
    file.close()
    assert not path.exists()


def test_compacting_drops_done_events_and_then_the_oldest(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    for number in range(100):
        file.keep(kept(number))
    for number in range(50):
        file.done(event_id(number))
    before = file.size
    assert file.compact(1 << 20) == 0
    assert file.size < before / 2
    assert pending(file.path) == [event_id(number) for number in range(50, 100)]
    size_of_one = (file.size - len(file.path.read_bytes().splitlines()[0])) // 50
    dropped = file.compact(10 * size_of_one + 10)
    assert 39 <= dropped <= 41
    assert pending(file.path) == list(file.pending)
    assert next(iter(file.pending)) == event_id(50 + dropped), "the oldest go"
    file.keep(kept(100))
    assert pending(file.path)[-1] == event_id(100)
    assert SpoolFile.open_dead(file.path) is None, "the new file is locked, too"
    file.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".ndjson"]


def test_file_replaced_before_the_lock_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    file.keep(kept(1))
    opened = os.open

    def late(path: Path, *arguments: int) -> int:
        descriptor = opened(path, *arguments)
        if path == file.path and not moved:
            moved.append(path)
            file.compact(1 << 20)  # whose old file is unlocked from now on, and has no name
        return descriptor

    moved: list[Path] = []
    monkeypatch.setattr(os, "open", late)
    assert SpoolFile.open_dead(file.path) is None
    assert moved
    file.close()


def test_full_disk_raises_and_keeps_earlier_events(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, HEADER)
    file.keep(kept(1))
    with files_limited_to(file.size + 20):
        with pytest.raises(OSError, match=r"only 20 of|too large"):
            file.keep(kept(2))
        with pytest.raises(OSError, match="too large"):
            file.keep(kept(3))
    file.keep(kept(4))
    assert pending(file.path) == [event_id(1), event_id(4)]
    file.close()
