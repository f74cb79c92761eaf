from pathlib import Path

from tests.cli.processes import Hub
from tests.examples.programs import of_operation, run


def test_a_training_is_watched(shared_hub: Hub, tmp_path: Path) -> None:
    run("keras_training.py", shared_hub, tmp_path)
    told = of_operation(shared_hub, "Train the ranker")
    assert told[-1][0] == "complete"
    lines = [data["message"] for kind, data in told if kind == "log"]
    assert len(lines) == 5
    assert "val_loss" in lines[-1]
