import gzip
import os
import zlib
from pathlib import Path

import pytest
from tests.file_limits import files_limited_to

from tidings.cli.record.output_file import GzipSink, PlainSink, Sink, SinkFailed, open_sink
from tidings.exceptions import ConfigError

LINES = [b'{"n":%d,"x":"%s"}\n' % (n, os.urandom(30).hex().encode()) for n in range(200)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fill(sink: Sink, clock: Clock) -> None:
    """Write a few lines a second."""
    for number in range(0, len(LINES), 7):
        clock.now += 1
        sink.write(LINES[number : number + 7])


@pytest.mark.parametrize("name", ["r.ndjson", "r.ndjson.gz"])
def test_written_lines_are_in_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sink = open_sink(str(path))
    assert not path.exists(), "before its first line"
    for number in range(0, 200, 10):
        sink.write(LINES[number : number + 10])
    sink.close()
    assert sink.lines == 200
    assert sink.written == path.stat().st_size
    assert (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()) == b"".join(LINES)


def test_a_compressed_file_is_readable_up_to_the_last_flush(tmp_path: Path) -> None:
    path, clock = tmp_path / "r.gz", Clock()
    sink = open_sink(str(path), now=clock)
    sink.write(LINES[:5])
    clock.now = 1.0
    sink.write(LINES[5:10])
    sink.write(LINES[10:15])
    # As it stands when its writer is killed here.
    assert zlib.decompressobj(31).decompress(path.read_bytes()) == b"".join(LINES[:10])
    sink.flush()
    assert zlib.decompressobj(31).decompress(path.read_bytes()) == b"".join(LINES[:15])
    sink.close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    sink = open_sink(str(path))
    with files_limited_to(2_000), pytest.raises(SinkFailed, match="File too large"):
        fill(sink, Clock())
    sink.close()
    assert 0 < path.stat().st_size <= 2_000
    assert path.read_bytes() == b"".join(LINES[: sink.lines])


def test_a_full_disk_leaves_a_valid_compressed_file(tmp_path: Path) -> None:
    path, clock = tmp_path / "r.gz", Clock()
    sink = open_sink(str(path), now=clock)
    with files_limited_to(2_000), pytest.raises(SinkFailed):
        fill(sink, clock)
    sink.close()
    assert sink.lines > 0
    assert gzip.decompress(path.read_bytes()) == b"".join(LINES[: sink.lines])


def test_earlier_content_of_the_file_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    path.write_bytes(b"before\n" * 10)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    sink = PlainSink(descriptor)
    with files_limited_to(1_000), pytest.raises(SinkFailed):
        fill(sink, Clock())
    sink.close()
    assert path.read_bytes() == b"before\n" * 10 + b"".join(LINES[: sink.lines])


def test_a_closed_pipe_is_distinguished_from_a_full_disk() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = PlainSink(writing)
    with pytest.raises(SinkFailed) as failed:
        sink.write(LINES)
    sink.close()
    assert failed.value.reader_gone


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r" exists$"):
        open_sink(str(path))
    with pytest.raises(ConfigError, match=r" exists$"):
        open_sink(str(tmp_path), force=True)
    with pytest.raises(ConfigError, match="no such folder"):
        open_sink(str(tmp_path / "none" / "r.ndjson"))
    open_sink(str(path), force=True).close()
    assert path.read_text() == "precious", "nothing was written"
    sink = open_sink(str(path), force=True)
    sink.write(LINES)
    sink.close()
    assert path.read_bytes() == b"".join(LINES)


def test_an_empty_compressed_recording_is_valid_gzip(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "r.gz", os.O_WRONLY | os.O_CREAT)
    sink = GzipSink(descriptor, Clock())
    sink.close()
    sink.close()
    assert gzip.decompress((tmp_path / "r.gz").read_bytes()) == b""
