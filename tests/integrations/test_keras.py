"""The real Keras, whose trainings are reported to a real hub, which cancels one."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from tests.cli.processes import Hub
from tests.examples.programs import events, of_operation
from tests.integrations.trained import run_trainings
from tests.producer.reported import Reported

from tidings.integrations.keras import TidingsCallback

if find_spec("keras") is None:
    pytest.skip("`make test` installs Keras", allow_module_level=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with run_trainings("tests.integrations.keras_program", tmp_path_factory.mktemp("spool")) as hub:
        yield hub


def test_training_reports_epochs_as_steps_and_metrics_as_lines(trained: Hub) -> None:
    received = of_operation(trained, "Ends")
    assert received[0][1]["metadata"] == {"model": "ranker"}
    assert [kind for kind, _ in received if kind not in ("progress", "log", "estimate")] == ["start", "complete"]
    progress = [data for kind, data in received if kind == "progress"]
    assert progress[-1]["progress"] == 100
    assert {data["current_step"] for data in progress} == {"epoch 1/3", "epoch 2/3", "epoch 3/3"}
    assert "batch 4/4 · loss " in progress[-1]["message"]
    lines = [data["message"] for kind, data in received if kind == "log"]
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3: loss ")
    assert "val_loss" in lines[0]


def test_training_left_by_an_exception_fails(trained: Hub) -> None:
    kind, data = of_operation(trained, "Fails")[-1]
    assert (kind, data["code"], data["message"]) == ("failed", "value_error", "the loss is NaN")


def test_cancel_stops_the_training(trained: Hub) -> None:
    kind, data = of_operation(trained, "Is cancelled")[-1]
    assert (kind, data["reason"]) == ("cancelled", "enough")
    ends = [event["type"] for event in events(trained, "channel=operations&limit=1000")]
    assert ends.count("operation:cancelled") == 1


def test_unknown_hook_is_ignored_and_other_attributes_raise() -> None:
    callback = TidingsCallback()
    assert callback.on_predict_begin() is None
    assert getattr(callback.on_predict_batch_end, "_is_default", False)
    assert not hasattr(callback, "validation_data")
    assert callback.operation is None


def test_model_whose_name_cannot_be_read_is_trained(reported: Reported) -> None:
    class Model:
        @property
        def name(self) -> str:
            raise RuntimeError("not built yet")

    callback = TidingsCallback("Odd model")
    callback.set_model(Model())
    callback.on_train_begin()
    assert callback.operation is not None
    callback.on_train_end()
    assert callback.operation.state == "complete"
    assert reported.kinds(callback.operation.id) == ["start", "complete"]
