import json
import os
import signal

import pytest
from tests.cli.processes import TIMEOUT_S, Hub, Process, Terminal, tidings

OPERATION = "operations/{}"


def publish(hub: Hub, *envelopes: tuple[str, dict[str, object]]) -> None:
    lines = "\n".join(json.dumps({"type": type, "data": data}) for type, data in envelopes)
    done = tidings("publish", "-", stdin=lines, TIDINGS_URL=hub.url)
    assert done.returncode == 0, done.stderr


def run_of(id: str, percent: float = 40) -> list[tuple[str, dict[str, object]]]:
    return [
        ("operation:start", {"operation_id": id, "name": f"job {id}"}),
        ("operation:progress", {"operation_id": id, "progress": percent, "current_step": "load", "message": "row 7"}),
    ]


def end_of(id: str) -> tuple[str, dict[str, object]]:
    return ("operation:complete", {"operation_id": id, "duration_ms": 1500})


def test_pipe_gets_one_line_per_event(shared_hub: Hub) -> None:
    with Process("watch", "operations/lines", "--url", shared_hub.url) as watch:
        publish(shared_hub, *run_of("lines"), end_of("lines"))
        lines = watch.read_until("complete")
        watch.signal(signal.SIGINT)
        code, _, stderr = watch.wait()
    assert [line[9:].rstrip() for line in lines] == [
        "▶ job lines started",
        "  job lines  40%  load  row 7",
        "✔ job lines complete in 1.5 s",
    ]
    assert stderr == ""
    assert code == -signal.SIGINT


def test_json_prints_one_v1_envelope_per_line_without_delay(shared_hub: Hub) -> None:
    with Process("watch", "operations/json", "--json", "--url", shared_hub.url) as watch:
        assert json.loads(watch.read_until("channel:live")[-1])["data"]["outcome"] == "snapshot"
        publish(shared_hub, *run_of("json"))
        start, progress = (json.loads(watch.read_line()) for _ in range(2))
    assert list(start) == ["type", "timestamp", "trace_id", "data", "channel", "position", "event_id"]
    assert start["data"] == {"operation_id": "json", "name": "job json"}
    assert start["channel"] == "operations"
    assert progress["trace_id"] == start["trace_id"]


def test_reader_exit_ends_an_idle_watch_quietly(shared_hub: Hub) -> None:
    publish(shared_hub, *run_of("head"))
    with Process("watch", "operations/head", "--json", "--url", shared_hub.url) as watch:
        watch.read_until("operation:start")
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        assert watch.process.wait(timeout=TIMEOUT_S) == 0
        assert watch.process.stderr is not None
        assert watch.process.stderr.read() == b""


def test_since_first_reads_history_and_a_position_resumes(shared_hub: Hub) -> None:
    publish(
        shared_hub, ("data:update", {"dataset": "h", "version": 1}), ("data:update", {"dataset": "h", "version": 2})
    )

    def versions(since: str) -> tuple[list[int], str]:
        with Process("watch", "data/h", "--json", "--since", since, "--url", shared_hub.url) as watch:
            events = [json.loads(line) for line in watch.read_until("channel:live")[:-1]]
        return [event["data"]["version"] for event in events], events[0]["position"] if events else ""

    both, position = versions("first")
    assert both == [1, 2]
    assert versions(position)[0] == [2]
    assert versions("snapshot")[0] == [2]
    assert versions("now")[0] == []


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("nonsense",), 2, "nonsense"),
        (("operations", "--since", "yesterday"), 2, "--since: invalid start 'yesterday': expected an age"),
        (("operations", "--since", "6"), 2, "--since: invalid start '6': expected an age"),
        (("--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
        (("--pace", "9999ms"), 2, "--pace"),
        (("--nope",), 2, "--nope"),
    ],
)
def test_invalid_path_is_an_error(shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str) -> None:
    done = tidings("watch", *arguments, TIDINGS_URL=shared_hub.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_when_done_returns_the_outcome(shared_hub: Hub) -> None:
    publish(shared_hub, *run_of("well"), *run_of("badly"))
    arguments = ("--exit-when-done", "--url", shared_hub.url)
    with (
        Process("watch", "operations/well", *arguments) as well,
        Process("watch", "operations/badly", *arguments) as bad,
    ):
        well.read_until("40%")
        bad.read_until("40%")
        failure = {"operation_id": "badly", "code": "c", "message": "m", "recoverable": False, "hint": "Try again."}
        publish(shared_hub, end_of("well"), ("operation:failed", failure))
        assert well.wait()[0] == 0
        code, stdout, _ = bad.wait()
    assert code == 1
    assert "✘ job badly failed" in stdout
    assert "hint: Try again." in stdout


def test_wait_connects_to_a_hub_started_later() -> None:
    with Hub() as hub:
        port = hub.port
    with Process("watch", "--wait", "--json", "--url", f"ws://127.0.0.1:{port}/ws") as watch:
        hub = Hub("--port", str(port))
        with hub:
            watch.read_until("system:status")


def test_terminal_shows_bars_below_lines(shared_hub: Hub) -> None:
    publish(shared_hub, *run_of("tty"))
    with Terminal("watch", "operations/tty", "--url", shared_hub.url) as terminal:
        terminal.wait_for("job tty ━")
        assert " 40% " in terminal.wait_for("load  row 7")
        terminal.wait_for("● live  1 running")
        publish(shared_hub, end_of("tty"))
        assert "✔ job tty complete in 1.5 s" in terminal.wait_for("● live  0 running  ✔ 1")
        terminal.press(b"\x03")
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.shown
    assert terminal.raw.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_json_on_a_terminal_is_still_json(shared_hub: Hub) -> None:
    publish(shared_hub, *run_of("ttyjson"))
    with Terminal("watch", "operations/ttyjson", "--json", "--url", shared_hub.url, columns=1000) as terminal:
        terminal.wait_for('"type":"operation:progress"')


def test_hub_restart_is_shown_in_the_status_line() -> None:
    with Hub() as hub:
        port = hub.port
        with Terminal("watch", "--url", hub.url) as terminal:
            terminal.wait_for("● live")
            hub.stop()
            terminal.wait_for("● reconnecting")
            gone = len(terminal.shown)
            with Hub("--port", str(port)):
                terminal.wait_for("● live", after=gone)


def test_picture_fits_a_shrunk_terminal(shared_hub: Hub) -> None:
    publish(shared_hub, *(event for n in range(30) for event in run_of(f"many-{n}")))
    with Terminal("watch", "operations/many-*", "--url", shared_hub.url, lines=24) as terminal:
        terminal.wait_for("… and 9 more")
        terminal.resize(100, 13)
        publish(shared_hub, ("operation:progress", {"operation_id": "many-29", "progress": 77}))
        for text in (" 77% ", "… and 20 more"):  # in one picture, or in two
            terminal.wait_for(text)


def test_dead_producer_is_shown_at_its_operation_until_its_end(shared_hub: Hub) -> None:
    options = ("--name", "doomed", "--no-output", "--lease", "1s", "--url", shared_hub.url)
    with (
        Process("watch", "operations", "system", "--url", shared_hub.url) as watch,
        Process("run", *options, "--", "sh", "-c", "echo $$; exec sleep 60") as run,
    ):
        child = int(run.read_line())
        watch.read_until("doomed started")
        run.signal(signal.SIGKILL)
        told = watch.read_until("doomed failed")
        os.kill(child, signal.SIGKILL)
        publish(shared_hub, *run_of("marker"))
        told += watch.read_until("marker started")
    # The hub reports the absence in an estimate and in an alert, and its end in a failure and a cleared alert.
    away, lost = [line for line in told if "doomed" in line or "producer_away" in line]
    assert away[9:] == "! doomed  its producer is away\n"
    assert "✘ doomed failed" in lost
    assert "producer_lost" in lost


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_operation_that_a_restarted_hub_lost_is_not_done(form: tuple[str, ...]) -> None:
    with Hub() as hub:
        publish(hub, *run_of("lost"))
        port, watch = hub.port, Process("watch", "operations", "--exit-when-done", *form, "--url", hub.url)
        with watch:
            watch.read_until("load")
            hub.stop()
            with Hub("--port", str(port)):
                code, stdout, stderr = watch.wait()
    assert code == 1
    assert "error: the hub no longer has job lost" in stderr
    assert form or "? the hub no longer has job lost; the end is unknown" in stdout


def test_text_that_is_neither_a_channel_nor_an_operation_is_an_error(shared_hub: Hub) -> None:
    done = tidings("watch", "nosuchname", "--url", shared_hub.url)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error == "error: there is no channel and no operation 'nosuchname'"
    assert hint.startswith(
        "hint: The channels are data, global, operations, system; `tidings ls` lists the operations."
    )
