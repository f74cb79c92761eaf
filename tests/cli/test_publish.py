import json
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta
from tests.cli.processes import TIMEOUT_S, Hub, Process, tidings

from tidings.cli.publish import describe_form, list_events
from tidings.contract.event_types import BUILTIN

UPDATE = '{"dataset": "prices"}'


def publish(hub: Hub, *arguments: str, stdin: str | bytes = b"") -> tuple[int, str, str]:
    done = tidings("publish", *arguments, stdin=stdin, TIDINGS_URL=hub.url)
    return done.returncode, done.stdout, done.stderr


def published(hub: Hub, position: str) -> dict[str, object]:
    """Return the event at `position`, as a watcher reads it."""
    with Process("watch", "*", "--since", "first", "--json", "--url", hub.url) as watch:
        while True:
            envelope: dict[str, object] = json.loads(watch.read_line())
            if envelope.get("position") == position:
                return envelope


def test_the_position_is_printed_and_the_event_is_in_the_log(shared_hub: Hub) -> None:
    code, stdout, stderr = publish(
        shared_hub, "data:update", '{"dataset": "a", "extra": [1]}', "--trace-id", "t-1", "--event-id", "e" * 16
    )
    assert (code, stderr) == (0, "")
    event = published(shared_hub, stdout.strip())
    assert event["data"] == {"dataset": "a", "extra": [1]}
    assert (event["trace_id"], event["event_id"], event["channel"]) == ("t-1", "e" * 16, "data")


def test_an_event_is_published_to_global() -> None:
    # A hub of its own: what is global reaches every watch.
    with Hub() as hub:
        code, stdout, _ = publish(hub, "data:update", UPDATE, "--channel", "global")
        assert code == 0
        assert published(hub, stdout.strip())["channel"] == "global"


def test_data_comes_from_a_file_or_from_stdin(shared_hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('{"dataset": "from-file"}\n')
    code, stdout, _ = publish(shared_hub, "data:update", f"@{file}")
    assert code == 0
    assert published(shared_hub, stdout.strip())["data"] == {"dataset": "from-file"}
    code, stdout, _ = publish(shared_hub, "data:update", "-", stdin='{"dataset": "from-stdin"}')
    assert code == 0
    assert published(shared_hub, stdout.strip())["data"] == {"dataset": "from-stdin"}


def test_a_repeated_event_id_returns_the_first_position(shared_hub: Hub) -> None:
    arguments = ("data:update", UPDATE, "--event-id", "again-and-again-1")
    _, first, _ = publish(shared_hub, *arguments)
    code, second, stderr = publish(shared_hub, *arguments)
    assert (code, second) == (0, first)
    assert "published before" in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("data:update", "{"), 1, "the data is not JSON"),
        (("data:update", "5"), 1, "invalid_payload"),
        (("operation:progress", '{"operation_id": "x", "progress": 101}'), 1, "$.data.progress"),
        (("nothing:such", "{}"), 1, "unknown_type"),
        (("connection:closed", "{}"), 1, "not_publishable"),
        (("data:update", UPDATE, "--channel", "system"), 1, "wrong_channel"),
        (("data:update", UPDATE, "--event-id", "short"), 1, "invalid_event_id"),
        (("data:update", UPDATE, "--trace-id", "ü"), 1, "invalid_trace_id"),
        (("data:update", json.dumps({"dataset": "x" * 65_600})), 1, "payload_too_large"),
        (("data:update", "@/no/such/file"), 2, "No such file"),
        (("-", "{}"), 2, "TYPE - reads data"),
        ((), 2, "missing TYPE"),
    ],
)
def test_a_refusal_has_its_code_and_a_hint(shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str) -> None:
    returned, stdout, stderr = publish(shared_hub, *arguments)
    assert (returned, stdout) == (code, "")
    first, *_, last = stderr.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert last.startswith("hint: ")


@pytest.mark.parametrize(
    ("url", "code", "error"),
    [
        ("ws://127.0.0.1:1/ws", 69, "no hub answers at 127.0.0.1:1"),
        ("ftp://x", 2, "ftp://x"),
        ("ws://127.0.0.1:0/ws", 2, "expected a port from 1 to 65535"),
    ],
)
def test_an_unreachable_hub_is_an_error_in_two_lines(url: str, code: int, error: str) -> None:
    done = tidings("publish", "data:update", UPDATE, "--url", url)
    assert (done.returncode, done.stdout) == (code, "")
    first, last = done.stderr.splitlines()
    assert error in first
    assert last.startswith("hint: ")


def test_a_stream_is_published_in_order_and_errors_name_their_line(shared_hub: Hub) -> None:
    good = [json.dumps({"type": "data:update", "data": {"dataset": f"s-{n}"}}) for n in range(1200)]
    deep = '{"type": "data:update", "data": {"x": %s}}' % ("[" * 70 + "]" * 70)
    lines = [*good[:3], "", "nonsense", '{"type": "data:update", "data": 5}', deep, *good[3:]]
    code, stdout, stderr = publish(shared_hub, "-", stdin="\n".join(lines))
    assert code == 1
    positions = [int(line.rpartition(":")[2]) for line in stdout.splitlines()]
    assert len(positions) == 1200
    assert positions == sorted(positions)
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert [error.split(": ")[1] for error in errors] == ["line 5", "line 6", "line 7"]


def test_a_valid_stream_succeeds_and_is_answered_line_by_line(shared_hub: Hub) -> None:
    with Process("publish", "-", "--url", shared_hub.url) as process:
        assert process.process.stdin is not None
        for n in range(3):
            process.process.stdin.write(b'{"type": "data:update", "data": {"dataset": "live-%d"}}\n' % n)
            process.process.stdin.flush()
            assert ":" in process.read_line()
        assert process.wait() == (0, "", "")


def test_ctrl_c_ends_a_stream_immediately(shared_hub: Hub) -> None:
    with Process("publish", "-", "--url", shared_hub.url) as process:
        assert process.process.stdin is not None
        process.process.stdin.write(b'{"type": "data:update", "data": null}\n')
        process.process.stdin.flush()
        process.read_line()
        process.signal(signal.SIGINT)
        code, _, stderr = process.wait()
    assert code == 130
    assert "Traceback" not in stderr


@pytest.mark.parametrize("sent", [b"", b'{"type":'])
def test_ctrl_c_during_a_read_of_stdin_exits_cleanly(shared_hub: Hub, sent: bytes) -> None:
    """A thread that waits in a buffered read would abort the interpreter at its end."""
    with Process("publish", "-", "--url", shared_hub.url) as process:
        assert process.process.stdin is not None
        process.process.stdin.write(b'{"type": "data:update", "data": null}\n' + sent)
        process.process.stdin.flush()
        process.read_line()
        process.signal(signal.SIGINT)
        assert process.wait() == (130, "", "")


def test_ctrl_c_in_a_flood_of_lines_exits_cleanly(shared_hub: Hub) -> None:
    """The reading thread is in the middle of handing over a line, and hundreds of events are in flight."""
    with subprocess.Popen(["yes", '{"type": "data:update", "data": null}'], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with Process("publish", "-", "--url", shared_hub.url, stdin=endless.stdout) as process:
            for _ in range(1000):
                process.read_line()
            process.signal(signal.SIGINT)
            code, _, stderr = process.wait()
        endless.kill()
    assert code == 130
    assert re.sub(r"\d+ events", "N events", stderr) in (
        "",
        "interrupted: N events have no answer yet, and may be in the log\n",
    )


def test_ctrl_c_ends_the_wait_for_a_silent_hub() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Process("publish", "data:update", UPDATE, "--url", f"ws://127.0.0.1:{silent.getsockname()[1]}/ws") as process,
    ):
        silent.settimeout(TIMEOUT_S)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"GET "
            process.signal(signal.SIGINT)
            assert process.wait() == (130, "", "")


def test_the_list_of_types_needs_no_hub() -> None:
    done = tidings("publish", "--list", TIDINGS_URL="ws://127.0.0.1:1/ws")
    assert done.returncode == 0
    assert "operation:progress  (operations, latest)" in done.stdout
    assert "progress        number, 0 to 100" in done.stdout
    assert "connection:established" not in done.stdout
    listed = json.loads(tidings("publish", "--list", "--json").stdout)
    progress = next(event for event in listed if event["type"] == "operation:progress")
    assert progress["fields"][0] == {"name": "operation_id", "form": "text", "required": True, "key": True}


@pytest.mark.parametrize(
    ("hint", "form"),
    [
        (str, "text"),
        (Annotated[int, Meta(ge=0)], "whole number, 0 or more"),
        (Annotated[float, Meta(ge=0, le=100)] | None, "number, 0 to 100"),
        (Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], "whole number"),
        (str | int | None, "text or whole number"),
        (list[str], "list of text"),
        (dict[str, Any], "object"),
        (dict[str, float] | None, "object of numbers"),
        (Literal["a", "b"], "a | b"),
        (bool, "true or false"),
        (Any, "any JSON"),
    ],
)
def test_types_are_described_in_words(hint: object, form: str) -> None:
    assert describe_form(hint) == form


def test_list_has_every_publishable_type_with_its_key() -> None:
    publishable = {event.type: event.key for event in BUILTIN if event.publishable}
    found = {each.type: next((field.name for field in each.fields if field.key), None) for each in list_events()}
    assert found == publishable
