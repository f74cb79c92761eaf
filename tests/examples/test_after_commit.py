from pathlib import Path

from tests.cli.processes import Hub
from tests.examples.programs import events, run


def test_example_publishes_committed_rows_only(shared_hub: Hub, tmp_path: Path) -> None:
    done = run("after_commit.py", shared_hub, tmp_path)
    assert done.stdout == "DEF: a price of -1.0\n"
    datasets = [event["data"]["dataset"] for event in events(shared_hub, "channel=data&type=data:update&limit=1000")]
    assert [dataset for dataset in datasets if dataset.startswith("prices/")] == ["prices/ABC", "prices/GHI"]
