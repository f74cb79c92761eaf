import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tidings.cli.run.copy import OutputCopier
from tidings.cli.run.drain import write_all

TIMEOUT_S = 60.0


@dataclass
class Rig:
    """A relay between two pipes whose outer ends the test holds."""

    write: int
    read: int
    relay: OutputCopier
    done: threading.Event
    seen: list[bytes] = field(default_factory=list)


@pytest.fixture
def rig() -> Iterator[Rig]:
    source_read, source_write = os.pipe()
    target_read, target_write = os.pipe()
    done = threading.Event()
    seen: list[bytes] = []
    relay = OutputCopier(source_read, target_write, seen.append, done.set)
    relay.start()
    yield Rig(source_write, target_read, relay, done, seen)
    for file in (source_write, target_read, target_write):
        try:
            os.close(file)
        except OSError:
            continue
    assert done.wait(TIMEOUT_S)
    relay.close()


def test_bytes_are_copied_before_the_reader_gets_them(rig: Rig) -> None:
    os.write(rig.write, b"\x00\xff\r\n")
    assert os.read(rig.read, 100) == b"\x00\xff\r\n"
    os.close(rig.write)
    assert rig.done.wait(TIMEOUT_S)
    assert rig.relay.done
    assert rig.seen == [b"\x00\xff\r\n"]


def test_closed_target_closes_the_source(rig: Rig) -> None:
    os.close(rig.read)
    os.write(rig.write, b"nobody reads this")
    assert rig.done.wait(TIMEOUT_S)
    with pytest.raises(BrokenPipeError):
        os.write(rig.write, b"nor this")


def test_source_held_open_after_the_childs_end_is_copied_on(rig: Rig) -> None:
    os.write(rig.write, b"last words")
    rig.relay.child_ended()
    assert rig.done.wait(TIMEOUT_S)
    assert os.read(rig.read, 100) == b"last words"
    os.write(rig.write, b"later words")
    assert os.read(rig.read, 100) == b"later words"
    assert rig.seen == [b"last words"]


def test_copier_with_a_stuck_reader_can_be_abandoned(rig: Rig) -> None:
    capacity = 64 * 1024
    os.write(rig.write, b"x" * capacity)
    rig.relay.child_ended()
    rig.relay.abandon()
    assert rig.relay.done


def test_write_all_waits_for_a_non_blocking_descriptor() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(1_000_000)
    thread = threading.Thread(target=write_all, args=(write, data))
    thread.start()
    received = b""
    while len(received) < len(data):
        received += os.read(read, 65536)
    thread.join(TIMEOUT_S)
    os.close(read)
    os.close(write)
    assert received == data
