"""The callback for Hugging Face, in the loop of `training_loops`."""

import pytest
from tests.integrations.cancelling import Canceller
from tests.integrations.training_loops import HuggingFaceLoop
from tests.producer.reported import Reported

from tidings.integrations.huggingface import TidingsCallback


def test_training_reports_steps_as_progress_and_logs_as_lines(reported: Reported) -> None:
    with TidingsCallback("Train", id="op-1", quiet=True) as callback:
        HuggingFaceLoop(callback, step=lambda _: None).train()
    received = reported.received("op-1")
    assert received[0][1]["metadata"] == {"output_dir": "out"}
    assert reported.kinds("op-1") == ["start", "log", "log", "log", "complete"]
    assert next(data["message"] for kind, data in received if kind == "log") == "step 4: loss 0.25"
    last = [data for kind, data in received if kind == "progress"][-1]
    assert (last["progress"], last["message"], last["current_step"]) == (100, "step 12/12", "epoch 3/3")


def test_training_left_by_an_exception_fails(reported: Reported) -> None:
    def fail(step: int) -> None:
        raise ZeroDivisionError("no gradient")

    with pytest.raises(ZeroDivisionError), TidingsCallback("Train", id="op-1", quiet=True) as callback:
        HuggingFaceLoop(callback, step=fail).train()
    kind, data = reported.last("op-1")
    assert (kind, data["code"]) == ("failed", "zero_division_error")


def test_cancel_stops_the_training(reported: Reported) -> None:
    with Canceller(reported, "op-1", at_step=5) as canceller:
        loop = HuggingFaceLoop(TidingsCallback("Train", id="op-1", quiet=True), step=canceller.step, epochs=1_000)
        loop.train()
    assert canceller.outcome == "cancelled"
    assert 5 < loop.state.global_step < loop.state.max_steps
    assert reported.last("op-1") == ("cancelled", {"operation_id": "op-1", "reason": "enough"})


def test_cancel_is_refused_with_several_processes(reported: Reported) -> None:
    with Canceller(reported, "op-1", at_step=5) as canceller:
        callback = TidingsCallback("Train", id="op-1", quiet=True)
        loop = HuggingFaceLoop(callback, step=canceller.step, epochs=20, world_size=2)
        loop.train()
    assert canceller.outcome == "refused"
    assert loop.state.global_step == loop.state.max_steps
    assert reported.kinds("op-1")[-1] == "complete"


def test_only_the_main_process_reports(reported: Reported) -> None:
    with TidingsCallback("Train", quiet=True) as callback:
        HuggingFaceLoop(callback, step=lambda _: None, rank=1, world_size=2).train()
    assert callback.operation is None
    assert reported.received() == []


def test_each_training_is_an_operation(reported: Reported) -> None:
    callback = TidingsCallback("Train", quiet=True)
    loop = HuggingFaceLoop(callback, step=lambda _: None)
    loop.train()
    first = callback.operation
    loop.state.global_step = 0
    loop.train()
    assert first is not None
    assert first is not callback.operation
    assert [kind for kind in reported.kinds() if kind != "log"] == ["start", "complete"] * 2
