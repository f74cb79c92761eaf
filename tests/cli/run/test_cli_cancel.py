"""`tidings run` under a hub: cancelled from elsewhere, and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, Process, Terminal

from tidings.client.events import ReceivedEvent
from tidings.client.sync import SyncClient, connect
from tidings.protocol.payloads import OperationFailedData, OperationStartData

STUBBORN = "trap '' TERM; echo on; exec sleep 30"


@contextmanager
def client_of(hub: Hub) -> "Iterator[SyncClient]":
    with connect(hub.url) as client:
        yield client


def operation_of(client: SyncClient, name: str) -> str:
    """Return the id of the operation called `name` once it has begun."""
    for event in client.watch("operations", since="snapshot"):
        if isinstance(event.payload, OperationStartData) and event.payload.name == name:
            return event.payload.operation_id
    raise AssertionError("the watch ended")


def end_of(client: SyncClient, operation_id: str) -> ReceivedEvent:
    for event in client.watch(f"operations/{operation_id}", since="snapshot"):
        if event.type in ("operation:complete", "operation:failed", "operation:cancelled"):
            return event
    raise AssertionError("the watch ended")


def cancel(hub: Hub, name: str, reason: str | None = None) -> tuple[str, dict[str, Any]]:
    """Cancel the operation called `name`, and return the outcome and the data of its end."""
    with client_of(hub) as client:
        id = operation_of(client, name)
        outcome = client.cancel(id, reason=reason)
        return outcome.outcome, msgspec.json.decode(end_of(client, id).data)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, whether or not it has been reaped."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=False)
    return shown.stdout.strip()[:1] in ("", "Z", "X")


def running(hub: Hub, name: str, *arguments: str, script: str) -> Process:
    options = ("--name", name, "--url", hub.url, *arguments)
    return Process("run", *options, "--", "sh", "-c", script)


def test_cancel_request_ends_the_command_and_reports_the_reason(shared_hub: Hub) -> None:
    with running(shared_hub, "cancelled", script="echo on; exec sleep 60") as process:
        process.read_until("on")
        outcome, end = cancel(shared_hub, "cancelled", "wrong file")
        code, _, stderr = process.wait()
    assert outcome == "cancelled"
    assert end["reason"] == "wrong file"
    assert code == 128 + signal.SIGTERM
    assert stderr == ""


def test_command_that_ignores_sigterm_is_killed_after_the_grace(shared_hub: Hub) -> None:
    with running(shared_hub, "stubborn", "--grace", "200ms", script=STUBBORN) as process:
        process.read_until("on")
        outcome, end = cancel(shared_hub, "stubborn")
        code, _, _ = process.wait()
    assert outcome == "cancelled"
    assert end["reason"] == "cancellation was requested (killed: it ignored SIGTERM for 0.2 s)"
    assert code == 128 + signal.SIGKILL


def test_clean_end_after_sigterm_is_cancelled_and_keeps_exit_code(shared_hub: Hub) -> None:
    script = "trap 'exit 0' TERM; echo on; for n in $(seq 400); do sleep 0.05; done"
    with running(shared_hub, "service", script=script) as process:
        process.read_until("on")
        assert cancel(shared_hub, "service")[0] == "cancelled"
        assert process.wait()[0] == 0


def test_descendants_of_a_cancelled_command_are_ended(shared_hub: Hub) -> None:
    script = f'sh -c "{STUBBORN}" & echo $!; exec sleep 60'
    with running(shared_hub, "family", "--grace", "300ms", script=script) as process:
        first, second = process.read_line(), process.read_line()
        pid = int(first if first.strip() != "on" else second)
        assert cancel(shared_hub, "family")[0] == "cancelled"
        assert process.wait()[0] == 128 + signal.SIGTERM
    deadline = time.monotonic() + TIMEOUT_S
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_cancel_in_a_pipeline_ends_only_the_commands_descendants(shared_hub: Hub) -> None:
    inner = [*TIDINGS, "run", "--name", "piped", "--", "sh", "-c", "echo on; sleep 60; echo never"]
    quoted = " ".join(f"'{part}'" for part in inner)
    # What runs beside it in the pipeline lives on to say so.
    with Terminal(
        "run", "--", "sh", "-c", f"{quoted} | (cat; echo reader done)", env={"TIDINGS_URL": shared_hub.url}
    ) as terminal:
        terminal.wait_for("on")
        assert cancel(shared_hub, "piped")[0] == "cancelled"
        assert terminal.wait() == 0
    assert "reader done" in terminal.shown
    assert "never" not in terminal.shown


def test_killed_run_fails_when_its_lease_ends(shared_hub: Hub) -> None:
    script = "echo $$; exec sleep 60"
    with (
        client_of(shared_hub) as client,
        running(shared_hub, "murdered", "--lease", "1s", script=script) as process,
    ):
        child = int(process.read_line())
        id = operation_of(client, "murdered")
        process.signal(signal.SIGKILL)
        event = end_of(client, id)
        os.kill(child, signal.SIGKILL)
    assert isinstance(event.payload, OperationFailedData)
    assert event.payload.code == "producer_lost"


def test_second_bar_does_not_lower_the_progress(shared_hub: Hub) -> None:
    source = (
        "import sys, time\n"
        "for name in ('read', 'write'):\n"
        "    for n in range(0, 101, 20):\n"
        "        sys.stdout.write(f'\\r{name}: {n}%|{\"#\" * (n // 10):10}| {n}/100'); sys.stdout.flush()\n"
        "        time.sleep(0.12)\n"
        "    print()\n"
    )
    with (
        client_of(shared_hub) as client,
        Process("run", "--name", "bars", "--url", shared_hub.url, "--", sys.executable, "-c", source) as process,
    ):
        id = operation_of(client, "bars")
        told: list[tuple[str, float, bool]] = []
        for event in client.watch(f"operations/{id}", since="first"):
            data = msgspec.json.decode(event.data)
            if event.type == "operation:progress":
                told.append((data["current_step"], data["progress"], data.get("indeterminate", False)))
            elif event.type == "operation:complete":
                break
        assert process.wait()[0] == 0
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    assert max(shares) < 100
    assert any(step == "read" and not unknown for step, _, unknown in told)
    assert all(unknown for step, _, unknown in told if step == "write")
    assert any(step == "write" for step, _, _ in told)
