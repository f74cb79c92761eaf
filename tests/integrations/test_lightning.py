"""The callback for Lightning, in the loop of `training_loops`."""

import pytest
from tests.integrations.cancelling import Canceller
from tests.integrations.training_loops import LightningLoop
from tests.producer.reported import Reported

from tidings.integrations.lightning import TidingsCallback


def test_training_reports_epochs_as_steps_and_metrics_as_lines(reported: Reported) -> None:
    LightningLoop(TidingsCallback("Train", id="op-1", quiet=True), step=lambda _: None).fit()
    received = reported.received("op-1")
    assert received[0][1]["metadata"] == {"model": "LightningLoop"}
    assert reported.kinds("op-1") == ["start", "log", "log", "log", "complete"]
    assert next(data["message"] for kind, data in received if kind == "log") == "epoch 1/3: loss 0.25"
    last = [data for kind, data in received if kind == "progress"][-1]
    assert (last["progress"], last["current_step"]) == (100, "epoch 3/3")


def test_training_with_max_steps_reports_steps(reported: Reported) -> None:
    callback = TidingsCallback("Train", id="op-1", quiet=True)
    LightningLoop(callback, step=lambda _: None, max_epochs=-1, max_steps=6, batches=float("inf")).fit()
    last = [data for kind, data in reported.received("op-1") if kind == "progress"][-1]
    assert (last["progress"], last["message"]) == (100, "step 6/6")


def test_training_left_by_an_exception_fails(reported: Reported) -> None:
    def fail(step: int) -> None:
        raise ZeroDivisionError("no gradient")

    with pytest.raises(ZeroDivisionError):
        LightningLoop(TidingsCallback("Train", id="op-1", quiet=True), step=fail).fit()
    kind, data = reported.last("op-1")
    assert (kind, data["code"], data["message"]) == ("failed", "zero_division_error", "no gradient")


def test_cancel_stops_the_training(reported: Reported) -> None:
    with Canceller(reported, "op-1", at_step=5) as canceller:
        loop = LightningLoop(TidingsCallback("Train", id="op-1", quiet=True), step=canceller.step, max_epochs=1_000)
        loop.fit()
    assert canceller.outcome == "cancelled"
    assert 5 < loop.global_step < 4_000
    assert reported.last("op-1") == ("cancelled", {"operation_id": "op-1", "reason": "enough"})


def test_several_processes_agree_on_stopping(reported: Reported) -> None:
    wanted: list[bool] = []

    def agree(wants: bool) -> bool:
        wanted.append(wants)
        return wants

    with Canceller(reported, "op-1", at_step=60) as canceller:
        callback = TidingsCallback("Train", id="op-1", quiet=True)
        loop = LightningLoop(callback, step=canceller.step, max_epochs=1_000, decide=agree)
        loop.fit()
    assert canceller.outcome == "cancelled"
    assert wanted[-1]
    # At the end of each epoch, and not after each batch.
    assert len(wanted) == loop.current_epoch


def test_other_processes_stop_and_report_nothing(reported: Reported) -> None:
    callback = TidingsCallback("Train", id="op-1", quiet=True)
    answers = iter([False, False, True])
    loop = LightningLoop(callback, step=lambda _: None, max_epochs=10, rank=1, decide=lambda wants: next(answers))
    loop.fit()
    assert loop.current_epoch == 3
    assert callback.operation is None
    assert reported.received() == []


def test_checkpoint_keeps_an_empty_state_under_its_key() -> None:
    callback = TidingsCallback()
    callback.load_state_dict(callback.state_dict())
    assert callback.state_dict() == {}
    assert callback.on_save_checkpoint(None, None, {}) is None
    assert not hasattr(callback, "other")
