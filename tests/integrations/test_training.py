"""The common part of all training callbacks, reporting to a real hub."""

import math
import subprocess
import sys
from typing import NoReturn

import pytest
from tests.producer.reported import Reported

import tidings
from tidings.integrations.training import Training


@pytest.fixture
def every_update_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report every update; otherwise a training reports ten times a second."""
    monkeypatch.setattr("tidings.integrations.training._MIN_INTERVAL_S", 0.0)


@pytest.mark.usefixtures("every_update_is_due")
def test_percent_counts_all_epochs(reported: Reported) -> None:
    training = Training("Train", {"id": "op-1"})
    training.begin(epochs=2, batches=4)
    training.start_epoch(1)
    assert training.operation is not None
    assert training.operation.percent == 50
    training.update_batches(2, {"loss": 0.25, "kind": "mean"})
    assert training.operation.percent == 75
    training.update_batches(4, {"loss": 0.125})
    assert training.operation.percent == 100
    training.end()
    received = reported.received("op-1")
    assert [kind for kind, _ in received][-1] == "complete"
    last = [data for kind, data in received if kind == "progress"][-1]
    assert (last["current_step"], last["message"]) == ("epoch 2/2", "batch 4/4 · loss 0.125")


@pytest.mark.parametrize("unknown", [None, 0, -1, math.inf, "auto"])
def test_percent_of_unknown_epochs_is_unknown(reported: Reported, unknown: float | None) -> None:
    training = Training("Train", {"id": "op-1"})
    training.begin(epochs=unknown, batches=unknown)
    training.start_epoch(0)
    assert training.operation is not None
    assert training.operation.percent is None
    training.end_epoch(0, 3, {"loss": 1})
    training.end()
    assert [data["message"] for kind, data in reported.received("op-1") if kind == "log"] == ["epoch 1: loss 1"]


@pytest.mark.usefixtures("every_update_is_due")
def test_number_of_batches_is_learned_from_the_first_epoch(reported: Reported) -> None:
    training = Training("Train", {})
    training.begin(epochs=2, batches=None)
    training.start_epoch(0)
    training.end_epoch(0, 10, None)
    assert training.operation is not None
    assert training.operation.percent == 50
    training.start_epoch(1)
    training.update_batches(5)
    assert training.operation.percent == 75
    training.end()


def test_training_is_a_child_of_the_operation_around_it(reported: Reported) -> None:
    with tidings.operation("Nightly", id="around", quiet=True):
        training = Training("Train", {"id": "op-1"})
        training.begin(epochs=1, batches=1)
        training.end()
    assert reported.received("op-1")[0][1]["parent_id"] == "around"
    assert reported.kinds("op-1") == ["start", "complete"]


def test_training_left_open_ends_with_its_parent(reported: Reported) -> None:
    training = Training("Train", {"id": "op-1"})

    def nightly() -> None:
        with tidings.operation("Nightly", quiet=True):
            training.begin(epochs=1, batches=1)
            raise MemoryError("the batch is too large")

    with pytest.raises(MemoryError):
        nightly()
    kind, data = reported.last("op-1")
    assert (kind, data["code"], data["message"]) == ("failed", "memory_error", "the batch is too large")


def test_training_is_abandoned_when_its_parent_completes(reported: Reported) -> None:
    training = Training("Train", {"id": "op-1"})
    with tidings.operation("Nightly", quiet=True):
        training.begin(epochs=1, batches=1)
    kind, data = reported.last("op-1")
    assert (kind, data["code"]) == ("failed", "abandoned")


def test_next_training_abandons_an_open_one(reported: Reported) -> None:
    training = Training("Train", {})
    training.begin(epochs=1, batches=1)
    first = training.operation
    training.begin(epochs=1, batches=1)
    training.end()
    assert first is not None
    assert first.state == "failed"


def test_leave_ends_the_training_with_its_outcome(reported: Reported) -> None:
    training = Training("Train", {"id": "op-1"})
    training.begin(epochs=1, batches=1)
    training.leave(KeyboardInterrupt())
    training.leave(None)
    assert reported.kinds("op-1") == ["start", "cancelled"]


def test_calls_before_begin_report_nothing(reported: Reported) -> None:
    training = Training("Train", {})
    training.start_epoch(0)
    training.update_batches(1)
    training.log_metrics("", {"loss": 1})
    training.end_epoch(0, 1, None)
    training.update_steps(1, 2, 0.5)
    training.end()
    training.leave(ValueError())
    assert not training.should_stop()
    assert reported.received() == []


@pytest.mark.parametrize("name", ["celery", "keras", "lightning", "huggingface"])
def test_training_adapter_imports_no_framework(name: str) -> None:
    code = (
        f"import sys, tidings.integrations.{name}; frameworks = 'celery keras lightning transformers torch numpy'; "
        "print(*(name for name in sys.modules if name.partition('.')[0] in frameworks.split()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


class LostDevice(dict[str, object]):
    def __float__(self) -> float:
        raise OSError("the device is lost")

    def items(self) -> NoReturn:
        raise SystemExit(1)


def test_metrics_that_cannot_be_read_are_left_out(reported: Reported) -> None:
    training = Training("Train", {"id": "op-1"})
    training.begin(epochs=LostDevice(), batches=10**400, facts=LostDevice())  # type: ignore[arg-type]
    training.start_epoch(0)
    training.end_epoch(0, 1, {"loss": LostDevice(), "accuracy": 0.5})
    training.end_epoch(1, 1, LostDevice(loss=1))
    training.end()
    assert [data["message"] for kind, data in reported.received("op-1") if kind == "log"] == ["epoch 1: accuracy 0.5"]
    assert reported.last("op-1")[0] == "complete"
