from pathlib import Path

from tests.cli.processes import Hub
from tests.examples.programs import of_operation, run


def test_example_reports_the_training(shared_hub: Hub, tmp_path: Path) -> None:
    run("keras_training.py", shared_hub, tmp_path)
    received = of_operation(shared_hub, "Train the ranker")
    assert received[-1][0] == "complete"
    lines = [data["message"] for kind, data in received if kind == "log"]
    assert len(lines) == 5
    assert "val_loss" in lines[-1]
