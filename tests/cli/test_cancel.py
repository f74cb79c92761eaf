import json
import uuid

import pytest
from tests.cli.processes import Hub, Process, publish_operation, tidings

from tidings.cli.cancel import describe, find_exit_code
from tidings.client.http import HTTPClient
from tidings.protocol.messages import CancelOutcome


def cancel(hub: Hub, id: str, *options: str) -> tuple[int, str, str]:
    done = tidings("cancel", id, *options, "--url", hub.url)
    return done.returncode, done.stdout, done.stderr


def test_a_run_is_cancelled_with_a_reason(shared_hub: Hub) -> None:
    with Process(
        "run", "--name", "to cancel", "--url", shared_hub.url, "--", "sh", "-c", "echo on; exec sleep 60"
    ) as run:
        run.read_until("on")
        with HTTPClient(shared_hub.url) as api:
            found = list(api.operations([("name", "to cancel")], 1))
            while not found:  # the outbox is on its way
                found = list(api.operations([("name", "to cancel")], 1))
            (operation,) = found
            assert cancel(shared_hub, operation.operation_id, "--reason", "wrong file") == (
                0,
                f"{operation.operation_id} is cancelled\n",
                "",
            )
            assert api.operation(operation.operation_id).reason == "wrong file"
        assert run.wait()[0] == 143
    assert cancel(shared_hub, operation.operation_id)[0] == 0, "it is as was asked"


def test_cancel_of_an_ended_operation_reports_its_state(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    publish_operation(shared_hub, "complete", id)
    assert cancel(shared_hub, id) == (6, f"{id} ended first: it is complete\n", "")


def test_cancel_without_a_producer_is_reported_with_children(shared_hub: Hub) -> None:
    id, part = uuid.uuid4().hex, uuid.uuid4().hex
    publish_operation(shared_hub, "start", id)
    publish_operation(shared_hub, "start", part, parent_id=id, queued=True)
    code, stdout, stderr = cancel(shared_hub, id, "--timeout", "1s")
    assert (code, stderr) == (9, "")
    first, second = stdout.splitlines()
    assert first.startswith(f"{id} may continue: no producer to ask")
    assert second.startswith(f"  {part} ")


def test_json_is_the_outcome(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    publish_operation(shared_hub, "start", id, queued=True)
    code, stdout, _ = cancel(shared_hub, id, "--json")
    assert code == 0
    assert json.loads(stdout) == {"operation_id": id, "attempt": 1, "outcome": "cancelled", "state": "cancelled"}


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        ((), 5, "no such operation:"),
        (("--timeout", "2h"), 2, "--timeout"),
        (("--timeout", "soon"), 2, "invalid duration 'soon'"),
        (("--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
        (("--reason", "x" * 2000), 2, "reason"),
    ],
)
def test_cancel_errors_have_their_exit_code(shared_hub: Hub, options: tuple[str, ...], code: int, error: str) -> None:
    done = tidings("cancel", "no-such", *options, TIDINGS_URL=shared_hub.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def outcome(name: str, **more: object) -> CancelOutcome:
    facts = {"operation_id": "op", "attempt": 1, "outcome": name, "state": "running", **more}
    return CancelOutcome(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "code", "sentence"),
    [
        (outcome("cancelled", state="cancelled"), 0, "op is cancelled"),
        (outcome("finished_first", state="complete"), 6, "op ended first: it is complete"),
        (outcome("refused"), 7, "op continues: its producer refuses to cancel it"),
        (outcome("refused", reason="too late"), 7, "op continues: its producer refuses to cancel it: too late"),
        (outcome("pending"), 8, "op is stopping, but did not end within 10 s"),
    ],
)
def test_an_outcome_is_a_sentence_and_a_code(told: CancelOutcome, code: int, sentence: str) -> None:
    assert list(describe(told, 10)) == [sentence]
    assert find_exit_code(told) == code


def test_an_unreachable_producer_receives_the_request_later() -> None:
    (line,) = describe(outcome("unreachable"), 10)
    assert "no producer to ask" in line
    assert find_exit_code(outcome("unreachable")) == 9


def test_outcomes_of_children_are_indented() -> None:
    part = outcome("cancelled", operation_id="part", children=[outcome("pending", operation_id="part of part")])
    assert list(describe(outcome("cancelled", children=[part]), 10)) == [
        "op is cancelled",
        "  part is cancelled",
        "    part of part is stopping, but did not end within 10 s",
    ]
