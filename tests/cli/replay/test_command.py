"""`tidings replay` as a process, into real hubs."""

import gzip
import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.cli.hub_log import datasets, read_log, until
from tests.cli.processes import Hub, Process, Terminal, tidings
from tests.server.hub_server import HubServer

from tidings.log.base import Retention
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

S = 1_000_000_000
BEGAN = to_nanoseconds("2025-07-30T12:00:00Z")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("--log-level", "error") as running:
        yield running


def line(type: str, data: dict[str, Any], at_s: float, **fields: Any) -> str:
    """Return the line of an event that was received half a second after its timestamp."""
    stamp, received = (from_nanoseconds(BEGAN + round(moment * S)) for moment in (at_s, at_s + 0.5))
    envelope = {"type": type, "timestamp": stamp, "trace_id": "t-1", "data": data, **fields, "received": received}
    return json.dumps(envelope)


def updates(count: int, *, every_s: float = 0.001) -> list[str]:
    return [
        line("data:update", {"dataset": f"d-{n}"}, n * every_s, channel="data", event_id=f"{n:016d}")
        for n in range(count)
    ]


FAMILY = [
    line("operation:start", {"operation_id": "op-1", "name": "parent"}, 0, event_id="e" * 15 + "1"),
    line("operation:start", {"operation_id": "op-2", "parent_id": "op-1"}, 0.1, event_id="e" * 15 + "2"),
    line("operation:estimate", {"operation_id": "op-1", "stalled": False}, 0.15),
    line("operation:progress", {"operation_id": "op-2", "progress": 50}, 0.2, event_id="e" * 15 + "3"),
    line("operation:complete", {"operation_id": "op-2"}, 0.3, event_id="e" * 15 + "4"),
    line("operation:complete", {"operation_id": "op-1"}, 0.4, event_id="e" * 15 + "5"),
    line("channel:live", {"position": "x:1", "outcome": "complete"}, 0.4),
]


def written(path: Path, lines: Sequence[str]) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def replay(hub: Hub, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    done = tidings("replay", "--to", hub.url, *arguments, stdin=stdin)
    assert done.stdout == ""
    return done.returncode, done.stderr


def record(hub: Hub, path: Path, *arguments: str) -> None:
    """Record what a hub has."""
    with Process("record", *arguments, "--url", hub.url, "-o", "-") as process:
        lines = process.read_until("channel:live")
        process.signal(signal.SIGINT)
        code, rest, _ = process.wait()
    assert code == 0
    recording = ("".join(lines) + rest).encode()
    path.write_bytes(gzip.compress(recording) if path.suffix == ".gz" else recording)


def test_a_replay_copies_a_recording_unchanged_into_another_hub(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson.gz"
    with Hub("--log-level", "error") as first:
        published = tidings("publish", "-", stdin="\n".join(FAMILY[:2] + FAMILY[3:6]), TIDINGS_URL=first.url)
        assert published.returncode == 0
        record(first, path, "--since", "first")
        recorded = read_log(first)
    code, told = replay(hub, str(path), "--speed", "max")
    assert code == 0
    assert re.search(r"[45] events played: [45] stored, \d internal to a hub, skipped", told)
    played = read_log(hub)
    # Progress that was superseded within a moment was in neither recording nor snapshot.
    wanted = [event for event in recorded if event["type"] not in ("operation:progress", "operation:estimate")]
    kept = [event for event in played if event["type"] not in ("operation:progress", "operation:estimate")]
    for field in ("type", "data", "trace_id", "event_id", "channel"):
        assert [event[field] for event in kept] == [event[field] for event in wanted]


def test_a_second_replay_is_stored_only_with_new_ids(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", FAMILY)
    assert replay(hub, path, "--speed", "max") == (0, "5 events played: 5 stored, 2 internal to a hub, skipped\n")
    code, told = replay(hub, path, "--speed", "max")
    assert (code, told.count("--new-ids")) == (0, 1)
    assert "5 already in the hub" in told
    for _ in range(2):
        assert replay(hub, path, "--speed", "max", "--new-ids")[0] == 0
    log = read_log(hub, channel="operations")
    starts = [event["data"] for event in log if event["type"] == "operation:start"]
    assert len({start["operation_id"] for start in starts}) == len(starts) == 6
    parents, children = starts[0::2], starts[1::2]
    assert [child["parent_id"] for child in children] == [parent["operation_id"] for parent in parents]
    assert [start["operation_id"][:4] for start in starts] == ["op-1", "op-2"] * 3
    ends = [event for event in log if event["type"] == "operation:complete"]
    assert len({event["event_id"] for event in ends}) == 6
    assert len({event["trace_id"] for event in log if event["type"] in ("operation:start", "operation:complete")}) == 3


def test_a_second_replay_after_superseded_progress_is_dropped_refuses_nothing(tmp_path: Path) -> None:
    start, end = FAMILY[0], FAMILY[5]
    progress = [
        line("operation:progress", {"operation_id": "op-1", "progress": n}, n, event_id=f"{n:016d}") for n in range(9)
    ]
    path = written(tmp_path / "r.ndjson", [start, *progress, end])
    with HubServer(retention=Retention(superseded_age_s=0.0)) as server:
        assert tidings("replay", "--to", server.ws, path, "--speed", "max").returncode == 0
        server.call(lambda: server.log.maintain(time.time_ns() + S))
        second = tidings("replay", "--to", server.ws, path, "--speed", "max")
        assert (second.returncode, second.stderr.splitlines()[0]) == (
            0,
            "11 events played: 0 stored, 11 already in the hub",
        )
        # The same ids in an operation that the hub knows from elsewhere are refused.
        unrelated = line("operation:progress", {"operation_id": "op-1", "progress": 1}, 1, event_id="f" * 16)
        assert tidings("replay", "--to", server.ws, written(tmp_path / "s", [unrelated])).returncode == 1


def test_operations_that_ended_in_the_hub_restart_or_are_refused(hub: Hub, tmp_path: Path) -> None:
    ended = [
        line("operation:start", {"operation_id": "op-1"}, 0),
        line("operation:complete", {"operation_id": "op-1"}, 1),
    ]
    assert tidings("publish", "-", stdin="\n".join(ended), TIDINGS_URL=hub.url).returncode == 0
    assert replay(hub, written(tmp_path / "a", FAMILY), "--speed", "max")[0] == 0
    starts = [event["data"] for event in read_log(hub, channel="operations") if event["type"] == "operation:start"]
    assert [start.get("attempt") for start in starts if start["operation_id"] == "op-1"] == [None, 2]
    named = line("operation:start", {"operation_id": "op-1", "attempt": 1}, 0, event_id="f" * 16)
    code, told = replay(hub, written(tmp_path / "b", [named]))
    assert code == 1
    assert "operation_fenced" in told
    assert "hint: These operations have ended or advanced in this hub. Pass --new-ids to play them as new ones." in told
    assert replay(hub, str(tmp_path / "b"), "--new-ids")[0] == 0


def test_events_keep_the_pace_of_the_recording_with_current_timestamps(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", updates(4, every_s=1.0))
    before, clock = time.time_ns(), time.monotonic()
    assert replay(hub, path, "--speed", "4")[0] == 0
    assert time.monotonic() - clock >= 0.75
    stamps = [to_nanoseconds(event["timestamp"]) for event in read_log(hub, channel="data")]
    assert [round((after - stamp) / S, 2) for stamp, after in pairwise(stamps)] == [0.25] * 3
    # Half a second lay between saying and receiving: at four times the speed, an eighth.
    assert before - S // 8 <= stamps[0] <= time.time_ns() - S // 8


def test_replay_options_shorten_pauses_select_parts_and_keep_timestamps(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", updates(6, every_s=3600))
    options = ("--max-pause", "50ms", "--from", "1h", "--until", "2025-07-30T16:30:00Z", "--keep-timestamps")
    assert replay(hub, path, *options)[0] == 0
    events = read_log(hub, channel="data")
    assert [event["data"]["dataset"] for event in events] == ["d-1", "d-2", "d-3", "d-4"]
    assert [event["timestamp"] for event in events] == [f"2025-07-30T{hour}:00:00Z" for hour in (13, 14, 15, 16)]


def test_replay_at_max_speed_keeps_distances_and_ends_now(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", updates(3, every_s=60))
    assert replay(hub, path, "--speed", "max")[0] == 0
    stamps = [to_nanoseconds(event["timestamp"]) for event in read_log(hub, channel="data")]
    assert [after - stamp for stamp, after in pairwise(stamps)] == [60 * S] * 2
    assert 0 <= time.time_ns() - stamps[-1] < 20 * S


def test_stdin_with_truncated_gzip_is_played_up_to_the_cut(hub: Hub) -> None:
    packed = gzip.compress("\n".join(updates(3_000)).encode())
    code, told = replay(hub, "-", "--speed", "max", stdin=packed[:-1000])
    played = datasets(hub)
    assert code == 0
    assert "is truncated" in told
    assert played == [f"d-{n}" for n in range(len(played))]
    assert 1_000 < len(played) < 3_000
    assert replay(hub, "-", "--speed", "max", stdin=packed)[0] == 0
    assert datasets(hub) == [f"d-{n}" for n in range(3_000)]


def test_refused_and_invalid_lines_are_reported_once_and_exit_with_1(hub: Hub, tmp_path: Path) -> None:
    bad = [
        "nonsense",
        line("data:updated", {}, 1),
        line("data:update", {"dataset": 5}, 1),
        line("data:update", {"dataset": "x" * 65_600}, 1),
    ]
    code, told = replay(hub, written(tmp_path / "r", [*updates(2), *bad, *bad]), "--speed", "max")
    assert code == 1
    for text in ("skipped line 3, not an envelope", "unknown_type", "invalid_payload", "line 6: $.data is"):
        assert told.count(text) == 1, told
    assert "8 events played: 2 stored, 6 refused, 2 invalid lines" in told
    assert datasets(hub) == ["d-0", "d-1"]


def test_a_killed_hub_receives_the_rest_after_its_restart(tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", updates(600, every_s=0.004))
    options = ("--data", str(tmp_path / "log"), "--log-level", "error")
    with Hub(*options, memory=False) as hub, Process("replay", path, "--to", hub.url) as process:
        until(lambda: len(datasets(hub)) > 50)
        hub.process.kill()
        hub.process.wait(60)
        with Hub(*options, "--port", str(hub.port), memory=False) as again:
            code, _, told = process.wait()
            assert datasets(again) == [f"d-{n}" for n in range(600)]
    assert code == 0
    assert "the replay continues after a reconnect" in told


def test_a_replay_after_a_killed_one_is_stored_once(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", updates(600, every_s=0.01))
    with Process("replay", path, "--to", hub.url) as process:
        until(lambda: len(datasets(hub)) > 50)
        process.process.kill()
    assert replay(hub, path, "--speed", "max")[0] == 0
    assert datasets(hub) == [f"d-{n}" for n in range(600)]


def test_ctrl_c_prints_statistics_and_unended_operations(hub: Hub, tmp_path: Path) -> None:
    lines = [line("operation:start", {"operation_id": f"op-{n}"}, n * 0.01) for n in range(5)]
    path = written(tmp_path / "r.ndjson", [*lines, *updates(2, every_s=3600)])
    with Process("replay", path, "--to", hub.url) as process:
        until(lambda: datasets(hub) == ["d-0"])
        process.signal(signal.SIGINT)
        code, _, told = process.wait()
    assert code == 130
    assert "6 events played: 6 stored" in told
    assert "still running in the hub, because the played events do not end them: op-0, op-1, op-2 and 2 more" in told
    assert "Traceback" not in told


def test_a_terminal_shows_a_progress_bar(hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path / "r.ndjson", [*updates(1), line("data:update", {"dataset": "end"}, 3600)])
    with Terminal("replay", path, "--to", hub.url, columns=250) as terminal:
        terminal.wait_for("50%  1 of 2 events")
        terminal.press(b"\x03")
        assert terminal.wait() == 130


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no-such-file",), "cannot read"),
        ((__file__,), "not a recording"),
        ((__file__, "--speed", "bad"), "hint: Write 1, 10, 0.5 or max.\n"),
        ((__file__, "--speed", "0"), "hint: Write 1, 10, 0.5 or max.\n"),
        ((__file__, "--speed", "fast"), "--speed: invalid speed 'fast'"),
        ((__file__, "--by", "bad"), "hint: Write received or timestamp.\n"),
        ((__file__, "--by", "chance"), "--by: invalid value 'chance'"),
        ((__file__, "--from", "noon"), "--from"),
        ((__file__, "--max-pause", "long"), "--max-pause"),
        ((__file__, "--to", "ftp://x"), "ftp://x"),
        ((__file__, "--contract", "no_such:thing"), "no_such cannot be imported"),
    ],
)
def test_an_invalid_command_line_exits_with_2(arguments: tuple[str, ...], error: str) -> None:
    done = tidings("replay", *arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert "hint: " in done.stderr


def test_an_unreachable_hub_is_an_error_in_two_lines(tmp_path: Path) -> None:
    done = tidings("replay", written(tmp_path / "r", updates(1)), "--to", "ws://127.0.0.1:1/ws")
    assert done.returncode == 69
    first, last = done.stderr.splitlines()
    assert first.startswith("error: no hub answers at 127.0.0.1:1")
    assert last.startswith("hint: ")


def attempts(*ends: str, last_ends: bool = True) -> list[str]:
    """Return the events of an operation `op-1` whose attempts end with `ends`, each with one report of progress."""
    lines = []
    for number, end in enumerate(ends, 1):
        later = {} if number == 1 else {"attempt": number}
        lines += [line("operation:start", {"operation_id": "op-1", **later}, number)]
        if number == 1:
            lines += [line("operation:progress", {"operation_id": "op-1", "progress": 10}, number + 0.1)]
            lines += [line("operation:log", {"operation_id": "op-1", "level": "info", "message": "m"}, number + 0.2)]
        lines += [line(f"operation:{end}", {"operation_id": "op-1"}, number + 0.3)]
    return lines if last_ends else lines[:-1]


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        pytest.param(attempts("complete", "complete"), "complete", id="progress"),
        pytest.param(attempts("complete", "cancelled", "complete", last_ends=False), "running", id="two-ends"),
    ],
)
def test_a_snapshot_of_an_operation_with_several_attempts_is_stored_once(
    hub: Hub, tmp_path: Path, lines: list[str], state: str
) -> None:
    path = str(tmp_path / "r.ndjson")
    with Hub("--log-level", "error") as first:
        assert tidings("publish", "-", stdin="\n".join(lines), TIDINGS_URL=first.url).returncode == 0
        record(first, Path(path))
    code, told = replay(hub, path, "--speed", "max")
    assert (code, "refused" in told, "of an earlier attempt, skipped" in told) == (0, False, True), told
    assert ("still running in the hub" in told) == (state == "running")
    code, told = replay(hub, path, "--speed", "max")
    assert (code, " 0 stored" in told) == (0, True), told
    shown = json.loads(tidings("show", "op-1", "--json", TIDINGS_URL=hub.url).stdout)
    assert (shown["state"], shown["attempt"]) == (state, len([each for each in lines if "operation:start" in each]))
    assert replay(hub, path, "--speed", "max", "--new-ids")[0] == 0


def test_events_behind_a_refused_start_are_refused_too(hub: Hub, tmp_path: Path) -> None:
    begun, again, end = (
        line("operation:start", {"operation_id": "op-1"}, 0, event_id="a" * 16),
        line("operation:start", {"operation_id": "op-1", "attempt": 2}, 1, event_id="b" * 16),
        line("operation:complete", {"operation_id": "op-1"}, 2, event_id="c" * 16),
    )
    path = written(tmp_path / "r", [begun, again, end])  # the end of the first attempt is lost
    for stored in ("1 stored", "0 stored, 1 already in the hub"):
        code, told = replay(hub, path, "--speed", "max")
        assert (code, f"3 events played: {stored}, 2 refused" in told) == (1, True), told
        shown = json.loads(tidings("show", "op-1", "--json", TIDINGS_URL=hub.url).stdout)
        assert (shown["state"], shown["attempt"]) == ("running", 1)
    code, told = replay(hub, path, "--speed", "max", "--new-ids")
    assert (code, "still running in the hub, because the played events do not end them: op-1~" in told) == (1, True)


@pytest.mark.parametrize("content", ["", "\n\n", "garbage", '{"type":"operation:st'])
def test_a_file_without_an_envelope_is_not_a_recording(tmp_path: Path, content: str) -> None:
    (tmp_path / "r").write_text(content)
    done = tidings("replay", str(tmp_path / "r"), "--to", "ws://127.0.0.1:9")
    assert (done.returncode, "error: not a recording: expected at least one envelope" in done.stderr) == (2, True)
