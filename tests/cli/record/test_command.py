"""`tidings record` as a process, from hubs and from a service that is none."""

import gzip
import json
import re
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.hub_log import until
from tests.cli.processes import Hub, Process, Terminal, tidings
from tests.file_limits import WITHOUT_BYTECODE
from tests.relay.foreign_service import GREETING, ForeignService, envelope, joined

from tidings.contract.contract import Contract


def publish(hub: Hub, *datasets: str) -> None:
    lines = "\n".join(json.dumps({"type": "data:update", "data": {"dataset": name}}) for name in datasets)
    done = tidings("publish", "-", stdin=lines, TIDINGS_URL=hub.url)
    assert done.returncode == 0, done.stderr


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def datasets_of(lines: list[dict[str, Any]]) -> list[str]:
    return [line["data"]["dataset"] for line in lines if line["type"] == "data:update"]


def wait_for(path: Path, text: str) -> None:
    until(lambda: path.exists() and text.encode() in path.read_bytes())


def test_a_recording_has_a_header_and_every_received_envelope(shared_hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    publish(shared_hub, "before")
    with Process("record", "data/before", "data/after*", "--url", shared_hub.url, "-o", str(path)) as record:
        wait_for(path, "channel:live")
        publish(shared_hub, "after-1", "elsewhere", "after-2")
        wait_for(path, "after-2")
        record.signal(signal.SIGINT)
        code, stdout, stderr = record.wait()
    assert (code, stdout) == (0, "")
    header, *rest = lines_of(path)
    assert header["type"] == "tidings:recording"
    assert header["data"]["url"] == shared_hub.url
    assert header["data"]["contract"]["hash"] == Contract().identity.hash
    assert header["data"]["paths"] == ["data/before", "data/after*"]
    assert datasets_of(rest) == ["before", "after-1", "after-2"]
    assert [line["type"] for line in rest] == ["data:update", "channel:live", "data:update", "data:update"]
    event = rest[-1]
    assert list(event) == ["type", "timestamp", "trace_id", "data", "channel", "position", "event_id", "received"]
    assert event["received"] >= event["timestamp"]
    assert re.fullmatch(rf"3 events in {re.escape(str(path))}, [\d.]+ KiB\n", stderr)


def test_recording_to_stdout_ends_when_the_reader_exits(shared_hub: Hub) -> None:
    with Process("record", "data/out*", "--url", shared_hub.url) as record:
        record.read_until("tidings:recording")
        record.read_until("channel:live")
        publish(shared_hub, "out-1")
        assert "out-1" in record.read_line()
        assert record.process.stdout is not None
        record.process.stdout.close()
        publish(shared_hub, "out-2")
        assert record.process.wait(60) == 0


def test_recording_resumes_after_a_restart_of_the_hub(tmp_path: Path) -> None:
    path, data = tmp_path / "r.ndjson", ("--data", str(tmp_path / "log"), "--log-level", "error")
    with Hub(*data, memory=False) as hub, Process("record", "data", "--url", hub.url, "-o", str(path)) as record:
        wait_for(path, "channel:live")
        publish(hub, *(f"a{n}" for n in range(50)))
        hub.process.kill()
        hub.process.wait(60)
        with Hub(*data, "--port", str(hub.port), memory=False) as again:
            publish(again, *(f"b{n}" for n in range(50)))
            wait_for(path, '"b49"')
        record.signal(signal.SIGTERM)
        code, _, stderr = record.wait()
    lines = lines_of(path)
    assert code == 0
    assert datasets_of(lines) == [f"a{n}" for n in range(50)] + [f"b{n}" for n in range(50)]
    assert "recording continues after a reconnect" in stderr
    assert not [line for line in lines if line["type"] == "channel:gap"]


def test_a_gap_is_reported_in_the_file_and_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    with Hub("--log-level", "error") as hub, Process("record", "data", "--url", hub.url, "-o", str(path)) as record:
        wait_for(path, "channel:live")
        publish(hub, "one")
        wait_for(path, '"one"')
        hub.stop()
        with Hub("--port", str(hub.port), "--log-level", "error") as other:  # its log was only in memory
            wait_for(path, "channel:gap")
            publish(other, "two")
            wait_for(path, '"two"')
            record.signal(signal.SIGINT)
            code, _, stderr = record.wait()
    assert code == 0
    assert datasets_of(lines_of(path)) == ["one", "two"]
    assert "gap: events between" in stderr
    assert "2 events, 1 gap in" in stderr


def test_record_ends_after_the_given_duration(shared_hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson.gz"
    done = tidings("record", "data/none", "--url", shared_hub.url, "-o", str(path), "--for", "2s")
    assert done.returncode == 0
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [line["type"] for line in lines] == ["tidings:recording", "channel:live"]


@pytest.mark.parametrize("name", ["r.ndjson", "r.ndjson.gz"])
def test_a_full_disk_is_an_error_that_keeps_written_lines(shared_hub: Hub, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    # Names of its own: the snapshot of another test's would fill the file before the limit is set.
    prefix = "full-packed" if name.endswith("gz") else "full-plain"
    command = ("record", f"data/{prefix}*", "--url", shared_hub.url, "-o", str(path))
    with Process(*command, env=WITHOUT_BYTECODE) as record:
        until(lambda: path.exists() and path.stat().st_size > 200)
        resource.prlimit(record.process.pid, resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))
        for start in range(0, 600, 200):
            publish(shared_hub, *(f"{prefix}-{n}" for n in range(start, start + 200)))
        code, _, stderr = record.wait()
    assert code == 1
    assert f"error: cannot write {path}: File too large" in stderr
    match = re.search(r"hint: ([\d,]+) whole lines are written", stderr)
    text = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    lines = [json.loads(line) for line in text.splitlines()]
    assert match is not None
    assert len(lines) == int(match[1])
    assert datasets_of(lines) == [f"{prefix}-{n}" for n in range(len(datasets_of(lines)))]


def test_a_plain_recording_has_the_messages_of_a_browser(shared_hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    with Process("record", "data/plain", "--plain", "--url", shared_hub.url, "-o", str(path)) as record:
        wait_for(path, "connection:established")
        publish(shared_hub, "plain", "other")
        wait_for(path, '"plain"')
        record.signal(signal.SIGINT)
        assert record.wait()[0] == 0
    header, greeting, event = lines_of(path)
    assert header["data"]["plain"] is True
    assert header["data"]["contract"] == greeting["data"]["contract"]
    assert list(event) == ["type", "timestamp", "trace_id", "data", "channel", "received"]


def test_a_plain_service_is_recorded_with_gaps(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    said = [envelope("data:update", {"dataset": f"{n}"}) for n in range(3)]
    with (
        ForeignService() as service,
        Process("record", "--plain", "--url", service.url, "-o", str(path)) as record,
    ):
        service.wait_accepted(1)
        service.say(joined(said[:2]), "garbage")
        wait_for(path, '"dataset":"1"')
        service.restart()
        service.wait_accepted(2)
        service.say(said[2].encode())
        wait_for(path, '"dataset":"2"')
        record.signal(signal.SIGINT)
        code, _, stderr = record.wait()
    header, *lines = lines_of(path)
    assert code == 0
    assert header["data"]["contract"] is None
    types = ["connection:established", *["data:update"] * 2, "channel:gap", "connection:established", "data:update"]
    assert [line["type"] for line in lines] == types
    for line in lines:
        del line["received"]
    assert lines[0] == json.loads(GREETING)
    assert lines[5] == json.loads(said[2])
    assert "skipped an invalid envelope: $: this is not JSON" in stderr
    assert "3 events, 1 gap, 1 invalid envelope" in stderr


def test_a_terminal_shows_the_status_of_the_recording(shared_hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    with Terminal("record", "data/tty", "--url", shared_hub.url, "-o", str(path), columns=250) as terminal:
        terminal.wait_for("0 events")
        publish(shared_hub, "tty")
        terminal.wait_for("1 event,")
        terminal.press(b"\x03")
        assert terminal.wait() == 0


@pytest.mark.parametrize("plain", [(), ("--plain",)])
def test_recording_without_a_hub_creates_no_file(tmp_path: Path, plain: tuple[str, ...]) -> None:
    path = tmp_path / "r.ndjson"
    done = tidings("record", *plain, "--url", "ws://127.0.0.1:1/ws", "-o", str(path))
    assert done.returncode == 69
    assert " events in " not in done.stderr
    assert "answers at 127.0.0.1:1: Connection refused" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--since", "yesterday"), 2, "--since: invalid start 'yesterday': expected an age"),
        (("data/",), 2, "data/"),
        (("--for", "ages"), 2, "--for"),
        (("-o", "/"), 2, "error: / exists"),
        (("--url", "ftp://x"), 2, "ftp://x"),
    ],
)
def test_an_invalid_command_line_is_reported(arguments: tuple[str, ...], code: int, error: str) -> None:
    done = tidings("record", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
