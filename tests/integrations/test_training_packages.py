"""Lightning and transformers themselves, if they are installed; `training_loops` imitates them."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.examples.programs import of_operation
from tests.integrations.trained import run_trainings


@pytest.mark.by_hand
@pytest.mark.parametrize(("package", "program"), [("lightning", "lightning"), ("transformers", "huggingface")])
def test_installed_package_behaves_like_the_test_loop(package: str, program: str, tmp_path: Path) -> None:
    if find_spec(package) is None or find_spec("torch") is None:
        pytest.skip(f"{package} is not installed: its wheels take gigabytes")
    with run_trainings(f"tests.integrations.{program}_program", tmp_path) as hub:
        received = of_operation(hub, "Ends")
        assert [kind for kind, _ in received if kind not in ("progress", "log", "estimate")] == ["start", "complete"]
        progress = [data for kind, data in received if kind == "progress"]
        assert progress[-1]["progress"] == 100
        assert {data["current_step"] for data in progress} == {"epoch 1/3", "epoch 2/3", "epoch 3/3"}
        assert any("loss" in data["message"] for kind, data in received if kind == "log")
        kind, failed = of_operation(hub, "Fails")[-1]
        assert (kind, failed["code"], failed["message"]) == ("failed", "value_error", "the loss is NaN")
        kind, cancelled = of_operation(hub, "Is cancelled")[-1]
        assert (kind, cancelled["reason"]) == ("cancelled", "enough")
