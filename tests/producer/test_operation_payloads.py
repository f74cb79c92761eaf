"""What an operation sends: redacted, bounded, and valid whatever the job passes."""

import logging
import sys
from typing import Any

import pytest
from tests.producer.reported import Reported

import tidings
from tidings.integrations.keras import TidingsCallback


def test_secrets_in_command_and_failure_are_redacted(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "job.py", "--password", "hunter2", "TOKEN=hunter2"])
    op = tidings.operation("Secretive")
    with pytest.raises(ConnectionError), op:
        raise ConnectionError("cannot reach postgresql://ann:hunter2@db/shop")
    start, end = reported.received(op.id)
    assert start[1]["command"] == "python job.py --password REDACTED TOKEN=REDACTED"
    assert end[1]["message"] == "cannot reach postgresql://ann:REDACTED@db/shop"
    assert "postgresql://ann:REDACTED@db/shop" in end[1]["details"]
    assert "hunter2" not in str((start, end))


def test_redact_receives_every_payload_before_it_is_sent(reported: Reported) -> None:
    seen: list[dict[str, Any]] = []

    def redact(payload: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(payload)
        if payload.get("message") == "secret":
            return None
        return {**payload, "command": "hidden", "operation_id": "another"} if "command" in payload else payload

    with tidings.operation("Redacted", redact=redact) as op:
        op.log("secret")
        op.log("known")
    assert [data.get("message") for kind, data in reported.received(op.id) if kind == "log"] == ["known"]
    assert reported.received(op.id)[0][1]["command"] == "hidden"
    assert len(seen) == 4


def test_redact_that_raises_sends_only_the_bare_terminal_event(
    reported: Reported, caplog: pytest.LogCaptureFixture
) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("card number")

    op = tidings.start("Secret name", redact=redact)
    op.log("secret")
    op.progress(5, "secret")
    op.fail(RuntimeError("secret"))
    assert reported.received(op.id) == [
        ("start", {"operation_id": op.id, "queued": False}),
        ("failed", {"operation_id": op.id, "code": "runtime_error", "message": "", "recoverable": False}),
    ]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in warnings if "a payload was dropped" in record.getMessage()]) <= 1


@pytest.mark.parametrize("result", [object(), {1, 2}, float("nan"), "\ud800", {"a": {"b": "\ud800"}}, b"bytes"])
def test_result_that_json_cannot_represent_is_sent_as_text(reported: Reported, result: object) -> None:
    with tidings.operation("Odd result") as op:
        op.complete(result=result)
    assert reported.kinds(op.id) == ["start", "complete"]


def test_oversized_result_is_omitted(reported: Reported) -> None:
    with tidings.operation("Large result") as op:
        op.complete(result=["x" * 100] * 1_000)
    assert reported.last(op.id)[1]["result"] == {"omitted": "103001 bytes"}


def test_long_or_unencodable_texts_are_sanitized(reported: Reported) -> None:
    with tidings.operation("n" * 5_000 + "\udcff") as op:
        op.log("\udcff" + "l" * 100_000)
        op.progress(1, "m" * 5_000)
    received = dict(reported.received(op.id))
    assert len(received["start"]["name"]) == 2_000
    assert len(received["log"]["message"]) == 16_000
    assert received["log"]["message"][0] == "?"


def test_invalid_arguments_never_raise_in_the_job(reported: Reported) -> None:
    nonsense: Any = object()
    with tidings.operation("Nonsense", steps=[("a", nonsense)], total=nonsense, id="\n", trace_id="ü") as op:
        op.progress(nonsense)
        op.progress(float("nan"), nonsense)
        op.progress(1e9)
        op.advance(nonsense)
        op.log(nonsense, nonsense)
        with op.step(nonsense):
            pass
    assert reported.kinds(op.id) == ["start", "log", "complete"]
    assert op.id != "\n"
    assert len(op.trace_id) == 32


def nest(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"child": value}
    return value


def test_completed_operation_stays_completed_whatever_its_result(reported: Reported) -> None:
    """No hub accepts such a result in an event; the job has completed all the same."""
    for result in (nest(62), nest(5_000), "\ud800", b"\xff", 10**30, {1: "a", "1": "b"}, "x" * 100_000):
        with tidings.operation("Import") as op:
            op.complete(result=result)
        kind, data = reported.last(op.id)
        assert (kind, op.state) == ("complete", "complete")
        assert data["result"]
    assert reported.received()[-1][0] == "complete", "nothing is left to send"


def test_integers_beyond_64_bits_are_text(reported: Reported) -> None:
    """No hub accepts them as numbers, and a dead producer's event would be set aside for them."""
    with tidings.operation("Primes", metadata={"largest": 2**82_589}) as op:
        op.complete(result={"all": [2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2.0**70]})
    numbers = [2**64 - 1, str(2**64), -(2**63), str(-(2**63) - 1), 2.0**70]
    assert reported.last(op.id)[1]["result"] == {"all": numbers}
    assert reported.kinds(op.id) == ["start", "complete"]


def test_end_that_the_hub_refuses_is_sent_again_without_its_result(reported: Reported) -> None:
    """Only `redact` can still make such a payload; its operation must not end as failed."""

    def redact(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "message": 7} if "duration_ms" in data else data

    with tidings.operation("Import", redact=redact) as op:
        op.complete(result=[1, 2])
    assert reported.last(op.id)[0] == "complete"


@pytest.mark.parametrize(
    ("option", "message"),
    [("step", "did you mean 'steps'?"), ("leases", "did you mean 'lease_s'?"), ("zzz", "expected one of name, steps")],
)
def test_unknown_argument_raises_with_the_nearest_name(option: str, message: str) -> None:
    options: dict[str, Any] = {option: 1}
    for make in (tidings.operation, tidings.start, tidings.operation("x").child, TidingsCallback):
        with pytest.raises(TypeError) as raised:
            make("x", **options)
        assert str(raised.value).startswith(f"an operation has no argument '{option}': {message}")


def test_steps_may_be_a_mapping_of_weights(reported: Reported) -> None:
    with tidings.operation("Weights", steps={"a": 1, "b": 3}) as op:
        with op.step("a"):
            pass
        assert op.percent == 25


def test_url_that_is_not_a_text_does_not_affect_the_job(reported: Reported) -> None:
    odd: Any = 123
    with tidings.operation("Odd", url=odd) as op:
        op.progress(10)
    assert op.state == "complete"
